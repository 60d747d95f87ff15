"""Genotype exports of consumer tests to columns of text (spec 5).

Belongs here: unpacking (plain, gzip, zip), encodings, and finding the layout in the content. Does not: what a genotype
or a chromosome's name means (`genotypes`).

The concept: all exports are one marker a line, with a name, a chromosome, a position, and either one genotype or two
alleles. They differ in separator, quotes, comments and in how columns are called. The line that names the columns is
looked for among the comments and in the first line; without one, four columns are read as a genotype and five as two
alleles, where the values look like it. The file's name is never asked. Quotes carry no meaning in any of these layouts
(no value holds a separator) and are dropped.

A final report of Illumina's GenomeStudio has a preamble from `[Header]` to `[Data]`, may hold several samples, and
several pairs of allele columns. Of these only `Plus` is the strand of the reference: `Top` and `Design` are properties
of the probe, `Forward` is that of a dbSNP release, `AB` are no bases. Without `Plus` such a report is refused.
"""

from __future__ import annotations

import io
import lzma
import re
import zipfile
import zlib
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import polars as pl

from geno_model.genomics.text_input import open_bytes
from geno_model.importing.errors import ExportError, NothingWrittenError

MAX_BYTES = 1 << 30
_ZIP_MAGIC = (b"PK\x03\x04", b"PK\x05\x06", b"PK\x07\x08")
_SAMPLE_ROWS = 1_000
_EXPECTED = (
    "expected an export of 23andMe, AncestryDNA, MyHeritage or FamilyTreeDNA: columns rsid, chromosome, position, and "
    "genotype or two alleles"
)
_COLUMN_NAMES = {
    "id": (r"rs ?id", r"snp ?(?:id|name)|marker(?: ?id)?|name|id", "snp"),
    "chrom": (r"chr(?:om(?:osome)?)?",),
    "pos": (r"pos(?:ition)?|bp|(?:physical|base ?pair) ?position",),
    "genotype": (r"genotypes?|result|call|alleles",),
    "allele1": (r"allele ?1(?!\W*(?:top|forward|ab|design)\b).*|a1",),
    "allele2": (r"allele ?2(?!\W*(?:top|forward|ab|design)\b).*|a2",),
    "sample": (r"sample ?id", r"sample ?name"),
}
"""Patterns of each column's name, the best first."""
_ANY = r"allele ?[12].*"
_PLUS = r"(allele ?[12])\W*plus\b.*"
_NOT_PLUS = r"allele ?[12]\W*(top|forward|ab|design)\b.*"
_ILLUMINA = {"top": "Top", "forward": "Forward", "ab": "AB", "design": "Design"}
_BY_COUNT = {
    4: {"id": 0, "chrom": 1, "pos": 2, "genotype": 3},
    5: {"id": 0, "chrom": 1, "pos": 2, "allele1": 3, "allele2": 4},
}
_VENDORS = (
    ("23andMe", "23andme"),
    ("AncestryDNA", "ancestry"),
    ("MyHeritage", "myheritage"),
    ("FamilyTreeDNA", "family ?tree|ftdna"),
    ("LivingDNA", "living ?dna"),
    ("Illumina", "gsgt version|genomestudio"),
)
_NOT_A_GENOTYPE = "*"


@dataclass(frozen=True, slots=True)
class Export:
    """What an export holds, as text.

    layout: in words for a person. header: comment lines or the preamble, the column line not among them. rows: one for
    each marker, in the file's order: id, chrom, pos as written; genotype, upper case, one or two characters where it
    is understood, empty where the cells are; is_ragged where columns are missing or too many; sample where it is named.
    """

    layout: str
    header: list[str]
    rows: pl.DataFrame


@dataclass(frozen=True, slots=True)
class _Layout:
    separator: str
    columns: dict[str, int]
    n_columns: int


def read_export(path: Path | str, sample: str | None = None) -> Export:
    """Read an export (plain, gzip or zip; a path or "-" for standard input).

    sample: of an export of several samples, the id of one, or its number from 1 in the file's order.
    Raises InputError for a file that cannot be read, ExportError for one that is something else or whose sample is not
    clear, and NothingWrittenError for an export without rows.
    """
    name = "standard input" if str(path) == "-" else str(path)
    lines = _lines(_decoded(_unpacked(path, name), name))
    if lines.is_empty():
        raise ExportError(f"{name} is empty; {_EXPECTED}; download the export again")
    _require_no_vcf(lines[0], name)
    preamble, lines = _split_preamble(lines, name)
    is_comment = lines.str.starts_with("#")
    header = [*preamble, *lines.filter(is_comment)]
    data = lines.filter(~is_comment)
    column_line = next((line for line in [*data.head(1), *reversed(header)] if _columns(line)), None)
    if column_line is None:
        _require_plus([*data.head(1), *header], name)
    else:
        header = [line for line in header if line != column_line]
        data = data.filter(data != column_line)  # two exports that were joined have it twice
    if data.is_empty():
        if column_line is None:
            raise ExportError(f"{name} holds comments and nothing else; {_EXPECTED}; download the export again")
        raise NothingWrittenError(f"{name} has no rows below its column names; download the export again")
    layout = _layout(data, column_line, name)
    rows = _of_sample(_rows(data, layout), sample, name)
    if column_line is None and not _looks_like_genotypes(rows):
        raise ExportError(f"{name} has no line of column names and its values are no genotypes; {_EXPECTED}")
    return Export(_in_words(layout, header), header, rows)


