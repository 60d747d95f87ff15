"""What the evaluation report says, in its three forms."""

from __future__ import annotations

import dataclasses
import json
import re
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from geno_pipeline.evaluation import plots
from geno_pipeline.evaluation.benchmarks import clinvar_benchmarks
from geno_pipeline.evaluation.report import (
    NO_ANNOTATION,
    RESEARCH_TOOL,
    SYNTHETIC,
    ReportInputs,
    negative_results,
    provenance,
    write_report,
)
from geno_pipeline.evaluation.rollout import rollout_fidelity

FILES = ["eval_metrics.json", "eval_report.html", "eval_report.md"]


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


def clinvar_scores(n: int = 80) -> pl.DataFrame:
    rng = np.random.default_rng(1)
    label = np.arange(n) % 2
    return pl.DataFrame(
        {
            "contig": ["1"] * n,
            "pos": np.arange(1, n + 1),
            "ref": ["A"] * n,
            "alt": ["C"] * n,
            "edit_type": pl.Series([0] * n, dtype=pl.UInt8),
            "label": pl.Series(label, dtype=pl.Int8),
            "is_coding": np.arange(n) < n // 2,
            "region_class": ["other"] * n,
            "surprise": np.clip(0.3 + 0.2 * label + 0.2 * rng.random(n), 0, 1),
            "surprise_raw": rng.random(n),
            "displacement": rng.random(n),
        }
    )


def inputs(share: float = 0.5, *, synthetic: bool = True) -> ReportInputs:
    scores = clinvar_scores()
    return ReportInputs(
        profile="demo",
        synthetic=synthetic,
        has_annotation=False,
        rollout=rollout_table(share),
        calibration=calibration_table(),
        benchmarks=clinvar_benchmarks(scores, scores, n_resamples=50),
        scores=scores,
        holdout=scores,
        accounting=pl.DataFrame(
            {
                "source": ["gnomad"] * 3,
                "contig": ["chr1", "chr2", "chr1"],
                "reason": ["retained", "retained", "too_long"],
                "n_alleles": [1000, 234, 7],
            }
        ),
        mix=pl.DataFrame({"source": ["gnomad", "clinvar"], "requested": [40, 10], "obtained": [40, 2]}),
        provenance={"commit": "0123abc", "machine": "Linux"},
        facts={"windows a position": "1.50"},
    )


def test_writes_three_files_and_leaves_no_temporary_ones(tmp_path: Path) -> None:
    write_report(tmp_path / "report", inputs())
    assert sorted(path.name for path in (tmp_path / "report").iterdir()) == FILES


def test_same_inputs_same_bytes(tmp_path: Path) -> None:
    for name in ("a", "b"):
        write_report(tmp_path / name, inputs())
    for name in FILES:
        assert (tmp_path / "a" / name).read_bytes() == (tmp_path / "b" / name).read_bytes()


@pytest.mark.parametrize(("share", "verdict"), [(0.5, "Yes."), (0.0, "Not shown."), (-0.5, "No.")])
def test_first_screen_answers_the_question(tmp_path: Path, share: float, verdict: str) -> None:
    write_report(tmp_path, inputs(share))
    for name in ("eval_report.md", "eval_report.html"):
        first_screen = (tmp_path / name).read_text().split("Rollout: predicted")[0]
        assert f"Better than predicting no change? {verdict}" in first_screen
        assert "n = 60 rows" in first_screen and re.search(
            r"-?\d\.\d+ \(95 % interval -?\d\.\d+ to -?\d\.\d+\)", first_screen
        )
        assert RESEARCH_TOOL in first_screen and NO_ANNOTATION in first_screen.replace("&#x27;", "'")


def test_only_a_synthetic_profile_is_called_synthetic(tmp_path: Path) -> None:
    write_report(tmp_path / "demo", inputs(synthetic=True))
    write_report(tmp_path / "real", inputs(synthetic=False))
    assert SYNTHETIC in (tmp_path / "demo" / "eval_report.md").read_text()
    assert "ynthetic" not in (tmp_path / "real" / "eval_report.md").read_text()


def test_html_asks_for_nothing_from_outside_and_escapes_text(tmp_path: Path) -> None:
    hostile = dataclasses.replace(inputs(), facts={"<script>alert(1)</script>": "a & b"})
    write_report(tmp_path, hostile)
    page = (tmp_path / "eval_report.html").read_text()
    assert not re.search(r"(src|href)\s*=\s*[\"'](?!data:)", page) and "@import" not in page and "url(" not in page
    assert "<script" not in page and "a &amp; b" in page
    assert page.count("data:image/png;base64,") == 3


def test_json_is_plain_and_whole(tmp_path: Path) -> None:
    write_report(tmp_path, inputs())
    metrics = json.loads((tmp_path / "eval_metrics.json").read_text(), parse_constant=lambda word: pytest.fail(word))
    assert metrics["verdict"] == "yes" and metrics["naive_skill"] == 0.0
    assert metrics["skill"]["skill"] == pytest.approx(0.75, abs=0.01)  # half the way leaves a quarter of the error
    assert metrics["accounting"] == [
        {"source": "gnomad", "reason": "retained", "n_alleles": 1234},
        {"source": "gnomad", "reason": "too_long", "n_alleles": 7},
    ]
    assert metrics["mix"][1] == {"source": "clinvar", "requested": 10, "obtained": 2}
    assert metrics["provenance"]["commit"] == "0123abc"


def test_negative_results_stay_in(tmp_path: Path) -> None:
    bad = inputs(-0.5)
    found = negative_results(bad.rollout, bad.benchmarks)
    assert any("Skill on holdout-chr, K = 2 is" in line for line in found)
    assert any("ridge regression on the same inputs has 0.510" in line for line in found)
    assert any("AUROC of displacement" in line for line in found)
    write_report(tmp_path, bad)
    page = (tmp_path / "eval_report.md").read_text()
    assert all(line in page for line in found)


def test_nothing_to_judge_is_said_and_does_not_fail(tmp_path: Path) -> None:
    empty = inputs()
    scores = empty.scores.clear()
    none = dataclasses.replace(
        empty,
        rollout=empty.rollout.clear(),
        scores=scores,
        holdout=scores,
        benchmarks=clinvar_benchmarks(scores, scores, 10),
        accounting=empty.accounting.clear(),
    )
    write_report(tmp_path, none)
    page = (tmp_path / "eval_report.md").read_text()
    assert "Not measured." in page and "no alleles" in page


def test_provenance_names_commit_versions_and_machine() -> None:
    found = provenance(Path(__file__).parent, config="abc")
    assert {"commit", "python", "machine", "torch", "polars", "config"} <= found.keys()
    assert provenance(Path("/"))["commit"].startswith("unknown")


def test_pictures_are_png_and_repeatable() -> None:
    scores = clinvar_scores()
    for picture in (plots.skill_by_k(rollout_table(0.5)), plots.roc(scores), plots.percentile_histogram(scores)):
        assert picture.startswith(b"\x89PNG\r\n")
    assert plots.roc(scores) == plots.roc(scores)
    assert plots.data_uri(b"abc") == "data:image/png;base64,YWJj"
    assert plots.line_picture([1, 2], [0.5, 0.4], "step", "loss").startswith("![loss by step](data:image/png;base64,")
