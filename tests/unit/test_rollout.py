"""Which step is judged, and how rows are grouped."""

from __future__ import annotations

import numpy as np
import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from geno_pipeline.evaluation import rollout
from geno_pipeline.evaluation.rollout import last_step, overall, recall, rollout_fidelity

N_STEPS, WIDTH = 3, 8


def states(*shape: int, seed: int = 0) -> np.ndarray:
    values = np.random.default_rng(seed).normal(size=(*shape, WIDTH)).astype(np.float32)
    return values / np.linalg.norm(values, axis=-1, keepdims=True)


def table_of(predictions: np.ndarray, targets: np.ndarray, source: np.ndarray) -> pl.DataFrame:
    return rollout_fidelity(
        source,
        predictions,
        targets,
        k=np.array([1, 1, 1, 2, 3, 3]),
        holdout=["holdout-chr"] * 4 + ["holdout-haplotypes"] * 2,
        edit_type=np.array([0, 0, 2, 0, 0, 1]),
        ridge=targets,
        random=np.repeat(source[:, None], N_STEPS, axis=1),
        n_resamples=20,
    )


def test_groups_and_their_sizes() -> None:
    source, targets = states(6), states(6, N_STEPS, seed=1)
    table = table_of(targets, targets, source)
    assert table.select("holdout", "k", "edit_type", "n").rows() == [
        ("holdout-chr", None, "all", 4),
        ("holdout-chr", 1, "all", 3),
        ("holdout-chr", 2, "all", 1),
        ("holdout-chr", 1, "SNV", 2),
        ("holdout-chr", 1, "DEL", 1),
        ("holdout-haplotypes", None, "all", 2),
        ("holdout-haplotypes", 3, "all", 2),
    ]
    assert table["skill"].to_list() == [1.0] * 7


def test_only_the_last_step_of_a_row_counts() -> None:
    source, targets = states(6), states(6, N_STEPS, seed=1)
    predictions = states(6, N_STEPS, seed=2)
    k = np.array([1, 1, 1, 2, 3, 3])
    predictions[np.arange(6), k - 1] = targets[np.arange(6), k - 1]
    assert table_of(predictions, targets, source)["skill"].to_list() == [1.0] * 7
    np.testing.assert_array_equal(last_step(predictions, k), last_step(targets, k))


def test_predicting_no_change_has_skill_zero_in_every_group() -> None:
    source, targets = states(6), states(6, N_STEPS, seed=1)
    table = table_of(np.repeat(source[:, None], N_STEPS, axis=1), targets, source)
    assert table["skill"].to_list() == [0.0] * 7
    assert table["l2"].to_list() == table["naive_l2"].to_list()
    assert table["ridge_skill"].to_list() == [1.0] * 7  # the baselines are judged by the same rule
    assert table["random_skill"].to_list() == [0.0] * 7


def test_overall_row_of_a_holdout() -> None:
    source, targets = states(6), states(6, N_STEPS, seed=1)
    table = table_of(targets, targets, source)
    found = overall(table)
    assert found is not None and found["n"] == 4
    assert overall(table, "holdout-clinvar") is None


def test_padding_of_shorter_rows_may_be_zero() -> None:
    source, targets = states(6), states(6, N_STEPS, seed=1)
    targets[:3, 1:] = 0
    assert table_of(targets, targets, source)["skill"].to_list() == [1.0] * 7


def test_wrong_shapes_are_refused() -> None:
    source, targets = states(6), states(6, N_STEPS)
    with pytest.raises(ValueError, match=r"\(6, K, 8\)"):
        table_of(targets, targets[:, :2], source)
    with pytest.raises(ValueError, match=r"k in 1\.\.2, found 1\.\.3"):
        table_of(targets[:, :2], targets[:, :2], source)
    with pytest.raises(ValueError, match="edit_type of shape"):
        rollout_fidelity(
            source, targets, targets, np.ones(6, int), ["a"] * 6, np.zeros(5, int), ridge=targets, random=targets
        )


def test_recall_by_hand() -> None:
    """Four true changes on a line; the second row's predicted change lies nearer to the third's."""
    actual = np.array([[1.0, 0], [2.0, 0], [4.0, 0], [8.0, 0]], dtype=np.float32)
    predicted = np.array([[1.1, 0], [3.5, 0], [4.2, 0], [7.0, 0]], dtype=np.float32)
    assert [recall(predicted, actual, n) for n in (1, 2, 4)] == [0.75, 1.0, 1.0]


@given(st.integers(1, 40), st.integers(0, 5))
def test_no_change_finds_n_of_all_rows(n_rows: int, seed: int) -> None:
    actual = np.random.default_rng(seed).normal(size=(n_rows, 4)).astype(np.float32)
    for n in (1, 5):
        assert recall(np.zeros_like(actual), actual, n) == min(n, n_rows) / n_rows


def test_blocks_of_rows_change_no_recall(monkeypatch: pytest.MonkeyPatch) -> None:
    rng = np.random.default_rng(3)
    actual = rng.normal(size=(50, 6)).astype(np.float32)
    predicted = actual + rng.normal(size=(50, 6)).astype(np.float32)
    whole = recall(predicted, actual, 3)
    slow = np.mean([(np.linalg.norm(actual - f, axis=1) <= np.linalg.norm(actual[i] - f)).sum() <= 3
                    for i, f in enumerate(predicted)])  # fmt: skip
    monkeypatch.setattr(rollout, "RECALL_BLOCK", 7)
    assert recall(predicted, actual, 3) == whole == slow
