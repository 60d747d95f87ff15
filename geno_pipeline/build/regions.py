"""Spans of the reference that the holdouts block (spec 3).

Belongs here: from held-out alleles and blocks to spans. Does not: what is held out (`holdouts`), and the proof that
nothing touches it (`leakage`).

Concept: an edit touches a holdout when its reference bases overlap a span, so a twin of a held-out allele stays out
too. What counts as a twin:

- another allele of the same position;
- the same insertion or deletion, written elsewhere in its repeat: CAC[AC]AC is one deletion at four places, so the
  span reaches from the left-most place, at which all alleles stand, to the right-most;
- another allele of the same codon: two bases to either side, and the rest of a codon that an intron interrupts.
"""

from __future__ import annotations

import duckdb
import polars as pl

from data_contracts import HoldoutRegions
from data_contracts.columns import HOLDOUT_CHR, HOLDOUT_CLINVAR, HOLDOUT_HAPLOTYPES
from data_contracts.holdout_regions import CODON, POSITION, SHIFT, SPAN
from geno_model.genomics.genome import Genome
from geno_model.genomics.normalise import Alleles, right_shift
from geno_pipeline.build.holdouts import on_one_axis

CODON_PAD_BP = 2  # bases to either side that may belong to the same codon
CODON_BP = 3


def holdout_regions(
    chr_regions: pl.DataFrame, clinvar: pl.DataFrame, haplotypes: pl.DataFrame, genes: pl.DataFrame, genome: Genome
) -> pl.DataFrame:
    """All spans that the three holdouts block, as a HoldoutRegions frame.

    Args:
        chr_regions: HoldoutChr frame; blocks its spans.
        clinvar: HoldoutClinvar frame; blocks each allele's position, the places of an indel, and its codon.
        haplotypes: HoldoutHaplotypes frame; blocks the span of each block, with the places of its indels.
        genes: GeneAnnotation frame; without coding sequences no interrupted codon is known.
    """
    alleles = allele_spans(clinvar, genome)
    edits = haplotypes.select("contig", "edits").explode("edits").unnest("edits").unique()
    parts = [
        _part(chr_regions, HOLDOUT_CHR, SPAN),
        _part(alleles, HOLDOUT_CLINVAR, POSITION),
        _part(_shifted(alleles), HOLDOUT_CLINVAR, SHIFT),
        _part(codon_spans(alleles, genes), HOLDOUT_CLINVAR, CODON),
        _part(haplotypes, HOLDOUT_HAPLOTYPES, SPAN),
        _part(_shifted(allele_spans(edits, genome)), HOLDOUT_HAPLOTYPES, SHIFT),
    ]
    return pl.concat(parts).unique().sort("holdout", "kind", "contig", "start_bp", "end_bp")


def allele_spans(alleles: pl.DataFrame, genome: Genome) -> pl.DataFrame:
    """contig, start_bp and end_bp of the reference bases of normalised alleles, and shift_bp, how far right an
    insertion or deletion can be written too (0 for the others)."""
    spans = []
    for (contig,), here in alleles.group_by("contig", maintain_order=True):
        columns = Alleles.of(here["pos"], here["ref"], here["alt"])
        shift = right_shift(columns, genome.bases(str(contig)))
        spans.append(
            pl.DataFrame(
                {
                    "contig": here["contig"],
                    "start_bp": columns.start,
                    "end_bp": columns.start + columns.ref_len,
                    "shift_bp": shift,
                }
            )
        )
    schema = {"contig": pl.String, "start_bp": pl.Int64, "end_bp": pl.Int64, "shift_bp": pl.Int64}
    return pl.concat([pl.DataFrame(schema=schema), *spans])


def codon_spans(alleles: pl.DataFrame, genes: pl.DataFrame) -> pl.DataFrame:
    """Spans that may share a codon with each span of `alleles` (contig, start_bp, end_bp)."""
    beside = alleles.select(
        "contig",
        start_bp=(pl.col("start_bp") - CODON_PAD_BP).clip(lower_bound=0),
        end_bp=pl.col("end_bp") + CODON_PAD_BP,
    )
    pieces = interrupted_codons(genes)
    query = """
        SELECT DISTINCT p.codon FROM pieces p
        JOIN alleles a ON a.start_bp < p.end_bp AND p.start_bp < a.end_bp
    """
    with duckdb.connect() as connection:
        connection.register("pieces", on_one_axis(pieces, alleles["contig"]).to_arrow())
        connection.register("alleles", on_one_axis(alleles, alleles["contig"]).to_arrow())
        touched = connection.sql(query).pl()
    across = pieces.join(touched.cast({"codon": pieces.schema["codon"]}), on="codon", how="semi")
    return pl.concat([beside, across.select(beside.columns)])


def interrupted_codons(genes: pl.DataFrame) -> pl.DataFrame:
    """Codons that an intron cuts in two: codon (number), contig, start_bp, end_bp; one row a piece.

    genes: GeneAnnotation frame.
    """
    transcript = ("contig", "transcript_id", "strand")
    forward = pl.col("strand") == "+"
    order = pl.when(forward).then(pl.col("start_bp")).otherwise(-pl.col("end_bp"))
    length = pl.col("end_bp") - pl.col("start_bp")
    ordered = genes.filter(pl.col("feature") == "CDS").with_columns(_order=order).sort(*transcript, "_order")
    before = ordered.with_columns(begun=(length - pl.col("phase")).mod(CODON_BP)).with_columns(
        next_start=pl.col("start_bp").shift(-1).over(transcript), next_end=pl.col("end_bp").shift(-1).over(transcript)
    )
    cut = before.filter((pl.col("begun") > 0) & pl.col("next_start").is_not_null()).with_row_index("codon")
    start, end, begun = pl.col("start_bp"), pl.col("end_bp"), pl.col("begun")
    next_start, next_end, rest = pl.col("next_start"), pl.col("next_end"), CODON_BP - pl.col("begun")
    first = cut.select(
        "codon",
        "contig",
        start_bp=pl.when(forward).then((end - begun).clip(start)).otherwise(start),
        end_bp=pl.when(forward).then(end).otherwise((start + begun).clip(upper_bound=end)),
    )
    second = cut.select(
        "codon",
        "contig",
        start_bp=pl.when(forward).then(next_start).otherwise((next_end - rest).clip(next_start)),
        end_bp=pl.when(forward).then((next_start + rest).clip(upper_bound=next_end)).otherwise(next_end),
    )
    return pl.concat([first, second])


def _shifted(spans: pl.DataFrame) -> pl.DataFrame:
    """Of spans with a shift, all bases from the left-most to the right-most place."""
    return spans.filter(pl.col("shift_bp") > 0).with_columns(end_bp=pl.col("end_bp") + pl.col("shift_bp"))


def _part(spans: pl.DataFrame, holdout: str, kind: str) -> pl.DataFrame:
    schema = HoldoutRegions.empty().schema
    return spans.select("contig", "start_bp", "end_bp", holdout=pl.lit(holdout), kind=pl.lit(kind)).cast(dict(schema))  # pyright: ignore[reportArgumentType]
