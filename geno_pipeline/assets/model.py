"""The trained predictor (spec 4)."""

from __future__ import annotations

import dagster as dg

from geno_model.predictor.world_model import WorldModel
from geno_model.training.loop import TrainingSettings, train
from geno_model.training.state_store import read_sixmers, read_states
from geno_pipeline.assets import PROFILE, folder_asset
from geno_pipeline.pictures import line_picture
from geno_pipeline.storage import Storage


@folder_asset("model", settings=[PROFILE.model], deps=["training_states"])
def checkpoint(storage: Storage) -> dg.MaterializeResult:
    """The predictor: from a state and an edit, where the state goes. Trained on the stored states alone."""
    settings = PROFILE.model
    table = read_states(storage.path / "training_states")
    result = train(
        table,
        TrainingSettings(
            size=settings.size,
            n_steps=settings.steps,
            batch_size=settings.batch_size,
            learning_rate=settings.learning_rate,
            seed_init=settings.seed,
            seed_order=settings.seed + 1,
        ),
        storage.path / "checkpoint",
    )
    steps, losses = [point["step"] for point in result.history], [point["loss"] for point in result.history]
    return storage.folder_result(
        "checkpoint",
        {
            **{f"parameters_{part}": count for part, count in result.n_parameters.items()},
            "rows": result.n_rows,
            "steps": settings.steps,
            "tuples_per_second": round(settings.steps * settings.batch_size / result.seconds),
            **{f"gain_{kind}": gain for kind, gain in result.gain.items()},
            "skill_on_training_rows": result.train_skill,
            "loss": line_picture(steps, losses, "step", "loss / loss of no change"),
        },
    )


def load_model(storage: Storage) -> WorldModel:
    """The trained model, for the assets after it."""
    return WorldModel.load(storage.path / "checkpoint", read_sixmers(storage.path / "training_states"))
