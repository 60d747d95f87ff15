"""Common variants of a population: one row an allele (spec 3)."""

from __future__ import annotations

from typing import Any

import pandera.polars as pa
import polars as pl

from data_contracts import columns


def _of_population(who: str) -> Any:
    return pa.Field(
        nullable=True,
        in_range={"min_value": 0, "max_value": 1},
        description=f"frequency among {who} people; null where the file does not tell",
    )


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
    af_afr: pl.Float32 = _of_population("African and African American")
    af_amr: pl.Float32 = _of_population("admixed American")
    af_asj: pl.Float32 = _of_population("Ashkenazi Jewish")
    af_eas: pl.Float32 = _of_population("East Asian")
    af_fin: pl.Float32 = _of_population("Finnish")
    af_mid: pl.Float32 = _of_population("Middle Eastern")
    af_nfe: pl.Float32 = _of_population("non-Finnish European (1000 Genomes: all European)")
    af_sas: pl.Float32 = _of_population("South Asian")
    af_remaining: pl.Float32 = _of_population("other or unassigned")

    @pa.dataframe_check(name="ref and alt differ")
    def _differ(cls, data: pa.PolarsData) -> pl.LazyFrame:
        return columns.alleles_differ(data)
