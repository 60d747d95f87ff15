"""VCF records to normalised alleles, every one of them accounted for (spec 1, "VCF records to edits").

Belongs here: one row for each alternate allele, trimmed and left-aligned against the reference, or else the one reason
why it is not kept; the table of counts. Does not: reading VCF text (`vcf_reader`), whether the file is of the FASTA's
build (`build_check`), annotation (`context`), what an edit does to a window (`edits`).

The concept: no allele raises and none is dropped. A row is either retained (`reason` is null) or carries exactly one of
`REASONS`, the first that applies in this order: no_alt, spanning_deletion, breakend, symbolic, contig_unknown,
filtered, ambiguous_base, out_of_range, ref_mismatch, too_long, duplicate (and low_af and little_context, which a caller
sets).
Positions named `pos` are 1-based.
"""

from __future__ import annotations

from collections.abc import Collection

import numpy as np
import polars as pl
from numpy.typing import NDArray

from geno_model.genomics.edits import V1_MAX_LEN, EditType
from geno_model.genomics.genome import Genome
from geno_model.genomics.normalise import Alleles, agrees_with_reference, normalise

REASONS = (
    "too_long",
    "symbolic",
    "spanning_deletion",
    "breakend",
    "ambiguous_base",
    "no_alt",
    "ref_mismatch",
    "contig_unknown",
    "filtered",
    "duplicate",
    "low_af",
    "out_of_range",
    "little_context",
)
RETAINED = "retained"

_ALLELE_KEY = ("contig", "pos", "ref", "alt")


def to_alleles(
    lines: pl.DataFrame,
    genome: Genome,
    *,
    contigs: Collection[str] | None = None,
    pass_only: bool = False,
    mark_duplicates: bool = False,
) -> pl.DataFrame:
    """One row for each ALT allele of the records in `lines` (a `VcfChunk.lines`), in their order.

    contigs: FASTA names to keep, others are `contig_unknown`; None keeps all of the FASTA.
    pass_only: alleles of records whose FILTER is neither PASS nor `.` are `filtered`.
    mark_duplicates: see `flag_duplicates`; for more than one chunk call that on the joined frame instead.

    Columns: record i64, alt_index i64 (0-based place in the ALT column, the index into Number=A lists), contig (the
    FASTA's name; null if unknown), pos i64, ref, alt, edit_type u8, reason, vcf_chrom, vcf_pos, vcf_ref, vcf_alt.
    For retained alleles pos, ref and alt are trimmed and left-aligned as `bcftools norm` does; for the others they are
    the VCF's own. edit_type is null where ref or alt are no bases. A base that the reference has as N makes an allele
    `ambiguous_base`, as one in the VCF does.
    """
    alleles = _explode(lines, genome)
    reason = _reason_from_text(alleles, set(genome.contigs) if contigs is None else set(contigs), pass_only)
    alleles = alleles.with_columns(reason.alias("reason")).with_row_index("_row")
    is_open = pl.col("reason").is_null()
    parts = [alleles.filter(~is_open)]
    for (contig,), rows in alleles.filter(is_open).group_by("contig", maintain_order=True):
        parts += _against_reference(rows, genome.bases(str(contig)))
    alleles = pl.concat(parts).sort("_row")
    edit_type = _edit_type(pl.col("ref"), pl.col("alt")).alias("edit_type")
    alleles = alleles.with_columns(edit_type).select(
        "record", "alt_index", *_ALLELE_KEY, "edit_type", "reason", "vcf_chrom", "vcf_pos", "vcf_ref", "vcf_alt"
    )  # fmt: skip
    return flag_duplicates(alleles) if mark_duplicates else alleles


def flag_duplicates(alleles: pl.DataFrame) -> pl.DataFrame:
    """The same rows, each retained allele that a retained one above it equals (after normalisation) now `duplicate`."""
    is_kept = pl.col("reason").is_null()
    is_repeat = is_kept & ~pl.struct(*_ALLELE_KEY, is_kept.alias("kept")).is_first_distinct()
    return alleles.with_columns(pl.when(is_repeat).then(pl.lit("duplicate")).otherwise("reason").alias("reason"))


def left_align(alleles: pl.DataFrame, genome: Genome) -> pl.DataFrame:
    """Trim and left-align alleles that are known to fit the reference, such as synthetic ones.

    alleles: contig (FASTA's names), pos (1-based), ref, alt, of upper-case ACGT, and anything else, which stays.
    The same rows in the same order with pos, ref, alt and edit_type u8 replaced.
    """
    if alleles.is_empty():
        return alleles.with_columns(_edit_type(pl.col("ref"), pl.col("alt")).alias("edit_type"))
    numbered = alleles.with_row_index("_row")
    parts = []
    for (contig,), rows in numbered.group_by("contig", maintain_order=True):
        aligned = normalise(Alleles.of(rows["pos"], rows["ref"], rows["alt"]), genome.bases(str(contig)))
        parts.append(rows.with_columns(*aligned.columns()))
    edit_type = _edit_type(pl.col("ref"), pl.col("alt")).alias("edit_type")
    return pl.concat(parts).sort("_row").drop("_row").with_columns(edit_type)


