"""Which scores and groups stand in the benchmarks' tables, and what takes part."""

from __future__ import annotations

from typing import Any

import numpy as np
import polars as pl
import pytest

from data_contracts.benchmark_alleles import BRCA1, CODING, NON_CODING, TRACKS, TRAITGYM
from geno_pipeline.build.clinvar import ingest_clinvar
from geno_pipeline.evaluation.alleles import clinvar_rows
from geno_pipeline.evaluation.benchmarks import (
    BASELINES,
    CLINVAR,
    CONSEQUENCE,
    DISPLACEMENT,
    DISTANCE,
    HEADS,
    KINDS,
    NO_CHANGE,
    REGION,
    SCORES,
    SURPRISE,
    ZERO_SHOT,
    evaluated,
    figures,
    within_groups,
)
from geno_pipeline.evaluation.metrics import rank
from tests.shared_data import SHARED, needs_shared_data, shared_genome
from tests.unit.benchmark_rows import NO_CALIBRATION, alleles, judged, scores, zero_shots

CLASSES = ["coding_nonsense", "splice", "coding_missense", "coding_synonymous", "intron", "intergenic"]


def row(table: pl.DataFrame, **of: str) -> dict[str, object]:
    found = table.filter(*(pl.col(name) == value for name, value in of.items()))
    assert found.height == 1, of
    return found.row(0, named=True)


def ranked(table: pl.DataFrame, track: str, score: str, subset: str = "all", family: str = "kind") -> dict[str, object]:
    return row(table, track=track, score=score, subset=subset, family=family)


def test_every_score_stands_in_every_table() -> None:
    rows = judged(pl.concat([alleles(40), alleles(60, NON_CODING, 1000)]))
    found = figures(rows, n_resamples=20)
    kinds = found.ranking.filter(pl.col("family") == "kind")
    assert kinds.height == (len(TRACKS) + 1) * len(KINDS) * len(SCORES)
    for track in (CODING, NON_CODING):
        mine = kinds.filter((pl.col("track") == track) & (pl.col("subset") == "all"))
        assert mine["score"].to_list() == list(SCORES)
    coding, displaced = (ranked(found.ranking, CODING, head) for head in (SURPRISE, DISPLACEMENT))
    assert (coding["n_positive"], coding["n_negative"], coding["n_excluded"], coding["auroc"]) == (20, 20, 0, 1.0)
    assert displaced["auroc"] == 0.0
    assert ranked(found.ranking, CLINVAR, SURPRISE)["n_positive"] == 50
    pairs = found.differences.filter((pl.col("track") == CODING) & (pl.col("subset") == "all"))
    assert pairs.select("score", "against").rows() == [(a, b) for a in HEADS for b in BASELINES]


def test_a_benchmark_without_a_file_says_so_and_the_rest_is_made() -> None:
    found = figures(judged(alleles(40)), n_resamples=20)
    assert ranked(found.ranking, BRCA1, SURPRISE)["note"] == "no file was given"
    assert ranked(found.ranking, CODING, SURPRISE)["auroc"] == 1.0


@pytest.mark.parametrize(
    ("changes", "note"),
    [
        ({"label": 1}, "one class only: no ranking to judge"),
        ({"label": (pl.col("number") < 9).cast(pl.Int8)}, "fewer than 10 positives: too few for an interval"),
    ],
)
def test_what_cannot_be_judged_is_said_at_its_row(changes: dict[str, Any], note: str) -> None:
    rows = judged(pl.concat([alleles(40, **changes), alleles(60, NON_CODING, 1000)]))
    found = figures(rows, n_resamples=20)
    assert ranked(found.ranking, CODING, SURPRISE)["note"] == note
    assert row(found.differences, track=CODING, subset="all", score=SURPRISE, against=NO_CHANGE)["note"]
    assert ranked(found.ranking, NON_CODING, SURPRISE)["auroc"] == 1.0


def test_an_unreadable_file_keeps_its_sentence() -> None:
    broken = pl.DataFrame({"track": ["BRCA2"], "reason": ["unreadable"], "note": ["x.csv has no rows"]})
    rows = pl.concat([alleles(40), broken], how="diagonal")
    found = figures(judged(rows), n_resamples=20)
    assert found.unreadable == (("BRCA2", "x.csv has no rows"),)
    assert ranked(found.ranking, "BRCA2", SURPRISE)["note"] == "no alleles"


