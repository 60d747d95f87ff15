"""Batches of a training run, prepared by a thread while the step before is computed (spec 4, "Run discipline").

Belongs here: from a store of states to the tensors of step i, and how long the run waited for them. Does not: which
rows those are (`balance`), the store's files (`state_store`).

A store that fits the budget is read into memory once; of a larger one each batch reads its own rows from the mapped
files, and memory holds two batches. What is measured over rows before the first step (output scale, losses of no
change, first-order term) comes from a sample of a store that is larger than that.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from geno_model.predictor.batch import ModelBatch
from geno_model.training.balance import naive_losses, row_kinds, row_sampler
from geno_model.training.objective import raw_loss
from geno_model.training.state_store import StateStore

MEMORY_BYTES = 4 << 30
SAMPLE_ROWS = 20_000


@dataclass(frozen=True, slots=True)
class Batch:
    """Rows, their targets (B, K, d), and naive (B,), the loss of no change of each row's kind."""

    rows: ModelBatch
    targets: Tensor
    naive: Tensor

    def part(self, index: Tensor) -> Batch:
        """The rows of `index`, without steps that none of them has."""
        rows = self.rows.rows(index)
        return Batch(rows, self.targets[index, : rows.mask.shape[1]], self.naive[index])

    def to(self, device: torch.device) -> Batch:
        """The same on another device."""
        return Batch(self.rows.to(device), self.targets.to(device), self.naive.to(device))


See = Callable[[Batch], Batch]


def as_it_is(batch: Batch) -> Batch:
    """The batch."""
    return batch


class BatchSource:
    """The batches of a run. `waited_s`: seconds that `batches` had nothing to hand out.

    see: what the model gets to see of a batch; ablations hide a part.
    """

    def __init__(
        self,
        store: StateStore,
        batch_size: int,
        seed: int,
        *,
        memory_bytes: int = MEMORY_BYTES,
        see: See = as_it_is,
    ) -> None:
        self.store = store
        self._see = see
        self.waited_s = 0.0
        edit_type, k = store.keys["edit_type"].to_numpy(), store.keys["k"].to_numpy()
        self._rows_of = row_sampler(edit_type, k, batch_size, seed)
        everything = np.arange(len(store))
        fits = store.n_bytes <= memory_bytes
        sample = everything if fits else np.sort(np.random.default_rng(seed).permutation(everything)[:SAMPLE_ROWS])
        table = store.rows(sample)
        self._table = table if fits else None
        still = table.batch.state[:, None].expand_as(table.targets)
        raw = raw_loss(still, table.targets, table.batch.mask).numpy()
        naive = naive_losses(raw, edit_type[sample], k[sample])
        # of every row of the store: that of its kind in the sample
        self._naive = np.full(len(store), naive.mean(), dtype=np.float32)
        for _, of_kind in row_kinds(edit_type, k):
            if of_kind[sample].any():
                self._naive[of_kind] = naive[of_kind[sample]][0]
        self.sample = see(Batch(table.batch, table.targets, torch.from_numpy(naive)))

    def batches(self, first_step: int, n_steps: int, part: slice = slice(None)) -> Iterator[Batch]:
        """The batches of steps first_step .. n_steps - 1, of each batch the rows of `part`."""
        with ThreadPoolExecutor(1) as thread:
            coming = thread.submit(self._batch, first_step, part)
            for step in range(first_step, n_steps):
                began = time.monotonic()
                batch = coming.result()
                self.waited_s += time.monotonic() - began
                if step + 1 < n_steps:
                    coming = thread.submit(self._batch, step + 1, part)
                yield batch

    def _batch(self, step: int, part: slice) -> Batch:
        numbers = self._rows_of(step)[part]
        naive = torch.from_numpy(self._naive[numbers])
        if self._table is None:
            table = self.store.rows(numbers)
            return self._see(Batch(table.batch, table.targets, naive))
        index = torch.from_numpy(numbers)
        rows = self._table.batch.rows(index)
        return self._see(Batch(rows, self._table.targets[index, : rows.mask.shape[1]], naive))
