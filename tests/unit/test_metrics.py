"""Figures of merit against hand-worked values and against scikit-learn."""

from __future__ import annotations

import time

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import average_precision_score, roc_auc_score

from geno_pipeline.evaluation.metrics import auprc_by_chromosome, auroc_difference, pr_curve, rank, roc_curve
from geno_pipeline.evaluation.state_metrics import skill, state_metrics

MANY_LABELS = np.array([1] * 12 + [0] * 12)


def unit(rows: list[list[float]]) -> np.ndarray:
    states = np.array(rows, dtype=np.float32)
    return states / np.linalg.norm(states, axis=1, keepdims=True)


def test_perfect_and_reversed_ranking() -> None:
    scores = np.arange(24)[::-1]
    best, worst = rank(MANY_LABELS, scores), rank(MANY_LABELS, -scores)
    assert (best.auroc, best.auprc, best.auroc_low, best.auroc_high) == (1.0, 1.0, 1.0, 1.0)
    assert worst.auroc == 0.0


def test_one_score_for_all_has_a_note_and_no_figures() -> None:
    """It would have 0.5 (0.5 to 0.5), and whatever is a little above would be "better" than it."""
    constant, rising = np.zeros(24), np.arange(24)
    result = rank(MANY_LABELS, constant)
    assert (result.auroc, result.auprc, result.note) == (None, None, "constant here")
    assert auroc_difference(MANY_LABELS, rising, constant).note == "constant here"
    assert auroc_difference(MANY_LABELS, constant, rising).note == "the score itself is constant here"
    assert auprc_by_chromosome(MANY_LABELS, constant, ["1"] * 24).note == "constant here"
    assert auroc_difference(MANY_LABELS, rising, -rising).difference == -1.0


@settings(max_examples=60, deadline=None)
@given(
    st.lists(st.tuples(st.booleans(), st.integers(0, 9)), min_size=30, max_size=120).filter(
        lambda rows: 10 <= sum(label for label, _ in rows) <= len(rows) - 10 and len({score for _, score in rows}) > 1
    )
)
def test_areas_equal_those_of_scikit_learn_with_ties(rows: list[tuple[bool, int]]) -> None:
    labels, scores = (np.array(column) for column in zip(*rows, strict=True))
    result = rank(labels.astype(int), scores, n_resamples=2)
    assert result.auroc == pytest.approx(roc_auc_score(labels, scores), abs=1e-12)
    assert result.auprc == pytest.approx(average_precision_score(labels, scores), abs=1e-12)
    recall, precision = pr_curve(labels.astype(int), scores)
    assert result.auprc == pytest.approx(float(np.diff(recall) @ precision[1:]), abs=1e-12)  # under the steps


def test_interval_is_that_of_a_plain_loop_over_resamples() -> None:
    rng = np.random.default_rng(3)
    labels = np.repeat([1, 0], [40, 160])
    scores = np.round(rng.normal(labels * 0.8, 1), 1)
    result = rank(labels, scores, n_resamples=2000, seed=5)
    looped = []
    for _ in range(2000):
        chosen = np.concatenate([rng.integers(0, 40, 40), rng.integers(40, 200, 160)])
        looped.append(roc_auc_score(labels[chosen], scores[chosen]))
    # Two independent bootstraps of 2,000 resamples: their end points differ by chance only.
    assert (result.auroc_low, result.auroc_high) == pytest.approx(tuple(np.percentile(looped, [2.5, 97.5])), abs=0.01)


def test_interval_covers_the_truth_about_as_often_as_it_says() -> None:
    rng = np.random.default_rng(11)
    labels = np.repeat([1, 0], [60, 60])
    truth = 0.7602  # P(X > Y) for X ~ N(1, 1), Y ~ N(0, 1)
    covered = 0
    for seed in range(200):
        result = rank(labels, rng.normal(labels, 1), n_resamples=300, seed=seed)
        assert result.auroc_low is not None and result.auroc_high is not None
        covered += result.auroc_low <= truth <= result.auroc_high
    assert 0.89 <= covered / 200 <= 0.99


def test_same_seed_same_interval() -> None:
    scores = np.random.default_rng(0).normal(size=24)
    assert rank(MANY_LABELS, scores, seed=4) == rank(MANY_LABELS, scores, seed=4)
    assert rank(MANY_LABELS, scores, seed=4) != rank(MANY_LABELS, scores, seed=5)


@pytest.mark.parametrize("labels", [[1] * 20, [0] * 20, [1] * 9 + [0] * 50, []])
def test_too_few_rows_give_a_note_and_no_figures(labels: list[int]) -> None:
    result = rank(labels, np.arange(len(labels)))
    assert result.note and result.auroc is None and result.auprc_high is None
    assert (result.n_positive, result.n_negative) == (sum(labels), len(labels) - sum(labels))


def test_what_cannot_be_ranked_is_refused() -> None:
    with pytest.raises(ValueError, match="1 of 24 scores are not finite"):
        rank(MANY_LABELS, [float("nan"), *range(23)])
    with pytest.raises(ValueError, match="0 and 1 only"):
        rank([0, 1, 2], [0.0, 1.0, 2.0])
    with pytest.raises(ValueError, match="one shape"):
        rank([0, 1], [0.0])


