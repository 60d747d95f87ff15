"""The training loop: balanced batches of state rows, one loss, one checkpoint (spec 4).

Deterministic: the same shards, settings and seeds give the same weights on the same machine and thread count. The batch
of step i depends on (order seed, i) alone.
"""

from __future__ import annotations

import json
import os
import shutil
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from geno_model.genomics.edits import EditType
from geno_model.predictor.world_model import Size, WorldModel, model_config
from geno_model.training.objective import last_step, raw_loss, safe_gain, skill, squared_distance
from geno_model.training.schedule import adamw, wsd
from geno_model.training.state_store import StateTable

TYPE_SHARES = {EditType.SNV: 0.4, EditType.INS: 0.2, EditType.DEL: 0.2, EditType.MNV: 0.1, EditType.INDEL: 0.1}
MULTI_EDIT_SHARE = 0.1
CLIP_NORM = 1.0
LOG_EVERY = 25
HELD_BACK_SHARE = 0.1
MIN_GAIN_ROWS = 20


@dataclass(frozen=True, slots=True)
class TrainingSettings:
    """How long and how fast; two recorded seeds, for initialisation and for the order of the data."""

    size: Size
    n_steps: int
    batch_size: int
    learning_rate: float
    seed_init: int
    seed_order: int


@dataclass(frozen=True, slots=True)
class TrainingResult:
    """What a run did. `history`: a dict per logged step (step, loss as a share of that of no change, learning rate)."""

    history: list[dict[str, float]]
    n_rows: int
    n_parameters: dict[str, int]
    output_scale: float
    train_skill: float
    gain: dict[str, float]
    seconds: float


def row_kinds(edit_type: NDArray[np.integer], k: NDArray[np.integer]) -> list[tuple[float, NDArray[np.bool_]]]:
    """The kinds of rows that are balanced: (share of a batch, which rows) for each edit type, and for multi-edit rows.

    A kind that has no rows is left out, and its share goes to the others in proportion.
    """
    kinds = [
        (share * (1 - MULTI_EDIT_SHARE), (k == 1) & (edit_type == int(kind))) for kind, share in TYPE_SHARES.items()
    ]
    present = [(share, rows) for share, rows in [*kinds, (MULTI_EDIT_SHARE, k > 1)] if rows.any()]
    total = sum(share for share, _ in present)
    return [(share / total, rows) for share, rows in present]


def row_probabilities(
    edit_type: NDArray[np.integer], k: NDArray[np.integer], held_back: NDArray[np.bool_]
) -> NDArray[np.float64]:
    """Probability of each row in a batch: types by their shares among single edits, 10 % multi-edit rows."""
    probability = np.zeros(len(k))
    for share, rows in row_kinds(edit_type, k):
        probability[rows & ~held_back] = share / max(1, (rows & ~held_back).sum())
    return probability / probability.sum()


def held_back_rows(table: StateTable, seed: int) -> NDArray[np.bool_]:
    """Rows (n,) of a tenth of the windows, chosen by the seed: not trained on, but used to fit the gains."""
    windows = table.keys.select("contig", "window_start_bp").unique().sort("contig", "window_start_bp")
    chosen = np.random.default_rng(seed).permutation(windows.height)[: round(HELD_BACK_SHARE * windows.height)]
    marked = table.keys.join(
        windows[chosen].with_columns(held=True), on=windows.columns, how="left", maintain_order="left"
    )
    return marked["held"].fill_null(False).to_numpy()


def fit_gains(model: WorldModel, table: StateTable, held_back: NDArray[np.bool_]) -> dict[str, float]:
    """Set the model's gain of each edit type from held-back single edits.

    A type with fewer than 20 of them takes the smallest gain of its sort (edits that keep the length of the DNA, edits
    that change it); a sort without any keeps 1.
    """
    edit_type, k = table.keys["edit_type"].to_numpy(), table.keys["k"].to_numpy()
    predicted = predict_table(model, table)
    gains = {}
    for kind in TYPE_SHARES:
        rows = torch.from_numpy(held_back & (k == 1) & (edit_type == int(kind)))
        if int(rows.sum()) >= MIN_GAIN_ROWS:
            gains[kind] = safe_gain(predicted[rows, 0], table.targets[rows, 0], table.batch.state[rows])
    for sort in ((EditType.SNV, EditType.MNV), (EditType.INS, EditType.DEL, EditType.INDEL)):
        fallback = min((gains[kind] for kind in sort if kind in gains), default=1.0)
        for kind in sort:
            model.predictor.get_buffer("gain")[kind] = gains.get(kind, fallback)
    return {kind.name: float(model.predictor.get_buffer("gain")[kind]) for kind in TYPE_SHARES}


