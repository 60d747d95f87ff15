"""Genes from the files in which they are published (spec 3).

Belongs here: GTF and GFF3, of GENCODE, Ensembl or RefSeq, turned into the table `GeneAnnotation` with the FASTA's
contig names. Does not: repeats (`repeats_io`), what an allele does to a gene (`context`, `consequence`).

The concept: the dialects differ in ways that would silently shift codons, so they are levelled here:

- a GTF's CDS ends before the stop codon, a GFF3's includes it: `stop_codon` rows are joined to the CDS they touch;
- the phase column says how many bases of a coding segment come before its first whole codon: it is kept, since a
  coding sequence that is incomplete at its 5' end begins inside a codon. Where it is missing, or 0 throughout a coding
  sequence whose segments are no whole codons, the phases are counted from the segments' lengths;
- a selenocysteine is a row of its own (`Selenocysteine` in GTF, `stop_codon_redefined_as_selenocysteine` in GFF3), or
  RefSeq's attribute `transl_except` on the CDS: both become rows of the feature `selenocysteine`;
- GFF3 names a gene on the parent of the parent of an exon, GTF on the exon itself;
- RefSeq's GTF calls every transcript without a record of its own (all of chrM) `unknown_transcript_1`, which would be
  one transcript of many genes: such a transcript has its gene's name, as in RefSeq's GFF3.

A transcript's span runs from its first to its last exon. Features on contigs that the FASTA lacks are dropped.
Coordinates in the table are 0-based, half-open, as in BED; GTF and GFF3 are 1-based, inclusive.
"""

from __future__ import annotations

import logging
import re
from pathlib import Path

import polars as pl

from data_contracts import GeneAnnotation, validate
from geno_model.genomics.errors import InputError
from geno_model.genomics.feature_lines import line_blocks, require_build, table_of, to_contigs, with_span
from geno_model.genomics.genome import Genome

_LOG = logging.getLogger(__name__)
_GFF_COLUMNS = ("contig", "source", "feature", "start", "end", "score", "strand", "phase", "attributes")
_FEATURES = {
    "exon": "exon",
    "pseudogenic_exon": "exon",
    "CDS": "CDS",
    "stop_codon": "stop_codon",
    "Selenocysteine": "selenocysteine",
    "stop_codon_redefined_as_selenocysteine": "selenocysteine",
}


def read_genes(path: Path | str, genome: Genome) -> pl.DataFrame:
    """Exons, coding segments and transcripts of a GTF or GFF3 (plain or compressed) as a `GeneAnnotation`.

    Raises InputError when the file is missing, damaged, neither format, without exons, of other contigs than the
    FASTA's, or is of another build (WrongBuildError; or it reaches beyond a contig's end).
    """
    parts: list[pl.DataFrame] = []
    parents: list[pl.DataFrame] = []
    is_gff3 = False
    for block in line_blocks(path, "gene annotation"):
        require_build(block, genome, path, "gene annotation")
        end = re.search(rb"^(##FASTA|>)", block, flags=re.MULTILINE)
        rows = _gff_rows(block[: end.start()] if end else block, path)
        if rows.height:
            is_gff3 = bool(re.match(r"^[^ \"]+=", rows["attributes"][0]))
            parts.append(_gff3_features(rows) if is_gff3 else _gtf_features(rows))
            parents.append(_gff3_parents(rows) if is_gff3 else pl.DataFrame())
        if end:
            break
    features = pl.concat(parts) if parts else pl.DataFrame()
    if not features.height:
        raise InputError(f"gene annotation {path} holds no exon or CDS of a transcript; expected a GTF or GFF3 file")
    if is_gff3:
        features = _name_by_parents(features, pl.concat(parents))
    of_transcript = pl.col("biotype").drop_nulls().first().over(_KEY)  # RefSeq's GTF has it on the exons alone
    features = features.with_columns(pl.coalesce("gene", "transcript_id").alias("gene"), of_transcript)
    features = to_contigs(features.filter(pl.col("strand").is_in(["+", "-"])), genome, path, "gene annotation")
    return validate(GeneAnnotation, _assemble(features))


def _gff_rows(block: bytes, path: Path | str) -> pl.DataFrame:
    rows = table_of(block, _GFF_COLUMNS)
    if rows["attributes"].has_nulls():
        n = rows["attributes"].null_count()
        raise InputError(
            f"gene annotation {path}: {n} lines have fewer than 9 tab-separated columns; not a GTF or GFF3"
        )
    return with_span(rows, path, "gene annotation", 1)


def _attribute(pattern: str, *names: str) -> pl.Expr:
    """The first of these attributes that a row has."""
    attributes = pl.col("attributes")
    return pl.coalesce([attributes.str.extract(pattern.format(name=name)) for name in names])


