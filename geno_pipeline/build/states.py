"""Build state shards from rows of edits: one reference pass a window, every row of that window from it (spec 2, 3).

A shard holds the rows of a block of windows. Blocks are encoded in order and written atomically; a block whose shard
exists with the same key (contract and rows) is not made again. The format itself is `geno_model.training.shards`.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Collection
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

from geno_model.encoder.carbon import CarbonStateEncoder
from geno_model.encoder.shared_prefix import EncodedWindow, encode_window
from geno_model.encoder.state_contract import Context
from geno_model.genomics.edits import EditSpec, RelEdit
from geno_model.genomics.genome import Genome
from geno_model.training.shards import SCHEMA_VERSION, ShardColumns, shard_key, start_store, write_shard

WINDOWS_PER_SHARD = 64


@dataclass(frozen=True, slots=True)
class BuildCounts:
    """What a build did."""

    n_rows: int
    n_shards: int
    n_shards_kept: int
    n_tokens: int


def build_states(
    rows: pl.DataFrame,
    genome: Genome,
    encoder: CarbonStateEncoder,
    folder: Path,
    progress: Callable[[int], None] | None = None,
    contigs: Collection[str] | None = None,
) -> BuildCounts:
    """Encode rows (TrainingEdits or ValidationEdits) into shards under `folder`, one sub-folder a contig.

    Shards of these contigs that no row asks for any more are removed. progress: told the number of rows done.
    contigs: those that this build is of, with rows or without; those of the rows if None.
    """
    start_store(folder, encoder)
    tell = progress or (lambda n_done: None)
    tell(0)
    before = encoder.n_tokens_run
    wanted: set[Path] = set()
    n_kept = done = 0
    for contig in rows["contig"].unique(maintain_order=True).to_list() if contigs is None else contigs:
        (folder / contig).mkdir(exist_ok=True)  # of a contig without rows, too: it was made
        ordered = rows.filter(pl.col("contig") == contig).sort("window_start_bp", "row_id")
        rank = ordered["window_start_bp"].rle_id()
        for (block,), part in ordered.group_by(rank // WINDOWS_PER_SHARD, maintain_order=True):
            path = folder / contig / f"{block:05d}.parquet"
            wanted.add(path)
            key = _key(part, encoder)
            if shard_key(path) == key:
                n_kept += 1
            else:
                write_shard(path, *_encode_block(part, genome, encoder), encoder.contract, key)
            done += part.height
            tell(done)
        for stale in set((folder / contig).glob("*.parquet")) - wanted:
            stale.unlink()
    return BuildCounts(rows.height, len(wanted), n_kept, encoder.n_tokens_run - before)


def _key(part: pl.DataFrame, encoder: CarbonStateEncoder) -> str:
    digest = hashlib.sha256(f"{SCHEMA_VERSION} {encoder.contract.digest}".encode())
    digest.update(part.write_ndjson().encode())
    return digest.hexdigest()


def _encode_block(part: pl.DataFrame, genome: Genome, encoder: CarbonStateEncoder) -> tuple[pl.DataFrame, ShardColumns]:
    """The rows of a block with their edit types, and their vectors in the same order."""
    frames: list[pl.DataFrame] = []
    vectors: list[ShardColumns] = []
    for _, rows in part.group_by("window_start_bp", maintain_order=True):
        contig, start, end = (rows[name][0] for name in ("contig", "window_start_bp", "window_end_bp"))
        chains = [
            [EditSpec(contig, edit["pos"], edit["ref"], edit["alt"]).relative_to(start, end) for edit in edits]
            for edits in rows["edits"].to_list()
        ]
        encoded = encode_window(encoder, genome.window(contig, start, end), chains, rows["pool_token"].to_numpy())
        types = [[int(edit.edit_type) for edit in chain] for chain in chains]
        frames.append(rows.with_columns(edit_types=pl.Series(types, dtype=pl.List(pl.UInt8))))
        vectors.append(_columns(encoded, chains, encoder.contract.context))
    return pl.concat(frames), _joined(vectors)


def _columns(encoded: EncodedWindow, chains: list[list[RelEdit]], context: Context) -> ShardColumns:
    return ShardColumns(
        reference=encoded.reference.numpy(),
        targets=encoded.targets.numpy(),
        locus=encoded.locus.numpy() if context in ("locus", "pool") else None,
        shift=encoded.shift.numpy() if context == "pool" else None,
        rel_pos=np.array([edit.rel_pos for chain in chains for edit in chain], dtype=np.int32),
        tokens_before=encoded.tokens_before.numpy().astype(np.int32),
        tokens_after=encoded.tokens_after.numpy().astype(np.int32),
    )


def _joined(parts: list[ShardColumns]) -> ShardColumns:
    """The vectors of several windows one after another."""

    def flat(values: list[NDArray[Any]]) -> NDArray[Any]:
        return np.concatenate([value.reshape(-1) for value in values])

    def flat_or_none(values: list[NDArray[Any] | None]) -> NDArray[Any] | None:
        there = [value for value in values if value is not None]
        return flat(there) if there else None

    return ShardColumns(
        reference=flat([part.reference for part in parts]),
        targets=flat([part.targets for part in parts]),
        locus=flat_or_none([part.locus for part in parts]),
        shift=flat_or_none([part.shift for part in parts]),
        rel_pos=flat([part.rel_pos for part in parts]),
        tokens_before=flat([part.tokens_before for part in parts]),
        tokens_after=flat([part.tokens_after for part in parts]),
    )
