"""The ablations: made by the job `ablate` alone, since they take many trainings (spec 4)."""

from __future__ import annotations

from typing import Any

import dagster as dg
import polars as pl

from geno_model.encoder.carbon import CarbonStateEncoder
from geno_model.training.state_store import StateStore
from geno_pipeline.assets import GENOME, PROFILE, open_genome, table_asset, tell
from geno_pipeline.assets.model import training_settings
from geno_pipeline.assets.states import ENCODER, open_states, read_contract
from geno_pipeline.build.states import build_states
from geno_pipeline.evaluation import ablation
from geno_pipeline.storage import Storage

PHASE_BP = 3
RADIUS_TOKENS = 64
LAYER = -1


@table_asset(
    "evaluation",
    settings=[PROFILE.model, PROFILE.state, PROFILE.ablation],
    deps=["training_states", "validation_states", "encoder_identity", *GENOME],
)
def ablations(
    context: dg.AssetExecutionContext, storage: Storage, training_edits: pl.DataFrame, validation_edits: pl.DataFrame
) -> pl.DataFrame:
    """Skill without each of the predictor's inputs, and with other states: what decided the defaults."""
    stores = {ablation.BASE: (open_states(storage, "training_states"), open_states(storage, "validation_states"))}
    changes: dict[str, dict[str, Any]] = {"layer": {"layer": LAYER}, "radius": {"radius_tokens": RADIUS_TOKENS}}
    for name in ablation.OTHER_STATES if PROFILE.ablation.other_states else ():
        context.log.info(f"states of {name}")
        rows = (training_edits, validation_edits) if name != "phase" else (_further_right(validation_edits),)
        made = [_states(storage, name, part, changes.get(name, {}), number) for number, part in enumerate(rows)]
        stores[name] = made[0], made[-1]
    first = PROFILE.model.seed
    seeds = range(first, first + 10 * PROFILE.ablation.seeds, 10)
    steps = PROFILE.ablation.steps or PROFILE.model.steps
    progress = tell(context, len(ablation.variants_of(stores)) * len(seeds), "trainings")
    return ablation.ablate(stores, training_settings(n_steps=steps), seeds, progress)


def _states(storage: Storage, name: str, rows: pl.DataFrame, changes: dict[str, Any], number: int) -> StateStore:
    """The states of rows under a contract that differs from the profile's in `changes`; kept from run to run."""
    settings = read_contract(storage).to_dict() | changes
    settings.pop("encoder_hash")
    encoder = CarbonStateEncoder.load(storage.path / ENCODER, settings)
    folder = storage.path / "ablation_states" / name / str(number)
    folder.mkdir(parents=True, exist_ok=True)
    build_states(rows, open_genome(), encoder, folder, contigs=PROFILE.contigs)
    return StateStore(folder)


def _further_right(rows: pl.DataFrame) -> pl.DataFrame:
    """The rows in windows that begin `PHASE_BP` later, where the contig has room for them."""
    lengths = pl.DataFrame(list(open_genome().contigs.items()), schema=["contig", "length_bp"], orient="row")
    moved = rows.with_columns(
        pl.col("window_start_bp") + PHASE_BP,
        pl.col("window_end_bp") + PHASE_BP,
        row_id=pl.col("row_id") + f"+{PHASE_BP}",
    ).join(lengths, on="contig", maintain_order="left")
    first = pl.col("edits").list.first().struct.field("pos") - 1 - pl.col("window_start_bp")
    fits = (pl.col("window_end_bp") <= pl.col("length_bp")) & (first >= 0)
    return moved.filter(fits).with_columns(pool_token=(first // 6).cast(rows.schema["pool_token"])).drop("length_bp")
