"""Genes and repeats from the files in which they are published (spec 3).

Belongs here: GTF, GFF3, RepeatMasker `.out` and BED, turned into the tables `GeneAnnotation` and `RepeatAnnotation`
with the FASTA's contig names. Does not: what an allele does to a gene (`context`, `consequence`).

The concept: the dialects differ in three ways that would silently shift codons, so they are levelled here:

- a GTF's CDS ends before the stop codon, a GFF3's includes it: `stop_codon` rows are joined to the CDS they touch;
- a coding sequence that is incomplete at its 5' end begins inside a codon and says so in its phase column: those one
  or two bases are cut off, so that in the table every coding sequence begins with a whole codon;
- GFF3 names a gene on the parent of the parent of an exon, GTF on the exon itself.

A transcript's span runs from its first to its last exon. Features on contigs that the FASTA lacks are dropped.
Coordinates in the tables are 0-based, half-open, as in BED; GTF, GFF3 and `.out` are 1-based, inclusive.
"""

from __future__ import annotations

import logging
import re
from collections.abc import Iterator
from pathlib import Path

import polars as pl

from data_contracts import GeneAnnotation, RepeatAnnotation, validate
from data_contracts.columns import ANNOTATED_REPEATS
from geno_model.genomics.errors import InputError
from geno_model.genomics.genome import Genome
from geno_model.genomics.text_input import open_bytes

_LOG = logging.getLogger(__name__)
_BLOCK = 32 << 20
_NAMES_SHOWN = 5

_GFF_COLUMNS = ("contig", "source", "feature", "start", "end", "score", "strand", "phase", "attributes")
_FEATURES = {"exon": "exon", "pseudogenic_exon": "exon", "CDS": "CDS", "stop_codon": "stop_codon"}
_BED_COLUMNS = ("contig", "start", "end", "name")
_OUT_LINE = (
    r"^\s*\d+\s+[\d.]+\s+[\d.]+\s+[\d.]+\s+(?<contig>\S+)\s+(?<start>\d+)\s+(?<end>\d+)"
    r"\s+\S+\s+[+C]\s+(?<name>\S+)\s+(?<class>\S+)"
)
# Repeat class by RepeatMasker's class/family, and by the repeat's own name where a BED has no class. First match wins;
# "" is a repeat-masked RNA gene, which is no repeat of ours.
_REPEAT_PATTERNS = (
    (r"(?i)^(simple_repeat|satellite|trf$)|^\([ACGTN]+\)n$", "simple"),
    (r"(?i)^(low_complexity|s?dust$)|-rich$|^poly(purine|pyrimidine)", "low_complexity"),
    (r"(?i)^(segmental|seg_?dup|superdup)|^[\w.]+:\d+", "segmental_dup"),
    (r"^(ALR|BSR|HSAT|GSAT|SATR|SUBTEL|SST1|REP522|TAR1|CER$|LSAU|ACRO1|D20S16|MSR1|SAR$)", "simple"),
    (r"^(RNA|rRNA|tRNA|snRNA|scRNA|srpRNA|7SK|7SLRNA|5S$|HY\d$|U\d+$|[LS]SU-rRNA)", ""),
    (r"", "transposon"),
)


def read_genes(path: Path | str, genome: Genome) -> pl.DataFrame:
    """Exons, coding segments and transcripts of a GTF or GFF3 (plain or compressed) as a `GeneAnnotation`.

    Raises InputError when the file is missing, damaged, neither format, without exons, of other contigs than the
    FASTA's, or reaches beyond a contig's end (another build).
    """
    parts: list[pl.DataFrame] = []
    parents: list[pl.DataFrame] = []
    is_gff3 = False
    for block in _line_blocks(path, "gene annotation"):
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
    features = features.with_columns(pl.coalesce("gene", "transcript_id").alias("gene"))
    features = _to_contigs(features.filter(pl.col("strand").is_in(["+", "-"])), genome, path, "gene annotation")
    return validate(GeneAnnotation, _assemble(features))


