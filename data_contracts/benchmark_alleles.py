"""Every row of every benchmark, with what it says and what became of it (spec 6)."""

from __future__ import annotations

import pandera.polars as pa
import polars as pl

from data_contracts import columns

CODING, NON_CODING = "ClinVar coding", "ClinVar non-coding"
BRCA1, BRCA2 = "BRCA1", "BRCA2"
TRAITGYM = "TraitGym"
TRACKS = (CODING, NON_CODING, BRCA1, BRCA2, TRAITGYM)
UNREADABLE = "unreadable"


class BenchmarkAlleles(columns.Table):
    """One row a row of a benchmark; without a `reason` it takes part. Frequencies are the profile's site files'."""

    track: str = pa.Field(isin=list(TRACKS), description="benchmark that the row belongs to")
    contig: str = pa.Field(nullable=True, description="sequence name, as the FASTA spells it where it has it")
    pos: int = pa.Field(nullable=True, description="position of the first base of `ref`, 1-based")
    ref: str = pa.Field(nullable=True, description="reference bases")
    alt: str = pa.Field(nullable=True, description="alternate bases")
    edit_type: pl.UInt8 = pa.Field(nullable=True, isin=[0, 1, 2, 3, 4], description="EditType of the allele")
    label: pl.Int8 = pa.Field(
        nullable=True, isin=[0, 1], description="1 pathogenic, loss of function or causal, 0 not; null: none given"
    )
    value: float = pa.Field(nullable=True, description="functional score as published; its direction is the table's")
    match_group: str = pa.Field(nullable=True, description="TraitGym: the causal allele's group of matched controls")
    stars: pl.Int8 = pa.Field(
        nullable=True, in_range={"min_value": 0, "max_value": 4}, description="ClinVar review status, 0 to 4 gold stars"
    )
    consequence: str = pa.Field(nullable=True, description="ClinVar's most severe Sequence Ontology term")
    exon_distance_bp: int = pa.Field(
        nullable=True, ge=0, description="bases to the nearest exon, 0 inside; null where no exon is known"
    )
    af: pl.Float32 = pa.Field(
        nullable=True, in_range={"min_value": 0, "max_value": 1}, description="frequency, null where no file has it"
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
    reason: str = pa.Field(nullable=True, description="why the row takes no part; null: it does")
    note: str = pa.Field(nullable=True, description="of a file that could not be read: the sentence that says why")

    @pa.dataframe_check(name="a row that takes part has an allele and a label or value")
    def _whole(cls, data: pa.PolarsData) -> pl.LazyFrame:
        allele = pl.all_horizontal(pl.col("contig", "pos", "ref", "alt", "edit_type").is_not_null())
        judged = pl.col("label").is_not_null() | pl.col("value").is_not_null()
        return data.lazyframe.select(pl.col("reason").is_not_null() | (allele & judged))
