"""Calibration: hand-worked percentiles and back-off, uniform on its own data, monotone, the file's identity."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from data_contracts import CalibrationScores
from data_contracts.columns import POPULATIONS
from geno_model.encoder.state_contract import StateContract
from geno_model.release.config import WindowPolicy
from geno_model.scoring.calibration import (
    Percentiles,
    calibrate,
    percentile,
    percentile_in_words,
    read_calibration,
    with_percentiles,
    write_calibration,
)
from geno_model.scoring.errors import CalibrationError

CONTRACT = StateContract(3072, 2048, "right", -1, "centered_mean", 16, True, "float32", "locus", "ab" * 32)
EDGES = (0.4, 0.5)
POLICY: WindowPolicy = "most_central"
GC = {0: 0.3, 1: 0.45, 2: 0.6}


def scores(*parts: tuple[str, int, str, np.ndarray]) -> pl.DataFrame:
    """Calibration scores: for each part region class, GC third, repeat class and the raw surprises."""
    frames = [
        pl.DataFrame({"surprise_raw": raw}).with_columns(
            contig=pl.lit("1"),
            pos=pl.int_range(1, pl.len() + 1),
            ref=pl.lit("A"),
            alt=pl.lit("C"),
            edit_type=pl.lit(0),
            region_class=pl.lit(region),
            gc=pl.lit(GC[third]),
            repeat_class=pl.lit(repeat),
            displacement=pl.lit(0.0),
            **{f"af_{name}": pl.lit(None, dtype=pl.Float32) for name in POPULATIONS},
        )
        for region, third, repeat, raw in parts
    ]
    schema = CalibrationScores.empty().schema
    return pl.concat(frames).select(schema.names()).cast(schema)


def look_up(
    table: pl.DataFrame,
    region: str,
    third: int,
    repeat: str,
    raw: list[float],
    edit_type: int = 0,
    population: str = "all",
) -> pl.DataFrame:
    n = len(raw)
    return Percentiles(table, population).lookup(
        pl.Series([edit_type] * n),
        pl.Series([region] * n),
        pl.Series([third] * n),
        pl.Series([repeat] * n),
        pl.Series(raw, dtype=pl.Float32),
    )


def test_percentiles_worked_by_hand() -> None:
    grid = np.array([0.0, 1.0, 1.0, 3.0, 4.0])  # shares 0, 1/4, 2/4, 3/4, 1
    values = np.array([-1.0, 0.0, 0.5, 1.0, 2.0, 3.0, 3.5, 4.0, 9.0])
    expected = [0.0, 0.0, 0.125, 0.375, 0.625, 0.75, 0.875, 1.0, 1.0]
    np.testing.assert_array_equal(percentile(values, grid), expected)


def test_back_off_goes_to_the_finest_bucket_that_exists() -> None:
    steps = np.linspace(0, 1, 1_001)
    table = calibrate(
        scores(
            ("intron", 0, "none", steps),  # 1,001 rows: a bucket of its own
            ("intron", 1, "none", 1 + steps[:600]),  # 600 + 500 rows: together enough for intron|1
            ("intron", 1, "simple", 1 + steps[:500]),
            ("intron", 2, "none", steps[:10]),  # only region is large enough
            ("utr5", 0, "none", steps[:10]),  # only * is left
        ),
        EDGES,
    )
    assert table["edit_class"].to_list() == ["substitution"] * 5 + ["any"]
    assert table.select("bucket_id", "level", "parent", "n").rows()[:5] == [
        ("intron|0|none", 0, "intron|0", 1_001),
        ("intron|0", 1, "intron", 1_001),
        ("intron|1", 1, "intron", 1_100),
        ("intron", 2, "*", 2_111),
        ("*", 3, None, 2_121),
    ]
    assert look_up(table, "intron", 0, "none", [0.25])["bucket_id"][0] == "intron|0|none"
    assert look_up(table, "intron", 0, "none", [0.25])["surprise"][0] == pytest.approx(0.25)
    assert look_up(table, "intron", 0, "transposon", [0.25])["bucket_id"][0] == "intron|0"
    assert look_up(table, "intron", 1, "none", [0.25])["bucket_id"][0] == "intron|1"
    assert look_up(table, "intron", 2, "none", [0.25])["bucket_id"][0] == "intron"
    assert look_up(table, "splice", 2, "none", [0.25]).row(0, named=True) == {
        "surprise": pytest.approx(look_up(table, "utr5", 0, "none", [0.25])["surprise"][0]),
        "bucket_id": "*",
        "n_calibration": 2_121,
        "confidence": 1.0,
        "low_confidence": False,
    }


@pytest.mark.parametrize(("n", "confidence", "is_low"), [(99, 0.099, True), (100, 0.1, False), (1_000, 1.0, False)])
def test_confidence_follows_the_rows_of_the_bucket(n: int, confidence: float, is_low: bool) -> None:
    table = calibrate(scores(("other", 1, "none", np.linspace(0, 1, n))), EDGES)
    row = look_up(table, "utr3", 0, "simple", [0.5]).row(0, named=True)
    assert (row["n_calibration"], row["confidence"], row["low_confidence"]) == (n, pytest.approx(confidence), is_low)


def test_a_mixed_frame_keeps_its_order() -> None:
    rng = np.random.default_rng(1)
    table = calibrate(scores(("intron", 0, "none", rng.random(1_500)), ("utr5", 2, "none", rng.random(1_500))), EDGES)
    region = ["utr5", "intron", "splice"] * 50
    third = [2, 0, 1] * 50
    raw = rng.random(150).astype(np.float32)
    together = Percentiles(table).lookup(
        pl.Series([0] * 150), pl.Series(region), pl.Series(third), pl.Series(["none"] * 150), pl.Series(raw)
    )
    alone = pl.concat(look_up(table, region[i], third[i], "none", [float(raw[i])]) for i in range(150))
    assert together.equals(alone)
    assert together["bucket_id"].to_list()[:3] == ["utr5|2|none", "intron|0|none", "*"]


def test_uniform_on_its_own_calibration_data() -> None:
    """Kolmogorov-Smirnov in every bucket: the percentiles of the calibration rows are uniform up to the grid's step."""
    rng = np.random.default_rng(7)
    rows = scores(
        ("intron", 0, "none", rng.lognormal(-5, 1, 3_000)),
        ("intron", 2, "simple", rng.gamma(2, 0.01, 1_234)),
        ("utr3", 1, "none", rng.random(2_000) * 0.001),
    )
    table = calibrate(rows, EDGES)
    scored = with_percentiles(rows, Percentiles(table), EDGES)
    assert scored["bucket_id"].n_unique() == 3
    for _, bucket in scored.group_by("bucket_id"):
        found = np.sort(bucket["surprise"].to_numpy())
        n = len(found)
        distance = max(np.max(np.arange(1, n + 1) / n - found), np.max(found - np.arange(n) / n))
        assert distance < 0.002, bucket["bucket_id"][0]  # the 5 % critical value at n = 3,000 is 0.025


