"""VCF and BCF to columns, a chunk at a time (spec 1).

Belongs here: streaming a VCF (plain, gzip or bgzip) or a BCF, a file or standard input, into data frames of its
records, and pulling one key out of INFO. Does not: what an allele means (`alleles`), genotypes, writing.

The concept: a chunk is some megabytes of whole lines, split into columns by polars at once; no Python loop touches a
record of a VCF, and memory does not grow with the file. There is one door more, for records that pysam holds: a BCF,
or a region of an indexed file. They are written out as lines of VCF and take the same way, so that one set of rules
serves both. Records are numbered from 0 in the order of the file.
"""

from __future__ import annotations

import codecs
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, Literal

import polars as pl
import pysam

from geno_model.genomics.bcf import BCF_MAGIC, bcf_records
from geno_model.genomics.errors import InputError
from geno_model.genomics.text_input import open_bytes

CHUNK_BYTES = 8 << 20
_LONE_CR = (
    "has a carriage return that ends no line: were its line ends those of an old Macintosh? Make them line feeds "
    "(tr '\\r' '\\n')"
)
_BYTE_ORDER_MARK = "begins with a byte order mark, which is no part of a contig's name; remove those three bytes"
FIXED_COLUMNS = ("chrom", "pos", "id", "ref", "alt", "qual", "filter", "info")


@dataclass(frozen=True, slots=True)
class VcfChunk:
    """Some consecutive records of a VCF.

    header: all lines that start with `#`, without line ends, the same list in every chunk.
    lines: record i64 (0-based in the file), chrom, pos i64 (1-based), id, ref, alt, qual, filter, info (text as
    written), rest (FORMAT and samples as one tab-separated text; null where absent or not asked for).
    encoding: of the text in the file, so that who writes it out again can give the same bytes.
    """

    header: list[str]
    lines: pl.DataFrame
    encoding: Literal["utf-8", "latin-1"] = "utf-8"


def read_vcf_chunks(
    path: Path | str, *, chunk_bytes: int = CHUNK_BYTES, n_columns: Literal[8] | None = None
) -> Iterator[VcfChunk]:
    """The records of a VCF in chunks of about `chunk_bytes` of text; at least one chunk, empty for a VCF of no records.

    path: a file or "-" for standard input. n_columns: 8 leaves FORMAT and samples out (`rest` is null), None keeps
    them. CRLF line ends, a header without `##fileformat` and empty lines are tolerated.
    Raises InputError for a missing or truncated file, for one that is no VCF, and for a malformed record, by number.
    """
    name = "standard input" if str(path) == "-" else str(path)
    with open_bytes(path, "VCF") as stream:
        if stream.peek(len(BCF_MAGIC)).startswith(BCF_MAGIC):
            with bcf_records(stream, name) as records:
                yield from record_chunks(records, records.header, chunk_bytes=chunk_bytes, n_columns=n_columns)
        else:
            header, first = _read_header(stream, name)
            yield from _chunks(header, _whole_lines(stream, first, chunk_bytes), name, n_columns)


def plain_blocks(stream: BinaryIO, name: str, *, chunk_bytes: int = CHUNK_BYTES) -> tuple[list[str], Iterator[bytes]]:
    """Header lines of a VCF and its records as text, in blocks of whole lines of about `chunk_bytes`.

    stream: decompressed bytes; name: of the source, for messages. Each line ends with one `\\n`, none is empty.
    Raises InputError for a file that is no VCF.
    """
    header, first = _read_header(stream, name)

    def blocks() -> Iterator[bytes]:
        n_records = 0
        for raw in _whole_lines(stream, first, chunk_bytes):
            text = _plain_lines(raw, n_records, name)[0]
            text += b"" if text.endswith(b"\n") or not text else b"\n"
            n_records += text.count(b"\n")
            yield text

    return header, blocks()


def record_chunks(
    records: Iterable[pysam.VariantRecord],
    header: pysam.VariantHeader,
    *,
    chunk_bytes: int = CHUNK_BYTES,
    n_columns: Literal[8] | None = None,
) -> Iterator[VcfChunk]:
    """What `read_vcf_chunks` gives, from records of pysam: a region that was fetched, or a BCF.

    htslib keeps numbers of INFO and QUAL as 32-bit floats and writes them in its own way (`0.50` becomes `0.5`).
    """
    yield from _chunks(
        str(header).removesuffix("\n").split("\n"), _record_lines(records, chunk_bytes), "records", n_columns
    )


