"""Reading a store of state shards: all of it, any rows of it, or batches one after another (spec 3).

Belongs here: from files to tensors. Does not: the files' layout and writing (`shards`).

The concept: a store is opened by reading the small columns of each file once (row_id, k, edit_type). Vectors stay in
the mapped files; a row is a slice of them, so reading ten thousand rows touches ten thousand places and not whole
files.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Collection, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq
import torch
from numpy.typing import NDArray
from safetensors.torch import load_file
from torch import Tensor

from geno_model.encoder.shared_prefix import LOCUS_SPANS
from geno_model.encoder.state_contract import StateContract
from geno_model.predictor.batch import ModelBatch, collate, edit_columns, scatter_steps
from geno_model.training.shards import MAPPED, ShardError, mapped_columns, shard_key

_STEP_WIDTH = {"rel_pos": 1, "tokens_before": 4, "tokens_after": 4}

Ints = NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class StateTable:
    """Rows of a store in memory: `keys` (n rows), `batch` (n, K), `targets` (n, K, d) zero where padded."""

    keys: pl.DataFrame
    batch: ModelBatch
    targets: Tensor
    contract: StateContract
    sixmer_embeddings: Tensor


class StateStore:
    """A store of state shards. Rows are numbered from 0 in the order of the files' names and of the rows in them.

    contigs: those that are read, all if None. keys: row_id, k, edit_type of every row; n_bytes of all vectors;
    snapshot: a digest of what the store holds.
    """

    def __init__(self, folder: Path, contigs: Collection[str] | None = None) -> None:
        """Raises `ShardError` where there is no store or a file is damaged, `ContractMismatchError` for a mixed one."""
        self.contract = _read_contract(folder)
        self.sixmer_embeddings = read_sixmers(folder)
        found = sorted(folder.glob("[!.]*/*.parquet"))
        self._paths = [path for path in found if contigs is None or path.parent.name in contigs]
        if not self._paths:
            raise ShardError(f"{folder}: no shards there; materialise the states first")
        small: list[pl.DataFrame] = []
        for path in self._paths:
            self.contract.require_same(_contract_of(path), str(path))
            small.append(_read(path, ["row_id", "k", "edit_type"]))
        self._vectors = [mapped_columns(path) for path in self._paths]
        n_rows = np.array([frame.height for frame in small])
        self._first_row = np.concatenate([[0], np.cumsum(n_rows)])
        # Where each row's steps begin in the vectors of its file.
        self._steps = [np.concatenate([[0], np.cumsum(frame["k"].to_numpy())]) for frame in small]
        self.keys = pl.concat(small)
        self.n_bytes = sum(vector.nbytes for vectors in self._vectors for vector in vectors.values())
        # Names the rows and all that their vectors depend on, so two stores of one snapshot hold the same.
        named = [f"{path.relative_to(folder)} {shard_key(path)}" for path in self._paths]
        self.snapshot = hashlib.sha256("\n".join(named).encode()).hexdigest()

    def __len__(self) -> int:
        return int(self._first_row[-1])

    def find(self, row_ids: pl.Series) -> Ints:
        """Row numbers (n,) of row ids. Raises `ShardError` naming how many the store lacks."""
        here = self.keys.select("row_id").with_row_index("row")
        found = pl.DataFrame({"row_id": row_ids}).join(here, on="row_id", how="left", maintain_order="left")
        if n_lacking := found["row"].null_count():
            raise ShardError(f"{n_lacking} of {len(row_ids)} rows are not in the store; materialise the states again")
        return found["row"].to_numpy().astype(np.int64)

    def rows(self, numbers: Ints) -> StateTable:
        """The rows of these numbers, in this order."""
        shard = np.searchsorted(self._first_row, numbers, side="right") - 1
        order = np.argsort(shard, kind="stable")
        parts: list[_Rows] = []
        for index in np.unique(shard):
            local = numbers[order][shard[order] == index] - self._first_row[index]
            parts.append(self._rows_of(int(index), local))
        back = np.empty(len(numbers), dtype=np.int64)
        back[order] = np.arange(len(numbers))
        return self._table(_joined(parts), back)

    def table(self) -> StateTable:
        """All rows in memory."""
        return self.rows(np.arange(len(self)))

    def batches(self, size: int, seed: int | None = None) -> Iterator[StateTable]:
        """All rows once, `size` at a time; in order, or shuffled by `seed`: files, then rows of some files together.

        Memory holds one batch: which rows it has is decided by numbers alone.
        """
        numbers = np.arange(len(self)) if seed is None else self._shuffled(seed)
        for start in range(0, len(numbers), size):
            yield self.rows(numbers[start : start + size])

    def _shuffled(self, seed: int, n_together: int = 8) -> Ints:
        """Row numbers in random order within groups of `n_together` files, so that a batch touches few files."""
        rng = np.random.default_rng(seed)
        files = rng.permutation(len(self._paths))
        groups = [files[start : start + n_together] for start in range(0, len(files), n_together)]
        return np.concatenate(
            [
                rng.permutation(np.concatenate([np.arange(*self._first_row[f : f + 2]) for f in group]))
                for group in groups
            ]
        )

    def _rows_of(self, index: int, local: Ints) -> _Rows:
        """Rows of one file by their place in it."""
        steps, vectors = self._steps[index], self._vectors[index]
        n_steps = steps[local + 1] - steps[local]
        step = np.repeat(steps[local] - (np.cumsum(n_steps) - n_steps), n_steps) + np.arange(n_steps.sum())
        d_state = vectors["reference"].size // (len(steps) - 1)
        widths = _STEP_WIDTH | {"targets": d_state, "locus": len(LOCUS_SPANS) * d_state, "shift": 3 * d_state}
        taken = {"reference": vectors["reference"].reshape(-1, d_state)[local]}
        taken |= {name: values.reshape(-1, widths[name])[step] for name, values in vectors.items() if name in widths}
        columns = [name for name in pq.read_schema(self._paths[index]).names if name not in MAPPED]
        return _Rows(_read(self._paths[index], columns)[local], taken)

    def _table(self, rows: _Rows, order: Ints) -> StateTable:
        """Rows as tensors, put into `order`."""
        keys, vectors = rows.keys, {name: torch.from_numpy(values) for name, values in rows.vectors.items()}
        n_steps = torch.from_numpy(keys["k"].to_numpy().copy())
        edits = keys.select(pl.col("edits").explode()).unnest("edits")
        reference = vectors["reference"]
        nothing = torch.empty(len(edits), 0)  # which of the two are kept follows from the context
        locus, shift = vectors.get("locus", nothing), vectors.get("shift", nothing)
        columns = edit_columns(
            vectors["rel_pos"].numpy()[:, 0],
            keys["edit_types"].explode().to_numpy(),
            edits["ref"],
            edits["alt"],
            vectors["tokens_before"].long(),
            vectors["tokens_after"].long(),
            locus.view(len(edits), len(LOCUS_SPANS), -1),
            shift,
        )
        batch = collate(
            reference, torch.from_numpy(keys["pool_token"].cast(pl.Int64).to_numpy().copy()), n_steps, columns
        )
        targets = scatter_steps(vectors["targets"], batch.mask)
        index = torch.from_numpy(order)
        if not torch.equal(index, torch.arange(len(index))):
            batch, targets, keys = batch.rows(index), targets[index], keys[order]
        return StateTable(keys, batch, targets, self.contract, self.sixmer_embeddings)


@dataclass(frozen=True, slots=True)
class _Rows:
    """Key columns of some rows and their vectors: reference (n, d), the others (sumK, width)."""

    keys: pl.DataFrame
    vectors: dict[str, NDArray[np.generic]]


def read_states(folder: Path) -> StateTable:
    """A whole store in memory."""
    return StateStore(folder).table()


def read_sixmers(folder: Path) -> Tensor:
    """The encoder's input embeddings of the DNA tokens (4099, d), as the store keeps them."""
    try:
        return load_file(folder / "sixmer_embeddings.safetensors")["sixmers"]
    except OSError as error:
        raise ShardError(f"{folder}: no state store there ({error}); materialise the states first") from None


def _joined(parts: list[_Rows]) -> _Rows:
    vectors = {name: np.concatenate([part.vectors[name] for part in parts]) for name in parts[0].vectors}
    return _Rows(pl.concat([part.keys for part in parts]), vectors)


def _read_contract(folder: Path) -> StateContract:
    try:
        return StateContract.from_dict(json.loads((folder / "contract.json").read_text()))
    except (OSError, json.JSONDecodeError) as error:
        raise ShardError(
            f"{folder}: no state store there (contract.json: {error}); materialise the states first"
        ) from None


def _contract_of(path: Path) -> StateContract:
    try:
        metadata = pq.read_schema(path).metadata or {}
        return StateContract.from_dict(json.loads(metadata[b"state_contract"]))
    except (OSError, KeyError, ValueError, pa.ArrowInvalid) as error:
        reason = str(error).splitlines()[0]
        raise ShardError(f"{path} is damaged or no state shard ({reason}); materialise the states again") from None


def _read(path: Path, columns: list[str]) -> pl.DataFrame:
    return pl.DataFrame(pq.read_table(path, columns=columns, memory_map=True))