@settings(deadline=None)
@given(
    calibration=st.lists(st.floats(0, 2, width=32), min_size=1, max_size=60),
    values=st.lists(st.floats(0, 2, width=32), min_size=2, max_size=60),
)
def test_monotone_and_within_0_and_1(calibration: list[float], values: list[float]) -> None:
    """A higher raw score never has a lower percentile, also among ties and outside the calibration's range."""
    table = calibrate(scores(("other", 1, "none", np.array(calibration))), EDGES)
    ordered = sorted(values + calibration)
    found = look_up(table, "other", 1, "none", ordered)["surprise"].to_numpy()
    assert np.all(np.diff(found) >= 0)
    assert found[0] >= 0 and found[-1] <= 1


def with_types(frame: pl.DataFrame, edit_type: int) -> pl.DataFrame:
    return frame.with_columns(pl.lit(edit_type, dtype=pl.UInt8).alias("edit_type"))


def test_indels_are_judged_among_indels() -> None:
    """Common indels that move the state a hundred times as far as SNVs are no more surprising for that."""
    steps = np.linspace(0, 0.01, 1_001)
    snvs, indels = scores(("utr5", 1, "none", steps)), scores(("utr5", 1, "none", steps * 100))
    table = calibrate(pl.concat([snvs, with_types(indels, 1)]), EDGES)
    found = {kind: look_up(table, "utr5", 1, "none", [0.005, 0.5], kind)["surprise"].to_list() for kind in range(5)}
    assert found[0] == found[3] == [pytest.approx(0.5), 1.0]  # SNV, MNV
    assert found[1] == found[2] == found[4] == [pytest.approx(0.005), pytest.approx(0.5)]  # INS, DEL, INDEL


def test_a_class_without_rows_of_its_own_has_no_confidence() -> None:
    table = calibrate(scores(("utr5", 1, "none", np.linspace(0, 1, 2_000))), EDGES)
    row = look_up(table, "utr5", 1, "none", [0.5], edit_type=2).row(0, named=True)
    assert (row["bucket_id"], row["n_calibration"], row["confidence"], row["low_confidence"]) == ("*", 0, 0.0, True)
    few = calibrate(
        pl.concat(
            [scores(("utr5", 1, "none", np.ones(2_000))), with_types(scores(("utr3", 1, "none", np.ones(3))), 1)]
        ),
        EDGES,
    )
    row = look_up(few, "utr5", 1, "none", [0.5], edit_type=2).row(0, named=True)
    assert (row["bucket_id"], row["n_calibration"], row["low_confidence"], row["surprise"]) == ("*", 3, True, 0.0)


