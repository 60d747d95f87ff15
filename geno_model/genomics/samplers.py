"""Synthetic edits of a window, drawn exactly uniformly over the positions that can hold them (spec 1, "Samplers").

Belongs here: SNVs, insertions and deletions, MNVs and complex indels, one call for a window's worth of each. Does not:
which window gets how many (the edit mix), normalisation (`alleles.left_align`), holdouts.

The concept: a position is valid for a reference length when all those bases are ACGT and the span keeps `margin_bp`
from both ends of the window. Valid positions are listed, then drawn from, with replacement; nothing is retried, so a
window rich in N costs no more than any other, and one without a valid position says so. All results are frames of
rel_pos i64 (0-based in the window), ref, alt, spelled as in VCF with an anchor base where there must be one; they are
not left-aligned.
"""

from __future__ import annotations

import numpy as np
import polars as pl
from numpy.typing import NDArray

from geno_model.genomics.edits import V1_MAX_LEN
from geno_model.genomics.errors import InputError
from geno_model.genomics.texts import from_matrix

MARGIN_BP = 64
MEAN_INDEL_BP = 3.0
MNV_LENGTHS = (2, 8)

_ACGT = np.frombuffer(b"ACGT", dtype=np.uint8)
_CODES = np.full(256, 4, dtype=np.uint8)
_CODES[_ACGT] = np.arange(4)
_UNKNOWN = 4

Span = tuple[int, int]


class NoValidPositionError(InputError):
    """No position of a window can hold an edit of the kind asked for."""


def uniform_snv(
    window: NDArray[np.uint8], n: int, rng: np.random.Generator, *, margin_bp: int = MARGIN_BP, span: Span | None = None
) -> pl.DataFrame:
    """n SNVs, each alternative base uniform over the three others.

    window: upper-case ASCII (L,). margin_bp: least distance of the reference span from both ends of the window.
    span: rel_pos lies in [lo, hi) besides. Raises NoValidPositionError, as all samplers do.
    """
    ones = np.ones(n, dtype=np.int64)
    starts = _Positions(window, margin_bp, span, "an SNV").draw(ones, rng)
    ref = _CODES[window[starts]][:, None]
    return _frame(starts, ref, ones, (ref + rng.integers(1, 4, size=(n, 1), dtype=np.uint8)) % 4, ones)


def indel(
    window: NDArray[np.uint8],
    n: int,
    rng: np.random.Generator,
    *,
    margin_bp: int = MARGIN_BP,
    span: Span | None = None,
    length_weights: NDArray[np.float64] | None = None,
    insertion_share: float = 0.5,
) -> pl.DataFrame:
    """n insertions and deletions with an anchor base; inserted bases are uniform.

    length_weights: relative weights (15,) of 1..15 inserted or deleted bp (16 with the anchor, `V1_MAX_LEN`); default
    `truncated_geometric(15)`, mean about 3. Deletions too long for every position of the window are not drawn.
    insertion_share: probability of an insertion.
    """
    weights = truncated_geometric(V1_MAX_LEN - 1) if length_weights is None else np.asarray(length_weights)
    if weights.shape != (V1_MAX_LEN - 1,):
        raise ValueError(f"length_weights has shape {weights.shape}; expected ({V1_MAX_LEN - 1},), for 1..15 bp")
    positions = _Positions(window, margin_bp, span, "an indel")
    lengths = np.arange(1, V1_MAX_LEN)
    is_insertion = rng.random(n) < insertion_share
    if not positions.fits(2):  # nowhere two known bases in a row: only insertions can be made
        is_insertion[:] = True
    size = rng.choice(lengths, size=n, p=_share(weights))
    n_deleted = int((~is_insertion).sum())
    if n_deleted:
        size[~is_insertion] = rng.choice(lengths, size=n_deleted, p=_share(weights * positions.fits(lengths + 1)))
    ref_len, alt_len = np.where(is_insertion, 1, size + 1), np.where(is_insertion, size + 1, 1)
    starts = positions.draw(ref_len, rng)
    ref = _reference(window, starts, V1_MAX_LEN)
    alt = rng.integers(0, 4, size=(n, V1_MAX_LEN), dtype=np.uint8)
    alt[:, 0] = ref[:, 0]
    return _frame(starts, ref, ref_len, alt, alt_len)


def mnv(
    window: NDArray[np.uint8],
    n: int,
    rng: np.random.Generator,
    *,
    margin_bp: int = MARGIN_BP,
    span: Span | None = None,
    lengths: Span = MNV_LENGTHS,
) -> pl.DataFrame:
    """n substitutions of several bases, length uniform over [lengths[0], lengths[1]], both ends included.

    The first and last base change (else the edit would be a shorter one); those between are uniform over all four.
    """
    if not 2 <= lengths[0] <= lengths[1] <= V1_MAX_LEN:
        raise ValueError(f"lengths is {lengths}; expected 2 <= least <= most <= {V1_MAX_LEN} bp")
    positions = _Positions(window, margin_bp, span, "an MNV")
    choices = np.arange(lengths[0], lengths[1] + 1)
    weights = positions.require(positions.fits(choices).astype(np.float64))
    length = rng.choice(choices, size=n, p=_share(weights))
    return _replacements(window, positions.draw(length, rng), length, length, rng)


