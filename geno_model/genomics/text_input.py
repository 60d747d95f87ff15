"""Byte streams from files a user names: plain, gzip or bgzip, with every fault told in one line.

Belongs here: opening, decompression and noticing truncation, for FASTA and VCF alike. Does not: any format's meaning.

The concept: compression is told from the content, not from the name. A bgzip file ends with an empty block; one that
lacks it was cut between two blocks, which plain gzip cannot see, so that block is looked for before anything is read.
"""

from __future__ import annotations

import gzip
import io
import os
import sys
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO, cast

from geno_model.genomics.errors import InputError

_GZIP_MAGIC = b"\x1f\x8b"
_BGZF_FLAG = b"BC\x02\x00"  # the extra field that marks a bgzip block, at bytes 12..15
_BGZF_END = bytes.fromhex("1f8b08040000000000ff0600424302001b0003000000000000000000")


@contextmanager
def open_bytes(path: Path | str, what: str) -> Iterator[io.BufferedReader]:
    """The decompressed bytes of a file, or of standard input for "-".

    what: the kind of file for messages, such as "FASTA". Raises InputError when the file is missing, is a folder,
    cannot be read or is truncated, also when a later read inside the `with` finds that out.
    """
    name = "standard input" if str(path) == "-" else str(path)
    try:
        with _raw(path) as raw:
            if str(path) != "-":
                _require_whole_bgzf(raw, name, what)
            buffered = io.BufferedReader(cast(io.RawIOBase, raw), 1 << 16)
            if buffered.peek(2)[:2] == _GZIP_MAGIC:
                with gzip.GzipFile(fileobj=buffered) as stream:
                    yield cast(io.BufferedReader, stream)  # it can peek, too
            else:
                yield cast(io.BufferedReader, buffered)
    except FileNotFoundError:
        raise InputError(f"{what} not found: {name}; check the path") from None
    except IsADirectoryError:
        raise InputError(f"{name} is a folder; expected a {what} file") from None
    except PermissionError:
        raise InputError(f"{what} {name} may not be read; check its permissions") from None
    except (EOFError, zlib.error, gzip.BadGzipFile) as error:
        raise InputError(f"{what} {name} is truncated or damaged ({error}); copy or download it again") from None


@contextmanager
def _raw(path: Path | str) -> Iterator[BinaryIO]:
    if str(path) == "-":
        yield sys.stdin.buffer
    else:
        with open(path, "rb") as file:
            yield file


def _require_whole_bgzf(file: BinaryIO, name: str, what: str) -> None:
    """Refuse a bgzip file without its end block. Anything that cannot seek (a pipe) is left to be read."""
    if not file.seekable():
        return
    head = file.read(16)
    if head[:2] == _GZIP_MAGIC and head[12:16] == _BGZF_FLAG:
        file.seek(-min(len(_BGZF_END), file.seek(0, os.SEEK_END)), os.SEEK_END)
        if file.read() != _BGZF_END:
            raise InputError(f"{what} {name} is truncated: its last bgzip block is missing; copy or download it again")
    file.seek(0)
