"""Records of a BCF that comes as a stream of bytes (spec 1).

Belongs here: handing bytes from any source to htslib, which itself reads files only. Does not: what a record means.

The concept: a thread writes the bytes into a pipe whose other end htslib reads. So a BCF on standard input, of which
the first bytes were looked at already, is read like one on disk.
"""

from __future__ import annotations

import os
import shutil
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import BinaryIO

import pysam

from geno_model.genomics.errors import InputError

BCF_MAGIC = b"BCF\2"
_BLOCK = 1 << 20


@contextmanager
def bcf_records(stream: BinaryIO, name: str) -> Iterator[pysam.VariantFile]:
    """The records of a BCF, to be iterated over once.

    stream: the decompressed bytes; name: of the source, for messages. Raises InputError when they are no whole BCF, and
    what reading the stream raises.
    """
    read_end, write_end = os.pipe()
    faults: list[BaseException] = []

    def feed() -> None:
        try:
            with os.fdopen(write_end, "wb") as pipe:
                shutil.copyfileobj(stream, pipe, _BLOCK)
        except BrokenPipeError:
            pass  # the reader has had enough
        except BaseException as error:  # raised again where the records are asked for
            faults.append(error)

    feeder = threading.Thread(target=feed, daemon=True)
    feeder.start()
    verbosity = pysam.set_verbosity(0)  # htslib would complain on standard error that a pipe has no index
    try:
        with os.fdopen(read_end, "rb") as pipe, pysam.VariantFile(pipe) as records:  # pyright: ignore[reportArgumentType]
            yield records
    except (OSError, ValueError) as error:
        if isinstance(error, InputError):
            raise
        if not faults:
            raise InputError(f"{name} is damaged or no BCF; copy or make it again") from None
    finally:
        pysam.set_verbosity(verbosity)
        feeder.join()
    if faults:
        raise faults[0]
