"""Ablations: what is hidden is hidden in training and judging, every variant has its row, intervals by hand."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import polars as pl
import pytest
import torch

from data_contracts import Ablations, validate
from geno_model.training.loop import TrainingSettings
from geno_model.training.state_store import StateStore
from geno_pipeline.build.states import build_states
from geno_pipeline.evaluation.ablation import VARIANTS, ablate, hide, interval
from tests.unit.encoders import WINDOW_BP, tiny_encoder
from tests.unit.test_predictor import random_batch
from tests.unit.training_rows import random_genome, rows_of_edits


def test_interval_by_hand() -> None:
    found = interval(np.array([0.5, 0.6, 0.7]))  # sd 0.1, t(2) = 4.3027
    assert found["skill"] == pytest.approx(0.6) and found["n_seeds"] == 3
    assert found["skill_high"] == pytest.approx(0.6 + 4.3027 * 0.1 / 3**0.5, abs=1e-4)
    assert interval(np.array([0.5]))["skill_low"] is None


def test_hidden_inputs_are_zero_and_the_others_as_they_were() -> None:
    batch = random_batch([1, 2])
    hidden = hide(batch, ("shift", "ref_tokens"))
    assert not hidden.shift.any() and not hidden.ref_tokens.any()
    assert torch.equal(hidden.locus, batch.locus) and batch.shift.any()
    behind = hide(batch, ("behind",)).locus
    assert torch.equal(behind[:, :, :2], batch.locus[:, :, :2]) and not behind[:, :, 2:].any()


def test_a_row_for_each_variant_and_group_and_the_shift_is_worth_something(tmp_path: Path) -> None:
    genome, encoder = random_genome(tmp_path, 12), tiny_encoder(tmp_path / "encoder", context="pool")
    rows = rows_of_edits(genome, n_windows=12)
    is_held = pl.col("window_start_bp") == 11 * WINDOW_BP
    folders = tmp_path / "training", tmp_path / "validation"
    build_states(rows.filter(~is_held), genome, encoder, folders[0])
    held = rows.filter(is_held).with_columns(holdout=pl.lit("holdout-chr"))
    build_states(held, genome, encoder, folders[1])
    settings = TrainingSettings("demo", n_steps=3, batch_size=32, learning_rate=1e-3, seed_init=0, seed_order=0)
    said: list[int] = []
    stores = StateStore(folders[0]), StateStore(folders[1])
    found = ablate({"base": stores}, settings, [1, 2], said.append)
    validate(Ablations, found)
    of_base = [variant.name for variant in VARIANTS if variant.train_on == variant.judge_on == "base"]
    assert found["variant"].unique(maintain_order=True).to_list() == of_base
    assert said == list(range(1, 2 * len(of_base) + 1))
    first = found.filter(pl.col("variant") == of_base[0])
    assert first["edits"].to_list() == ["K = 1, SNV", "K = 1, all", "K = 2, all"]  # no indels among these rows
    assert first["n"].to_list() == [32, 32, 8]
    snv = found.filter(pl.col("edits") == "K = 1, SNV")
    skill = dict(snv.select("variant", "skill").iter_rows())
    assert skill["all inputs (context pool)"] > skill["context locus (tokens c - 1 and c)"] + 0.1
