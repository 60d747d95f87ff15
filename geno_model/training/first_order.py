"""The first-order term, solved before the first step: W with state + W shift nearest to the target (RFC 0006).

Belongs here: weighted ridge regression, its penalty by leave-one-out error. Does not: what a shift is
(`encoder.pool_shift`), the steps that train W along with all else (`loop`).
"""

from __future__ import annotations

import torch
from torch import Tensor

from geno_model.predictor.batch import ModelBatch
from geno_model.predictor.predictor import Predictor

PENALTIES = 10.0 ** torch.arange(-5, 2.5, 0.5)  # as shares of the mean power of a direction of the shift
MAX_STEPS_SEEN = 8_000


def solve_first_order(predictor: Predictor, rows: ModelBatch, targets: Tensor, naive: Tensor) -> None:
    """Set the predictor's W from rows (B, K) with targets (B, K, d); a row counts by 1 / naive (B,), as in the loss.

    A predictor without the term, and rows that move nothing, leave it as it is.
    """
    if predictor.first_order is None:
        return
    mask = rows.mask
    weight = (1 / (naive * mask.sum(dim=1)).double()).sqrt()[:, None].expand(mask.shape)[mask, None]
    shift = rows.shift[mask].double() * weight
    change = (targets - rows.state[:, None])[mask].double() * weight
    every = -(-len(shift) // MAX_STEPS_SEEN)
    if shift.any():
        with torch.no_grad():
            predictor.first_order.weight.copy_(ridge(shift[::every], change[::every]).T)


def ridge(x: Tensor, y: Tensor) -> Tensor:
    """Coefficients (p, q) of y (n, q) on x (n, p), with the penalty of the least leave-one-out error; float64."""
    power, directions = torch.linalg.eigh(x.T @ x)
    power = power.clamp(min=0)
    along, seen = x @ directions, directions.T @ (x.T @ y)
    errors, penalties = [], PENALTIES.double() * power.mean()
    for penalty in penalties:
        shrunk = 1 / (power + penalty)
        leverage = along.square() @ shrunk
        left_out = (y - along @ (shrunk[:, None] * seen)) / (1 - leverage).clamp(min=1e-6)[:, None]
        errors.append(left_out.square().sum())
    best = penalties[int(torch.stack(errors).argmin())]
    return directions @ (seen / (power + best)[:, None])
