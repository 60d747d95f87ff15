"""All edits of one window from one reference pass (spec 2, "Causality").

Carbon is causal, so tokens left of an edit have the same hidden states in the reference and in the edited window, and
tokens right of the pool influence nothing that is pooled. The reference window is run once and its keys and values are
kept; for each edited window only the tokens from the first edit to the end of the pool are run:

    tokens   0 ............ f ....... c0 ........ c0 + radius ........ 2,047
    reference ==============================================================   once
    edited                  [ suffix ------------ ]                           per edited window

A caller that needs no states after the edits, or wants the likelihood of the edited DNA beside them, says so.

Exact, not approximate: `CarbonStateEncoder.encode_batch` of the edited windows is the oracle in the tests. On a CPU the
shape of every matrix follows from one chain alone, so that what else is encoded with it changes no bit of its numbers;
a GPU is kept busy with batches, and last digits depend on them.
Memory: the reference's keys, values and hidden states, and one batch of suffixes, within a budget in bytes.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from geno_model.encoder.carbon import CHUNK_TOKENS, CarbonStateEncoder
from geno_model.encoder.edit_likelihood import EditLikelihoods
from geno_model.encoder.other_frames import Step, add_arrivals
from geno_model.encoder.pool_shift import add_shifts
from geno_model.encoder.pooling import BASES_PER_TOKEN, centered_sums, pool_bounds, unit, with_float64
from geno_model.encoder.state_contract import StateContract
from geno_model.encoder.suffix import bytes_per_token, suffix_hidden_states
from geno_model.genomics.edits import RelEdit, apply_edits_array, fit_side, fit_window
from geno_model.genomics.errors import InputError
from geno_model.genomics.tokens import DNA_OPEN, edited_sixmer_ids, sixmer_ids

if TYPE_CHECKING:  # see `suffix`
    from transformers.cache_utils import Cache

LOCUS_TOKENS = 4  # an allele of at most 16 bp touches at most four six-mers
# Tokens relative to that of the edit, 0-based half-open: the one before, its own, and three stretches of those behind,
# which look back at it. What an encoder of real DNA does with an edit happens there (RFC 0006).
LOCUS_SPANS = ((-1, 0), (0, 1), (1, 5), (5, 17), (17, 33))
MEMORY_BYTES = 1 << 30
SUFFIX_TOKENS = 2_048  # a batch of more is no faster on a CPU

Ints = NDArray[np.int64]


class MemoryBudgetError(InputError):
    """A window does not fit into the memory that it may take."""


@dataclass(frozen=True, slots=True)
class EncodedWindow:
    """States of n chains of edits in one window, sum(K) edits in all, chain by chain. All tensors are on the CPU.

    reference (n, d) and targets (sumK, d): unit float32 states before and after edits 1..k, at the chain's centre;
    targets are (0, d) where nobody asked.
    locus (sumK, 5, d): means of the reference's hidden states over `LOCUS_SPANS` around token c of each edit, without
    what lies outside the window or right of the chain's pool (zeros where nothing is left).
    tokens_before, tokens_after (sumK, 4) int64: compact six-mer ids from token c on, without and with that edit alone.
    shift (sumK, 3 d): what edits 1..k do to the pool's six-mers (`pool_shift`); (sumK, 0) unless the context is `pool`.
    delta_loglik (sumK,): log p(edited) - log p(reference) up to the pool's end, nats (`edit_likelihood`), below 0 where
    the edited DNA is less likely; (0,) where nobody asked.
    """

    reference: Tensor
    targets: Tensor
    locus: Tensor
    tokens_before: Tensor
    tokens_after: Tensor
    shift: Tensor
    delta_loglik: Tensor


@dataclass(frozen=True, slots=True)
class _Suffixes:
    """m edited windows: the row of `targets` and the chain that each is for (m,), its compact ids (m, w) from token
    `first` (m,) on, of which `length` (m,) count."""

    row: Ints
    chain: Ints
    first: Ints
    length: Ints
    ids: NDArray[np.int32]

    def batches(self, n_tokens: int) -> Iterator[_Suffixes]:
        """In parts of at most `n_tokens` tokens, padding included, or of one suffix; the longest first."""
        order = np.argsort(-self.length, kind="stable")
        start = 0
        while start < len(order):
            longest = max(int(self.length[order[start]]), 1)
            part = order[start : start + max(n_tokens // longest, 1)]
            yield _Suffixes(
                self.row[part], self.chain[part], self.first[part], self.length[part], self.ids[part, :longest]
            )
            start += len(part)


def encode_window(
    encoder: CarbonStateEncoder,
    window: NDArray[np.uint8],
    chains: Sequence[Sequence[RelEdit]],
    pool_tokens: NDArray[np.integer],
    *,
    memory_bytes: int = MEMORY_BYTES,
    with_targets: bool = True,
    with_likelihood: bool = False,
) -> EncodedWindow:
    """Encode a window and every step of every chain of edits in it.

    `window` (window_bp,) ASCII bases; each chain is ordered by position without overlaps; `pool_tokens` (n,) DNA token
    indices. memory_bytes: for the reference pass and one batch of suffixes, weights and results not counted.
    with_targets, with_likelihood: what is wanted of the edited windows; neither, and none of them is run.
    Raises `ReferenceMismatchError` where an edit's reference bases are not those of the window, and
    `MemoryBudgetError` where not even one suffix fits.
    """
    n_tokens = len(window) // BASES_PER_TOKEN
    low, high = pool_bounds(
        torch.from_numpy(np.array(pool_tokens, dtype=np.int64)), n_tokens, encoder.contract.radius_tokens
    )
    last_locus = max(edit.rel_pos for edits in chains for edit in edits) // BASES_PER_TOKEN
    n_needed = max(int(high.max()), last_locus + 1)  # what lies further right influences nothing that is kept
    n_needed = min(-(-(n_needed + 1) // CHUNK_TOKENS) * CHUNK_TOKENS - 1, n_tokens)  # whole chunks, `<dna>` included
    ids = torch.from_numpy(sixmer_ids(window[: n_needed * BASES_PER_TOKEN]).astype(np.int64))
    hidden, last, cache = encoder.full_pass(torch.cat([torch.tensor([DNA_OPEN]), ids]), with_last=with_likelihood)
    hidden = hidden[1:]
    reference = centered_sums(hidden, low, high).cpu()

    shared, moved = _edited_windows(window, chains, high.numpy(), encoder.contract)
    n_steps = torch.tensor([len(edits) for edits in chains])
    n_rows = int(n_steps.sum())
    shifts = _Shifts.of(encoder, hidden, ids.numpy(), low.numpy(), n_rows)
    sums = torch.empty((n_rows, encoder.d_state), dtype=torch.float64) if with_targets else None
    begin = 0 if moved else int(shared.first.min())
    likelihoods = (
        EditLikelihoods(encoder, last, ids.numpy(), begin, n_rows) if with_likelihood and last is not None else None
    )
    taken = _Taken(encoder, hidden, cache, reference, low, high, shifts, sums, likelihoods)
    n_batch_tokens = _batch_tokens(encoder, n_needed, int(shared.length.max(initial=0)), memory_bytes)
    for batch in shared.batches(1 if encoder.device.type == "cpu" else n_batch_tokens):
        taken.add_suffixes(batch)
    for row, edited, chain in moved:
        taken.add_window(row, edited, chain)

    before, after, loci = _locus_tokens(window, [edit for edits in chains for edit in edits])
    locus = _locus_states(hidden, loci, high.repeat_interleave(n_steps))
    shifts.add_other_frames(encoder, window, _changed_lengths(chains, shared, moved, low.numpy(), high.numpy()))
    shift = shifts.relative_to(reference.repeat_interleave(n_steps, dim=0))
    delta = likelihoods.differences() if likelihoods else torch.zeros(0, dtype=torch.float64)
    targets = torch.empty((0, encoder.d_state)) if sums is None else unit(sums)
    return EncodedWindow(unit(reference), targets, locus, before, after, shift, delta)


@dataclass(frozen=True, slots=True)
class _Taken:
    """What has been taken up of the edited windows: `sums` (sumK, d) over their pools, or None, and the rest.

    hidden (T, d), cache, reference (n, d): of the reference pass; low, high (n,): the pool of each chain.
    """

    encoder: CarbonStateEncoder
    hidden: Tensor
    cache: Cache
    reference: Tensor
    low: Tensor
    high: Tensor
    shifts: _Shifts
    sums: Tensor | None
    likelihoods: EditLikelihoods | None

    def add_suffixes(self, batch: _Suffixes) -> None:
        """Edited windows that share the reference's prefix."""
        chain = torch.from_numpy(batch.chain)
        self.shifts.add(batch.row, batch.chain, batch.first, batch.length, batch.ids)
        if self.sums is None and self.likelihoods is None:
            return
        with_last = self.likelihoods is not None
        changes, last = _changes(self.encoder, self.cache, self.hidden, batch, self.low[chain], with_last=with_last)
        if self.sums is not None:
            self.sums[batch.row] = self.reference[chain] + changes
        if self.likelihoods and last is not None:
            self.likelihoods.add(batch.row, batch.first, batch.length, batch.ids, last)

    def add_window(self, row: int, edited: NDArray[np.uint8], chain: int) -> None:
        """An edited window that is cut on the left: every six-mer has another frame, so nothing can be shared."""
        pooled = sixmer_ids(edited[: int(self.high[chain]) * BASES_PER_TOKEN]).astype(np.int64)
        rows, chains, first, length = (np.array([value]) for value in (row, chain, 0, len(pooled)))
        self.shifts.add(rows, chains, first, length, pooled[None])
        if self.sums is None and self.likelihoods is None:
            return
        full, last, _ = self.encoder.full_pass(
            torch.from_numpy(np.append(DNA_OPEN, pooled)), with_last=self.likelihoods is not None
        )
        if self.sums is not None:
            low, high = (bound[chain : chain + 1] for bound in (self.low, self.high))
            self.sums[row] = centered_sums(full[1:], low, high)[0].cpu()
        if self.likelihoods and last is not None:
            self.likelihoods.add(rows, first, length, pooled[None], last[None, 1:])


