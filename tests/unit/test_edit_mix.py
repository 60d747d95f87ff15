"""The plan of training rows: exact quotas, substitutes, and nothing that is held out or kept for calibration."""

from __future__ import annotations

from functools import partial
from pathlib import Path

import polars as pl
import pytest

from data_contracts import (
    EditMix,
    HoldoutChr,
    HoldoutRegions,
    MixReport,
    PhasedHaplotypes,
    ReferenceWindows,
    TrainingEdits,
    validate,
)
from geno_model.genomics.genome import Genome
from geno_pipeline.build.edit_mix import MixError, calibration_reserved, candidates, mix_report, plan, room
from geno_pipeline.build.windows import assign_windows, reference_windows
from tests.unit.build_inputs import SHARES, STRIDE_BP, WINDOW_BP, clinvar, gnomad, make_genome, snvs

SETTINGS = {"seed": 3, "calibration_fraction": 0.5}
NO_REGIONS = HoldoutRegions.empty()
LENGTHS = {"1": WINDOW_BP + 3 * STRIDE_BP, "2": WINDOW_BP + 2 * STRIDE_BP, "21": WINDOW_BP}


@pytest.fixture(scope="module")
def genome(tmp_path_factory: pytest.TempPathFactory) -> Genome:
    return make_genome(Path(tmp_path_factory.mktemp("genome")), LENGTHS)


@pytest.fixture(scope="module")
def windows(genome: Genome) -> pl.DataFrame:
    held = pl.DataFrame([("21", 0, WINDOW_BP)], schema=HoldoutChr.empty().schema, orient="row")
    frames = [reference_windows(genome, contig, WINDOW_BP, STRIDE_BP, 0.05, held)[0] for contig in LENGTHS]
    return validate(ReferenceWindows, pl.concat(frames))


def region(*spans: tuple[str, int, int]) -> pl.DataFrame:
    """Blocked spans."""
    rows = [(*span, "holdout-haplotypes", "span") for span in spans]
    return pl.DataFrame(rows, schema=HoldoutRegions.empty().schema, orient="row")


def _sources(mix: pl.DataFrame) -> dict[str, int]:
    return dict(mix.group_by("source").agg(pl.col("n_rows").sum()).rows())


def test_the_mix_is_exact_where_sources_allow(genome: Genome, windows: pl.DataFrame) -> None:
    common = pl.concat([gnomad(snvs(genome, c, list(range(200, 12_000, 100)))) for c in ("1", "2", "21")])
    pathogenic = clinvar(snvs(genome, "1", list(range(250, 20_000, 500))))
    mix = plan(windows, common, pathogenic, NO_REGIONS, edits_per_window=8, shares=SHARES, **SETTINGS)
    validate(EditMix, mix)
    # 7 training windows (4 + 3), 56 rows: 22.4, 16.8, 11.2, 5.6
    assert _sources(mix) == {"gnomad": 22, "synthetic_snv": 17, "synthetic_indel": 11, "clinvar": 6}
    assert set(mix["contig"]) == {"1", "2"}
    spread = mix.filter(pl.col("source") == "synthetic_snv")["n_rows"].to_list()
    assert sorted(spread) == [2, 2, 2, 2, 3, 3, 3]


def test_mnvs_and_complex_indels_hold_their_shares_exactly(windows: pl.DataFrame) -> None:
    shares = {"synthetic_indel": 0.5, "synthetic_snv": 0.5}
    kinds = {"mnv_share": 0.3, "complex_share": 0.05}
    mix = plan(windows, gnomad([]), clinvar([]), NO_REGIONS, edits_per_window=100, shares=shares, **kinds, **SETTINGS)
    validate(EditMix, mix)
    assert mix.select("n_mnv", "n_complex").sum().row(0) == (105, 18)  # of 350: 122.5 special ones, 6 of 7 are MNVs
    assert (mix["n_mnv"] + mix["n_complex"] <= mix["n_rows"]).all()
    assert mix.filter(pl.col("source") == "synthetic_snv").select("n_mnv", "n_complex").sum().row(0) == (0, 0)
    of_window = mix.filter(pl.col("source") == "synthetic_indel")["n_mnv"]
    assert of_window.max() - of_window.min() <= 1  # type: ignore[operator]
    none = plan(
        windows, gnomad([]), clinvar([]), NO_REGIONS, edits_per_window=8, shares=shares,
        mnv_share=0.0, complex_share=0.0, **SETTINGS,
    )  # fmt: skip
    assert none.select("n_mnv", "n_complex").sum().row(0) == (0, 0)


def test_a_dry_source_is_made_up_by_synthetic_snvs_and_said(genome: Genome, windows: pl.DataFrame) -> None:
    pathogenic = clinvar(snvs(genome, "1", [5_000, 6_000]))
    mix = plan(windows, gnomad([]), pathogenic, NO_REGIONS, edits_per_window=10, shares=SHARES, **SETTINGS)
    assert _sources(mix) == {"synthetic_snv": 21 + 28 + 5, "synthetic_indel": 14, "clinvar": 2}
    rows = _rows_of(mix)
    report = validate(MixReport, mix_report(mix, rows, PhasedHaplotypes.empty(), SHARES, 0.1))
    assert report.filter(pl.col("by") == "source").drop("by").rows() == [
        ("gnomad", 28, 0, 28),
        ("synthetic_snv", 21, 54, 0),
        ("synthetic_indel", 14, 14, 0),
        ("clinvar", 7, 2, 5),
    ]
    assert report.filter(pl.col("by") == "synthetic_indel").drop("by").rows() == [
        ("insertion or deletion", 11, 11, None), ("MNV", 2, 2, None), ("complex indel", 1, 1, None),
    ]  # fmt: skip
    assert report.filter(pl.col("by") == "k").select("value", "requested", "obtained").rows() == [
        ("1", 63, 69), ("2 or 3", 7, 1),
    ]  # fmt: skip
    assert report.filter(pl.col("by") == "multi_edit")["obtained"].to_list() == [0, 1]
    for by in ("source", "edit_type", "contig", "k"):
        assert report.filter(pl.col("by") == by)["obtained"].sum() == 70


