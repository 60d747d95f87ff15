"""Objective, schedule, sampling and the loop (spec 4)."""

from __future__ import annotations

import json
import shutil
import signal
import subprocess
import sys
from collections import Counter
from dataclasses import asdict, replace
from itertools import count
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from geno_model.files import replacing_folder
from geno_model.genomics.edits import EditType
from geno_model.predictor.world_model import WorldModel, model_config
from geno_model.training import loop
from geno_model.training.balance import naive_losses, row_sampler
from geno_model.training.batches import BatchSource
from geno_model.training.checkpoint import Progress, ResumeError, load_progress, partial_folder, save_progress
from geno_model.training.first_order import PENALTIES, ridge, solve_first_order
from geno_model.training.loop import Ranks, TrainingSettings, Watchers, predict_table, train
from geno_model.training.objective import last_step, raw_loss, skill
from geno_model.training.schedule import adamw, wsd
from geno_model.training.state_store import StateStore, read_states
from geno_model.training.step import batch_loss
from geno_pipeline.build.states import build_states
from tests.killing import killed_before
from tests.unit.encoders import tiny_encoder
from tests.unit.training_rows import random_genome, rows_of_edits

SETTINGS = TrainingSettings("demo", n_steps=75, batch_size=64, learning_rate=1e-3, seed_init=1, seed_order=2)
FILES = ("predictor.safetensors", "action_encoder.safetensors", "model.json", "training.json", "contract.json")


