"""Settings of the synthetic demo genome, and how every random stream is derived from its one seed.

Belongs here: sizes, rates and densities that a person may want to change, and `generator`.
Does not belong here: anything that draws a base, a gene or a variant.

Concept: every part of the demo draws from its own stream, named by the seed and by what is drawn ("chr21", "genes").
A contig therefore comes out the same whichever other contigs are made, and in whatever order.
"""

from __future__ import annotations

import zlib
from dataclasses import dataclass

import numpy as np

MIN_CONTIG_BP = 40_000


class DemoConfigError(ValueError):
    """The demo settings cannot give a genome; the message says which one, what was found and what is expected."""


@dataclass(frozen=True, slots=True)
class DemoConfig:
    """Sizes and densities of the demo inputs (spec 9, last point). The defaults give about 3 Mbp.

    Attributes:
        seed: the one seed; equal settings give equal bytes.
        contigs: (name, length in bp), in file order.
        telomere_bp: N at both ends of each contig. gap_bp: N once inside.
        genes_per_mbp: protein-coding and non-coding genes tried for, per Mbp.
        max_intron_bp: longest intron.
        segdup_bp: length of one copy of a tandem segmental duplication.
        n_samples: diploid people, split evenly over three populations (afr, eas, nfe).
        common_spacing_bp: mean distance between sites with at least two derived copies, before selection.
        indel_share: share of the alleles that are insertions or deletions (1 to 15 bp).
        clinvar_per_mbp: ClinVar-like alleles per Mbp.
        sample_records: records taken from one person for the VCF to score.
        sample_contigs: contigs of that VCF, counted from the last one.
    """

    seed: int = 20_260_101
    contigs: tuple[tuple[str, int], ...] = (("chr20", 1_200_000), ("chr21", 600_000), ("chr22", 1_200_000))
    telomere_bp: int = 3_000
    gap_bp: int = 4_000
    genes_per_mbp: float = 44.0
    max_intron_bp: int = 6_000
    segdup_bp: int = 6_000
    n_samples: int = 100
    common_spacing_bp: float = 118.0
    indel_share: float = 0.12
    clinvar_per_mbp: float = 1_340.0
    sample_records: int = 750
    sample_contigs: int = 2

    def __post_init__(self) -> None:
        if self.seed < 0:
            raise DemoConfigError(f"seed is {self.seed}; expected 0 or more.")
        names = [name for name, _ in self.contigs]
        if not names or len(set(names)) != len(names):
            raise DemoConfigError(f"contigs are {names}; expected at least one, each name once.")
        for name, length in self.contigs:
            fixed = 2 * self.telomere_bp + self.gap_bp + 2 * self.segdup_bp
            if length < max(MIN_CONTIG_BP, 2 * fixed):
                raise DemoConfigError(
                    f"contig {name} is {length} bp; expected at least {max(MIN_CONTIG_BP, 2 * fixed)} bp, twice its N "
                    "runs and duplication. Make it longer, or telomere_bp, gap_bp and segdup_bp smaller."
                )
        if self.n_samples < 6:
            raise DemoConfigError(f"n_samples is {self.n_samples}; expected at least 6, two a population.")
        if not 0.0 <= self.indel_share <= 0.5:
            raise DemoConfigError(f"indel_share is {self.indel_share}; expected 0 to 0.5.")
        if not 1 <= self.sample_contigs <= len(names):
            raise DemoConfigError(f"sample_contigs is {self.sample_contigs}; expected 1 to {len(names)}.")
        for field in ("telomere_bp", "gap_bp", "segdup_bp", "genes_per_mbp", "clinvar_per_mbp", "sample_records"):
            if getattr(self, field) < 1:
                raise DemoConfigError(f"{field} is {getattr(self, field)}; expected 1 or more.")
        if self.common_spacing_bp < 20 or self.max_intron_bp < 200:
            raise DemoConfigError(
                f"common_spacing_bp is {self.common_spacing_bp} and max_intron_bp {self.max_intron_bp}; "
                "expected at least 20 and 200."
            )


def generator(seed: int, *names: str) -> np.random.Generator:
    """The random stream called `names` under `seed`; the same on every machine and in every process."""
    return np.random.default_rng([seed, *(zlib.crc32(name.encode()) for name in names)])
