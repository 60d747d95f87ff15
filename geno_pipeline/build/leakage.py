"""The proof that training and calibration saw nothing of a holdout (spec 3).

Belongs here: counting the rows, as they were written, that share something with a holdout. Does not: what is held out
(`holdouts`) and the spans that drawing keeps away from (`regions`).

Concept: the count knows nothing of how rows were drawn. It reads the holdouts and the rows, brings the alleles of both
to one form, and joins them with DuckDB. Every line must be 0.
"""

from __future__ import annotations

from dataclasses import dataclass

import duckdb
import polars as pl

from data_contracts.columns import HOLDOUT_CHR, HOLDOUT_CLINVAR, HOLDOUT_HAPLOTYPES
from geno_model.genomics.genome import Genome
from geno_model.genomics.normalise import Alleles, normalise
from geno_pipeline.build.holdouts import on_one_axis
from geno_pipeline.build.regions import allele_spans, codon_spans

KINDS = (
    (HOLDOUT_CHR, "edit"),
    (HOLDOUT_CHR, "window"),
    (HOLDOUT_CLINVAR, "allele"),
    (HOLDOUT_CLINVAR, "position"),
    (HOLDOUT_CLINVAR, "codon"),
    (HOLDOUT_HAPLOTYPES, "allele"),
    (HOLDOUT_HAPLOTYPES, "block"),
)
_KEY = ["contig", "pos", "ref", "alt"]


@dataclass(frozen=True, slots=True)
class Holdouts:
    """The three holdouts as they are stored, and what is needed to compare alleles with them.

    chr_regions HoldoutChr, clinvar HoldoutClinvar, haplotypes HoldoutHaplotypes, genes GeneAnnotation.
    """

    chr_regions: pl.DataFrame
    clinvar: pl.DataFrame
    haplotypes: pl.DataFrame
    genes: pl.DataFrame
    genome: Genome


def leakage(rows: pl.DataFrame, held: Holdouts) -> pl.DataFrame:
    """Rows that share something with a holdout.

    Args:
        rows: TrainingEdits, or a frame of single alleles (contig, pos, ref, alt) such as CalibrationScores.

    Returns:
        holdout, kind, n_rows; each kind counts the rows of which any edit

        - `allele`: is a held-out allele, however it is written (both are normalised);
        - `position`: has a reference base of a held-out ClinVar allele;
        - `codon`: may lie in a codon with one;
        - `edit`, `block`: has a reference base in a span of holdout-chr, in a held-out haplotype block;

        and `window` those that name a window which overlaps a span of holdout-chr.
    """
    numbered = rows.with_row_index("row")
    if "edits" in rows.columns:
        edits = numbered.select("row", "contig", "edits").explode("edits").unnest("edits")
        windows = numbered.select("row", "contig", start_bp="window_start_bp", end_bp="window_end_bp")
    else:
        edits = numbered.select("row", *_KEY)
        windows = numbered.head(0).select("row", "contig", start_bp="pos", end_bp="pos")
    first = pl.col("pos") - 1
    spans = edits.select("row", "contig", start_bp=first, end_bp=first + pl.col("ref").str.len_bytes())
    clinvar = allele_spans(held.clinvar, held.genome)
    counts = _overlaps(
        {"edit": spans, "window": windows},
        {
            (HOLDOUT_CHR, "edit"): held.chr_regions,
            (HOLDOUT_CHR, "window"): held.chr_regions,
            (HOLDOUT_CLINVAR, "position"): clinvar,
            (HOLDOUT_CLINVAR, "codon"): codon_spans(clinvar, held.genes),
            (HOLDOUT_HAPLOTYPES, "block"): held.haplotypes,
        },
    )
    alleles = edits.select("row", *_KEY).pipe(_normalised, held.genome)
    of_blocks = held.haplotypes.select("contig", "edits").explode("edits").unnest("edits")
    for holdout, known in ((HOLDOUT_CLINVAR, held.clinvar), (HOLDOUT_HAPLOTYPES, of_blocks)):
        twins = alleles.join(_normalised(known.select(_KEY), held.genome), on=_KEY, how="semi")
        counts[holdout, "allele"] = twins["row"].n_unique()
    lines = [(holdout, kind, counts[holdout, kind]) for holdout, kind in KINDS]
    return pl.DataFrame(lines, schema={"holdout": pl.String, "kind": pl.String, "n_rows": pl.Int64}, orient="row")


def _overlaps(
    spans: dict[str, pl.DataFrame], regions: dict[tuple[str, str], pl.DataFrame]
) -> dict[tuple[str, str], int]:
    """For each set of regions how many rows have a span, the window or an edit, that shares a base with one."""
    query = """
        SELECT count(DISTINCT s.row) AS n_rows
        FROM spans s JOIN regions r ON s.start_bp < r.end_bp AND r.start_bp < s.end_bp
    """
    counts = {}
    with duckdb.connect() as connection:
        for (holdout, kind), frame in regions.items():
            theirs = frame.select("contig", "start_bp", "end_bp").unique()
            ours = spans["window" if kind == "window" else "edit"]
            connection.register("regions", on_one_axis(theirs, theirs["contig"]).to_arrow())
            connection.register("spans", on_one_axis(ours, theirs["contig"]).to_arrow())
            counts[holdout, kind] = int(connection.sql(query).pl()["n_rows"][0])
    return counts


def _normalised(alleles: pl.DataFrame, genome: Genome) -> pl.DataFrame:
    """The frame with contig, pos, ref, alt trimmed and left-aligned."""
    parts = []
    for (contig,), here in alleles.group_by("contig", maintain_order=True):
        columns = Alleles.of(here["pos"], here["ref"], here["alt"])
        parts.append(here.with_columns(normalise(columns, genome.bases(str(contig))).columns()))
    return pl.concat([alleles.head(0), *parts])