_GTF = r'(?:^|;\s*){name} "([^"]+)"'
_GFF3 = r"(?:^|;\s*){name}=([^;]+)"
_BIOTYPES = ("biotype", "transcript_biotype", "transcript_type", "gene_biotype", "gene_type")


def _features(rows: pl.DataFrame) -> pl.DataFrame:
    phase = pl.col("phase").str.extract(r"^([012])$").cast(pl.Int64)
    phase = pl.when(pl.col("feature") == "CDS").then(phase)  # a stop codon's is that of the segment it is joined to
    rows = rows.filter(pl.col("feature").is_in(list(_FEATURES))).with_columns(
        pl.col("feature").replace(_FEATURES), phase.alias("phase")
    )
    return pl.concat([rows, _selenocysteines(rows)])


def _selenocysteines(rows: pl.DataFrame) -> pl.DataFrame:
    """A row for each span that `transl_except` of a CDS says is read so: `(pos:complement(21..23)%2Caa:Sec)`."""
    said = pl.col("attributes").str.replace_all("%2C", ",", literal=True)
    said = said.str.extract_all(r"pos:(?:[\d.,()<>]|join|complement)+aa:Sec").list.join(" ")
    rows = rows.filter((pl.col("feature") == "CDS") & pl.col("attributes").str.contains("aa:Sec", literal=True))
    rows = rows.with_columns(said.str.extract_all(r"\d+(?:\.\.\d+)?").alias("span")).explode("span")
    rows = rows.filter(pl.col("span").is_not_null()).with_columns(
        pl.lit("selenocysteine").alias("feature"),
        pl.col("span").str.extract(r"^(\d+)").cast(pl.Int64) - 1,
        pl.col("span").str.extract(r"(\d+)$").cast(pl.Int64).alias("end_bp"),
        pl.lit(None, pl.Int64).alias("phase"),
    )
    return rows.with_columns(pl.col("span").alias("start_bp")).drop("span")


_FEATURE_COLUMNS = ["contig", "start_bp", "end_bp", "strand", "feature", "transcript_id", "gene", "biotype", "phase"]


def _gtf_features(rows: pl.DataFrame) -> pl.DataFrame:
    transcript = pl.col("transcript_id")
    rows = _features(rows).with_columns(
        _attribute(_GTF, "transcript_id").alias("transcript_id"),
        _attribute(_GTF, "gene_id").alias("gene_id"),
        _attribute(_GTF, "gene_name", "gene", "gene_id").alias("gene"),
        _attribute(_GTF, *_BIOTYPES).replace("mRNA", "protein_coding").alias("biotype"),  # RefSeq's word
    )
    has_no_record = transcript.str.contains(r"^(unknown|unassigned)_transcript_\d+$")
    named = pl.when(has_no_record).then(pl.coalesce("gene_id", transcript)).otherwise(transcript)
    rows = rows.with_columns(named.alias("transcript_id"))
    return rows.filter(transcript.is_not_null()).select(_FEATURE_COLUMNS)


def _gff3_features(rows: pl.DataFrame) -> pl.DataFrame:
    """One row a feature and parent; gene and biotype are on the parents and come later."""
    parent = _attribute(_GFF3, "Parent").str.split(",").alias("transcript_id")
    rows = _features(rows).with_columns(
        parent, pl.lit(None, pl.String).alias("gene"), pl.lit(None, pl.String).alias("biotype")
    )
    return rows.explode("transcript_id").filter(pl.col("transcript_id").is_not_null()).select(_FEATURE_COLUMNS)


def _gff3_parents(rows: pl.DataFrame) -> pl.DataFrame:
    """Transcripts and genes: id, parent, symbol, name, gene_id, biotype."""
    rows = rows.filter(~pl.col("feature").is_in(list(_FEATURES))).select(
        _attribute(_GFF3, "ID").alias("id"),
        _attribute(_GFF3, "Parent").alias("parent"),
        _attribute(_GFF3, "gene_name", "gene").alias("symbol"),
        _attribute(_GFF3, "Name").alias("name"),
        _attribute(_GFF3, "gene_id").alias("gene_id"),
        _attribute(_GFF3, *_BIOTYPES).alias("biotype"),
    )
    return rows.filter(pl.col("id").is_not_null())


