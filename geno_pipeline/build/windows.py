"""Reference windows, and which window an allele belongs to (spec 3).

Belongs here: the grid of windows over a contig with what is known of each, and the assignment of alleles to windows.
Does not belong here: the geometry of the grid itself (`geno_model.genomics.genome`) and what is held out (`holdouts`).

Concept: a position belongs to ONE window, the one in which it lies most centrally. These cores tile the contig but for
`context_margin_bp` at either end, where no allele is scored (RFC 0009), and so none is trained on, tested or calibrated
with; also over windows that are dropped for their N: an allele of a dropped window belongs to none.

    windows   [------------------)
                        [------------------)
    cores        [----------|-----------)
"""

from __future__ import annotations

import numpy as np
import polars as pl

from data_contracts import ReferenceWindows
from data_contracts.columns import HOLDOUT_CHR
from geno_model.genomics.errors import InputError
from geno_model.genomics.genome import Genome, context_margin_bp, grid_windows
from geno_pipeline.build.holdouts import Spans

_G, _C, _N = ord("G"), ord("C"), ord("N")


def reference_windows(
    genome: Genome,
    contig: str,
    window_bp: int,
    stride_bp: int,
    max_n_fraction: float,
    holdout_regions: pl.DataFrame,
    *,
    margin_bp: int | None = None,
) -> tuple[pl.DataFrame, dict[str, float]]:
    """Windows of one contig, without those of which more than `max_n_fraction` is N.

    Args:
        holdout_regions: HoldoutChr frame; a window that overlaps one of its spans is tagged.
        margin_bp: kept free of cores at both ends of a window; None is `context_margin_bp` of this grid.

    Returns:
        ReferenceWindows frame in the order of start_bp, and counts: `made`, `kept`, `dropped_n`, `observed_coverage`
        (kept windows over a position that at least one covers; 0 when none is kept) and `covered_twice` (share of the
        covered positions that two or more windows cover).

    Raises:
        InputError: a contig that the FASTA does not have.
    """
    if contig not in genome.contigs:
        raise InputError(f"contig {contig} is not in {genome.fasta}; name the FASTA's own: {', '.join(genome.contigs)}")
    length = genome.contigs[contig]
    starts, core_starts, core_ends = grid_windows(length, window_bp, stride_bp)
    margin_bp = context_margin_bp(window_bp, stride_bp) if margin_bp is None else margin_bp
    core_starts = np.maximum(core_starts, starts + margin_bp)
    core_ends = np.minimum(core_ends, starts + window_bp - margin_bp)
    n_count = np.array(
        [np.count_nonzero(genome.window(contig, start, start + window_bp) == _N) for start in starts], dtype=np.int64
    )
    keep = n_count <= max_n_fraction * window_bp
    kept = starts[keep]
    gc_count = np.array([_count_gc(genome.window(contig, start, start + window_bp)) for start in kept], dtype=np.int64)
    held = Spans.of(holdout_regions, contig).overlap(kept, kept + window_bp)
    frame = pl.DataFrame(
        {
            "contig": pl.Series([contig] * len(kept), dtype=pl.String),
            "start_bp": kept,
            "end_bp": kept + window_bp,
            "core_start_bp": core_starts[keep],
            "core_end_bp": core_ends[keep],
            "sha256": pl.Series([genome.sha256(contig, start, start + window_bp) for start in kept], dtype=pl.String),
            "gc": gc_count / np.maximum(window_bp - n_count[keep], 1),
            "n_fraction": n_count[keep] / window_bp,
            "holdout": np.where(held, HOLDOUT_CHR, ""),
        },
        schema=ReferenceWindows.empty().schema,
    )
    return frame, {"made": len(starts), "kept": len(kept), "dropped_n": len(starts) - len(kept)} | _coverage(
        kept, window_bp
    )


def assign_windows(alleles: pl.DataFrame, windows: pl.DataFrame) -> pl.DataFrame:
    """Alleles with the start of the window in whose core their first base lies.

    Args:
        alleles: frame with contig, pos (1-based) and ref; order and other columns are kept.
        windows: ReferenceWindows frame of any contigs.

    Returns:
        The alleles and `window_start_bp` (i64): null where the window was dropped or the reference bases leave it.
    """
    cores = windows.select(
        "contig", _start="start_bp", _end="end_bp", _core_start="core_start_bp", _core_end="core_end_bp"
    )
    ordered = alleles.with_row_index("_row").with_columns(_first=pl.col("pos") - 1).sort("_first")
    found = ordered.join_asof(
        cores.sort("_core_start"), left_on="_first", right_on="_core_start", by="contig", check_sortedness=False
    )
    after = pl.col("_first") + pl.col("ref").str.len_bytes().cast(pl.Int64)
    inside = (pl.col("_first") < pl.col("_core_end")) & (after <= pl.col("_end"))
    window = pl.when(inside).then(pl.col("_start")).alias("window_start_bp")
    return found.sort("_row").select(*alleles.columns, window)


def _count_gc(bases: np.ndarray) -> int:
    return int(np.count_nonzero(bases == _G) + np.count_nonzero(bases == _C))


def _coverage(starts: np.ndarray, window_bp: int) -> dict[str, float]:
    """Mean number of windows over the covered positions, and the share of them that two or more cover."""
    if not len(starts):
        return {"observed_coverage": 0.0, "covered_twice": 0.0}
    edges = np.concatenate([starts, starts + window_bp])
    order = np.argsort(edges, kind="stable")
    depth = np.cumsum(np.repeat([1, -1], len(starts))[order])[:-1]
    width = np.diff(edges[order])
    covered = width[depth >= 1].sum()
    return {
        "observed_coverage": float((depth * width).sum() / covered),
        "covered_twice": float(width[depth >= 2].sum() / covered),
    }