def _unpacked(path: Path | str, name: str) -> bytes:
    with open_bytes(path, "genotype export") as stream:
        data = stream.read(MAX_BYTES + 1)
    if data.startswith(_ZIP_MAGIC):
        data = _unzipped(data, name)
    if len(data) > MAX_BYTES:
        raise ExportError(f"{name} holds more than {MAX_BYTES >> 30} GiB of text, which no export does; {_EXPECTED}")
    return data


def _unzipped(data: bytes, name: str) -> bytes:
    """The one file of a zip archive; the archive's folders and what a Mac adds do not count."""
    try:
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            files = [
                entry
                for entry in archive.infolist()
                if not entry.is_dir() and not re.search(r"(?:^|/)(?:__MACOSX/|\.)", entry.filename)
            ]
            if len(files) != 1:
                raise ExportError(
                    f"{name} is a zip archive of {len(files)} files; expected one export in it; unpack it and name the "
                    "export itself"
                )
            with archive.open(files[0]) as stream:
                return stream.read(MAX_BYTES + 1)
    except (zipfile.BadZipFile, EOFError, zlib.error, lzma.LZMAError, OSError, UnicodeDecodeError) as error:
        told = str(error) or type(error).__name__
        raise ExportError(f"export {name} is a zip archive that is truncated or damaged ({told}); copy or download it "
                          "again") from None  # fmt: skip
    except RuntimeError:  # a password, or a method of compression that Python lacks
        raise ExportError(
            f"export {name} is a zip archive with a password or an unknown compression; unpack it and name the export "
            "itself"
        ) from None


def _decoded(data: bytes, name: str) -> str:
    """UTF-8 or UTF-16 with its mark; else Latin-1, which never fails, so that no odd name in a comment stops it."""
    if data.startswith((b"\xff\xfe", b"\xfe\xff")):
        return data.decode("utf-16", "replace")
    if b"\0" in data or data.startswith((b"%PDF", b"\x89PNG", b"BZh", b"\xfd7zXZ", b"\x28\xb5\x2f\xfd")):
        raise ExportError(f"{name} is a binary file; {_EXPECTED}, as text, gzip or zip")
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError:
        return data.decode("latin-1")


def _lines(text: str) -> pl.Series:
    """Lines that are not blank, without quotes, whatever ends them (Windows, Unix, old Mac)."""
    text = text.replace('"', "").replace("\r\n", "\n").replace("\r", "\n")
    lines = pl.Series("line", text.split("\n"), dtype=pl.String).str.strip_chars(" ")
    return lines.filter(lines.str.strip_chars() != "")


def _require_no_vcf(line: str, name: str) -> None:
    if line.startswith(("##fileformat=VCF", "#CHROM\tPOS")):
        raise ExportError(f"{name} is a VCF already; geno-score reads it as it is")
    if line.startswith((">", "@")):
        raise ExportError(f"{name} holds sequences (FASTA, FASTQ or SAM); {_EXPECTED}")


def _split_preamble(lines: pl.Series, name: str) -> tuple[list[str], pl.Series]:
    """The lines up to `[Data]`, if there is such a line, and those behind it."""
    marks = lines.str.strip_chars("\t,; ").str.to_lowercase()
    n_lines = marks.index_of("[data]")
    if n_lines is not None:
        return lines[:n_lines].to_list(), lines[n_lines + 1 :]
    if marks.index_of("[header]") is not None:
        raise ExportError(f"{name} has a [Header] and no [Data]; {_EXPECTED}; copy or download it again")
    return [], lines


def _of_sample(rows: pl.DataFrame, sample: str | None, name: str) -> pl.DataFrame:
    """The rows of one sample, and those that are too short to name one."""
    ids = rows["sample"].drop_nulls().unique(maintain_order=True).to_list() if "sample" in rows.columns else []
    if sample is None and len(ids) <= 1:
        return rows
    if not ids:
        raise ExportError(
            f"{name} names no samples, so that --sample has none to choose; --sample-name names the column"
        )
    by_number = {str(number): found for number, found in enumerate(ids, start=1)}
    chosen = sample if sample in ids else by_number.get(sample or "")
    if chosen is None:
        found = "1 sample" if len(ids) == 1 else f"{len(ids):,} samples"
        raise ExportError(
            f"{name} holds {found}{', and not the one that --sample names' if sample is not None else ''}; choose one "
            f"with --sample, by its id or by its number, 1 to {len(ids)} in the order of the file"
        )
    return rows.filter(pl.col("sample").is_null() | (pl.col("sample") == chosen))


def _separator(line: str) -> str:
    return next((mark for mark in "\t,;" if mark in line), " ")


