"""How well scores rank harmful alleles over harmless ones, each figure with its interval (spec 6).

Belongs here: functions from arrays to numbers. Does not belong here: which rows form a benchmark (`benchmarks`), how a
number is printed (`wording`), states (`state_metrics`).

Values are scikit-learn's and SciPy's; what is ours is the bootstrap, because a loop over a thousand resamples would
take minutes. A resample of a ranking needs no sorting: scores are replaced once by the index of their distinct value,
a resample is then a table of counts (resamples x distinct values), and the figures are cumulative sums over it.
Intervals are the 2.5 % and 97.5 % points over resamples; memory is bounded by `BLOCK_CELLS`.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.stats import spearmanr
from sklearn import metrics as sklearn

Floats = NDArray[np.float64]
Ints = NDArray[np.integer]

MIN_POSITIVES = MIN_NEGATIVES = MIN_ROWS = 10
INTERVAL_PERCENT = (2.5, 97.5)
# Upper bound of one block of resamples, in cells: 4 M int64 counts are 32 MB.
BLOCK_CELLS = 4_000_000


@dataclass(frozen=True, slots=True)
class Ranking:
    """How well scores rank positives over negatives. Every figure is None where `note` says why there is none."""

    n_positive: int
    n_negative: int
    auroc: float | None = None
    auroc_low: float | None = None
    auroc_high: float | None = None
    auprc: float | None = None
    auprc_low: float | None = None
    auprc_high: float | None = None
    note: str | None = None


@dataclass(frozen=True, slots=True)
class Difference:
    """AUROC of one score less that of another on the same rows; None where `note` says why."""

    n_positive: int
    n_negative: int
    difference: float | None = None
    low: float | None = None
    high: float | None = None
    note: str | None = None


@dataclass(frozen=True, slots=True)
class Correlation:
    """Spearman's rho over n rows; None where `note` says why."""

    n: int
    rho: float | None = None
    low: float | None = None
    high: float | None = None
    note: str | None = None


@dataclass(frozen=True, slots=True)
class ByChromosome:
    """AUPRC in each chromosome, averaged; None where `note` says why."""

    n_chromosomes: int
    n_positive: int
    n_negative: int
    auprc: float | None = None
    low: float | None = None
    high: float | None = None
    note: str | None = None


def rank(labels: ArrayLike, scores: ArrayLike, n_resamples: int = 1000, seed: int = 0) -> Ranking:
    """AUROC and AUPRC (average precision) of `scores` (n,) for `labels` 0 and 1 (n,), with bootstrap intervals.

    Ties count half in AUROC and form one threshold in AUPRC. Positives and negatives are resampled apart, so every
    resample keeps both numbers. One class only, fewer than 10 of one, or one value for all: a note and no figures.

    Raises:
        ValueError: shapes differ, a label is not 0 or 1, or a score is not finite.
    """
    positive, values = _checked(labels, scores)
    counts = int(positive.sum()), int((~positive).sum())
    if note := _too_few(*counts) or _constant(values):
        return Ranking(*counts, note=note)
    level, n_levels = _levels(values)
    of_positive, of_negative = level[positive], level[~positive]
    areas = [
        _areas(_counts(of_positive[chosen], n_levels), _counts(of_negative[others], n_levels))
        for chosen, others in _draws(*counts, n_levels, n_resamples, np.random.default_rng(seed))
    ]
    (auroc_low, auroc_high), (auprc_low, auprc_high) = (_interval([block[i] for block in areas]) for i in (0, 1))
    auroc = float(sklearn.roc_auc_score(positive, values))
    auprc = float(sklearn.average_precision_score(positive, values))
    return Ranking(*counts, auroc, auroc_low, auroc_high, auprc, auprc_low, auprc_high)


def auroc_difference(
    labels: ArrayLike, a: ArrayLike, b: ArrayLike, n_resamples: int = 1000, seed: int = 0
) -> Difference:
    """AUROC of `a` less that of `b` (n,), both judged on the same resamples (paired bootstrap). Raises as `rank`.

    A note and no figures where `rank` has none for one of them, the `note` then says which.
    """
    positive, first = _checked(labels, a)
    _, second = _checked(labels, b)
    counts = int(positive.sum()), int((~positive).sum())
    if note := _too_few(*counts) or _constant(second) or _constant(first, "the score itself is "):
        return Difference(*counts, note=note)
    judged = [(level[positive], level[~positive], n) for level, n in (_levels(first), _levels(second))]
    most_levels = max(n for _, _, n in judged)
    differences = []
    for chosen, others in _draws(*counts, most_levels, n_resamples, np.random.default_rng(seed)):
        of_a, of_b = (_auroc(_counts(p[chosen], n), _counts(q[others], n)) for p, q, n in judged)
        differences.append(of_a - of_b)
    value = float(sklearn.roc_auc_score(positive, first) - sklearn.roc_auc_score(positive, second))
    return Difference(*counts, value, *_interval(differences))


