"""The trained predictor (spec 4)."""

from __future__ import annotations

from typing import Any

import dagster as dg
import polars as pl

from geno_model.predictor.world_model import WorldModel
from geno_model.training.loop import TrainingResult, TrainingSettings, Watchers, train
from geno_model.training.state_store import StateStore, read_sixmers, read_states
from geno_pipeline.assets import PROFILE, folder_asset, tell
from geno_pipeline.pictures import line_picture
from geno_pipeline.storage import Storage, markdown_table


@folder_asset("model", settings=[PROFILE.model], deps=["training_states", "validation_states"])
def checkpoint(context: dg.AssetExecutionContext, storage: Storage) -> dg.MaterializeResult:
    """The predictor: from a state and an edit, where the state goes. Trained on the stored states alone.

    The holdouts are looked at on the way, for the curves and for warnings; they train nothing and choose nothing.
    A run that was killed goes on where it last saved.
    """
    settings = training_settings()
    watchers = Watchers(
        progress=tell(context, settings.n_steps, "steps"),
        alert=context.log.warning,
        validation=read_states(storage.path / "validation_states"),
        tensorboard=storage.path / "tensorboard" if PROFILE.model.tensorboard else None,
    )
    store = StateStore(storage.path / "training_states")
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
