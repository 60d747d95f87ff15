"""States of the reference in its other five frames, for the tokens that an indel brings into them (RFC 0006).

Belongs here: which reference bases a token of an edited window holds, and what is particular about their state there.
Does not: the shift that six-mers alone let expect (`pool_shift`).

The concept: behind an indel whose length is no multiple of six, every token holds six bases of the reference that the
reference itself reads in another frame. One more pass over the reference in that frame, from a little before the first
such token to the end of the last pool, has their states, for all indels of the window that shift it alike:

    frame 0     | ACGTAC | GTTTGA | CCATGG |
    frame 4         | ACGTTT | GACCAT | GG....
    after CG>C  | ACGTAC | GTTGAC | CATGG. |        deletes one base: frame 1 from the next token on

    arrival = sum over those tokens of hidden state in their own frame - h(six-mer)

The pass is independent of the alleles: it is about the reference. A token with an edited base has no such state and
counts as nothing here.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from geno_model.encoder.carbon import CarbonStateEncoder
from geno_model.encoder.pooling import BASES_PER_TOKEN
from geno_model.genomics.edits import RelEdit
from geno_model.genomics.tokens import DNA_OPEN, sixmer_ids

CONTEXT_TOKENS = 128  # run before the first token that is wanted
NOT_REFERENCE = -1

Ints = NDArray[np.int64]


class Step(NamedTuple):
    """An edited window that changes length: its row, its edits, its pooled tokens [first, last), where it was cut."""

    row: int
    edits: Sequence[RelEdit]
    first: int
    last: int
    is_cut_left: bool


def origins(window_bp: int, edits: Sequence[RelEdit], *, is_cut_left: bool) -> Ints:
    """The reference base (0-based in the window) of each base of the edited window, brought back to `window_bp` bases.

    `NOT_REFERENCE` where an allele or the padding stands.
    """
    parts: list[Ints] = []
    end = 0
    for edit in edits:
        parts += [np.arange(end, edit.rel_pos), np.full(len(edit.alt_bases), NOT_REFERENCE)]
        end = edit.rel_end
    whole = np.concatenate([*parts, np.arange(end, window_bp)])
    missing = max(window_bp - len(whole), 0)
    padding = np.full(missing, NOT_REFERENCE)
    return (
        np.concatenate([padding, whole])[-window_bp:] if is_cut_left else np.concatenate([whole, padding])[:window_bp]
    )


def add_arrivals(
    sums: Tensor,
    encoder: CarbonStateEncoder,
    table: Tensor,
    window: NDArray[np.uint8],
    hidden: Tensor,
    steps: Iterable[Step],
) -> None:
    """Add each step's arrival to its row of `sums` (n, d); table (4099, d), hidden (T, d) of its frame 0."""
    rows, tokens, starts = [], [], []
    for step in steps:
        of_bases = origins(len(window), step.edits, is_cut_left=step.is_cut_left)
        of_tokens = of_bases[step.first * BASES_PER_TOKEN : step.last * BASES_PER_TOKEN].reshape(-1, BASES_PER_TOKEN)
        is_whole = (of_tokens >= 0).all(axis=1) & (of_tokens[:, -1] - of_tokens[:, 0] == BASES_PER_TOKEN - 1)
        tokens.append(np.flatnonzero(is_whole) + step.first)
        starts.append(of_tokens[is_whole, 0])
        rows.append(np.full(len(starts[-1]), step.row))
    if not rows:
        return
    row, token, start = (np.concatenate(parts).astype(np.int64) for parts in (rows, tokens, starts))
    before = sixmer_ids(window)
    for frame in range(BASES_PER_TOKEN):
        mine = start % BASES_PER_TOKEN == frame
        mine &= (frame > 0) | (start // BASES_PER_TOKEN < len(hidden))
        if not mine.any():
            continue
        place = start[mine] // BASES_PER_TOKEN
        n_whole = (len(window) - frame) // BASES_PER_TOKEN
        ids = sixmer_ids(window[frame : frame + n_whole * BASES_PER_TOKEN]).astype(np.int64)
        differs = ids[place] != before[token[mine]]
        place, of_row = torch.from_numpy(place[differs]), torch.from_numpy(row[mine][differs])
        if len(place) == 0:
            continue
        states, first = (hidden, 0) if frame == 0 else _states(encoder, ids, int(place.min()), int(place.max()) + 1)
        real = states[(place - first).to(states.device)].to(table.device)
        sums.index_add_(0, of_row, (real - table[torch.from_numpy(ids)[place]]).to(sums.dtype))


def _states(encoder: CarbonStateEncoder, ids: Ints, first: int, last: int) -> tuple[Tensor, int]:
    """Hidden states (n, d) of tokens from a little before `first` to `last`, and which of them is the first."""
    begin = max(first - CONTEXT_TOKENS, 0)
    part = torch.from_numpy(np.concatenate([[DNA_OPEN], ids[begin:last]]))
    return encoder.hidden_states_of(part[None], encoder.contract.layer)[0, 1:], begin
