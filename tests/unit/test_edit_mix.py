"""The plan of training rows: exact quotas, substitutes, and nothing that is held out or kept for calibration."""

from __future__ import annotations

from functools import partial
from pathlib import Path

import polars as pl
import pytest

from data_contracts import EditMix, HoldoutChr, ReferenceWindows, validate
from geno_model.genomics.genome import Genome
from geno_pipeline.build.edit_mix import MixError, calibration_reserved, candidates, plan, room
from geno_pipeline.build.holdouts import REGION_SCHEMA
from geno_pipeline.build.windows import assign_windows, reference_windows
from tests.unit.build_inputs import SHARES, STRIDE_BP, WINDOW_BP, clinvar, gnomad, make_genome, snvs

SETTINGS = {"seed": 3, "calibration_fraction": 0.5}
NO_REGIONS = pl.DataFrame(schema=REGION_SCHEMA)
LENGTHS = {"1": WINDOW_BP + 3 * STRIDE_BP, "2": WINDOW_BP + 2 * STRIDE_BP, "21": WINDOW_BP}


@pytest.fixture(scope="module")
def genome(tmp_path_factory: pytest.TempPathFactory) -> Genome:
    return make_genome(Path(tmp_path_factory.mktemp("genome")), LENGTHS)


@pytest.fixture(scope="module")
def windows(genome: Genome) -> pl.DataFrame:
    held = pl.DataFrame([("21", 0, WINDOW_BP)], schema=HoldoutChr.empty().schema, orient="row")
    frames = [reference_windows(genome, contig, WINDOW_BP, STRIDE_BP, 0.05, held)[0] for contig in LENGTHS]
    return validate(ReferenceWindows, pl.concat(frames))


def _sources(mix: pl.DataFrame) -> dict[str, int]:
    return dict(mix.group_by("source").agg(pl.col("n_rows").sum()).rows())


def test_the_mix_is_exact_where_sources_allow(genome: Genome, windows: pl.DataFrame) -> None:
    common = pl.concat([gnomad(snvs(genome, c, list(range(200, 12_000, 100)))) for c in ("1", "2", "21")])
    pathogenic = clinvar(snvs(genome, "1", list(range(250, 20_000, 500))))
    mix, report = plan(windows, common, pathogenic, NO_REGIONS, edits_per_window=8, shares=SHARES, **SETTINGS)
    validate(EditMix, mix)
    # 7 training windows (4 + 3), 56 rows: 22.4, 16.8, 11.2, 5.6
    assert _sources(mix) == {"gnomad": 22, "synthetic_snv": 17, "synthetic_indel": 11, "clinvar": 6}
    assert set(mix["contig"]) == {"1", "2"}
    whole = report.filter(pl.col("contig") == "*")
    assert whole["requested"].to_list() == whole["obtained"].to_list() == [22, 17, 11, 6]
    assert whole["substituted"].to_list() == [0, 0, 0, 0]
    spread = mix.filter(pl.col("source") == "synthetic_snv")["n_rows"].to_list()
    assert sorted(spread) == [2, 2, 2, 2, 3, 3, 3]
    by_contig = report.filter(pl.col("contig") != "*").group_by("source").agg(pl.col("obtained").sum())
    assert dict(by_contig.rows()) == _sources(mix)


def test_a_dry_source_is_made_up_by_synthetic_snvs_and_said(genome: Genome, windows: pl.DataFrame) -> None:
    pathogenic = clinvar(snvs(genome, "1", [5_000, 6_000]))
    mix, report = plan(windows, gnomad([]), pathogenic, NO_REGIONS, edits_per_window=10, shares=SHARES, **SETTINGS)
    assert _sources(mix) == {"synthetic_snv": 21 + 28 + 5, "synthetic_indel": 14, "clinvar": 2}
    whole = report.filter(pl.col("contig") == "*").select("source", "requested", "obtained", "substituted").rows()
    assert whole == [
        ("gnomad", 28, 0, 28),
        ("synthetic_snv", 21, 54, 0),
        ("synthetic_indel", 14, 14, 0),
        ("clinvar", 7, 2, 5),
    ]


def test_the_plan_does_not_depend_on_the_order_of_its_inputs(genome: Genome, windows: pl.DataFrame) -> None:
    common = pl.concat([gnomad(snvs(genome, c, list(range(200, 20_000, 100)))) for c in ("1", "2")])
    pathogenic = clinvar(snvs(genome, "2", [5_000, 6_000]))
    planned = partial(plan, regions=NO_REGIONS, edits_per_window=8, shares=SHARES, calibration_fraction=0.5)
    mix, report = planned(windows, common, pathogenic, seed=3)
    again, report_again = planned(windows.reverse(), common.reverse(), pathogenic.reverse(), seed=3)
    assert mix.equals(again) and report.equals(report_again)
    assert not planned(windows, common, pathogenic, seed=4)[0].equals(mix)


def test_who_may_be_trained_on(genome: Genome, windows: pl.DataFrame) -> None:
    common = pl.concat(
        [gnomad(snvs(genome, "1", list(range(200, 20_000, 50)))), gnomad(snvs(genome, "1", [77]), af=0.009)]
    )
    both = snvs(genome, "1", [200])  # common and pathogenic: counts as pathogenic
    significances = [("P", both), ("LP", snvs(genome, "1", [333])), ("B", snvs(genome, "1", [334]))]
    judged = pl.concat([clinvar(alleles, clnsig) for clnsig, alleles in significances])
    judged = pl.concat([judged, clinvar(snvs(genome, "21", [500]))])
    regions = pl.DataFrame([("1", 1_000, 5_000, "holdout-haplotypes")], schema=REGION_SCHEMA, orient="row")
    found = candidates(windows, common, judged, regions, **SETTINGS)
    assert found.filter(pl.col("source") == "clinvar")["pos"].sort().to_list() == [200, 333]
    taken = found.filter(pl.col("source") == "gnomad")
    assert not taken["pos"].is_between(1_001, 5_000).any() and 77 not in taken["pos"] and 200 not in taken["pos"]
    assert not calibration_reserved(taken, 0.5, 3).any()
    left_out = common.join(taken, on=["contig", "pos"], how="anti")
    reserved = calibration_reserved(left_out, 0.5, 3)
    allowed = left_out.filter(~reserved)["pos"]
    assert allowed.filter(~allowed.is_between(1_001, 5_000)).is_in([77, 200]).all()
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
    first = windows.head(1)  # core [0, 10,240)
    regions = pl.DataFrame([("1", 5_000, 5_001, "holdout-clinvar")], schema=REGION_SCHEMA, orient="row")
    # 10,240 - 15 positions have 16 bp in the core; 16 of them would cover base 5,000
    assert room(first, regions).tolist() == [10_240 - 15 - 16]
    within = pl.DataFrame({"contig": ["1"], "start_bp": [0], "end_bp": [100]})
    assert room(first, NO_REGIONS, within).tolist() == [100 - 15]
    everything = pl.DataFrame(
        [(c, 0, 50_000, "holdout-haplotypes") for c in LENGTHS], schema=REGION_SCHEMA, orient="row"
    )
    with pytest.raises(MixError, match="Hold out less"):
        plan(windows, gnomad([]), clinvar([]), everything, edits_per_window=8, shares=SHARES, **SETTINGS)
    with pytest.raises(MixError, match="expected gnomad"):
        plan(windows, gnomad([]), clinvar([]), NO_REGIONS, edits_per_window=8, shares={"topmed": 1.0}, **SETTINGS)
