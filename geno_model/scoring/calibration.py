"""From raw surprise to a percentile among common variants of the same context (spec 5, "Calibration").

Belongs here: making the calibration tables, looking percentiles up, and the file that holds them in a release. Does
not: raw scores (`surprise`), which variants calibrate (the pipeline), what the context of a variant is
(`genomics.context`).

The concept: each bucket holds its empirical distribution as 1,001 quantiles. Buckets are nested, and one with fewer
than 1,000 rows is not made, so that a variant looks in the finest bucket that exists:

    level 0   coding_missense|2|none      region class | GC third | repeat class
    level 1   coding_missense|2
    level 2   coding_missense
    level 3   *                           all rows; always there

Edits that keep the length (SNV, MNV) and those that change it (INS, DEL, INDEL) have tables of their own: an indel
moves the frame of all six-mers behind it, and among SNVs every one of them would look extreme (RFC 0007). Where one of
the two has no calibration rows at all, its edits are looked up among all rows, with confidence 0.
The same tables again for each population of which the rows have frequencies: what is common there.
"""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import polars as pl
from numpy.typing import NDArray

from data_contracts.calibration import ANY_EDIT, EVERYONE, GRID_POINTS, INDEL, SUBSTITUTION, Calibration
from data_contracts.checking import ContractViolationError, validate
from data_contracts.columns import POPULATIONS
from geno_model.encoder.state_contract import StateContract
from geno_model.files import replacing_file
from geno_model.genomics.context import GcEdges, gc_bin
from geno_model.genomics.edits import EditType
from geno_model.scoring.errors import CalibrationError

MIN_BUCKET_ROWS = 1_000
LOW_CONFIDENCE_ROWS = 100
EVERYTHING = "*"

_KEY_PARTS = (3, 2, 1)  # of region, GC third, repeat class, by level
_LEVELS = [f"level_{level}" for level in range(len(_KEY_PARTS) + 1)]
_METADATA_KEY = "geno_lewm"
_SCHEMA = pl.Schema(
    {
        "population": pl.String,
        "edit_class": pl.String,
        "bucket_id": pl.String,
        "level": pl.Int8,
        "parent": pl.String,
        "n": pl.Int64,
        "confidence": pl.Float64,
        "grid": pl.List(pl.Float64),
    }
)


def edit_class(edit_type: pl.Series) -> pl.Series:
    """`substitution` for edits that keep the length of the DNA, `indel` for those that change it."""
    keeps = edit_type.is_in([int(EditType.SNV), int(EditType.MNV)])
    return pl.select(pl.when(keeps).then(pl.lit(SUBSTITUTION)).otherwise(pl.lit(INDEL))).to_series()


def calibrate(scores: pl.DataFrame, gc_edges: GcEdges, *, min_af: float = 0.01) -> pl.DataFrame:
    """The calibration tables (data_contracts.calibration) of common variants' scores (`calibration_scores`).

    gc_edges: from `genomics.context.gc_terciles` over the same rows. min_af: of a population of its own; one with fewer
    than 100 such rows gets no tables. The same rows in another order give the same bytes. Raises `CalibrationError` for
    no rows and for a raw surprise that is not finite.
    """
    if scores.is_empty():
        raise CalibrationError("no common variants to calibrate with: expected at least one row of calibration_scores")
    if n_bad := scores.height - int(scores["surprise_raw"].is_finite().sum()):
        raise CalibrationError(f"surprise_raw of {n_bad} of {scores.height} common variants is no finite number")
    keyed = scores.select(
        edit_class(scores["edit_type"]).alias("edit_class"),
        *_bucket_ids(scores["region_class"], _gc_third(scores["gc"], gc_edges), scores["repeat_class"]),
        pl.col("surprise_raw").cast(pl.Float64),
        *(f"af_{name}" for name in POPULATIONS),
    )
    tables = [_tables(keyed, EVERYONE)]
    for name in POPULATIONS:
        common = keyed.filter(pl.col(f"af_{name}") >= min_af)
        if common.height >= LOW_CONFIDENCE_ROWS:
            tables.append(_tables(common, name))
    return validate(Calibration, pl.concat(tables))


