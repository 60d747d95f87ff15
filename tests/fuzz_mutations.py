"""Small valid VCFs and the ways to spoil them, for `tests.fuzz_vcf`.

Belongs here: bytes in, damaged bytes out, everything decided by one random generator. Does not: running anything on
them, or what should come of it (`tests.fuzz_reader`).
"""

from __future__ import annotations

import gzip
import tempfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pysam

from geno_model.genomics.genome import Genome
from tests.tiny_release import VCF_HEADER, every_kind, vcf_text

Lines = list[bytes]
Mutation = Callable[[np.random.Generator, Lines], Lines]

POSITIONS = (
    b"0", b"-1", b"-5", b"+100", b"007", b"1e3", b"1.0", b" 100", b"100 ", b"", b".", b"0x10", b"1_000", b"536870911",
    b"536870912", b"2147483647", b"2147483648", b"4294967396", b"9223372036854775807", b"9223372036854775806",
    b"-9223372036854775808", b"9223372036854775808", b"18446744073709551716", b"9" * 400, "１００".encode(), b"nan",
)  # fmt: skip
ODD_BYTES = (
    b"\0", b"\xff", b"\xf6", "ö".encode(), b"\xc3", b'"', b"'", b",", b";", b"=", b"#", b"\r", b"\x1a", b"\x0b",
    b"\x85", "\u2028".encode(), b" ", b"\t", b"\n", b"\r\n", b"\\", b"%", b"N", b"*", b"<", b"]", b".",
)  # fmt: skip
CONTIGS = (b"chr1", b"CHR1", b"NC_000001.11", b"NC_" + b"1" * 5_000, b"chr", b"#1", b"1 ", b"M", b"nowhere", b'"1"')
ALLELES = (b"", b".", b"*", b"<DEL>", b"<NON_REF>", b"N", b"A,,C", b",", b"A,", b"A,C,G,T", b"a", b"ACGT" * 5_000, b"R",
           b"]1:5]A", b"A]", b".A", b"1", b"<", b"AC GT", b"A;C", b"\xc3\x9f", b",".join([b"C"] * 300))  # fmt: skip
INFOS = (b"", b".", b";", b"END=99999999999", b"END=600000000", b"END=1", b"GLM_SIGMA=0.5;AC=1", b"GLM_STATUS=scored",
         b"GLM_STATUS", b"AC=1;;DB", b".;AC=1", b"X=" + b"y" * 70_000, b"AC=" + b"9" * 40)  # fmt: skip


def valid_text(rng: np.random.Generator, genome: Genome) -> bytes:
    """A valid VCF of a few records of `every_kind`: with or without samples, contig lines and CRLF."""
    kinds = every_kind(genome)
    chosen = np.sort(rng.choice(len(kinds), size=int(rng.integers(1, 8)), replace=False))
    text = vcf_text([kinds[int(row)] for row in chosen], VCF_HEADER)
    if rng.random() < 0.3:
        text = "".join(line for line in text.splitlines(keepends=True) if not line.startswith("##contig"))
    if rng.random() < 0.3:
        text = "\n".join("\t".join(line.split("\t")[:8]) for line in text.splitlines()) + "\n"
    if rng.random() < 0.2:
        text = text.replace("\n", "\r\n")
    if rng.random() < 0.1:
        text = text.rstrip("\r\n")
    return text.encode()


def mutant(rng: np.random.Generator, genome: Genome) -> tuple[bytes, list[str]]:
    """The bytes of a damaged file, and the names of what was done to it."""
    text = valid_text(rng, genome)
    done: list[str] = []
    container = str(rng.choice(("plain", "gzip", "bgzip", "bcf"), p=(0.7, 0.1, 0.13, 0.07)))
    if container == "bcf":
        return damage(rng, as_bcf(text, genome), [container])
    for _ in range(int(rng.choice((0, 1, 2, 3), p=(0.05, 0.6, 0.25, 0.1)))):
        mutation = LINE_MUTATIONS[int(rng.integers(len(LINE_MUTATIONS)))]
        lines = text.splitlines(keepends=True) if text.count(b"\n") else [text]
        text = b"".join(mutation(rng, lines))
        done.append(mutation.__name__)
    if container == "plain":
        return damage(rng, text, done) if rng.random() < 0.3 else (text, done)
    packed = gzip.compress(text, 1, mtime=0) if container == "gzip" else as_bgzip(text)
    done.append(container)
    return damage(rng, packed, done) if rng.random() < 0.5 else (packed, done)


