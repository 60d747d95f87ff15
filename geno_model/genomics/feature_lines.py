"""Tab-separated lines of features on contigs, as GTF, GFF3, BED and UCSC's tables have them (spec 3).

Belongs here: a file in blocks of lines, lines as columns, spans as numbers, contigs under the FASTA's names. Does not:
what the lines mean (`annotation_io`, `repeats_io`).
"""

from __future__ import annotations

import logging
import re
from collections.abc import Iterator
from pathlib import Path

import polars as pl

from geno_model.genomics.build_check import name_contradiction
from geno_model.genomics.builds import build_of, build_of_prose, plain_name
from geno_model.genomics.errors import InputError, WrongBuildError
from geno_model.genomics.genome import Genome
from geno_model.genomics.text_input import open_bytes

_LOG = logging.getLogger(__name__)
_BLOCK = 32 << 20
_NAMES_SHOWN = 5


def line_blocks(path: Path | str, what: str) -> Iterator[bytes]:
    """The text of a file in blocks of whole lines, so that memory does not grow with the file."""
    with open_bytes(path, what) as stream:
        while block := stream.read(_BLOCK):
            yield block + stream.readline()


def table_of(block: bytes, columns: tuple[str, ...]) -> pl.DataFrame:
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


def with_span(rows: pl.DataFrame, path: Path | str, what: str, first_base: int) -> pl.DataFrame:
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


def require_build(block: bytes, genome: Genome, path: Path | str, what: str) -> None:
    """Raise WrongBuildError if the comments of an annotation name another known build than the FASTA is of.

    `##sequence-region 21 1 48129895` does by its length, `#!genome-build GRCh37.p13` by its words.
    """
    comments = [
        line.decode("ascii", "replace") for line in re.findall(rb"^#[#!]?\s*[^#\s].*", block, flags=re.MULTILINE)
    ]
    found = [re.match(r"##sequence-region\s+(\S+)\s+1\s+(\d+)", line) for line in comments]
    theirs = build_of({region[1]: int(region[2]) for region in found if region}) or build_of_prose(comments)
    ours = build_of(genome.contigs)
    if theirs and ours and theirs != ours:
        raise WrongBuildError(
            f"{what} {path} is of {theirs} by its comments, {genome.fasta} is {ours} by its contig lengths; take the "
            f"annotation of {ours}"
        )


def to_contigs(rows: pl.DataFrame, genome: Genome, path: Path | str, what: str) -> pl.DataFrame:
    """Rename contigs as the FASTA has them and drop those that it lacks, another mitochondrion too."""
    found = rows["contig"].unique().sort().to_list()
    for name in found:
        if plain_name(name) != "MT" and (message := name_contradiction(name, genome)):
            raise WrongBuildError(
                f"{what} {path} does not fit {genome.fasta}: {message}; take that of the FASTA's build"
            )
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