def _tables(keyed: pl.DataFrame, population: str) -> pl.DataFrame:
    """All buckets of one population: both classes of edits, then all rows in one bucket."""
    parts = []
    for level, key in enumerate(_LEVELS):
        parent = pl.col(_LEVELS[level + 1]).first() if level < len(_KEY_PARTS) else pl.lit(None, dtype=pl.String)
        buckets = keyed.group_by("edit_class", key).agg(parent.alias("parent"), "surprise_raw")
        if level < len(_KEY_PARTS):
            buckets = buckets.filter(pl.col("surprise_raw").list.len() >= MIN_BUCKET_ROWS)
        parts.append(_buckets(buckets.rename({key: "bucket_id"}).sort("edit_class", "bucket_id"), population, level))
    whole = keyed.select(
        pl.lit(ANY_EDIT).alias("edit_class"),
        pl.lit(EVERYTHING).alias("bucket_id"),
        pl.lit(None, dtype=pl.String).alias("parent"),
        pl.col("surprise_raw").implode(),
    )
    return pl.concat([*parts, _buckets(whole.head(1), population, len(_KEY_PARTS))])


def _buckets(rows: pl.DataFrame, population: str, level: int) -> pl.DataFrame:
    """Rows of the table from edit_class, bucket_id, parent and the list of raw surprises of each bucket."""
    n = pl.col("surprise_raw").list.len().cast(pl.Int64)
    grids = [_quantiles(raw.to_numpy()).tolist() for raw in rows["surprise_raw"]]
    return rows.select(
        pl.lit(population).alias("population"),
        "edit_class",
        "bucket_id",
        pl.lit(level).alias("level"),
        "parent",
        n.alias("n"),
        (n / MIN_BUCKET_ROWS).clip(upper_bound=1.0).alias("confidence"),
        pl.Series("grid", grids, pl.List(pl.Float64)),
    ).cast(_SCHEMA)


class Percentiles:
    """Percentiles from the calibration tables of one population: monotone within a bucket, in [0, 1]."""

    def __init__(self, calibration: pl.DataFrame, population: str = EVERYONE) -> None:
        """Raises `CalibrationError` for a population without tables, naming those that there are."""
        mine = calibration.filter(pl.col("population") == population)
        if mine.is_empty():
            there = ", ".join(calibration["population"].unique(maintain_order=True))
            raise CalibrationError(f"no calibration for the population {population!r}; this release has {there}")
        self.population = population
        key = _key(pl.col("edit_class"), pl.col("bucket_id")).alias("_key")
        is_own = pl.col("edit_class") != ANY_EDIT  # edits that have no rows of their own class have no confidence
        n, confidence = (pl.when(is_own).then(name).otherwise(0) for name in ("n", "confidence"))
        self._buckets = mine.select(
            key, "bucket_id", n.alias("n_calibration"), confidence.cast(pl.Float64).alias("confidence")
        )
        self._grids = {name: grid.to_numpy() for name, grid in zip(self._buckets["_key"], mine["grid"], strict=True)}

    def lookup(
        self,
        edit_type: pl.Series,
        region_class: pl.Series,
        gc_third: pl.Series,
        repeat_class: pl.Series,
        raw: pl.Series,
    ) -> pl.DataFrame:
        """One row for each of n variants: surprise (percentile), bucket_id, n_calibration, confidence, low_confidence.

        gc_third: 0, 1 or 2; raw: finite raw surprise.
        """
        buckets = pl.select(edit_class(edit_type).alias("class"), *_bucket_ids(region_class, gc_third, repeat_class))
        known = self._buckets["_key"].implode()
        candidates = [_key(pl.col("class"), pl.col(level)) for level in _LEVELS]
        existing = [pl.when(key.is_in(known)).then(key) for key in candidates]
        everything = pl.lit(f"{ANY_EDIT}:{EVERYTHING}")
        rows = buckets.select(pl.coalesce(*existing, everything).alias("_key")).with_row_index("_row")
        values, surprise = raw.cast(pl.Float64).to_numpy(), np.empty(len(raw))
        for (name,), members in rows.group_by("_key"):
            index = members["_row"].to_numpy()
            surprise[index] = percentile(values[index], self._grids[str(name)])
        return rows.join(self._buckets, on="_key", how="left", maintain_order="left").select(
            pl.Series("surprise", surprise),
            "bucket_id",
            "n_calibration",
            "confidence",
            (pl.col("n_calibration") < LOW_CONFIDENCE_ROWS).alias("low_confidence"),
        )


