"""The loss, and the figure that matters: skill against "no change" (spec 4).

1 - cos of unit vectors is computed as half the squared distance, in float32: the states differ by 1e-3 to 1e-2, and the
subtraction would lose half the digits. Nothing here knows about batches of data or optimisers.
"""

from __future__ import annotations

import torch
from torch import Tensor

COSINE_WEIGHT = 1.0
MSE_WEIGHT = 0.1


def squared_distance(a: Tensor, b: Tensor) -> Tensor:
    """||a - b||^2 over the last axis."""
    return (a - b).square().sum(dim=-1)


def raw_loss(predicted: Tensor, target: Tensor, mask: Tensor) -> Tensor:
    """Loss of each row (B,): mean over its steps of (1 - cos) + 0.1 * ||.||^2 / d_state; (B, K, d), mask (B, K)."""
    squared = squared_distance(predicted, target)
    step_loss = COSINE_WEIGHT * squared / 2 + MSE_WEIGHT * squared / predicted.shape[-1]
    return (step_loss * mask).sum(dim=1) / mask.sum(dim=1)


def skill(predicted: Tensor, target: Tensor, source: Tensor) -> float:
    """1 - sum ||predicted - target||^2 / sum ||source - target||^2 over rows (n, d): 0 is no change, 1 is perfect."""
    error = squared_distance(predicted, target).double().sum()
    naive = squared_distance(source, target).double().sum()
    return float(1 - error / naive) if naive > 0 else float("nan")


def last_step(values: Tensor, mask: Tensor) -> Tensor:
    """The step K of each row: values (B, K, ...) to (B, ...)."""
    return values[torch.arange(len(values)), mask.sum(dim=1) - 1]


def safe_gain(predicted: Tensor, target: Tensor, source: Tensor) -> float:
    """How far predicted changes are to be believed, in [0, 1], from rows (n, d) that were not trained on.

    The factor g on the predicted change that leaves the smallest squared error, less two standard errors: few rows, or
    rows that disagree, give 0, which is "no change".
    """
    guess, actual = (predicted - source).double(), (target - source).double()
    product, power = (guess * actual).sum(dim=-1), guess.square().sum(dim=-1)
    if power.sum() <= 0:
        return 0.0
    best = product.sum() / power.sum()
    standard_error = (product - best * power).square().sum().sqrt() / power.sum()
    return float((best - 2 * standard_error).clamp(0, 1))