def naive_losses(
    raw: NDArray[np.floating], edit_type: NDArray[np.integer], k: NDArray[np.integer]
) -> NDArray[np.float32]:
    """The mean loss of "no change" over the rows of each row's kind, (n,): what a row's loss is divided by.

    One number for all would leave SNVs nothing to say: a frame-shifting indel moves the state some ten times as far.
    """
    naive = np.empty(len(k), dtype=np.float32)
    for _, rows in row_kinds(edit_type, k):
        naive[rows] = raw[rows].mean()
    return naive


def train(
    table: StateTable, settings: TrainingSettings, folder: Path, progress: Callable[[int, int], None] | None = None
) -> TrainingResult:
    """Train a world model on `table` and write the checkpoint folder (atomically, replacing an older one).

    The checkpoint holds the model's three files, `training.json` (settings, result) and `contract.json`.
    """
    started = time.monotonic()
    torch.use_deterministic_algorithms(True)
    torch.manual_seed(settings.seed_init)
    d_state = table.targets.shape[-1]
    model = WorldModel(model_config(settings.size, d_state, table.contract.context), table.sixmer_embeddings)
    moved = squared_distance(table.batch.state[:, None], table.targets)[table.batch.mask]
    model.predictor.get_buffer("output_scale").fill_(float(moved.double().mean().sqrt()))
    held_back = held_back_rows(table, settings.seed_order)
    history = _optimise(model, table, settings, held_back, progress)
    result = TrainingResult(
        history=history,
        n_rows=len(held_back),
        n_parameters=model.n_parameters(),
        output_scale=float(model.predictor.get_buffer("output_scale")),
        gain=fit_gains(model, table, held_back),
        train_skill=skill_of(model, table),
        seconds=time.monotonic() - started,
    )
    _write_checkpoint(model, table, settings, result, folder)
    return result


def _optimise(
    model: WorldModel,
    table: StateTable,
    settings: TrainingSettings,
    held_back: NDArray[np.bool_],
    progress: Callable[[int, int], None] | None,
) -> list[dict[str, float]]:
    """All steps of a run; returns its history."""
    edit_type, k = table.keys["edit_type"].to_numpy(), table.keys["k"].to_numpy()
    probability = row_probabilities(edit_type, k, held_back)
    no_change = raw_loss(table.batch.state[:, None].expand_as(table.targets), table.targets, table.batch.mask)
    naive = torch.from_numpy(naive_losses(no_change.numpy(), edit_type, k))
    optimiser = adamw(model, settings.learning_rate)
    schedule = torch.optim.lr_scheduler.LambdaLR(optimiser, lambda step: wsd(step, settings.n_steps))
    history: list[dict[str, float]] = []
    running = 0.0
    model.train()
    for step in range(settings.n_steps):
        order = np.random.default_rng((settings.seed_order, step))
        index = torch.from_numpy(order.choice(len(probability), settings.batch_size, p=probability))
        rows = table.batch.rows(index)
        targets = table.targets[index, : rows.mask.shape[1]]
        loss = (raw_loss(model(rows), targets, rows.mask) / naive[index]).mean()
        optimiser.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), CLIP_NORM)
        optimiser.step()
        running += float(loss.detach())
        if (step + 1) % LOG_EVERY == 0:
            rate = float(schedule.get_last_lr()[0])
            history.append({"step": step + 1, "loss": running / LOG_EVERY, "learning_rate": rate})
            running = 0.0
        schedule.step()
        if progress:
            progress(step + 1, settings.n_steps)
    return history


def predict_table(model: WorldModel, table: StateTable, batch_size: int = 512) -> torch.Tensor:
    """Predictions (n, K, d) for every row of a table; zero where padded."""
    predicted = torch.zeros_like(table.targets)
    for start in range(0, len(predicted), batch_size):
        index = torch.arange(start, min(start + batch_size, len(predicted)))
        rows = table.batch.rows(index)
        predicted[index, : rows.mask.shape[1]] = model.predict(rows) * rows.mask[..., None]
    return predicted


def skill_of(model: WorldModel, table: StateTable) -> float:
    """Skill at the last step of every row."""
    mask = table.batch.mask
    return skill(last_step(predict_table(model, table), mask), last_step(table.targets, mask), table.batch.state)


def _write_checkpoint(
    model: WorldModel, table: StateTable, settings: TrainingSettings, result: TrainingResult, folder: Path
) -> None:
    temporary = folder.with_name(f".{folder.name}.{os.getpid()}.tmp")
    temporary.mkdir(parents=True)
    model.save(temporary)
    values: dict[str, Any] = asdict(result)
    values.pop("seconds")  # a checkpoint of the same run is the same to the byte
    (temporary / "training.json").write_text(
        json.dumps({"settings": asdict(settings), **values}, sort_keys=True, indent=1) + "\n"
    )
    (temporary / "contract.json").write_text(json.dumps(table.contract.to_dict(), sort_keys=True, indent=1) + "\n")
    if folder.exists():
        shutil.rmtree(folder)
    os.replace(temporary, folder)
