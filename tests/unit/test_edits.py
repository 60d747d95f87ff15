"""Edits against hand-worked windows (spec 1, "Types")."""

from __future__ import annotations

import subprocess
import sys

import numpy as np
import pytest

from geno_model.genomics.edits import (
    EditOutsideWindowError,
    EditSpec,
    EditType,
    OverlappingEditsError,
    ReferenceMismatchError,
    RelEdit,
    UnsupportedEditError,
    apply_edit,
    apply_edits,
    apply_edits_array,
    edits_overlap,
    fit_side,
    fit_window,
    haplotype,
    sort_edits,
)
from geno_model.genomics.errors import InputError


def rel(rel_pos: int, ref: str, alt: str) -> RelEdit:
    return RelEdit(rel_pos, EditType.of_lengths(len(ref), len(alt)), ref, alt)


def as_array(window: str) -> np.ndarray:
    return np.frombuffer(window.encode(), dtype=np.uint8)


@pytest.mark.parametrize(
    ("ref", "alt", "expected"),
    [
        ("A", "C", 0),
        ("A", "AC", 1),
        ("AC", "A", 2),
        ("AC", "GT", 3),
        ("ACG", "TT", 4),
        ("A", "A" * 17, 5),
        ("A" * 17, "A" * 17, 5),
    ],
)
def test_edit_type_from_lengths(ref: str, alt: str, expected: int) -> None:
    assert EditType.of_lengths(len(ref), len(alt)) == expected


@pytest.mark.parametrize(
    "fields",
    [("", 1, "A", "C"), ("1", 0, "A", "C"), ("1", -3, "A", "C"), ("1", 1, "", "C"), ("1", 1, "A", ""),
     ("1", 1, "a", "C"), ("1", 1, "A", "N"), ("1", 1, "A", "<DEL>"), ("1", 1, "AC", "AC")],
)  # fmt: skip
def test_what_is_no_edit_is_a_value_error(fields: tuple[str, int, str, str]) -> None:
    with pytest.raises(ValueError):
        EditSpec(*fields)


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        (("", 7, "A", "C"), ["''", "pos 7", "name of a contig"]),
        (("chr2", -3, "A", "C"), ["-3", "chr2:-3", "at least 1"]),
        (("chr2", 7, "A", "n"), ["alt is 'n'", "chr2:7", "upper-case bases A, C, G, T"]),
        (("chr2", 7, "", "A"), ["ref is ''", "chr2:7", "one or more"]),
        (("chr2", 7, "AC", "AC"), ["'AC'", "chr2:7", "differ"]),
        (("chr2", 7, "A", "C" * 17), ["17 bp", "chr2:7", "16 bp", "v2"]),
    ],
)
def test_messages_say_what_was_found_what_was_expected_and_where(
    fields: tuple[str, int, str, str], words: list[str]
) -> None:
    with pytest.raises(ValueError) as caught:
        EditSpec(*fields)
    assert not [word for word in words if word not in str(caught.value)], caught.value


def test_longest_allele_and_one_more() -> None:
    assert EditSpec("1", 1, "C" * 16, "A").edit_type is EditType.DEL
    assert EditSpec("1", 1, "A", "C" * 16).edit_type is EditType.INS
    with pytest.raises(UnsupportedEditError, match=r"17 bp.*16 bp.*v2"):
        EditSpec("1", 1, "A", "C" * 17)
    with pytest.raises(UnsupportedEditError, match="ref has 20 bp"):
        EditSpec("1", 1, "C" * 20, "A")


def test_edit_spec_is_frozen_and_equal_by_value() -> None:
    spec = EditSpec("1", 5, "A", "C")
    assert spec == EditSpec("1", 5, "A", "C") and hash(spec) == hash(EditSpec("1", 5, "A", "C"))
    with pytest.raises(AttributeError):
        spec.pos = 6  # type: ignore[misc]
    with pytest.raises(AttributeError):
        rel(1, "A", "C").rel_pos = 6  # type: ignore[misc]
    assert not hasattr(spec, "__dict__") and not hasattr(rel(1, "A", "C"), "__dict__")


def test_edit_type_is_derived_and_cannot_be_given() -> None:
    assert EditSpec("1", 5, "AC", "GT").edit_type is EditType.MNV
    with pytest.raises(TypeError):
        EditSpec("1", 5, "AC", "GT", EditType.SNV)  # type: ignore[call-arg]
    assert [kind.name for kind in EditType] == ["SNV", "INS", "DEL", "MNV", "INDEL", "SV"]


def test_relative_to_uses_a_zero_based_half_open_window() -> None:
    assert EditSpec("1", 101, "A", "C").relative_to(100, 200) == rel(0, "A", "C")
    assert EditSpec("1", 199, "AC", "A").relative_to(100, 200) == rel(98, "AC", "A")
    with pytest.raises(EditOutsideWindowError, match="ends 1 bp after"):
        EditSpec("1", 200, "AC", "A").relative_to(100, 200)
    with pytest.raises(EditOutsideWindowError, match="starts 3 bp before"):
        EditSpec("1", 98, "A", "C").relative_to(100, 200)
    with pytest.raises(EditOutsideWindowError, match=r"4 bp edit at 1:100 starts 1 bp before and ends 2 bp after"):
        EditSpec("1", 100, "ACGT", "A").relative_to(100, 101)


