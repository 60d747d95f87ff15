"""Columns of text as bytes and back (genomics.texts)."""

from __future__ import annotations

import numpy as np
import polars as pl
from hypothesis import given
from hypothesis import strategies as st

from geno_model.genomics.texts import from_matrix, from_ragged, to_matrix, to_ragged

TEXTS = st.lists(st.text("ACGTN*<>", max_size=20), max_size=30)


def test_both_layouts_by_hand() -> None:
    texts = pl.Series("alt", ["AC", "G", "", "TTA"])
    data, at, lengths = to_ragged(texts)
    assert data.tobytes() == b"ACGTTA" and at.tolist() == [0, 2, 3, 3] and lengths.tolist() == [2, 1, 0, 3]
    matrix, lengths = to_matrix(texts)
    assert matrix.tolist() == [[65, 67, 0], [71, 0, 0], [0, 0, 0], [84, 84, 65]] and lengths.tolist() == [2, 1, 0, 3]
    assert to_matrix(texts, width=5)[0].shape == (4, 5)


def test_ragged_texts_may_overlap_and_come_in_any_order() -> None:
    data = np.frombuffer(b"ACGTTA", dtype=np.uint8)
    column = from_ragged("x", data, np.array([3, 0, 1]), np.array([3, 4, 0]))
    assert column.to_list() == ["TTA", "ACGT", ""] and column.name == "x" and column.dtype == pl.String


@given(TEXTS, st.integers(0, 5), st.integers(0, 5))
def test_there_and_back(texts: list[str], first: int, last: int) -> None:
    """Also for a slice, which shares the bytes of the whole column."""
    column = pl.Series("x", texts, dtype=pl.String)[first : max(len(texts) - last, first)]
    assert from_ragged("x", *to_ragged(column)).equals(column)
    assert from_matrix("x", *to_matrix(column)).equals(column)
    joined = pl.concat([column, column])  # more than one chunk
    assert from_matrix("x", *to_matrix(joined)).equals(joined)
