"""Exons, coding sequence, selenocysteines and transcripts of a GTF or GFF3 (spec 3)."""

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
    feature: str = pa.Field(
        isin=["exon", "CDS", "transcript", "selenocysteine"],
        description="kind of feature; selenocysteine: a stop codon, or a part of one, that is read so",
    )
    transcript_id: str = pa.Field(str_length={"min_value": 1}, description="transcript that the feature belongs to")
    gene: str = pa.Field(description="gene symbol, or the gene's id where it has none")
    biotype: str = pa.Field(nullable=True, description="biotype of the transcript, e.g. protein_coding")
    phase: int = pa.Field(
        nullable=True,
        isin=[0, 1, 2],
        description="bases of a CDS before its first whole codon, in the direction of translation; null: no CDS",
    )

    @pa.dataframe_check(name="start_bp < end_bp")
    def _in_order(cls, data: pa.PolarsData) -> pl.LazyFrame:
        return columns.span_in_order(data)

    @pa.dataframe_check(name="phase of every CDS and of nothing else")
    def _phase_of_cds(cls, data: pa.PolarsData) -> pl.LazyFrame:
        return data.lazyframe.select((pl.col("feature") == "CDS") == pl.col("phase").is_not_null())
