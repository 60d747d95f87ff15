"""Calibration and evaluation of the trained model, on variants that it never saw (spec 4, 5, 6)."""

from __future__ import annotations

from pathlib import Path

import dagster as dg
import numpy as np
import polars as pl
import polars.selectors as cs
from scipy.stats import kstest

from geno_model.genomics.context import Context, gc_terciles
from geno_model.scoring.calibration import Percentiles, calibrate, edit_class, with_percentiles
from geno_model.scoring.surprise import score_raw
from geno_model.training.loop import predict_table
from geno_model.training.state_store import read_states
from geno_pipeline.assets import PROFILE, folder_asset, open_genome, table_asset
from geno_pipeline.assets.model import load_model
from geno_pipeline.assets.states import open_encoder
from geno_pipeline.build.calibration import calibration_alleles
from geno_pipeline.evaluation import benchmarks, rollout
from geno_pipeline.evaluation.baselines import ridge_predictions, untrained
from geno_pipeline.evaluation.calibration import calibration_fit
from geno_pipeline.evaluation.plots import markdown_picture, percentile_histogram, roc, skill_by_k
from geno_pipeline.evaluation.report import ReportInputs, provenance, write_report
from geno_pipeline.storage import Storage, markdown_table

REPOSITORY = Path(__file__).parents[2]


def annotation(gene_annotation: pl.DataFrame, repeat_annotation: pl.DataFrame) -> Context:
    """What is known about the genome's parts; without gene models every region class is `other`."""
    genes = gene_annotation if PROFILE.inputs.genes is not None else None
    return Context.build(genes, repeat_annotation, open_genome())


@table_asset(
    "calibration", settings=[PROFILE.calibration, PROFILE.mix, PROFILE.seed], deps=["checkpoint", "reference_genome"]
)
def calibration_scores(
    context: dg.AssetExecutionContext,
    storage: Storage,
    gnomad_variants: pl.DataFrame,
    clinvar_variants: pl.DataFrame,
    reference_windows: pl.DataFrame,
    holdout_regions: pl.DataFrame,
    gene_annotation: pl.DataFrame,
    repeat_annotation: pl.DataFrame,
) -> pl.DataFrame:
    """Raw surprise of common, and so mostly harmless, variants: what is normal, by kind of place in the genome."""
    alleles = calibration_alleles(
        gnomad_variants,
        clinvar_variants,
        reference_windows,
        holdout_regions,
        fraction=PROFILE.mix.calibration_fraction,
        min_af=PROFILE.mix.min_af,
        max_rows=PROFILE.calibration.max_rows,
        seed=PROFILE.seed,
    )
    where = annotation(gene_annotation, repeat_annotation)
    raw = score_raw(
        alleles,
        open_genome(),
        open_encoder(storage),
        load_model(storage),
        where,
        policy=PROFILE.calibration.window_policy,
    )
    context.add_asset_metadata({"alleles_chosen": alleles.height, "out_of_range": raw["reason"].count()})
    both = pl.concat([raw, alleles.select(cs.starts_with("af_"))], how="horizontal")
    return both.filter(pl.col("reason").is_null()).drop("window_start_bp", "delta_loglik", "reason")


@table_asset("calibration", settings=[PROFILE.mix.min_af])
def calibration(calibration_scores: pl.DataFrame) -> pl.DataFrame:
    """From raw surprise to a percentile among common variants of the same kind of place; backs off where few."""
    edges = gc_terciles(calibration_scores["gc"].to_numpy())
    return calibrate(calibration_scores, edges, min_af=PROFILE.mix.min_af)


@dg.asset_check(
    asset="calibration",
    blocking=True,
    additional_ins={"calibration_scores": dg.AssetIn("calibration_scores", input_manager_key="tables")},
    description="Percentiles of a bucket's own n variants are uniform: Kolmogorov-Smirnov distance up to 0.02 + 1 / n.",
)
def uniform(calibration: pl.DataFrame, calibration_scores: pl.DataFrame) -> dg.AssetCheckResult:
    """Look every calibration variant up in the table that was made from them."""
    edges = gc_terciles(calibration_scores["gc"].to_numpy())
    found = with_percentiles(calibration_scores, Percentiles(calibration), edges)
    by_bucket = found.group_by(edit_class(found["edit_type"]).alias("edit_class"), "bucket_id")
    beyond = [float(kstest(part["surprise"], "uniform").statistic) - 1 / part.height for _, part in by_bucket]  # type: ignore[attr-defined]
    return dg.AssetCheckResult(
        passed=max(beyond) <= 0.02, metadata={"ks_distance_less_1_over_n": max(beyond), "buckets": calibration.height}
    )


