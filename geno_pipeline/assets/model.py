"""The trained predictor (spec 4)."""

from __future__ import annotations

import json
from typing import Any

import dagster as dg
import polars as pl

from geno_model.genomics.errors import InputError
from geno_model.predictor.world_model import WorldModel
from geno_model.training.loop import TrainingResult, TrainingSettings, Watchers, train
from geno_model.training.state_store import StateStore, read_sixmers
from geno_pipeline.assets import PROFILE, folder_asset, tell
from geno_pipeline.assets.states import open_states
from geno_pipeline.config import command, digest
from geno_pipeline.gates import require_checks
from geno_pipeline.pictures import line_picture
from geno_pipeline.storage import MadeWith, Storage, content_sha256, markdown_table

# How often a run is saved, and who looks on, changes no model.
OF_THE_WEIGHTS = PROFILE.model.model_dump(exclude={"save_every", "tensorboard"})


class StaleModelError(InputError):
    """A checkpoint that was trained with other settings, or on other states, than those that are there now."""


@folder_asset(
    "model",
    settings=[OF_THE_WEIGHTS],
    deps=["training_states", "validation_states", "training_edits", "validation_edits"],
)
def checkpoint(context: dg.AssetExecutionContext, storage: Storage) -> dg.MaterializeResult:
    """The predictor: from a state and an edit, where the state goes. Trained on the stored states alone.

    The holdouts are looked at on the way, for the curves and for warnings; they train nothing and choose nothing.
    A run that was killed goes on where it last saved.
    """
    require_checks(context)
    settings, store = training_settings(), open_states(storage, "training_states")
    watchers = Watchers(
        progress=tell(context, settings.n_steps, "steps"),
        alert=context.log.warning,
        validation=open_states(storage, "validation_states").table(),
        tensorboard=storage.path / "tensorboard" if PROFILE.model.tensorboard else None,
    )
    result = train(store, settings, storage.path / "checkpoint", watchers)
    return storage.folder_result(
        "checkpoint",
        {
            **{f"parameters_{part}": count for part, count in result.n_parameters.items()},
            "rows": result.n_rows,
            "steps": settings.n_steps,
            "tuples_per_second": round(result.tuples_per_second),
            "waiting_for_data": result.waiting_share,
            "seconds_to_first_step": result.seconds_to_first_step,
            "skill_on_training_rows": result.train_skill,
            **_curves(result),
        },
    )


def training_settings(**changes: Any) -> TrainingSettings:
    """The profile's training, with other values for some of its settings."""
    model = PROFILE.model
    values: dict[str, Any] = {
        "size": model.size,
        "n_steps": model.steps,
        "batch_size": model.batch_size,
        "learning_rate": model.learning_rate,
        "seed_init": model.seed,
        "seed_order": model.seed + 1,
        "micro_batch": model.micro_batch,
        "bf16": model.bf16,
        "save_every": model.save_every,
        "validate_every": model.validate_every,
    }
    return TrainingSettings(**values | changes)


def load_model(storage: Storage) -> WorldModel:
    """The trained model, for the assets after it."""
    return WorldModel.load(storage.path / "checkpoint", read_sixmers(storage.path / "training_states"))


def model_at_hand(storage: Storage, training: StateStore | None = None) -> MadeWith:
    """The trained model's mark, for what is made with it. training: the training states, where they are open already.

    Raises `StaleModelError` where the profile's settings or the training states are others than it was trained with.
    """
    folder = storage.path / "checkpoint"
    try:
        trained = json.loads((folder / "training.json").read_text())
    except (OSError, ValueError) as error:
        raise StaleModelError(f"{folder}: no trained model there ({error}); run: {command('train_model')}") from None
    settings = training_settings().of_the_weights
    differing = [
        f"{name} was {trained['settings'].get(name)!r} and is {value!r} now"
        for name, value in settings.items()
        if trained["settings"].get(name) != value
    ]
    if trained["dataset"] != (training or open_states(storage, "training_states")).snapshot:
        differing.append("it was trained on other states")
    if differing:
        raise StaleModelError(
            f"{folder}: the model is out of date: {'; '.join(differing)}. Train it again, or put back what has "
            f"changed; run: {command('train_model')}"
        )
    files = {path.name: path for path in folder.iterdir()}
    return MadeWith(content_sha256(files), digest(settings, PROFILE.calibration.window_policy, PROFILE.seed))


def _curves(result: TrainingResult) -> dict[str, dg.MetadataValue]:
    """The loss as a picture, and the figures of the holdouts as a table."""
    steps, losses = [point["step"] for point in result.history], [point["loss"] for point in result.history]
    found: dict[str, dg.MetadataValue] = {"loss": line_picture(steps, losses, "step", "loss / loss of no change")}
    if result.validation:
        frame = pl.DataFrame(result.validation).sort("holdout", "step")
        found["holdouts"] = dg.MetadataValue.md(markdown_table(frame))
        for (holdout,), rows in frame.group_by("holdout", maintain_order=True):
            curve = line_picture(rows["step"].to_list(), rows["skill"].to_list(), "step", "skill")
            found[f"skill_{str(holdout).replace('-', '_')}"] = curve
    return found
