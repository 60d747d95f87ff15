"""From raw surprise to a percentile among common variants of the same context (spec 5, "Calibration").

Belongs here: making the calibration table, looking percentiles up, and the file that holds it in a release. Does not:
raw scores (`surprise`), which variants calibrate (the pipeline), what the context of a variant is (`genomics.context`).

The concept: each bucket holds its empirical distribution as 1,001 quantiles. Buckets are nested, and one with fewer
than 1,000 rows is not made, so that a variant looks in the finest bucket that exists:

    level 0   coding_missense|2|none      region class | GC third | repeat class
    level 1   coding_missense|2
    level 2   coding_missense
    level 3   *                           all rows; always there
"""

from __future__ import annotations

import json
import os
from pathlib import Path

import numpy as np
import polars as pl
from numpy.typing import NDArray

from data_contracts.calibration import GRID_POINTS, Calibration
from data_contracts.checking import ContractViolationError, validate
from geno_model.encoder.state_contract import StateContract
from geno_model.genomics.context import GcEdges, gc_bin
from geno_model.scoring.errors import CalibrationError

MIN_BUCKET_ROWS = 1_000
LOW_CONFIDENCE_ROWS = 100
EVERYTHING = "*"

_KEY_PARTS = (3, 2, 1)  # of region, GC third, repeat class, by level
_METADATA_KEY = "geno_lewm"
_SCHEMA = pl.Schema(
    {
        "bucket_id": pl.String,
        "level": pl.Int8,
        "parent": pl.String,
        "n": pl.Int64,
        "confidence": pl.Float64,
        "grid": pl.List(pl.Float64),
    }
)


def calibrate(scores: pl.DataFrame, gc_edges: GcEdges) -> pl.DataFrame:
    """The calibration table (data_contracts.calibration) of common variants' scores (`calibration_scores`).

    gc_edges: from `genomics.context.gc_terciles` over the same rows. The result is in the order of level and bucket_id;
    the same rows in another order give the same bytes. Raises `CalibrationError` for no rows and for a raw surprise
    that is not finite.
    """
    if scores.is_empty():
        raise CalibrationError("no common variants to calibrate with: expected at least one row of calibration_scores")
    if n_bad := scores.height - int(scores["surprise_raw"].is_finite().sum()):
        raise CalibrationError(f"surprise_raw of {n_bad} of {scores.height} common variants is no finite number")
    keyed = scores.select(
        *_bucket_ids(scores["region_class"], _gc_third(scores["gc"], gc_edges), scores["repeat_class"]),
        pl.col("surprise_raw").cast(pl.Float64),
    )
    levels = []
    for level in range(len(_KEY_PARTS) + 1):
        key = f"level_{level}"
        parent = pl.col(f"level_{level + 1}") if level < len(_KEY_PARTS) else pl.lit(None, dtype=pl.String)
        buckets = keyed.group_by(key).agg(parent.first().alias("parent"), "surprise_raw").sort(key)
        n = pl.col("surprise_raw").list.len().cast(pl.Int64)
        if level < len(_KEY_PARTS):
            buckets = buckets.filter(n >= MIN_BUCKET_ROWS)
        levels.append(
            buckets.select(
                pl.col(key).alias("bucket_id"),
                pl.lit(level, dtype=pl.Int8).alias("level"),
                "parent",
                n.alias("n"),
                (n / MIN_BUCKET_ROWS).clip(upper_bound=1.0).alias("confidence"),
                pl.Series(
                    "grid",
                    [_quantiles(raw.to_numpy()).tolist() for raw in buckets["surprise_raw"]],
                    pl.List(pl.Float64),
                ),
            )
        )
    return validate(Calibration, pl.concat(levels).cast(_SCHEMA))


class Percentiles:
    """Percentiles from a calibration table: monotone within a bucket, in [0, 1]."""

    def __init__(self, calibration: pl.DataFrame) -> None:
        self._buckets = calibration.select("bucket_id", pl.col("n").alias("n_calibration"), "confidence")
        self._grids = {
            name: grid.to_numpy() for name, grid in zip(calibration["bucket_id"], calibration["grid"], strict=True)
        }

    def lookup(
        self, region_class: pl.Series, gc_third: pl.Series, repeat_class: pl.Series, raw: pl.Series
    ) -> pl.DataFrame:
        """One row for each of n variants: surprise (percentile), bucket_id, n_calibration, confidence, low_confidence.

        gc_third: 0, 1 or 2; raw: finite raw surprise.
        """
        known = self._buckets["bucket_id"]
        candidates = pl.select(*_bucket_ids(region_class, gc_third, repeat_class))
        existing = [pl.when(pl.col(name).is_in(known.implode())).then(pl.col(name)) for name in candidates.columns]
        rows = candidates.select(pl.coalesce(existing).alias("bucket_id")).with_row_index("_row")
        values, surprise = raw.cast(pl.Float64).to_numpy(), np.empty(len(raw))
        for (name,), members in rows.group_by("bucket_id"):
            index = members["_row"].to_numpy()
            surprise[index] = percentile(values[index], self._grids[str(name)])
        return rows.join(self._buckets, on="bucket_id", how="left", maintain_order="left").select(
            pl.Series("surprise", surprise),
            "bucket_id",
            "n_calibration",
            "confidence",
            (pl.col("n_calibration") < LOW_CONFIDENCE_ROWS).alias("low_confidence"),
        )


