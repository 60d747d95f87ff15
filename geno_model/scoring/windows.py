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
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import polars as pl
from numpy.typing import NDArray

from geno_model.encoder.pooling import BASES_PER_TOKEN
from geno_model.genomics.genome import Genome, grid_windows, most_central
from geno_model.release.config import WindowPolicy

MAX_N_FRACTION = 0.05  # of a window; as in the pipeline's training windows

Ints = NDArray[np.int64]
_COMBINED: dict[WindowPolicy, Callable[[pl.Expr], pl.Expr]] = {
    "most_central": pl.Expr.first,
    "centred": pl.Expr.first,
    "mean_of_all": pl.Expr.mean,
    "max_of_all": pl.Expr.max,
    "median_of_all": pl.Expr.median,
    "mean_of_phases": pl.Expr.mean,
}


def place(alleles: pl.DataFrame, genome: Genome, policy: WindowPolicy, window_bp: int, stride_bp: int) -> pl.DataFrame:
    """The windows of each allele: rows of _row (its number) and window_start_bp, allele by allele.

    alleles: contig (a name of the genome), pos (1-based), ref. The first window of an allele is the one that its
    context is of. A window counts if it lies on the contig, holds all of `ref`, and has at most 5 % N; an allele
    without one has no row.
    """
    parts = []
    for (contig,), rows in alleles.with_row_index("_row").group_by("contig", maintain_order=True):
        begin = rows["pos"].to_numpy() - 1
        end = begin + rows["ref"].str.len_bytes().to_numpy().astype(np.int64)
        length = genome.contigs[str(contig)]
        member, start = _candidates(begin, end, length, policy, window_bp, stride_bp)
        fits = (
            (start >= 0) & (start + window_bp <= length) & (start <= begin[member]) & (end[member] <= start + window_bp)
        )
        member, start = member[fits], start[fits]
        windows, number = np.unique(start, return_inverse=True)
        is_known = np.array([_is_known(genome, str(contig), int(first), window_bp) for first in windows], dtype=bool)
        kept = is_known[number] if len(windows) else np.zeros(0, dtype=bool)
        parts.append(pl.DataFrame({"_row": rows["_row"].to_numpy()[member[kept]], "window_start_bp": start[kept]}))
    if not parts:
        return pl.DataFrame(schema={"_row": pl.UInt32, "window_start_bp": pl.Int64})
    return pl.concat(parts).sort("_row", maintain_order=True)


def combine(scores: pl.DataFrame, policy: WindowPolicy) -> pl.DataFrame:
    """One row an allele from rows of `place` with columns of scores, in their order.

    window_start_bp is that of its first window; several scores become one by the policy.
    """
    names = [name for name in scores.columns if name not in ("_row", "window_start_bp")]
    combined = _COMBINED[policy]
    return scores.group_by("_row", maintain_order=True).agg(
        pl.col("window_start_bp").first(), *(combined(pl.col(name)) for name in names)
    )


def _candidates(
    begin: Ints, end: Ints, length: int, policy: WindowPolicy, window_bp: int, stride_bp: int
) -> tuple[Ints, Ints]:
    """Pairs of an allele's index and the start of a window to try, by allele, the one for the context first."""
    index = np.arange(len(begin))
    central = most_central(begin, length, window_bp, stride_bp)
    if policy == "most_central":
        return index, central
    if policy == "centred":
        return index, np.clip(begin - window_bp // 2, 0, max(length - window_bp, 0))
    if policy == "mean_of_phases":
        phases = np.arange(BASES_PER_TOKEN)
        start = central[:, None] + phases
        start -= BASES_PER_TOKEN * (start + window_bp > length)  # the same cut of the DNA, one token further left
        return np.repeat(index, BASES_PER_TOKEN), start.ravel()
    starts = grid_windows(length, window_bp, stride_bp)[0]
    first = np.searchsorted(starts, end - window_bp, side="left")
    n_windows = np.maximum(np.searchsorted(starts, begin, side="right") - first, 0)
    member = np.repeat(index, n_windows)
    place_in_run = np.arange(len(member)) - np.repeat(np.cumsum(n_windows) - n_windows, n_windows)
    start = starts[first[member] + place_in_run]
    order = np.lexsort((start, start != central[member], member))
    return member[order], start[order]


def _is_known(genome: Genome, contig: str, start: int, window_bp: int) -> bool:
    n_unknown = np.count_nonzero(genome.window(contig, start, start + window_bp) == ord("N"))
    return bool(n_unknown <= MAX_N_FRACTION * window_bp)
