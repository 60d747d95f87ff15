"""States of the reference in its other five frames, for the tokens that an indel brings into them (RFC 0006).

Belongs here: which reference bases a token of an edited window holds, and what is particular about their state there.
Does not: the shift that six-mers alone let expect (`pool_shift`).

The concept: behind an indel whose length is no multiple of six, every token holds six bases of the reference that the
reference itself reads in another frame. One more pass over the reference in that frame, from a little before the indel
to the end of its pool, has their states; alleles at one place that shift alike share it:

    frame 0     | ACGTAC | GTTTGA | CCATGG |
    frame 4         | ACGTTT | GACCAT | GG....
    after CG>C  | ACGTAC | GTTGAC | CATGG. |        deletes one base: frame 1 from the next token on

    arrival = sum over those tokens of hidden state in their own frame - h(six-mer)

The pass is independent of the alleles: it is about the reference. A token with an edited base has no such state and
counts as nothing here.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
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
TOKENS_AT_ONCE = 2_048
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
    frames = [
        sixmer_ids(window[frame : frame + (len(window) - frame) // BASES_PER_TOKEN * BASES_PER_TOKEN]).astype(np.int64)
        for frame in range(BASES_PER_TOKEN)
    ]
    passes: dict[_Pass, list[tuple[int, Tensor]]] = {}
    for step in steps:
        for frame, place in _read_in_other_frames(frames, step, len(window)):
            if frame:
                asked = _Pass(frame, max(int(place[0]) - CONTEXT_TOKENS, 0), int(place[-1]) + 1)
                passes.setdefault(asked, []).append((step.row, place))
            else:
                _add(sums[step.row], hidden[place.to(hidden.device)], table, frames[0], place)
    for asked, states in _run(encoder, frames, list(passes)):
        for row, place in passes[asked]:
            _add(sums[row], states[(place - asked.begin).to(states.device)], table, frames[asked.frame], place)


class _Pass(NamedTuple):
    """Tokens [begin, end) of a frame. They follow from one row alone: its figures do not depend on other rows."""

    frame: int
    begin: int
    end: int


def _add(total: Tensor, states: Tensor, table: Tensor, ids: Ints, place: Tensor) -> None:
    """Add to total (d,) what the states (n, d) of tokens at `place` (n,) have more than their six-mers."""
    total += (states.to(table.device) - table[torch.from_numpy(ids)[place]]).sum(dim=0, dtype=total.dtype)


def _read_in_other_frames(frames: list[Ints], step: Step, window_bp: int) -> Iterator[tuple[int, Tensor]]:
    """For each frame, the places (n,) in it, in order, of the step's pooled tokens that are another six-mer now."""
    of_bases = origins(window_bp, step.edits, is_cut_left=step.is_cut_left)
    of_tokens = of_bases[step.first * BASES_PER_TOKEN : step.last * BASES_PER_TOKEN].reshape(-1, BASES_PER_TOKEN)
    is_whole = (of_tokens >= 0).all(axis=1) & (of_tokens[:, -1] - of_tokens[:, 0] == BASES_PER_TOKEN - 1)
    token, start = np.flatnonzero(is_whole) + step.first, of_tokens[is_whole, 0]
    for frame, ids in enumerate(frames):
        mine = start % BASES_PER_TOKEN == frame
        place = start[mine] // BASES_PER_TOKEN
        place = place[ids[place] != frames[0][token[mine]]]
        if frame == 0:  # the reference pass goes on behind the pool only if another row asks for it
            place = place[place < step.last]
        if len(place):
            yield frame, torch.from_numpy(place)


def _run(encoder: CarbonStateEncoder, frames: list[Ints], passes: list[_Pass]) -> Iterator[tuple[_Pass, Tensor]]:
    """Each pass with its states (n, d), the longest first; one by one on a CPU, else several at once."""
    at_once = 1 if encoder.device.type == "cpu" else TOKENS_AT_ONCE
    left = sorted(passes, key=lambda asked: (asked.begin - asked.end, asked))
    while left:
        longest = left[0].end - left[0].begin
        batch = left[: max(at_once // longest, 1)]
        left = left[len(batch) :]
        ids = np.full((len(batch), longest + 1), DNA_OPEN, dtype=np.int64)
        for row, asked in enumerate(batch):
            ids[row, 1 : 1 + asked.end - asked.begin] = frames[asked.frame][asked.begin : asked.end]
        hidden = encoder.hidden_states_of(torch.from_numpy(ids), encoder.contract.layer)
        for row, asked in enumerate(batch):
            yield asked, hidden[row, 1 : 1 + asked.end - asked.begin]
