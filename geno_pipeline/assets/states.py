"""The encoder, the state contract, and the states that the predictor learns from (spec 2, 3)."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import dagster as dg
import numpy as np
import polars as pl

from geno_model.encoder.carbon import CarbonStateEncoder, load_encoder
from geno_model.encoder.noise import measure_noise
from geno_model.encoder.pool_shift import load_sixmer_states, save_sixmer_states
from geno_model.encoder.state_contract import StateContract
from geno_model.files import replacing_folder
from geno_model.training.shards import ShardError
from geno_model.training.state_store import StateStore
from geno_pipeline.assets import GENOME, PROFILE, folder_asset, open_genome, tell
from geno_pipeline.build.pretraining import PretrainSettings, pretrain
from geno_pipeline.build.states import build_states
from geno_pipeline.config import command
from geno_pipeline.pictures import line_picture
from geno_pipeline.storage import Storage

_OTHER = "carbon_weights" if PROFILE.encoder.carbon.use else "demo_encoder"
ENCODER = _OTHER if PROFILE.encoder.folder is None else "local_encoder"
UNUSED_ENCODERS = tuple(name for name in ("carbon_weights", "demo_encoder") if name != ENCODER)


def open_encoder(storage: Storage) -> CarbonStateEncoder:
    """The encoder of this storage, checked against the state contract."""
    encoder = load_encoder(storage.path / ENCODER, read_contract(storage))
    if encoder.contract.context == "pool":
        load_sixmer_states(storage.path / "encoder_identity", encoder)
    return encoder


def read_contract(storage: Storage) -> StateContract:
    """The one state contract of this storage."""
    return StateContract.from_dict(json.loads((storage.path / "encoder_identity" / "contract.json").read_text()))


@folder_asset("encoder", settings=[PROFILE.encoder], deps=GENOME)
def demo_encoder(
    context: dg.AssetExecutionContext, storage: Storage, reference_windows: pl.DataFrame
) -> dg.MaterializeResult:
    """A small DNA language model of Carbon's architecture, trained here to guess the next six bases.

    It stands in for Carbon where Carbon's weights are not at hand. It never sees a held-out window.
    """
    settings = PROFILE.encoder
    result = pretrain(
        open_genome(),
        reference_windows,
        PretrainSettings(
            hidden=settings.hidden,
            n_layers=settings.layers,
            n_heads=settings.heads,
            n_steps=settings.steps,
            batch_size=settings.batch_size,
            learning_rate=settings.learning_rate,
            seed=settings.seed,
            time_budget_s=settings.time_budget_s,
        ),
        storage.path / "demo_encoder",
        tell(context, settings.steps, "steps"),
    )
    context.log.info(f"trained in {result.arithmetic}, which is what this machine's CPU is fast at")
    steps, losses = [step for step, _ in result.history], [loss for _, loss in result.history]
    return storage.folder_result(
        "demo_encoder",
        {
            "parameters": result.n_parameters,
            "steps": result.n_steps,
            "tokens": result.n_tokens,
            "arithmetic": result.arithmetic,
            "loss_nats_per_six_mer": losses[-1],
            "tokens_per_second": round(result.n_tokens / result.seconds),
            "loss": line_picture(steps, losses, "step", "cross entropy (nats per six-mer; chance 8.32)"),
        },
    )


@folder_asset("encoder", settings=[PROFILE.encoder.carbon])
def carbon_weights(storage: Storage) -> dg.MaterializeResult:
    """Carbon's weights from the hub, at a pinned revision. The one asset that needs a network.

    No run makes it unless the profile says `encoder.carbon.use`, or somebody asks for it by name.
    """
    from geno_model.release.fetch import fetch_encoder  # here, so that no other run loads what can open a connection

    carbon = PROFILE.encoder.carbon
    fetched = fetch_encoder(storage.path / "carbon_weights", carbon.repo, carbon.revision)
    return storage.folder_result(
        "carbon_weights",
        {
            "repository": fetched.repo_id,
            "revision": fetched.revision,
            "bytes": fetched.n_bytes,
            "bytes_fetched": fetched.n_fetched_bytes,
        },
    )


@folder_asset("encoder", settings=[PROFILE.state, PROFILE.windows], deps=[ENCODER])
def encoder_identity(storage: Storage) -> dg.MaterializeResult:
    """Who the encoder is and what a state means: one value that all tables of states carry and every step compares."""
    fields: dict[str, Any] = {
        "window_bp": PROFILE.windows.window_bp,
        "stride_bp": PROFILE.windows.stride_bp,
        "fit_side": PROFILE.state.fit_side,
        "layer": PROFILE.state.layer,
        "pooling": "centered_mean",
        "radius_tokens": PROFILE.state.radius_tokens,
        "normalise": True,
        "dtype": PROFILE.state.dtype,
        "context": PROFILE.state.context,
    }
    encoder = CarbonStateEncoder.load(storage.path / ENCODER, fields)
    contract = encoder.contract
    with replacing_folder(storage.path / "encoder_identity") as folder:
        (folder / "contract.json").write_text(json.dumps(contract.to_dict(), sort_keys=True, indent=1) + "\n")
        if contract.context == "pool":
            save_sixmer_states(folder, encoder)
    return storage.folder_result("encoder_identity", contract.to_dict())


@dg.asset_check(
    asset="encoder_identity",
    blocking=True,
    additional_deps=["reference_windows"],
    description="Two encodings of one window differ by at most 5 % of what an SNV does.",
)
def noise_floor(storage: Storage) -> dg.AssetCheckResult:
    """Measure the encoder's arithmetic on the first and the last reference window."""
    windows = storage.read_table("reference_windows").sort("contig", "start_bp")[[0, -1]]
    genome, spans = open_genome(), windows.select("contig", "start_bp", "end_bp").iter_rows()
    noise = measure_noise(open_encoder(storage), np.stack([genome.window(*span) for span in spans]))
    return dg.AssetCheckResult(
        passed=noise.is_quiet,
        description=str(noise),
        metadata={"dtype": noise.dtype, "floor": noise.floor, "signal": noise.signal, "share": noise.share},
    )


