"""The release: one folder that a person scores with (group `release`, spec 8)."""

from __future__ import annotations

import dagster as dg
import polars as pl

from geno_model.encoder.pool_shift import SIXMER_STATES
from geno_model.files import replacing_folder
from geno_model.genomics.context import gc_terciles
from geno_model.release.config import SYNTHETIC
from geno_pipeline.assets import GENOME, PROFILE, annotation, folder_asset
from geno_pipeline.assets.benchmarks import CALIBRATED
from geno_pipeline.assets.model import model_at_hand
from geno_pipeline.assets.states import ENCODER, read_contract
from geno_pipeline.build.release import ReleaseParts, assemble
from geno_pipeline.evaluation import rollout
from geno_pipeline.evaluation.history import read_metrics
from geno_pipeline.gates import require_checks, require_one_model
from geno_pipeline.storage import MadeWith, Storage


@folder_asset(
    "release",
    version="2",
    settings=[PROFILE.release, PROFILE.name, PROFILE.calibration.window_policy],
    deps=["eval_report", "checkpoint", "encoder_identity", ENCODER, *GENOME],
)
def model_release(
    context: dg.AssetExecutionContext,
    storage: Storage,
    calibration: pl.DataFrame,
    calibration_scores: pl.DataFrame,
    rollout_fidelity: pl.DataFrame,
    clinvar_variants: pl.DataFrame,
    gene_annotation: pl.DataFrame,
    repeat_annotation: pl.DataFrame,
) -> dg.MaterializeResult:
    """Everything that `geno-score` needs, in one folder, each file listed with its SHA-256."""
    require_checks(context)
    made_with, reported = model_at_hand(storage), (read_metrics(storage.path / "eval_report") or {}).get("made_with")
    tables = storage.made_with(*CALIBRATED, "rollout_fidelity")
    require_one_model(tables | {"eval_report": MadeWith(**reported) if reported else None}, made_with)
    skill = rollout.overall(rollout_fidelity)
    about = {
        "name": PROFILE.name,
        "version": PROFILE.release.version,
        "data": f"{SYNTHETIC}: a made-up genome, population and ClinVar"
        if PROFILE.synthetic
        else "real, see the report",
        "skill_on_holdout_chr": round(float(skill["skill"]), 4) if skill else "not measured",
    }
    with replacing_folder(storage.path / "model_release") as folder:
        model_id = assemble(
            folder,
            ReleaseParts(
                checkpoint=storage.path / "checkpoint",
                report=storage.path / "eval_report",
                encoder=storage.path / ENCODER,
                sixmer_states=storage.path / "encoder_identity" / SIXMER_STATES,
                contract=read_contract(storage),
                context=annotation(gene_annotation, repeat_annotation),
                calibration=calibration,
                gc_edges=gc_terciles(calibration_scores["gc"].to_numpy()),
                window_policy=PROFILE.calibration.window_policy,
                pathogenic=clinvar_variants.filter(pl.col("clnsig").is_in(["P", "LP"])),
                about=about,
            ),
        )
    return storage.folder_result("model_release", {"model_id": model_id, **about})