def complex_indel(
    window: NDArray[np.uint8],
    n: int,
    rng: np.random.Generator,
    *,
    margin_bp: int = MARGIN_BP,
    span: Span | None = None,
) -> pl.DataFrame:
    """n replacements of 2..16 bp by another number of 2..16 bp, `INDEL` by type.

    Both lengths are truncated geometric, given that they differ. The first and last base of the two alleles differ, so
    that trimming leaves them as they are.
    """
    positions = _Positions(window, margin_bp, span, "a complex indel")
    lengths = np.arange(2, V1_MAX_LEN + 1)
    each = truncated_geometric(len(lengths))
    pairs = np.outer(each * positions.fits(lengths), each) * (lengths[:, None] != lengths)  # (ref, alt)
    pair = rng.choice(pairs.size, size=n, p=_share(positions.require(pairs.ravel())))
    ref_len, alt_len = lengths[pair // len(lengths)], lengths[pair % len(lengths)]
    return _replacements(window, positions.draw(ref_len, rng), ref_len, alt_len, rng)


def truncated_geometric(longest: int, mean: float = MEAN_INDEL_BP) -> NDArray[np.float64]:
    """Probabilities (longest,) of 1..longest, falling by the factor 1 - 1 / mean; `mean` is that without the cut."""
    if longest < 1 or mean < 1:
        raise ValueError(f"longest is {longest} and mean {mean}; expected both at least 1")
    return _share(np.power(1 - 1 / mean, np.arange(longest), dtype=np.float64))


class _Positions:
    """Which positions of a window can hold which reference lengths: its runs of known bases, kept from its ends."""

    def __init__(self, window: NDArray[np.uint8], margin_bp: int, span: Span | None, what: str) -> None:
        self._what, self._window_bp, self._margin_bp, self._span = what, len(window), margin_bp, span
        low, high = max(margin_bp, 0), len(window) - max(margin_bp, 0)
        stops = low + np.flatnonzero(_CODES[window[low : max(low, high)]] == _UNKNOWN)
        self._run_start = np.append(low, stops + 1)
        self._run_end = np.append(stops, high)  # exclusive
        self._first, self._last = span if span else (0, len(window))
        at_most = self._run_end - np.maximum(self._run_start, self._first)
        self._longest = int(at_most[self._run_start < self._last].max(initial=0)) if self._first < self._last else 0
        self.require(np.array([float(self.fits(1))]))

    def fits(self, length: int | NDArray[np.int64]) -> NDArray[np.bool_]:
        """Whether any position holds a reference span of that length."""
        return np.asarray(length) <= self._longest

    def require(self, weights: NDArray[np.float64]) -> NDArray[np.float64]:
        """The same weights, or NoValidPositionError when none is above zero."""
        if not weights.any():
            where = f"at least {self._margin_bp} bp from its ends" + (f" and in {self._span}" if self._span else "")
            raise NoValidPositionError(
                f"no position of this window of {self._window_bp} bp can hold {self._what}: none {where} with known "
                "reference bases (A, C, G, T); leave this window out"
            )
        return weights

    def draw(self, ref_len: NDArray[np.int64], rng: np.random.Generator) -> NDArray[np.int64]:
        """A rel_pos (n,) for each reference length, uniform over the positions that can hold it."""
        starts = np.empty(len(ref_len), dtype=np.int64)
        for length in np.unique(ref_len).tolist():  # at most 16
            rows = np.flatnonzero(ref_len == length)
            first = np.maximum(self._run_start, self._first)  # of the valid positions of each run
            n_valid = np.maximum(np.minimum(self._run_end - length + 1, self._last) - first, 0)
            before = np.cumsum(n_valid)
            drawn = rng.integers(0, before[-1], size=len(rows))
            run = np.searchsorted(before, drawn, side="right")
            starts[rows] = first[run] + drawn - (before[run] - n_valid[run])
        return starts


def _replacements(
    window: NDArray[np.uint8],
    starts: NDArray[np.int64],
    ref_len: NDArray[np.int64],
    alt_len: NDArray[np.int64],
    rng: np.random.Generator,
) -> pl.DataFrame:
    """Edits of given spans and lengths whose first bases differ and whose last bases differ."""
    n = len(starts)
    rows = np.arange(n)
    ref = _reference(window, starts, V1_MAX_LEN)
    alt = rng.integers(0, 4, size=(n, V1_MAX_LEN), dtype=np.uint8)
    alt[:, 0] = (ref[:, 0] + rng.integers(1, 4, size=n, dtype=np.uint8)) % 4
    alt[rows, alt_len - 1] = (ref[rows, ref_len - 1] + rng.integers(1, 4, size=n, dtype=np.uint8)) % 4
    return _frame(starts, ref, ref_len, alt, alt_len)


def _reference(window: NDArray[np.uint8], starts: NDArray[np.int64], width: int) -> NDArray[np.uint8]:
    """Base codes (n, width) from each start; past the window's end they are of no meaning."""
    return _CODES[window[np.minimum(starts[:, None] + np.arange(width), len(window) - 1)]]


def _frame(
    starts: NDArray[np.int64],
    ref: NDArray[np.uint8],
    ref_len: NDArray[np.int64],
    alt: NDArray[np.uint8],
    alt_len: NDArray[np.int64],
) -> pl.DataFrame:
    """Columns rel_pos, ref, alt from base codes (n, width) and lengths (n,)."""
    letters = np.append(_ACGT, np.uint8(ord("N")))
    return pl.DataFrame(
        [
            pl.Series("rel_pos", starts, dtype=pl.Int64),
            from_matrix("ref", letters[ref], ref_len),
            from_matrix("alt", letters[alt], alt_len),
        ]
    )


def _share(weights: NDArray[np.float64]) -> NDArray[np.float64]:
    return weights / weights.sum()
