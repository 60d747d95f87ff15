"""The report's figures on calibration, worked out by hand."""

from __future__ import annotations

from typing import Any

import numpy as np
import polars as pl
import pytest

from geno_model.scoring.calibration import calibrate
from geno_pipeline.build.release import ReleaseParts, model_card
from geno_pipeline.evaluation.calibration import calibration_fit, calibration_section
from tests.unit.test_calibration import CONTRACT, EDGES, POLICY, scores, with_types


def test_indels_that_move_the_state_further_do_not_fit_among_all_edits() -> None:
    """900 SNVs below 0.5, 100 indels above: among all edits the indels have the percentiles 0.9 to 1."""
    snvs = scores(("utr5", 1, "none", np.linspace(0, 0.5, 900)))
    indels = with_types(scores(("utr5", 1, "none", np.linspace(0.6, 1, 100))), 2)
    rows = pl.concat([snvs, indels])
    fit = calibration_fit(rows, calibrate(rows, EDGES), EDGES)
    assert fit.select("edits", "among", "n").rows() == [
        ("substitution", "all edits", 900),
        ("substitution", "tables in use", 900),
        ("indel", "all edits", 100),
        ("indel", "tables in use", 100),
    ]
    assert fit["ks"].to_list() == pytest.approx([0.1, 0.0, 0.9, 0.0], abs=0.012)
    assert fit["median"].to_list() == pytest.approx([0.45, 0.5, 0.95, 0.5], abs=0.01)
    assert fit["ks_chance"].to_list() == pytest.approx([0.0453, 0.0453, 0.1358, 0.1358], abs=1e-3)
    assert fit["shift"].null_count() == 4


def test_a_population_whose_common_variants_differ_shifts_percentiles() -> None:
    rows = scores(("utr5", 1, "none", np.linspace(0, 1, 1_000)))
    # Common among Africans: the upper half. A percentile p becomes max(2 p - 1, 0): by 1/4 on average.
    af = pl.when(pl.col("surprise_raw") > 0.5).then(0.2).otherwise(0.001).cast(pl.Float32).alias("af_afr")
    rows = rows.with_columns(af)
    fit = calibration_fit(rows, calibrate(rows, EDGES), EDGES)
    row = fit.row(-1, named=True)
    assert (row["among"], row["n"]) == ("common in afr", 1_000)
    assert row["shift"] == pytest.approx(0.25, abs=0.005) and row["ks"] == pytest.approx(0.5, abs=0.005)
    heading, _, table = calibration_section(fit)
    assert heading.text == "Calibration" and table.rows[-1][-1] == "0.250"  # type: ignore[union-attr]


def test_the_model_card_counts_the_buckets_that_are_of_a_kind_of_region() -> None:
    """The tables `*` are none of them: of SNVs, of indels and of both."""
    rows = pl.concat(
        [
            scores(("utr5", 1, "none", np.linspace(0, 1, 1_000))),
            with_types(scores(("utr5", 1, "none", np.linspace(0, 1, 100))), 2),
        ]
    )
    for n_snvs, n_buckets in ((999, 0), (1_000, 3)):  # region; and GC third; and repeat class
        calibration = calibrate(pl.concat([rows[:n_snvs], rows[1_000:]]), EDGES)
        unread: Any = None
        parts = ReleaseParts(
            unread, unread, unread, unread, CONTRACT, unread, calibration, EDGES, POLICY, unread, {"data": "real"}
        )
        card = model_card(parts)
        assert f"{n_snvs + 100:,} common variants, {n_buckets} buckets by kind of region" in card
