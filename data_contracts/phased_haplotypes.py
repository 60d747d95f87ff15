"""Combinations of alleles that lie together on one haplotype (spec 3)."""

from __future__ import annotations

import pandera.polars as pa
import polars as pl

from data_contracts import columns


class PhasedHaplotypes(columns.Table):
    """One distinct combination of 2 to 8 alleles carried together within 1,000 bp; no sample names.

    They are all that the panel has on that chromosome copy from the first to the last.
    """

    contig: str = columns.contig()
    start_bp: int = columns.start_bp("first edit's reference bases")
    end_bp: int = columns.end_bp("last edit's reference bases")
    k: int = pa.Field(in_range={"min_value": 2, "max_value": 8}, description="number of edits")
    edits: pl.List = columns.edits()
    n_carriers: int = pa.Field(ge=1, description="copies that carry exactly these, in a block or a part of it")

    @pa.dataframe_check(name="start_bp < end_bp")
    def _in_order(cls, data: pa.PolarsData) -> pl.LazyFrame:
        return columns.span_in_order(data)

    @pa.dataframe_check(name="k edits in order that do not overlap")
    def _k_edits(cls, data: pa.PolarsData) -> pl.LazyFrame:
        return columns.k_edits_in_order(data)
