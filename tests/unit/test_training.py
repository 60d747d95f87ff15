"""Objective, schedule, sampling, shards and the loop (spec 3, 4)."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import polars as pl
import pytest
import torch

from geno_model.encoder.state_contract import ContractMismatchError
from geno_model.genomics.edits import EditSpec, EditType
from geno_model.genomics.genome import Genome
from geno_model.predictor.world_model import WorldModel
from geno_model.training.loop import TrainingSettings, predict_table, row_probabilities, train
from geno_model.training.objective import last_step, raw_loss, safe_gain, skill
from geno_model.training.schedule import adamw, wsd
from geno_model.training.shards import ShardError, read_states, write_shard
from geno_pipeline.build.states import build_states
from tests.unit.encoders import WINDOW_BP, random_window, tiny_encoder

CONTIG = "chrT"


@pytest.fixture(scope="module")
def genome(tmp_path_factory: pytest.TempPathFactory) -> Genome:
    folder = tmp_path_factory.mktemp("genome")
    sequence = random_window(3, 4 * WINDOW_BP).tobytes().decode()
    (folder / "t.fa").write_text(f">{CONTIG}\n{sequence}\n")
    return Genome.open(folder / "t.fa", cache_dir=folder)


def rows_of_edits(genome: Genome, n_windows: int = 2, per_window: int = 40) -> pl.DataFrame:
    """SNVs spread over the windows, every fifth row with a second edit 12 bp to the right."""
    rows = []
    for start in range(0, n_windows * WINDOW_BP, WINDOW_BP):
        for index in range(per_window):
            position = start + 100 + 60 * index
            edits = []
            for pos0 in [position] if index % 5 else [position, position + 12]:
                ref = chr(genome.bases(CONTIG)[pos0])
                edits.append({"pos": pos0 + 1, "ref": ref, "alt": "ACGT"["ACGT".index(ref) - 1]})
            rows.append(
                {
                    "row_id": f"{CONTIG}:{start}:{index}", "contig": CONTIG,
                    "window_start_bp": start, "window_end_bp": start + WINDOW_BP,
                    "window_sha256": "x", "source": "synthetic_snv", "k": len(edits), "edits": edits, "edit_type": 0,
                    "pool_token": (position - start) // 6,
                }
            )  # fmt: skip
    return pl.DataFrame(rows)


def test_loss_of_no_change_and_of_perfection() -> None:
    source = torch.tensor([[1.0, 0.0]])
    target = torch.nn.functional.normalize(torch.tensor([[[1.0, 0.001]]]), dim=-1)
    mask = torch.ones(1, 1, dtype=torch.bool)
    squared = 1e-6  # of two unit vectors 0.001 apart
    expected = squared / 2 + 0.1 * squared / 2
    assert raw_loss(source[:, None], target, mask).item() == pytest.approx(expected, rel=1e-3)
    assert raw_loss(target, target, mask).item() == 0.0
    assert skill(source, target[:, 0], source) == 0.0
    assert skill(target[:, 0], target[:, 0], source) == 1.0


def test_safe_gain_by_hand() -> None:
    source, guess = torch.zeros(2, 2), torch.tensor([[1.0, 0.0], [0.0, 2.0]])
    assert safe_gain(guess, torch.tensor([[0.5, 9.0], [9.0, 1.0]]), source) == pytest.approx(0.5)  # 2.5 / 5, no error
    # products 0.9 and 1.6, powers 1 and 4: 0.5, and each row is off by 0.4, so the error is 0.4 * sqrt(2) / 5
    mixed = torch.tensor([[0.9, 0.0], [0.0, 0.8]])
    assert safe_gain(guess, mixed, source) == pytest.approx(0.5 - 2 * 0.4 * 2**0.5 / 5)
    assert safe_gain(guess, -guess, source) == 0.0
    assert safe_gain(guess, 3 * guess, source) == 1.0
    assert safe_gain(source, guess, source) == 0.0


def test_padded_steps_do_not_count() -> None:
    predicted, target = torch.randn(2, 3, 4), torch.randn(2, 3, 4)
    mask = torch.tensor([[True, False, False], [True, True, False]])
    spoiled = torch.where(mask[..., None], target, 1e6)
    torch.testing.assert_close(raw_loss(predicted, target, mask), raw_loss(predicted, spoiled, mask))
    assert torch.equal(last_step(target, mask), torch.stack([target[0, 0], target[1, 1]]))


def test_schedule_by_hand() -> None:
    factors = [wsd(step, 100) for step in range(100)]
    assert factors[:3] == [0.5, 1.0, 1.0]
    assert factors[79] == 1.0
    assert factors[89] == pytest.approx(1 - 0.9 * 9 / 18)
    assert factors[98] == pytest.approx(0.1)
    assert factors[99] == pytest.approx(0.055)


def test_no_weight_decay_on_norms_biases_and_tables() -> None:
    model = torch.nn.Sequential(torch.nn.Embedding(5, 4), torch.nn.LayerNorm(4), torch.nn.Linear(4, 3))
    decayed, kept = adamw(model, 1e-3).param_groups
    assert [tuple(p.shape) for p in decayed["params"]] == [(3, 4)]
    assert len(kept["params"]) == 4 and kept["weight_decay"] == 0.0


def test_batches_are_balanced_by_type() -> None:
    types = np.array([EditType.SNV] * 90 + [EditType.INS] * 5 + [EditType.DEL] * 5 + [EditType.SNV] * 10)
    k = np.array([1] * 100 + [2] * 10)
    held_back = np.zeros(110, dtype=bool)
    held_back[[0, 109]] = True
    probability = row_probabilities(types, k, held_back)
    assert probability[0] == probability[109] == 0
    total = 0.9 * 0.8 + 0.1  # MNV and INDEL have no rows
    assert probability[:90].sum() == pytest.approx(0.9 * 0.4 / total)
    assert probability[90:95].sum() == pytest.approx(0.9 * 0.2 / total)
    assert probability[100:].sum() == pytest.approx(0.1 / total)


def test_shards_hold_what_the_encoder_says(tmp_path: Path, genome: Genome) -> None:
    encoder = tiny_encoder(tmp_path / "encoder")
    rows = rows_of_edits(genome, per_window=6)
    counts = build_states(rows, genome, encoder, tmp_path / "states")
    assert (counts.n_rows, counts.n_shards, counts.n_shards_kept) == (12, 1, 0)
    table = read_states(tmp_path / "states")
    assert table.keys["row_id"].to_list() == rows.sort("window_start_bp", "row_id")["row_id"].to_list()
    for index, row in enumerate(table.keys.iter_rows(named=True)):
        window = genome.window(CONTIG, row["window_start_bp"], row["window_end_bp"]).copy()
        torch.testing.assert_close(
            table.batch.state[index], encoder.encode(window, row["pool_token"] * 6), atol=1e-5, rtol=0
        )
        for step, edit in enumerate(row["edits"]):
            window[edit["pos"] - 1 - row["window_start_bp"]] = ord(edit["alt"])
            torch.testing.assert_close(
                table.targets[index, step], encoder.encode(window, row["pool_token"] * 6), atol=1e-5, rtol=0
            )
            spec = EditSpec(CONTIG, edit["pos"], edit["ref"], edit["alt"])
            assert (
                table.batch.rel_pos[index, step]
                == spec.relative_to(row["window_start_bp"], row["window_end_bp"]).rel_pos
            )
    assert table.batch.mask.sum(dim=1).tolist() == table.keys["k"].to_list()


def test_a_second_build_makes_only_what_is_missing_and_the_same_bytes(tmp_path: Path, genome: Genome) -> None:
    encoder, rows = tiny_encoder(tmp_path / "encoder"), rows_of_edits(genome, per_window=3)
    build_states(rows, genome, encoder, tmp_path / "states")
    path = tmp_path / "states" / CONTIG / "00000.parquet"
    first, n_tokens = path.read_bytes(), encoder.n_tokens_run
    assert build_states(rows, genome, encoder, tmp_path / "states").n_shards_kept == 1
    assert encoder.n_tokens_run == n_tokens
    path.unlink()
    build_states(rows, genome, encoder, tmp_path / "states")
    assert path.read_bytes() == first
    build_states(rows.head(2), genome, encoder, tmp_path / "states")
    assert read_states(tmp_path / "states").keys.height == 2


def test_states_off_the_unit_sphere_and_mixed_contracts_are_refused(tmp_path: Path, genome: Genome) -> None:
    encoder = tiny_encoder(tmp_path / "encoder")
    build_states(rows_of_edits(genome, per_window=2), genome, encoder, tmp_path / "states")
    shard = pl.read_parquet(tmp_path / "states" / CONTIG / "00000.parquet")
    raw = shard.with_columns(reference=pl.col("reference").list.eval(pl.element() * 33))
    with pytest.raises(ShardError, match="4 reference states have a norm other than 1"):
        write_shard(tmp_path / "raw.parquet", raw, encoder.contract, "key")
    assert not list(tmp_path.glob("*raw.parquet*"))
    other = tiny_encoder(tmp_path / "encoder", radius_tokens=8)
    write_shard(tmp_path / "states" / CONTIG / "00001.parquet", shard, other.contract, "key")
    with pytest.raises(ContractMismatchError, match="radius_tokens: 16 here, 8 there"):
        read_states(tmp_path / "states")
    with pytest.raises(ShardError, match="materialise the states first"):
        read_states(tmp_path / "nothing")


def test_training_learns_and_is_deterministic(tmp_path: Path, genome: Genome) -> None:
    build_states(rows_of_edits(genome), genome, tiny_encoder(tmp_path / "encoder"), tmp_path / "states")
    table = read_states(tmp_path / "states")
    settings = TrainingSettings("demo", n_steps=75, batch_size=64, learning_rate=1e-3, seed_init=1, seed_order=2)
    result = train(table, settings, tmp_path / "a")
    train(table, settings, tmp_path / "b")
    for name in ("predictor.safetensors", "action_encoder.safetensors", "model.json", "training.json", "contract.json"):
        assert (tmp_path / "a" / name).read_bytes() == (tmp_path / "b" / name).read_bytes()
    assert result.train_skill > 0.2
    assert [point["step"] for point in result.history] == [25, 50, 75]
    model = WorldModel.load(tmp_path / "a", table.sixmer_embeddings)
    predicted = predict_table(model, table)
    assert predicted.shape == table.targets.shape and not predicted[~table.batch.mask].any()
