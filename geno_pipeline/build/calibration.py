"""Which variants say what is normal: common ones that no model was trained on (spec 5, "Calibration")."""

from __future__ import annotations

import polars as pl

from data_contracts.columns import POPULATIONS
from geno_pipeline.build.edit_mix import ALLELE_KEY, calibration_reserved
from geno_pipeline.build.hashing import stable_hash
from geno_pipeline.build.holdouts import touches
from geno_pipeline.build.windows import assign_windows


def calibration_alleles(
    gnomad: pl.DataFrame,
    clinvar: pl.DataFrame,
    windows: pl.DataFrame,
    regions: pl.DataFrame,
    *,
    fraction: float,
    min_af: float,
    max_rows: int,
    seed: int,
) -> pl.DataFrame:
    """Common variants (contig, pos, ref, alt, edit_type, af_*) for calibration, at most `max_rows`, in genome order.

    Of at least `min_af`, reserved for calibration (so never trained on), touching no holdout, in a kept window, and not
    P/LP in ClinVar. More than `max_rows` are thinned by a seeded hash.
    """
    pathogenic = clinvar.filter(pl.col("clnsig").is_in(["P", "LP"]))
    common = gnomad.filter(pl.col("af") >= min_af).join(pathogenic, on=ALLELE_KEY, how="anti", maintain_order="left")
    common = common.filter(calibration_reserved(common, fraction, seed))
    free = common.filter(~touches(common, regions))
    placed = assign_windows(free, windows).filter(pl.col("window_start_bp").is_not_null())
    order = stable_hash(placed, ALLELE_KEY, seed=seed, purpose="calibration rows")
    chosen = placed.with_columns(order.alias("_hash")).sort("_hash", *ALLELE_KEY).head(max_rows)
    return chosen.sort("contig", "pos", "ref", "alt").select(
        *ALLELE_KEY, "edit_type", *(f"af_{name}" for name in POPULATIONS)
    )
