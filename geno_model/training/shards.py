"""State shards: what one encoder pass learnt about rows of edits, in Parquet (spec 3, "State shards").

Belongs here: the file's layout, writing it, and where its vectors lie. Does not: which rows there are and their states
(`geno_pipeline.build.states`), reading a store (`state_store`).

One row per training tuple: the reference state s_t, the edits, and the states s_1..s_K after edits 1..k, all pooled at
one token; with the contexts `locus` and `pool` the five locus states of each edit as well, with `pool` the shift of the
pool after edits 1..k. All in float32 (RFC 0001). The state
contract (encoder, layer, pool, radius, dtype) stands once in the metadata of every file, not in every row, and with the
rows it gives the file's `key`: a shard is content-addressed. A row's own state before any edit is its `reference`;
there are no rows without edits, and no `untargeted` rows: every row is pooled at its `pool_token`.

    <folder>/contract.json  sixmer_embeddings.safetensors  <contig>/<block>.parquet

A shard is checked before it takes its place, so a killed run leaves whole shards or none.

The concept of the layout: random floats do not compress, so vectors are stored as they are, without nulls, each column
of a file in ONE page. Its values are then the last bytes of the column, and a reader may map the file and take any row
without decoding anything; to every other reader (DuckDB, polars) it is a Parquet file of lists like any other:

    column chunk   | page header | levels | v0 v1 v2 ... v(n-1) |    value i at  end - 4 (n - i)
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray
from safetensors.torch import save_file

from geno_model.encoder.carbon import CarbonStateEncoder
from geno_model.encoder.state_contract import StateContract
from geno_model.files import replacing_file, sweep
from geno_model.genomics.errors import InputError

SCHEMA_VERSION = "4"
NORM_TOLERANCE = 1e-3
STATES = ("reference", "targets")
FLOATS = (*STATES, "locus", "shift")
INTEGERS = ("rel_pos", "tokens_before", "tokens_after")
MAPPED = (*FLOATS, *INTEGERS)
_REPEATING = ["contig", "source", "window_sha256", "holdout"]
_ONE_PAGE = 1 << 30


class ShardError(InputError):
    """A state shard that is missing, broken, or of another contract."""


@dataclass(frozen=True, slots=True)
class ShardColumns:
    """Vectors of n rows with sum(K) steps, each array flat in the order of rows and steps.

    reference n * d, targets sumK * d, locus sumK * 5 * d or None, shift sumK * 3 * d or None (float32); rel_pos sumK,
    tokens_before and tokens_after sumK * 4 (int32).
    """

    reference: NDArray[np.float32]
    targets: NDArray[np.float32]
    rel_pos: NDArray[np.int32]
    tokens_before: NDArray[np.int32]
    tokens_after: NDArray[np.int32]
    locus: NDArray[np.float32] | None = None
    shift: NDArray[np.float32] | None = None


def start_store(folder: Path, encoder: CarbonStateEncoder) -> None:
    """Make the store's folder with its contract and the encoder's six-mer embeddings (stored once).

    What killed runs left of shards is removed. Runs of several contigs may write one store at once.
    """
    with replacing_file(folder / "contract.json") as temporary:
        temporary.write_text(json.dumps(encoder.contract.to_dict(), sort_keys=True, indent=1) + "\n")
    with replacing_file(folder / "sixmer_embeddings.safetensors") as temporary:
        save_file({"sixmers": encoder.sixmer_embeddings()}, temporary)
    for of_contig in folder.iterdir():
        sweep(of_contig)


def shard_key(path: Path) -> str | None:
    """The key of a finished shard, None where there is none."""
    try:
        metadata = pq.read_schema(path).metadata or {}
    except (OSError, pa.ArrowInvalid):
        return None
    return metadata.get(b"key", b"").decode() or None


def write_shard(path: Path, rows: pl.DataFrame, columns: ShardColumns, contract: StateContract, key: str) -> None:
    """Write one shard atomically.

    rows: the key columns, among them k, the number of steps. columns: their vectors.
    Raises `ShardError` if a reference or target state has a norm off 1 by more than 1e-3 or is not finite, and if the
    written file does not hold what it was given.
    """
    _require_unit_norms(path, rows.height, columns)
    table = _table(rows, columns).replace_schema_metadata(
        {"key": key, "state_contract": json.dumps(contract.to_dict(), sort_keys=True), "schema_version": SCHEMA_VERSION}
    )
    leaves = {f"{name}.list.element" for name in MAPPED}
    others = [path for path in _leaf_paths(table.schema) if path not in leaves]
    with replacing_file(path) as temporary:
        pq.write_table(
            table,
            temporary,
            row_group_size=max(table.num_rows, 1),
            compression=dict.fromkeys(others, "zstd") | dict.fromkeys(leaves, "none"),  # pyright: ignore[reportArgumentType]
            use_dictionary=[name for name in _REPEATING if name in table.column_names],  # pyright: ignore[reportArgumentType]
            write_statistics=others,  # pyright: ignore[reportArgumentType]
            data_page_size=_ONE_PAGE,
            max_rows_per_page=max(table.num_rows, 1),
        )
        for name, values in mapped_columns(temporary).items():
            given = getattr(columns, name).reshape(-1)
            if not np.array_equal(values.view(np.int32), given.view(np.int32)):
                raise ShardError(f"{path.name}: the column {name} was not written as it was given; write it again")


def mapped_columns(path: Path) -> dict[str, NDArray[np.generic]]:
    """The vectors of a shard as flat read-only views of the mapped file: nothing is read until it is looked at.

    Raises `ShardError` for a file that is damaged, of another format, or that `write_shard` did not write.
    """
    try:
        metadata = pq.read_metadata(path)
        raw = np.memmap(path, dtype=np.uint8, mode="r")
    except (OSError, ValueError, pa.ArrowInvalid) as error:
        raise ShardError(f"{path} is damaged ({str(error).splitlines()[0]}); materialise the states again") from None
    found: dict[str, NDArray[np.generic]] = {}
    if metadata.num_row_groups != 1:
        raise ShardError(f"{path} has {metadata.num_row_groups} row groups, expected 1; materialise the states again")
    if (found_version := (metadata.metadata or {}).get(b"schema_version", b"none").decode()) != SCHEMA_VERSION:
        raise ShardError(
            f"{path} has format {found_version}, this version reads {SCHEMA_VERSION}; materialise the states again"
        )
    group = metadata.row_group(0)
    for index in range(group.num_columns):
        column = group.column(index)
        name, _, rest = column.path_in_schema.partition(".")
        if name not in MAPPED or not rest:
            continue
        n_bytes = 4 * column.num_values
        end = column.data_page_offset + column.total_compressed_size
        if column.compression != "UNCOMPRESSED" or column.has_dictionary_page or end > len(raw):
            raise ShardError(f"{path}: column {name} is not stored plainly; materialise the states again")
        found[name] = np.asarray(raw[end - n_bytes : end]).view(np.float32 if name in FLOATS else np.int32)
    return found


def _table(rows: pl.DataFrame, columns: ShardColumns) -> pa.Table:
    """Key columns and vectors as one Arrow table; the vectors are not copied."""
    table = rows.to_arrow(compat_level=pl.CompatLevel.oldest())
    n_steps = rows["k"].to_numpy().astype(np.int64)
    ends = np.concatenate([[0], np.cumsum(n_steps)])
    for name in MAPPED:
        values = getattr(columns, name)
        if values is None:
            continue
        n = rows.height if name == "reference" else int(ends[-1])
        width = values.size // n if n else 0
        offsets = np.arange(rows.height + 1) * width if name == "reference" else ends * width
        kind = pa.list_(pa.field("element", pa.from_numpy_dtype(values.dtype), nullable=False))
        flat = pa.array(values.reshape(-1))
        lists = pa.ListArray.from_arrays(pa.array(offsets.astype(np.int32)), flat, type=kind)
        table = table.append_column(pa.field(name, kind, nullable=False), lists)
    return table


def _leaf_paths(schema: pa.Schema) -> list[str]:
    """Paths of all leaf columns, as Parquet names them."""

    def below(field: pa.Field, path: str) -> list[str]:
        if pa.types.is_struct(field.type):
            return [leaf for child in field.type for leaf in below(child, f"{path}.{child.name}")]
        if pa.types.is_list(field.type) or pa.types.is_large_list(field.type):
            return below(field.type.value_field, f"{path}.list.element")
        return [path]

    return [leaf for field in schema for leaf in below(field, field.name)]


def _require_unit_norms(path: Path, n_rows: int, columns: ShardColumns) -> None:
    d_state = columns.reference.size // max(n_rows, 1)
    for name in STATES:
        states = getattr(columns, name).reshape(-1, max(d_state, 1))
        norms = np.sqrt(np.einsum("ij,ij->i", states, states))
        is_off = ~(np.abs(norms - 1) <= NORM_TOLERANCE)
        if is_off.any():
            raise ShardError(
                f"{path.name}: {int(is_off.sum())} {name} states have a norm other than 1 "
                f"(contract: 1 ± {NORM_TOLERANCE})"
            )
