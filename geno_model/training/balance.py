"""Which rows a batch has, and what a row's loss is divided by (spec 4, "Optimiser"; RFC 0002).

Belongs here: the kinds of rows that are balanced, the rows of step i. Does not: reading them (`batches`).
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from geno_model.genomics.edits import EditType

TYPE_SHARES = {EditType.SNV: 0.4, EditType.INS: 0.2, EditType.DEL: 0.2, EditType.MNV: 0.1, EditType.INDEL: 0.1}
MULTI_EDIT_SHARE = 0.1

Ints = NDArray[np.integer]


def row_kinds(edit_type: Ints, k: Ints) -> list[tuple[float, NDArray[np.bool_]]]:
    """The kinds of rows that are balanced: (share of a batch, which rows) for each edit type, and for multi-edit rows.

    A kind that has no rows is left out, and its share goes to the others in proportion.
    """
    kinds = [
        (share * (1 - MULTI_EDIT_SHARE), (k == 1) & (edit_type == int(kind))) for kind, share in TYPE_SHARES.items()
    ]
    present = [(share, rows) for share, rows in [*kinds, (MULTI_EDIT_SHARE, k > 1)] if rows.any()]
    total = sum(share for share, _ in present)
    return [(share / total, rows) for share, rows in present]


def row_sampler(edit_type: Ints, k: Ints, batch_size: int, seed: int) -> Callable[[int], NDArray[np.int64]]:
    """From a step to the row numbers of its batch (batch_size,): types by their shares, 10 % rows of several edits.

    The batch of a step follows from (seed, step) alone, so a run can be resumed at any step.
    """
    kinds = row_kinds(edit_type, k)
    shares = np.array([share for share, _ in kinds])
    members = [np.flatnonzero(rows) for _, rows in kinds]

    def rows_of(step: int) -> NDArray[np.int64]:
        rng = np.random.default_rng((seed, step))
        counts = rng.multinomial(batch_size, shares)
        drawn = [rng.choice(rows, count) for rows, count in zip(members, counts, strict=True)]
        return rng.permutation(np.concatenate(drawn)).astype(np.int64)

    return rows_of


def naive_losses(raw: NDArray[np.floating], edit_type: Ints, k: Ints) -> NDArray[np.float32]:
    """The mean loss of "no change" over the rows of each row's kind, (n,): what a row's loss is divided by.

    One number for all would leave SNVs nothing to say: a frame-shifting indel moves the state some ten times as far.
    """
    naive = np.empty(len(k), dtype=np.float32)
    for _, rows in row_kinds(edit_type, k):
        naive[rows] = raw[rows].mean()
    return naive
