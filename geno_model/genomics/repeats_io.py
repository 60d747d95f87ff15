"""Repeats from the files in which they are published (spec 3).

Belongs here: RepeatMasker `.out`, BED and UCSC's tables, turned into the table `RepeatAnnotation` with the FASTA's
contig names. Does not: genes (`annotation_io`), which repeat an allele lies in (`context`).

The concept: all but `.out` are tab-separated, and differ in which columns hold contig, start, end and a name that tells
the class. That is seen on the first line of data:

    BED, and UCSC's tables without `bin`     contig start end name ...
    simpleRepeat, genomicSuperDups of UCSC   bin contig start end name ...
    rmsk of UCSC, 17 columns (16 without)    bin score ... contig start end left strand name CLASS family ...

Coordinates in the table are 0-based, half-open, as in BED and UCSC's tables; `.out` is 1-based, inclusive.
"""

from __future__ import annotations

import re
from pathlib import Path

import polars as pl

from data_contracts import RepeatAnnotation, validate
from data_contracts.columns import ANNOTATED_REPEATS
from geno_model.genomics.errors import InputError
from geno_model.genomics.feature_lines import line_blocks, table_of, to_contigs, with_span
from geno_model.genomics.genome import Genome

_FIELDS = ("contig", "start", "end", "name")
_BED = (0, 1, 2, 3)
_RMSK_WIDTHS = (16, 17)
_NO_REPEATS = b"There were no repetitive sequences detected"  # what RepeatMasker writes in place of a table
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


def read_repeats(path: Path | str, genome: Genome, repeat_class: str | None = None) -> pl.DataFrame:
    """Repeats of a RepeatMasker `.out`, a BED or a table of UCSC (plain or compressed) as a `RepeatAnnotation`.

    A `.out` and an rmsk table say each repeat's class. Elsewhere the name is judged: a class such as `Simple_repeat` or
    `LINE/L1`, a name such as `(AC)n`, `A-rich` or `AluSx`, or `chr1:1234` (a segmental duplication of UCSC). Satellites
    count as simple (both are tandem), RNA genes are dropped, any other name is a transposon. A `.out` that says that no
    repeats were detected is an empty table.
    repeat_class: the class of every row, for files of one class (simple repeats, segmental duplications).
    Raises InputError as `read_genes` does, and ValueError for an unknown `repeat_class`.
    """
    if repeat_class is not None and repeat_class not in ANNOTATED_REPEATS:
        raise ValueError(f"repeat_class is {repeat_class!r}; expected one of {', '.join(ANNOTATED_REPEATS)}")
    parts: list[pl.DataFrame] = []
    is_out, says_none, columns = False, False, _BED
    for number, block in enumerate(line_blocks(path, "repeat annotation")):
        if number == 0:
            says_none = block.lstrip().startswith(_NO_REPEATS)
            columns = _columns_of(block)
            of_out = rb"\s*SW\s|" + _OUT_LINE.replace("?<", "?P<").encode()
            is_out = (
                says_none or columns == _BED and bool(re.match(of_out, block))
            )  # an rmsk table begins with the same fields
        parts.append(_out_rows(block, path) if is_out else _table_rows(block, columns, path))
    rows = pl.concat(parts) if parts else pl.DataFrame()
    if not rows.height and says_none:
        return RepeatAnnotation.empty()
    if not rows.height:
        raise InputError(
            f"repeat annotation {path} holds no repeats; expected a RepeatMasker .out, a BED or a UCSC table"
        )
    if repeat_class is None and rows["name"].has_nulls():
        raise InputError(
            f"repeat annotation {path} has no name column to tell the class by; state the class of the file"
        )
    rows = to_contigs(rows, genome, path, "repeat annotation")
    rows = rows.with_columns(_repeat_class() if repeat_class is None else pl.lit(repeat_class).alias("repeat_class"))
    columns = ["contig", "start_bp", "end_bp", "repeat_class"]
    rows = rows.filter((pl.col("repeat_class") != "") & (pl.col("start_bp") < pl.col("end_bp"))).select(columns)
    return validate(RepeatAnnotation, rows.unique().sort(columns))


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
    return with_span(fields, path, "repeat annotation", 1)


def _columns_of(block: bytes) -> tuple[int, int, int, int]:
    """Where a table has contig, start, end and the name that tells the class, by its first line of data."""
    lines = (line.split(b"\t") for line in block.splitlines() if not re.match(rb"\s*$|#|track\b|browser\b", line))
    first = next(lines, [])

    def has_span(at: int) -> bool:
        return len(first) > at + 1 and first[at].isdigit() and first[at + 1].isdigit()

    if len(first) in _RMSK_WIDTHS:
        bin_columns = len(first) - _RMSK_WIDTHS[0]
        if has_span(bin_columns + 5) and first[bin_columns + 8] in (b"+", b"-", b"C"):
            return bin_columns + 4, bin_columns + 5, bin_columns + 6, bin_columns + 10
    return (1, 2, 3, 4) if has_span(2) and first[0].isdigit() and not has_span(1) else _BED


def _table_rows(block: bytes, columns: tuple[int, int, int, int], path: Path | str) -> pl.DataFrame:
    """contig, start_bp, end_bp, name (null where there is none) of tab-separated lines."""
    names = [f"column {number}" for number in range(max(columns) + 1)]
    for name, number in zip(_FIELDS, columns, strict=True):
        names[number] = name
    rows = table_of(block, tuple(names)).select(_FIELDS)
    return with_span(rows.filter(~pl.col("contig").str.contains(r"^(track|browser)\b")), path, "repeat annotation", 0)
