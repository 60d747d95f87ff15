"""Single variants as people and programs write them, to records (spec 5, "geno-score").

Belongs here: the spellings that are understood, and what to give instead of those that are not. Does not: what an
allele means (`genomics.alleles`).

The concept: contig, position (1-based), REF and ALT in that order, whatever stands between them. A name that only a
database can turn into an allele is refused, because nothing here asks one.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

import polars as pl

from geno_model.scoring.errors import VariantTextError

EXPECTED = "expected contig:pos:ref:alt with a 1-based position, such as chr17:43071077:C:T"
_POS = r"(?P<pos>\d{1,3}(?:,\d{3})+|\d{1,18})"
_BASES = "[ACGTNacgtn]+"
_SPELLINGS = (
    # chr21:300001:A:C, and any ALT that a VCF may have
    rf"^(?P<chrom>\S+?):{_POS}:(?P<ref>[^:\s]+):(?P<alt>[^:\s]+)$",
    # a line of a VCF, with tabs or blanks: an ID stands between position and REF
    rf"^(?P<chrom>\S+)\s+{_POS}\s+[^\s>/]+\s+(?P<ref>{_BASES})\s+(?P<alt>[^\s>/]\S*)(?:\s.*)?$",
    # 21 300001 A C; chr21-300001-A-C; chr21:300,001 A>C; 21_300001_A/C; NC_000021.9:g.300001A>C
    rf"^(?P<chrom>\S+?)\s*[\s:_-]\s*(?:[gm]\.)?{_POS}[\s:_-]*(?P<ref>{_BASES})\s*[\s:_/>-]\s*"
    rf"(?P<alt>{_BASES}(?:,{_BASES})*|<\S+>|\*|\.)$",
)
_HINTS = (
    (
        r"(?i)^rs\d+\b|^(?:[RSV]CV|VCV|CA|COS[MV])\d+",
        "it names an entry of a database, and nothing here asks one: look up its position and alleles in the genome "
        "build of the FASTA",
    ),
    (
        r"(?i):[cnrp]\.|^p\.|^(?:NM|NR|NP|XM|XR|XP|LRG|ENS[TP])_?\d",
        "it is HGVS on a transcript or a protein: have it converted to a position of the genome, in the build of the "
        "FASTA",
    ),
    (
        r"(?i):[gm]\.|^[gm]\.",
        "of HGVS only a substitution with its contig, such as NC_000017.11:g.43071077C>T, says all that is needed; "
        "write others as a VCF does, a deletion or an insertion with the base before it",
    ),
)


def variant_lines(variants: Sequence[str] | pl.DataFrame) -> pl.DataFrame:
    """Variants as records of a VCF, for `to_alleles`.

    variants: texts in any of the spellings above, or a frame with contig, pos (1-based), ref and alt. Raises
    VariantTextError for the first text that is none, with what to give instead.
    """
    if isinstance(variants, pl.DataFrame):
        fields = variants.select(pl.col("contig").alias("chrom"), pl.col("pos").cast(pl.Int64), "ref", "alt")
    else:
        text = pl.Series("variant", variants, dtype=pl.String).str.strip_chars()
        found = [text.str.extract_groups(spelling).struct.unnest() for spelling in _SPELLINGS]
        # Of the three, the first that fits a text as a whole.
        fields = pl.DataFrame(
            pl.select(pl.coalesce(part[name] for part in found).alias(name)).to_series()
            for name in ("chrom", "pos", "ref", "alt")
        ).with_columns(pl.col("pos").str.replace_all(",", "").cast(pl.Int64))
        if fields["pos"].null_count():
            _refuse(variants, int(fields["pos"].is_null().arg_max() or 0))
    return fields.with_row_index("record").with_columns(pl.col("record").cast(pl.Int64), pl.lit(".").alias("filter"))


def _refuse(variants: Sequence[str], wrong: int) -> None:
    text = variants[wrong].strip()
    which = f"variant {wrong + 1} of {len(variants)}, '{text}'," if len(variants) > 1 else f"variant '{text}'"
    hint = next((advice for pattern, advice in _HINTS if re.search(pattern, text)), None)
    raise VariantTextError(f"{which} cannot be read{f': {hint}' if hint else ''}; {EXPECTED}")