def test_ten_thousand_alleles_take_seconds() -> None:
    rng = np.random.default_rng(0)
    labels = (rng.random(10_000) < 0.3).astype(int)
    started = time.monotonic()
    rank(labels, rng.normal(labels, 2), n_resamples=1000)
    assert time.monotonic() - started < 20  # a plain loop of 1,000 sorts and sums takes longer on two shared cores


def test_roc_curve_by_hand() -> None:
    false, true = roc_curve([1, 0, 1, 0], [0.9, 0.8, 0.8, 0.1])
    np.testing.assert_allclose(false, [0, 0, 0.5, 1])
    np.testing.assert_allclose(true, [0, 0.5, 1, 1])


def test_precision_recall_curve_by_hand() -> None:
    recall, precision = pr_curve([1, 0, 1, 0], [0.9, 0.8, 0.8, 0.1])
    np.testing.assert_allclose(recall, [0, 0.5, 1, 1])
    np.testing.assert_allclose(precision, [1, 1, 2 / 3, 0.5])
    recall, precision = pr_curve([1, 0, 0, 0], [7, 7, 7, 7])  # one value for all: a level line at the base rate
    assert (recall.tolist(), precision.tolist()) == ([0, 1], [0.25, 0.25])


def test_skill_of_no_change_is_zero_and_of_the_truth_is_one() -> None:
    source, target = unit([[1, 0], [0, 1]]), unit([[1, 0.1], [0.2, 1]])
    assert skill(source, target, source) == 0.0
    assert skill(target, target, source) == 1.0
    assert np.isnan(skill(target, source, source))


def test_skill_by_hand() -> None:
    source = np.zeros((2, 2), np.float32)
    target = np.array([[2, 0], [0, 1]], np.float32)  # change 4 + 1
    predicted = np.array([[1, 0], [0, 3]], np.float32)  # error 1 + 4
    assert skill(predicted, target, source) == 0.0
    assert skill(np.array([[1, 0], [0, 1]], np.float32), target, source) == pytest.approx(0.8)


def test_state_metrics_by_hand() -> None:
    source = unit([[1, 0], [1, 0], [1, 0]])
    target = unit([[0, 1], [0, 1], [1, 0]])  # the third row's edit changes nothing
    predicted = unit([[0, 1], [1, 0], [1, 0]])  # right, no change predicted, right
    result = state_metrics(predicted, target, source)
    assert result.n == 3
    assert result.skill == pytest.approx(0.5)
    assert result.delta_cosine == pytest.approx(0.5)  # 1 and 0 over the two rows that change
    assert result.cosine == pytest.approx(2 / 3)
    assert result.naive_cosine == pytest.approx(1 / 3)
    assert result.l2 == pytest.approx(np.sqrt(2) / 3)
    assert result.naive_l2 == pytest.approx(2 * np.sqrt(2) / 3)


def test_cosine_keeps_the_digits_of_a_small_change() -> None:
    rng = np.random.default_rng(0)
    source = unit(rng.normal(size=(50, 256)).tolist())
    step = rng.normal(size=(50, 256)) * 3.5e-3 / 16
    target = unit((source + step).tolist())
    result = state_metrics(source, target, source)
    exact = source.astype(np.float64), target.astype(np.float64)
    truth = np.mean(
        1 - np.sum(exact[0] * exact[1], 1) / (np.linalg.norm(exact[0], axis=1) * np.linalg.norm(exact[1], axis=1))
    )
    assert result.naive_cosine is not None
    assert 1 - result.naive_cosine == pytest.approx(truth, rel=0.01)


def test_skill_interval_holds_the_figure_and_narrows_with_rows() -> None:
    rng = np.random.default_rng(1)
    source = unit(rng.normal(size=(800, 16)).tolist())
    target = unit((source + rng.normal(size=(800, 16)) * 0.01).tolist())
    predicted = unit((0.5 * source + 0.5 * target).tolist())
    many, few = state_metrics(predicted, target, source), state_metrics(predicted[:40], target[:40], source[:40])
    for result in (many, few):
        assert result.skill_low is not None and result.skill_high is not None and result.skill is not None
        assert result.skill_low <= result.skill <= result.skill_high
    noisy = unit((target + rng.normal(size=(800, 16)) * 0.01).tolist())
    widths = [
        (result.skill_high or 0) - (result.skill_low or 0)
        for result in (state_metrics(noisy, target, source), state_metrics(noisy[:40], target[:40], source[:40]))
    ]
    assert widths[0] < widths[1]


def test_no_change_at_all_has_no_skill() -> None:
    source = unit([[1, 0], [0, 1]])
    result = state_metrics(source, source, source)
    assert (result.skill, result.skill_low, result.delta_cosine, result.cosine) == (None, None, None, 1.0)
    assert state_metrics(source[:0], source[:0], source[:0]).skill is None


def test_states_that_are_not_unit_vectors_are_refused() -> None:
    source = unit([[1, 0], [0, 1]])
    with pytest.raises(ValueError, match="target states: found a norm"):
        state_metrics(source, source * 33, source)
    with pytest.raises(ValueError, match="one shape"):
        state_metrics(source, source[:1], source)