@dataclass(frozen=True, slots=True)
class _Shifts:
    """The sums behind `EncodedWindow.shift`, taken up batch by batch: sums (sumK, 3 d), or (sumK, 0) if nobody asked.

    table (4099, d) six-mer states; hidden (T, d) and ids (T,) of the reference window; low (n,) first token of each
    chain's pool.
    """

    table: Tensor
    hidden: Tensor
    ids: Ints
    low: Ints
    sums: Tensor

    @classmethod
    def of(cls, encoder: CarbonStateEncoder, hidden: Tensor, ids: Ints, low: Ints, n_rows: int) -> _Shifts:
        table = encoder.sixmer_states() if encoder.contract.context == "pool" else torch.empty(0, 0)
        sums = torch.zeros((n_rows, 3 * table.shape[1]), dtype=torch.float64)
        return cls(table, hidden, ids, low, sums)

    def add(self, row: Ints, chain: Ints, first: Ints, length: Ints, ids: NDArray[np.integer]) -> None:
        """Take up m edited windows, as `_Suffixes` has them."""
        if self.table.numel() == 0 or ids.shape[1] == 0:
            return
        column = np.arange(ids.shape[1])
        token = first[:, None] + column
        is_pooled = (column < length[:, None]) & (token >= self.low[chain][:, None])
        token = np.minimum(token, len(self.ids) - 1)
        add_shifts(
            self.sums[:, : 2 * self.table.shape[1]],
            self.table,
            self.hidden,
            row,
            token,
            self.ids[token],
            ids,
            is_pooled,
        )

    def add_other_frames(self, encoder: CarbonStateEncoder, window: NDArray[np.uint8], steps: Iterable[Step]) -> None:
        """Take up the tokens that edits of other lengths bring into another frame."""
        if self.table.numel():
            add_arrivals(self.sums[:, 2 * self.table.shape[1] :], encoder, self.table, window, self.hidden, steps)

    def relative_to(self, reference: Tensor) -> Tensor:
        """In units of the state: reference (sumK, d) is the sum over each row's pool before any edit."""
        return (self.sums / reference.norm(dim=1, keepdim=True)).float()


