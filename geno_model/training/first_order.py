"""The first-order term, solved before the first step: W with state + W shift nearest to the target (RFC 0006).

Belongs here: weighted least squares with a small penalty. Does not: what a shift is (`encoder.pool_shift`), the steps
that train W along with all else (`loop`).
"""

from __future__ import annotations

import torch
from torch import Tensor

from geno_model.predictor.batch import ModelBatch
from geno_model.predictor.predictor import Predictor

PENALTY = 1e-4  # of the mean power of a column of the shift


def solve_first_order(predictor: Predictor, rows: ModelBatch, targets: Tensor, naive: Tensor) -> None:
    """Set the predictor's W from rows (B, K) with targets (B, K, d); a row counts by 1 / naive (B,), as in the loss.

    A predictor without the term, and rows that move nothing, leave it as it is.
    """
    if predictor.first_order is None:
        return
    shift = rows.shift[rows.mask].double()
    change = (targets - rows.state[:, None])[rows.mask].double()
    weight = (1 / (naive * rows.mask.sum(dim=1)).double())[:, None].expand(rows.mask.shape)[rows.mask, None]
    power = (shift * weight).T @ shift
    penalty = PENALTY * power.diagonal().mean()
    if penalty > 0:
        eye = torch.eye(len(power), dtype=power.dtype, device=power.device)
        solved = torch.linalg.solve(power + penalty * eye, (shift * weight).T @ change)
        with torch.no_grad():
            predictor.first_order.weight.copy_(solved.T)
