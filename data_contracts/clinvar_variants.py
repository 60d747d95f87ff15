"""ClinVar alleles with their significance: one row an allele (spec 3)."""

from __future__ import annotations

import pandera.polars as pa
import polars as pl

from data_contracts import columns

CLNSIG = ("P", "LP", "B", "LB", "VUS", "OTHER")


class ClinvarVariants(columns.Table):
    """Alleles of the ClinVar release; `gene` and `consequence` are ClinVar's own, null where it names none."""

    contig: str = columns.contig()
    pos: int = columns.pos()
    ref: str = columns.ref()
    alt: str = columns.alt()
    edit_type: pl.UInt8 = columns.edit_type()
    clnsig: str = pa.Field(
        isin=list(CLNSIG),
        description="P, LP, B, LB, VUS; OTHER also holds conflicting reports, risk alleles and low penetrance",
    )
    stars: pl.Int8 = columns.stars()
    is_coding: bool = pa.Field(
        nullable=True, description="the consequence lies in a coding sequence; null where unknown"
    )
    consequence: str = pa.Field(
        nullable=True, description="most severe Sequence Ontology term of MC, e.g. missense_variant"
    )
    gene: str = pa.Field(nullable=True, description="first gene symbol of GENEINFO")

    @pa.dataframe_check(name="ref and alt differ")
    def _differ(cls, data: pa.PolarsData) -> pl.LazyFrame:
        return columns.alleles_differ(data)
