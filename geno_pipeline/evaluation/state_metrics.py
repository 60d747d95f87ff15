"""How near predicted states are to the true ones, each figure beside that of "no change" (spec 4, 6).

Belongs here: skill and its companions, from arrays to numbers. Does not belong here: which rows are judged (`rollout`),
rankings (`metrics`).

Concept: an edit moves a unit state by 1e-3 to 1e-2, so cosine is near 1 for a model that does nothing. Skill compares
with exactly that: 0 is "predict no change", 1 is perfect, below 0 is worse than doing nothing. Intervals are the 2.5 %
and 97.5 % points over resamples of rows.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from geno_pipeline.evaluation.metrics import BLOCK_CELLS, INTERVAL_PERCENT, Floats

States = NDArray[np.float32]

UNIT_TOLERANCE = 1e-3


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
