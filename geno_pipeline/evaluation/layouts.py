"""Public variant-effect benchmarks as one table, from the files that their authors publish (spec 6).

Belongs here: which published table a file is, where its header line stands, what its words mean, which of its rows may
take part. Does not belong here: the comparison of alleles with the reference (`geno_model.genomics.alleles`), scores
and figures (`metrics`), downloads.

Concept: a layout is told by its columns, never by the name of the file. Every layout is a few names for the same
things (place, alleles, a class or label, a value), so after the names are known there is one way for all. Every row of
the file stays, in its place: it is retained (`reason` is null) or says why it takes no part, the first that applies of
no_position, a reason of `to_alleles`, no_label, contradiction, duplicate. A line of a text file or a sheet that is
blank in every column that is read (an empty line, a footnote) is no row. Positions are 1-based.
"""

from __future__ import annotations

import csv
import io
import re
import zipfile
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import openpyxl
import polars as pl

from geno_model.genomics.alleles import to_alleles
from geno_model.genomics.build_check import BuildCheck
from geno_model.genomics.errors import InputError
from geno_model.genomics.genome import Genome
from geno_model.genomics.text_input import open_bytes

SCHEMA = pl.Schema({
    "contig": pl.String, "pos": pl.Int64, "ref": pl.String, "alt": pl.String, "edit_type": pl.UInt8,
    "label": pl.Int8, "value": pl.Float64, "match_group": pl.String, "reason": pl.String,
})  # fmt: skip
# What the publications say of an allele, in lower case. Findlay's intermediate class (INT) counts as not damaging.
GRADES = {f"{side} {weight}": int(side == "p") for side in "pb" for weight in ("strong", "moderate", "supporting")}
CLASSES = {"lof": 1, "int": 0, "func": 0, "func/int": 0, **GRADES}
LABELS = {"1": 1, "1.0": 1, "true": 1, "0": 0, "0.0": 0, "false": 0}
FEW_ROWS = 5  # from which on a table is judged to be of another build: all its rows are of one place, made alike

_HEADER_LINES = 10  # the header is among these
_MISSING = ["", "NA", "N/A", "NaN", "nan", "None", "null"]
_ALLELE = ["contig", "pos", "ref", "alt"]
_BROKEN = (pl.exceptions.PolarsError, zipfile.BadZipFile, csv.Error, KeyError, OSError, SyntaxError, ValueError)
_SAYS_ANYTHING = ~pl.all_horizontal(pl.all().str.strip_chars().fill_null("") == "")

# A table before its layout is known: its first lines, and what reads it (first row, places by name, number of columns).
_Read = Callable[[int, dict[str, int], int], pl.DataFrame]
_Grid = tuple[list[list[str]], _Read]


@dataclass(frozen=True)
class _Layout:
    """What a published table calls its columns, in lower case; it has at least one of `positions`."""

    name: str
    alleles: tuple[str, str, str]  # contig, ref, alt
    positions: tuple[str, ...]
    classes: str
    values: tuple[str, ...] = ()  # their mean is the value
    build: str = ""  # that the publication uses

    def fits(self, names: Sequence[str]) -> bool:
        return {*self.alleles, self.classes, *self.values} <= {*names} and not {*self.positions}.isdisjoint(names)

    def wanted(self, names: Sequence[str]) -> dict[str, int]:
        """Place of each column that is read, of those that the file has."""
        ours = (*self.alleles, *self.positions, self.classes, *self.values, "label", "match_group")
        return {name: names.index(name) for name in ours if name in names}


