"""Edits: the actions of the world model, and what they do to a window of DNA (spec 1; seed RFC-0003, 3.1 to 3.7).

Belongs here: the edit types, their order and overlap, their application to a window, and bringing the edited window
back to its length. Does not: alleles as a VCF spells them (`alleles`), tokens (`tokens`), the action encoder.

The concept: an `EditSpec` says what changes in a genome, 1-based like VCF; a `RelEdit` says the same inside a window,
0-based, which is all that the model ever sees.

    genome   ...  A C G T A C ...        EditSpec("1", pos=103, "G", "T")
    pos           101 102 103 104
    window        [100,          ...)    RelEdit(rel_pos=2, SNV, "G", "T")
    rel_pos       0   1   2   3

A haplotype is several edits of one strand of DNA, all placed in the unedited window, none sharing a reference base.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from enum import IntEnum
from typing import Literal, overload

import numpy as np
from numpy.typing import NDArray

from data_contracts.columns import BASES_PER_TOKEN
from geno_model.genomics.errors import InputError

V1_MAX_LEN = 16  # bp, either allele; longer ones are structural variants, which belong to v2

_BASES = frozenset("ACGT")
_PAD = ord("A")

FitSide = Literal["right", "opposite"]


class EditType(IntEnum):
    """What an edit is, from its two lengths alone. The order is also the order of ties in `sort_edits`."""

    SNV = 0
    INS = 1
    DEL = 2
    MNV = 3
    INDEL = 4
    SV = 5

    @classmethod
    def of_lengths(cls, ref_length: int, alt_length: int) -> EditType:
        """The type of an edit with alleles of these lengths in bp."""
        if max(ref_length, alt_length) > V1_MAX_LEN:
            return cls.SV
        if ref_length == alt_length:
            return cls.SNV if ref_length == 1 else cls.MNV
        if ref_length == 1:
            return cls.INS
        return cls.DEL if alt_length == 1 else cls.INDEL


class UnsupportedEditError(InputError):
    """An allele is longer than `V1_MAX_LEN`."""


class ReferenceMismatchError(InputError):
    """The window does not hold the reference bases that an edit says it replaces."""


class OverlappingEditsError(InputError):
    """Two edits of one haplotype replace the same reference base."""


class EditOutsideWindowError(InputError):
    """The reference span of an edit leaves the window."""


@dataclass(frozen=True, slots=True)
class RelEdit:
    """An edit inside a window: `rel_pos` is the 0-based offset in bp of the first base of `ref_bases`.

    An inner value, made by the thousand: it checks nothing. `EditSpec` and `apply_edits` do.
    """

    rel_pos: int
    edit_type: EditType
    ref_bases: str
    alt_bases: str

    @property
    def rel_end(self) -> int:
        """End of the reference span, exclusive."""
        return self.rel_pos + len(self.ref_bases)

    def absolute(self, chrom: str, window_start_bp: int) -> EditSpec:
        """The same edit in the genome, for a window that starts at `window_start_bp` (0-based) of `chrom`.

        The inverse of `EditSpec.relative_to`; like every EditSpec it is checked, and its type follows from the alleles.
        """
        return EditSpec(chrom, window_start_bp + self.rel_pos + 1, self.ref_bases, self.alt_bases)


@dataclass(frozen=True, slots=True)
class EditSpec:
    """An edit of a genome in VCF terms: `pos` is 1-based, alleles are upper-case ACGT of 1..16 bp.

    Raises ValueError for values that are no edit and `UnsupportedEditError` for alleles longer than `V1_MAX_LEN`.
    """

    chrom: str
    pos: int
    ref: str
    alt: str
    edit_type: EditType = field(init=False)

    def __post_init__(self) -> None:
        if not self.chrom:
            raise ValueError(f"chrom is {self.chrom!r} (pos {self.pos}); expected the name of a contig")
        where = f"{self.chrom}:{self.pos}"
        if self.pos < 1:
            raise ValueError(f"pos is {self.pos} at {where}; VCF positions are 1-based, expected at least 1")
        for name, bases in (("ref", self.ref), ("alt", self.alt)):
            if not bases or not _BASES.issuperset(bases):
                raise ValueError(
                    f"{name} is {bases[:40]!r} at {where}; expected one or more of the upper-case bases A, C, G, T"
                )
        if self.ref == self.alt:
            raise ValueError(f"ref and alt are both {self.ref[:40]!r} at {where}; expected two that differ")
        for name, bases in (("ref", self.ref), ("alt", self.alt)):
            if len(bases) > V1_MAX_LEN:
                raise UnsupportedEditError(
                    f"{name} has {len(bases)} bp at {where}, the cap is {V1_MAX_LEN} bp (V1_MAX_LEN): "
                    "longer alleles are structural variants, which belong to v2"
                )
        object.__setattr__(self, "edit_type", EditType.of_lengths(len(self.ref), len(self.alt)))

    def relative_to(self, window_start_bp: int, window_end_bp: int) -> RelEdit:
        """The same edit inside the window [window_start_bp, window_end_bp), 0-based half-open.

        `RelEdit.absolute(chrom, window_start_bp)` leads back. Raises EditOutsideWindowError when a base of `ref` lies
        outside, saying by how many bp.
        """
        rel_pos = self.pos - 1 - window_start_bp
        left, right = -rel_pos, self.pos - 1 + len(self.ref) - window_end_bp
        if left > 0 or right > 0:
            over = [f"starts {left} bp before"] * (left > 0) + [f"ends {right} bp after"] * (right > 0)
            raise EditOutsideWindowError(
                f"the {len(self.ref)} bp edit at {self.chrom}:{self.pos} {' and '.join(over)} the window "
                f"[{window_start_bp}, {window_end_bp}); take a window that holds its whole reference span"
            )
        return RelEdit(rel_pos, self.edit_type, self.ref, self.alt)


def edits_overlap(first: RelEdit, second: RelEdit) -> bool:
    """Whether the two reference spans share a base."""
    return first.rel_pos < second.rel_end and second.rel_pos < first.rel_end


def sort_edits(edits: Sequence[RelEdit]) -> list[RelEdit]:
    """Edits by rel_pos; ties SNV < INS < DEL < MNV < INDEL."""
    return sorted(edits, key=lambda edit: (edit.rel_pos, edit.edit_type))


def haplotype(edits: Sequence[RelEdit]) -> list[RelEdit]:
    """The edits of one haplotype in the order of `sort_edits`, which is the order in which the model takes them.

    All positions are those of the unedited window. No edits, an unedited haplotype, give an empty list.

    Raises OverlappingEditsError naming the first two that replace the same reference base. (Sorted by start, two that
    overlap imply two neighbours that do.)
    """
    ordered = sort_edits(edits)
    for first, second in zip(ordered, ordered[1:], strict=False):
        if edits_overlap(first, second):
            raise OverlappingEditsError(
                f"{_name(first)} and {_name(second)} replace the same reference base; "
                "edits of one haplotype must not overlap: drop one or join them into one edit"
            )
    return ordered


def apply_edit(window: str, edit: RelEdit) -> str:
    """The window with one edit made; its length changes by len(alt) - len(ref).

    Raises ReferenceMismatchError when the window does not hold `edit.ref_bases` there (case does not count).
    """
    _require_reference(window[edit.rel_pos : edit.rel_end] if edit.rel_pos >= 0 else "", edit, len(window))
    return _replaced(window, edit)


def apply_edits(window: str, edits: Sequence[RelEdit]) -> str:
    """The window with all edits of one haplotype made, right to left so that each position stays valid.

    Raises OverlappingEditsError naming two edits that overlap, and ReferenceMismatchError for the leftmost edit whose
    reference bases the window does not hold.
    """
    ordered = haplotype(edits)
    for edit in ordered:
        _require_reference(window[edit.rel_pos : edit.rel_end] if edit.rel_pos >= 0 else "", edit, len(window))
    for edit in reversed(ordered):
        window = _replaced(window, edit)
    return window


def apply_edits_array(window: NDArray[np.uint8], edits: Sequence[RelEdit]) -> NDArray[np.uint8]:
    """`apply_edits` on a window of ASCII bytes (L,): a new array, one copy whatever the number of edits."""
    pieces: list[NDArray[np.uint8]] = []
    done = 0
    for edit in haplotype(edits):
        found = window[edit.rel_pos : edit.rel_end].tobytes().decode("ascii", "replace") if edit.rel_pos >= 0 else ""
        _require_reference(found, edit, len(window))
        pieces += [window[done : edit.rel_pos], np.frombuffer(edit.alt_bases.encode("ascii"), dtype=np.uint8)]
        done = edit.rel_end
    return np.concatenate([*pieces, window[done:]])


def fit_side(locus: int, length: int, side: FitSide | str, right_tokens: int) -> Literal["left", "right"]:
    """The end, "left" or "right", at which an edited window is cut or padded (spec 1).

    locus: 0-based rel_pos of the edit; length: of the window, bp; right_tokens: how many tokens right of the locus are
    pooled (`StateContract.right_tokens`). "right": the encoder reads from left to right and pools nothing further
    right, so that end costs nothing and the six-mers of the prefix keep their frame. "opposite" is the seeds' rule, the
    end opposite the locus, a tie going right; it also holds when fewer than `right_tokens` whole tokens remain right of
    the token of the locus.
    """
    if side not in ("right", "opposite"):
        raise ValueError(f"side is {side!r}; expected 'right' or 'opposite'")
    if not 0 <= locus < length:
        raise ValueError(f"the locus {locus} lies outside the window of {length} bp; expected 0 <= locus < {length}")
    n_remaining = length // BASES_PER_TOKEN - 1 - locus // BASES_PER_TOKEN
    if side == "right" and n_remaining >= right_tokens:
        return "right"
    return "left" if 2 * locus > length else "right"


@overload
def fit_window(edited: str, length: int, locus: int, side: FitSide | str, right_tokens: int) -> str: ...
@overload
def fit_window(
    edited: NDArray[np.uint8], length: int, locus: int, side: FitSide | str, right_tokens: int
) -> NDArray[np.uint8]: ...
def fit_window(
    edited: str | NDArray[np.uint8], length: int, locus: int, side: FitSide | str, right_tokens: int
) -> str | NDArray[np.uint8]:
    """An edited window back at `length` bp: cut when too long, padded with `A` when too short.

    The end is `fit_side(locus, length, side, right_tokens)`; a str gives a str, an array of ASCII bytes gives an array
    (a view where nothing has to be padded).
    """
    end = fit_side(locus, length, side, right_tokens)
    surplus = len(edited) - length
    if surplus >= 0:
        return edited[:length] if end == "right" else edited[surplus:]
    if isinstance(edited, str):
        pad = chr(_PAD) * -surplus
        return edited + pad if end == "right" else pad + edited
    padding = np.full(-surplus, _PAD, dtype=np.uint8)
    return np.concatenate([edited, padding] if end == "right" else [padding, edited])


def _replaced(window: str, edit: RelEdit) -> str:
    return window[: edit.rel_pos] + edit.alt_bases + window[edit.rel_end :]


def _require_reference(found: str, edit: RelEdit, window_length: int) -> None:
    if found.upper() == edit.ref_bases.upper():
        return
    where = f"at rel_pos {edit.rel_pos} of a window of {window_length} bp"
    raise ReferenceMismatchError(
        f"expected the reference bases {edit.ref_bases!r} {where}, found {found!r}; "
        "the edit and the window come from different references or coordinates"
    )


def _name(edit: RelEdit) -> str:
    return f"{edit.edit_type.name} {edit.ref_bases}>{edit.alt_bases} at rel_pos {edit.rel_pos}"
