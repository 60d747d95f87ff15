"""The loss, and the figure that matters: skill against "no change" (spec 4).

1 - cos of unit vectors is computed as half the squared distance, in float32: the states differ by 1e-3 to 1e-2, and the
subtraction would lose half the digits. Nothing here knows about batches of data or optimisers.
"""

from __future__ import annotations

import torch
from torch import Tensor

COSINE_WEIGHT = 1.0
MSE_WEIGHT = 0.1
LEJEPA_WEIGHT = 0.5
LEJEPA_EPSILON = 1e-4  # an SNV alone gives a direction of 16 demo states a variance of some 4e-5, an indel 1e-3


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


def lejepa(states: Tensor) -> Tensor:
    """The regulariser, weight included, of unit states (n, d): a float32 number, 0 for n of unit covariance and mean 0.

    Computed in float64 on states times sqrt(d), with the covariance of the batch as it is (divided by n).
    """
    n, d = states.shape
    scaled = states.double() * d**0.5
    mean = scaled.mean(dim=0)
    centred = scaled - mean
    covariance = centred.T @ centred / n
    factor = torch.linalg.cholesky(
        covariance + LEJEPA_EPSILON * torch.eye(d, dtype=torch.float64, device=states.device)
    )
    log_det = 2 * factor.diagonal().log().sum()
    return (LEJEPA_WEIGHT * 0.5 * (mean @ mean + covariance.trace() - log_det - d)).float()
