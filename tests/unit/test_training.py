"""Objective, schedule, sampling, shards and the loop (spec 3, 4)."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from geno_model.genomics.edits import EditType
from geno_model.genomics.genome import Genome
from geno_model.predictor.world_model import WorldModel
from geno_model.training.loop import TrainingSettings, predict_table, row_probabilities, train
from geno_model.training.objective import last_step, raw_loss, safe_gain, skill
from geno_model.training.schedule import adamw, wsd
from geno_model.training.state_store import read_states
from geno_pipeline.build.states import build_states
from tests.unit.encoders import tiny_encoder
from tests.unit.training_rows import random_genome, rows_of_edits


@pytest.fixture(scope="module")
def genome(tmp_path_factory: pytest.TempPathFactory) -> Genome:
    return random_genome(tmp_path_factory.mktemp("genome"))


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
