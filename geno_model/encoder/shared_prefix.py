"""All edits of one window from one reference pass (spec 2, "Causality").

Carbon is causal, so tokens left of an edit have the same hidden states in the reference and in the edited window, and
tokens right of the pool influence nothing that is pooled. The reference window is run once and its keys and values are
kept; for each edited window only the tokens from the first edit to the end of the pool are run:

    tokens   0 ............ f ....... c0 ........ c0 + radius ........ 2,047
    reference ==============================================================   once
    edited                  [ suffix ------------ ]                           per edited window

Exact, not approximate: `CarbonStateEncoder.encode_batch` of the edited windows is the oracle in the tests.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from transformers.cache_utils import Cache, DynamicCache, DynamicLayer

from geno_model.encoder.carbon import CarbonStateEncoder
from geno_model.encoder.pooling import BASES_PER_TOKEN, centered_sums, pool_bounds, unit
from geno_model.genomics.edits import RelEdit, apply_edits_array, fit_side, fit_window
from geno_model.genomics.tokens import DNA_OPEN, sixmer_ids

LOCUS_TOKENS = 4  # an allele of at most 16 bp touches at most four six-mers
SUFFIX_BATCH = 4  # larger batches are slower on a CPU: more padding, colder caches


@dataclass(frozen=True, slots=True)
class EncodedWindow:
    """States of n chains of edits in one window, sum(K) edits in all, chain by chain.

    reference (n, d) and targets (sumK, d): unit float32 states before and after edits 1..k, at the chain's centre.
    locus (sumK, 2, d): hidden states of the reference window at tokens c - 1 and c of each edit (zeros for c - 1 = -1).
    tokens_before, tokens_after (sumK, 4) int64: compact six-mer ids from token c on, without and with that edit alone.
    """

    reference: Tensor
    targets: Tensor
    locus: Tensor
    tokens_before: Tensor
    tokens_after: Tensor


@dataclass(frozen=True, slots=True)
class _EditedWindow:
    """One edited window to encode: its compact ids over [first, high) and which pool it is for."""

    ids: NDArray[np.int32]
    first: int
    chain: int


def encode_window(
    encoder: CarbonStateEncoder,
    window: NDArray[np.uint8],
    chains: Sequence[Sequence[RelEdit]],
    pool_tokens: NDArray[np.integer],
) -> EncodedWindow:
    """Encode a window and every step of every chain of edits in it.

    `window` (window_bp,) ASCII bases; each chain is ordered by position without overlaps; `pool_tokens` (n,) DNA token
    indices. Raises `ReferenceMismatchError` where an edit's reference bases are not those of the window.
    """
    n_tokens = len(window) // BASES_PER_TOKEN
    low, high = pool_bounds(
        torch.from_numpy(np.array(pool_tokens, dtype=np.int64)), n_tokens, encoder.contract.radius_tokens
    )
    last_locus = max(edit.rel_pos for edits in chains for edit in edits) // BASES_PER_TOKEN
    n_needed = max(int(high.max()), last_locus + 1)  # what lies further right influences nothing that is kept
    ids = torch.from_numpy(sixmer_ids(window[: n_needed * BASES_PER_TOKEN]).astype(np.int64))
    hidden, cache = encoder.hidden_states(torch.cat([torch.tensor([DNA_OPEN]), ids])[None])
    hidden = hidden[0, 1:]
    reference = centered_sums(hidden, low, high)

    shared: list[tuple[int, _EditedWindow]] = []
    moved: list[tuple[int, NDArray[np.uint8], int]] = []
    n_steps = 0
    for chain, edits in enumerate(chains):
        for step in range(1, len(edits) + 1):
            edited, side = _edited_window(window, edits[:step], encoder.contract.fit_side)
            first = edits[0].rel_pos // BASES_PER_TOKEN
            if side == "right":
                span = slice(first * BASES_PER_TOKEN, int(high[chain]) * BASES_PER_TOKEN)
                shared.append((n_steps, _EditedWindow(sixmer_ids(edited[span]), first, chain)))
            else:
                moved.append((n_steps, edited, chain))
            n_steps += 1

    sums = torch.empty((n_steps, encoder.d_state), dtype=torch.float64)
    chain_of = torch.empty(n_steps, dtype=torch.long)
    for start in range(0, len(ordered := sorted(shared, key=lambda item: item[1].first)), SUFFIX_BATCH):
        batch = ordered[start : start + SUFFIX_BATCH]
        changes = _suffix_changes(encoder, cache, hidden, [item for _, item in batch], low, high)
        for (row, item), change in zip(batch, changes, strict=True):
            sums[row] = reference[item.chain] + change
            chain_of[row] = item.chain
    for row, edited, chain in moved:  # cut on the left: every six-mer has another frame, so nothing can be shared
        edited_ids = torch.from_numpy(sixmer_ids(edited).astype(np.int64))
        full, _ = encoder.hidden_states(torch.cat([torch.tensor([DNA_OPEN]), edited_ids])[None])
        sums[row] = centered_sums(full[0, 1:], low[chain : chain + 1], high[chain : chain + 1])[0]
        chain_of[row] = chain

    before, after, loci = _locus_tokens(window, [edit for edits in chains for edit in edits])
    locus = torch.stack([hidden[(loci - 1).clamp(min=0)] * (loci > 0)[:, None], hidden[loci]], dim=1)
    return EncodedWindow(unit(reference), unit(sums), locus, before, after)


def _edited_window(window: NDArray[np.uint8], edits: Sequence[RelEdit], side: str) -> tuple[NDArray[np.uint8], str]:
    """The window after `edits`, back at its length, and the side on which it was cut or padded."""
    edited = apply_edits_array(window, edits)
    if len(edited) == len(window):
        return edited, "right"
    used = fit_side(edits[0].rel_pos, len(window), side)
    return fit_window(edited, len(window), edits[0].rel_pos, side), used


def _suffix_changes(
    encoder: CarbonStateEncoder, cache: Cache, hidden: Tensor, items: Sequence[_EditedWindow], low: Tensor, high: Tensor
) -> list[Tensor]:
    """Sum over each pool of (edited - reference) hidden states: float64 (d,) per item, taken before normalisation.

    The items are batched: keys = the reference prefix up to the last `first`, then each item's own suffix; a mask hides
    from each item the reference tokens at or right of its own first changed token.
    """
    n_items, n_prefix = len(items), max(item.first for item in items) + 1  # + 1 for <dna>
    n_suffix = max(len(item.ids) for item in items)
    if n_suffix == 0:  # every edit lies right of its pool: nothing that is pooled changes
        return [torch.zeros(encoder.d_state, dtype=torch.float64) for _ in items]
    ids = torch.zeros((n_items, n_suffix), dtype=torch.long)  # right padding is never attended to: the model is causal
    for row, item in enumerate(items):
        ids[row, : len(item.ids)] = torch.from_numpy(item.ids.astype(np.int64))
    first = torch.tensor([item.first for item in items])
    prefix = DynamicCache()
    for layer, kept in enumerate(cache.layers):  # copies: crop and repeat of the kept cache would work in place
        assert isinstance(kept, DynamicLayer) and kept.keys is not None and kept.values is not None
        keys, values = kept.keys[:, :, :n_prefix], kept.values[:, :, :n_prefix]
        prefix.update(keys.expand(n_items, -1, -1, -1), values.expand(n_items, -1, -1, -1), layer)
    hidden_prefix = torch.arange(n_prefix)[None, :] > first[:, None]
    mask = torch.zeros((n_items, 1, n_suffix, n_prefix + n_suffix))  # added to the scores, once for all layers
    mask[..., :n_prefix].masked_fill_(hidden_prefix[:, None, None, :], float("-inf"))
    mask[..., n_prefix:].masked_fill_(torch.ones(n_suffix, n_suffix).triu(1).bool(), float("-inf"))
    position_ids = first[:, None] + 1 + torch.arange(n_suffix)[None, :]
    edited, _ = encoder.hidden_states(ids, prefix, attention_mask=mask, position_ids=position_ids)
    changes = []
    for row, item in enumerate(items):
        start, stop = max(item.first, int(low[item.chain])), int(high[item.chain])
        new = edited[row, start - item.first : stop - item.first]
        changes.append((new.double() - hidden[start:stop].double()).sum(dim=0))
    return changes


def _locus_tokens(window: NDArray[np.uint8], edits: Sequence[RelEdit]) -> tuple[Tensor, Tensor, Tensor]:
    """Compact ids (n, 4) from each edit's token on, before and after that edit alone, and the tokens c (n,)."""
    n_bases = LOCUS_TOKENS * BASES_PER_TOKEN
    loci = np.array([edit.rel_pos // BASES_PER_TOKEN for edit in edits], dtype=np.int64)
    padded = np.concatenate([window, np.full(2 * n_bases, ord("A"), dtype=np.uint8)])
    before = np.empty((len(edits), n_bases), dtype=np.uint8)
    after = np.empty_like(before)
    for row, (edit, token) in enumerate(zip(edits, loci, strict=True)):
        start = int(token) * BASES_PER_TOKEN
        before[row] = padded[start : start + n_bases]
        rest = padded[edit.rel_pos + len(edit.ref_bases) :]
        alt = np.frombuffer(edit.alt_bases.encode(), dtype=np.uint8)
        after[row] = np.concatenate([padded[start : edit.rel_pos], alt, rest[:n_bases]])[:n_bases]
    as_ids = [torch.from_numpy(sixmer_ids(bases).astype(np.int64)) for bases in (before, after)]
    return as_ids[0], as_ids[1], torch.from_numpy(loci)
