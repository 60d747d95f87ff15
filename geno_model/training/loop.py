"""The training loop: balanced batches of state rows, one loss, one checkpoint (spec 4).

Belongs here: the order of things in a run. Does not: which rows a batch has (`balance`), reading them (`batches`), the
loss (`step`), resuming (`checkpoint`), figures of the holdouts (`monitor`), several processes (`distributed`).

Deterministic: the same shards, settings and seeds give the same weights on the same machine and thread count, killed
and resumed or not. Batch and dropout of step i depend on (seed, i) alone.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import nn

from geno_model.files import remove_folder, replacing_folder
from geno_model.predictor.world_model import Size, WorldModel, model_config
from geno_model.training.batches import Batch, BatchSource, See, as_it_is
from geno_model.training.checkpoint import Progress, load_progress, partial_folder, save_progress
from geno_model.training.first_order import solve_first_order
from geno_model.training.monitor import alerts, validate
from geno_model.training.objective import last_step, skill, squared_distance
from geno_model.training.schedule import adamw, wsd
from geno_model.training.state_store import StateStore, StateTable
from geno_model.training.step import BatchLoss

if TYPE_CHECKING:
    from torch.utils.tensorboard.writer import SummaryWriter

CLIP_NORM = 1.0
LOG_EVERY = 25


@dataclass(frozen=True, slots=True)
class TrainingSettings:
    """How long and how fast; two recorded seeds, for initialisation (and dropout) and for the order of the data.

    micro_batch: rows that go through the model at once, all of a batch if None; the step is that of the whole batch.
    bf16: the model's blocks in bfloat16. save_every, validate_every: steps.
    """

    size: Size
    n_steps: int
    batch_size: int
    learning_rate: float
    seed_init: int
    seed_order: int
    micro_batch: int | None = None
    bf16: bool = False
    save_every: int = 500
    validate_every: int = 500

    @property
    def of_the_weights(self) -> dict[str, Any]:
        """What the weights and the figures beside them follow from: all but how often a run is saved."""
        return {name: value for name, value in asdict(self).items() if name != "save_every"}


@dataclass(frozen=True, slots=True)
class TrainingResult:
    """What a run did. history: a dict per logged step (step, loss as a share of that of no change, learning rate);
    validation: a dict per validated step and holdout (`monitor.figures_of`). Timings are of this process alone."""

    history: list[dict[str, float]]
    validation: list[dict[str, Any]]
    n_rows: int
    n_parameters: dict[str, int]
    output_scale: float
    train_skill: float
    tuples_per_second: float
    waiting_share: float
    seconds_to_first_step: float


@dataclass(frozen=True, slots=True)
class Ranks:
    """This process among those of a run (`distributed`), and where it computes; alone and on the CPU unless told."""

    rank: int = 0
    count: int = 1
    device: torch.device = torch.device("cpu")

    def part(self, batch_size: int) -> slice:
        """The rows of a global batch that are this process's."""
        if batch_size % self.count:
            raise ValueError(f"a batch of {batch_size} rows cannot be parted among {self.count} processes evenly")
        return slice(self.rank * batch_size // self.count, (self.rank + 1) * batch_size // self.count)


@dataclass(slots=True)
class Watchers:
    """Who is told: progress(steps done) before the first step and after each, alert(sentence) where figures are bad.

    validation: rows of the holdouts, which are watched and choose nothing. tensorboard: folder of event files.
    """

    progress: Callable[[int], None] | None = None
    alert: Callable[[str], None] | None = None
    validation: StateTable | None = None
    tensorboard: Path | None = None


def default_device() -> torch.device:
    """The first GPU where there is one, else the CPU."""
    return torch.device("cuda" if torch.cuda.is_available() else "cpu")


def train(
    store: StateStore,
    settings: TrainingSettings,
    folder: Path,
    watchers: Watchers | None = None,
    ranks: Ranks | None = None,
    see: See = as_it_is,
) -> TrainingResult:
    """Train a world model on `store` and write the checkpoint folder (atomically, replacing an older one).

    The checkpoint holds the model's three files, `training.json` (settings, result) and `contract.json`. A run of the
    same data and settings that was killed goes on where it last wrote `<folder>.partial`. see: what the model gets to
    see of a batch; all of it but in ablations.
    Raises `ResumeError` where an unfinished run of other data, settings or encoder lies there.
    """
    began, watchers, ranks = time.monotonic(), watchers or Watchers(), ranks or Ranks(device=default_device())
    torch.use_deterministic_algorithms(True)
    source = BatchSource(store, settings.batch_size, settings.seed_order, see=see)
    run = _Run(_new_model(store, source.sample, settings).to(ranks.device), settings, watchers, ranks)
    identity = {
        **settings.of_the_weights,
        "dataset": store.snapshot,
        "contract": store.contract.digest,
        "n_processes": ranks.count,
    }
    done = load_progress(folder, run.model, run.optimiser, identity)
    first = done.step
    run.go_on(source, done, lambda: save_progress(folder, run.model, run.optimiser, done, identity), began)
    seconds = max(time.monotonic() - run.first_step_at, 1e-9)
    result = TrainingResult(
        history=done.history,
        validation=done.validation,
        n_rows=len(store),
        n_parameters=run.model.n_parameters(),
        output_scale=float(run.model.predictor.get_buffer("output_scale")),
        train_skill=_skill_of(run.model, source.sample),
        tuples_per_second=(settings.n_steps - first) * settings.batch_size / seconds,
        waiting_share=source.waited_s / seconds,
        seconds_to_first_step=run.first_step_at - began,
    )
    if ranks.rank == 0:
        _write_checkpoint(run.model, store, settings, result, folder)
    return result


def _new_model(store: StateStore, sample: Batch, settings: TrainingSettings) -> WorldModel:
    """A model from the seed, its output scale and first-order term set from the sample."""
    torch.manual_seed(settings.seed_init)
    d_state = sample.targets.shape[-1]
    model = WorldModel(model_config(settings.size, d_state, store.contract.context), store.sixmer_embeddings)
    moved = squared_distance(sample.rows.state[:, None], sample.targets)[sample.rows.mask]
    model.predictor.get_buffer("output_scale").fill_(float(moved.double().mean().sqrt()))
    solve_first_order(model.predictor, sample.rows, sample.targets, sample.naive)
    return model


class _Run:
    """The model, its optimiser and who watches, from one step to the last."""

    def __init__(self, model: WorldModel, settings: TrainingSettings, watchers: Watchers, ranks: Ranks) -> None:
        self.model, self.settings, self.watchers, self.ranks = model, settings, watchers, ranks
        self.optimiser = adamw(model, settings.learning_rate)
        self.loss: nn.Module = BatchLoss(model, bf16=settings.bf16)
        if ranks.count > 1:
            # Rows of one edit alone leave some attention weights without a gradient.
            self.loss = nn.parallel.DistributedDataParallel(self.loss, find_unused_parameters=True)
        self.first_step_at = time.monotonic()

    def go_on(self, source: BatchSource, done: Progress, save: Callable[[], None], began: float) -> None:
        """All steps that are left; `done` is brought up to date, `save` called now and then."""
        settings, writer = self.settings, self._writer()
        self.model.train()
        if self.watchers.progress:
            self.watchers.progress(done.step)
        first, self.first_step_at = done.step, time.monotonic()
        for batch in source.batches(first, settings.n_steps, self.ranks.part(settings.batch_size)):
            done.running += self._step(batch, done.step)
            if done.step == first:
                self.first_step_at = time.monotonic() if settings.n_steps > first + 1 else self.first_step_at
            done.step += 1
            is_last = done.step == settings.n_steps
            if done.step % LOG_EVERY == 0:
                rate = settings.learning_rate * wsd(done.step - 1, settings.n_steps)
                done.history.append({"step": done.step, "loss": done.running / LOG_EVERY, "learning_rate": rate})
                done.running = 0.0
                _write_scalars(writer, done.history[-1])
            if self.ranks.rank == 0 and (is_last or done.step % settings.validate_every == 0):
                self._validate(done, writer)
            if self.ranks.rank == 0 and not is_last and done.step % settings.save_every == 0:
                save()
            if self.watchers.progress:
                self.watchers.progress(done.step)
        if writer is not None:
            writer.close()

    def _step(self, batch: Batch, step: int) -> float:
        """One step of the optimiser; returns the loss, the mean over all processes."""
        settings, n_rows = self.settings, len(batch.naive)
        torch.manual_seed(int(np.random.default_rng((settings.seed_init, step, self.ranks.rank)).integers(2**62)))
        for group in self.optimiser.param_groups:
            group["lr"] = settings.learning_rate * wsd(step, settings.n_steps)
        self.optimiser.zero_grad()
        total = torch.zeros((), device=self.ranks.device)
        for index in torch.arange(n_rows).split(settings.micro_batch or n_rows):
            part = (batch if len(index) == n_rows else batch.part(index)).to(self.ranks.device)
            loss = self.loss(part.rows, part.targets, part.naive) * (len(index) / n_rows)
            loss.backward()
            total += loss.detach()
        nn.utils.clip_grad_norm_(self.model.parameters(), CLIP_NORM)
        self.optimiser.step()
        if self.ranks.count > 1:
            torch.distributed.all_reduce(total)
            total /= self.ranks.count
        return float(total)

    def _validate(self, done: Progress, writer: SummaryWriter | None) -> None:
        if self.watchers.validation is None:
            return
        for figures in validate(self.model, self.watchers.validation):
            done.validation.append({"step": done.step, **figures})
            _write_scalars(writer, done.validation[-1], f"{figures['holdout']}/")
            for sentence in alerts(figures) if self.watchers.alert else ():
                self.watchers.alert(f"step {done.step}: {sentence}")  # type: ignore[misc]

    def _writer(self) -> SummaryWriter | None:
        if self.watchers.tensorboard is None or self.ranks.rank:
            return None
        try:
            from torch.utils.tensorboard.writer import SummaryWriter
        except ImportError as error:
            raise ImportError("TensorBoard files were asked for: pip install '.[tensorboard]'") from error
        return SummaryWriter(str(self.watchers.tensorboard))


def _write_scalars(writer: SummaryWriter | None, values: dict[str, Any], prefix: str = "") -> None:
    if writer is not None:
        for name, value in values.items():
            if name != "step" and isinstance(value, int | float):
                writer.add_scalar(prefix + name, value, int(values["step"]))


def predict_table(model: WorldModel, table: StateTable, batch_size: int = 512) -> torch.Tensor:
    """Predictions (n, K, d) for every row of a table; zero where padded."""
    predicted = torch.zeros_like(table.targets)
    for index in torch.arange(len(predicted)).split(batch_size):
        rows = table.batch.rows(index)
        predicted[index, : rows.mask.shape[1]] = model.predict(rows) * rows.mask[..., None]
    return predicted


def _skill_of(model: WorldModel, sample: Batch, batch_size: int = 512) -> float:
    """Skill at the last step of every row."""
    parts = [sample.part(index) for index in torch.arange(len(sample.naive)).split(batch_size)]
    device = next(model.parameters()).device
    predicted = torch.cat([model.predict_haplotype(part.rows.to(device)).cpu() for part in parts])
    return skill(predicted, last_step(sample.targets, sample.rows.mask), sample.rows.state)


def _write_checkpoint(
    model: WorldModel, store: StateStore, settings: TrainingSettings, result: TrainingResult, folder: Path
) -> None:
    values: dict[str, Any] = asdict(result)
    for timing in ("tuples_per_second", "waiting_share", "seconds_to_first_step"):
        values.pop(timing)  # a checkpoint of the same run is the same to the byte
    values |= {"settings": settings.of_the_weights, "dataset": store.snapshot}
    with replacing_folder(folder) as temporary:
        model.save(temporary)
        (temporary / "training.json").write_text(json.dumps(values, sort_keys=True, indent=1) + "\n")
        (temporary / "contract.json").write_text(json.dumps(store.contract.to_dict(), sort_keys=True, indent=1) + "\n")
    remove_folder(partial_folder(folder))
