"""Which rows of an export are of places of which a person has one copy (spec 5).

Belongs here: the mitochondrion, X and Y outside their pseudo-autosomal regions, and how sex is told. Does not: anything
else about a row (`genotypes`), coordinates of the regions (`builds`).

The concept: most exports write one copy as two equal letters, and a VCF wants `1`, not `1/1`, for it.

- MT: one copy.
- Y outside its pseudo-autosomal regions: one copy, unless the person said female.
- X outside them: one copy of a person who said male. Without a word, of one whose export is clearly a man's: at least
  `ENOUGH_X` called genotypes there, at most `MAX_HETEROZYGOUS` of them heterozygous (errors of the array), and at least
  `ENOUGH_Y` of Y called. Both signs are needed: an export without Y, one of a few rows, and a woman's stray calls on Y
  decide nothing, and X stays as the export has it.
- Rows that the export itself puts into the pseudo-autosomal regions (25, XY, PAR) have two copies wherever they lie.

A heterozygous genotype where one copy is expected (heteroplasmy, an error, a region that X and Y share) stays as it is.
`pos` is 1-based.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from geno_model.genomics.builds import PAR_BP
from geno_model.genomics.genome import plain_name

Sex = Literal["auto", "male", "female"]

ENOUGH_X = 100
ENOUGH_Y = 20
MAX_HETEROZYGOUS = 0.01


@dataclass(frozen=True, slots=True)
class CalledPlaces:
    """Rows with called bases, all (n,): index of the contig, pos i64, whether the two alleles differ, and whether the
    export says that the place is pseudo-autosomal."""

    contig: NDArray[np.int64]
    pos: NDArray[np.int64]
    is_heterozygous: NDArray[np.bool_]
    is_said_par: NDArray[np.bool_]


def single_copies(
    places: CalledPlaces, contigs: Sequence[str], build: str | None, sex: Sex
) -> tuple[NDArray[np.bool_], list[str]]:
    """Which rows hold one copy (n,), heterozygous ones never; and what a person should know.

    contigs: the names of the indices. build: of the positions; without the pseudo-autosomal regions of it, X and Y stay
    as the export has them.
    """
    index = {plain_name(name): number for number, name in enumerate(contigs)}
    on_x, on_y, is_single = (places.contig == index.get(name, -1) for name in ("X", "Y", "MT"))
    notes: list[str] = []
    regions = PAR_BP.get(build or "")
    if regions is None and (on_x | on_y).any():
        notes.append(
            "X and Y are written as the export has them: their pseudo-autosomal regions are known for GRCh37 and "
            "GRCh38 alone, and neither FASTA nor export says that it is one of these"
        )
    if regions is not None:
        on_x = on_x & ~_within(places.pos, regions["X"]) & ~places.is_said_par
        on_y = on_y & ~_within(places.pos, regions["Y"]) & ~places.is_said_par
        n_x, n_heterozygous, n_y = int(on_x.sum()), int((on_x & places.is_heterozygous).sum()), int(on_y.sum())
        has_few = n_heterozygous <= MAX_HETEROZYGOUS * n_x
        is_male = sex == "male" or (sex == "auto" and has_few and n_x >= ENOUGH_X and n_y >= ENOUGH_Y)
        if sex != "female":
            is_single = is_single | on_y
        if is_male:
            is_single = is_single | on_x
        told = (
            f"{n_heterozygous:,} of {n_x:,} genotypes of X outside its pseudo-autosomal regions are heterozygous, and "
            f"{n_y:,} of Y are called"
        )
        if sex == "auto" and is_male:
            notes.append(f"X is written with one copy, as a man has it ({told}); --sex female if that is wrong")
        elif sex == "auto" and n_x and has_few:
            notes.append(f"X is written as the export has it: whether of one copy is not clear ({told}); --sex says")
    if n_odd := int((is_single & places.is_heterozygous).sum()):
        notes.append(f"{n_odd:,} heterozygous genotypes where one copy is expected (X, Y, MT) are written with both")
    return is_single & ~places.is_heterozygous, notes


def _within(pos: NDArray[np.int64], spans: tuple[tuple[int, int], ...]) -> NDArray[np.bool_]:
    """Whether each 1-based position lies in any of the 0-based half-open spans."""
    inside = np.zeros(len(pos), dtype=np.bool_)
    for start_bp, end_bp in spans:
        inside |= (pos > start_bp) & (pos <= end_bp)
    return inside
