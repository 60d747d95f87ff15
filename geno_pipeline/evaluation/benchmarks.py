"""ClinVar benchmarks: how well each score tells pathogenic from benign alleles (spec 6, first track).

Belongs here: which rows form a benchmark, which scores stand in its table, and the counts of rows that took part and
that did not. Does not belong here: the figures themselves (`metrics`), and ClinVar's own parsing.

Concept: every table has all heads, never only the better one, and a baseline that needs no model at all (the class of
the consequence). SNVs are also judged apart from the rest: an indel whose length is not a multiple of six shifts the
encoder's reading frame, which moves the state for a reason that is not biology.
"""

from __future__ import annotations

from dataclasses import asdict

import polars as pl

from geno_model.genomics.edits import EditType
from geno_pipeline.evaluation.metrics import Ranking, rank

TRACKS = {"ClinVar coding": pl.col("is_coding"), "ClinVar non-coding": ~pl.col("is_coding")}
SURPRISE, SURPRISE_RAW, DISPLACEMENT = "surprise (percentile)", "surprise (raw)", "displacement"
CONSEQUENCE = "baseline: consequence class"
HEADS = {SURPRISE: "surprise", SURPRISE_RAW: "surprise_raw", DISPLACEMENT: "displacement"}
SUBSETS = {
    "all": pl.lit(True),
    "SNV": pl.col("edit_type") == int(EditType.SNV),
    "not SNV": pl.col("edit_type") != int(EditType.SNV),
}
NO_ANNOTATION = "other"
CONSEQUENCE_CLASS = {"coding_nonsense": 2, "splice": 2, "coding_missense": 1}
ALLELE = ["contig", "pos", "ref", "alt"]

SCHEMA = pl.Schema(
    {
        "track": pl.String,
        "subset": pl.String,
        "head": pl.String,
        "n_positive": pl.Int64,
        "n_negative": pl.Int64,
        "n_excluded": pl.Int64,
        "auroc": pl.Float64,
        "auroc_low": pl.Float64,
        "auroc_high": pl.Float64,
        "auprc": pl.Float64,
        "auprc_low": pl.Float64,
        "auprc_high": pl.Float64,
        "note": pl.String,
    }
)


def clinvar_benchmarks(
    scores: pl.DataFrame, holdout: pl.DataFrame, n_resamples: int = 1000, seed: int = 0
) -> pl.DataFrame:
    """One row a track, subset and head, with AUROC, AUPRC and their 95 % intervals (`SCHEMA`).

    Args:
        scores: `clinvar_scores` (data_contracts.clinvar_scores).
        holdout: `holdout_clinvar`, the alleles that the benchmark is made of. Those that are not in `scores`, or that a
            head cannot judge, are that row's `n_excluded`.
        n_resamples: stratified bootstrap resamples behind each interval.
        seed: of the resampling.

    Returns:
        The table; `note` says why a row has no figures. The percentile and the raw score differ in that the percentile
        compares an allele with common variants of its own context only.
    """
    rows = []
    for track, in_track in TRACKS.items():
        for subset, in_subset in SUBSETS.items():
            chosen = scores.filter(in_track & in_subset)
            n_benchmark = holdout.filter(in_track & in_subset).height
            for head, column in HEADS.items():
                judged = chosen.filter(pl.col(column).is_finite())
                result = rank(judged["label"].to_numpy(), judged[column].to_numpy(), n_resamples, seed)
                rows.append(_row(track, subset, head, n_benchmark, result))
            rows.append(_row(track, subset, CONSEQUENCE, n_benchmark, _consequence_class(chosen, n_resamples, seed)))
    return pl.DataFrame(rows, schema=SCHEMA)


def benchmark_counts(scores: pl.DataFrame, holdout: pl.DataFrame) -> pl.DataFrame:
    """Alleles of each track: in the benchmark, retained (scored) and excluded (could not be scored).

    Columns: track, label (1 P/LP, 0 B/LB), n_benchmark, n_retained, n_excluded.
    """
    track = pl.when("is_coding").then(pl.lit("ClinVar coding")).otherwise(pl.lit("ClinVar non-coding")).alias("track")
    scored = scores.select(ALLELE).unique().with_columns(is_scored=pl.lit(True))
    counts = (
        holdout.join(scored, on=ALLELE, how="left")
        .group_by(track, "label")
        .agg(n_benchmark=pl.len(), n_retained=pl.col("is_scored").fill_null(False).sum())
        .cast({"n_benchmark": pl.Int64, "n_retained": pl.Int64})
    )
    return counts.with_columns(n_excluded=pl.col("n_benchmark") - pl.col("n_retained")).sort(
        "track", "label", descending=[False, True]
    )


def _consequence_class(chosen: pl.DataFrame, n_resamples: int, seed: int) -> Ranking:
    """The score that needs no model: nonsense and splice 2, missense 1, all else 0, where the region class is known."""
    known = chosen.filter(pl.col("region_class") != NO_ANNOTATION)
    if known.is_empty() and not chosen.is_empty():
        return Ranking(0, 0, note="no gene models: the region class of every allele is 'other'")
    values = known["region_class"].replace_strict(CONSEQUENCE_CLASS, default=0, return_dtype=pl.Int64)
    return rank(known["label"].to_numpy(), values.to_numpy(), n_resamples, seed)


def _row(track: str, subset: str, head: str, n_benchmark: int, result: Ranking) -> dict[str, object]:
    n_judged = result.n_positive + result.n_negative
    return {
        "track": track,
        "subset": subset,
        "head": head,
        "n_excluded": max(n_benchmark - n_judged, 0),
        **asdict(result),
    }
