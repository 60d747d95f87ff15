"""How an edit changes the likelihood of the DNA behind it, from passes that have been made anyway (spec 5, "Scores").

Belongs here: sums of log p over the six-mers from an edit to the end of its pool, in the reference and in the edited
window. Does not: the passes (`shared_prefix`), likelihoods of whole windows (`likelihood`).

The concept: a causal model's hidden state at one token says how likely the next one is, and left of the edit nothing
changes. So the difference of the two log-likelihoods of the window up to the pool's end is one over these tokens alone:

    tokens       0 ........ f ........... high           f: the token of the edit
    reference    same      | log p ------- |
    edited       same      | log p ------- |             difference = edited - reference, nats; < 0 is less likely

It is `likelihood.log_likelihood_difference` of windows that end with the pool. What the edit does to tokens further
right is not in it: they are never run.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from geno_model.encoder.carbon import CarbonStateEncoder
from geno_model.encoder.likelihood import token_log_p
from geno_model.genomics.tokens import OOV

BLOCK_TOKENS = 64
_UNITS = 2.0**30  # in a nat: log p is rounded to these, so that sums of them are exact in any order

Ints = NDArray[np.int64]


class EditLikelihoods:
    """Takes edited windows up batch by batch; `differences` gives one number for each."""

    def __init__(self, encoder: CarbonStateEncoder, last: Tensor, ids: Ints, first_token: int, n_rows: int) -> None:
        """last (T + 1, d): what the head reads at `<dna>` and each of the reference's compact ids (T,).

        first_token: no edited window begins left of it. n_rows: edited windows.
        """
        self._encoder, self._last = encoder, last
        first_token -= first_token % BLOCK_TOKENS
        after = np.append(ids, OOV)  # the last row says what follows the window: nothing that counts
        blocks = [self._log_p(*part) for part in _blocks(last[first_token:], after[first_token:])]
        log_p, is_oov = (torch.cat(parts)[: len(ids) - first_token] for parts in zip(*blocks, strict=True))
        nothing = torch.zeros(first_token + 1, dtype=torch.float64)
        self._sum_left_of = torch.cat([nothing, log_p.cumsum(0)])  # (T + 1,), from `first_token` on
        self._oov_left_of = torch.cat([nothing, is_oov.double().cumsum(0)])
        self._differences = torch.zeros(n_rows, dtype=torch.float64)

    def add(self, row: Ints, first: Ints, length: Ints, ids: NDArray[np.integer], last: Tensor) -> None:
        """m suffixes: rows, first tokens and lengths (m,), compact ids (m, w), last hidden states (m, w, d)."""
        begin = torch.from_numpy(first)
        before = torch.cat([self._last[begin.to(last.device)][:, None], last[:, :-1]], dim=1)
        is_token = np.arange(ids.shape[1]) < length[:, None]
        log_p, is_oov = self._log_p(before[torch.from_numpy(is_token).to(last.device)], ids[is_token].astype(np.int64))
        owner = torch.from_numpy(np.nonzero(is_token)[0])
        edited, n_oov = (
            torch.zeros(len(row), dtype=torch.float64).index_add_(0, owner, values)
            for values in (log_p, is_oov.double())
        )
        end = begin + torch.from_numpy(length)
        reference = self._sum_left_of[end] - self._sum_left_of[begin]
        is_alike = n_oov == self._oov_left_of[end] - self._oov_left_of[begin]
        # Sums over different numbers of six-mers say nothing: each is worth about eight nats.
        self._differences[torch.from_numpy(row)] = (edited - reference).where(is_alike, torch.nan)

    def differences(self) -> Tensor:
        """log p(edited) - log p(reference) in nats (n_rows,) float64; NaN where an indel moved an `<oov>` in or out."""
        return self._differences

    def _log_p(self, before: Tensor, ids: Ints) -> tuple[Tensor, Tensor]:
        """log p (n,) float64 of compact ids (n,) after hidden states (n, d); 0 for `<oov>`; and which are that."""
        compact = torch.from_numpy(ids)
        is_oov = compact == OOV
        log_p = token_log_p(self._encoder, before, compact).cpu().double()
        return ((log_p * _UNITS).round() / _UNITS).masked_fill(is_oov, 0), is_oov


def _blocks(last: Tensor, ids: Ints) -> Iterator[tuple[Tensor, Ints]]:
    """Rows in blocks, so that a token is always in the same one. They begin at a multiple of `BLOCK_TOKENS`."""
    for start in range(0, len(ids), BLOCK_TOKENS):
        yield last[start : start + BLOCK_TOKENS], ids[start : start + BLOCK_TOKENS]