def test_rows_that_take_no_part_are_counted_by_reason() -> None:
    table = alleles(40).with_columns(reason=pl.when(pl.col("pos") > 38).then(pl.lit("seen_in_training")))
    known = table.head(3).select(NO_CALIBRATION.columns)
    scored = scores(table).filter(pl.col("pos") > 5)  # 1..3 were in the calibration, 4 and 5 had no window
    rows = evaluated(table, scored, zero_shots(table), known)
    found = figures(rows, n_resamples=20)
    counts = {(r["reason"], r["label"]): r["n"] for r in found.counts.to_dicts()}
    assert counts == {
        ("in_calibration", 0): 2, ("in_calibration", 1): 1, ("no_window", 0): 1, ("no_window", 1): 1,
        (None, 0): 16, (None, 1): 17, ("seen_in_training", 0): 1, ("seen_in_training", 1): 1,
    }  # fmt: skip
    assert ranked(found.ranking, CODING, SURPRISE)["n_positive"] == 17


def test_an_allele_without_a_score_is_left_out_of_that_score_alone() -> None:
    table = alleles(60)
    rows = evaluated(table, scores(table), zero_shots(table).head(40), NO_CALIBRATION)
    found = figures(rows, n_resamples=20)
    likelihood, surprise = (ranked(found.ranking, CODING, score) for score in (ZERO_SHOT, SURPRISE))
    assert (likelihood["n_excluded"], surprise["n_excluded"]) == (20, 0)
    assert row(found.differences, track=CODING, subset="all", score=SURPRISE, against=ZERO_SHOT)["n_positive"] == 20


def test_nan_is_no_score() -> None:
    table = alleles(60)
    broken = scores(table).with_columns(no_change=pl.when(pl.col("pos") <= 4).then(float("nan")).otherwise("no_change"))
    found = figures(evaluated(table, broken, zero_shots(table), NO_CALIBRATION), n_resamples=20)
    assert ranked(found.ranking, CODING, NO_CHANGE)["n_excluded"] == 4


def test_consequence_class_by_gene_models_ranks_nonsense_over_missense_over_the_rest() -> None:
    parts, scored = [], []
    for place, region in enumerate(CLASSES):
        part = alleles(6, first_pos=100 * place + 1, label=int(place < 3))
        parts.append(part)
        scored.append(scores(part, region=region))
    rows = evaluated(pl.concat(parts), pl.concat(scored), zero_shots(pl.concat(parts)), NO_CALIBRATION)
    value = dict(rows.select("region_class", CONSEQUENCE).unique().iter_rows())
    assert value == {"coding_nonsense": 2, "splice": 2, "coding_missense": 1, "coding_synonymous": 0, "intron": 0,
                     "intergenic": 0}  # fmt: skip
    found = figures(rows, n_resamples=20)
    assert ranked(found.ranking, CODING, CONSEQUENCE)["auroc"] == 1.0
    assert rows.sort(REGION, descending=True)["region_class"].unique(maintain_order=True).to_list() == CLASSES


