"""Pooling: one vector for the hidden states around a DNA token (spec 2, "pooling"; traps 2 and 4).

Everything here counts in DNA tokens: token t covers bases 6t .. 6t + 5 of the window. The caller has already taken away
the control token `<dna>`, which sits at hidden index 0, so no control token can enter a pool.
The means are linear: the shared-prefix pass adds up changes of single tokens. `AttentionPooling` is not.
Does not belong here: which token a pool is centred on, and how wide it is (the encoder and its contract).
"""

from __future__ import annotations

import torch
from torch import Tensor

BASES_PER_TOKEN = 6
_BLOCK = 64  # tokens


def pool_bounds(pool_tokens: Tensor, n_tokens: int, radius: int) -> tuple[Tensor, Tensor]:
    """First token and one past the last token of each pool, clipped to the window: two (n,) int64 tensors."""
    low = (pool_tokens - radius).clamp(min=0)
    high = (pool_tokens + radius + 1).clamp(max=n_tokens)
    return low, high


def centered_sums(hidden: Tensor, low: Tensor, high: Tensor) -> Tensor:
    """Sums of hidden (T, d) over [low, high) for each pool: (n, d) float64, through sums of whole blocks of tokens.

    float64 because the difference of two long prefix sums must not eat the small change that an edit makes.
    The sums lie where `hidden` lies, on the CPU if that device has no float64 (mps); the bounds may lie elsewhere.
    """
    hidden = with_float64(hidden)
    n_blocks = hidden.shape[0] // _BLOCK
    prefix = torch.zeros((n_blocks + 1, hidden.shape[1]), dtype=torch.float64, device=hidden.device)
    blocks = hidden[: n_blocks * _BLOCK].view(n_blocks, _BLOCK, hidden.shape[1]).sum(dim=1, dtype=torch.float64)
    torch.cumsum(blocks, dim=0, out=prefix[1:])
    borders, place = torch.unique(torch.cat([low, high]), return_inverse=True)
    whole = borders // _BLOCK
    rests = [
        hidden[block * _BLOCK : border].sum(dim=0, dtype=torch.float64)
        for block, border in zip(whole.tolist(), borders.tolist(), strict=True)
    ]
    sums = prefix[whole.to(hidden.device)] + torch.stack(rests)
    return sums[place[len(low) :].to(hidden.device)] - sums[place[: len(low)].to(hidden.device)]


def with_float64(values: Tensor) -> Tensor:
    """The same values on a device that has float64: Apple's `mps` has not."""
    return values.cpu() if values.device.type == "mps" else values


class AttentionPooling(torch.nn.Module):
    """A mean that weighs: softmax of query · hidden / sqrt(d) over the tokens of a pool; off unless asked for.

    The one parameter is the query (d,); at zero, where it starts, every token weighs the same and the pool is the mean.
    """

    def __init__(self, d_state: int) -> None:
        super().__init__()
        self.query = torch.nn.Parameter(torch.zeros(d_state))

    def weights(self, hidden: Tensor, low: Tensor, high: Tensor) -> Tensor:
        """Weights (n, T) float32 of hidden (T, d) in n pools [low, high): rows sum to 1, with 0 outside the pool."""
        token = torch.arange(len(hidden), device=hidden.device)
        low, high = low.to(hidden.device)[:, None], high.to(hidden.device)[:, None]
        fit = hidden.float() @ self.query / len(self.query) ** 0.5
        return fit.masked_fill((token < low) | (token >= high), float("-inf")).softmax(dim=-1)

    def forward(self, hidden: Tensor, low: Tensor, high: Tensor) -> Tensor:
        """Weighted means of hidden (T, d) over n pools [low, high): (n, d) float32, not normalised."""
        return self.weights(hidden, low, high) @ hidden.float()


def unit(pooled: Tensor) -> Tensor:
    """L2-normalised float32 rows (pitfall 1: the norm of a stored state is 1)."""
    return torch.nn.functional.normalize(pooled, dim=-1).float()
