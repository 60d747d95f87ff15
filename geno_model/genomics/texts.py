"""Columns of short texts, such as alleles, as arrays of bytes and back, without a Python object for each.

Belongs here: the two layouts that vectorised code works on, and the way between them and polars. Does not: what the
bytes mean.

    texts    ["AC", "G", "TTA"]
    ragged   data  A C G T T A     at  0 2 3     length  2 1 3       no byte is moved: it is how Arrow keeps a column
    matrix   A C 0 / G 0 0 / T T A               length  2 1 3       padded with 0 to the longest
"""

from __future__ import annotations

import numpy as np
import polars as pl
import pyarrow as pa
from numpy.typing import NDArray


def to_ragged(texts: pl.Series) -> tuple[NDArray[np.uint8], NDArray[np.int64], NDArray[np.int64]]:
    """All texts of a String column without nulls as one array of bytes, where each begins (n,), and its length (n,)."""
    column = texts.to_arrow(compat_level=pl.CompatLevel.oldest())
    _, offset_buffer, data = column.buffers()
    if not len(column) or data is None:
        return np.empty(0, dtype=np.uint8), np.zeros(len(column), np.int64), np.zeros(len(column), np.int64)
    offsets = np.frombuffer(offset_buffer, dtype=np.int64)[column.offset : column.offset + len(column) + 1]
    return np.frombuffer(data, dtype=np.uint8), offsets[:-1], np.diff(offsets)


def from_ragged(name: str, data: NDArray[np.uint8], at: NDArray[np.int64], lengths: NDArray[np.int64]) -> pl.Series:
    """A String column of the texts data[at : at + length], which may overlap and lie in any order; UTF-8."""
    offsets = np.append(np.int64(0), np.cumsum(lengths))
    rows = np.repeat(at - offsets[:-1], lengths)
    return _column(name, offsets, data[rows + np.arange(len(rows))])


def to_matrix(texts: pl.Series, width: int | None = None) -> tuple[NDArray[np.uint8], NDArray[np.int64]]:
    """Bytes (n, width) padded with 0, and lengths (n,). width: default the longest text, at least 1."""
    data, at, lengths = to_ragged(texts)
    matrix = np.zeros((len(at), width or int(lengths.max(initial=1))), dtype=np.uint8)
    is_used = np.arange(matrix.shape[1]) < lengths[:, None]
    matrix[is_used] = data[at[0] : at[-1] + lengths[-1]] if len(at) else data
    return matrix, lengths


def from_matrix(name: str, matrix: NDArray[np.uint8], lengths: NDArray[np.int64]) -> pl.Series:
    """A String column of the first `length` bytes of each row of a matrix (n, width); UTF-8."""
    is_used = np.arange(matrix.shape[1]) < lengths[:, None]
    return _column(name, np.append(np.int64(0), np.cumsum(lengths)), matrix[is_used])


def _column(name: str, offsets: NDArray[np.int64], data: NDArray[np.uint8]) -> pl.Series:
    buffers = [None, pa.py_buffer(offsets), pa.py_buffer(np.ascontiguousarray(data))]
    column = pa.Array.from_buffers(pa.large_string(), len(offsets) - 1, buffers)
    return pl.Series(name, pl.from_arrow(column), dtype=pl.String)