def read_repeats(path: Path | str, genome: Genome, repeat_class: str | None = None) -> pl.DataFrame:
    """Repeats of a RepeatMasker `.out` or of a BED (plain or compressed) as a `RepeatAnnotation`.

    A `.out` says each repeat's class. In a BED the name column (4th) is judged: a class such as `Simple_repeat` or
    `LINE/L1`, a name such as `(AC)n`, `A-rich` or `AluSx`, or `chr1:1234` (a segmental duplication of UCSC). Satellites
    count as simple (both are tandem), RNA genes are dropped, any other name is a transposon.
    repeat_class: the class of every row, for files of one class (simple repeats, segmental duplications).
    Raises InputError as `read_genes` does, and ValueError for an unknown `repeat_class`.
    """
    if repeat_class is not None and repeat_class not in ANNOTATED_REPEATS:
        raise ValueError(f"repeat_class is {repeat_class!r}; expected one of {', '.join(ANNOTATED_REPEATS)}")
    parts: list[pl.DataFrame] = []
    is_out: bool | None = None
    for block in _line_blocks(path, "repeat annotation"):
        if is_out is None:
            is_out = bool(re.match(rb"\s*SW\s", block)) or bool(
                re.match(_OUT_LINE.replace("?<", "?P<").encode(), block)
            )
        parts.append(_out_rows(block, path) if is_out else _bed_rows(block, path))
    rows = pl.concat(parts) if parts else pl.DataFrame()
    if not rows.height:
        raise InputError(f"repeat annotation {path} holds no repeats; expected a RepeatMasker .out or a BED file")
    if repeat_class is None and rows["name"].has_nulls():
        raise InputError(
            f"repeat annotation {path} has no name column to tell the class by; state the class of the file"
        )
    rows = _to_contigs(rows, genome, path, "repeat annotation")
    rows = rows.with_columns(_repeat_class() if repeat_class is None else pl.lit(repeat_class).alias("repeat_class"))
    columns = ["contig", "start_bp", "end_bp", "repeat_class"]
    rows = rows.filter((pl.col("repeat_class") != "") & (pl.col("start_bp") < pl.col("end_bp"))).select(columns)
    return validate(RepeatAnnotation, rows.unique().sort(columns))


def _line_blocks(path: Path | str, what: str) -> Iterator[bytes]:
    """The text of a file in blocks of whole lines, so that memory does not grow with the file."""
    with open_bytes(path, what) as stream:
        while block := stream.read(_BLOCK):
            yield block + stream.readline()


def _table(block: bytes, columns: tuple[str, ...]) -> pl.DataFrame:
    """Tab-separated lines as text columns; comments and blank lines left out, missing fields null."""
    schema = dict.fromkeys(columns, pl.String)
    rows = pl.read_csv(
        block,
        separator="\t",
        has_header=False,
        schema=schema,
        comment_prefix="#",
        quote_char=None,
        missing_columns="insert",
        extra_columns="ignore",
        truncate_ragged_lines=True,
        raise_if_empty=False,
    )
    return rows.filter(pl.col(columns[0]).str.strip_chars().fill_null("") != "")


def _with_span(rows: pl.DataFrame, path: Path | str, what: str, first_base: int) -> pl.DataFrame:
    """Text columns start, end -> start_bp, end_bp; first_base: how the format numbers the first base of a contig."""
    rows = rows.with_columns(
        pl.col("start").cast(pl.Int64, strict=False) - first_base, pl.col("end").cast(pl.Int64, strict=False)
    ).rename({"start": "start_bp", "end": "end_bp"})
    ok = (pl.col("start_bp") >= 0) & (pl.col("end_bp") >= pl.col("start_bp"))
    bad = rows.with_row_index("row").filter(~ok.fill_null(False))
    if bad.height:
        raise InputError(
            f"{what} {path}: {bad.height} lines are malformed, first one on contig {bad['contig'][0]} with "
            f"span {bad['start_bp'][0]} to {bad['end_bp'][0]} (0-based); expected two whole numbers in order"
        )
    return rows


def _gff_rows(block: bytes, path: Path | str) -> pl.DataFrame:
    rows = _table(block, _GFF_COLUMNS)
    if rows["attributes"].has_nulls():
        n = rows["attributes"].null_count()
        raise InputError(
            f"gene annotation {path}: {n} lines have fewer than 9 tab-separated columns; not a GTF or GFF3"
        )
    return _with_span(rows, path, "gene annotation", 1)


def _attribute(pattern: str, *names: str) -> pl.Expr:
    """The first of these attributes that a row has."""
    attributes = pl.col("attributes")
    return pl.coalesce([attributes.str.extract(pattern.format(name=name)) for name in names])


_GTF = r'(?:^|;\s*){name} "([^"]+)"'
_GFF3 = r"(?:^|;\s*){name}=([^;]+)"


def _features(rows: pl.DataFrame) -> pl.DataFrame:
    return rows.filter(pl.col("feature").is_in(list(_FEATURES))).with_columns(
        pl.col("feature").replace(_FEATURES), pl.col("phase").cast(pl.Int64, strict=False).fill_null(0)
    )


