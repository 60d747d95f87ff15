"""ClinVar alleles of the evaluation benchmarks (spec 3)."""

from __future__ import annotations

import pandera.polars as pa
import polars as pl

from data_contracts import columns


class HoldoutClinvar(columns.Table):
    """One row an allele. Benign alleles of a benchmark are held out as well, stricter than the spec asks for."""

    contig: str = columns.contig()
    pos: int = columns.pos()
    ref: str = columns.ref()
    alt: str = columns.alt()
    edit_type: pl.UInt8 = columns.edit_type()
    label: pl.Int8 = pa.Field(isin=[0, 1], description="1 pathogenic or likely so, 0 benign or likely so")
    is_coding: bool = pa.Field(description="ClinVar's consequence lies in a coding sequence; false where it names none")
    stars: pl.Int8 = columns.stars()

    @pa.dataframe_check(name="ref and alt differ")
    def _differ(cls, data: pa.PolarsData) -> pl.LazyFrame:
        return columns.alleles_differ(data)