def account(alleles: pl.DataFrame, source: str) -> pl.DataFrame:
    """Rows of the `variant_accounting` table: source, contig, reason (or "retained"), n_alleles.

    contig is the FASTA's name, or the VCF's where the FASTA has none. The counts sum to the number of rows.
    """
    return (
        alleles.select(
            pl.lit(source, dtype=pl.String).alias("source"),
            pl.coalesce("contig", "vcf_chrom").alias("contig"),
            pl.col("reason").fill_null(RETAINED),
        )
        .group_by("source", "contig", "reason")
        .agg(pl.len().cast(pl.Int64).alias("n_alleles"))
        .sort("source", "contig", "reason")
    )


def _explode(lines: pl.DataFrame, genome: Genome) -> pl.DataFrame:
    """One row for each ALT allele, alleles in upper case, contigs under the FASTA's names."""
    names = lines["chrom"].unique().to_list()
    resolved = pl.DataFrame(
        {"chrom": names, "contig": [genome.resolve(name) for name in names]},
        schema={"chrom": pl.String, "contig": pl.String},
    )
    return (
        lines.select("record", "chrom", "pos", "ref", "filter", pl.col("alt").str.split(","))
        .with_columns(pl.int_ranges(0, pl.col("alt").list.len(), dtype=pl.Int64).alias("alt_index"))
        .explode("alt", "alt_index")
        .join(resolved, on="chrom", how="left", maintain_order="left")
        .select(
            "record", "alt_index", "contig", "pos", "filter",
            pl.col("ref").str.to_uppercase(), pl.col("alt").str.to_uppercase(),
            pl.col("chrom").alias("vcf_chrom"), pl.col("pos").alias("vcf_pos"),
            pl.col("ref").alias("vcf_ref"), pl.col("alt").alias("vcf_alt"),
        )
    )  # fmt: skip


def _reason_from_text(alleles: pl.DataFrame, contigs: set[str], pass_only: bool) -> pl.Expr:
    """The reasons that need no reference."""
    ref, alt = pl.col("ref"), pl.col("alt")
    is_filtered = ~pl.col("filter").is_in(["PASS", "."]) if pass_only else pl.lit(False)
    has_bases = ref.str.contains("^[ACGT]+$") & alt.str.contains("^[ACGT]+$")
    return (
        pl.when(alt.is_in(["", "."]) | (alt == ref)).then(pl.lit("no_alt"))
        .when(alt == "*").then(pl.lit("spanning_deletion"))
        .when(alt.str.contains(r"[\[\]]|^\.|\.$")).then(pl.lit("breakend"))
        .when(alt.str.starts_with("<")).then(pl.lit("symbolic"))
        .when(~pl.col("contig").is_in(list(contigs)).fill_null(False)).then(pl.lit("contig_unknown"))
        .when(is_filtered).then(pl.lit("filtered"))
        .when(~has_bases).then(pl.lit("ambiguous_base"))
        .otherwise(pl.lit(None, dtype=pl.String))
    )  # fmt: skip


def _against_reference(rows: pl.DataFrame, bases: NDArray[np.uint8]) -> list[pl.DataFrame]:
    """The alleles of one contig in parts by reason, after comparison with its bases and normalisation."""
    ref_length = rows["ref"].str.len_bytes().cast(pl.Int64)
    start = rows["pos"] - 1
    is_out = (start < 0) | (start > len(bases) - ref_length)  # the sum could overflow
    parts = [_give_reason(rows.filter(is_out), "out_of_range")]
    inside = rows.filter(~is_out)
    alleles = Alleles.of(inside["pos"], inside["ref"], inside["alt"])
    is_same, has_n = agrees_with_reference(alleles, bases)
    parts.append(_give_reason(inside.filter(pl.Series(has_n)), "ambiguous_base"))
    parts.append(_give_reason(inside.filter(pl.Series(~has_n & ~is_same)), "ref_mismatch"))
    good = inside.filter(pl.Series(is_same & ~has_n))
    aligned = normalise(alleles.take(is_same & ~has_n), bases)
    is_long = aligned.longest() > V1_MAX_LEN
    parts.append(_give_reason(good.filter(pl.Series(is_long)), "too_long"))
    kept = good.filter(pl.Series(~is_long)).with_columns(*aligned.take(~is_long).columns())
    has_n_anchor = kept["ref"].str.contains("N")  # the shift ended beside an unknown base
    parts.append(_give_reason(kept.filter(has_n_anchor), "ambiguous_base"))
    parts.append(kept.filter(~has_n_anchor))
    return parts


def _give_reason(rows: pl.DataFrame, reason: str) -> pl.DataFrame:
    return rows.with_columns(pl.lit(reason, dtype=pl.String).alias("reason"))


def _edit_type(ref: pl.Expr, alt: pl.Expr) -> pl.Expr:
    """`EditType` as u8 from the two lengths; null where an allele is no sequence of bases."""
    r, a = ref.str.len_bytes(), alt.str.len_bytes()
    has_bases = ref.str.contains("^[A-Z]+$") & alt.str.contains("^[A-Z]+$")
    value = (
        pl.when((r > V1_MAX_LEN) | (a > V1_MAX_LEN)).then(int(EditType.SV))
        .when((r == 1) & (a == 1)).then(int(EditType.SNV))
        .when(r == a).then(int(EditType.MNV))
        .when(r == 1).then(int(EditType.INS))
        .when(a == 1).then(int(EditType.DEL))
        .otherwise(int(EditType.INDEL))
    )  # fmt: skip
    return pl.when(has_bases).then(value).otherwise(None).cast(pl.UInt8)
