"""Build state shards from rows of edits: one reference pass a window, every row of that window from it (spec 2, 3).

A shard holds the rows of a block of windows. Blocks are encoded in order and written atomically; a block whose shard
exists with the same key (contract and rows) is not made again. The format itself is `geno_model.training.shards`.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import polars as pl
import pyarrow as pa
from numpy.typing import NDArray

from geno_model.encoder.carbon import CarbonStateEncoder
from geno_model.encoder.shared_prefix import EncodedWindow, encode_window
from geno_model.genomics.edits import EditSpec, RelEdit
from geno_model.genomics.genome import Genome
from geno_model.training.shards import shard_key, start_store, write_shard

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
    progress: Callable[[int, int], None] | None = None,
) -> BuildCounts:
    """Encode rows (TrainingEdits or ValidationEdits) into shards under `folder`, one sub-folder a contig.

    Shards of the same contigs that no row asks for any more are removed.
    """
    start_store(folder, encoder)
    before = encoder.n_tokens_run
    wanted: set[Path] = set()
    n_kept = done = 0
    for (contig,), of_contig in rows.group_by("contig", maintain_order=True):
        ordered = of_contig.sort("window_start_bp", "row_id")
        rank = ordered["window_start_bp"].rle_id()
        for (block,), part in ordered.group_by(rank // WINDOWS_PER_SHARD, maintain_order=True):
            path = folder / str(contig) / f"{block:05d}.parquet"
            wanted.add(path)
            key = _key(part, encoder)
            if shard_key(path) == key:
                n_kept += 1
            else:
                write_shard(path, _encode_block(part, genome, encoder), encoder.contract, key)
            done += part.height
            if progress:
                progress(done, rows.height)
        for stale in set((folder / str(contig)).glob("*.parquet")) - wanted:
            stale.unlink()
    return BuildCounts(rows.height, len(wanted), n_kept, encoder.n_tokens_run - before)


def _key(part: pl.DataFrame, encoder: CarbonStateEncoder) -> str:
    digest = hashlib.sha256(encoder.contract.digest.encode())
    digest.update(part.write_ndjson().encode())
    return digest.hexdigest()


def _encode_block(part: pl.DataFrame, genome: Genome, encoder: CarbonStateEncoder) -> pl.DataFrame:
    encoded = [
        _encode_rows(of_window, genome, encoder)
        for _, of_window in part.group_by("window_start_bp", maintain_order=True)
    ]
    return pl.concat(encoded)


def _encode_rows(rows: pl.DataFrame, genome: Genome, encoder: CarbonStateEncoder) -> pl.DataFrame:
    """The rows of one window with their vectors."""
    contig, start, end = (rows[name][0] for name in ("contig", "window_start_bp", "window_end_bp"))
    chains = [
        [EditSpec(contig, edit["pos"], edit["ref"], edit["alt"]).relative_to(start, end) for edit in edits]
        for edits in rows["edits"].to_list()
    ]
    encoded = encode_window(encoder, genome.window(contig, start, end), chains, rows["pool_token"].to_numpy())
    return rows.with_columns(
        _vectors(encoded, chains),
    ).with_columns(
        pl.lit(encoder.encoder_hash).alias("encoder_hash"),
    )


def _vectors(encoded: EncodedWindow, chains: list[list[RelEdit]]) -> list[pl.Series]:
    """The encoded values as list columns, one row a chain: (K * d) targets, (K * 2 * d) locus, (K * 4) tokens."""
    n_steps = np.array([len(chain) for chain in chains])
    ends = np.concatenate([[0], np.cumsum(n_steps)])

    def per_row(name: str, values: NDArray[np.generic], width: int = 1) -> pl.Series:
        flat = pa.array(values.reshape(-1))
        return pl.Series(name, pl.from_arrow(pa.LargeListArray.from_arrays(pa.array(ends * width), flat)))

    d_state = encoded.reference.shape[1]
    edits = [edit for chain in chains for edit in chain]
    n_chains = np.arange(len(chains) + 1)
    reference = pa.LargeListArray.from_arrays(
        pa.array(n_chains * d_state), pa.array(encoded.reference.numpy().reshape(-1))
    )
    return [
        per_row("rel_pos", np.array([edit.rel_pos for edit in edits], dtype=np.int32)),
        per_row("edit_types", np.array([edit.edit_type for edit in edits], dtype=np.uint8)),
        pl.Series("reference", pl.from_arrow(reference)),
        per_row("targets", encoded.targets.numpy(), d_state),
        per_row("locus", encoded.locus.numpy(), 2 * d_state),
        per_row("tokens_before", encoded.tokens_before.numpy().astype(np.int32), 4),
        per_row("tokens_after", encoded.tokens_after.numpy().astype(np.int32), 4),
    ]