_VCF_LIKE = ("chrom", "ref", "alt")
_LAYOUTS = (
    _Layout(
        "Findlay 2018 (chromosome, position (hg19), reference, alt, function.score.mean, func.class)",
        ("chromosome", "reference", "alt"), ("position (hg19)", "position (hg38)", "position"),
        "func.class", ("function.score.mean",), "GRCh37",
    ),
    _HUANG := _Layout(
        "Huang 2025 Table S3 (22 columns: exon, chrom, pos_hg19, id_hg19, pos_hg38, ..., class)",
        _VCF_LIKE, ("pos_hg19", "pos_hg38"), "class", ("s1", "s2", "s3"), "GRCh37 or GRCh38",
    ),
    _Layout("HuggingFaceBio (chrom, pos, ref, alt, score, class, ...)", _VCF_LIKE, ("pos",), "class", ("score",)),
    _Layout("TraitGym (chrom, pos, ref, alt, label)", _VCF_LIKE, ("pos",), "label", build="GRCh38"),
)  # fmt: skip
# Huang's columns go by place, as the names in the published sheet are not known to us. These are our own.
_HUANG_NAMES = (
    "exon chrom pos_hg19 id_hg19 pos_hg38 id_hg38 region ref alt hgvs 10 11 12 13 14 15 s1 s2 s3 19 20 class"
).split()
# Places that tell its header when it has these names, and its first row of data, whichever of them is well-formed.
_HUANG_KNOWN, _HUANG_TELLS = (0, 1, 2, 4, 7, 8, 21), (2, 4, 7, 8, 21)
_HUANG_CELL = re.compile(r"\d+(\.0*)?|[ACGT]+|[PB] (strong|moderate|supporting)", re.IGNORECASE)


def read_benchmark(path: Path, genome: Genome) -> pl.DataFrame:
    """One row for each row of a published benchmark table, in the order of the file (`SCHEMA`).

    contig: the genome's name, or the file's where the genome has none. pos, ref, alt: trimmed and left-aligned where
    the allele fits the reference, else as the file has them; null where it has none. edit_type: of those. label: 1
    damaging (loss of function, causal), 0 not, null where the file does not say. value: the functional score as
    published. match_group: TraitGym's. reason: null for a row that takes part. Of rows of one allele and one label
    the first stays; one without a label yields to one that has it.

    Raises:
        InputError: the file is missing, cannot be read, is of no known layout, has no rows, or is of another build.
    """
    layout, table = _load(path)
    if table.is_empty():
        raise InputError(f"{path} has no rows below its header; expected one row a variant; give the whole table")
    places = [name for name in layout.positions if name in table.columns]
    rows = table.select(*_fields(layout, table.columns), *places)
    # A table may have positions of two builds: those of the FASTA's build are the ones whose bases agree with it.
    compared = [aligned(rows.with_columns(_whole(pl.col(name)).alias("pos")), genome) for name in places]
    fits = pl.col("reason").is_null() | (pl.col("reason") == "too_long")
    best = max(compared, key=lambda found: int(found.select(fits.sum()).item()))
    require_build(best, genome, path, layout.build, FEW_ROWS)
    return _judge(best).select(SCHEMA.names())


def _fields(layout: _Layout, columns: Sequence[str]) -> list[pl.Expr]:
    """chrom, ref, alt, label, value and match_group from the file's own columns, all of them text."""
    contig, ref, alt = layout.alleles
    words = "label" if "label" in columns else layout.classes
    meaning = LABELS if words == "label" else CLASSES
    said = pl.col(words).str.to_lowercase().str.replace_all(r"\s+", " ")
    numbers = [pl.col(name).cast(pl.Float64, strict=False) for name in layout.values]
    value = pl.mean_horizontal(
        *(pl.when(number.is_finite()).then(number) for number in numbers), pl.lit(None, pl.Float64)
    )
    group = pl.col("match_group") if "match_group" in columns else pl.lit(None, dtype=pl.String)
    return [
        pl.col(contig).str.replace(r"^(\d+)\.0+$", "$1").alias("chrom"),
        pl.col(ref).str.to_uppercase().alias("ref"),
        pl.col(alt).str.to_uppercase().alias("alt"),
        said.replace_strict(meaning, default=None, return_dtype=pl.Int8).alias("label"),
        value.alias("value"),
        group.alias("match_group"),
    ]


def _whole(text: pl.Expr) -> pl.Expr:
    """Whole numbers, also such as 17.0 as a table with gaps has them; null for anything else."""
    number = text.cast(pl.Float64, strict=False)
    return pl.when(number.is_finite() & (number == number.floor())).then(number.cast(pl.Int64, strict=False))