@table_asset("evaluation", deps=["checkpoint", "reference_genome"])
def clinvar_scores(
    context: dg.AssetExecutionContext,
    storage: Storage,
    holdout_clinvar: pl.DataFrame,
    calibration: pl.DataFrame,
    calibration_scores: pl.DataFrame,
    gene_annotation: pl.DataFrame,
    repeat_annotation: pl.DataFrame,
) -> pl.DataFrame:
    """Scores of judged variants that were kept away from training: do pathogenic ones surprise the model more?"""
    where = annotation(gene_annotation, repeat_annotation)
    policy = PROFILE.calibration.window_policy
    raw = score_raw(holdout_clinvar, open_genome(), open_encoder(storage), load_model(storage), where, policy=policy)
    both = pl.concat([raw, holdout_clinvar.select("label", "is_coding", "stars")], how="horizontal")
    context.add_asset_metadata({"out_of_range": raw["reason"].count()})
    kept = both.filter(pl.col("reason").is_null())
    return with_percentiles(kept, Percentiles(calibration), gc_terciles(calibration_scores["gc"].to_numpy())).drop(
        "gc", "window_start_bp", "delta_loglik", "reason"
    )


@table_asset("evaluation", settings=[PROFILE.evaluation], deps=["checkpoint", "training_states", "validation_states"])
def rollout_fidelity(context: dg.AssetExecutionContext, storage: Storage) -> pl.DataFrame:
    """How much of the change of state the model foresees, for one edit and for several in a row; no change is 0."""
    states = read_states(storage.path / "validation_states")
    model = load_model(storage)
    table = rollout.rollout_fidelity(
        states.batch.state.numpy(),
        predict_table(model, states).numpy(),
        states.targets.numpy(),
        states.keys["k"].to_numpy(),
        states.keys["holdout"].to_numpy(),
        states.keys["edit_type"].to_numpy(),
        ridge=ridge_predictions(read_states(storage.path / "training_states"), states, PROFILE.seed),
        random=predict_table(untrained(model, states.sixmer_embeddings, PROFILE.seed), states).numpy(),
        n_resamples=PROFILE.evaluation.bootstrap,
        seed=PROFILE.seed,
    )
    context.add_asset_metadata({"skill": dg.MetadataValue.md(markdown_picture(skill_by_k(table), "skill by K"))})
    return table


@folder_asset("evaluation", settings=[PROFILE.evaluation], deps=["checkpoint", "encoder_identity"])
def eval_report(
    context: dg.AssetExecutionContext,
    storage: Storage,
    clinvar_scores: pl.DataFrame,
    calibration: pl.DataFrame,
    calibration_scores: pl.DataFrame,
    rollout_fidelity: pl.DataFrame,
    holdout_clinvar: pl.DataFrame,
    variant_accounting: pl.DataFrame,
    mix_report: pl.DataFrame,
    reference_windows: pl.DataFrame,
) -> dg.MaterializeResult:
    """The report a person reads: is the model better than no change, does it tell pathogenic from benign, on what n."""
    ranked = benchmarks.clinvar_benchmarks(clinvar_scores, holdout_clinvar, PROFILE.evaluation.bootstrap, PROFILE.seed)
    inputs = ReportInputs(
        profile=PROFILE.name,
        synthetic=PROFILE.synthetic,
        has_annotation=PROFILE.inputs.genes is not None,
        rollout=rollout_fidelity,
        calibration=calibration_fit(calibration_scores, calibration, gc_terciles(calibration_scores["gc"].to_numpy())),
        benchmarks=ranked,
        scores=clinvar_scores,
        holdout=holdout_clinvar,
        accounting=variant_accounting,
        mix=mix_report.filter(pl.col("by") == "source").drop("by").rename({"value": "source"}),
        provenance=provenance(REPOSITORY, profile_sha256=PROFILE.digest),
        facts={"windows kept": f"{reference_windows.height:,}", **an_note()},
    )
    with storage.fresh_folder("eval_report") as folder:
        write_report(folder, inputs)
        ranked.write_parquet(folder / "benchmarks.parquet")
    overall = rollout.overall(rollout_fidelity)
    return storage.folder_result(
        "eval_report",
        {
            "skill_holdout_chr": overall["skill"] if overall else float("nan"),
            "benchmarks": dg.MetadataValue.md(markdown_table(ranked)),
            "roc": dg.MetadataValue.md(markdown_picture(roc(clinvar_scores), "ROC curves")),
            "percentiles": dg.MetadataValue.md(markdown_picture(percentile_histogram(clinvar_scores), "percentiles")),
        },
    )


def an_note() -> dict[str, str]:
    """What the report must say of allele frequencies that the files do not hold."""
    n = PROFILE.inputs.an_where_af_missing
    return {} if n is None else {"allele frequency": f"AC / {n:,} where the file has neither AF nor AN"}


@dg.asset_check(
    asset="eval_report",
    blocking=True,
    description="The model beats 'no change' on single edits of held-out chromosomes, else no release.",
)
def skill_above_zero(storage: Storage) -> dg.AssetCheckResult:
    """Read the stored table: skill at K = 1 on holdout-chr, all edit types together."""
    rows = storage.read_table("rollout_fidelity").filter(
        (pl.col("holdout") == "holdout-chr") & (pl.col("k") == 1) & (pl.col("edit_type") == "all")
    )
    skill = rows["skill"][0] if rows.height else None
    return dg.AssetCheckResult(
        passed=skill is not None and bool(np.isfinite(skill)) and skill > 0,
        description=f"Expected a skill above 0 (no change) on holdout-chr at K = 1, found {skill}.",
        metadata={"skill": float("nan") if skill is None else float(skill)},
    )
