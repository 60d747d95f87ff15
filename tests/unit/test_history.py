"""Changes since the last report, and what counts as worse than the last release."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from geno_pipeline.evaluation.benchmarks import DISPLACEMENT, SURPRISE, ZERO_SHOT
from geno_pipeline.evaluation.history import changes, read_metrics, regressions


def metrics(auroc: float | None = 0.7, skill: float | None = 0.8, n: int = 100) -> dict[str, Any]:
    row = {"track": "ClinVar coding", "family": "kind", "subset": "all", "n_positive": 40, "n_negative": n - 40}
    return {
        "ranking": [
            row | {"score": SURPRISE, "auroc": auroc},
            row | {"score": DISPLACEMENT, "auroc": 0.6},
            row | {"score": ZERO_SHOT, "auroc": 0.9},
            row | {"score": SURPRISE, "auroc": 0.5, "subset": "missense"},
        ],
        "rollout": [
            {"holdout": "holdout-chr", "k": k, "edit_type": "all", "skill": skill, "n": n} for k in (None, 1, 2)
        ]
        + [{"holdout": "holdout-clinvar", "k": 1, "edit_type": "all", "skill": 0.1, "n": 5}],
    }


def test_what_both_have_is_compared_with_its_numbers() -> None:
    table = changes(metrics(), metrics(auroc=0.75, n=120))
    assert table.rows() == [
        ("AUROC", f"ClinVar coding, all, {SURPRISE}", 0.7, 0.75, pytest.approx(0.05), 100, 120),
        ("AUROC", f"ClinVar coding, all, {DISPLACEMENT}", 0.6, 0.6, 0.0, 100, 120),
        ("skill", "holdout-chr, all rows", 0.8, 0.8, 0.0, 100, 120),
        ("skill", "holdout-chr, K = 1", 0.8, 0.8, 0.0, 100, 120),
        ("skill", "holdout-chr, K = 2", 0.8, 0.8, 0.0, 100, 120),
    ]
    assert changes(None, metrics()).is_empty()
    assert changes(metrics(auroc=None), metrics())["of"].to_list()[0] == f"ClinVar coding, all, {DISPLACEMENT}"


@pytest.mark.parametrize(
    ("now", "worse"),
    [
        (metrics(), 0),
        (metrics(auroc=0.681, skill=0.751), 0),  # 0.019 and 0.049 lower
        (metrics(auroc=0.679), 1),
        (metrics(skill=0.749), 3),
        (metrics(auroc=0.9, skill=0.9), 0),
    ],
)
def test_more_than_two_points_or_a_twentieth_is_a_regression(now: dict[str, Any], worse: int) -> None:
    found = regressions(metrics(), now)
    assert len(found) == worse
    assert not found or "0.7" in found[0] or "0.8" in found[0]
    assert regressions(None, now) == []


def test_the_sentence_says_what_was_what_is_and_on_what_n() -> None:
    assert regressions(metrics(), metrics(auroc=0.6, n=50)) == [
        f"AUROC of ClinVar coding, all, {SURPRISE}: 0.700 (n = 100), now 0.600 (n = 50), 0.100 lower; "
        "at most 0.02 is let pass."
    ]


def test_a_figure_that_is_gone_is_a_regression() -> None:
    assert regressions(metrics(), metrics(auroc=None)) == [
        f"AUROC of ClinVar coding, all, {SURPRISE}: 0.700 (n = 100), now not measured."
    ]
    assert regressions(metrics(auroc=None), metrics()) == []


@pytest.mark.parametrize("text", [None, "", "{", "[]", '{"rollout": []}'])
def test_what_is_no_report_is_no_report(tmp_path: Path, text: str | None) -> None:
    if text is not None:
        (tmp_path / "eval_metrics.json").write_text(text)
    assert read_metrics(tmp_path) is None


def test_a_report_is_read(tmp_path: Path) -> None:
    (tmp_path / "eval_metrics.json").write_text(json.dumps(metrics()))
    assert read_metrics(tmp_path) == metrics()
