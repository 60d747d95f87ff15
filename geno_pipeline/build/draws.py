"""Synthetic edits of one window: singles, and edits that join an edit to a chain (spec 1, 3).

Belongs here: random draws of one window, all rows of the window at once.
Does not belong here: how many rows there are and of what kind (`edit_mix`, `rows`); the samplers themselves
(`geno_model.genomics.samplers`).

Concept: whatever must not be drawn (a holdout, a base outside ACGT) is written as N into a COPY of the window. A draw
from the valid positions of that copy is then uniform over what is left, with nothing to reject. All randomness of a
window comes from a generator seeded by (seed, purpose, contig, window).
"""

from __future__ import annotations

import hashlib

import numpy as np
import polars as pl
from numpy.typing import NDArray

from data_contracts.columns import SYNTHETIC_INDEL, SYNTHETIC_SNV
from geno_model.genomics.genome import Genome
from geno_model.genomics.samplers import MARGIN_BP, complex_indel, indel, mnv, truncated_geometric, uniform_snv
from geno_pipeline.build.holdouts import Spans

CHAIN_BP = 1_000  # all edits of a chain begin within this many bases of the first one
MAX_INDEL_BP = 15  # with its anchor base, 16
_SLOT_BP = 20  # room of one edit of a chain: up to 3 bp before it, and its 16 reference bases
_JITTER_BP = 4
_N = np.uint8(ord("N"))
_BASES = np.frombuffer(b"ACGT", dtype=np.uint8)

DRAWN_SCHEMA = {"source": pl.String, "rel_pos": pl.Int64, "ref": pl.String, "alt": pl.String}


def window_rng(seed: int, purpose: str, contig: str, window_start_bp: int) -> np.random.Generator:
    """The generator of one window for one purpose."""
    name = hashlib.sha256(f"{purpose}|{contig}".encode()).digest()
    return np.random.default_rng([seed, int.from_bytes(name[:8], "little"), window_start_bp])


def masked_window(
    genome: Genome, contig: str, start_bp: int, end_bp: int, blocked: Spans, within: Spans | None = None
) -> NDArray[np.uint8]:
    """A copy of the window's bases with N where `blocked` covers it (and, if given, where `within` does not)."""
    bases = genome.window(contig, start_bp, end_bp).copy()
    bases[blocked.mask(start_bp, end_bp)] = _N
    if within is not None:
        bases[~within.mask(start_bp, end_bp)] = _N
    return bases


def singles(
    masked: NDArray[np.uint8],
    core: tuple[int, int],
    n_snv: int,
    n_indel: int,
    n_mnv: int,
    n_complex: int,
    rng: np.random.Generator,
) -> pl.DataFrame:
    """Synthetic edits of one window: source, rel_pos (0-based in the window), ref, alt; exactly as many as asked for.

    Args:
        core: span of rel_pos in which an edit's first base lies, half-open.
        n_indel: rows of the source synthetic_indel, of which `n_mnv` are MNVs and `n_complex` complex indels.
    """
    if n_snv + n_indel == 0:
        return pl.DataFrame(schema=DRAWN_SCHEMA)
    drawn = [
        (sampler(masked, n, rng, margin_bp=MARGIN_BP, span=core), source)
        for sampler, n, source in (
            (uniform_snv, n_snv, SYNTHETIC_SNV),
            (indel, n_indel - n_mnv - n_complex, SYNTHETIC_INDEL),
            (mnv, n_mnv, SYNTHETIC_INDEL),
            (complex_indel, n_complex, SYNTHETIC_INDEL),
        )
        if n
    ]
    return pl.concat([frame.select(pl.lit(source).alias("source"), "rel_pos", "ref", "alt") for frame, source in drawn])


def further_edits(
    masked: NDArray[np.uint8],
    rel_pos: NDArray[np.int64],
    ref_length: NDArray[np.int64],
    n_extra: int | NDArray[np.int64],
    rng: np.random.Generator,
    *,
    indel_share: float = 0.2,
) -> pl.DataFrame:
    """Up to `n_extra` edits (a number for all rows, or one a row) right of each row's first edit, without any overlap.

    The 1,000 bp from the first edit's position are cut into slots of 20 bp behind its reference bases. Each edit gets a
    slot of its own, chosen at random among those without N, so that none has to be rejected.

    Args:
        rel_pos, ref_length: (rows,) of the first edits.
        indel_share: share of insertions and deletions (1 to 15 bp, as often one as the other); the others are SNVs.

    Returns:
        row, rel_pos, ref, alt; by row and position. A row with fewer free slots has fewer edits.
    """
    slots = (rel_pos + ref_length)[:, None] + np.arange(CHAIN_BP // _SLOT_BP) * _SLOT_BP
    ends = slots + _SLOT_BP
    is_free = (ends <= rel_pos[:, None] + CHAIN_BP) & (ends <= len(masked) - MARGIN_BP)
    unknown = np.concatenate([[0], np.cumsum(~np.isin(masked, _BASES))])
    is_free &= unknown[np.minimum(ends, len(masked))] == unknown[np.minimum(slots, len(masked))]
    rank = np.argsort(np.argsort(np.where(is_free, rng.random(slots.shape), 2.0), axis=1), axis=1)
    row, slot = np.nonzero(is_free & (rank < np.reshape(n_extra, (-1, 1))))
    at = slots[row, slot] + rng.integers(0, _JITTER_BP, len(row))
    ref, alt = _alleles(masked, at, rng, indel_share)
    return pl.DataFrame({"row": row.astype(np.int64), "rel_pos": at.astype(np.int64), "ref": ref, "alt": alt})


def _alleles(
    masked: NDArray[np.uint8], at: NDArray[np.int64], rng: np.random.Generator, indel_share: float
) -> tuple[pl.Series, pl.Series]:
    """Alleles at the given positions: SNVs, and insertions and deletions behind an anchor base."""
    n = len(at)
    is_indel = rng.random(n) < indel_share
    is_insertion = is_indel & (rng.random(n) < 0.5)
    length = rng.choice(np.arange(1, MAX_INDEL_BP + 1), size=n, p=truncated_geometric(MAX_INDEL_BP))
    ref_length = np.where(is_indel & ~is_insertion, 1 + length, 1)
    alt_length = np.where(is_insertion, 1 + length, 1)
    anchor = masked[at]
    ref = masked[np.minimum(at[:, None] + np.arange(MAX_INDEL_BP + 1), len(masked) - 1)]
    alt = _BASES[rng.integers(0, 4, (n, MAX_INDEL_BP + 1))]
    other = _BASES[(np.searchsorted(_BASES, anchor) + rng.integers(1, 4, n)) % 4]
    alt[:, 0] = np.where(is_indel, anchor, other)
    return _text(ref, ref_length), _text(alt, alt_length)


def _text(bases: NDArray[np.uint8], length: NDArray[np.int64]) -> pl.Series:
    """Rows of bases as strings of the given lengths."""
    cut = np.where(np.arange(bases.shape[1]) < length[:, None], bases, 0).astype(np.uint8)
    return pl.Series(np.ascontiguousarray(cut).view(f"S{bases.shape[1]}").ravel().astype(str), dtype=pl.String)
