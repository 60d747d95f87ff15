"""Rows drawn from the holdouts, never trained on (spec 3, 4)."""

from __future__ import annotations

import pandera.polars as pa
import polars as pl

from data_contracts import columns


class ValidationEdits(columns.Table):
    """One row a chain of 1 to 13 edits in one window, with the holdout that it is drawn from."""

    row_id: str = pa.Field(unique=True, description="contig:window_start_bp:number of the row in its window")
    contig: str = columns.contig()
    window_start_bp: int = columns.start_bp("window")
    window_end_bp: int = columns.end_bp("window")
    window_sha256: str = pa.Field(str_matches=columns.SHA256, description="SHA-256 of the window's bases")
    source: str = pa.Field(
        isin=list(columns.ROW_SOURCES), description="where the first edit comes from; phased: a real haplotype"
    )
    k: int = pa.Field(in_range={"min_value": 1, "max_value": 13}, description="number of edits")
    edits: pl.List = columns.edits()
    edit_type: pl.UInt8 = columns.edit_type("EditType of the first edit")
    pool_token: pl.Int32 = pa.Field(ge=0, description="pooling centre c0, DNA token (six bases) of the window")
    holdout: str = pa.Field(isin=list(columns.HOLDOUTS), description="holdout that the row is drawn from")

    @pa.dataframe_check(name="k edits in order that do not overlap")
    def _k_edits(cls, data: pa.PolarsData) -> pl.LazyFrame:
        return columns.k_edits_in_order(data)

    @pa.dataframe_check(name="edits and pooling centre lie in the window")
    def _inside(cls, data: pa.PolarsData) -> pl.LazyFrame:
        return columns.row_inside_window(data)
