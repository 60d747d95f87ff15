"""The bootstraps against a plain loop over the same resamples, and how often their intervals hold the truth."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import rankdata, spearmanr
from sklearn.metrics import average_precision_score, precision_recall_curve, roc_auc_score

from geno_pipeline.evaluation import metrics
from geno_pipeline.evaluation.metrics import auprc_by_chromosome, auroc_difference, pr_curve, rank, spearman

N_DATA_SETS, N_RESAMPLES = 200, 300


def labelled(seed: int, n_positive: int = 40, n_negative: int = 60) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Labels and two scores with ties: the second is the first with noise."""
    rng = np.random.default_rng(seed)
    labels = np.repeat([1, 0], [n_positive, n_negative])
    first = np.round(rng.normal(labels, 1), 1)
    return labels, first, np.round(first + rng.normal(0, 0.5, len(labels)), 1)


def same_draws(labels: np.ndarray, seed: int, n_resamples: int, n_levels: int) -> list[np.ndarray]:
    """Row indices of each resample as the bootstrap draws them: positives, then negatives."""
    positives, negatives = np.flatnonzero(labels == 1), np.flatnonzero(labels == 0)
    draws = metrics._draws(len(positives), len(negatives), n_levels, n_resamples, np.random.default_rng(seed))
    return [np.concatenate([positives[c], negatives[o]]) for cs, os in draws for c, o in zip(cs, os, strict=True)]


def interval(values: list[float]) -> tuple[float, float]:
    low, high = np.percentile(values, [2.5, 97.5])
    return pytest.approx(low, abs=1e-12), pytest.approx(high, abs=1e-12)  # type: ignore[return-value]


def test_rank_equals_a_loop_over_the_same_resamples() -> None:
    labels, scores, _ = labelled(0)
    found = rank(labels, scores, 200, seed=7)
    rows = same_draws(labels, 7, 200, len(np.unique(scores)))
    assert (found.auroc_low, found.auroc_high) == interval([roc_auc_score(labels[i], scores[i]) for i in rows])
    assert (found.auprc_low, found.auprc_high) == interval(
        [average_precision_score(labels[i], scores[i]) for i in rows]
    )


def test_difference_equals_a_loop_over_the_same_resamples() -> None:
    labels, a, b = labelled(1)
    found = auroc_difference(labels, a, b, 200, seed=7)
    rows = same_draws(labels, 7, 200, max(len(np.unique(a)), len(np.unique(b))))
    looped = [roc_auc_score(labels[i], a[i]) - roc_auc_score(labels[i], b[i]) for i in rows]
    assert found.difference == pytest.approx(roc_auc_score(labels, a) - roc_auc_score(labels, b))
    assert (found.low, found.high) == interval(looped)


def test_spearman_equals_a_loop_over_the_same_resamples() -> None:
    _, x, y = labelled(2)
    found = spearman(x, y, 200, seed=7)
    chosen = np.random.default_rng(7).integers(0, len(x), (200, len(x)))
    assert found.rho == pytest.approx(spearmanr(x, y).statistic)  # type: ignore[attr-defined]
    assert (found.low, found.high) == interval([spearmanr(x[i], y[i]).statistic for i in chosen])  # type: ignore[attr-defined]


def test_auprc_by_chromosome_by_hand() -> None:
    """Chromosome a: the positives are first, 1; b: one of four is positive and second, 1/2; c has one class only."""
    labels = [1] * 10 + [0] * 20 + [1, 0, 0, 0] + [0] * 50
    scores = [9.0] * 10 + [1.0] * 20 + [2, 3, 1, 0] + [5.0] * 50
    names = ["a"] * 30 + ["b"] * 4 + ["c"] * 50
    found = auprc_by_chromosome(labels, scores, names, 50)
    assert (found.n_chromosomes, found.n_positive, found.n_negative) == (2, 11, 23)
    assert found.auprc == pytest.approx((30 * 1 + 4 * 0.5) / 34)
    assert None not in (found.low, found.auprc, found.high) and found.low <= found.auprc <= found.high  # type: ignore[operator]


@settings(max_examples=40, deadline=None)
@given(st.lists(st.tuples(st.integers(0, 5), st.integers(0, 5)), min_size=12, max_size=60))
def test_mid_ranks_are_scipys(rows: list[tuple[int, int]]) -> None:
    levels = np.array([row[0] for row in rows])
    assert metrics._mid_ranks(levels[None], 6)[0].tolist() == rankdata(levels).tolist()


def test_pr_curve_is_scikit_learns_the_other_way_round() -> None:
    labels, scores, _ = labelled(3)
    recall, precision = pr_curve(labels, scores)
    theirs = precision_recall_curve(labels, scores)
    assert recall.tolist() == theirs[1][::-1].tolist() and precision.tolist() == theirs[0][::-1].tolist()


def coverage(hits: list[bool]) -> float:
    return float(np.mean(hits))


