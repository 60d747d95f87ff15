"""Repeats of the demo genome: families, their copies in the DNA, and simple sequence.

Belongs here: consensus families, diverged copies on both strands, microsatellites, low complexity.
Does not belong here: tandem segmental duplications (genome.py copies whole stretches), RepeatMasker text (write.py).

Concept: a copy REPLACES background of its own length, so no coordinate moves. `blocked` says where none may go (exons,
splice signals, N) and is updated with every copy, so copies never overlap.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import polars as pl
from numpy.typing import NDArray

from geno_pipeline.demo.sequence import (
    GC_LEVELS,
    ISLAND,
    A,
    Background,
    C,
    Codes,
    G,
    T,
    decode,
    encode,
    reverse_complement,
)

SCHEMA = {
    "start_bp": pl.Int64,
    "end_bp": pl.Int64,
    "strand": pl.String,
    "name": pl.String,
    "family": pl.String,
    "divergence": pl.Float64,
    "consensus_start": pl.Int64,
    "consensus_end": pl.Int64,
    "consensus_left": pl.Int64,
}
_UNITS = ("A", "CA", "TA", "GA", "AAT", "CAG", "AAC", "AAAG", "GATA", "AAAAT", "TTAGGG")
_UNIT_CHANCE = np.array([0.22, 0.24, 0.10, 0.08, 0.08, 0.06, 0.05, 0.07, 0.05, 0.03, 0.02])


@dataclass(frozen=True, slots=True)
class Family:
    """A repeat family: consensus, RepeatMasker class, share of the contig, and lengths of its copies (3' ends kept)."""

    name: str
    family: str
    consensus: Codes
    share: float
    shortest: int


def make_families(background: Background, rng: np.random.Generator) -> tuple[Family, ...]:
    """Seven families from a handful of consensus sequences, younger and older subfamilies included."""

    def draw(length: int, level: int) -> Codes:
        return background.sample(np.full(length, level, dtype=np.uint8), rng)

    tail = encode("A" * 22)
    left, right = draw(130, ISLAND), draw(135, ISLAND)
    alu = np.concatenate([encode("GGCCGGGCGCGGTGGCTCA"), left, encode("AAAAATACAAAAA"), right, tail])
    older = alu.copy()
    older[rng.choice(alu.size - 22, 14, replace=False)] = rng.integers(0, 4, 14)
    line = np.concatenate([draw(3_000, 1), tail])
    return (
        Family("AluD1", "SINE/Alu", alu, 0.055, 220),
        Family("AluD2", "SINE/Alu", older, 0.045, 200),
        Family("L1D", "LINE/L1", line, 0.12, 250),
        Family("L2D", "LINE/L2", draw(1_400, 1), 0.02, 150),
        Family("MERD", "DNA/hAT-Charlie", draw(620, len(GC_LEVELS) // 2), 0.03, 120),
        Family("TigD", "DNA/TcMar-Tigger", draw(900, 1), 0.015, 150),
        Family("THED", "LTR/ERVL-MaLR", draw(380, 2), 0.035, 180),
    )


def _diverge(consensus: Codes, rate: float, rng: np.random.Generator) -> Codes:
    """A copy with `rate` substitutions a base (two in three are transitions) and a tenth as many one-base indels."""
    steps = np.where(rng.random(consensus.size) < 0.66, 2, 1 + 2 * rng.integers(0, 2, consensus.size))
    copy = np.where(rng.random(consensus.size) < rate, (consensus + steps) % 4, consensus).astype(np.uint8)
    change = rng.random(consensus.size)
    times = np.where(change < rate * 0.05, 0, np.where(change < rate * 0.10, 2, 1))
    return np.repeat(copy, times)


def _free_start(blocked: NDArray[np.bool_], length: int, rng: np.random.Generator) -> int | None:
    """A random place where `length` bases are free, with one free base on each side; None if twelve draws find none."""
    for start in rng.integers(1, blocked.size - length - 1, 12):
        if not blocked[start - 1 : start + length + 1].any():
            return int(start)
    return None


def _plant_families(
    codes: Codes, blocked: NDArray[np.bool_], families: tuple[Family, ...], rng: np.random.Generator
) -> list[tuple[object, ...]]:
    rows: list[tuple[object, ...]] = []
    for family in families:
        full = family.consensus.size
        budget = family.share * codes.size
        misses = 0
        while budget > family.shortest and misses < 40:
            length = int(min(full, family.shortest + rng.exponential(0.35 * full)))
            rate = float(rng.uniform(0.05, 0.20))
            copy = _diverge(family.consensus[full - length :], rate, rng)
            start = _free_start(blocked, copy.size, rng) if copy.size < codes.size // 4 else None
            if start is None:
                misses += 1
                continue
            strand = "+" if rng.random() < 0.5 else "-"
            codes[start : start + copy.size] = copy if strand == "+" else reverse_complement(copy)
            blocked[start : start + copy.size] = True
            budget -= copy.size
            where = (start, start + copy.size, strand)
            rows.append((*where, family.name, family.family, 100.0 * rate, full - length + 1, full, 0))
    return rows


def _plant_simple(
    codes: Codes, blocked: NDArray[np.bool_], unit_bp: NDArray[np.uint8], rng: np.random.Generator
) -> list[tuple[object, ...]]:
    """Microsatellites, about one in 2,500 bases, nearly pure; marks their unit length in `unit_bp`."""
    rows: list[tuple[object, ...]] = []
    for _ in range(codes.size // 2_500):
        unit = encode(_UNITS[rng.choice(len(_UNITS), p=_UNIT_CHANCE)])
        if rng.random() < 0.5:
            unit = reverse_complement(unit)
        length = int(np.clip(rng.exponential(22) + 14, 14, 90))
        start = _free_start(blocked, length, rng)
        if start is None:
            continue
        rate = float(rng.choice([0.0, 0.03, 0.08]))
        run = np.resize(unit, length)
        end = start + length
        codes[start:end] = np.where(rng.random(length) < rate, rng.integers(0, 4, length), run)
        blocked[start:end] = True
        unit_bp[start:end] = unit.size
        rows.append((start, end, "+", f"({decode(unit)})n", "Simple_repeat", 100.0 * rate, 1, length, 0))
    return rows


def _plant_low_complexity(
    codes: Codes, blocked: NDArray[np.bool_], rng: np.random.Generator
) -> list[tuple[object, ...]]:
    """A-rich, G-rich and polypurine stretches, about one in 8,000 bases."""
    kinds = {"A-rich": (A, G, A, A), "GA-rich": (G, A, A, G), "G-rich": (G, G, G, A), "CT-rich": (C, T, T, C)}
    rows: list[tuple[object, ...]] = []
    for _ in range(codes.size // 8_000):
        name = list(kinds)[rng.integers(len(kinds))]
        length = int(rng.integers(25, 90))
        start = _free_start(blocked, length, rng)
        if start is None:
            continue
        end = start + length
        drawn = np.array(kinds[name])[rng.integers(0, 4, length)]
        codes[start:end] = np.where(rng.random(length) < 0.08, rng.integers(0, 4, length), drawn)
        blocked[start:end] = True
        rows.append((start, end, "+", name, "Low_complexity", 8.0, 1, length, 0))
    return rows


def plant_repeats(
    codes: Codes, blocked: NDArray[np.bool_], families: tuple[Family, ...], rng: np.random.Generator
) -> tuple[pl.DataFrame, NDArray[np.uint8]]:
    """Write repeats into `codes` where `blocked` is false; both change in place.

    Returns the copies (columns of SCHEMA; start_bp and end_bp 0-based half-open, consensus_* 1-based) sorted by start,
    and the unit length in bp of the microsatellite at each base, (L,), 0 outside.
    """
    unit_bp = np.zeros(codes.size, dtype=np.uint8)
    rows = _plant_simple(codes, blocked, unit_bp, rng)
    rows += _plant_low_complexity(codes, blocked, rng)
    rows += _plant_families(codes, blocked, families, rng)
    return pl.DataFrame(rows, schema=SCHEMA, orient="row").sort("start_bp"), unit_bp
