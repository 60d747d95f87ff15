"""Common variants of a population: one row an allele (spec 3)."""

from __future__ import annotations

import pandera.polars as pa
import polars as pl

from data_contracts import columns


class GnomadVariants(columns.Table):
    """Alleles with a frequency of at least the profile's `min_af`; what was left out is in VariantAccounting."""

    contig: str = columns.contig()
    pos: int = columns.pos()
    ref: str = columns.ref()
    alt: str = columns.alt()
    edit_type: pl.UInt8 = columns.edit_type()
    af: pl.Float32 = pa.Field(
        in_range={"min_value": 0, "max_value": 1}, description="frequency of the alternate allele"
    )
    af_afr: pl.Float32 = columns.af_of("afr")
    af_amr: pl.Float32 = columns.af_of("amr")
    af_asj: pl.Float32 = columns.af_of("asj")
    af_eas: pl.Float32 = columns.af_of("eas")
    af_fin: pl.Float32 = columns.af_of("fin")
    af_mid: pl.Float32 = columns.af_of("mid")
    af_nfe: pl.Float32 = columns.af_of("nfe")
    af_sas: pl.Float32 = columns.af_of("sas")
    af_remaining: pl.Float32 = columns.af_of("remaining")

    @pa.dataframe_check(name="ref and alt differ")
    def _differ(cls, data: pa.PolarsData) -> pl.LazyFrame:
        return columns.alleles_differ(data)
