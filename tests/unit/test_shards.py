"""State shards: what they hold, who can read them, and what a killed, damaged or foreign one does (spec 3)."""

from __future__ import annotations

import signal
import subprocess
import sys
import time
from pathlib import Path

import duckdb
import numpy as np
import polars as pl
import pyarrow.parquet as pq
import pytest
import torch

from geno_model.encoder.state_contract import ContractMismatchError
from geno_model.genomics.edits import EditSpec
from geno_model.genomics.genome import Genome
from geno_model.training.shards import ShardColumns, ShardError, mapped_columns, shard_key, write_shard
from geno_model.training.state_store import StateStore, StateTable, read_states
from geno_pipeline.build.states import build_states
from tests.unit.encoders import settings, tiny_encoder
from tests.unit.training_rows import CONTIG, build, random_genome, rows_of_edits

D_STATE = 32


@pytest.fixture(scope="module")
def genome(tmp_path_factory: pytest.TempPathFactory) -> Genome:
    return random_genome(tmp_path_factory.mktemp("genome"))


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a store of seven shards."""
    folder = tmp_path_factory.mktemp("built")
    assert build(folder, 7).n_shards == 7
    return folder


def files_of(store: Path) -> dict[str, bytes]:
    return {path.relative_to(store).as_posix(): path.read_bytes() for path in store.rglob("*") if path.is_file()}


def same(one: StateTable, other: StateTable) -> bool:
    tensors = [(getattr(one.batch, name), getattr(other.batch, name)) for name in one.batch.__slots__]
    return all(torch.equal(a, b) for a, b in [*tensors, (one.targets, other.targets)]) and one.keys.equals(other.keys)


def test_shards_hold_what_the_encoder_says(tmp_path: Path, genome: Genome) -> None:
    encoder = tiny_encoder(tmp_path / "encoder")
    rows = rows_of_edits(genome, per_window=6)
    counts = build_states(rows, genome, encoder, tmp_path / "states")
    assert (counts.n_rows, counts.n_shards, counts.n_shards_kept) == (12, 1, 0)
    table = read_states(tmp_path / "states")
    assert table.keys["row_id"].to_list() == rows.sort("window_start_bp", "row_id")["row_id"].to_list()
    for index, row in enumerate(table.keys.iter_rows(named=True)):
        window = genome.window(CONTIG, row["window_start_bp"], row["window_end_bp"]).copy()
        reference = encoder.encode(window, row["pool_token"] * 6)
        torch.testing.assert_close(table.batch.state[index], reference, atol=1e-5, rtol=0)
        for step, edit in enumerate(row["edits"]):
            window[edit["pos"] - 1 - row["window_start_bp"]] = ord(edit["alt"])
            after = encoder.encode(window, row["pool_token"] * 6)
            torch.testing.assert_close(table.targets[index, step], after, atol=1e-5, rtol=0)
            spec = EditSpec(CONTIG, edit["pos"], edit["ref"], edit["alt"])
            in_window = spec.relative_to(row["window_start_bp"], row["window_end_bp"])
            assert table.batch.rel_pos[index, step] == in_window.rel_pos
    assert table.batch.mask.sum(dim=1).tolist() == table.keys["k"].to_list()
    assert table.batch.locus.shape == (12, 2, 5, D_STATE)


@pytest.mark.parametrize("context", ["none", "sixmer"])
def test_locus_states_are_kept_only_for_the_context_that_needs_them(
    tmp_path: Path, genome: Genome, context: str
) -> None:
    encoder = tiny_encoder(tmp_path / "encoder", context=context)
    build_states(rows_of_edits(genome, per_window=2), genome, encoder, tmp_path / "states")
    assert "locus" not in pq.read_schema(tmp_path / "states" / CONTIG / "00000.parquet").names
    assert read_states(tmp_path / "states").batch.locus.numel() == 0


def test_a_second_build_makes_only_what_is_missing_and_the_same_bytes(tmp_path: Path, genome: Genome) -> None:
    encoder, rows = tiny_encoder(tmp_path / "encoder"), rows_of_edits(genome, per_window=3)
    build_states(rows, genome, encoder, tmp_path / "states")
    path = tmp_path / "states" / CONTIG / "00000.parquet"
    first, n_tokens = path.read_bytes(), encoder.n_tokens_run
    assert build_states(rows, genome, encoder, tmp_path / "states").n_shards_kept == 1
    assert encoder.n_tokens_run == n_tokens
    path.unlink()
    build_states(rows.sample(fraction=1, shuffle=True, seed=0), genome, encoder, tmp_path / "states")
    assert path.read_bytes() == first  # whatever the order of the rows
    build_states(rows.head(2), genome, encoder, tmp_path / "states")
    assert read_states(tmp_path / "states").keys.height == 2


@pytest.mark.parametrize("after_s", [0.0, 0.15, 0.4])
def test_a_killed_build_goes_on_and_gives_the_same_bytes(tmp_path: Path, built: Path, after_s: float) -> None:
    """Killed `after_s` seconds after the first file is there, without a chance to clean up."""
    store = tmp_path / "states"
    command = [sys.executable, "-m", "tests.unit.training_rows", str(tmp_path), "7"]
    process = subprocess.Popen(command)
    while not list(store.glob("[!.]*/*.parquet")) and process.poll() is None:
        time.sleep(0.002)
    time.sleep(after_s)
    process.send_signal(signal.SIGKILL)
    process.wait()
    half = store / CONTIG / ".00006.parquet.1.geno-tmp"  # what a kill in the middle of a write leaves
    half.mkdir()
    (half / "00006.parquet").write_bytes(b"half a fi")
    whole = list(store.glob("*/*.parquet"))
    kept = build(tmp_path, 7).n_shards_kept
    assert kept == len(whole)
    assert files_of(store) == files_of(built / "states")


def test_duckdb_reads_the_store_by_a_glob(built: Path) -> None:
    query = "SELECT count(*), sum(k), min(len(reference)), max(len(targets)) FROM read_parquet('{}/*/*.parquet')"
    count, steps, width, longest = duckdb.execute(query.format(built / "states")).fetchall()[0]
    assert (count, steps, width, longest) == (28, 35, D_STATE, 2 * D_STATE)
    first = duckdb.execute(f"SELECT reference FROM read_parquet('{built}/states/*/00003.parquet') LIMIT 1").fetchall()[
        0
    ][0]
    store = StateStore(built / "states")
    assert store.rows(np.array([12])).batch.state[0].tolist() == first


def test_any_rows_in_any_order_are_those_of_the_whole(built: Path) -> None:
    store, whole = StateStore(built / "states"), read_states(built / "states")
    assert len(store) == 28
    numbers = np.random.default_rng(0).permutation(28)[:11]
    table = store.rows(numbers)
    assert table.keys.equals(whole.keys[numbers])
    assert same(table, StateTable(whole.keys[numbers], whole.batch.rows(torch.from_numpy(numbers)),
                                  whole.targets[numbers][:, : table.batch.mask.shape[1]],
                                  whole.contract, whole.sixmer_embeddings))  # fmt: skip
    found = store.find(whole.keys["row_id"][numbers])
    assert found.tolist() == numbers.tolist()
    with pytest.raises(ShardError, match="1 of 2 rows are not in the store"):
        store.find(pl.Series([whole.keys["row_id"][0], "chrT:9:9"]))


def test_batches_give_each_row_once_in_an_order_that_the_seed_decides(built: Path) -> None:
    store = StateStore(built / "states")

    def ids(seed: int | None) -> list[str]:
        batches = list(store.batches(5, seed))
        assert [len(batch.keys) for batch in batches] == [5] * 5 + [3]
        return [row_id for batch in batches for row_id in batch.keys["row_id"]]

    in_order = store.keys["row_id"].to_list()
    assert ids(None) == in_order
    assert ids(1) == ids(1) != ids(2) != in_order
    assert sorted(ids(1)) == sorted(in_order)
    numbers = store.find(pl.Series(ids(1)))
    assert same(next(store.batches(5, 1)), store.rows(numbers[:5]))


def test_states_off_the_unit_sphere_are_refused_and_leave_nothing(tmp_path: Path, built: Path) -> None:
    path = built / "states" / CONTIG / "00000.parquet"
    rows = pl.read_parquet(path).drop("reference", "targets", "locus", "rel_pos", "tokens_before", "tokens_after")
    columns = {name: values.copy() for name, values in mapped_columns(path).items()}
    contract = StateStore(built / "states").contract
    write_shard(tmp_path / "same.parquet", rows, ShardColumns(**columns), contract, shard_key(path) or "")  # type: ignore[arg-type]
    assert (tmp_path / "same.parquet").read_bytes() == path.read_bytes()
    for factor, n_wrong in ((33.0, 4), (float("nan"), 4)):
        raw = ShardColumns(**columns | {"reference": columns["reference"] * np.float32(factor)})  # type: ignore[arg-type]
        with pytest.raises(ShardError, match=f"{n_wrong} reference states have a norm other than 1"):
            write_shard(tmp_path / "raw.parquet", rows, raw, contract, "key")
    assert [entry.name for entry in tmp_path.iterdir()] == ["same.parquet"]


def test_a_foreign_or_damaged_shard_is_told(tmp_path: Path, genome: Genome) -> None:
    encoder = tiny_encoder(tmp_path / "encoder")
    rows, store = rows_of_edits(genome, per_window=2), tmp_path / "states"
    build_states(rows, genome, encoder, store)
    first, second = store / CONTIG / "00000.parquet", store / CONTIG / "00001.parquet"
    other = tiny_encoder(tmp_path / "encoder", radius_tokens=8)
    build_states(rows, genome, other, tmp_path / "others")
    second.write_bytes((tmp_path / "others" / CONTIG / "00000.parquet").read_bytes())
    with pytest.raises(ContractMismatchError, match="radius_tokens: 16 here, 8 there"):
        StateStore(store)
    for name, raw in (("cut", first.read_bytes()[:-100]), ("cut in the middle", first.read_bytes()[:900]), ("", b"")):
        second.write_bytes(raw)
        with pytest.raises(ShardError, match="damaged"):
            StateStore(store)
        assert shard_key(second) is None, name  # so the next build makes it again
    table = pq.read_table(first)
    pq.write_table(table, second)  # the same rows, laid out by somebody else
    with pytest.raises(ShardError, match="not stored plainly"):
        StateStore(store)
    older = table.replace_schema_metadata(table.schema.metadata | {b"schema_version": b"3"})
    pq.write_table(older, second)
    with pytest.raises(ShardError, match="has format 3, this version reads 4; materialise"):
        StateStore(store)
    with pytest.raises(ShardError, match="materialise the states first"):
        read_states(tmp_path / "nothing")


def test_contract_fields_are_those_of_the_store(built: Path) -> None:
    contract = StateStore(built / "states").contract
    expected = settings()
    assert {name: value for name, value in contract.to_dict().items() if name in expected} == expected