def test_absolute_is_the_way_back() -> None:
    assert rel(0, "A", "C").absolute("1", 100) == EditSpec("1", 101, "A", "C")
    assert rel(98, "AC", "A").absolute("chr2", 100) == EditSpec("chr2", 199, "AC", "A")
    with pytest.raises(ValueError, match="pos is 0 at 1:0"):
        rel(-1, "A", "C").absolute("1", 0)
    with pytest.raises(UnsupportedEditError, match="17 bp at 1:3"):
        rel(2, "A", "C" * 17).absolute("1", 0)


def test_overlap_and_order() -> None:
    assert edits_overlap(rel(5, "ACG", "A"), rel(7, "G", "T"))
    assert not edits_overlap(rel(5, "ACG", "A"), rel(8, "G", "T"))
    same_place = [
        rel(3, "AC", "TTT"),
        rel(3, "AC", "GT"),
        rel(3, "AC", "A"),
        rel(3, "A", "AT"),
        rel(3, "A", "T"),
        rel(1, "A", "T"),
    ]
    assert [edit.edit_type.name for edit in sort_edits(same_place)] == ["SNV", "SNV", "INS", "DEL", "MNV", "INDEL"]
    assert sort_edits(same_place)[0].rel_pos == 1


def test_a_haplotype_is_sorted_and_checked() -> None:
    assert haplotype([]) == []
    edits = [rel(5, "C", "CTTT"), rel(0, "AC", "A"), rel(2, "G", "T")]  # the last two touch without sharing a base
    assert haplotype(edits) == [edits[1], edits[2], edits[0]] and edits[0].rel_pos == 5
    with pytest.raises(OverlappingEditsError, match="SNV A>C at rel_pos 4 and INS A>AC at rel_pos 4"):
        haplotype([rel(4, "A", "AC"), edits[0], rel(4, "A", "C")])
    with pytest.raises(OverlappingEditsError, match="DEL ACGT>A at rel_pos 0 and SNV T>G at rel_pos 3"):
        haplotype([rel(9, "A", "C"), rel(3, "T", "G"), rel(0, "ACGT", "A")])


@pytest.mark.parametrize(
    ("edit", "expected"),
    [(rel(2, "G", "T"), "ACTTACGT"), (rel(2, "G", "GAA"), "ACGAATACGT"), (rel(2, "GTA", "G"), "ACGCGT"),
     (rel(0, "AC", "TT"), "TTGTACGT"), (rel(6, "GT", "CCC"), "ACGTACCCC")],
)  # fmt: skip
def test_apply_edit_by_hand(edit: RelEdit, expected: str) -> None:
    assert apply_edit("ACGTACGT", edit) == expected
    assert apply_edits_array(as_array("ACGTACGT"), [edit]).tobytes().decode() == expected


def test_several_edits_keep_their_positions() -> None:
    edits = [rel(5, "C", "CTTT"), rel(0, "AC", "A"), rel(3, "T", "G")]
    assert apply_edits("ACGTACGT", edits) == "AGGACTTTGT"
    assert apply_edits_array(as_array("ACGTACGT"), edits).tobytes() == b"AGGACTTTGT"
    assert apply_edits("ACGT", []) == "ACGT"
    assert apply_edits_array(as_array("ACGT"), []).tobytes() == b"ACGT"


@pytest.mark.parametrize("edit", [rel(2, "C", "T"), rel(7, "TA", "T"), rel(-1, "T", "A"), rel(99, "A", "C")])
def test_reference_mismatch_says_what_was_found(edit: RelEdit) -> None:
    with pytest.raises(ReferenceMismatchError, match=f"expected.*{edit.ref_bases}.*rel_pos {edit.rel_pos}.*found"):
        apply_edit("ACGTACGT", edit)
    with pytest.raises(ReferenceMismatchError):
        apply_edits_array(as_array("ACGTACGT"), [edit])


def test_a_haplotype_names_the_leftmost_mismatch_in_the_unedited_window() -> None:
    edits = [rel(6, "A", "C"), rel(3, "C", "G"), rel(0, "A", "ACCC")]
    expected = "expected the reference bases 'C' at rel_pos 3 of a window of 8 bp, found 'T'"
    with pytest.raises(ReferenceMismatchError, match=expected):
        apply_edits("ACGTACGT", edits)
    with pytest.raises(ReferenceMismatchError, match=expected):
        apply_edits_array(as_array("ACGTACGT"), edits)


def test_soft_masked_windows_match() -> None:
    assert apply_edit("acgt", rel(1, "C", "T")) == "aTgt"
    assert apply_edits_array(as_array("acgt"), [rel(1, "C", "T")]).tobytes() == b"aTgt"


