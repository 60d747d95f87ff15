"""State shards: written, read whole, read by random rows and in batches, beside polars with lists and zstd.

    .venv/bin/python benchmarks/states.py [--rows 20000] [--json FILE]

Rows as in training with d = 128 and d = 1,024, one in ten of two edits, in shards of 1,024. Megabytes are those of the
vectors (float32), not of the file.
"""

from __future__ import annotations

import argparse
import json
import resource
import tempfile
import time
from pathlib import Path

import numpy as np
import polars as pl
from measuring import Rate, compare, print_rates
from safetensors.numpy import save_file

from geno_model.encoder.shared_prefix import LOCUS_SPANS
from geno_model.encoder.state_contract import StateContract
from geno_model.training.shards import ShardColumns, write_shard
from geno_model.training.state_store import StateStore, read_states

ROWS_A_SHARD = 1_024
N_RANDOM = 10_000
BATCH = 256
CONTRACT = StateContract(12_288, 8_192, "right", -1, "centered_mean", 256, True, "float32", "locus", "0" * 64)
Shard = tuple[pl.DataFrame, ShardColumns]


def random_shard(first: int, n: int, d_state: int, rng: np.random.Generator) -> Shard:
    """n rows of random unit states."""
    k = np.where(np.arange(n) % 10 == 0, 2, 1)
    edit = {"pos": 5, "ref": "A", "alt": "C"}
    rows = pl.DataFrame(
        {
            "row_id": [f"chr1:{first}:{row}" for row in range(n)], "contig": "chr1", "window_start_bp": first,
            "window_end_bp": first + 12_288, "window_sha256": "0" * 64, "source": "gnomad", "k": k,
            "edits": [[edit] * int(steps) for steps in k], "edit_type": 0, "pool_token": 1_000,
            "edit_types": pl.Series([[0] * int(steps) for steps in k], dtype=pl.List(pl.UInt8)),
        }
    )  # fmt: skip
    n_steps = int(k.sum())

    def unit(count: int) -> np.ndarray:
        states = rng.standard_normal((count, d_state), dtype=np.float32)
        return states / np.linalg.norm(states, axis=1, keepdims=True)

    tokens = rng.integers(3, 4_099, (2, n_steps, 4), dtype=np.int32)
    locus = rng.standard_normal((n_steps, len(LOCUS_SPANS), d_state), dtype=np.float32)
    at = np.arange(n_steps, dtype=np.int32)
    return rows, ShardColumns(unit(n), unit(n_steps), at, tokens[0], tokens[1], locus)


def megabytes(shards: list[Shard]) -> int:
    """Of the float vectors."""
    parts = [values for _, columns in shards for values in (columns.reference, columns.targets, columns.locus)]
    return sum(part.nbytes for part in parts if part is not None) // 10**6


def start(folder: Path, d_state: int) -> None:
    """The two files of a store beside its shards."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "contract.json").write_text(json.dumps(CONTRACT.to_dict()))
    save_file({"sixmers": np.zeros((4_099, d_state), dtype=np.float32)}, folder / "sixmer_embeddings.safetensors")


def as_lists(shard: Shard) -> pl.DataFrame:
    """Keys and states of a shard as a frame with lists, as polars would keep them."""
    rows, columns = shard
    ends = np.concatenate([[0], np.cumsum(rows["k"].to_numpy())])
    d_state = columns.reference.shape[1]
    targets = np.split(columns.targets.reshape(-1), ends[1:-1] * d_state)
    locus = np.split(np.asarray(columns.locus).reshape(-1), ends[1:-1] * len(LOCUS_SPANS) * d_state)
    return rows.with_columns(
        reference=pl.Series(list(columns.reference), dtype=pl.List(pl.Float32)),
        targets=pl.Series(targets, dtype=pl.List(pl.Float32)),
        locus=pl.Series(locus, dtype=pl.List(pl.Float32)),
    )


def measured(folder: Path, n_rows: int, d_state: int, rng: np.random.Generator) -> tuple[list[Rate], dict[str, object]]:
    """All rates at one width, and the facts that are no rates."""
    shards = [random_shard(i, ROWS_A_SHARD, d_state, rng) for i in range(max(n_rows // ROWS_A_SHARD, 1))]
    size, store, other = megabytes(shards), folder / f"store{d_state}", folder / f"polars{d_state}"
    start(store, d_state)
    other.mkdir()
    frames = [as_lists(shard) for shard in shards]

    def write() -> int:
        for index, (rows, columns) in enumerate(shards):
            write_shard(store / "chr1" / f"{index:05d}.parquet", rows, columns, CONTRACT, "key")
        return size

    def write_lists() -> int:
        for index, frame in enumerate(frames):
            frame.write_parquet(other / f"{index:05d}.parquet", compression="zstd")
        return size

    def read() -> int:
        return size if len(read_states(store).keys) else 0

    def read_lists() -> int:
        frame = pl.read_parquet(other / "*.parquet")
        for name in ("reference", "targets", "locus"):
            frame[name].explode().to_numpy().reshape(-1, d_state)
        return size

    rates = compare(f"MB written, d = {d_state}", {"write_shard": write, "polars, lists, zstd": write_lists}, rounds=2)
    rates += compare(f"MB read, d = {d_state}", {"read_states": read, "polars, explode": read_lists}, rounds=2)
    opened = StateStore(store)
    numbers = rng.integers(0, len(opened), N_RANDOM)
    row_ids = opened.keys["row_id"][numbers]

    def random_rows() -> int:
        return len(opened.rows(opened.find(row_ids)).keys)

    def random_rows_by_scan() -> int:
        found = pl.scan_parquet(other / "*.parquet").filter(pl.col("row_id").is_in(row_ids.implode())).collect()
        return len(row_ids) if found.height else 0

    rates += compare(
        f"random rows by id, d = {d_state}", {"StateStore": random_rows, "polars scan": random_rows_by_scan}
    )
    before, most, started = resident_mib(), 0.0, time.perf_counter()
    for batch in opened.batches(BATCH, seed=0):
        most = max(most, resident_mib(anonymous=True)) if len(batch.keys) else most
    seconds = time.perf_counter() - started
    facts: dict[str, object] = {
        f"d_{d_state}_vectors_MB": size,
        f"d_{d_state}_batches_of_{BATCH}_shuffled": f"{len(opened) / seconds:,.0f} rows/s",
        f"d_{d_state}_MiB_more_while_streaming": round(most - before, 1),
        f"d_{d_state}_seconds_for_{N_RANDOM}_random_rows": round(N_RANDOM / rates[-2].per_second, 3),
    }
    return rates, facts


def resident_mib(*, anonymous: bool = True) -> float:
    """Memory of this process that is not a mapped file (Linux)."""
    fields = Path("/proc/self/statm").read_text().split()
    pages = int(fields[1]) - int(fields[2]) if anonymous else int(fields[1])
    return pages * resource.getpagesize() / 2**20


def main() -> None:
    """Measure both widths and print the table."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--rows", type=int, default=20_000)
    parser.add_argument("--json", type=Path, default=None)
    arguments = parser.parse_args()
    rng = np.random.default_rng(0)
    rates: list[Rate] = []
    facts: dict[str, object] = {}
    with tempfile.TemporaryDirectory() as name:
        for d_state in (128, 1_024):
            more, found = measured(Path(name), arguments.rows, d_state, rng)
            rates += more
            facts |= found
    print_rates(rates, arguments.json, **facts)


if __name__ == "__main__":
    main()
