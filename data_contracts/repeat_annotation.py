"""Repeats of the reference (spec 3)."""

from __future__ import annotations

import pandera.polars as pa
import polars as pl

from data_contracts import columns


class RepeatAnnotation(columns.Table):
    """One row a repeat."""

    contig: str = columns.contig()
    start_bp: int = columns.start_bp("repeat")
    end_bp: int = columns.end_bp("repeat")
    repeat_class: str = pa.Field(isin=list(columns.ANNOTATED_REPEATS), description="class of the repeat")

    @pa.dataframe_check(name="start_bp < end_bp")
    def _in_order(cls, data: pa.PolarsData) -> pl.LazyFrame:
        return columns.span_in_order(data)