def test_clinvars_own_consequence_goes_first_and_missense_is_judged_apart() -> None:
    terms = pl.Series(["stop_gained", "missense_variant", "synonymous_variant", None]).gather(np.arange(80) % 4)
    rows = judged(alleles(80, consequence=terms, label=pl.col("number") // 4 % 2), region="coding_missense")
    value = dict(rows.select("consequence", CONSEQUENCE).unique().iter_rows())
    assert value == {"stop_gained": 2, "missense_variant": 1, "synonymous_variant": 0, None: 1}
    found = figures(rows, n_resamples=20)
    missense = ranked(found.ranking, CODING, SURPRISE, "missense")
    assert missense["n_positive"] + missense["n_negative"] == 40  # type: ignore[operator]
    of_class = ranked(found.ranking, CODING, CONSEQUENCE, "missense")
    assert (of_class["auroc"], of_class["note"]) == (None, "constant here")  # within missense the class says nothing


def test_without_gene_models_the_baselines_say_why_they_have_no_figure() -> None:
    found = figures(judged(alleles(40), region="other"), n_resamples=20)
    for score in (CONSEQUENCE, REGION, DISTANCE):
        assert "no gene models" in str(ranked(found.ranking, CODING, score)["note"])


def test_sub_tables_by_type_frequency_and_stars() -> None:
    number = pl.col("number")
    table = alleles(
        80,
        edit_type=(number // 40) * 2,
        stars=number // 20,
        af=pl.when(number < 40).then(pl.lit(0.00005)).when(number < 60).then(0.5),
    )
    found = figures(judged(table), n_resamples=20)
    groups = {
        (r["family"], r["subset"]): r["n_positive"]
        for r in found.ranking.filter((pl.col("track") == CODING) & (pl.col("score") == SURPRISE)).to_dicts()
    }
    assert groups["edit type", "SNV"] == groups["edit type", "DEL"] == groups["kind", "not SNV"] == 20
    assert [groups["review stars", str(n)] for n in range(4)] == [10] * 4
    assert groups["frequency", "up to 0.0001"] == 20
    assert groups["frequency", "above 0.01"] == groups["frequency", "in no site file"] == 10
    assert not any(family == "region class" for family, _ in groups)  # one group is no sub-table


def test_scores_of_other_models_join_the_tables() -> None:
    table = alleles(40)
    others = table.select("contig", "pos", "ref", "alt", CADD=pl.col("label").cast(pl.Float64))
    rows = evaluated(table, scores(table), zero_shots(table), NO_CALIBRATION, others)
    found = figures(rows, ("CADD",), n_resamples=20)
    assert ranked(found.ranking, CODING, "CADD")["auroc"] == 1.0
    assert row(found.differences, track=CODING, subset="all", score=DISPLACEMENT, against="CADD")["difference"] == -1.0
    pair = row(found.agreement, track=CODING, a=SURPRISE, b="CADD")
    assert (pair["n"], pair["rho"]) == (40, pytest.approx(1.0))


def test_within_matched_groups_by_hand() -> None:
    """Group a: the causal allele above 1 of 2 controls; b: above both; c: tied with one of one; d has no causal one."""
    rows = pl.DataFrame(
        {
            "match_group": list("aaabbbccdd"),
            "label": [1, 0, 0, 1, 0, 0, 1, 0, 0, 0],
            "score": [5.0, 4, 6, 9, 1, 2, 3, 3, 1, 2],
        }
    )
    found = within_groups(rows, "score", 200, 0)
    assert (found["n_groups"], found["within"]) == (3, pytest.approx((0.5 + 1 + 0.5) / 3))
    assert found["within_low"] == pytest.approx(0.5) and found["within_high"] == pytest.approx(1.0)
    assert within_groups(rows.head(3), "score", 200, 0)["within"] is None


def test_traitgym_by_chromosome_and_brca_by_functional_score() -> None:
    trait = alleles(
        60, TRAITGYM, contig=(pl.col("number") % 3).cast(pl.String), match_group=(pl.col("number") // 6).cast(pl.String)
    )
    screen = alleles(40, BRCA1, 5_000, value=-1.0 * (pl.col("number") % 2) - pl.col("number") / 1_000)
    found = figures(judged(pl.concat([trait, screen])), n_resamples=50)
    causal = row(found.by_chromosome, track=TRAITGYM, score=SURPRISE)
    assert (causal["n_chromosomes"], causal["auprc"]) == (3, 1.0)
    assert float(row(found.correlation, track=BRCA1, score=SURPRISE)["rho"]) < -0.8  # type: ignore[arg-type]


@needs_shared_data
def test_consequence_class_alone_reaches_091_on_the_real_snvs() -> None:
    """The baseline that humbles: ClinVar's own consequence, on the SNVs of GRCh37's contig 1."""
    table, _ = ingest_clinvar(SHARED / "grch37" / "clinvar.vcf.gz", shared_genome("grch37"), ["1"])
    rows = clinvar_rows(table, table, NO_CALIBRATION).filter(pl.col("label").is_not_null() & (pl.col("edit_type") == 0))
    classed = rows.with_columns(pl.lit("other").alias("region_class")).select(
        "label", SCORES[CONSEQUENCE].alias("class")
    )
    judged_rows = classed.drop_nulls()
    result = rank(judged_rows["label"].to_numpy(), judged_rows["class"].to_numpy())
    assert result.n_positive + result.n_negative == 377
    assert result.auroc == pytest.approx(0.91, abs=0.005)
