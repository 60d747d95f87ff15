"""Windows of the reference grid that are kept (spec 3)."""

from __future__ import annotations

import pandera.polars as pa
import polars as pl

from data_contracts import columns


class ReferenceWindows(columns.Table):
    """One row a window. The cores of the full grid tile the contig but for its ends: a position lies in one at most."""

    contig: str = columns.contig()
    start_bp: int = columns.start_bp("window")
    end_bp: int = columns.end_bp("window")
    core_start_bp: int = columns.start_bp(
        "core: positions for which this window is the most central one, those near a contig's ends left out"
    )
    core_end_bp: int = columns.end_bp("core")
    sha256: str = pa.Field(str_matches=columns.SHA256, description="SHA-256 of the bases, upper case ASCII")
    gc: pl.Float32 = pa.Field(
        in_range={"min_value": 0, "max_value": 1}, description="share of G and C among A, C, G, T"
    )
    n_fraction: pl.Float32 = pa.Field(in_range={"min_value": 0, "max_value": 1}, description="share of N in the window")
    holdout: str = pa.Field(isin=["", columns.HOLDOUT_CHR], description="holdout that the window overlaps, or empty")

    @pa.dataframe_check(name="start_bp <= core_start_bp < core_end_bp <= end_bp")
    def _in_order(cls, data: pa.PolarsData) -> pl.LazyFrame:
        start, core_start, core_end, end = (pl.col(f"{name}_bp") for name in ("start", "core_start", "core_end", "end"))
        return data.lazyframe.select((start <= core_start) & (core_start < core_end) & (core_end <= end))
