"""Figures of merit, each with its interval: AUROC, AUPRC, skill.

Belongs here: functions from arrays to numbers. Does not belong here: which rows form a benchmark (`benchmarks`,
`rollout`) and how a number is printed (`report`).

Two ideas.
- A resample of a ranking needs no sorting: scores are replaced once by the index of their distinct value, a resample is
  then a table of counts (resamples x distinct values), and both areas are cumulative sums over it.
- An edit moves a unit state by 1e-3 to 1e-2, so cosine is near 1 for a model that does nothing. Skill compares with
  exactly that: 0 is "predict no change", 1 is perfect, below 0 is worse than doing nothing (spec 4).
Intervals are the 2.5 % and 97.5 % points over resamples. Sources: spec 4 ("Small numbers", "The figure
that matters"), spec 6.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

Floats = NDArray[np.float64]
States = NDArray[np.float32]

MIN_POSITIVES = 10
INTERVAL_PERCENT = (2.5, 97.5)
UNIT_TOLERANCE = 1e-3
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
class StateMetrics:
    """How near predicted states are to the true ones; `naive_*` predicts no change. See `state_metrics`."""

    n: int
    skill: float | None
    skill_low: float | None
    skill_high: float | None
    delta_cosine: float | None
    cosine: float | None
    l2: float | None
    naive_cosine: float | None
    naive_l2: float | None


def rank(labels: ArrayLike, scores: ArrayLike, n_resamples: int = 1000, seed: int = 0) -> Ranking:
    """AUROC and AUPRC (average precision) of `scores` (n,) for `labels` 0 and 1 (n,), with bootstrap intervals.

    Ties count half in AUROC and form one threshold in AUPRC, as in scikit-learn. Positives and negatives are resampled
    apart, so every resample keeps both numbers. One class only, or fewer than 10 positives: a result with a note and no
    figures.

    Raises:
        ValueError: shapes differ, a label is not 0 or 1, or a score is not finite.
    """
    positive, values = _checked(labels, scores)
    n_positive, n_negative = int(positive.sum()), int((~positive).sum())
    if n_positive + n_negative == 0:
        return Ranking(0, 0, note="no alleles")
    if n_positive == 0 or n_negative == 0:
        return Ranking(n_positive, n_negative, note="one class only: no ranking to judge")
    if n_positive < MIN_POSITIVES:
        return Ranking(n_positive, n_negative, note=f"fewer than {MIN_POSITIVES} positives: too few for an interval")
    distinct, level = np.unique(values, return_inverse=True)
    of_positive, of_negative = level[positive], level[~positive]
    auroc, auprc = _areas(_counts(of_positive[None], len(distinct)), _counts(of_negative[None], len(distinct)))
    resampled = _resampled_areas(of_positive, of_negative, len(distinct), n_resamples, np.random.default_rng(seed))
    low, high = np.percentile(resampled, INTERVAL_PERCENT, axis=1)
    return Ranking(
        n_positive,
        n_negative,
        float(auroc[0]),
        float(low[0]),
        float(high[0]),
        float(auprc[0]),
        float(low[1]),
        float(high[1]),
    )


def roc_curve(labels: ArrayLike, scores: ArrayLike) -> tuple[Floats, Floats]:
    """False and true positive rates, one point a distinct score, highest score first, from (0, 0) to (1, 1)."""
    positive, values = _checked(labels, scores)
    distinct, level = np.unique(values, return_inverse=True)
    true = np.cumsum(_counts(level[positive][None], len(distinct))[0, ::-1]) / max(positive.sum(), 1)
    false = np.cumsum(_counts(level[~positive][None], len(distinct))[0, ::-1]) / max((~positive).sum(), 1)
    return np.concatenate([[0.0], false]), np.concatenate([[0.0], true])


def skill(predicted: States, target: States, source: States) -> float:
    """1 - sum ||predicted - target||² / sum ||source - target||², over rows of (n, d).

    NaN if no target differs from its source: there is no change to explain.
    """
    return _skill(squared_distances(predicted, target).sum(), squared_distances(source, target).sum())


def squared_distances(a: States, b: States) -> Floats:
    """||a - b||² for each row of (n, d): differences in float32, sums in float64."""
    difference = np.subtract(a, b, dtype=np.float32).astype(np.float64)
    return np.einsum("nd,nd->n", difference, difference)


def state_metrics(
    predicted: States, target: States, source: States, n_resamples: int = 1000, seed: int = 0
) -> StateMetrics:
    """All figures of n predicted states (n, d), unit vectors, beside those of "no change" (`source`).

    - skill with a bootstrap interval over rows;
    - delta_cosine: mean cos(predicted - source, target - source) over rows whose state changes; 0 where no
      change is predicted;
    - cosine: 1 minus half the mean squared distance, which for unit vectors is the mean cosine, without its
      loss of digits;
    - l2: mean distance.
    A figure that is not defined (no rows, no change) is None.

    Raises:
        ValueError: shapes differ, or a state is not a unit vector.
    """
    if not predicted.shape == target.shape == source.shape or predicted.ndim != 2:
        raise ValueError(
            f"expected three arrays of one shape (n, d), found {predicted.shape}, {target.shape}, {source.shape}"
        )
    if len(predicted) == 0:
        return StateMetrics(0, None, None, None, None, None, None, None, None)
    for name, states in (("predicted", predicted), ("target", target), ("source", source)):
        _require_unit(name, states)
    error, change = squared_distances(predicted, target), squared_distances(source, target)
    low, high = _skill_interval(error, change, n_resamples, seed)
    return StateMetrics(
        n=len(predicted),
        skill=_finite(_skill(error.sum(), change.sum())),
        skill_low=low,
        skill_high=high,
        delta_cosine=_delta_cosine(predicted, target, source),
        cosine=float(1 - error.mean() / 2),
        l2=float(np.sqrt(error).mean()),
        naive_cosine=float(1 - change.mean() / 2),
        naive_l2=float(np.sqrt(change).mean()),
    )


def _checked(labels: ArrayLike, scores: ArrayLike) -> tuple[NDArray[np.bool_], Floats]:
    numbers, values = np.asarray(labels), np.asarray(scores, dtype=np.float64)
    if numbers.shape != values.shape or numbers.ndim != 1:
        raise ValueError(f"expected labels and scores of one shape (n,), found {numbers.shape} and {values.shape}")
    if not np.isin(numbers, (0, 1)).all():
        raise ValueError("expected labels 0 and 1 only: leave out what is neither before ranking")
    if bad := int((~np.isfinite(values)).sum()):
        raise ValueError(f"{bad} of {len(values)} scores are not finite: count and exclude such rows before ranking")
    return numbers.astype(bool), values


def _counts(levels: NDArray[np.integer], n_levels: int) -> NDArray[np.int64]:
    """Histogram of each row of `levels` (b, m) over 0..n_levels-1: shape (b, n_levels)."""
    n_rows = len(levels)
    flat = levels + np.arange(n_rows)[:, None] * n_levels
    return np.bincount(flat.ravel(), minlength=n_rows * n_levels).reshape(n_rows, n_levels)


def _areas(positives: NDArray[np.int64], negatives: NDArray[np.int64]) -> tuple[Floats, Floats]:
    """AUROC and AUPRC (b,) from counts per distinct score, lowest score first: two arrays (b, levels)."""
    n_positive, n_negative = positives.sum(axis=1), negatives.sum(axis=1)
    below = np.cumsum(negatives, axis=1) - negatives
    auroc = (positives * (below + negatives / 2)).sum(axis=1) / (n_positive * n_negative)
    true = np.cumsum(positives[:, ::-1], axis=1)
    called = true + np.cumsum(negatives[:, ::-1], axis=1)
    # A level at which nothing is called yet has no positives either, so its precision does not count.
    auprc = (positives[:, ::-1] * true / np.maximum(called, 1)).sum(axis=1) / n_positive
    return auroc, auprc


def _resampled_areas(
    of_positive: NDArray[np.integer],
    of_negative: NDArray[np.integer],
    n_levels: int,
    n_resamples: int,
    rng: np.random.Generator,
) -> Floats:
    """AUROC and AUPRC of stratified resamples, (2, n_resamples), in blocks that bound the memory."""
    n_positive, n_negative = len(of_positive), len(of_negative)
    block = max(1, BLOCK_CELLS // max(n_positive + n_negative, n_levels))
    areas = []
    for start in range(0, n_resamples, block):
        size = min(block, n_resamples - start)
        positives = of_positive[rng.integers(0, n_positive, (size, n_positive))]
        negatives = of_negative[rng.integers(0, n_negative, (size, n_negative))]
        areas.append(np.stack(_areas(_counts(positives, n_levels), _counts(negatives, n_levels))))
    return np.concatenate(areas, axis=1)


def _skill(error: float, change: float) -> float:
    return float(1 - error / change) if change > 0 else float("nan")


def _skill_interval(error: Floats, change: Floats, n_resamples: int, seed: int) -> tuple[float | None, float | None]:
    """Interval of skill over resamples of rows; (None, None) where it is not defined or there is one row only."""
    n_rows = len(error)
    if n_rows < 2 or not change.sum() > 0:
        return None, None
    rng = np.random.default_rng(seed)
    block = max(1, BLOCK_CELLS // n_rows)
    values = []
    for start in range(0, n_resamples, block):
        chosen = rng.integers(0, n_rows, (min(block, n_resamples - start), n_rows))
        sums = change[chosen].sum(axis=1)
        # A resample in which nothing changes says nothing about skill.
        values.append(1 - error[chosen].sum(axis=1)[sums > 0] / sums[sums > 0])
    low, high = np.percentile(np.concatenate(values), INTERVAL_PERCENT)
    return float(low), float(high)


def _delta_cosine(predicted: States, target: States, source: States) -> float | None:
    predicted_change = np.subtract(predicted, source, dtype=np.float32).astype(np.float64)
    true_change = np.subtract(target, source, dtype=np.float32).astype(np.float64)
    true_norm = np.linalg.norm(true_change, axis=1)
    changed = true_norm > 0
    if not changed.any():
        return None
    norms = np.linalg.norm(predicted_change, axis=1) * true_norm
    dots = np.einsum("nd,nd->n", predicted_change, true_change)
    return float(np.divide(dots, norms, out=np.zeros_like(dots), where=norms > 0)[changed].mean())


def _require_unit(name: str, states: States) -> None:
    norms = np.sqrt(np.einsum("nd,nd->n", states, states, dtype=np.float64))
    worst = float(np.abs(norms - 1).max())
    if not worst <= UNIT_TOLERANCE:
        raise ValueError(
            f"{name} states: found a norm that is {worst:.3g} away from 1, expected at most {UNIT_TOLERANCE:g}: "
            "normalise states before judging them"
        )


def _finite(value: float) -> float | None:
    return value if np.isfinite(value) else None
