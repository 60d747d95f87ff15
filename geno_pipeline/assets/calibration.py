"""What is normal: the surprise of common variants, and the table that turns a surprise into a percentile (spec 5)."""

from __future__ import annotations

import dagster as dg
import polars as pl
import polars.selectors as cs
from scipy.stats import kstest

from geno_model.genomics.context import gc_terciles
from geno_model.scoring.calibration import Percentiles, calibrate, edit_class, with_percentiles
from geno_model.scoring.surprise import score_raw
from geno_pipeline.assets import GENOME, PROFILE, annotation, open_genome, table_asset, tell
from geno_pipeline.assets.model import load_model, model_at_hand
from geno_pipeline.assets.states import open_encoder
from geno_pipeline.build.calibration import calibration_alleles
from geno_pipeline.gates import require_one_model
from geno_pipeline.storage import OfModel, Storage


@table_asset(
    "calibration",
    settings=[PROFILE.calibration, PROFILE.mix, PROFILE.seed],
    deps=["checkpoint", "encoder_identity", *GENOME],
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
) -> OfModel:
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
    where, made_with = annotation(gene_annotation, repeat_annotation), model_at_hand(storage)
    raw = score_raw(
        alleles,
        open_genome(),
        open_encoder(storage),
        load_model(storage),
        where,
        policy=PROFILE.calibration.window_policy,
        progress=tell(context, alleles.height, "alleles"),
    )
    context.add_asset_metadata({"alleles_chosen": alleles.height, "without_a_window": raw["reason"].count()})
    both = pl.concat([raw, alleles.select(cs.starts_with("af_"))], how="horizontal")
    known = both.filter(pl.col("reason").is_null())
    return OfModel(known.drop("window_start_bp", "delta_loglik", "reason"), made_with)


@table_asset("calibration", settings=[PROFILE.mix.min_af])
def calibration(storage: Storage, calibration_scores: pl.DataFrame) -> OfModel:
    """From raw surprise to a percentile among common variants of the same kind of place; backs off where few."""
    made_with = model_at_hand(storage)
    require_one_model(storage.made_with("calibration_scores"), made_with)
    edges = gc_terciles(calibration_scores["gc"].to_numpy())
    return OfModel(calibrate(calibration_scores, edges, min_af=PROFILE.mix.min_af), made_with)


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