def _names(line: str) -> list[str]:
    """Names of columns, lower case, if the line is one of these."""
    line = line.lstrip("# ").rstrip()
    separator = _separator(line)
    cells = line.split() if separator == " " else line.split(separator)
    return [cell.strip().lower().replace("_", " ") for cell in cells]


def _columns(line: str) -> dict[str, int]:
    """Which column is what, if the line names those of an export; else an empty dict."""
    names = _names(line)
    if any(re.fullmatch(_PLUS, name) for name in names):
        names = [re.sub(_PLUS, r"\1", name) if re.fullmatch(_PLUS, name) else re.sub(_ANY, "", name) for name in names]
    found: dict[str, int] = {}
    for role, patterns in _COLUMN_NAMES.items():
        ranks = {
            index: rank
            for index, name in enumerate(names)
            for rank, pattern in enumerate(patterns)
            if re.fullmatch(pattern, name)
        }
        if ranks:
            found[role] = min(ranks, key=ranks.__getitem__)
    is_complete = {"id", "chrom", "pos"} <= found.keys() and (
        "genotype" in found or {"allele1", "allele2"} <= found.keys()
    )
    return found | {"_count": len(names)} if is_complete else {}


def _require_plus(lines: Iterable[str], name: str) -> None:
    """Refuse the columns of a report that has alleles in other terms than those of the reference alone."""
    for line in lines:
        found = dict.fromkeys(told[1] for column in _names(line) if (told := re.fullmatch(_NOT_PLUS, column)))
        if found:
            raise ExportError(
                f"{name} is an Illumina report with alleles as {', '.join(map(_ILLUMINA.__getitem__, found))}, which "
                "do not say the bases of the reference's strand; export it with the columns Allele1 - Plus and "
                "Allele2 - Plus (a choice of GenomeStudio's report wizard), or ask the laboratory for these"
            )


def _layout(data: pl.Series, column_line: str | None, name: str) -> _Layout:
    separator = _separator(data[0])
    if column_line is not None:
        columns = _columns(column_line)
        return _Layout(separator, columns, columns.pop("_count"))
    n_columns = len(data[0].split()) if separator == " " else data[0].count(separator) + 1
    if n_columns not in _BY_COUNT:
        raise ExportError(
            f"{name} has no line of column names, and {n_columns} columns in its first row; {_EXPECTED}; name the "
            "raw genotypes, not a report or a spreadsheet of something else"
        )
    return _Layout(separator, _BY_COUNT[n_columns], n_columns)


def _rows(data: pl.Series, layout: _Layout) -> pl.DataFrame:
    if layout.separator == " ":
        data = data.str.replace_all(r"\s+", " ")
    cells = data.str.split_exact(layout.separator, layout.n_columns).struct.unnest()
    cells = cells.select(pl.all().str.strip_chars())
    cell = {role: pl.col(f"field_{index}") for role, index in layout.columns.items()}
    if "genotype" in cell:
        genotype = cell["genotype"].str.replace_all(r"[/| ]", "")
        needed = [cell[role] for role in ("id", "chrom", "pos", "genotype")]
    else:
        genotype = _joined(cell["allele1"], cell["allele2"])
        needed = [cell[role] for role in ("id", "chrom", "pos", "allele1")]
    too_many = pl.col(f"field_{layout.n_columns}").fill_null("") != ""
    return cells.select(
        *([cell["sample"].alias("sample")] if "sample" in cell else []),
        cell["id"].alias("id"),
        cell["chrom"].alias("chrom"),
        cell["pos"].alias("pos"),
        genotype.str.to_uppercase().alias("genotype"),
        (pl.any_horizontal(column.is_null() for column in needed) | too_many).alias("is_ragged"),
    )


def _joined(allele1: pl.Expr, allele2: pl.Expr) -> pl.Expr:
    """Two cells of one letter as one text; the second may be missing where a person has one copy."""
    first, second = (allele.replace({"--": "-", "00": "0"}) for allele in (allele1, allele2.fill_null("")))
    is_one_each = (first.str.len_chars() <= 1) & (second.str.len_chars() <= 1)
    return pl.when(is_one_each).then(first + second).otherwise(pl.lit(_NOT_A_GENOTYPE))


def _looks_like_genotypes(rows: pl.DataFrame) -> bool:
    sample = rows.head(_SAMPLE_ROWS)
    fits = sample.select(
        pl.col("pos").str.contains(r"^\d+$") & pl.col("genotype").str.contains(r"^[-0N?.ACGTDI]{0,2}$")
    ).to_series()
    return 2 * int(fits.sum()) > sample.height


def _in_words(layout: _Layout, header: list[str]) -> str:
    separated = {"\t": "tab", ",": "comma", ";": "semicolon", " ": "space"}[layout.separator]
    values = "one genotype" if "genotype" in layout.columns else "two alleles"
    said = " ".join(header).lower()
    vendor = next((f"{name}, " for name, pattern in _VENDORS if re.search(pattern, said)), "")
    return f"{vendor}{separated}-separated, {values} a row"