def _rows_of(mix: pl.DataFrame) -> pl.DataFrame:
    """Training rows that follow a plan in source and kind; one of them has two edits."""
    rows = []
    for contig, start, source, n, n_mnv, n_complex in mix.rows():
        plain = [0 if source != "synthetic_indel" else 1] * (n - n_mnv - n_complex)
        for code in [*plain, *[3] * n_mnv, *[4] * n_complex]:
            edits = [{"pos": start + 1, "ref": "A", "alt": "C"}] * (1 if rows else 2)
            row_id = f"{contig}:{start}:{len(rows)}"
            rows.append((row_id, contig, start, start + WINDOW_BP, "0" * 64, source, len(edits), edits, code, 0))
    return pl.DataFrame(rows, schema=TrainingEdits.empty().schema, orient="row")


def test_the_plan_does_not_depend_on_the_order_of_its_inputs(genome: Genome, windows: pl.DataFrame) -> None:
    common = pl.concat([gnomad(snvs(genome, c, list(range(200, 20_000, 100)))) for c in ("1", "2")])
    pathogenic = clinvar(snvs(genome, "2", [5_000, 6_000]))
    planned = partial(plan, regions=NO_REGIONS, edits_per_window=8, shares=SHARES, calibration_fraction=0.5)
    mix = planned(windows, common, pathogenic, seed=3)
    assert planned(windows.reverse(), common.reverse(), pathogenic.reverse(), seed=3).equals(mix)
    assert not planned(windows, common, pathogenic, seed=4).equals(mix)


def test_who_may_be_trained_on(genome: Genome, windows: pl.DataFrame) -> None:
    common = pl.concat(
        [gnomad(snvs(genome, "1", list(range(2_200, 20_000, 50)))), gnomad(snvs(genome, "1", [2_077]), af=0.009)]
    )
    both = snvs(genome, "1", [2_200])  # common and pathogenic: counts as pathogenic
    significances = [("P", both), ("LP", snvs(genome, "1", [2_333])), ("B", snvs(genome, "1", [2_334]))]
    judged = pl.concat([clinvar(alleles, clnsig) for clnsig, alleles in significances])
    judged = pl.concat([judged, clinvar(snvs(genome, "21", [500]))])
    regions = region(("1", 3_000, 5_000))
    found = candidates(windows, common, judged, regions, **SETTINGS)
    assert found.filter(pl.col("source") == "clinvar")["pos"].sort().to_list() == [2_200, 2_333]
    taken = found.filter(pl.col("source") == "gnomad")
    assert not taken["pos"].is_between(3_001, 5_000).any() and 2_077 not in taken["pos"] and 2_200 not in taken["pos"]
    assert not calibration_reserved(taken, 0.5, 3).any()
    left_out = common.join(taken, on=["contig", "pos"], how="anti")
    reserved = calibration_reserved(left_out, 0.5, 3)
    allowed = left_out.filter(~reserved)["pos"]
    assert allowed.filter(~allowed.is_between(3_001, 5_000)).is_in([2_077, 2_200]).all()
    assert taken.height > 100
    assert (
        assign_windows(taken.drop("window_start_bp"), windows)["window_start_bp"].to_list()
        == taken["window_start_bp"].to_list()
    )


def test_reserved_share_is_about_right_and_per_allele() -> None:
    alleles = pl.DataFrame({"contig": ["1"] * 4_000, "pos": range(4_000), "ref": ["A"] * 4_000, "alt": ["C"] * 4_000})
    reserved = calibration_reserved(alleles, 0.25, 1)
    assert 900 < reserved.sum() < 1_100
    assert calibration_reserved(alleles.reverse(), 0.25, 1).reverse().to_list() == reserved.to_list()
    assert not calibration_reserved(alleles, 0.0, 1).any() and calibration_reserved(alleles, 1.0, 1).all()


def test_room_by_hand_and_none_left(windows: pl.DataFrame) -> None:
    first = windows.head(1)  # core [2,042, 10,240)
    regions = region(("1", 5_000, 5_001))
    # All but 15 positions have 16 bp in the core; 16 of them would cover base 5,000
    assert room(first, regions).tolist() == [10_240 - 2_042 - 15 - 16]
    within = pl.DataFrame({"contig": ["1"], "start_bp": [3_000], "end_bp": [3_100]})
    assert room(first, NO_REGIONS, within).tolist() == [100 - 15]
    everything = region(*((c, 0, 50_000) for c in LENGTHS))
    with pytest.raises(MixError, match="Hold out less"):
        plan(windows, gnomad([]), clinvar([]), everything, edits_per_window=8, shares=SHARES, **SETTINGS)
    with pytest.raises(MixError, match="expected gnomad"):
        plan(windows, gnomad([]), clinvar([]), NO_REGIONS, edits_per_window=8, shares={"topmed": 1.0}, **SETTINGS)