def percentile(values: NDArray[np.float64], grid: NDArray[np.float64]) -> NDArray[np.float64]:
    """Share of a bucket below each value, in [0, 1], by linear interpolation between the quantiles `grid` (ascending).

    Below the first quantile 0, above the last 1; a value that several quantiles share gets the middle of their shares.
    """
    last = len(grid) - 1
    left, right = np.searchsorted(grid, values, side="left"), np.searchsorted(grid, values, side="right")
    low, high = np.clip(left - 1, 0, last), np.clip(left, 0, last)
    width = grid[high] - grid[low]
    share = np.divide(values - grid[low], width, out=np.zeros(len(values)), where=width > 0)
    between = low + np.clip(share, 0.0, 1.0)
    between = np.where(left > last, last, np.where(right == 0, 0, between))
    return np.where(left < right, (left + right - 1) / 2, between) / last


def with_percentiles(raw: pl.DataFrame, percentiles: Percentiles, gc_edges: GcEdges) -> pl.DataFrame:
    """Rows of `score_raw` that have a score, with gc_bin i8 and the columns of `Percentiles.lookup` added."""
    third = _gc_third(raw["gc"], gc_edges)
    found = percentiles.lookup(raw["region_class"], third, raw["repeat_class"], raw["surprise_raw"])
    return raw.with_columns(third.alias("gc_bin"), *found.get_columns())


def write_calibration(calibration: pl.DataFrame, path: Path, contract: StateContract, gc_edges: GcEdges) -> None:
    """Write the table to Parquet, with the state contract's digest and the GC borders in the file's metadata."""
    metadata = json.dumps({"gc_edges": list(gc_edges), "state_contract": contract.digest}, sort_keys=True)
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    validate(Calibration, calibration).write_parquet(temporary, metadata={_METADATA_KEY: metadata})
    os.replace(temporary, path)


def read_calibration(path: Path, contract: StateContract, gc_edges: GcEdges) -> pl.DataFrame:
    """The table that `write_calibration` wrote, refused unless it was made with this contract and these GC borders.

    Raises `CalibrationError` for a file that is missing, damaged, or of another model.
    """
    try:
        metadata = json.loads(pl.read_parquet_metadata(path)[_METADATA_KEY])
        calibration = validate(Calibration, pl.read_parquet(path))
    except (OSError, KeyError, ValueError, ContractViolationError, pl.exceptions.PolarsError) as error:
        reason = str(error).splitlines()[0]
        raise CalibrationError(f"{path} is no calibration table ({reason}); copy the release again") from None
    if metadata["state_contract"] != contract.digest:
        raise CalibrationError(
            f"{path} was made with the state contract {metadata['state_contract'][:12]}, the model has "
            f"{contract.digest[:12]}: percentiles of one say nothing about the other; calibrate the model again"
        )
    if tuple(metadata["gc_edges"]) != gc_edges:
        raise CalibrationError(
            f"{path} has GC thirds at {metadata['gc_edges']}, the release at {list(gc_edges)}; calibrate it again"
        )
    return calibration


def _gc_third(gc: pl.Series, gc_edges: GcEdges) -> pl.Series:
    return pl.Series("gc_bin", gc_bin(gc.to_numpy(), gc_edges), pl.Int8)


def _bucket_ids(region_class: pl.Series, gc_third: pl.Series, repeat_class: pl.Series) -> list[pl.Series]:
    """Columns level_0 .. level_3: the bucket of each row at each level."""
    parts = [region_class, gc_third.cast(pl.String), repeat_class]
    joined = [
        pl.select(pl.concat_str(parts[:count], separator="|")).to_series().alias(f"level_{level}")
        for level, count in enumerate(_KEY_PARTS)
    ]
    return [*joined, pl.Series(f"level_{len(_KEY_PARTS)}", [EVERYTHING]).new_from_index(0, len(region_class))]


def _quantiles(values: NDArray[np.float64]) -> NDArray[np.float64]:
    """1,001 quantiles, ascending to the last bit."""
    return np.maximum.accumulate(np.quantile(values, np.linspace(0.0, 1.0, GRID_POINTS)))
