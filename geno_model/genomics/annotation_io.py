"""Genes from the files in which they are published (spec 3).

Belongs here: GTF and GFF3, of GENCODE, Ensembl or RefSeq, turned into the table `GeneAnnotation` with the FASTA's
contig names. Does not: repeats (`repeats_io`), what an allele does to a gene (`context`, `consequence`).

The concept: the dialects differ in ways that would silently shift codons, so they are levelled here:

- a GTF's CDS ends before the stop codon, a GFF3's includes it: `stop_codon` rows are joined to the CDS they touch;
- a coding sequence that is incomplete at its 5' end begins inside a codon and says so in its phase column: those one
  or two bases are cut off, so that in the table every coding sequence begins with a whole codon;
- GFF3 names a gene on the parent of the parent of an exon, GTF on the exon itself;
- RefSeq's GTF calls every transcript without a record of its own (all of chrM) `unknown_transcript_1`, which would be
  one transcript of many genes: such a transcript has its gene's name, as in RefSeq's GFF3.

A transcript's span runs from its first to its last exon. Features on contigs that the FASTA lacks are dropped.
Coordinates in the table are 0-based, half-open, as in BED; GTF and GFF3 are 1-based, inclusive.
"""

from __future__ import annotations

import re
from pathlib import Path

import polars as pl

from data_contracts import GeneAnnotation, validate
from geno_model.genomics.errors import InputError
from geno_model.genomics.feature_lines import line_blocks, require_build, table_of, to_contigs, with_span
from geno_model.genomics.genome import Genome

_GFF_COLUMNS = ("contig", "source", "feature", "start", "end", "score", "strand", "phase", "attributes")
_FEATURES = {"exon": "exon", "pseudogenic_exon": "exon", "CDS": "CDS", "stop_codon": "stop_codon"}


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
    return rows.filter(pl.col("feature").is_in(list(_FEATURES))).with_columns(
        pl.col("feature").replace(_FEATURES), pl.col("phase").cast(pl.Int64, strict=False).fill_null(0)
    )


_FEATURE_COLUMNS = ["contig", "start_bp", "end_bp", "strand", "feature", "phase", "transcript_id", "gene", "biotype"]


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


def _assemble(features: pl.DataFrame) -> pl.DataFrame:
    """Exons, whole-codon coding segments and transcripts, sorted."""
    cds = _whole_codons(_join_stop_codons(features.filter(pl.col("feature") != "exon")))
    exons = features.filter(pl.col("feature") == "exon").drop("phase")
    # A transcript given by its CDS alone has these for exons.
    exons = pl.concat([exons, cds.join(exons, on=_KEY, how="anti").with_columns(pl.lit("exon").alias("feature"))])
    labels = pl.col("gene", "biotype").first()
    spans = exons.group_by(_KEY).agg(pl.col("start_bp").min(), pl.col("end_bp").max(), labels)
    spans = spans.with_columns(pl.lit("transcript").alias("feature")).select(exons.columns)
    return (
        pl.concat([exons, cds, spans])
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
    # The phase is that of the part which is translated first.
    phase = pl.when(pl.col("strand").first() == "+").then(pl.col("phase").first()).otherwise(pl.col("phase").last())
    joined = cds.group_by("segment", maintain_order=True).agg(
        pl.col("contig").first(),
        pl.col("start_bp").min(),
        pl.col("end_bp").max(),
        pl.col("strand").first(),
        pl.lit("CDS").alias("feature"),
        phase.alias("phase"),
        pl.col("transcript_id", "gene", "biotype").first(),
    )
    return joined.drop("segment")


def _whole_codons(cds: pl.DataFrame) -> pl.DataFrame:
    """Cut the bases before the first whole codon off the first segment of each coding sequence; phase is dropped."""
    forward = pl.col("strand") == "+"
    is_first = (
        pl.when(forward)
        .then(pl.col("start_bp") == pl.col("start_bp").min().over(_KEY))
        .otherwise(pl.col("end_bp") == pl.col("end_bp").max().over(_KEY))
    )
    # A first segment that is shorter than its phase holds no codon's start: the next one's phase counts.
    cds = cds.filter(~(is_first & (pl.col("end_bp") - pl.col("start_bp") <= pl.col("phase"))))
    cut = pl.when(is_first).then(pl.col("phase")).otherwise(0)
    return cds.with_columns(
        pl.col("start_bp") + pl.when(forward).then(cut).otherwise(0),
        pl.col("end_bp") - pl.when(forward).then(0).otherwise(cut),
    ).drop("phase")