def as_bgzip(text: bytes) -> bytes:
    """The text in bgzip blocks of a random-free but uneven size, written by htslib."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "x.gz"
        with pysam.BGZFile(str(path), "wb", None) as file:
            half = len(text) // 2
            file.write(text[:half])
            file.flush()  # so that there are two blocks
            file.write(text[half:])
        return path.read_bytes()


def as_bcf(text: bytes, genome: Genome) -> bytes:
    """The records as htslib writes them."""
    contigs = b"".join(b"##contig=<ID=%s>\n" % name for name in (b"1", b"2", b"3", b"nowhere"))
    # pysam gives <DEL> an END, and a broken record where the header does not know it.
    head = b'##INFO=<ID=END,Number=1,Type=Integer,Description="end">\n' + (b"" if b"##contig" in text else contigs)
    text = text.replace(b"\r\n", b"\n").replace(b"#CHROM", head + b"#CHROM", 1)
    with tempfile.TemporaryDirectory() as folder:
        source, target = Path(folder) / "x.vcf", Path(folder) / "x.bcf"
        source.write_bytes(text)
        with pysam.VariantFile(str(source)) as records:
            with pysam.VariantFile(str(target), "wb", header=records.header) as file:
                for record in records:
                    file.write(record)
        return target.read_bytes()


def damage(rng: np.random.Generator, data: bytes, done: list[str]) -> tuple[bytes, list[str]]:
    """Damage to the file as a whole, whatever it holds; a BCF or gzip may also be damaged inside and packed again."""
    kind = str(rng.choice(("truncate", "cut_end_block", "flip", "garbage", "none", "zeros", "twice", "inside")))
    at = int(rng.integers(0, max(len(data), 1)))
    if kind == "truncate":
        data = data[:at]
    elif kind == "cut_end_block":
        data = data[:-28]
    elif kind == "flip" and data:
        data = data[:at] + bytes([data[at] ^ (1 << int(rng.integers(8)))]) + data[at + 1 :]
    elif kind == "garbage":
        data += rng.bytes(int(rng.integers(1, 40)))
    elif kind == "zeros":
        data += bytes(int(rng.integers(1, 600)))
    elif kind == "twice":
        data += data
    elif kind == "inside" and data[:2] == b"\x1f\x8b":
        inner = bytearray(gzip.decompress(data))
        for _ in range(int(rng.integers(1, 4))):
            inner[int(rng.integers(len(inner)))] = int(rng.integers(256))
        data = gzip.compress(
            bytes(inner[: int(rng.integers(1, len(inner)))] if rng.random() < 0.3 else inner), 1, mtime=0
        )
    return data, [*done, kind]


def _any(rng: np.random.Generator, lines: Lines) -> int:
    return int(rng.integers(len(lines)))


def _record(rng: np.random.Generator, lines: Lines) -> int:
    """A line that is a record, if there is one."""
    rows = [row for row, line in enumerate(lines) if not line.startswith(b"#")]
    return rows[int(rng.integers(len(rows)))] if rows else _any(rng, lines)


def _with_field(rng: np.random.Generator, lines: Lines, column: int | None, values: tuple[bytes, ...]) -> Lines:
    row = _record(rng, lines)
    fields = lines[row].split(b"\t")
    place = int(rng.integers(len(fields))) if column is None else column
    if place < len(fields):
        end = b"\n" if place == len(fields) - 1 else b""
        fields[place] = values[int(rng.integers(len(values)))] + end
    return [*lines[:row], b"\t".join(fields), *lines[row + 1 :]]


def flip_bytes(rng: np.random.Generator, lines: Lines) -> Lines:
    text = bytearray(b"".join(lines))
    for _ in range(int(rng.integers(1, 4)) if text else 0):
        text[int(rng.integers(len(text)))] ^= 1 << int(rng.integers(8))
    return [bytes(text)]


def insert_odd_bytes(rng: np.random.Generator, lines: Lines) -> Lines:
    row = _any(rng, lines) if rng.random() < 0.3 else _record(rng, lines)
    at = int(rng.integers(len(lines[row]) + 1))
    odd = ODD_BYTES[int(rng.integers(len(ODD_BYTES)))] * int(rng.choice((1, 2, 9)))
    return [*lines[:row], lines[row][:at] + odd + lines[row][at:], *lines[row + 1 :]]


def delete_line(rng: np.random.Generator, lines: Lines) -> Lines:
    row = _any(rng, lines)
    return lines[:row] + lines[row + 1 :] or [b""]


def duplicate_line(rng: np.random.Generator, lines: Lines) -> Lines:
    row = _any(rng, lines)
    return lines[: row + 1] + lines[row:]


def truncate_line(rng: np.random.Generator, lines: Lines) -> Lines:
    row = _any(rng, lines)
    cut = lines[row][: int(rng.integers(len(lines[row]) + 1))]
    return [*lines[:row], cut + (b"\n" if rng.random() < 0.8 else b""), *lines[row + 1 :]]


def swap_lines(rng: np.random.Generator, lines: Lines) -> Lines:
    a, b = _any(rng, lines), _any(rng, lines)
    swapped = list(lines)
    swapped[a], swapped[b] = swapped[b], swapped[a]
    return swapped


def swap_columns(rng: np.random.Generator, lines: Lines) -> Lines:
    row = _record(rng, lines)
    fields = lines[row].rstrip(b"\r\n").split(b"\t")
    a, b = int(rng.integers(len(fields))), int(rng.integers(len(fields)))
    fields[a], fields[b] = fields[b], fields[a]
    return [*lines[:row], b"\t".join(fields) + b"\n", *lines[row + 1 :]]


def tabs_to_spaces(rng: np.random.Generator, lines: Lines) -> Lines:
    if rng.random() < 0.3:
        return [line.replace(b"\t", b" ") for line in lines]
    row = _record(rng, lines)
    return [*lines[:row], lines[row].replace(b"\t", b" ", int(rng.integers(1, 9))), *lines[row + 1 :]]


def odd_position(rng: np.random.Generator, lines: Lines) -> Lines:
    return _with_field(rng, lines, 1, POSITIONS)


def odd_contig(rng: np.random.Generator, lines: Lines) -> Lines:
    return _with_field(rng, lines, 0, CONTIGS)


def odd_allele(rng: np.random.Generator, lines: Lines) -> Lines:
    return _with_field(rng, lines, int(rng.choice((3, 4))), ALLELES)


def odd_info(rng: np.random.Generator, lines: Lines) -> Lines:
    return _with_field(rng, lines, 7, INFOS)


def empty_field(rng: np.random.Generator, lines: Lines) -> Lines:
    return _with_field(rng, lines, None, (b"",))


def long_field(rng: np.random.Generator, lines: Lines) -> Lines:
    return _with_field(rng, lines, None, (b"A" * 100_000, b"7" * 5_000, b"x,y;z=" * 3_000))


def missing_header(rng: np.random.Generator, lines: Lines) -> Lines:
    return [line for line in lines if not line.startswith(b"#") or rng.random() < 0.6] or [b""]


def header_again(rng: np.random.Generator, lines: Lines) -> Lines:
    row = _any(rng, lines)
    header = [line for line in lines if line.startswith(b"#")]
    return [*lines[:row], *header[-int(rng.integers(1, len(header) + 1)) if header else 0 :], *lines[row:]]


def byte_order_mark(rng: np.random.Generator, lines: Lines) -> Lines:
    row = 0 if rng.random() < 0.7 else _any(rng, lines)
    return [*lines[:row], b"\xef\xbb\xbf" + lines[row], *lines[row + 1 :]]


def carriage_returns_only(rng: np.random.Generator, lines: Lines) -> Lines:
    first = 0 if rng.random() < 0.5 else _any(rng, lines)
    return lines[:first] + [line.replace(b"\r", b"").replace(b"\n", b"\r") for line in lines[first:]]


def extra_columns(rng: np.random.Generator, lines: Lines) -> Lines:
    row = _any(rng, lines)
    more = (b"\t", b"\t\t", b"\tx\ty", b"\t" * 300, b"\t.")[int(rng.integers(5))]
    return [*lines[:row], lines[row].rstrip(b"\r\n") + more + b"\n", *lines[row + 1 :]]


def blank_lines(rng: np.random.Generator, lines: Lines) -> Lines:
    row = int(rng.integers(len(lines) + 1))
    blank = (b"\n", b"\r\n", b"\n\n\n", b" \n", b"\t\n", b"\r\r\n")[int(rng.integers(6))]
    return [*lines[:row], blank, *lines[row:]]


def reverse_records(rng: np.random.Generator, lines: Lines) -> Lines:
    records = [line for line in lines if not line.startswith(b"#")]
    return [line for line in lines if line.startswith(b"#")] + records[::-1]


LINE_MUTATIONS: tuple[Mutation, ...] = (
    flip_bytes, insert_odd_bytes, insert_odd_bytes, delete_line, duplicate_line, truncate_line, swap_lines,
    swap_columns, tabs_to_spaces, odd_position, odd_contig, odd_allele, odd_info, empty_field, long_field,
    missing_header, header_again, byte_order_mark, carriage_returns_only, extra_columns, blank_lines, reverse_records,
)  # fmt: skip