def test_overlapping_edits_name_both() -> None:
    edits = [rel(1, "CG", "C"), rel(2, "G", "A")]
    with pytest.raises(OverlappingEditsError, match="DEL CG>C at rel_pos 1 and SNV G>A at rel_pos 2"):
        apply_edits("ACGTACGT", edits)
    with pytest.raises(OverlappingEditsError):
        apply_edits_array(as_array("ACGTACGT"), edits)


def test_errors_are_input_errors() -> None:
    for error in (UnsupportedEditError, ReferenceMismatchError, OverlappingEditsError, EditOutsideWindowError):
        assert issubclass(error, InputError) and not issubclass(error, AssertionError)


def test_checks_hold_without_asserts() -> None:
    """`python -O` drops asserts; none of the checks may be one."""
    script = """
from geno_model.genomics.edits import *
def refuses(call):
    try:
        call()
    except ValueError:
        return True
snv, other = RelEdit(0, EditType.SNV, "A", "C"), RelEdit(0, EditType.SNV, "A", "G")
calls = [
    lambda: EditSpec("", 1, "A", "C"), lambda: EditSpec("1", 0, "A", "C"), lambda: EditSpec("1", 1, "A", "A"),
    lambda: EditSpec("1", 1, "n", "A"), lambda: EditSpec("1", 1, "A" * 17, "A"),
    lambda: EditSpec("1", 9, "A", "C").relative_to(0, 8), lambda: apply_edit("CG", snv),
    lambda: apply_edits("AG", [snv, other]), lambda: fit_side(9, 8, "right", 256),
]
print(sum(refuses(call) is True for call in calls), len(calls), __debug__)
"""
    done = subprocess.run([sys.executable, "-O", "-c", script], check=True, capture_output=True, text=True)
    assert done.stdout.split() == ["9", "9", "False"]


@pytest.mark.parametrize("radius", [0, 64, 256, 512])
def test_fit_side_is_right_while_the_pool_has_all_its_tokens(radius: int) -> None:
    length = 12_288
    last = (2_048 - 1 - radius) * 6 + 5  # the last base of token 1,791 with 256 tokens
    assert fit_side(6_000, length, "right", radius) == "right"
    assert fit_side(last, length, "right", radius) == "right"
    if radius:
        assert fit_side(last + 1, length, "right", radius) == "left"


def test_fit_side_opposite_is_the_seeds_rule() -> None:
    assert [fit_side(locus, 12_288, "opposite", 256) for locus in (0, 6_143, 6_144, 6_145, 12_287)] == [
        "right", "right", "right", "left", "left",
    ]  # fmt: skip
    assert (
        fit_side(10, 60, "right", 256) == "right"
    )  # a short window: the opposite rule, and the locus is in the left half


def test_fit_window_by_hand() -> None:
    assert fit_window("ACGTACGTTT", 8, 2, "right", 256) == "ACGTACGT"
    assert fit_window("ACGTAC", 8, 2, "right", 256) == "ACGTACAA"
    assert fit_window("ACGTACGTTT", 8, 6, "opposite", 0) == "GTACGTTT"
    assert fit_window("CGTACG", 8, 6, "opposite", 0) == "AACGTACG"
    assert fit_window("ACGT", 4, 1, "right", 0) == "ACGT"


@pytest.mark.parametrize("side", ["right", "opposite"])
@pytest.mark.parametrize("locus", [2, 3_000])
@pytest.mark.parametrize("change", [-5, 0, 5])
def test_fit_window_gives_arrays_what_it_gives_text(side: str, locus: int, change: int) -> None:
    edited = "".join(np.random.default_rng(0).choice(list("ACGT"), 3_072 + change))
    fitted = fit_window(as_array(edited), 3_072, locus, side, 256)
    assert fitted.tobytes().decode() == fit_window(edited, 3_072, locus, side, 256)
    assert len(fitted) == 3_072


def test_default_side_keeps_the_frame_of_the_prefix() -> None:
    window = "".join(np.random.default_rng(1).choice(list("ACGT"), 12_288))
    locus = 9_000  # right half: the seeds' rule would cut the left end
    edited = apply_edit(window, rel(locus, window[locus], window[locus] + "ACG"))
    assert fit_window(edited, 12_288, locus, "right", 256)[:locus] == window[:locus]


def test_the_right_end_is_kept_where_too_few_tokens_remain() -> None:
    window = "".join(np.random.default_rng(2).choice(list("ACGT"), 12_288))
    locus = 11_000
    edited = apply_edit(window, rel(locus, window[locus : locus + 4], window[locus]))
    fitted = fit_window(edited, 12_288, locus, "right", 256)
    assert fitted == "AAA" + edited and fitted[-100:] == window[-100:]


@pytest.mark.parametrize(("locus", "side"), [(-1, "right"), (12_288, "right"), (5, "middle")])
def test_fit_side_refuses_nonsense(locus: int, side: str) -> None:
    with pytest.raises(ValueError):
        fit_side(locus, 12_288, side, 256)
