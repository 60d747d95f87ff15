"""Figures of the holdouts by hand, the LeJEPA term, and alerts that ring."""

from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path

import polars as pl
import pytest
import torch

from geno_model.training.loop import TrainingSettings, Watchers, train
from geno_model.training.monitor import alerts, figures_of
from geno_model.training.objective import lejepa
from geno_model.training.state_store import StateStore, read_states
from geno_pipeline.build.states import build_states
from tests.unit.encoders import tiny_encoder
from tests.unit.training_rows import random_genome, rows_of_edits


def test_figures_by_hand() -> None:
    source = torch.tensor([[1.0, 0.0], [1.0, 0.0]])
    target = torch.tensor([[0.8, 0.6], [0.8, -0.6]])
    found = figures_of(source, torch.stack([target[0], source[1]]), target)
    assert found["n"] == 2
    assert found["skill"] == pytest.approx(0.5)  # one of two equal changes is predicted
    assert found["cosine"] == pytest.approx((1 + 0.8) / 2)
    assert found["l2"] == pytest.approx(math.sqrt(0.4) / 2)
    assert found["change_variance"] == pytest.approx(0.36)
    assert found["predicted_change_variance"] == pytest.approx(0.1)  # half the distance of the two, squared
    assert found["distance"] == pytest.approx(math.sqrt(0.4))
    assert found["change_cosine"] == pytest.approx(0.5)
    assert found["lejepa"] is None


def test_lejepa_is_least_for_a_round_cloud_and_grows_when_it_collapses() -> None:
    generator = torch.Generator().manual_seed(0)
    cloud = torch.randn(4_000, 4, generator=generator) / 2  # unit variance after sqrt(d) = 2
    assert float(lejepa(cloud)) == pytest.approx(0, abs=0.01)
    flat = cloud * torch.tensor([1.0, 1.0, 1.0, 0.1])
    # tr S falls by 0.99, log det by ln 100: 0.25 * (-0.99 + 4.605)
    assert float(lejepa(flat)) == pytest.approx(0.25 * (-0.99 + math.log(100)), abs=0.02)
    assert float(lejepa(cloud + 1)) == pytest.approx(0.25 * 4 * 4, abs=0.1)  # |mu|^2 = 4 * (1 * 2)^2
    assert figures_of(cloud, cloud, cloud)["lejepa"] == pytest.approx(0, abs=0.01)
    assert figures_of(cloud[:15], cloud[:15], cloud[:15])["lejepa"] is None  # fewer than four rows a dimension


def test_alerts_name_what_is_wrong() -> None:
    good = {"holdout": "holdout-chr", "n": 9, "l2": 0.1, "skill": 0.4}
    good |= {"predicted_change_variance": 0.4, "change_variance": 1}
    assert alerts(good) == []
    assert "worse than no change" in alerts(good | {"skill": -0.2})[0]
    assert "not finite" in alerts(good | {"l2": float("nan")})[0]


def test_one_change_for_all_edits_is_a_collapse_however_much_the_states_differ() -> None:
    source = torch.nn.functional.normalize(torch.randn(200, 16, generator=torch.Generator().manual_seed(0)), dim=1)
    changes = 0.01 * torch.randn(200, 16, generator=torch.Generator().manual_seed(1))
    target = source + changes
    collapsed = alerts({"holdout": "holdout-chr", **figures_of(source, source + changes.mean(dim=0), target)})
    assert any("predicted changes have 0.0% of the variance of the true ones" in line for line in collapsed)
    half = source + changes * torch.cat([torch.ones(100, 1), torch.zeros(100, 1)])
    assert alerts({"holdout": "holdout-chr", **figures_of(source, half, target)}) == []


def test_holdouts_are_watched_on_the_way_and_alerts_are_heard(tmp_path: Path) -> None:
    genome = random_genome(tmp_path)
    build_states(rows_of_edits(genome), genome, tiny_encoder(tmp_path / "encoder"), tmp_path / "states")
    table = read_states(tmp_path / "states")
    names = pl.Series("holdout", ["holdout-chr", "holdout-clinvar"] * (table.keys.height // 2))
    # targets turned round, so that a model which learns the others is worse than no change here
    watched = replace(
        table, keys=table.keys.with_columns(names), targets=2 * table.batch.state[:, None] - table.targets
    )
    heard: list[str] = []
    settings = TrainingSettings("demo", 60, 64, 1e-3, seed_init=1, seed_order=2, validate_every=40)
    result = train(
        StateStore(tmp_path / "states"), settings, tmp_path / "run", Watchers(alert=heard.append, validation=watched)
    )
    assert [(row["step"], row["holdout"]) for row in result.validation] == [
        (40, "holdout-chr"),
        (40, "holdout-clinvar"),
        (60, "holdout-chr"),
        (60, "holdout-clinvar"),
    ]
    assert any(line.startswith("step 60: holdout-chr") and "worse than no change" in line for line in heard)
    unwatched = train(StateStore(tmp_path / "states"), settings, tmp_path / "alone")
    assert unwatched.history == result.history  # looking changes nothing
    weights = [(tmp_path / name / "predictor.safetensors").read_bytes() for name in ("run", "alone")]
    assert weights[0] == weights[1]


def test_event_files_are_written_where_they_are_asked_for(tmp_path: Path) -> None:
    pytest.importorskip("tensorboard", reason="the extra `tensorboard` is not installed")
    genome = random_genome(tmp_path)
    build_states(rows_of_edits(genome), genome, tiny_encoder(tmp_path / "encoder"), tmp_path / "states")
    settings = TrainingSettings("demo", 25, 16, 1e-3, seed_init=1, seed_order=2)
    watchers = Watchers(tensorboard=tmp_path / "events")
    train(StateStore(tmp_path / "states"), settings, tmp_path / "run", watchers)
    events = list((tmp_path / "events").glob("events.out.tfevents.*"))
    assert len(events) == 1 and b"learning_rate" in events[0].read_bytes()