def _chunks(header: list[str], blocks: Iterable[bytes], name: str, n_columns: Literal[8] | None) -> Iterator[VcfChunk]:
    n_records = 0
    for raw in blocks:
        text, encoding = _plain_lines(raw, n_records, name)
        lines = _columns(text, n_records, name, n_columns)
        n_records += lines.height
        if lines.height:
            yield VcfChunk(header, lines, encoding)
    if not n_records:
        yield VcfChunk(header, _columns(b"", 0, name, n_columns))


def _record_lines(records: Iterable[pysam.VariantRecord], chunk_bytes: int) -> Iterator[bytes]:
    lines: list[str] = []
    n_chars = 0
    for record in records:
        lines.append(str(record))
        n_chars += len(lines[-1])
        if n_chars >= chunk_bytes:
            yield "".join(lines).encode()
            lines, n_chars = [], 0
    yield "".join(lines).encode()


def info_field(info: pl.Expr | str, key: str) -> pl.Expr:
    """The text of `KEY=value` in an INFO column; null where the key is absent or a flag.

    info: an expression, or the name of the column. The key is matched whole: `AF` never finds `LDAF` or `AF_afr`.
    Blanks around key and value, which VCF does not allow, are no part of them. Of a key that stands there several times
    the first value; see `contradicts`.
    """
    column = pl.col(info) if isinstance(info, str) else info
    return column.str.extract(f"(?:^|;) *{re.escape(key)} *=([^;]*)", 1).str.strip_chars(" ")


def contradicts(info: pl.Series, keys: Iterable[str]) -> pl.Series:
    """Whether an INFO gives one of the keys two different values."""
    found = pl.repeat(False, info.len(), eager=True)
    has_blank = info.str.contains(" ", literal=True)
    for key in keys:
        times = info.str.count_matches(f";{key}=", literal=True) + info.str.starts_with(f"{key}=")
        rows = (has_blank | (times > 1)).arg_true()  # few, so that the rest costs nothing
        values = (
            info.gather(rows)
            .str.split(";")
            .list.eval(
                pl.element().str.extract(f"^ *{re.escape(key)} *=(.*)$", 1).str.strip_chars(" ").drop_nulls().unique()
            )
        )
        found = found.scatter(rows, found.gather(rows) | (values.list.len() > 1))
    return found


def _read_header(stream: BinaryIO, name: str) -> tuple[list[str], bytes]:
    """Header lines, and the first record (b"" when there is none)."""
    header: list[str] = []
    while line := stream.readline():
        if line.startswith(b"BAM\1"):
            raise InputError(f"{name} is BAM, which holds reads; expected VCF or BCF, which hold variants")
        if line.startswith(b"#"):
            header.append(_text(line).rstrip("\r\n"))
            if "\r" in header[-1]:
                raise InputError(f"{name}: header line {len(header)} {_LONE_CR}")
        elif line.strip():
            break
    n_columns_lines = sum(line.startswith("#CHROM") for line in header)
    if not n_columns_lines:
        raise InputError(f"{name} is no VCF: expected header lines that end with `#CHROM  POS  ID  REF  ALT ...`")
    if n_columns_lines > 1 or not header[-1].startswith("#CHROM"):
        raise InputError(
            f"{name}: `#CHROM` stands {n_columns_lines} times in the {len(header)} lines of the header, the last of "
            f"them begins with `{header[-1][:6]}`; expected `#CHROM` once, in the last one: remove the other lines"
        )
    return header, line


def _whole_lines(stream: BinaryIO, block: bytes, chunk_bytes: int) -> Iterator[bytes]:
    """Text in pieces of about `chunk_bytes` that end where a line ends."""
    while more := stream.read(chunk_bytes):
        block += more
        end = block.rfind(b"\n") + 1
        if end:
            yield block[:end]
            block = block[end:]
    if block:
        yield block