@pytest.fixture(scope="module")
def states(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A store of SNVs alone and in pairs, on random DNA."""
    folder = tmp_path_factory.mktemp("training")
    genome = random_genome(folder)
    build_states(rows_of_edits(genome), genome, tiny_encoder(folder / "encoder", context="pool"), folder / "states")
    return folder / "states"


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
    rows_of = row_sampler(types, k, 1_000, seed=4)
    drawn = np.concatenate([rows_of(step) for step in range(40)])
    kinds = Counter("several" if k[row] > 1 else EditType(int(types[row])).name for row in drawn)
    total = 0.9 * 0.8 + 0.1  # MNV and INDEL have no rows
    for kind, share in (("SNV", 0.36), ("INS", 0.18), ("DEL", 0.18), ("several", 0.1)):
        assert kinds[kind] / len(drawn) == pytest.approx(share / total, abs=0.01)
    np.testing.assert_array_equal(rows_of(7), rows_of(7))
    assert (rows_of(7) != rows_of(8)).any()


def test_each_kind_is_measured_by_its_own_no_change() -> None:
    types, k = np.array([0, 0, 1, 0]), np.array([1, 1, 1, 2])
    np.testing.assert_array_equal(naive_losses(np.array([1.0, 3.0, 7.0, 5.0]), types, k), [2, 2, 7, 5])


def test_rows_of_one_edit_and_of_several_apart_give_the_loss_of_the_whole_batch(states: Path) -> None:
    table = read_states(states)
    model = WorldModel(model_config("demo", table.targets.shape[-1], "pool"), table.sixmer_embeddings).eval()
    torch.nn.init.normal_(model.predictor.get_parameter("out.3.weight"), std=0.1)
    index = torch.arange(20)
    rows, naive = table.batch.rows(index), torch.rand(20) + 0.5
    targets = table.targets[index, : rows.mask.shape[1]]
    assert set(rows.mask.sum(dim=1).tolist()) == {1, 2}
    whole = (raw_loss(model(rows), targets, rows.mask) / naive).mean()
    torch.testing.assert_close(batch_loss(model, rows, targets, naive), whole, atol=1e-6, rtol=1e-5)


def test_the_first_order_term_finds_a_linear_law(states: Path) -> None:
    table = read_states(states)
    d = table.targets.shape[-1]
    model = WorldModel(model_config("demo", d, "pool"), table.sixmer_embeddings)
    law = torch.randn(3 * d, d, generator=torch.Generator().manual_seed(3)) * 0.1
    targets = (table.batch.state[:, None] + table.batch.shift @ law) * table.batch.mask[..., None]
    solve_first_order(model.predictor, table.batch, targets, torch.ones(len(targets)))
    predicted = model.predict(table.batch)
    unit = torch.nn.functional.normalize(targets, dim=-1)
    assert skill(predicted[table.batch.mask], unit[table.batch.mask], table.batch.state.repeat_interleave(
        table.batch.mask.sum(dim=1), dim=0)) > 0.95  # fmt: skip


def test_the_penalty_is_that_of_the_least_cross_validation_error() -> None:
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(40, 30, generator=generator, dtype=torch.float64)
    noise = torch.randn(40, 3, generator=generator, dtype=torch.float64)

    def fit(y: torch.Tensor, penalty: float) -> torch.Tensor:
        return torch.linalg.solve(x.T @ x + penalty * torch.eye(30), x.T @ y)

    def score(y: torch.Tensor, penalty: float) -> float:  # Golub, Heath and Wahba 1979, by the book
        hat = x @ torch.linalg.solve(x.T @ x + penalty * torch.eye(30), x.T)
        return float((y - hat @ y).square().sum() / (1 - hat.trace() / 40) ** 2)

    chosen = []
    for y in (noise, x @ torch.ones(30, 3, dtype=torch.float64) + 0.1 * noise):
        penalties = (PENALTIES.double() * torch.linalg.eigvalsh(x.T @ x).mean()).tolist()
        chosen.append(min(penalties, key=lambda penalty: score(y, penalty)))
        torch.testing.assert_close(ridge(x, y), fit(y, chosen[-1]), atol=1e-8, rtol=1e-6)
    assert chosen[0] > 10 * chosen[1]  # noise is shrunk, a law is not


def test_training_learns_and_is_deterministic(states: Path, tmp_path: Path) -> None:
    store = StateStore(states)
    result = train(store, SETTINGS, tmp_path / "a")
    train(store, SETTINGS, tmp_path / "b")
    for name in FILES:
        assert (tmp_path / "a" / name).read_bytes() == (tmp_path / "b" / name).read_bytes()
    assert result.train_skill > 0.5
    assert [point["step"] for point in result.history] == [25, 50, 75]
    assert result.seconds_to_first_step < 5 and 0 <= result.waiting_share < 1
    table = read_states(states)
    predicted = predict_table(WorldModel.load(tmp_path / "a", table.sixmer_embeddings), table)
    assert predicted.shape == table.targets.shape and not predicted[~table.batch.mask].any()


def test_a_store_beyond_the_budget_gives_the_same_batches(states: Path) -> None:
    store = StateStore(states)
    in_memory, from_files = BatchSource(store, 16, 5), BatchSource(store, 16, 5, memory_bytes=0)
    for one, other in zip(in_memory.batches(3, 6), from_files.batches(3, 6), strict=True):
        for name in ("state", "rel_pos", "shift", "locus", "mask"):
            assert torch.equal(getattr(one.rows, name), getattr(other.rows, name))
        assert torch.equal(one.targets, other.targets) and torch.equal(one.naive, other.naive)


def test_parts_of_a_batch_add_up_to_the_step_of_the_whole(states: Path, tmp_path: Path) -> None:
    store = StateStore(states)
    settings = replace(SETTINGS, size="small", n_steps=2, batch_size=16)  # this size has no dropout
    whole = train(store, replace(settings, n_steps=25), tmp_path / "whole")
    parts = train(store, replace(settings, n_steps=25, micro_batch=5), tmp_path / "parts")
    assert parts.history[0]["loss"] == pytest.approx(whole.history[0]["loss"], rel=1e-3)


def test_bf16_trains_as_well(states: Path, tmp_path: Path) -> None:
    assert train(StateStore(states), replace(SETTINGS, bf16=True), tmp_path / "bf16").train_skill > 0.5


def killed_after(states: Path, folder: Path, settings: TrainingSettings, step: int) -> None:
    """A run in a process of its own that is killed, without warning, in the middle of a step."""
    program = (
        "import json, os, signal, sys; from pathlib import Path\n"
        "from geno_model.training.loop import *\nfrom geno_model.training.state_store import StateStore\n"
        "settings = TrainingSettings(**json.loads(sys.argv[3]))\n"
        f"die = lambda step: os.kill(os.getpid(), signal.SIGKILL) if step == {step} else None\n"
        "train(StateStore(Path(sys.argv[1])), settings, Path(sys.argv[2]), Watchers(progress=die))"
    )
    arguments = [sys.executable, "-c", program, str(states), str(folder), json.dumps(asdict(settings))]
    assert subprocess.run(arguments, check=False).returncode == -signal.SIGKILL


def test_killed_at_any_step_of_saving_one_of_two_states_is_whole(tmp_path: Path) -> None:
    folder, identity, seen = tmp_path / "checkpoint", {"dataset": "a"}, set()

    def state(value: float) -> tuple[torch.nn.Module, torch.optim.Optimizer]:
        """Weights and moments of one value."""
        model = torch.nn.Linear(3, 2)
        optimiser = adamw(model, 1e-3)
        for parameter in model.parameters():
            parameter.data.fill_(value)
            optimiser.state[parameter] = {"exp_avg": torch.full_like(parameter, value)}
        return model, optimiser

    def save(step: int) -> None:
        save_progress(folder, *state(step), Progress(step, history=[{"step": step}]), identity)

    for number in count():
        save(1)
        is_killed = killed_before(number, lambda: save(2))
        model, optimiser = state(0)
        step = load_progress(folder, model, optimiser, identity).step
        for parameter in model.parameters():
            assert (parameter == step).all() and (optimiser.state[parameter]["exp_avg"] == step).all()
        assert [path.name for path in tmp_path.iterdir()] == ["checkpoint.partial"]
        seen.add(step)
        if not is_killed:
            break
    assert seen == {1, 2} and step == 2


def test_killed_at_any_step_of_its_end_a_run_is_resumed_to_the_same_bytes(
    states: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The end: the checkpoint is written in the place of an older one, and the unfinished run is removed."""
    store, settings = StateStore(states), replace(SETTINGS, n_steps=2, save_every=1)
    written: list[tuple[Any, ...]] = []
    monkeypatch.setattr(loop, "_write_checkpoint", lambda *of: written.append(of))
    train(store, settings, tmp_path / "killed")  # all but the end
    monkeypatch.undo()
    train(store, settings, tmp_path / "whole")
    shutil.copytree(partial_folder(tmp_path / "killed"), tmp_path / "begun")
    left: set[tuple[bool, bool]] = set()
    for number in count():
        if not partial_folder(tmp_path / "killed").exists():
            shutil.copytree(tmp_path / "begun", partial_folder(tmp_path / "killed"))
        with replacing_folder(tmp_path / "killed") as older:
            (older / "model.json").touch()
        if not killed_before(number, lambda: loop._write_checkpoint(*written[0])):
            break
        is_new = (tmp_path / "killed" / "training.json").exists()
        case = is_new, partial_folder(tmp_path / "killed").exists()
        assert case != (False, False)
        if case not in left:  # the others are no different
            train(store, settings, tmp_path / "killed")
            for name in FILES:
                assert (tmp_path / "whole" / name).read_bytes() == (tmp_path / "killed" / name).read_bytes()
            assert sorted(path.name for path in tmp_path.iterdir()) == ["begun", "killed", "whole"]
        left.add(case)
    assert left == {(False, True), (True, True), (True, False)}


@pytest.mark.slow
def test_a_killed_run_goes_on_to_the_same_bytes(states: Path, tmp_path: Path) -> None:
    settings = replace(SETTINGS, save_every=20)
    train(StateStore(states), settings, tmp_path / "whole")
    killed_after(states, tmp_path / "killed", settings, 53)
    assert not (tmp_path / "killed").exists()
    assert json.loads((partial_folder(tmp_path / "killed") / "run.json").read_text())["step"] == 40
    seen: list[int] = []
    train(StateStore(states), settings, tmp_path / "killed", Watchers(progress=seen.append))
    assert seen[:2] == [40, 41]
    for name in FILES:
        assert (tmp_path / "whole" / name).read_bytes() == (tmp_path / "killed" / name).read_bytes()
    assert not partial_folder(tmp_path / "killed").exists()


def test_an_unfinished_run_of_other_settings_or_data_is_refused(states: Path, tmp_path: Path) -> None:
    settings = replace(SETTINGS, save_every=2, n_steps=6)
    killed_after(states, tmp_path / "run", settings, 4)
    with pytest.raises(ResumeError, match=r"learning_rate was 0\.001 and is 0\.002.*remove that folder"):
        train(StateStore(states), replace(settings, learning_rate=2e-3), tmp_path / "run")
    genome = random_genome(tmp_path)
    encoder = tiny_encoder(tmp_path / "encoder", context="pool")
    build_states(rows_of_edits(genome, per_window=8), genome, encoder, tmp_path / "states")
    with pytest.raises(ResumeError, match="dataset was"):
        train(StateStore(tmp_path / "states"), settings, tmp_path / "run")
    (partial_folder(tmp_path / "run") / "run.json").write_text("{")
    with pytest.raises(ResumeError, match="cannot be read"):
        train(StateStore(states), settings, tmp_path / "run")


def test_ranks_part_a_batch_without_rest() -> None:
    parts = [Ranks(rank, 4).part(64) for rank in range(4)]
    assert [row for part in parts for row in range(64)[part]] == list(range(64))
    with pytest.raises(ValueError, match="66 rows cannot be parted among 4"):
        Ranks(0, 4).part(66)


@pytest.mark.slow
def test_two_processes_have_the_losses_of_one(states: Path, tmp_path: Path) -> None:
    settings = replace(SETTINGS, size="small", n_steps=50, batch_size=8)  # this size has no dropout
    one = train(StateStore(states), settings, tmp_path / "one")
    (tmp_path / "settings.json").write_text(json.dumps(asdict(settings)))
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2", "-m"]
    command += ["geno_model.training.distributed", str(states), str(tmp_path / "two")]
    done = subprocess.run([*command, "--settings", str(tmp_path / "settings.json")], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    two = json.loads((tmp_path / "two" / "training.json").read_text())
    assert [point["step"] for point in two["history"]] == [25, 50]
    for mine, theirs in zip(one.history, two["history"], strict=True):
        # The gradient's sums are split, so last digits differ, and that grows over the steps: 0.003 on one CPU.
        assert theirs["loss"] == pytest.approx(mine["loss"], rel=1e-2)