def _name_by_parents(features: pl.DataFrame, parents: pl.DataFrame) -> pl.DataFrame:
    """Gene symbol (else gene id) and biotype from a feature's transcript and that transcript's gene."""
    parents = parents.unique("id", keep="first", maintain_order=True)
    genes = parents.rename({name: f"of_{name}" for name in parents.columns})
    named = parents.join(genes, left_on="parent", right_on="of_id", how="left")
    named = named.select(
        pl.col("id").alias("transcript_id"),
        # A transcript's own Name is the transcript's; one without a parent is a gene, or stands for one.
        pl.coalesce(
            "symbol",
            "of_symbol",
            "of_name",
            "of_gene_id",
            pl.when(pl.col("parent").is_null()).then("name"),
            _without_prefix("parent"),
        ).alias("gene"),
        pl.coalesce("biotype", "of_biotype").alias("biotype"),
    )
    features = features.drop("gene", "biotype").join(named, on="transcript_id", how="left", maintain_order="left")
    return features.with_columns(_without_prefix("transcript_id")).select(_FEATURE_COLUMNS)


def _without_prefix(column: str) -> pl.Expr:
    """An id without the prefix by which Ensembl and NCBI tell kinds of features apart."""
    return pl.col(column).str.replace(r"^(transcript:|gene:|rna-|gene-)", "")


_KEY = ["contig", "transcript_id", "strand"]
_NO_PHASE = pl.lit(None, pl.Int64).alias("phase")


def _assemble(features: pl.DataFrame) -> pl.DataFrame:
    """Exons, coding segments with their phases, selenocysteines and transcripts, sorted."""
    cds = _with_phases(_join_stop_codons(features.filter(pl.col("feature").is_in(["CDS", "stop_codon"]))))
    cds = cds.select(_FEATURE_COLUMNS)
    features = features.select(_FEATURE_COLUMNS)
    exons, selenocysteines = (features.filter(pl.col("feature") == name) for name in ("exon", "selenocysteine"))
    # A transcript given by its CDS alone has these for exons.
    exons = pl.concat(
        [exons, cds.join(exons, on=_KEY, how="anti").with_columns(pl.lit("exon").alias("feature"), _NO_PHASE)]
    )
    labels = pl.col("gene", "biotype").first()
    spans = exons.group_by(_KEY).agg(pl.col("start_bp").min(), pl.col("end_bp").max(), labels)
    spans = spans.with_columns(pl.lit("transcript").alias("feature"), _NO_PHASE).select(_FEATURE_COLUMNS)
    return (
        pl.concat([exons, cds, selenocysteines, spans])
        .unique()
        .sort("contig", "start_bp", "end_bp", "transcript_id", "feature", "strand")
    )


def _join_stop_codons(cds: pl.DataFrame) -> pl.DataFrame:
    """CDS and stop_codon rows -> CDS rows; a stop codon that touches or overlaps a segment becomes part of it.

    Two CDS segments are never joined: they touch or overlap where a ribosome slips.
    """
    cds = cds.unique().sort(*_KEY, "start_bp", "end_bp")
    is_stop = pl.col("feature") == "stop_codon"
    touches = (pl.col("start_bp") <= pl.col("end_bp").shift(1)) & (is_stop | is_stop.shift(1))
    same = pl.all_horizontal([pl.col(name) == pl.col(name).shift(1) for name in _KEY])
    cds = cds.with_columns((~(touches & same)).fill_null(True).cum_sum().alias("segment"))
    joined = cds.group_by("segment", maintain_order=True).agg(
        pl.col("contig").first(),
        pl.col("start_bp").min(),
        pl.col("end_bp").max(),
        pl.col("strand").first(),
        pl.lit("CDS").alias("feature"),
        pl.col("phase").drop_nulls().first(),
        pl.col("transcript_id", "gene", "biotype").first(),
    )
    return joined.drop("segment")


def _with_phases(cds: pl.DataFrame) -> pl.DataFrame:
    """Phases as given, else counted from the lengths of the segments before, from the first one's phase on."""
    length, phase = pl.col("end_bp") - pl.col("start_bp"), pl.col("phase")
    along = pl.when(pl.col("strand") == "+").then(pl.col("start_bp")).otherwise(-pl.col("end_bp"))
    counted = (phase.first().fill_null(0) - (length.cum_sum() - length)).mod(3).over(_KEY)
    is_given = (phase > 0).any().over(_KEY)
    cds = cds.sort(*_KEY, along).with_columns(counted.alias("counted"), is_given.alias("is_given"))
    cds = cds.with_columns(
        pl.when("is_given").then(pl.coalesce("phase", "counted")).otherwise("counted").alias("phase")
    )
    n_shifted = cds.filter(pl.col("phase") != pl.col("counted")).select(_KEY).n_unique()
    if n_shifted:
        _LOG.info(
            "%d coding sequences have a segment whose phase does not follow from the lengths of those before (a gap in "
            "an alignment); the phase is followed",
            n_shifted,
        )
    return cds