def _batch_tokens(encoder: CarbonStateEncoder, n_reference: int, longest: int, memory_bytes: int) -> int:
    """Suffix tokens in a batch: as many as the budget leaves room for, `SUFFIX_TOKENS` at most."""
    kept, passing = bytes_per_token(encoder.model)
    pooled = 12 * encoder.d_state  # float32 states and their float64 sums
    reference = (n_reference + 1) * (kept + max(passing, pooled))
    per_token = passing + pooled
    if memory_bytes < reference + longest * per_token:
        raise MemoryBudgetError(
            f"a window of {n_reference} tokens and one suffix of {longest} take "
            f"{(reference + longest * per_token) / 2**20:,.0f} MiB, the budget is {memory_bytes / 2**20:,.0f} MiB; "
            "allow more memory, or take a smaller encoder"
        )
    return min((memory_bytes - reference) // per_token, SUFFIX_TOKENS)


def _edited_windows(
    window: NDArray[np.uint8], chains: Sequence[Sequence[RelEdit]], high: Ints, contract: StateContract
) -> tuple[_Suffixes, list[tuple[int, NDArray[np.uint8], int]]]:
    """All steps of all chains: those that share the reference's prefix, and (row, edited window, chain) of the others.

    high: end of each chain's pool, in tokens.
    """
    heads = [edits[0] for edits in chains]
    for edit in heads:
        if window[edit.rel_pos : edit.rel_end].tobytes() != edit.ref_bases.encode():
            apply_edits_array(window, [edit])  # raises, unless only the case differs
    rel_pos, ref_length, alt, alt_length = _columns(heads)
    first = rel_pos // BASES_PER_TOKEN
    length = np.maximum(high - first, 0)
    n_steps = np.array([len(edits) for edits in chains])
    head_row = np.cumsum(n_steps) - n_steps
    ids = np.zeros((int(n_steps.sum()), int(length.max())), dtype=np.int32)
    ids[head_row] = edited_sixmer_ids(window, rel_pos, ref_length, alt, alt_length, ids.shape[1])
    moved: list[tuple[int, NDArray[np.uint8], int]] = []
    # Step 1 of every chain is there; what is left are the steps after it, and cuts on the left.
    for chain in np.flatnonzero((n_steps > 1) | (alt_length != ref_length)).tolist():
        edits = chains[chain]
        for step in range(1, len(edits) + 1):
            row = int(head_row[chain]) + step - 1
            if _is_cut_left(edits[:step], len(window), contract):
                edited = apply_edits_array(window, edits[:step])
                place = edits[0].rel_pos, contract.fit_side, contract.right_tokens
                moved.append((row, fit_window(edited, len(window), *place), chain))
            elif step > 1:
                edited = fit_window(apply_edits_array(window, edits[:step]), len(window), 0, "right", 0)
                suffix = sixmer_ids(edited[first[chain] * BASES_PER_TOKEN : high[chain] * BASES_PER_TOKEN])
                ids[row, : len(suffix)] = suffix
    row = np.setdiff1d(np.arange(len(ids)), [row for row, _, _ in moved])
    chain = np.repeat(np.arange(len(chains)), n_steps)[row]
    return _Suffixes(row, chain, first[chain], length[chain], ids[row]), moved


def _is_cut_left(edits: Sequence[RelEdit], window_bp: int, contract: StateContract) -> bool:
    """Whether the edited window is brought back to its length at its left end."""
    is_longer_or_shorter = sum(len(edit.alt_bases) - len(edit.ref_bases) for edit in edits) != 0
    end = fit_side(edits[0].rel_pos, window_bp, contract.fit_side, contract.right_tokens)
    return is_longer_or_shorter and end == "left"


def _changed_lengths(
    chains: Sequence[Sequence[RelEdit]],
    shared: _Suffixes,
    moved: list[tuple[int, NDArray[np.uint8], int]],
    low: Ints,
    high: Ints,
) -> Iterator[Step]:
    """The edited windows whose six-mers stand in another frame behind an edit, with their pooled tokens."""
    n_steps = np.array([len(edits) for edits in chains])
    head_row = np.cumsum(n_steps) - n_steps
    cut_left = {row: chain for row, _, chain in moved}
    for row, chain in [*zip(shared.row.tolist(), shared.chain.tolist(), strict=True), *cut_left.items()]:
        edits = chains[chain][: row - int(head_row[chain]) + 1]
        if any(len(edit.alt_bases) != len(edit.ref_bases) for edit in edits):
            first = 0 if row in cut_left else edits[0].rel_pos // BASES_PER_TOKEN
            yield Step(row, edits, max(first, int(low[chain])), int(high[chain]), row in cut_left)


def _changes(
    encoder: CarbonStateEncoder, cache: Cache, hidden: Tensor, batch: _Suffixes, low: Tensor, *, with_last: bool
) -> tuple[Tensor, Tensor | None]:
    """Sum over each pool of (edited - reference) hidden states: float64 (m, d), taken before normalisation.

    low: (m,) first token of each pool; a suffix that begins left of it counts from there. with_last: and what the head
    reads of the suffixes (m, w, d); None where they have no token, or nobody asked.
    """
    if batch.length.max() == 0:  # every edit lies right of its pool: nothing that is pooled changes
        return torch.zeros((len(batch.row), encoder.d_state), dtype=torch.float64), None
    ids = torch.from_numpy(batch.ids.astype(np.int64)).to(encoder.device)
    first = torch.from_numpy(batch.first).to(encoder.device)
    encoder.n_tokens_run += ids.numel()
    with torch.inference_mode():
        edited, last = suffix_hidden_states(
            encoder.model, ids + encoder.dna_offset, first, cache, encoder.contract.layer, with_last=with_last
        )
        changes = []
        for row, (start, length, pool_start) in enumerate(
            zip(batch.first.tolist(), batch.length.tolist(), low.tolist(), strict=True)
        ):
            skip = min(max(pool_start - start, 0), length)
            change = edited[row, skip:length].float() - hidden[start + skip : start + length]
            changes.append(with_float64(change).sum(dim=0, dtype=torch.float64))
        return torch.stack(changes).cpu(), last


def _locus_tokens(window: NDArray[np.uint8], edits: Sequence[RelEdit]) -> tuple[Tensor, Tensor, Tensor]:
    """Compact ids (n, 4) from each edit's token on, before and after that edit alone, and the tokens c (n,)."""
    rel_pos, ref_length, alt, alt_length = _columns(edits)
    loci = rel_pos // BASES_PER_TOKEN
    padded = np.concatenate([window, np.full(LOCUS_TOKENS * BASES_PER_TOKEN, ord("A"), dtype=np.uint8)])
    before = sixmer_ids(padded)[loci[:, None] + np.arange(LOCUS_TOKENS)]
    after = edited_sixmer_ids(window, rel_pos, ref_length, alt, alt_length, LOCUS_TOKENS)
    return torch.from_numpy(before.astype(np.int64)), torch.from_numpy(after.astype(np.int64)), torch.from_numpy(loci)


def _locus_states(hidden: Tensor, loci: Tensor, end: Tensor) -> Tensor:
    """Means of hidden (T, d) over `LOCUS_SPANS` around tokens loci (n,), left of end (n,): (n, 5, d) float32."""
    first, last = torch.tensor(LOCUS_SPANS).T[:, None]
    stop = torch.maximum(end, loci + 1)[:, None]
    low = torch.minimum((loci[:, None] + first).clamp(min=0), stop)
    high = torch.maximum(torch.minimum(loci[:, None] + last, stop), low)
    sums = centered_sums(hidden, low.flatten(), high.flatten()).cpu().view(*low.shape, -1)
    return (sums / (high - low).clamp(min=1)[..., None]).float()


def _columns(edits: Sequence[RelEdit]) -> tuple[Ints, Ints, NDArray[np.uint8], Ints]:
    """rel_pos (n,), length of ref (n,), alt as ASCII bytes (n, w), length of alt (n,)."""
    rel_pos = np.array([edit.rel_pos for edit in edits], dtype=np.int64)
    ref_length = np.array([len(edit.ref_bases) for edit in edits], dtype=np.int64)
    alt_length = np.array([len(edit.alt_bases) for edit in edits], dtype=np.int64)
    alt = np.array([edit.alt_bases for edit in edits], dtype=np.bytes_)
    return rel_pos, ref_length, alt.view(np.uint8).reshape(len(edits), -1), alt_length