def aligned(rows: pl.DataFrame, genome: Genome) -> pl.DataFrame:
    """The rows with contig, pos, ref, alt and edit_type of `to_alleles`, and its reason or `no_position`."""
    # `to_alleles` makes a row of each alternate of a list and loses a row without a position, so it is given neither:
    # a list becomes what is no base, a missing position one that is outside of every contig.
    has_position = (pl.col("pos") >= 1).fill_null(False)
    lines = rows.select(
        pl.int_range(pl.len(), dtype=pl.Int64).alias("record"),
        pl.col("chrom").fill_null(""),
        pl.when(has_position).then("pos").otherwise(0).alias("pos"),
        pl.col("ref").fill_null(""),
        pl.col("alt").fill_null("").str.replace_all(",", "/", literal=True),
        pl.lit(".").alias("filter"),
    )
    alleles = to_alleles(lines, genome).select(*_ALLELE, "edit_type", "reason").rename(lambda name: f"_{name}")
    aligned = pl.when(pl.col("_reason").is_null())
    return rows.hstack(alleles).with_columns(
        pl.coalesce("_contig", "chrom").alias("contig"),
        *(aligned.then(f"_{name}").otherwise(name).alias(name) for name in ("pos", "ref", "alt")),
        pl.col("_edit_type").alias("edit_type"),
        pl.when(has_position).then("_reason").otherwise(pl.lit("no_position")).alias("reason"),
    )


def require_build(rows: pl.DataFrame, genome: Genome, path: Path, published: str, few_rows: int) -> None:
    """Raise WrongBuildError for a table (chrom, pos, ref, alt) of another build. published: the one that it is of."""
    check = BuildCheck(genome, str(path), published=published, few_sites=few_rows)
    check.see(rows.select("chrom", "pos", "ref", "alt").drop_nulls())
    check.finish()


def _judge(rows: pl.DataFrame) -> pl.DataFrame:
    """The rows with the reasons that lie in the table itself: no_label, contradiction, duplicate."""
    label, place = pl.col("label"), pl.col("_place")
    has_nothing = label.is_null() & pl.col("value").is_null()
    alike = [*_ALLELE, pl.col("reason").is_null() & ~has_nothing]  # rows that are left out repeat no other
    first = pl.coalesce(place.filter(label.is_not_null()).min(), place.min()).over(alike)
    reason = (
        pl.when(pl.col("reason").is_not_null()).then("reason")
        .when(has_nothing).then(pl.lit("no_label"))
        .when((label.min() != label.max()).over(alike)).then(pl.lit("contradiction"))
        .when(place != first).then(pl.lit("duplicate"))
    )  # fmt: skip
    return rows.with_row_index("_place").with_columns(reason.alias("reason"))


def _load(path: Path) -> tuple[_Layout, pl.DataFrame]:
    """The layout of a file, and those of its columns that are read, as text, under the names of the layout."""
    with open_bytes(path, "benchmark table") as stream:
        content = stream.read()
    widest: list[str] = []
    try:
        for lines, read in _grids(content):
            if found := _recognise(lines, read):
                return found[0], found[1].select(pl.all().cast(pl.String).str.strip_chars().replace(_MISSING, None))
            widest = max([widest, *([cell for cell in line if cell] for line in lines)], key=len)
    except _BROKEN as error:
        why = str(error).strip().split("\n")[0]
        raise InputError(
            f"{path} cannot be read as Parquet, CSV, TSV or xlsx ({why}); download or export it again"
        ) from None
    found_names = ", ".join([name[:40] for name in widest[:12]] + ["..."] * (len(widest) > 12)) or "(none)"
    raise InputError(
        f"{path} has the columns {found_names}; expected one of the layouts "
        f"{'; '.join(layout.name for layout in _LAYOUTS)}; rename its columns to those of one of them"
    )


