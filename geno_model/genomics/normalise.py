"""Trimming and left alignment of alleles, the parsimony rule of `bcftools norm` (spec 1).

Belongs here: many alleles of one contig at once as ragged byte arrays, and the arithmetic on them. Does not: which
alleles are worth it and why not (`alleles`), VCF text (`vcf_reader`).

The concept, after Tan, Abecasis and Kang (2015): cut equal bases from the right of both alleles. If none of them
becomes empty, cut equal bases from the left and be done. If one does, the allele is a pure insertion or deletion of
D = d1..dn, and it may stand further left as long as the base to its left equals the last base of D, which then moves
to the front:

    reference  G C A C A C T        deletion of CA at 4..5  ->  at 2..3, VCF: pos of G, GCA > G
                   [C A]            each step rotates D: CA -> AC -> CA

After k steps the base to compare is D[(n - 1 - k) mod n], so runs of steps are compared with the reference at once.
Loops here run over bases of an allele or over blocks of a shift, always for all alleles together.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import polars as pl
from numpy.typing import NDArray

from geno_model.genomics.texts import from_ragged, to_ragged

_SHIFT_BLOCK = 32  # bp of left shift compared in one step

Ints = NDArray[np.int64]
Bools = NDArray[np.bool_]


@dataclass(frozen=True, slots=True)
class Alleles:
    """n alleles of one contig: start (n,) 0-based bp of the first reference base; ref and alt as one text each.

    Allele i of ref is ref_bytes[ref_at[i] : ref_at[i] + ref_len[i]], likewise alt.
    """

    start: Ints
    ref_bytes: NDArray[np.uint8]
    ref_at: Ints
    ref_len: Ints
    alt_bytes: NDArray[np.uint8]
    alt_at: Ints
    alt_len: Ints

    @classmethod
    def of(cls, pos: pl.Series, ref: pl.Series, alt: pl.Series) -> Alleles:
        """From columns in VCF terms: pos 1-based, ref and alt non-empty ASCII."""
        return cls(pos.to_numpy().astype(np.int64) - 1, *to_ragged(ref), *to_ragged(alt))

    def take(self, rows: Bools) -> Alleles:
        """Those of the rows that are True, sharing the texts."""
        return Alleles(
            self.start[rows], self.ref_bytes, self.ref_at[rows], self.ref_len[rows],
            self.alt_bytes, self.alt_at[rows], self.alt_len[rows],
        )  # fmt: skip

    def longest(self) -> Ints:
        """Length in bp of the longer allele (n,)."""
        return np.maximum(self.ref_len, self.alt_len)

    def columns(self) -> list[pl.Series]:
        """Columns pos i64 (1-based), ref, alt."""
        return [
            pl.Series("pos", self.start + 1, dtype=pl.Int64),
            from_ragged("ref", self.ref_bytes, self.ref_at, self.ref_len),
            from_ragged("alt", self.alt_bytes, self.alt_at, self.alt_len),
        ]


def agrees_with_reference(alleles: Alleles, bases: NDArray[np.uint8]) -> tuple[Bools, Bools]:
    """(n,) whether ref equals the reference there, and (n,) whether the reference has an N there.

    bases: the whole contig, ASCII; every reference span must lie inside it.
    """
    row, within = _flat(alleles.ref_len)
    found = bases[alleles.start[row] + within]
    differs = np.bincount(row, found != alleles.ref_bytes[alleles.ref_at[row] + within], len(alleles.start)) > 0
    has_n = np.bincount(row, found == ord("N"), len(alleles.start)) > 0
    return ~differs, has_n


def normalise(alleles: Alleles, bases: NDArray[np.uint8]) -> Alleles:
    """The alleles trimmed and left-aligned; ref must equal the reference. bases: the whole contig, ASCII."""
    suffix = _common(alleles, from_right=True)
    ref_len, alt_len = alleles.ref_len - suffix, alleles.alt_len - suffix
    cut = Alleles(alleles.start, alleles.ref_bytes, alleles.ref_at, ref_len, alleles.alt_bytes, alleles.alt_at, alt_len)
    # At least one base of each allele stays; where one is empty now, the indel is rebuilt from the reference.
    prefix = np.minimum(_common(cut, from_right=False), np.maximum(np.minimum(ref_len, alt_len) - 1, 0))
    is_indel = (ref_len == 0) | (alt_len == 0)
    trimmed = Alleles(
        cut.start + prefix, cut.ref_bytes, cut.ref_at + prefix, ref_len - prefix,
        cut.alt_bytes, cut.alt_at + prefix, alt_len - prefix,
    )  # fmt: skip
    return _rebuild(trimmed, is_indel, bases) if is_indel.any() else trimmed


def right_shift(alleles: Alleles, bases: NDArray[np.uint8]) -> Ints:
    """How many bp (n,) each normalised insertion or deletion could also stand further right; 0 for other alleles.

    bases: the whole contig, ASCII. A shift to the right is one to the left on the reversed contig.
    """
    difference = alleles.alt_len - alleles.ref_len
    has_anchor = alleles.ref_bytes[alleles.ref_at] == alleles.alt_bytes[alleles.alt_at]
    is_indel = has_anchor & (difference != 0) & (np.minimum(alleles.ref_len, alleles.alt_len) == 1)
    shift = np.zeros(len(alleles.start), dtype=np.int64)
    if is_indel.any():
        length, is_deletion = np.abs(difference[is_indel]), difference[is_indel] < 0
        texts = np.concatenate([alleles.ref_bytes, alleles.alt_bytes])
        at = 1 + np.where(is_deletion, alleles.ref_at[is_indel], len(alleles.ref_bytes) + alleles.alt_at[is_indel])
        after = alleles.start[is_indel] + 1 + np.where(is_deletion, length, 0)
        shift[is_indel] = _left_shift(len(bases) - after, texts[::-1], len(texts) - at - length, length, bases[::-1])
    return shift


def _rebuild(alleles: Alleles, is_indel: Bools, bases: NDArray[np.uint8]) -> Alleles:
    """Shift the pure indels left and give them their anchor base; the others stay."""
    indels = alleles.take(is_indel)
    is_deletion = indels.alt_len == 0
    length = np.where(is_deletion, indels.ref_len, indels.alt_len)
    texts = np.concatenate([alleles.ref_bytes, alleles.alt_bytes])
    at = np.where(is_deletion, indels.ref_at, len(alleles.ref_bytes) + indels.alt_at)
    shift = _left_shift(indels.start, texts, at, length, bases)
    first = indels.start - shift  # where the sequence stands or goes, 0-based
    # The anchor is the base before; at the start of a contig there is none, and it is the base after (VCF 4.2).
    is_at_start = first == 0
    after = np.where(is_deletion, length, 0)
    anchor_at = np.where(is_at_start, np.minimum(after, len(bases) - 1), first - 1)
    anchor = bases[anchor_at]

    # Each indel becomes one text of 1 + length bases: anchor and sequence (or sequence and anchor).
    row, within = _flat(length)
    new_at = np.cumsum(length + 1) - (length + 1)
    new = np.empty(int((length + 1).sum()), dtype=np.uint8)
    new[new_at + np.where(is_at_start, length, 0)] = anchor
    new[(new_at + ~is_at_start)[row] + within] = texts[at[row] + (within - shift[row]) % length[row]]
    anchor_only = new_at + np.where(is_at_start, length, 0)

    all_texts = np.concatenate([texts, new])
    ref_at, alt_at = alleles.ref_at.copy(), alleles.alt_at + len(alleles.ref_bytes)
    ref_len, alt_len, start = alleles.ref_len.copy(), alleles.alt_len.copy(), alleles.start.copy()
    ref_at[is_indel] = len(texts) + np.where(is_deletion, new_at, anchor_only)
    alt_at[is_indel] = len(texts) + np.where(is_deletion, anchor_only, new_at)
    ref_len[is_indel] = np.where(is_deletion, length + 1, 1)
    alt_len[is_indel] = np.where(is_deletion, 1, length + 1)
    start[is_indel] = np.maximum(first - 1, 0)
    return Alleles(start, all_texts, ref_at, ref_len, all_texts, alt_at, alt_len)


def _left_shift(start: Ints, texts: NDArray[np.uint8], at: Ints, length: Ints, bases: NDArray[np.uint8]) -> Ints:
    """How many bp (n,) each pure indel of `length` bases at `start` can move left."""
    shift = np.zeros(len(start), dtype=np.int64)
    moving = np.arange(len(start))
    steps = np.arange(_SHIFT_BLOCK)
    while moving.size:
        k = shift[moving][:, None] + steps
        left = start[moving][:, None] - 1 - k
        turning = texts[at[moving][:, None] + (length[moving][:, None] - 1 - k) % length[moving][:, None]]
        same = (left >= 0) & (bases[np.maximum(left, 0)] == turning)
        n_same = np.where(same.all(axis=1), _SHIFT_BLOCK, np.argmin(same, axis=1))
        shift[moving] += n_same
        moving = moving[n_same == _SHIFT_BLOCK]
    return shift


def _common(alleles: Alleles, *, from_right: bool) -> Ints:
    """Length (n,) of the common suffix or prefix of ref and alt."""
    common = np.zeros(len(alleles.start), dtype=np.int64)
    shorter = np.minimum(alleles.ref_len, alleles.alt_len)
    going = np.flatnonzero(shorter > 0)
    while going.size:
        k = common[going]
        ref_k, alt_k = (alleles.ref_len[going] - 1 - k, alleles.alt_len[going] - 1 - k) if from_right else (k, k)
        same = alleles.ref_bytes[alleles.ref_at[going] + ref_k] == alleles.alt_bytes[alleles.alt_at[going] + alt_k]
        going = going[same]
        common[going] += 1
        going = going[common[going] < shorter[going]]
    return common


def _flat(lengths: Ints) -> tuple[Ints, Ints]:
    """Row and offset within it of every element of n ragged rows, each (sum of lengths,)."""
    row = np.repeat(np.arange(len(lengths)), lengths)
    return row, np.arange(len(row)) - np.repeat(np.cumsum(lengths) - lengths, lengths)
