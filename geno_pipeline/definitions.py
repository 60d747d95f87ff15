"""What Dagster loads: all assets, checks and jobs of the active profile. Nothing is computed here."""

from __future__ import annotations

import warnings

import dagster as dg

warnings.filterwarnings("ignore", category=dg.BetaWarning)  # backfill_policy; before the assets are made

from geno_pipeline import automation, checks  # noqa: E402
from geno_pipeline.assets import (  # noqa: E402
    PROFILE,
    TABLES,
    ablation,
    adapt,
    benchmarks,
    calibration,
    dataset,
    evaluation,
    input_files,
    model,
    reference,
    release,
    states,
    variants,
)
from geno_pipeline.storage import Storage, TableIO  # noqa: E402

storage = Storage(root=str(PROFILE.storage))
assets = dg.load_assets_from_modules(
    [reference, variants, dataset, states, model, adapt, calibration, benchmarks, evaluation, ablation, release]
)
watched = input_files.INPUT_ASSETS
executors = {
    "in_process": dg.in_process_executor,
    "multiprocess": dg.multiprocess_executor.configured(
        {"start_method": {"forkserver": {"preload_modules": ["geno_pipeline.definitions"]}}}
    ),
}
INPUTS = dg.AssetSelection.groups("inputs")
UNUSED = dg.AssetSelection.assets(*states.UNUSED_ENCODERS, "adapted_encoder", "ablations") | INPUTS
DATASET_GROUPS = ("reference", "variants", "windows", "holdouts", "edits")

defs = dg.Definitions(
    assets=[*assets, *watched],
    asset_checks=[
        *checks.contract_checks(assets),
        *dg.load_asset_checks_from_modules([checks, states, calibration, evaluation]),
    ],
    resources={"storage": storage, TABLES: TableIO(storage=storage)},
    executor=executors[PROFILE.executor],
    jobs=[
        dg.define_asset_job("build_dataset", selection=dg.AssetSelection.groups(*DATASET_GROUPS)),
        dg.define_asset_job("train_model", selection=dg.AssetSelection.groups("encoder", "states", "model") - UNUSED),
        dg.define_asset_job("adapt_encoder", selection=dg.AssetSelection.assets("adapted_encoder").upstream() - INPUTS),
        dg.define_asset_job("evaluate", selection=dg.AssetSelection.groups("calibration", "evaluation") - UNUSED),
        automation.benchmark_refresh,
        dg.define_asset_job("ablate", selection=dg.AssetSelection.assets("ablations")),
        dg.define_asset_job("release", selection=dg.AssetSelection.groups("release")),
        *([dg.define_asset_job("observe_inputs", selection=[asset.key for asset in watched])] if watched else []),
        dg.define_asset_job("everything", selection=dg.AssetSelection.all() - UNUSED),
    ],
    schedules=[automation.weekly_benchmarks],
    sensors=[automation.clinvar_release],
)
