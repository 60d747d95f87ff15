"""A second reader of VCF and BCF in plain Python, slow and simple, to compare the real one with.

Belongs here: the rules of what a readable file is, stated once more and independently, and its records as bytes. Does
not: anything of `geno_model` (else both could share a fault).
"""

from __future__ import annotations

import gzip
import re
import struct
import zlib
from dataclasses import dataclass

BGZF_END = bytes.fromhex("1f8b08040000000000ff0600424302001b0003000000000000000000")


class UnreadableError(Exception):
    """The file must be refused."""


@dataclass(frozen=True)
class Record:
    """One record: its columns as bytes. Of a BCF only chrom (None), pos, ref and alt are filled in."""

    columns: list[bytes]

    @property
    def alts(self) -> list[bytes]:
        return self.columns[4].split(b",")


def unpack(data: bytes) -> bytes:
    """The file without its compression."""
    if data[:2] != b"\x1f\x8b":
        return data
    if data[12:16] == b"BC\x02\x00" and not data.endswith(BGZF_END):
        raise UnreadableError("no end block")
    try:
        return gzip.decompress(data)
    except (OSError, EOFError, zlib.error, struct.error) as error:
        raise UnreadableError(str(error)) from None


def read_vcf(text: bytes) -> list[Record]:
    """The records of a VCF. Raises UnreadableError where a line breaks a rule."""
    lines = [line.rstrip(b"\r") for line in text.split(b"\n")]
    n_header = 0
    for line in lines:
        if line.strip() and not line.startswith(b"#"):
            break
        n_header += 1
    header = [line for line in lines[:n_header] if line.strip()]
    if not header or not header[-1].startswith(b"#CHROM") or any(line.startswith(b"#CHROM") for line in header[:-1]):
        raise UnreadableError("header")
    if any(b"\r" in line for line in lines):
        raise UnreadableError("carriage return")
    records = []
    for line in lines[n_header:]:
        if not line:
            continue
        columns = line.split(b"\t")
        if len(columns) < 8 or not columns[0] or line.startswith((b"#", b"\xef\xbb\xbf")):
            raise UnreadableError("columns")
        if not re.fullmatch(rb"0|-?[1-9][0-9]{0,18}", columns[1]) or not -(1 << 63) <= int(columns[1]) < 1 << 63:
            raise UnreadableError("position")
        records.append(Record(columns))
    return records


def read_bcf(data: bytes) -> list[Record]:
    """Position and alleles of the records of a BCF 2.2, straight from its bytes."""
    try:
        (header_length,) = struct.unpack_from("<I", data, 5)
        at, records = 9 + header_length, []
        while at < len(data):
            shared, individual = struct.unpack_from("<II", data, at)
            if at + 8 + shared + individual > len(data):
                raise UnreadableError("cut")
            _, pos0, _, _, n_allele_info = struct.unpack_from("<iiifI", data, at + 8)
            place = _skip_string(data, at + 8 + 24)[1]
            alleles = []
            for _ in range(n_allele_info >> 16):
                allele, place = _skip_string(data, place)
                alleles.append(allele)
            alt = b",".join(alleles[1:]) or b"."
            records.append(Record([b"", b"%d" % (pos0 + 1), b"", alleles[0] if alleles else b".", alt]))
            at += 8 + shared + individual
    except (struct.error, IndexError) as error:
        raise UnreadableError(str(error)) from None
    return records


def _skip_string(data: bytes, at: int) -> tuple[bytes, int]:
    """A typed string, and where it ends."""
    length = data[at] >> 4
    at += 1
    if length == 15:
        kind = data[at] & 15
        size, code = {1: (1, "<b"), 2: (2, "<h"), 3: (4, "<i")}.get(kind, (1, "<b"))
        (length,) = struct.unpack_from(code, data, at + 1)
        at += 1 + size
    return data[at : at + length], at + length
