"""What the evaluation report says, in its three forms."""

from __future__ import annotations

import dataclasses
import json
import re
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from data_contracts import CalibrationScores, Efficiency
from data_contracts.benchmark_alleles import BRCA1, NON_CODING, TRAITGYM
from geno_pipeline.evaluation import plots
from geno_pipeline.evaluation.benchmarks import DISPLACEMENT, DISTANCE, REGION, SCORES, SURPRISE, ZERO_SHOT, figures
from geno_pipeline.evaluation.calibration import reliability
from geno_pipeline.evaluation.document import Paragraph, Table
from geno_pipeline.evaluation.first_screen import (
    NO_ANNOTATION,
    ONE_TRAINING,
    RESEARCH_TOOL,
    SYNTHETIC,
    first_screen,
    separation_verdict,
)
from geno_pipeline.evaluation.metrics import pr_curve
from geno_pipeline.evaluation.populations import by_population
from geno_pipeline.evaluation.report import ReportInputs, provenance, write_report
from geno_pipeline.evaluation.report_sections import negative_results
from geno_pipeline.evaluation.rollout import rollout_fidelity
from tests.unit.benchmark_rows import alleles, frequencies, judged
from tests.unit.test_calibration import EDGES, scores, with_types

FILES = ["eval_metrics.json", "eval_report.html", "eval_report.md", "plots"]
PLOTS = ["percentiles", "precision_recall", "reliability", "roc", "skill_by_k"]


def calibration_table() -> pl.DataFrame:
    names = ["edits", "among", "n", "ks", "ks_chance", "median", "shift"]
    return pl.DataFrame([("indel", "all edits", 131, 0.865, 0.119, 0.93, None)], schema=names, orient="row")


def rollout_table(share: float, n: int = 60) -> pl.DataFrame:
    """Rows whose prediction goes `share` of the way from source to target."""
    rng = np.random.default_rng(0)
    unit = lambda x: (x / np.linalg.norm(x, axis=-1, keepdims=True)).astype(np.float32)  # noqa: E731
    source = unit(rng.normal(size=(n, 16)))
    targets = unit(source[:, None] + 0.01 * rng.normal(size=(n, 2, 16)))
    predictions = unit(source[:, None] + share * (targets - source[:, None]))
    k, kinds = np.arange(n) % 2 + 1, np.arange(n) // 2 % 2
    still = np.repeat(source[:, None], 2, axis=1)
    ridge = unit(source[:, None] + 0.3 * (targets - source[:, None]))  # skill 0.51
    return rollout_fidelity(
        source, predictions, targets, k, ["holdout-chr"] * n, kinds, ridge=ridge, random=still, n_resamples=50
    )


def reliability_table() -> pl.DataFrame:
    rows = pl.concat(
        [
            scores(("utr5", 1, "none", np.linspace(0, 0.5, 400))),
            with_types(scores(("utr5", 1, "none", np.linspace(0.6, 1, 60))), 2),
        ]
    ).with_columns(pos=pl.int_range(1, pl.len() + 1))
    columns = {name: pl.lit(None, dtype=kind) for name, kind in CalibrationScores.empty().schema.items()}
    missing = [value.alias(name) for name, value in columns.items() if name not in rows.columns]
    return reliability(rows.with_columns(*missing), EDGES, min_af=0.01, seed=0)


def efficiency_table() -> pl.DataFrame:
    names = Efficiency.empty().columns
    values = {"what": "batch", "n_variants": 64, "n_repeats": 5, "median_s": 1.25, "low_s": 1.0, "high_s": 1.5,
              "variants_per_s": 51.2,
              "tokens_per_variant": 390.0, "peak_memory_mib": 620.0, "n_threads": 1}  # fmt: skip
    return pl.DataFrame([values]).select(names)