def spearman(x: ArrayLike, y: ArrayLike, n_resamples: int = 1000, seed: int = 0) -> Correlation:
    """Spearman's rank correlation of x and y (n,); rows are resampled, and ranked anew in every resample.

    Fewer than 10 rows, or a column of one value: a result with a note and no figures. Raises ValueError as `rank`.
    """
    columns = [np.asarray(values, dtype=np.float64) for values in (x, y)]
    for values in columns:
        _require_finite(values, columns[0].shape)
    n = len(columns[0])
    if n < MIN_ROWS:
        return Correlation(n, note=f"fewer than {MIN_ROWS} rows: too few for an interval")
    judged = [_levels(values) for values in columns]
    if min(n_levels for _, n_levels in judged) < 2:
        return Correlation(n, note="one value only: no order to compare")
    rng, block = np.random.default_rng(seed), max(1, BLOCK_CELLS // n)
    found = []
    for start in range(0, n_resamples, block):
        chosen = rng.integers(0, n, (min(block, n_resamples - start), n))
        ranks = [_mid_ranks(level[chosen], n_levels) for level, n_levels in judged]
        found.append(_correlation(*ranks))
    rho = float(spearmanr(*columns).statistic)  # type: ignore[attr-defined]
    return Correlation(n, rho, *_interval(found))


def auprc_by_chromosome(
    labels: ArrayLike, scores: ArrayLike, chromosomes: ArrayLike, n_resamples: int = 1000, seed: int = 0
) -> ByChromosome:
    """TraitGym's figure: average precision in each chromosome, weighted by its number of variants.

    A chromosome takes part that has both classes. Resampled by chromosome and class. Raises ValueError as `rank`.
    """
    positive, values = _checked(labels, scores)
    names = np.asarray(chromosomes)
    if names.shape != values.shape:
        raise ValueError(f"expected a chromosome for each of {len(values)} scores, found {names.shape}")
    groups = [names == name for name in np.unique(names)]
    groups = [group for group in groups if 0 < positive[group].sum() < group.sum()]
    used = np.any(groups, axis=0) if groups else np.zeros(len(values), dtype=bool)
    counts = len(groups), int(positive[used].sum()), int((~positive[used]).sum())
    if note := _too_few(*counts[1:]) or _constant(values):
        return ByChromosome(*counts, note=note)
    rng, weights = np.random.default_rng(seed), np.array([group.sum() for group in groups]) / used.sum()
    value, resampled = 0.0, np.zeros(n_resamples)
    for weight, group in zip(weights, groups, strict=True):
        is_positive, here = positive[group], values[group]
        level, n_levels = _levels(here)
        sides = level[is_positive], level[~is_positive]
        draws = _draws(len(sides[0]), len(sides[1]), n_levels, n_resamples, rng)
        parts = [_areas(*(_counts(s[c], n_levels) for s, c in zip(sides, drawn, strict=True)))[1] for drawn in draws]
        value += weight * float(sklearn.average_precision_score(is_positive, here))
        resampled += weight * np.concatenate(parts)
    return ByChromosome(*counts, value, *_interval([resampled]))


def roc_curve(labels: ArrayLike, scores: ArrayLike) -> tuple[Floats, Floats]:
    """False and true positive rates, one point a distinct score, highest score first, from (0, 0) to (1, 1)."""
    positive, values = _checked(labels, scores)
    false, true, _ = sklearn.roc_curve(positive, values, drop_intermediate=False)
    return false, true


def pr_curve(labels: ArrayLike, scores: ArrayLike) -> tuple[Floats, Floats]:
    """Recall, ascending from 0, and precision, one point a distinct score, highest score first.

    Between two points precision is that of the second: draw steps ("steps-pre"). A straight line would show precisions
    that no threshold has, the more the more scores are tied. The area under the steps is the average precision.
    """
    positive, values = _checked(labels, scores)
    precision, recall, _ = sklearn.precision_recall_curve(positive, values)
    recall, precision = recall[::-1], precision[::-1]
    return recall, np.concatenate([precision[1:2], precision[1:]])  # scikit-learn's first point (0, 1) is no threshold


def _checked(labels: ArrayLike, scores: ArrayLike) -> tuple[NDArray[np.bool_], Floats]:
    numbers, values = np.asarray(labels), np.asarray(scores, dtype=np.float64)
    _require_finite(values, numbers.shape)
    if not np.isin(numbers, (0, 1)).all():
        raise ValueError("expected labels 0 and 1 only: leave out what is neither before ranking")
    return numbers.astype(bool), values


def _require_finite(values: Floats, shape: tuple[int, ...]) -> None:
    if values.shape != shape or values.ndim != 1:
        raise ValueError(f"expected two arrays of one shape (n,), found {shape} and {values.shape}")
    if bad := int((~np.isfinite(values)).sum()):
        raise ValueError(f"{bad} of {len(values)} scores are not finite: count and exclude such rows before ranking")


def _too_few(n_positive: int, n_negative: int) -> str | None:
    """Why there are no figures, if there are none."""
    if n_positive + n_negative == 0:
        return "no alleles"
    if n_positive == 0 or n_negative == 0:
        return "one class only: no ranking to judge"
    if n_positive < MIN_POSITIVES:
        return f"fewer than {MIN_POSITIVES} positives: too few for an interval"
    if n_negative < MIN_NEGATIVES:
        return f"fewer than {MIN_NEGATIVES} negatives: too few for an interval"
    return None


def _constant(values: Floats, which: str = "") -> str | None:
    """Why one value for all alleles has no figures: they would be those of chance, to the last digit."""
    return f"{which}constant here" if np.ptp(values) == 0 else None


def _levels(values: Floats) -> tuple[Ints, int]:
    """Index of each value among the distinct ones, ascending, and how many there are."""
    distinct, level = np.unique(values, return_inverse=True)
    return level, len(distinct)


def _draws(
    n_positive: int, n_negative: int, n_levels: int, n_resamples: int, rng: np.random.Generator
) -> Iterator[tuple[Ints, Ints]]:
    """Indices of resampled positives (b, n_positive) and negatives (b, n_negative), block by block."""
    block = max(1, BLOCK_CELLS // max(n_positive + n_negative, n_levels))
    for start in range(0, n_resamples, block):
        size = min(block, n_resamples - start)
        yield rng.integers(0, n_positive, (size, n_positive)), rng.integers(0, n_negative, (size, n_negative))


def _counts(levels: Ints, n_levels: int) -> NDArray[np.int64]:
    """Histogram of each row of `levels` (b, m) over 0..n_levels-1: shape (b, n_levels)."""
    n_rows = len(levels)
    flat = levels + np.arange(n_rows)[:, None] * n_levels
    return np.bincount(flat.ravel(), minlength=n_rows * n_levels).reshape(n_rows, n_levels)


def _auroc(positives: NDArray[np.int64], negatives: NDArray[np.int64]) -> Floats:
    """AUROC (b,) from counts per distinct score, lowest score first: two arrays (b, levels)."""
    below = np.cumsum(negatives, axis=1) - negatives
    won = (positives * (below + negatives / 2)).sum(axis=1)
    return won / (positives.sum(axis=1) * negatives.sum(axis=1))


def _areas(positives: NDArray[np.int64], negatives: NDArray[np.int64]) -> tuple[Floats, Floats]:
    """AUROC and AUPRC (b,) from counts as `_auroc` takes them."""
    true = np.cumsum(positives[:, ::-1], axis=1)
    called = true + np.cumsum(negatives[:, ::-1], axis=1)
    # A level at which nothing is called yet has no positives either, so its precision does not count.
    auprc = (positives[:, ::-1] * true / np.maximum(called, 1)).sum(axis=1) / positives.sum(axis=1)
    return _auroc(positives, negatives), auprc


def _mid_ranks(levels: Ints, n_levels: int) -> Floats:
    """Rank of each entry within its row of `levels` (b, n); of equal ones the mean of their places."""
    counts = _counts(levels, n_levels)
    middle = np.cumsum(counts, axis=1) - (counts - 1) / 2
    return np.take_along_axis(middle, levels, axis=1)


def _correlation(x: Floats, y: Floats) -> Floats:
    """Pearson's correlation (b,) of rows of x and y (b, n); NaN for a row without variance."""
    x, y = (values - values.mean(axis=1, keepdims=True) for values in (x, y))
    norms = np.sqrt(np.einsum("bn,bn->b", x, x) * np.einsum("bn,bn->b", y, y))
    return np.divide(np.einsum("bn,bn->b", x, y), norms, out=np.full(len(x), np.nan), where=norms > 0)


def _interval(parts: list[Floats]) -> tuple[float, float]:
    """The interval over resamples; one that is not defined says nothing."""
    low, high = np.nanpercentile(np.concatenate(parts), INTERVAL_PERCENT)
    return float(low), float(high)
