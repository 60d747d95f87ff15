"""Which variants calibrate: common, reserved, outside holdouts, in a window, not pathogenic (spec 5)."""

from __future__ import annotations

import polars as pl

from data_contracts.columns import POPULATIONS
from geno_pipeline.build.calibration import calibration_alleles
from geno_pipeline.build.edit_mix import calibration_reserved


def gnomad(n: int) -> pl.DataFrame:
    """n SNVs ten bases apart from position 1,000; every fourth is rare."""
    return pl.DataFrame(
        {
            "contig": ["1"] * n,
            "pos": [1_000 + 10 * i for i in range(n)],
            "ref": ["A"] * n,
            "alt": ["C"] * n,
            "edit_type": pl.Series([0] * n, dtype=pl.UInt8),
            "af": pl.Series([0.001 if i % 4 == 0 else 0.2 for i in range(n)], dtype=pl.Float32),
            **{f"af_{name}": pl.Series([i / n for i in range(n)], dtype=pl.Float32) for name in POPULATIONS},
        }
    )


WINDOWS = pl.DataFrame(
    {
        "contig": ["1"], "start_bp": [0], "end_bp": [12_288], "core_start_bp": [0], "core_end_bp": [2_500],
        "sha256": [""], "gc": [0.4], "n_fraction": [0.0], "holdout": [""],
    }
)  # fmt: skip
REGIONS = pl.DataFrame({"contig": ["1"], "start_bp": [1_500], "end_bp": [1_700], "holdout": ["holdout-haplotypes"]})
CLINVAR = pl.DataFrame({"contig": ["1"], "pos": [1_010], "ref": ["A"], "alt": ["C"], "clnsig": ["LP"]})


def test_every_rule_by_hand() -> None:
    known = gnomad(300)
    chosen = calibration_alleles(known, CLINVAR, WINDOWS, REGIONS, fraction=0.5, min_af=0.01, max_rows=10_000, seed=7)
    reserved = known.filter(calibration_reserved(known, 0.5, 7))
    expected = reserved.filter(
        (pl.col("af") >= 0.01)
        & (pl.col("pos") != 1_010)
        & ~pl.col("pos").is_between(1_501, 1_700)  # 1-based positions of the region [1,500, 1,700)
        & (pl.col("pos") <= 2_500)  # the core's last base
    )
    assert chosen["pos"].to_list() == expected["pos"].to_list()
    assert chosen["af_afr"].to_list() == expected["af_afr"].to_list()
    assert 20 < chosen.height < 75


def test_too_many_are_thinned_the_same_way_whatever_the_order() -> None:
    known = gnomad(300)
    few = [
        calibration_alleles(frame, CLINVAR, WINDOWS, REGIONS, fraction=0.5, min_af=0.01, max_rows=10, seed=7)
        for frame in (known, known.reverse())
    ]
    assert few[0].height == 10 and few[0].equals(few[1])
    assert few[0]["pos"].is_sorted()
