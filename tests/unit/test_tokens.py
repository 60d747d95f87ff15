"""Tokens against Carbon's own conformance cases and hand-worked ids (spec 1, 2)."""

from __future__ import annotations

import re

import numpy as np
import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from geno_model.genomics.edits import EditType, RelEdit, UnsupportedEditError, apply_edit
from geno_model.genomics.texts import to_matrix
from geno_model.genomics.tokens import (
    CARBON_DNA_OPEN,
    DNA_CLOSE,
    DNA_OPEN,
    N_COMPACT,
    OOV,
    SIXMER_OFFSET,
    allele_tokens,
    edited_sixmer_ids,
    sixmer_ids,
    sixmer_ids_at_every_base,
)
from tests.shared_data import SHARED, needs_shared_data


def ids_of(bases: str) -> list[int]:
    return (sixmer_ids(np.frombuffer(bases.encode(), dtype=np.uint8)) + CARBON_DNA_OPEN).tolist()


@needs_shared_data
def test_carbon_conformance() -> None:
    folder = SHARED / "carbon"
    cases = (folder / "tokenizer_cases.inp").read_text().split("\n__ggml_vocab_test__\n")
    expected = (folder / "tokenizer_cases.out").read_text().split("\n")
    n_checked = 0
    for case, line in zip(cases, expected, strict=False):
        match = re.fullmatch(r"<dna>([A-Za-z]*)(</dna>)?", case.strip())
        if match is None:
            continue  # text outside DNA, which is never tokenised here
        close = [DNA_CLOSE + CARBON_DNA_OPEN] if match[2] else []
        assert [DNA_OPEN + CARBON_DNA_OPEN, *ids_of(match[1]), *close] == [int(token) for token in line.split()], case
        n_checked += 1
    assert n_checked == 8


def test_ids_by_hand() -> None:
    assert ids_of("AAAAAA") == [151_672]
    assert ids_of("GGGGGG") == [155_767]
    assert ids_of("ATCGAT") == ids_of("atcgat") == [152_105]
    assert ids_of("ATCGAN") == [CARBON_DNA_OPEN + OOV]
    assert ids_of("ATCGA") == ids_of("ATCGAA")
    assert ids_of("") == []
    assert SIXMER_OFFSET + 4**6 == N_COMPACT == 4_099


def test_leading_axes_are_kept() -> None:
    bases = np.random.default_rng(0).choice(np.frombuffer(b"ACGTN", dtype=np.uint8), (2, 3, 20))
    ids = sixmer_ids(bases)
    assert ids.shape == (2, 3, 4) and ids.dtype == np.int32
    assert ids[1, 2].tolist() == sixmer_ids(bases[1, 2]).tolist()


def test_allele_tokens_by_hand() -> None:
    ids, lengths = allele_tokens(["T", "TA", "ACGTACGTACGTACGT"])
    assert ids.dtype == np.int32 and lengths.dtype == np.int8
    t_padded = SIXMER_OFFSET + 4**5
    assert ids[0].tolist() == ids[1].tolist() == [t_padded, OOV, OOV, OOV]
    assert lengths.tolist() == [1, 2, 16]  # what tells T from TA
    assert (ids[2, :3] != OOV).all() and ids[2, 3] == OOV


def test_allele_tokens_of_a_column_and_of_nothing() -> None:
    ids, lengths = allele_tokens(pl.Series(["A", "CC"]))
    assert ids.tolist() == allele_tokens(["A", "CC"])[0].tolist()
    ids, lengths = allele_tokens([])
    assert ids.shape == (0, 4) and lengths.shape == (0,)


@pytest.mark.parametrize("alleles", [["A", ""], ["N"], ["*"], ["<DEL>"]])
def test_allele_tokens_refuse_what_is_no_allele(alleles: list[str]) -> None:
    with pytest.raises(ValueError, match="1 of"):
        allele_tokens(alleles)


def test_allele_tokens_refuse_long_alleles() -> None:
    with pytest.raises(UnsupportedEditError, match="17 bp"):
        allele_tokens(["A" * 17])


@given(st.text("ACGTNacgtRn", min_size=6, max_size=60))
def test_ids_at_every_base_are_those_of_the_frame_that_begins_there(text: str) -> None:
    bases = np.frombuffer(text.encode(), dtype=np.uint8)
    every = sixmer_ids_at_every_base(bases)
    assert every.tolist() == [sixmer_ids(bases[at : at + 6])[0] for at in range(len(text) - 5)]


def edited_ids(window: str, edits: list[tuple[int, str, str]], n_tokens: int) -> np.ndarray:
    rel_pos, ref_length = (np.array([value(edit) for edit in edits]) for value in (lambda e: e[0], lambda e: len(e[1])))
    alt, alt_length = to_matrix(pl.Series([edit[2] for edit in edits]))
    bases = np.frombuffer(window.encode(), dtype=np.uint8)
    return edited_sixmer_ids(bases, rel_pos, ref_length, alt, alt_length, n_tokens)


def test_edited_windows_by_hand() -> None:
    window = "ACGTAC" "GTACGT" "ACGTAC" "AAAAAA"  # fmt: skip
    ids = edited_ids(window, [(7, "T", "G"), (7, "T", "TGG"), (7, "TAC", "T")], 3)
    for row, bases in zip(ids, ["GGACGTACGTACAAAAAA", "GTGGACGTACGTACAAAA", "GTGTACGTACAAAAAAAA"], strict=True):
        assert (row + CARBON_DNA_OPEN).tolist() == ids_of(bases)


@st.composite
def windows_and_single_edits(draw: st.DrawFn) -> tuple[str, list[tuple[int, str, str]]]:
    window = draw(st.text("ACGTN", min_size=24, max_size=90))
    edits = []
    for _ in range(draw(st.integers(1, 5))):
        start = draw(st.integers(0, len(window) - 1))
        ref = window[start : start + draw(st.integers(1, 16))]
        edits.append((start, ref, draw(st.text("ACGT", min_size=1, max_size=16))))
    return window, edits


@given(windows_and_single_edits(), st.integers(0, 20))
def test_edited_windows_are_tokenised_as_if_applied_and_tokenised_whole(
    case: tuple[str, list[tuple[int, str, str]]], n_tokens: int
) -> None:
    window, edits = case
    found = edited_ids(window, edits, n_tokens)
    assert found.shape == (len(edits), n_tokens)
    for row, (start, ref, alt) in zip(found, edits, strict=True):
        whole = apply_edit(window, RelEdit(start, EditType.of_lengths(len(ref), len(alt)), ref, alt)) + "A" * 200
        first = start // 6
        assert (
            row.tolist() == sixmer_ids(np.frombuffer(whole.encode(), dtype=np.uint8))[first : first + n_tokens].tolist()
        )
