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
import polars as pl
import torch
from numpy.typing import NDArray
from torch import Tensor
from transformers.cache_utils import Cache, DynamicCache, DynamicLayer

from geno_model.encoder.carbon import CarbonStateEncoder
from geno_model.encoder.pooling import BASES_PER_TOKEN, centered_sums, pool_bounds, unit
from geno_model.genomics.edits import RelEdit, apply_edits_array, fit_side, fit_window
from geno_model.genomics.texts import to_matrix
from geno_model.genomics.tokens import DNA_OPEN, edited_sixmer_ids, sixmer_ids

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

    shared, moved = _edited_windows(window, chains, high.tolist(), encoder.contract.fit_side)
    sums = torch.empty((len(shared) + len(moved), encoder.d_state), dtype=torch.float64)
    for start in range(0, len(ordered := sorted(shared, key=lambda item: item[1].first)), SUFFIX_BATCH):
        batch = ordered[start : start + SUFFIX_BATCH]
        changes = _suffix_changes(encoder, cache, hidden, [item for _, item in batch], low, high)
        for (row, item), change in zip(batch, changes, strict=True):
            sums[row] = reference[item.chain] + change
    for row, edited, chain in moved:  # cut on the left: every six-mer has another frame, so nothing can be shared
        edited_ids = torch.from_numpy(sixmer_ids(edited).astype(np.int64))
        full, _ = encoder.hidden_states(torch.cat([torch.tensor([DNA_OPEN]), edited_ids])[None])
        sums[row] = centered_sums(full[0, 1:], low[chain : chain + 1], high[chain : chain + 1])[0]

    before, after, loci = _locus_tokens(window, [edit for edits in chains for edit in edits])
    locus = torch.stack([hidden[(loci - 1).clamp(min=0)] * (loci > 0)[:, None], hidden[loci]], dim=1)
    return EncodedWindow(unit(reference), unit(sums), locus, before, after)


def _edited_windows(
    window: NDArray[np.uint8], chains: Sequence[Sequence[RelEdit]], high: Sequence[int], fit_rule: str
) -> tuple[list[tuple[int, _EditedWindow]], list[tuple[int, NDArray[np.uint8], int]]]:
    """All steps of all chains, numbered in order: those that share the reference's prefix, and those that do not.

    high: end of each chain's pool, in tokens. The second list holds whole edited windows and their chain.
    """
    heads = [edits[0] for edits in chains]
    for edit in heads:
        if window[edit.rel_pos : edit.rel_end].tobytes() != edit.ref_bases.encode():
            apply_edits_array(window, [edit])  # raises, unless only the case differs
    firsts = [edit.rel_pos // BASES_PER_TOKEN for edit in heads]
    n_suffix = max(max(stop - first for stop, first in zip(high, firsts, strict=True)), 0)
    head_ids = edited_sixmer_ids(window, *_columns(heads), n_suffix)  # step 1 of every chain at once
    shared: list[tuple[int, _EditedWindow]] = []
    moved: list[tuple[int, NDArray[np.uint8], int]] = []
    for chain, edits in enumerate(chains):
        first, stop = firsts[chain], max(high[chain], firsts[chain])
        for step in range(1, len(edits) + 1):
            row = len(shared) + len(moved)
            if _is_cut_left(edits[:step], len(window), fit_rule):
                edited = apply_edits_array(window, edits[:step])
                moved.append((row, fit_window(edited, len(window), heads[chain].rel_pos, fit_rule), chain))
            elif step == 1:
                shared.append((row, _EditedWindow(head_ids[chain, : stop - first], first, chain)))
            else:
                edited = fit_window(apply_edits_array(window, edits[:step]), len(window), 0, "right")
                ids = sixmer_ids(edited[first * BASES_PER_TOKEN : stop * BASES_PER_TOKEN])
                shared.append((row, _EditedWindow(ids, first, chain)))
    return shared, moved


def _is_cut_left(edits: Sequence[RelEdit], window_bp: int, fit_rule: str) -> bool:
    """Whether the edited window is brought back to its length at its left end."""
    is_longer_or_shorter = sum(len(edit.alt_bases) - len(edit.ref_bases) for edit in edits) != 0
    return is_longer_or_shorter and fit_side(edits[0].rel_pos, window_bp, fit_rule) == "left"


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
    rel_pos, ref_length, alt, alt_length = _columns(edits)
    loci = rel_pos // BASES_PER_TOKEN
    padded = np.concatenate([window, np.full(LOCUS_TOKENS * BASES_PER_TOKEN, ord("A"), dtype=np.uint8)])
    before = sixmer_ids(padded)[loci[:, None] + np.arange(LOCUS_TOKENS)]
    after = edited_sixmer_ids(window, rel_pos, ref_length, alt, alt_length, LOCUS_TOKENS)
    return torch.from_numpy(before.astype(np.int64)), torch.from_numpy(after.astype(np.int64)), torch.from_numpy(loci)


def _columns(
    edits: Sequence[RelEdit],
) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.uint8], NDArray[np.int64]]:
    """rel_pos (n,), length of ref (n,), alt as ASCII bytes (n, w), length of alt (n,)."""
    rel_pos = np.array([edit.rel_pos for edit in edits], dtype=np.int64)
    ref_length = np.array([len(edit.ref_bases) for edit in edits], dtype=np.int64)
    return rel_pos, ref_length, *to_matrix(pl.Series([edit.alt_bases for edit in edits], dtype=pl.String))