def _columns(text: bytes, first_record: int, name: str, n_columns: Literal[8] | None) -> pl.DataFrame:
    """Plain lines as typed columns."""
    fields = pl.read_csv(
        text,
        separator="\t",
        has_header=False,
        quote_char=None,
        schema=dict.fromkeys(FIXED_COLUMNS, pl.String),
        empty_string_is_null=False,
        missing_columns="insert",
        extra_columns="ignore",
        raise_if_empty=False,
    )
    lines = fields.select(
        pl.int_range(first_record, first_record + pl.len(), dtype=pl.Int64).alias("record"),
        pl.col("chrom"),
        pl.col("pos").cast(pl.Int64, strict=False),
        *FIXED_COLUMNS[2:],
        _rest(text, fields) if n_columns is None else pl.lit(None, dtype=pl.String).alias("rest"),
    )
    _require_records(lines, fields["pos"], text, name)
    return lines


def _plain_lines(text: bytes, first_record: int, name: str) -> tuple[bytes, Literal["utf-8", "latin-1"]]:
    """UTF-8 lines that end with one `\\n` each, none of them empty, and what they were encoded as."""
    if b"\r" in text:
        text = re.sub(rb"\r+(?=\n|$)", b"", text)
    if b"\n\n" in text or text.startswith(b"\n"):
        text = re.sub(rb"\n+", b"\n", text).removeprefix(b"\n")
    if b"\r" in text or codecs.BOM_UTF8 in text:
        for mark, fault in ((rb"\r", _LONE_CR), (rb"(?m)^" + codecs.BOM_UTF8, _BYTE_ORDER_MARK)):
            if found := re.search(mark, text):
                number = first_record + text.count(b"\n", 0, found.start()) + 1
                raise InputError(f"{name}: record {number} (the first is 1) {fault}")
    if text.isascii():
        return text, "utf-8"
    decoded = _text(text).encode()
    return decoded, "utf-8" if decoded == text else "latin-1"


def _rest(text: bytes, fields: pl.DataFrame) -> pl.Expr:
    """Column `rest`: what follows the eighth column of each line, null where nothing does."""
    lines = pl.lit(pl.Series([text.removesuffix(b"\n").decode()])).str.split("\n").explode().cast(pl.Binary)
    n_before = fields.select(
        pl.sum_horizontal(pl.all().str.len_bytes()).cast(pl.Int64) + len(FIXED_COLUMNS)
    ).to_series()
    rest = pl.select(lines.bin.slice(pl.lit(n_before)).cast(pl.String).replace("", None)).to_series()
    return pl.lit(rest.head(fields.height)).alias("rest")


def _require_records(lines: pl.DataFrame, written_pos: pl.Series, text: bytes, name: str) -> None:
    """Raise InputError for the first record without eight columns, a contig, or a whole number as position.

    The number must be written as it is written out again: `+5` or `007` would come out changed.
    """
    is_bad = (lines["pos"].cast(pl.String) != written_pos).fill_null(True)
    is_bad |= (lines["chrom"] == "") | lines["chrom"].str.starts_with("#")
    n_tabs = pl.repeat(len(FIXED_COLUMNS), lines.height, eager=True)
    if (lines["info"] == "").any():  # a line that is too short, or an INFO that is
        n_tabs = pl.Series(text.removesuffix(b"\n").decode().split("\n")).str.count_matches("\t", literal=True)
    is_short = n_tabs < len(FIXED_COLUMNS) - 1
    is_bad |= is_short
    if not is_bad.any():
        return
    row = int(is_bad.arg_max() or 0)
    if is_short[row]:
        found = f"{n_tabs[row] + 1} tab-separated columns"
        expected = "at least 8 (CHROM POS ID REF ALT QUAL FILTER INFO)"
    else:
        found, expected = "no contig name (or one with `#` first) or no plain whole number as POS", "both"
    raise InputError(
        f"{name}: record {lines['record'][row] + 1} (the first is 1) is malformed: found {found}, expected {expected}; "
        f"correct or remove that line ({int(is_bad.sum())} like it in this part of the file)"
    )


def _text(raw: bytes) -> str:
    """UTF-8, as VCF asks; else Latin-1, which never fails, so that one odd name in INFO does not stop a file."""
    try:
        return raw.decode("utf-8")
    except UnicodeDecodeError:
        return raw.decode("latin-1")
