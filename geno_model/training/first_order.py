"""The first-order term, solved before the first step: W with state + W shift nearest to the target (RFC 0006).

Belongs here: weighted ridge regression, its penalty by cross-validation. Does not: what a shift is
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
    """Coefficients (p, q) of y (n, q) on x (n, p), at the penalty of least generalised cross-validation error; float64.

    Golub, Heath and Wahba 1979: squared error over (1 - degrees of freedom / n) squared. In the directions of x'x every
    penalty costs a sum over p numbers.
    """
    power, directions = torch.linalg.eigh(x.T @ x)
    power = power.clamp(min=0)
    seen = directions.T @ (x.T @ y)
    strength, total = seen.square().sum(dim=1), y.square().sum()
    scores, penalties = [], PENALTIES.double() * power.mean()
    for penalty in penalties:
        shrunk = 1 / (power + penalty)
        error = total - (strength * shrunk * (2 - power * shrunk)).sum()
        scores.append(error / (1 - (power * shrunk).sum() / len(x)).clamp(min=1e-3).square())
    best = penalties[int(torch.stack(scores).argmin())]
    return directions @ (seen / (power + best)[:, None])