_FEATURE_COLUMNS = ["contig", "start_bp", "end_bp", "strand", "feature", "phase", "transcript_id", "gene", "biotype"]


def _gtf_features(rows: pl.DataFrame) -> pl.DataFrame:
    biotypes = ("transcript_biotype", "transcript_type", "gene_biotype", "gene_type")
    rows = _features(rows).with_columns(
        _attribute(_GTF, "transcript_id").alias("transcript_id"),
        _attribute(_GTF, "gene_name", "gene", "gene_id").alias("gene"),
        _attribute(_GTF, *biotypes).alias("biotype"),
    )
    return rows.filter(pl.col("transcript_id").is_not_null()).select(_FEATURE_COLUMNS)


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
        _attribute(_GFF3, "biotype", "transcript_biotype", "transcript_type", "gene_type").alias("biotype"),
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
        pl.col("biotype"),
    )
    features = features.drop("gene", "biotype").join(named, on="transcript_id", how="left", maintain_order="left")
    return features.with_columns(_without_prefix("transcript_id")).select(_FEATURE_COLUMNS)


def _without_prefix(column: str) -> pl.Expr:
    """An id without the prefix by which Ensembl and NCBI tell kinds of features apart."""
    return pl.col(column).str.replace(r"^(transcript:|gene:|rna-|gene-)", "")


def _to_contigs(rows: pl.DataFrame, genome: Genome, path: Path | str, what: str) -> pl.DataFrame:
    """Rename contigs as the FASTA has them and drop those that it lacks."""
    found = rows["contig"].unique().sort().to_list()
    names = {name: resolved for name in found if (resolved := genome.resolve(name)) is not None}
    if not names:
        raise InputError(
            f"{what} {path} has none of the FASTA's contigs: it has {_shown(found)}, {genome.fasta} has "
            f"{_shown(list(genome.contigs))}; take the annotation of the FASTA's build and naming"
        )
    if len(names) < len(found):
        _LOG.info(
            "%s %s: %d of %d contigs are not in the FASTA and are left out",
            what,
            path,
            len(found) - len(names),
            len(found),
        )
    rows = rows.filter(pl.col("contig").is_in(list(names))).with_columns(pl.col("contig").replace_strict(names))
    length = pl.col("contig").replace_strict(genome.contigs, return_dtype=pl.Int64)
    beyond = rows.filter(pl.col("end_bp") > length)
    if beyond.height:
        contig = beyond["contig"][0]
        raise InputError(
            f"{what} {path}: {beyond.height} features reach beyond their contig's end, first {beyond['end_bp'][0]} on "
            f"{contig}, which has {genome.contigs[contig]} bp in {genome.fasta}; it is probably of another build"
        )
    return rows


def _shown(names: list[str]) -> str:
    return ", ".join(names[:_NAMES_SHOWN]) + (
        f" and {len(names) - _NAMES_SHOWN} more" if len(names) > _NAMES_SHOWN else ""
    )


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


def _repeat_class() -> pl.Expr:
    """Class of a repeat by `name`, see `_REPEAT_PATTERNS`."""
    branches = [
        pl.when(pl.col("name").str.contains(pattern)).then(pl.lit(label)) for pattern, label in _REPEAT_PATTERNS
    ]
    return pl.coalesce(branches).alias("repeat_class")


def _out_rows(block: bytes, path: Path | str) -> pl.DataFrame:
    """contig, start_bp, end_bp, name (the class/family) of a RepeatMasker .out."""
    lines = pl.Series("line", block.decode("ascii", "replace").split("\n")).to_frame()
    lines = lines.filter(pl.col("line").str.contains(r"^\s*\d"))
    fields = lines.select(pl.col("line").str.extract_groups(_OUT_LINE).alias("field")).unnest("field")
    fields = fields.select("contig", "start", "end", pl.col("class").alias("name"))
    if fields["name"].has_nulls():
        raise InputError(
            f"repeat annotation {path}: {fields['name'].null_count()} lines are not of RepeatMasker's .out layout"
        )
    return _with_span(fields, path, "repeat annotation", 1)


def _bed_rows(block: bytes, path: Path | str) -> pl.DataFrame:
    """contig, start_bp, end_bp, name (null where there is none) of a BED."""
    rows = _table(block, _BED_COLUMNS).filter(~pl.col("contig").str.contains(r"^(track|browser)\b"))
    return _with_span(rows, path, "repeat annotation", 0)