@folder_asset("states", version="3", partitioned=True, settings=[PROFILE.state], deps=["encoder_identity", *GENOME])
def training_states(
    context: dg.AssetExecutionContext, storage: Storage, training_edits: pl.DataFrame
) -> dg.MaterializeResult:
    """The state of every training window before and after each of its edits, so that training needs no encoder."""
    return _states(context, "training_states", storage, training_edits)


@folder_asset("states", version="3", partitioned=True, settings=[PROFILE.state], deps=["encoder_identity", *GENOME])
def validation_states(
    context: dg.AssetExecutionContext, storage: Storage, validation_edits: pl.DataFrame
) -> dg.MaterializeResult:
    """The same for edits of the three holdouts, which training never sees."""
    return _states(context, "validation_states", storage, validation_edits)


def open_states(storage: Storage, states: str) -> StateStore:
    """The stored states `training_states` or `validation_states`: of every row of their edits, and of nothing else.

    Shards of a contig that has no rows any more are not read.
    Raises `ShardError` where the rows are not the same.
    """
    edits = states.replace("states", "edits")
    rows = pl.concat(
        pl.read_parquet(path, columns=["contig", "row_id"]) for path in storage.table_files(edits).values()
    )
    store = StateStore(storage.path / states, rows["contig"].unique())
    n_lacking, n_more = (
        one.join(other, on="row_id", how="anti").height for one, other in ((rows, store.keys), (store.keys, rows))
    )
    if n_lacking or n_more or rows.height != len(store):
        raise ShardError(
            f"{storage.path / states}: expected the states of the {rows.height:,} rows of {edits}, found those of "
            f"{len(store):,}: {n_lacking:,} rows have none, {n_more:,} states are of rows that are there no more; run: "
            + command("train_model")
        )
    return store


def _states(
    context: dg.AssetExecutionContext, asset: str, storage: Storage, rows: pl.DataFrame
) -> dg.MaterializeResult:
    folder: Path = storage.folder(asset)
    progress = tell(context, rows.height, "rows")
    counts = build_states(rows, open_genome(), open_encoder(storage), folder, progress, sorted(context.partition_keys))
    n_edits = int(rows["k"].sum())
    return storage.folder_result(
        asset,
        {
            "rows": counts.n_rows,
            "edits": n_edits,
            "shards": counts.n_shards,
            "shards_kept_from_before": counts.n_shards_kept,
            "tokens_run": counts.n_tokens,
            "tokens_per_edit": round(counts.n_tokens / n_edits, 1) if n_edits else 0.0,
        },
    )
