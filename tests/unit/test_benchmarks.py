"""Which rows form a ClinVar benchmark, and what its table holds."""

from __future__ import annotations

import numpy as np
import polars as pl
import pytest

from geno_pipeline.evaluation.benchmarks import (
    CONSEQUENCE,
    DISPLACEMENT,
    HEADS,
    SURPRISE,
    benchmark_counts,
    clinvar_benchmarks,
)


def clinvar(n: int, *, is_coding: bool, first_pos: int = 1, region: str = "intron", edit_type: int = 0) -> pl.DataFrame:
    """n alleles, half of them P/LP; surprise ranks them perfectly, displacement the wrong way round."""
    label = np.arange(n) % 2
    return pl.DataFrame(
        {
            "contig": ["1"] * n,
            "pos": np.arange(first_pos, first_pos + n),
            "ref": ["A"] * n,
            "alt": ["C"] * n,
            "edit_type": pl.Series([edit_type] * n, dtype=pl.UInt8),
            "label": pl.Series(label, dtype=pl.Int8),
            "is_coding": [is_coding] * n,
            "region_class": [region] * n,
            "surprise": 0.1 + 0.5 * label,
            "surprise_raw": pl.Series(0.001 + 0.01 * label, dtype=pl.Float32),
            "displacement": pl.Series(0.01 - 0.001 * label, dtype=pl.Float32),
        }
    )


def row(table: pl.DataFrame, track: str, head: str, subset: str = "all") -> dict[str, object]:
    return table.filter(pl.col("track") == track, pl.col("head") == head, pl.col("subset") == subset).row(0, named=True)


def test_every_head_stands_in_every_track_with_its_baseline() -> None:
    scores = pl.concat([clinvar(40, is_coding=True), clinvar(60, is_coding=False, first_pos=1000)])
    table = clinvar_benchmarks(scores, scores, n_resamples=50)
    assert table.height == 2 * 3 * (len(HEADS) + 1)
    coding, displaced = row(table, "ClinVar coding", SURPRISE), row(table, "ClinVar coding", DISPLACEMENT)
    assert (coding["n_positive"], coding["n_negative"], coding["n_excluded"], coding["auroc"]) == (20, 20, 0, 1.0)
    assert displaced["auroc"] == 0.0
    assert row(table, "ClinVar non-coding", SURPRISE)["n_positive"] == 30


def test_alleles_that_could_not_be_scored_are_counted() -> None:
    holdout = clinvar(40, is_coding=True)
    scores = holdout.filter(pl.col("pos") > 4)
    assert row(clinvar_benchmarks(scores, holdout, 10), "ClinVar coding", SURPRISE)["n_excluded"] == 4
    counts = benchmark_counts(scores, holdout)
    assert counts.to_dicts() == [
        {"track": "ClinVar coding", "label": 1, "n_benchmark": 20, "n_retained": 18, "n_excluded": 2},
        {"track": "ClinVar coding", "label": 0, "n_benchmark": 20, "n_retained": 18, "n_excluded": 2},
    ]


def test_a_head_without_a_value_excludes_the_row_for_that_head_only() -> None:
    holdout = clinvar(40, is_coding=True)
    scores = holdout.with_columns(surprise=pl.when(pl.col("pos") > 2).then("surprise"))
    table = clinvar_benchmarks(scores, holdout, 10)
    assert row(table, "ClinVar coding", SURPRISE)["n_excluded"] == 2
    assert row(table, "ClinVar coding", DISPLACEMENT)["n_excluded"] == 0


def test_consequence_class_ranks_nonsense_over_missense_over_the_rest() -> None:
    regions = ["coding_nonsense", "splice", "coding_missense", "coding_synonymous", "intron", "intergenic"]
    scores = pl.concat([clinvar(4, is_coding=True, first_pos=10 * i, region=r) for i, r in enumerate(regions)])
    truth = pl.col("region_class").is_in(["coding_nonsense", "splice", "coding_missense"]).cast(pl.Int8)
    assert (
        row(clinvar_benchmarks(scores.with_columns(label=truth), scores, 10), "ClinVar coding", CONSEQUENCE)["auroc"]
        == 1.0
    )


def test_without_gene_models_the_consequence_baseline_says_so() -> None:
    scores = clinvar(40, is_coding=True, region="other")
    baseline = row(clinvar_benchmarks(scores, scores, 10), "ClinVar coding", CONSEQUENCE)
    assert baseline["auroc"] is None and "no gene models" in str(baseline["note"])


def test_snvs_are_judged_apart() -> None:
    scores = pl.concat([clinvar(40, is_coding=True), clinvar(30, is_coding=True, first_pos=500, edit_type=2)])
    table = clinvar_benchmarks(scores, scores, 10)
    sizes = [row(table, "ClinVar coding", SURPRISE, subset)["n_positive"] for subset in ("all", "SNV", "not SNV")]
    assert sizes == [35, 20, 15]


@pytest.mark.parametrize("n", [0, 6])
def test_a_small_track_is_a_row_that_says_so(n: int) -> None:
    scores = clinvar(40, is_coding=True).head(n)
    result = row(clinvar_benchmarks(scores, scores, 10), "ClinVar coding", SURPRISE)
    assert result["auroc"] is None and result["note"]
