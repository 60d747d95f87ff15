"""Spans of the reference that the holdouts block, and why (spec 3)."""

from __future__ import annotations

import pandera.polars as pa
import polars as pl

from data_contracts import columns

SPAN, POSITION, SHIFT, CODON = "span", "position", "shift", "codon"
KINDS = (SPAN, POSITION, SHIFT, CODON)


class HoldoutRegions(columns.Table):
    """One row a span; no edit of training or calibration has a reference base in one."""

    contig: str = columns.contig()
    start_bp: int = columns.start_bp()
    end_bp: int = columns.end_bp()
    holdout: str = pa.Field(isin=list(columns.HOLDOUTS), description="holdout that blocks the span")
    kind: str = pa.Field(
        isin=list(KINDS),
        description="span: held out whole; position: bases of a held-out allele; shift: all places at which the same "
        "insertion or deletion can be written; codon: bases that may share a codon with the allele",
    )

    @pa.dataframe_check(name="start_bp < end_bp")
    def _in_order(cls, data: pa.PolarsData) -> pl.LazyFrame:
        return columns.span_in_order(data)
