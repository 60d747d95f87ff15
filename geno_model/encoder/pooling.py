"""Pooling: the mean of hidden states around a DNA token (spec 2, "pooling"; traps 2 and 4).

Everything here counts in DNA tokens: token t covers bases 6t .. 6t + 5 of the window. The caller has already taken away
the control token `<dna>`, which sits at hidden index 0, so no control token can enter a pool.
"""

from __future__ import annotations

import torch
from torch import Tensor

BASES_PER_TOKEN = 6


def pool_bounds(pool_tokens: Tensor, n_tokens: int, radius: int) -> tuple[Tensor, Tensor]:
    """First token and one past the last token of each pool, clipped to the window: two (n,) int64 tensors."""
    low = (pool_tokens - radius).clamp(min=0)
    high = (pool_tokens + radius + 1).clamp(max=n_tokens)
    return low, high


def centered_sums(hidden: Tensor, low: Tensor, high: Tensor) -> Tensor:
    """Sums of hidden (T, d) over [low, high) for each pool: (n, d) float64, through prefix sums.

    float64 because the difference of two long prefix sums must not eat the small change that an edit makes.
    """
    prefix = torch.zeros((hidden.shape[0] + 1, hidden.shape[1]), dtype=torch.float64)
    torch.cumsum(hidden.double(), dim=0, out=prefix[1:])
    return prefix[high] - prefix[low]


def unit(pooled: Tensor) -> Tensor:
    """L2-normalised float32 rows (pitfall 1: the norm of a stored state is 1)."""
    return torch.nn.functional.normalize(pooled, dim=-1).float()
