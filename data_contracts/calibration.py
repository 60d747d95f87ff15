"""Distribution of raw surprise in each bucket of common variants, by class of edits and population (spec 5)."""

from __future__ import annotations

import pandera.polars as pa
import polars as pl

from data_contracts import columns

GRID_POINTS = 1_001
SUBSTITUTION, INDEL, ANY_EDIT = "substitution", "indel", "any"
EVERYONE = "all"


class Calibration(columns.Table):
    """One row a bucket: `*` always, finer ones where they have 1,000 rows."""

    class Config(columns.Table.Config):
        """pandera settings."""

        unique = ["population", "edit_class", "bucket_id"]

    population: str = pa.Field(
        isin=[EVERYONE, *columns.POPULATIONS], description="where the rows are common: all, or a population"
    )
    edit_class: str = pa.Field(
        isin=[SUBSTITUTION, INDEL, ANY_EDIT],
        description="substitution: SNV and MNV; indel: INS, DEL and INDEL; any: both in one bucket",
    )
    bucket_id: str = pa.Field(description="region_class|gc_bin|repeat_class, shortened from the right, or *")
    level: pl.Int8 = pa.Field(isin=[0, 1, 2, 3], description="0 region|gc|repeat, 1 region|gc, 2 region, 3 *")
    parent: str = pa.Field(nullable=True, description="bucket to look in when this one is not there; null for *")
    n: int = pa.Field(ge=0, description="common variants in the bucket")
    confidence: float = pa.Field(in_range={"min_value": 0, "max_value": 1}, description="min(n / 1000, 1)")
    grid: pl.List = pa.Field(
        dtype_kwargs={"inner": pl.Float64}, description="1,001 quantiles of raw surprise, ascending"
    )

    @pa.dataframe_check(name="grid has 1,001 ascending values")
    def _ascending(cls, data: pa.PolarsData) -> pl.LazyFrame:
        steps = pl.element().diff().fill_null(0.0) >= 0
        return data.lazyframe.select(
            (pl.col("grid").list.len() == GRID_POINTS) & pl.col("grid").list.eval(steps).list.all()
        )