def _key(edits: pl.Expr, bucket: pl.Expr) -> pl.Expr:
    return pl.concat_str(edits, bucket, separator=":")


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


def percentile_in_words(surprise: float, n_calibration: int) -> str:
    """A percentile among n variants as a person should read it: "0.871" or, where it is beyond all n, "> 0.992".

    One more variant of the same kind lies above all n with chance 1 / (n + 1), so no share above n / (n + 1) or below
    1 / (n + 1) can be told from it. To as many digits as n has; to two where nothing is known of n (0).
    """
    n = n_calibration or 99
    digits = max(2, len(str(n)))
    if surprise > n / (n + 1):
        return f"> {n * 10**digits // (n + 1) / 10**digits:.{digits}f}"
    if surprise < 1 / (n + 1):
        return f"< {-(-(10**digits) // (n + 1)) / 10**digits:.{digits}f}"
    return f"{surprise:.{digits}f}"


def with_percentiles(raw: pl.DataFrame, percentiles: Percentiles, gc_edges: GcEdges) -> pl.DataFrame:
    """Rows of `score_raw` that have a window, with gc_bin i8 and the columns of `Percentiles.lookup` added.

    The percentile and its bucket are null where nobody asked for the surprise.
    """
    third = _gc_third(raw["gc"], gc_edges)
    found = percentiles.lookup(raw["edit_type"], raw["region_class"], third, raw["repeat_class"], raw["surprise_raw"])
    is_wanted = raw["surprise_raw"].is_not_null()
    known = [pl.when(is_wanted).then(column).alias(column.name) for column in found.get_columns()]
    return raw.with_columns(third.alias("gc_bin"), *known)


def write_calibration(
    calibration: pl.DataFrame, path: Path, contract: StateContract, gc_edges: GcEdges, window_policy: str
) -> None:
    """Write the tables to Parquet; the metadata holds the state contract's digest, GC borders and window policy."""
    metadata = json.dumps(
        {"gc_edges": list(gc_edges), "state_contract": contract.digest, "window_policy": window_policy}, sort_keys=True
    )
    with replacing_file(path) as temporary:
        validate(Calibration, calibration).write_parquet(temporary, metadata={_METADATA_KEY: metadata})


def read_calibration(path: Path, contract: StateContract, gc_edges: GcEdges, window_policy: str) -> pl.DataFrame:
    """The tables that `write_calibration` wrote, refused unless made with this contract, GC borders and window policy.

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
    if (policy := metadata.get("window_policy")) != window_policy:
        raise CalibrationError(
            f"{path} was made with the window policy {policy!r}, the release scores with {window_policy!r}: a score "
            "and its percentile need the same windows; calibrate it again"
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
    return [*joined, pl.Series(_LEVELS[-1], [EVERYTHING]).new_from_index(0, len(region_class))]


def _quantiles(values: NDArray[np.float64]) -> NDArray[np.float64]:
    """1,001 quantiles, ascending to the last bit."""
    return np.maximum.accumulate(np.quantile(values, np.linspace(0.0, 1.0, GRID_POINTS)))
