"""Scored alleles (spec 5)."""

from __future__ import annotations

import pandera.polars as pa
import polars as pl

from data_contracts import columns


class Scores(columns.Table):
    """One row an allele that could be scored."""

    contig: str = columns.contig()
    pos: int = columns.pos()
    ref: str = columns.ref()
    alt: str = columns.alt()
    edit_type: pl.UInt8 = columns.edit_type()
    region_class: str = columns.region_class()
    gc_bin: pl.Int8 = pa.Field(isin=[0, 1, 2], description="third of the calibration's GC that the window falls in")
    repeat_class: str = columns.repeat_class()
    bucket_id: str = pa.Field(description="calibration bucket that was used, after back-off")
    surprise_raw: pl.Float32 = columns.surprise_raw()
    displacement: pl.Float32 = columns.displacement()
    surprise: float = pa.Field(
        in_range={"min_value": 0, "max_value": 1}, description="share of common variants that surprise less"
    )
    n_calibration: int = pa.Field(ge=0, description="common variants in the bucket that was used")
    confidence: float = pa.Field(in_range={"min_value": 0, "max_value": 1}, description="min(n_calibration / 1000, 1)")
    low_confidence: bool = pa.Field(description="fewer than 100 common variants in the bucket that was used")
