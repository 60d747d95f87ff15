"""Spans of the genome that training never sees (spec 3)."""

from __future__ import annotations

import pandera.polars as pa
import polars as pl

from data_contracts import columns


class HoldoutChr(columns.Table):
    """One row a span: a whole contig, or a part of one."""

    contig: str = columns.contig()
    start_bp: int = columns.start_bp()
    end_bp: int = columns.end_bp()

    @pa.dataframe_check(name="start_bp < end_bp")
    def _in_order(cls, data: pa.PolarsData) -> pl.LazyFrame:
        return columns.span_in_order(data)
