"""Exons, coding sequence and transcripts of a GTF or GFF3 (spec 3)."""

from __future__ import annotations

import pandera.polars as pa
import polars as pl

from data_contracts import columns


class GeneAnnotation(columns.Table):
    """One row a feature of a transcript."""

    contig: str = columns.contig()
    start_bp: int = columns.start_bp("feature")
    end_bp: int = columns.end_bp("feature")
    strand: str = pa.Field(isin=["+", "-"], description="strand that is transcribed")
    feature: str = pa.Field(isin=["exon", "CDS", "transcript"], description="kind of feature")
    transcript_id: str = pa.Field(str_length={"min_value": 1}, description="transcript that the feature belongs to")
    gene: str = pa.Field(description="gene symbol, or the gene's id where it has none")
    biotype: str = pa.Field(nullable=True, description="biotype of the transcript, e.g. protein_coding")

    @pa.dataframe_check(name="start_bp < end_bp")
    def _in_order(cls, data: pa.PolarsData) -> pl.LazyFrame:
        return columns.span_in_order(data)
