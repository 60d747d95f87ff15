"""In which windows an allele is scored, and what becomes of several scores (spec 5, "Scores").

Belongs here: the window policies. Does not: a score itself (`surprise`).

    most_central     the window of the grid in which the allele lies most centrally; the default
    centred          a window of its own around it, as far as the contig's ends allow
    mean_of_all      the mean, largest or median score of all windows of the grid that hold the allele:
    max_of_all       one or two with the default grid
    median_of_all
    mean_of_phases   the mean over the most central window and those that begin 1 to 5 bp right of it: every cut of the
                     DNA into six-mers once (RFC 0004), at six times the price

Calibration and scoring use the same policy: a release has one. Coordinates are 0-based, half-open.

No window is used in which the allele lies nearer to an end than every allele inside a contig does in its most central
one (`context_margin_bp`, RFC 0009): near the ends of a contig an allele has no score. A circular contig has no ends:
there windows run over the origin, and begin left of 0 or end beyond the last base.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import polars as pl
from numpy.typing import NDArray

from geno_model.encoder.pooling import BASES_PER_TOKEN
from geno_model.genomics.genome import NO_WINDOW, Genome, context_margin_bp, grid_windows, most_central
from geno_model.release.config import WindowPolicy

MAX_N_FRACTION = 0.05  # of a window; as in the pipeline's training windows
OUT_OF_RANGE, LITTLE_CONTEXT = "out_of_range", "little_context"

Ints = NDArray[np.int64]
_LEFT_OUT = {"_row": pl.UInt32, "reason": pl.String}
_COMBINED: dict[WindowPolicy, Callable[[pl.Expr], pl.Expr]] = {
    "most_central": pl.Expr.first,
    "centred": pl.Expr.first,
    "mean_of_all": pl.Expr.mean,
    "max_of_all": pl.Expr.max,
    "median_of_all": pl.Expr.median,
    "mean_of_phases": pl.Expr.mean,
}


def place(
    alleles: pl.DataFrame, genome: Genome, policy: WindowPolicy, window_bp: int, stride_bp: int
) -> tuple[pl.DataFrame, pl.DataFrame]:
    """The windows of each allele, and why the others have none.

    alleles: contig (a name of the genome), pos (1-based), ref. Returns rows of _row (its number) and window_start_bp,
    allele by allele, the first being the one that its context is of; and rows of _row and reason. A window counts if it
    lies on the contig, holds all of `ref`, has at most 5 % N, and has `context_margin_bp` on both sides of the allele.
    The reason is `little_context` where only the last is missing, else `out_of_range`.
    """
    margin = context_margin_bp(window_bp, stride_bp)
    placed, left_out = [], []
    for (contig,), rows in alleles.with_row_index("_row").group_by("contig", maintain_order=True):
        begin = rows["pos"].to_numpy() - 1
        end = begin + rows["ref"].str.len_bytes().to_numpy().astype(np.int64)
        number = rows["_row"].to_numpy()
        grid = _Grid(window_bp, stride_bp, genome.contigs[str(contig)], genome.is_circular(str(contig)))
        member, start = _candidates(begin, end, grid, policy)
        fits = grid.holds(start) & (start <= begin[member]) & (end[member] <= start + window_bp)
        member, start = member[fits], start[fits]
        windows, window = np.unique(start, return_inverse=True)
        known = [_is_known(genome, str(contig), first, window_bp) for first in windows.tolist()]
        is_known = np.array(known, dtype=bool)[window]
        offset = begin[member] - start
        has_context = (offset >= margin) & (offset + margin <= window_bp)
        is_good = is_known & has_context
        if policy == "mean_of_phases":  # of all six or of none
            is_good &= np.bincount(member[is_good], minlength=len(begin))[member] == BASES_PER_TOKEN
        placed.append(_pairs(number[member[is_good]], start[is_good]))
        reasons = np.full(len(number), OUT_OF_RANGE, dtype=object)
        reasons[member[is_known & ~has_context]] = LITTLE_CONTEXT
        is_out = ~np.isin(np.arange(len(number)), member[is_good])
        left_out.append(pl.DataFrame({"_row": number[is_out], "reason": reasons[is_out]}, _LEFT_OUT))
    windows = pl.concat([_pairs(*np.empty((2, 0), dtype=np.int64)), *placed]).sort("_row", maintain_order=True)
    return windows, pl.concat([pl.DataFrame(schema=_LEFT_OUT), *left_out])


def combine(scores: pl.DataFrame, policy: WindowPolicy) -> pl.DataFrame:
    """One row an allele from rows of `place` with columns of scores, in their order.

    window_start_bp is that of its first window; several scores become one by the policy.
    """
    names = [name for name in scores.columns if name not in ("_row", "window_start_bp")]
    combined = _COMBINED[policy]
    return scores.group_by("_row", maintain_order=True).agg(
        pl.col("window_start_bp").first(), *(combined(pl.col(name)) for name in names)
    )


@dataclass(frozen=True, slots=True)
class _Grid:
    """Windows of one contig."""

    window_bp: int
    stride_bp: int
    length_bp: int
    is_circular: bool

    def holds(self, start: Ints) -> NDArray[np.bool_]:
        """Whether windows lie on the contig."""
        last = self.length_bp - self.window_bp
        if self.is_circular:
            return (start != NO_WINDOW) & (last >= 0)
        return (start >= 0) & (start <= last)


def _candidates(begin: Ints, end: Ints, grid: _Grid, policy: WindowPolicy) -> tuple[Ints, Ints]:
    """Pairs of an allele's index and the start of a window to try, by allele, the one for the context first."""
    window_bp, length, is_circular = grid.window_bp, grid.length_bp, grid.is_circular
    index = np.arange(len(begin))
    central = most_central(begin, length, window_bp, grid.stride_bp, is_circular=is_circular)
    if policy == "most_central":
        return index, central
    if policy == "centred":
        start = begin - window_bp // 2
        return index, start if is_circular else np.clip(start, 0, max(length - window_bp, 0))
    if policy == "mean_of_phases":
        start = central[:, None] + np.arange(BASES_PER_TOKEN)
        if not is_circular:
            start -= BASES_PER_TOKEN * (start + window_bp > length)  # the same cut of the DNA, one token further left
        return np.repeat(index, BASES_PER_TOKEN), start.ravel()
    starts = grid_windows(length, window_bp, grid.stride_bp, is_circular=is_circular)[0]
    first = np.searchsorted(starts, end - window_bp, side="left")
    n_windows = np.maximum(np.searchsorted(starts, begin, side="right") - first, 0)
    member = np.repeat(index, n_windows)
    place_in_run = np.arange(len(member)) - np.repeat(np.cumsum(n_windows) - n_windows, n_windows)
    start = starts[first[member] + place_in_run]
    order = np.lexsort((start, start != central[member], member))
    return member[order], start[order]


def _is_known(genome: Genome, contig: str, start_bp: int, window_bp: int) -> bool:
    n_unknown = np.count_nonzero(genome.window(contig, start_bp, start_bp + window_bp) == ord("N"))
    return bool(n_unknown <= MAX_N_FRACTION * window_bp)


def _pairs(row: NDArray[np.integer], start: Ints) -> pl.DataFrame:
    return pl.DataFrame({"_row": row, "window_start_bp": start}, {"_row": pl.UInt32, "window_start_bp": pl.Int64})