def test_the_interval_of_a_difference_holds_the_truth_as_often_as_it_says() -> None:
    rng, truth = np.random.default_rng(4), 0.7602 - 0.6382  # P(X > Y) for means 1 and 0.5 apart
    labels = np.repeat([1, 0], [60, 60])
    hits, widths, unpaired = [], [], []
    for seed in range(N_DATA_SETS):
        common = rng.normal(size=120)
        a, b = ((common + 0.5 * rng.normal(size=120)) / 1.25**0.5 + shift * labels for shift in (1.0, 0.5))
        found, alone = auroc_difference(labels, a, b, N_RESAMPLES, seed), [rank(labels, x, 50, seed) for x in (a, b)]
        assert found.low is not None and found.high is not None
        hits.append(found.low <= truth <= found.high)
        widths.append(found.high - found.low)
        unpaired.append(np.hypot(*[one.auroc_high - one.auroc_low for one in alone]))  # type: ignore[operator]
    assert 0.89 <= coverage(hits) <= 0.99
    assert np.mean(widths) < 0.7 * np.mean(unpaired)  # pairing is worth something where scores go together


def test_the_interval_of_rho_holds_the_truth_as_often_as_it_says() -> None:
    rng, r, hits = np.random.default_rng(5), 0.5, []
    truth = 6 / np.pi * np.arcsin(r / 2)  # of two normal variables with Pearson's r
    for seed in range(N_DATA_SETS):
        x = rng.normal(size=100)
        found = spearman(x, r * x + (1 - r**2) ** 0.5 * rng.normal(size=100), N_RESAMPLES, seed)
        assert found.low is not None and found.high is not None
        hits.append(found.low <= truth <= found.high)
    assert 0.89 <= coverage(hits) <= 0.99


def test_the_interval_of_auprc_holds_the_truth_as_often_as_it_says() -> None:
    rng = np.random.default_rng(6)
    truth = float(average_precision_score(np.repeat([1, 0], 200_000), rng.normal(np.repeat([1, 0], 200_000), 1)))
    labels, names, hits = np.tile(np.repeat([1, 0], 40), 2), np.repeat(["a", "b"], 80), []
    for seed in range(N_DATA_SETS):
        found = auprc_by_chromosome(labels, rng.normal(labels, 1), names, N_RESAMPLES, seed)
        assert found.low is not None and found.high is not None
        hits.append(found.low <= truth <= found.high)
    assert 0.87 <= coverage(hits) <= 0.99  # average precision of 40 is a little too high, so a little less than 0.95


@pytest.mark.parametrize(
    ("n_positive", "n_negative", "note"),
    [(0, 0, "no alleles"), (20, 0, "one class only"), (0, 20, "one class only"), (9, 20, "fewer than 10 positives"),
     (20, 9, "fewer than 10 negatives")],
)  # fmt: skip
def test_too_few_of_a_class_give_a_note_and_no_figures(n_positive: int, n_negative: int, note: str) -> None:
    labels = np.repeat([1, 0], [n_positive, n_negative])
    scores = np.arange(len(labels), dtype=float)
    ranked, pair = rank(labels, scores), auroc_difference(labels, scores, scores)
    assert note in str(ranked.note) and ranked.auroc is None and ranked.auprc_low is None
    assert note in str(pair.note) and pair.difference is None
    by_name = auprc_by_chromosome(labels, scores, np.repeat("a", len(labels)))
    assert by_name.auprc is None and by_name.note


def test_rho_of_few_rows_or_of_one_value_is_not_defined() -> None:
    assert "fewer than 10 rows" in str(spearman(range(9), range(9)).note)
    constant = spearman(np.zeros(20), range(20))
    assert constant.rho is None and "one value only" in str(constant.note)


def test_two_equal_scores_do_not_differ() -> None:
    labels, scores, _ = labelled(8)
    found = auroc_difference(labels, scores, scores, 50)
    assert (found.difference, found.low, found.high) == (0.0, 0.0, 0.0)


@pytest.mark.parametrize("wrong", [[1.0, float("nan")] * 20, [1.0] * 39])
def test_scores_that_are_not_finite_or_too_few_are_refused(wrong: list[float]) -> None:
    labels, right = [1, 0] * 20, [0.5] * 40
    for call in (lambda: rank(labels, wrong), lambda: auroc_difference(labels, right, wrong),
                 lambda: spearman(right, wrong), lambda: auprc_by_chromosome(labels, wrong, ["a"] * 40)):  # fmt: skip
        with pytest.raises(ValueError, match="finite|shape"):
            call()


def test_blocks_change_no_value(monkeypatch: pytest.MonkeyPatch) -> None:
    _, x, y = labelled(9)
    whole = spearman(x, y, 100, seed=1)
    monkeypatch.setattr(metrics, "BLOCK_CELLS", 500)
    assert spearman(x, y, 100, seed=1) == whole