def _recognise(lines: list[list[str]], read: _Read) -> tuple[_Layout, pl.DataFrame] | None:
    """By the names in one of the first lines, or Huang's by its places and its grades."""
    for number, line in enumerate(lines[:_HEADER_LINES]):
        names = [re.sub(r"\s+", " ", cell).strip().lower() for cell in line]
        if len(names) == len(_HUANG_NAMES) and all(names[place] == _HUANG_NAMES[place] for place in _HUANG_KNOWN):
            names = _HUANG_NAMES
        for layout in _LAYOUTS:
            if layout.fits(names):
                return layout, read(number + 1, layout.wanted(names), len(names))
    for number, line in enumerate(lines):
        if len(line) == len(_HUANG_NAMES) and any(_HUANG_CELL.fullmatch(line[place].strip()) for place in _HUANG_TELLS):
            table = read(number, _HUANG.wanted(_HUANG_NAMES), len(_HUANG_NAMES))
            has_grades = table["class"].str.strip_chars().str.to_lowercase().is_in(list(GRADES)).any()
            return (_HUANG, table) if has_grades else None
    return None


def _grids(content: bytes) -> Iterator[_Grid]:
    """The tables of a file, whose kind is told by its first bytes."""
    if content.startswith(b"PAR1"):
        yield _parquet(content)
    elif content.startswith(b"PK\x03\x04"):
        yield from _sheets(content)
    elif b"\0" in content[:4096]:
        raise ValueError("its bytes are of none of them")
    else:
        yield _text(content.removeprefix(b"\xef\xbb\xbf"))


def _parquet(content: bytes) -> _Grid:
    names = list(pl.read_parquet_schema(io.BytesIO(content)))

    def read(_first: int, wanted: dict[str, int], _width: int) -> pl.DataFrame:
        ours = {names[place]: name for name, place in wanted.items()}
        return pl.read_parquet(io.BytesIO(content), columns=list(ours)).rename(ours)

    return [names], read


def _text(content: bytes) -> _Grid:
    head = content.split(b"\n", _HEADER_LINES + 1)[: _HEADER_LINES + 1]
    separator = "\t" if max(line.count(b"\t") for line in head) >= 4 else ","  # a preamble in prose has commas, too
    starts = (line[:100_000].decode(errors="replace") for line in head)  # csv refuses longer fields
    lines = [next(csv.reader([start], delimiter=separator), []) for start in starts]

    def read(first: int, wanted: dict[str, int], width: int) -> pl.DataFrame:
        # one column more than there should be, so that a row with too many fields is seen
        schema = {f"column_{place + 1}": pl.String for place in range(width + 1)}
        table = pl.read_csv(
            content[sum(map(len, head[:first])) + first :], separator=separator, encoding="utf8-lossy", schema=schema,
            columns=[*wanted.values(), width], has_header=False, missing_columns="insert", raise_if_empty=False,
        )  # fmt: skip
        if table[f"column_{width + 1}"].is_not_null().any():
            raise ValueError(f"a row has more fields than the header, which has {width}")
        return table.select(pl.col(f"column_{at + 1}").alias(name) for name, at in wanted.items()).filter(
            _SAYS_ANYTHING
        )

    return lines, read


def _sheets(content: bytes) -> Iterator[_Grid]:
    book = openpyxl.load_workbook(io.BytesIO(content), read_only=True, data_only=True)
    for sheet in book.worksheets:
        sheet.reset_dimensions()  # what a file says of its size is often wrong
        cells = [["" if cell is None else str(cell) for cell in row] for row in sheet.iter_rows(values_only=True)]
        width = max((place + 1 for row in cells for place, cell in enumerate(row) if cell), default=0)
        lines = [row[:width] + [""] * (width - len(row)) for row in cells]

        def read(first: int, wanted: dict[str, int], _width: int, lines: list[list[str]] = lines) -> pl.DataFrame:
            columns = {name: [line[place] for line in lines[first:]] for name, place in wanted.items()}
            return pl.DataFrame(columns, schema=dict.fromkeys(wanted, pl.String)).filter(_SAYS_ANYTHING)

        yield lines[: _HEADER_LINES + 1], read
