"""State shards: what one encoder pass learnt about rows of edits, in Parquet (spec 3, "State shards").

One row per training tuple: the reference state s_t, the edits, and the states s_1..s_K after edits 1..k, all pooled at
one token; with them the two locus states of each edit. All in float32 (RFC 0001). The state contract stands in the
metadata of every file.
A shard is written to a temporary name, checked and renamed, so a killed run leaves whole shards or none; its `key`
says what it was made from, so that the next run makes only what is missing.

    <folder>/contract.json  sixmer_embeddings.safetensors  <contig>/<block>.parquet
"""

from __future__ import annotations

import json
import os
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

from geno_model.encoder.carbon import CarbonStateEncoder
from geno_model.encoder.state_contract import StateContract
from geno_model.genomics.errors import InputError
from geno_model.predictor.batch import ModelBatch, collate, edit_columns

SCHEMA_VERSION = "1"
NORM_TOLERANCE = 1e-3
KEY_COLUMNS = [
    "row_id",
    "contig",
    "window_start_bp",
    "window_end_bp",
    "window_sha256",
    "source",
    "k",
    "edits",
    "edit_type",
    "pool_token",
]
_VECTORS = ["reference", "targets", "locus"]
_TOKENS = ["tokens_before", "tokens_after"]


class ShardError(InputError):
    """A state shard that is missing, broken, or of another contract."""


def start_store(folder: Path, encoder: CarbonStateEncoder) -> None:
    """Make the store's folder with its contract and the encoder's six-mer embeddings (stored once)."""
    folder.mkdir(parents=True, exist_ok=True)
    for name, save in (
        (
            "contract.json",
            lambda path: path.write_text(json.dumps(encoder.contract.to_dict(), sort_keys=True, indent=1) + "\n"),
        ),
        ("sixmer_embeddings.safetensors", lambda path: save_file({"sixmers": encoder.sixmer_embeddings()}, path)),
    ):
        temporary = folder / f".{name}.{os.getpid()}.tmp"
        save(temporary)
        os.replace(temporary, folder / name)


def shard_key(path: Path) -> str | None:
    """The key of a finished shard, None where there is none."""
    if not path.is_file():
        return None
    metadata = pq.read_schema(path).metadata or {}
    return metadata.get(b"key", b"").decode() or None


def write_shard(path: Path, rows: pl.DataFrame, contract: StateContract, key: str) -> None:
    """Write one shard atomically. `rows` holds the key columns, `rel_pos` and the vectors as lists of numbers.

    Raises `ShardError` if a reference or target state has a norm off 1 by more than 1e-3 or is not finite.
    """
    d_state = len(rows["reference"][0])
    for name in ("reference", "targets"):
        states = rows[name].explode().to_numpy().reshape(-1, d_state)
        off = np.abs(np.linalg.norm(states, axis=1) - 1)
        if not (off <= NORM_TOLERANCE).all():
            raise ShardError(
                f"{path.name}: {int((~(off <= NORM_TOLERANCE)).sum())} {name} states have a norm other than 1 "
                f"(contract: 1 ± {NORM_TOLERANCE})"
            )
    table = rows.to_arrow().replace_schema_metadata(
        {"key": key, "state_contract": json.dumps(contract.to_dict(), sort_keys=True), "schema_version": SCHEMA_VERSION}
    )
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    dictionary = [
        name for name in ("contig", "source", "window_sha256", "encoder_hash", "holdout") if name in table.column_names
    ]
    # pyarrow takes a list of columns here, whatever its annotation says
    pq.write_table(table, temporary, compression="zstd", use_dictionary=dictionary)  # pyright: ignore[reportArgumentType]
    os.replace(temporary, path)


@dataclass(frozen=True, slots=True)
class StateTable:
    """All rows of a store in memory: `keys` (n rows), `batch` (n, K), `targets` (n, K, d) zero where padded."""

    keys: pl.DataFrame
    batch: ModelBatch
    targets: Tensor
    contract: StateContract
    sixmer_embeddings: Tensor


def read_contract(folder: Path) -> StateContract:
    """The contract of a store. Raises `ShardError` where there is no store."""
    try:
        return StateContract.from_dict(json.loads((folder / "contract.json").read_text()))
    except (OSError, json.JSONDecodeError) as error:
        raise ShardError(
            f"{folder}: no state store there (contract.json: {error}); materialise the states first"
        ) from error


def read_states(folder: Path) -> StateTable:
    """Read a whole store, columns to tensors without a loop over rows; every file's contract must be the store's."""
    contract = read_contract(folder)
    paths = sorted(folder.glob("*/*.parquet"))
    if not paths:
        raise ShardError(f"{folder}: no shards there; materialise the states first")
    for path in paths:
        found = StateContract.from_dict(json.loads((pq.read_schema(path).metadata or {})[b"state_contract"]))
        contract.require_same(found, str(path))
    table = pa.concat_tables([pq.read_table(path) for path in paths], promote_options="permissive")
    frame = pl.DataFrame(table)
    flat = {name: torch.from_numpy(frame[name].explode().to_numpy().copy()) for name in [*_VECTORS, *_TOKENS]}
    reference = flat["reference"].view(frame.height, -1)
    d_state = reference.shape[1]
    edits = frame.select(pl.col("edits").explode()).unnest("edits")
    columns = edit_columns(
        frame["rel_pos"].explode().to_numpy(),
        frame["edit_types"].explode().to_numpy(),
        edits["ref"].to_list(),
        edits["alt"].to_list(),
        flat["tokens_before"].view(-1, 4),
        flat["tokens_after"].view(-1, 4),
        flat["locus"].view(-1, 2, d_state),
    )
    n_steps = torch.from_numpy(frame["k"].to_numpy().copy())
    batch = collate(reference, torch.from_numpy(frame["pool_token"].cast(pl.Int64).to_numpy().copy()), n_steps, columns)
    targets = torch.zeros((*batch.mask.shape, d_state))
    targets[batch.mask] = flat["targets"].view(-1, d_state)
    return StateTable(frame.drop([*_VECTORS, *_TOKENS]), batch, targets, contract, read_sixmers(folder))


def read_sixmers(folder: Path) -> Tensor:
    """The encoder's input embeddings of the DNA tokens (4099, d), as the store keeps them."""
    return load_file(folder / "sixmer_embeddings.safetensors")["sixmers"]