def test_each_population_has_tables_of_what_is_common_there() -> None:
    rows = scores(("utr5", 1, "none", np.linspace(0, 1, 400)))
    # Common among Africans: the 200 rows with the largest raw surprise. Among East Asians: 99 rows, too few.
    rows = rows.with_columns(
        pl.when(pl.col("surprise_raw") > 0.5).then(0.2).otherwise(0.001).cast(pl.Float32).alias("af_afr"),
        pl.when(pl.int_range(pl.len()) < 99).then(0.5).otherwise(0.0).cast(pl.Float32).alias("af_eas"),
    )
    table = calibrate(rows, EDGES)
    assert table["population"].unique(maintain_order=True).to_list() == ["all", "afr"]
    assert table.filter(pl.col("population") == "afr")["n"].to_list() == [200, 200]
    assert look_up(table, "utr5", 1, "none", [0.75])["surprise"][0] == pytest.approx(0.75, abs=0.003)
    assert look_up(table, "utr5", 1, "none", [0.75], population="afr")["surprise"][0] == pytest.approx(0.5, abs=0.006)
    with pytest.raises(CalibrationError, match="no calibration for the population 'eas'; this release has all, afr"):
        Percentiles(table, "eas")


def test_row_order_does_not_change_a_byte(tmp_path: Path) -> None:
    rng = np.random.default_rng(3)
    rows = scores(("intron", 0, "none", rng.random(2_000)), ("utr5", 1, "none", rng.random(1_200)))
    for name, frame in (("a", rows), ("b", rows.sample(fraction=1, shuffle=True, seed=4))):
        write_calibration(calibrate(frame, EDGES), tmp_path / name, CONTRACT, EDGES, POLICY)
    assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes()


def test_a_calibration_of_no_rows_or_of_nan_is_refused() -> None:
    with pytest.raises(CalibrationError, match="no common variants"):
        calibrate(scores(("other", 0, "none", np.array([]))), EDGES)
    with pytest.raises(CalibrationError, match="1 of 2 common variants"):
        calibrate(scores(("other", 0, "none", np.array([0.1, np.nan]))), EDGES)


def test_the_file_knows_which_states_and_thirds_it_is_of(tmp_path: Path) -> None:
    table = calibrate(scores(("other", 1, "none", np.linspace(0, 1, 50))), EDGES)
    path = tmp_path / "calibration.parquet"
    write_calibration(table, path, CONTRACT, EDGES, POLICY)
    assert read_calibration(path, CONTRACT, EDGES, POLICY).equals(table)
    with pytest.raises(CalibrationError, match="state contract"):
        read_calibration(path, replace(CONTRACT, radius_tokens=64), EDGES, POLICY)
    with pytest.raises(CalibrationError, match="GC thirds"):
        read_calibration(path, CONTRACT, (0.4, 0.51), POLICY)
    with pytest.raises(CalibrationError, match="window policy 'most_central', the release scores with 'centred'"):
        read_calibration(path, CONTRACT, EDGES, "centred")
    table.write_parquet(path)  # without the metadata
    with pytest.raises(CalibrationError, match="no calibration table"):
        read_calibration(path, CONTRACT, EDGES, POLICY)
    path.write_bytes(b"PAR1")
    with pytest.raises(CalibrationError, match="no calibration table"):
        read_calibration(path, CONTRACT, EDGES, POLICY)
    with pytest.raises(CalibrationError, match="no calibration table"):
        read_calibration(tmp_path / "absent", CONTRACT, EDGES, POLICY)


@pytest.mark.parametrize(
    ("surprise", "n", "words"),
    [
        (1.0, 131, "> 0.992"),  # 131 / 132 = 0.99242
        (0.9925, 131, "> 0.992"),
        (0.9924, 131, "0.992"),
        (0.0, 131, "< 0.008"),  # 1 / 132 = 0.00758
        (0.87149, 131, "0.871"),
        (1.0, 999, "> 0.999"),
        (1.0, 1_000, "> 0.9990"),
        (1.0, 10_000, "> 0.99990"),
        (1.0, 4, "> 0.80"),
        (1.0, 0, "> 0.99"),
    ],
)
def test_a_percentile_in_words_says_no_more_than_n_variants_can(surprise: float, n: int, words: str) -> None:
    assert percentile_in_words(surprise, n) == words