def benchmark_rows() -> pl.DataFrame:
    trait = alleles(60, TRAITGYM, 900, contig=(pl.col("number") % 3).cast(pl.String),
                    match_group=(pl.col("number") // 6).cast(pl.String))  # fmt: skip
    return pl.concat(
        [
            alleles(80, consequence="missense_variant", stars=pl.col("number") // 20, **frequencies(pl.lit(0.02))),
            alleles(12, NON_CODING, 500),
            alleles(40, BRCA1, 700, value=-1.0 * pl.col("number")),
            trait,
            pl.DataFrame({"track": ["BRCA2"], "reason": ["unreadable"], "note": ["brca2.xlsx is of another build"]}),
        ],
        how="diagonal",
    )


def inputs(share: float = 0.5, *, synthetic: bool = True, rows: pl.DataFrame | None = None) -> ReportInputs:
    rows = judged(benchmark_rows() if rows is None else rows, region="other")
    return ReportInputs(
        profile="demo",
        synthetic=synthetic,
        has_annotation=False,
        rollout=rollout_table(share),
        figures=figures(rows, n_resamples=50),
        rows=rows,
        populations=by_population(rows, n_resamples=50),
        calibration=calibration_table(),
        reliability=reliability_table(),
        efficiency=efficiency_table(),
        machine={"cpu": "abacus"},
        accounting=pl.DataFrame(
            {
                "source": ["gnomad"] * 3,
                "contig": ["chr1", "chr2", "chr1"],
                "reason": ["retained", "retained", "too_long"],
                "n_alleles": [1000, 234, 7],
            }
        ),
        mix=pl.DataFrame({"source": ["gnomad", "clinvar"], "requested": [40, 10], "obtained": [40, 2]}),
        made_with={"checkpoint_sha256": "c" * 64, "settings_sha256": "d" * 64},
        provenance={"commit": "0123abc", "machine": "Linux"},
        evaluated={"clinvar_release": "2026-11-01"},
        facts={"windows a position": "1.50"},
    )


@pytest.fixture(scope="module")
def usual() -> ReportInputs:
    return inputs()


@pytest.fixture(scope="module")
def written(usual: ReportInputs, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("report")
    write_report(folder, usual)
    return folder


def test_writes_its_files_and_leaves_no_temporary_ones(written: Path) -> None:
    assert sorted(path.name for path in written.iterdir()) == FILES
    assert sorted(path.stem for path in (written / "plots").iterdir()) == PLOTS
    page = (written / "eval_report.md").read_text()
    assert all(f"(plots/{name}.png)" in page for name in PLOTS)


def test_same_inputs_same_bytes(usual: ReportInputs, written: Path, tmp_path: Path) -> None:
    write_report(tmp_path, usual)
    for path in written.rglob("*.*"):
        assert path.read_bytes() == (tmp_path / path.relative_to(written)).read_bytes()


@pytest.mark.parametrize(("share", "verdict"), [(0.5, "Yes."), (0.0, "Not shown."), (-0.5, "No.")])
def test_first_screen_says_whether_states_are_predicted(
    usual: ReportInputs, tmp_path: Path, share: float, verdict: str
) -> None:
    write_report(tmp_path, dataclasses.replace(usual, rollout=rollout_table(share)))
    for name in ("eval_report.md", "eval_report.html"):
        first_screen = (tmp_path / name).read_text().split("Since the last report")[0]
        assert f"Better than predicting no change? {verdict}" in first_screen
        assert "n = 60 rows" in first_screen and re.search(
            r"-?\d\.\d+ \(95 % interval -?\d\.\d+ to -?\d\.\d+\)", first_screen
        )
        assert RESEARCH_TOOL in first_screen and NO_ANNOTATION in first_screen.replace("&#x27;", "'")


def test_first_screen_answers_for_each_benchmark_and_head_with_interval_and_n(written: Path) -> None:
    lines = (written / "eval_report.md").read_text().split("## ")[0].splitlines()
    head = next(line for line in lines if line.startswith("| benchmark"))
    for question in ("no change predicted?", "zero-shot likelihood?", "consequence class?", "distance to the exon?"):
        assert question in head
    surprise = next(line for line in lines if line.startswith("| ClinVar coding | surprise (percentile)"))
    assert re.search(r"\| yes: \+0\.\d+ \(\+0\.\d+ to \+0\.\d+\) \|", surprise) and "| 40 + 40 |" in surprise
    displacement = next(line for line in lines if line.startswith("| ClinVar coding | displacement"))
    assert "| no: -0." in displacement
    text = "\n".join(lines)
    assert "ClinVar non-coding (fewer than 10 positives" in text and "BRCA2 (the file could not be used)" in text


def with_scores(**scores: pl.Expr) -> pl.DataFrame:
    """60 + 60 coding alleles; all scores alternate between the classes, but for what is given (a name of `SCORES`)."""
    rows = judged(alleles(120), region="intron")
    alternating = {name: (pl.col("number") // 2).cast(pl.Float64) for name in SCORES}
    given = {name: of.cast(pl.Float64) for name, of in scores.items()}
    return rows.with_columns(number=pl.int_range(pl.len())).with_columns(**alternating | given)


NOISY = pl.col("label") + (pl.col("number") * 37 % 100) / 40  # above chance, far from perfect


@pytest.mark.parametrize(
    ("given", "answer", "sentence"),
    [
        ({}, "No", "a head (surprise or displacement) lies above chance on none, and beats the best baseline on none"),
        (
            {SURPRISE: NOISY, REGION: pl.col("label")},
            "Not shown to do it better than simple rules",
            "above chance on 1 (highest AUROC: 0.",
        ),
        ({SURPRISE: pl.col("label")}, "Yes", "beats the best baseline on ClinVar coding (surprise (percentile) over "),
        ({DISPLACEMENT: -NOISY}, "No", "above chance on none, below chance on 1, and beats"),
    ],
)
def test_the_second_answer_says_whether_harmful_is_told_from_harmless(
    given: dict[str, pl.Expr], answer: str, sentence: str
) -> None:
    found = figures(with_scores(**given), n_resamples=50)
    verdict = separation_verdict(found)
    assert verdict.answer == answer and sentence in verdict.sentence
    blocks = first_screen(rollout_table(0.5), found, profile="p", synthetic=False, has_annotation=True)
    answers = [block.text for block in blocks if isinstance(block, Paragraph) and block.kind == "answer"]
    assert len(answers) == 2 and answers[1].startswith(f"Does it tell harmful alleles from harmless ones? {answer}.")


def test_first_screen_names_the_best_baseline_and_has_random_weights() -> None:
    """Region class ranks perfectly; all alleles have one distance to the exon: nothing to be better than."""
    rows = with_scores(**{SURPRISE: NOISY, REGION: pl.col("label"), DISTANCE: pl.lit(3)})
    found = figures(rows, n_resamples=50)
    blocks = first_screen(rollout_table(0.5), found, profile="p", synthetic=False, has_annotation=True)
    table = next(block for block in blocks if isinstance(block, Table))
    cells = dict(zip(table.columns, table.rows[0], strict=True))
    assert re.fullmatch(r"no: -0\.\d+ \(.*\); region class 1\.00", cells["better than: the best baseline?"])
    assert cells["better than: random weights?"].startswith("yes: +0.")
    assert cells["better than: distance to the exon?"] == "- (constant here)"
    assert any(isinstance(block, Paragraph) and ONE_TRAINING in block.text for block in blocks)


def test_below_chance_is_not_called_not_above_it() -> None:
    lines = negative_results(rollout_table(-0.5), figures(with_scores(**{DISPLACEMENT: -NOISY}), n_resamples=50))
    assert any(
        "surprise (percentile) on ClinVar coding (all)" in x and "not shown to be above chance" in x for x in lines
    )
    assert any("displacement on ClinVar coding (all)" in x and x.endswith(", below chance.") for x in lines)
    assert any("Skill on holdout-chr, K = 1 is" in x and "below 0, worse than no change" in x for x in lines)


def test_each_curve_has_the_chance_of_its_own_alleles_and_a_constant_has_none() -> None:
    """Zero-shot is known of 10 of 60 harmful and 40 of 60 harmless alleles, distance is one value for all."""
    number = pl.col("number")
    some = pl.when(pl.col("label") == 1, number < 20).then(number).when(pl.col("label") == 0, number < 80).then(number)
    rows = with_scores(**{ZERO_SHOT: some, DISTANCE: pl.lit(3), SURPRISE: pl.col("label")})
    drawn = {curve.score: curve for curve in plots.curves(rows, pr_curve)}
    assert (drawn[SURPRISE].share_positive, drawn[ZERO_SHOT].share_positive) == (0.5, 0.2)
    assert (drawn[ZERO_SHOT].n_positive, drawn[ZERO_SHOT].n_negative) == (10, 40)
    assert len(drawn[DISTANCE].x) == 0 and drawn[SURPRISE].y.tolist() == [1, 1, 0.5]


def test_only_a_synthetic_profile_is_called_synthetic(usual: ReportInputs, written: Path, tmp_path: Path) -> None:
    write_report(tmp_path, dataclasses.replace(usual, synthetic=False))
    assert SYNTHETIC in (written / "eval_report.md").read_text()
    assert "ynthetic data" not in (tmp_path / "eval_report.md").read_text()


def test_html_asks_for_nothing_from_outside_and_escapes_text(usual: ReportInputs, tmp_path: Path) -> None:
    write_report(tmp_path, dataclasses.replace(usual, facts={"<script>alert(1)</script>": "a & b"}))
    page = (tmp_path / "eval_report.html").read_text()
    assert not re.search(r"(src|href)\s*=\s*[\"'](?!data:)", page) and "@import" not in page and "url(" not in page
    assert "<script" not in page and "a &amp; b" in page
    assert page.count("data:image/png;base64,") == len(PLOTS)


def test_json_is_plain_and_whole(written: Path) -> None:
    metrics = json.loads((written / "eval_metrics.json").read_text(), parse_constant=lambda word: pytest.fail(word))
    assert metrics["verdict"] == "yes" and metrics["naive_skill"] == 0.0
    assert metrics["skill"]["skill"] == pytest.approx(0.75, abs=0.01)  # half the way leaves a quarter of the error
    assert metrics["accounting"] == [
        {"source": "gnomad", "reason": "retained", "n_alleles": 1234},
        {"source": "gnomad", "reason": "too_long", "n_alleles": 7},
    ]
    assert metrics["mix"][1] == {"source": "clinvar", "requested": 10, "obtained": 2}
    assert metrics["provenance"]["commit"] == "0123abc" and metrics["evaluated"]["clinvar_release"] == "2026-11-01"
    assert metrics["efficiency"][0]["tokens_per_variant"] == 390.0


def test_negative_results_stay_in(usual: ReportInputs, tmp_path: Path) -> None:
    bad = dataclasses.replace(usual, rollout=rollout_table(-0.5))
    found = negative_results(bad.rollout, bad.figures)
    assert any("Skill on holdout-chr, K = 2 is" in line for line in found)
    assert any("ridge regression on the same inputs has 0.510" in line for line in found)
    assert any("AUROC of displacement on ClinVar coding (all) is 0.00" in line for line in found)
    write_report(tmp_path, bad)
    page = (tmp_path / "eval_report.md").read_text()
    assert all(line in page for line in found)
    assert re.search(r"\| ClinVar coding \| all \| displacement \| no: -0\.\d+ .*, n = 40 \+ 40 \|", page)
    beaten = json.loads((tmp_path / "eval_metrics.json").read_text())["not_better_than_baseline"]
    assert any("AUROC of displacement on ClinVar coding (all) less that of zero-shot" in line for line in beaten)


def test_changes_and_regressions_are_told(usual: ReportInputs, written: Path, tmp_path: Path) -> None:
    assert "This is the first report here." in (written / "eval_report.md").read_text()
    before = json.loads((written / "eval_metrics.json").read_text())
    worse = dataclasses.replace(usual, rollout=rollout_table(0.2), last=before, released=before)
    write_report(tmp_path, worse)
    page = (tmp_path / "eval_report.md").read_text()
    assert "| skill | holdout-chr, K = 1 | 0.7" in page
    assert "Worse than the last release by more than 0.02 AUROC and 0.05 skill:" in page


def test_a_file_that_could_not_be_read_is_told_and_the_rest_is_made(written: Path) -> None:
    page = (written / "eval_report.md").read_text()
    assert "BRCA2: brca2.xlsx is of another build" in page and "| BRCA2 | unreadable | no label | 1 |" in page


def test_nothing_to_judge_is_said_and_does_not_fail(usual: ReportInputs, tmp_path: Path) -> None:
    rows = usual.rows.clear()
    none = dataclasses.replace(
        usual,
        rollout=usual.rollout.clear(),
        rows=rows,
        figures=figures(rows, n_resamples=10),
        populations=by_population(rows),
        reliability=usual.reliability.clear(),
        accounting=usual.accounting.clear(),
    )
    write_report(tmp_path, none)
    page = (tmp_path / "eval_report.md").read_text()
    assert "Not measured." in page and "no file was given" in page


def test_populations_by_frequency(usual: ReportInputs) -> None:
    table = usual.populations.filter(pl.col("population").is_in(["all", "afr"]))
    assert table.select("population", "frequency", "n_positive", "n_negative", "auroc", "benign_high").rows() == [
        ("all", "above 0.01", 40, 40, 1.0, 0.0),
        ("afr", "above 0.01", 40, 40, 1.0, 0.0),
    ]
    assert table["benign_median"].to_list() == pytest.approx([0.2, 0.2])


def test_reliability_of_percentiles_made_of_other_variants() -> None:
    table = reliability_table()
    assert table["edits"].unique(maintain_order=True).to_list() == ["substitution", "indel"]
    assert table.filter(pl.col("edits") == "substitution")["n"][0] == 400
    # Even scores: a half of them predicts the other's percentiles but for the luck of the draw.
    assert ((table["observed"] - table["expected"]).abs() < 0.13).all()
    assert ((table["low"] <= table["observed"]) & (table["observed"] <= table["high"])).all()


def test_provenance_names_commit_versions_and_machine() -> None:
    found = provenance(Path(__file__).parent, config="abc")
    assert {"commit", "python", "machine", "torch", "polars", "config"} <= found.keys()
    assert provenance(Path("/"))["commit"].startswith("unknown")


def test_pictures_are_png_and_repeatable(usual: ReportInputs) -> None:
    rows = usual.rows
    made = (plots.skill_by_k(usual.rollout), plots.roc(rows), plots.precision_recall(rows),
            plots.percentile_histogram(rows), plots.reliability(usual.reliability))  # fmt: skip
    assert all(picture.startswith(b"\x89PNG\r\n") for picture in made)
    assert plots.roc(rows) == made[1]
    assert plots.data_uri(b"abc") == "data:image/png;base64,YWJj"
    assert plots.line_picture([1, 2], [0.5, 0.4], "step", "loss").startswith("![loss by step](data:image/png;base64,")
