"""Writing bgzip: gzip in blocks that an index can point into.

Belongs here: the container, as the SAM specification (4.1) defines it. Does not: what is written, indexes.

The concept: Python writes the file, not htslib, so that a full disk is an ordinary OSError. htslib's writer adds lines
of its own to standard error then, once more when it is thrown away.
"""

from __future__ import annotations

import struct
import zlib
from pathlib import Path

_BLOCK_BYTES = 0xFF00  # of text a block, as bgzip has it: also what cannot be compressed stays under 64 KiB
_HEAD = bytes.fromhex("1f8b08040000000000ff060042430200")
_END = bytes.fromhex("1f8b08040000000000ff0600424302001b0003000000000000000000")


class BgzipFile:
    """A new bgzip file. Complete once `close` has returned."""

    def __init__(self, path: Path) -> None:
        self._file = path.open("wb")
        self._pending = bytearray()

    def write(self, text: bytes) -> None:
        """Append some bytes."""
        self._pending += text
        n_whole = len(self._pending) // _BLOCK_BYTES * _BLOCK_BYTES
        for start in range(0, n_whole, _BLOCK_BYTES):
            self._file.write(_block(self._pending[start : start + _BLOCK_BYTES]))
        del self._pending[:n_whole]

    def close(self) -> None:
        """Write what is left and the empty block that tells a whole file from a truncated one."""
        with self._file:
            if self._pending:
                self._file.write(_block(self._pending))
            self._file.write(_END)


def _block(text: bytes | bytearray) -> bytes:
    packer = zlib.compressobj(level=6, wbits=-15)
    packed = packer.compress(text) + packer.flush()
    size = len(_HEAD) + 2 + len(packed) + 8
    return _HEAD + struct.pack("<H", size - 1) + packed + struct.pack("<II", zlib.crc32(text), len(text))
