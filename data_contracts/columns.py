"""Columns that several tables share: one meaning, one unit and one rule for each name.

Belongs here: field factories, types of nested columns, closed sets of names, and rules over several columns.
Does not belong here: a table (one module each), and any import of ours.

Coordinates, in every table: `pos` is 1-based (VCF); all `*_bp` columns are 0-based, half-open. An allele is upper
case, 1 to 16 bp on either side; one that comes from a VCF is trimmed and left-aligned (the rule of `bcftools norm`).
Source: spec 1, 3.
"""

from __future__ import annotations

from typing import Any

import pandera.polars as pa
import polars as pl

MAX_ALLELE_BP = 16
BASES_PER_TOKEN = 6
SHA256 = r"^[0-9a-f]{64}$"
ALLELE = rf"^[ACGT]{{1,{MAX_ALLELE_BP}}}$"

EDIT = pl.Struct({"pos": pl.Int64, "ref": pl.String, "alt": pl.String})
EDITS = pl.List(EDIT)

HOLDOUT_CHR = "holdout-chr"
HOLDOUT_CLINVAR = "holdout-clinvar"
HOLDOUT_HAPLOTYPES = "holdout-haplotypes"
HOLDOUTS = (HOLDOUT_CHR, HOLDOUT_CLINVAR, HOLDOUT_HAPLOTYPES)

GNOMAD = "gnomad"
SYNTHETIC_SNV = "synthetic_snv"
SYNTHETIC_INDEL = "synthetic_indel"
CLINVAR = "clinvar"
MIX_SOURCES = (GNOMAD, SYNTHETIC_SNV, SYNTHETIC_INDEL, CLINVAR)
PHASED = "phased"
ROW_SOURCES = (*MIX_SOURCES, PHASED)

POPULATIONS = ("afr", "amr", "asj", "eas", "fin", "mid", "nfe", "sas", "remaining")
_PEOPLE = {
    "afr": "African and African American",
    "amr": "admixed American",
    "asj": "Ashkenazi Jewish",
    "eas": "East Asian",
    "fin": "Finnish",
    "mid": "Middle Eastern",
    "nfe": "non-Finnish European (1000 Genomes: all European)",
    "sas": "South Asian",
    "remaining": "other or unassigned",
}

REGION_CLASSES = (
    "coding_nonsense",
    "splice",
    "coding_missense",
    "coding_synonymous",
    "utr5",
    "utr3",
    "promoter",
    "intron",
    "enhancer",
    "intergenic",
    "other",
)
ANNOTATED_REPEATS = ("simple", "low_complexity", "transposon", "segmental_dup")
REPEAT_CLASSES = ("none", *ANNOTATED_REPEATS)


class Table(pa.DataFrameModel):
    """Base of all tables: the columns named and no others."""

    class Config:
        """pandera settings."""

        strict = True


def contig() -> Any:
    """Name of a sequence as the FASTA spells it."""
    return pa.Field(str_length={"min_value": 1}, description="sequence name, as the FASTA spells it")


def pos() -> Any:
    """1-based position of an allele."""
    return pa.Field(ge=1, description="position of the first base of `ref`, 1-based")


def ref() -> Any:
    """Reference allele."""
    return pa.Field(str_matches=ALLELE, description="reference bases, upper case, 1-16 bp")


def alt() -> Any:
    """Alternate allele."""
    return pa.Field(str_matches=ALLELE, description="alternate bases, upper case, 1-16 bp")


def edit_type(description: str = "EditType of the allele") -> Any:
    """Edit type 0..4 (5, SV, is no edit of v1)."""
    return pa.Field(isin=[0, 1, 2, 3, 4], description=f"{description}: SNV 0, INS 1, DEL 2, MNV 3, INDEL 4")


def start_bp(what: str = "span") -> Any:
    """First base of a span."""
    return pa.Field(ge=0, description=f"first base of the {what}, 0-based")


def end_bp(what: str = "span") -> Any:
    """Base after the last of a span."""
    return pa.Field(ge=1, description=f"base after the last of the {what}, 0-based (half-open)")


def edits() -> Any:
    """Edits of one row, in the order of their position."""
    return pa.Field(
        dtype_kwargs={"inner": EDIT},
        description="edits in the order of pos (1-based), that do not overlap: list of {pos, ref, alt}",
    )


def af_of(population: str) -> Any:
    """Allele frequency in one of `POPULATIONS`."""
    return pa.Field(
        nullable=True,
        in_range={"min_value": 0, "max_value": 1},
        description=f"frequency among {_PEOPLE[population]} people; null where the file does not tell",
    )


def stars() -> Any:
    """ClinVar review status."""
    return pa.Field(in_range={"min_value": 0, "max_value": 4}, description="ClinVar review status, 0 to 4 gold stars")


def region_class() -> Any:
    """Region class of an allele."""
    return pa.Field(isin=list(REGION_CLASSES), description="most severe region class over the transcripts (spec 5)")


def repeat_class() -> Any:
    """Repeat class of an allele."""
    return pa.Field(isin=list(REPEAT_CLASSES), description="class of the repeat that the allele lies in, or none")


def surprise_raw() -> Any:
    """Raw surprise."""
    return pa.Field(
        in_range={"min_value": 0, "max_value": 2.01}, description="norm of predicted minus actual state, no unit"
    )


def displacement() -> Any:
    """Displacement of the state."""
    return pa.Field(
        in_range={"min_value": 0, "max_value": 2.01}, description="1 - cosine of predicted and reference state"
    )


def span_in_order(data: pa.PolarsData, start: str = "start_bp", end: str = "end_bp") -> pl.LazyFrame:
    """A span holds at least one base."""
    return data.lazyframe.select(pl.col(start) < pl.col(end))


def alleles_differ(data: pa.PolarsData) -> pl.LazyFrame:
    """An edit changes something."""
    return data.lazyframe.select(pl.col("ref") != pl.col("alt"))


def k_edits_in_order(data: pa.PolarsData) -> pl.LazyFrame:
    """A row has k edits, each a proper allele, the next one beginning after the last one's reference bases end."""
    field = pl.element().struct.field
    apart = (field("pos") >= (field("pos") + field("ref").str.len_bytes()).shift(1)).fill_null(True)
    proper = (
        field("ref").str.contains(ALLELE)
        & field("alt").str.contains(ALLELE)
        & (field("ref") != field("alt"))
        & (field("pos") >= 1)
    )
    return data.lazyframe.select(
        (pl.col("edits").list.len() == pl.col("k")) & pl.col("edits").list.eval(apart & proper).list.all()
    )


def row_inside_window(data: pa.PolarsData) -> pl.LazyFrame:
    """All reference bases of a row's edits, and its pooling centre, lie in the row's window."""
    start, end = pl.col("window_start_bp"), pl.col("window_end_bp")
    first = pl.col("edits").list.first().struct.field("pos") - 1
    last = pl.col("edits").list.last()
    after = last.struct.field("pos") - 1 + last.struct.field("ref").str.len_bytes()
    pooled = start + pl.col("pool_token").cast(pl.Int64) * BASES_PER_TOKEN < end
    return data.lazyframe.select((first >= start) & (after <= end) & pooled)
