"""Gene models of the demo genome: their design, and their writing into the DNA.

Belongs here: proteins, exon structure, splice and promoter signals, alternative transcripts.
Does not belong here: where a gene lies (genome.py), what a variant in it does (effects.py), GTF text (write.py).

Concept: a gene is designed in SENSE coordinates (0-based, half-open, 5' to 3' from the start of its slot), because that
is the direction in which codons and signals read; it is turned onto its strand only when its slot is known.

    slot   |--- promoter 1,000 ---|== exon ==GT..AG== exon ==GT..AG====== exon ======|- tail -|
    mRNA                           utr5 ATG ........ codons cross borders ..... TAA utr3
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from geno_pipeline.demo.sequence import CODON_AA, CODON_USAGE, STOP, A, C, Codes, G, T, encode, translate

PROMOTER_BP = 1_000
TAIL_BP = 120
MIN_EXON_BP = 60
Intervals = NDArray[np.int64]  # (n, 2), 0-based half-open, ascending

_SENSE_CODONS = np.flatnonzero(CODON_AA != STOP)
_SENSE_USAGE = CODON_USAGE[_SENSE_CODONS] / CODON_USAGE[_SENSE_CODONS].sum()
_STOPS = np.flatnonzero(CODON_AA == STOP)
# Promoter words: SP1, CCAAT, CRE, E-box, ETS, NRF1, YY1 as commonly written.
_MOTIF_WORDS = ("GGGGCGGGG", "AGCCAATGG", "TGACGTCA", "CACGTGAC", "ACCGGAAGT", "GCGCATGCGC", "AAAATGGCGG")
_MOTIFS = tuple(encode(word) for word in _MOTIF_WORDS)
# Rows: A, C, G, T. Donor positions +3..+6 after GT; chance of each base.
_DONOR = np.array(
    [[0.60, 0.02, 0.35, 0.03], [0.70, 0.08, 0.12, 0.10], [0.08, 0.05, 0.80, 0.07], [0.18, 0.16, 0.18, 0.48]]
)
_PYRIMIDINES = np.array([0.08, 0.36, 0.07, 0.49])


@dataclass(frozen=True, slots=True)
class Domain:
    """A protein domain family: consensus codons (n,) and how strongly each position is kept, (n,) in [0, 1]."""

    codons: NDArray[np.int64]
    conservation: NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Transcript:
    """`exons` in genome coordinates; `coding` is the genomic span from start to stop codon, both included, or None."""

    exons: Intervals
    coding: tuple[int, int] | None

    def cds(self) -> Intervals:
        """Coding part of the exons, stop codon included; (0, 2) for a non-coding transcript."""
        if self.coding is None:
            return np.empty((0, 2), dtype=np.int64)
        clipped = self.exons.clip(*self.coding)
        return clipped[clipped[:, 0] < clipped[:, 1]]


@dataclass(frozen=True, slots=True)
class Gene:
    """A planted gene. `number` is unique in the genome; `constraint` in [0, 1] is hidden from every output file."""

    number: int
    contig: str
    strand: str
    biotype: str
    constraint: float
    transcripts: tuple[Transcript, ...]

    @property
    def name(self) -> str:
        return f"GENE{self.number}"

    @property
    def tss(self) -> int:
        """0-based position of the first transcribed base of the first transcript."""
        exons = self.transcripts[0].exons
        return int(exons[0, 0]) if self.strand == "+" else int(exons[-1, 1]) - 1

    @property
    def span(self) -> tuple[int, int]:
        """0-based half-open extent over all transcripts."""
        return (
            min(int(t.exons[0, 0]) for t in self.transcripts),
            max(int(t.exons[-1, 1]) for t in self.transcripts),
        )


@dataclass(frozen=True, slots=True)
class GeneDesign:
    """A gene in sense coordinates of its slot. `cds` holds the coding bases; `coding` their span in the mRNA."""

    length: int
    exons: Intervals
    cds: Codes
    codon_weight: NDArray[np.float32]
    coding: tuple[int, int] | None
    constraint: float
    alternatives: tuple[Intervals, ...]


def positions_of(intervals: Intervals) -> NDArray[np.int64]:
    """Every position of ascending intervals, in order."""
    if len(intervals) == 0:
        return np.empty(0, dtype=np.int64)
    return np.concatenate([np.arange(start, end) for start, end in intervals])


def make_domains(rng: np.random.Generator, n_families: int = 8) -> tuple[Domain, ...]:
    """Domain families shared by the genes, so that related proteins recur as in a real genome."""
    families = []
    for _ in range(n_families):
        size = int(rng.integers(50, 130))
        codons = rng.choice(_SENSE_CODONS, size, p=_SENSE_USAGE)
        families.append(Domain(codons, np.clip(rng.beta(2.5, 1.2, size), 0.2, 0.98)))
    return tuple(families)


def _resynonymise(codons: NDArray[np.int64], rng: np.random.Generator) -> NDArray[np.int64]:
    """Draw a codon of the same amino acid for each codon, by human usage."""
    same = CODON_AA[codons][:, None] == CODON_AA[None, :]
    bounds = np.cumsum(same * CODON_USAGE[None, :], axis=1)
    return (rng.random((codons.size, 1)) * bounds[:, -1:] >= bounds).sum(axis=1).clip(max=63)


def _protein(domains: tuple[Domain, ...], rng: np.random.Generator) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
    """Codons from ATG to stop, and the functional weight of each codon in [0, 1]."""
    size = int(np.clip(rng.lognormal(5.85, 0.5), 90, 1_100))
    codons = rng.choice(_SENSE_CODONS, size, p=_SENSE_USAGE)
    weight = rng.beta(1.2, 4.0, size).astype(np.float32)
    at = int(rng.integers(5, 25))
    for family in rng.permutation(len(domains))[: rng.integers(1, 4)]:
        domain = domains[family]
        end = at + domain.codons.size
        if end >= size - 5:
            break
        kept = rng.random(domain.codons.size) < domain.conservation
        silent = np.where(rng.random(domain.codons.size) < 0.4, _resynonymise(domain.codons, rng), domain.codons)
        codons[at:end] = np.where(kept, silent, codons[at:end])
        weight[at:end] = domain.conservation
        at = end + int(rng.integers(8, 60))
    codons[0] = A * 16 + T * 4 + G
    if rng.random() < 0.6:  # Kozak: G after ATG
        starts_with_g = _SENSE_CODONS[_SENSE_CODONS // 16 == G]
        codons[1] = rng.choice(starts_with_g)
    codons[-1] = rng.choice(_STOPS, p=CODON_USAGE[_STOPS] / CODON_USAGE[_STOPS].sum())
    weight[0] = weight[-1] = 1.0
    return codons, weight


def _exon_lengths(
    total: int, low: int, high: int, n_exons: int, cds: Codes, utr5: int, rng: np.random.Generator
) -> Intervals:
    """Cut an mRNA of `total` bases into exons at places in [low, high], moved to a near ..AG| or ..G| of the codons."""
    n_exons = max(1, min(n_exons, (high - low) // (MIN_EXON_BP + 25) + 1))
    spare = high - low - (n_exons - 2) * (MIN_EXON_BP + 20) if n_exons > 1 else 0
    cuts = low + np.sort(rng.integers(0, max(spare, 1), n_exons - 1)) + np.arange(n_exons - 1) * (MIN_EXON_BP + 20)
    mrna = np.full(total, 4, dtype=np.uint8)
    mrna[utr5 : utr5 + cds.size] = cds
    moved = cuts[:, None] + np.array([0, *(s * d for d in range(1, 9) for s in (1, -1))])[None, :]
    quality = (mrna[moved - 1] == G) * 2 + ((mrna[moved - 1] == G) & (mrna[moved - 2] == A))
    cuts = moved[np.arange(n_exons - 1), quality.argmax(axis=1)]
    cuts = np.where((cuts > utr5) & (cuts < utr5 + 3), utr5, cuts)  # a start codon stays whole
    return np.column_stack([np.r_[0, cuts], np.r_[cuts, total]]).astype(np.int64)


def _spread(mrna_exons: Intervals, max_intron: int, rng: np.random.Generator) -> Intervals:
    """Sense coordinates in the slot of exons given in mRNA coordinates, with introns drawn between them."""
    introns = np.clip(rng.lognormal(6.5, 0.9, len(mrna_exons) - 1), 90, max_intron).astype(np.int64)
    shift = PROMOTER_BP + np.r_[0, np.cumsum(introns)]
    return mrna_exons + shift[:, None]


def _alternatives(
    exons: Intervals, mrna: Intervals, coding: tuple[int, int], cds: Codes, rng: np.random.Generator
) -> tuple[Intervals, ...]:
    """Other transcripts of a gene: an in-frame exon skipped where one can be, a later start, an earlier end."""
    found: list[Intervals] = []
    inside = (mrna[:, 0] > coding[0] + 3) & (mrna[:, 1] < coding[1] - 3) & ((mrna[:, 1] - mrna[:, 0]) % 3 == 0)
    for skipped in rng.permutation(np.flatnonzero(inside)):
        kept = np.delete(cds, np.arange(*(mrna[skipped] - coding[0])))
        if "*" not in translate(kept)[:-1]:
            found.append(np.delete(exons, skipped, axis=0))
            break
    first_room = min(int(mrna[0, 1]), coding[0]) - 30
    if first_room > 20:
        later = exons.copy()
        later[0, 0] += rng.integers(10, first_room)
        found.append(later)
    end_room = int(mrna[-1, 1]) - max(coding[1], int(mrna[-1, 0])) - 60
    if end_room > 40:
        earlier = exons.copy()
        earlier[-1, 1] -= rng.integers(20, end_room)
        found.append(earlier)
    return tuple(found[: int(rng.integers(1, 3))])


def design_gene(domains: tuple[Domain, ...], max_intron: int, rng: np.random.Generator) -> GeneDesign:
    """Draw one gene: about one in eight is a non-coding RNA, a third of the others have several transcripts."""
    constraint = float(rng.beta(1.1, 1.1))
    if rng.random() < 0.12:
        total = int(rng.integers(500, 1_800))
        mrna = _exon_lengths(total, 120, total - 120, int(rng.integers(1, 5)), np.empty(0, np.uint8), 0, rng)
        exons = _spread(mrna, max_intron, rng)
        length = int(exons[-1, 1]) + TAIL_BP
        return GeneDesign(length, exons, np.empty(0, np.uint8), np.empty(0, np.float32), None, constraint, ())
    codons, weight = _protein(domains, rng)
    cds = np.stack([codons // 16, codons // 4 % 4, codons % 4], axis=1).astype(np.uint8).ravel()
    utr5, utr3 = int(rng.integers(60, 320)), int(rng.integers(180, 1_100))
    n_exons = 1 + int(rng.poisson(cds.size / 175))
    low = max(50, utr5 - 60 if rng.random() < 0.75 else 50)
    mrna = _exon_lengths(utr5 + cds.size + utr3, low, utr5 + cds.size - 45, n_exons, cds, utr5, rng)
    exons = _spread(mrna, max_intron, rng)
    coding = (utr5, utr5 + cds.size)
    several = rng.random() < 0.35
    alternatives = _alternatives(exons, mrna, coding, cds, rng) if several else ()
    return GeneDesign(int(exons[-1, 1]) + TAIL_BP, exons, cds, weight, coding, constraint, alternatives)


def _plant_promoter(view: Codes, weight: NDArray[np.float32], island: Codes, rng: np.random.Generator) -> None:
    """CpG island, transcription factor words and a TATA box around the start at PROMOTER_BP, in place."""
    start = PROMOTER_BP
    has_island = rng.random() < 0.7
    if has_island:
        left, right = start - int(rng.integers(250, 500)), start + int(rng.integers(80, 200))
        view[left:right] = island[: right - left]
    sites = start - 320 + np.sort(rng.permutation(22)[: rng.integers(3, 8)]) * 12
    for site in sites:
        motif = _MOTIFS[rng.integers(len(_MOTIFS))]
        view[site : site + motif.size] = motif
        weight[site : site + motif.size] = 0.75
    if rng.random() < (0.2 if has_island else 0.7):
        view[start - 31 : start - 24] = encode("TATAAAA")
        weight[start - 31 : start - 24] = 0.9
    view[start - 2 : start + 1] = (C, T, A) if rng.random() < 0.5 else (T, C, A)


def _plant_introns(view: Codes, weight: NDArray[np.float32], exons: Intervals, rng: np.random.Generator) -> None:
    """GT and AG with their neighbours, a branch point and a pyrimidine tract for every intron, in place."""
    for donor, acceptor in zip(exons[:-1, 1], exons[1:, 0], strict=True):
        view[donor : donor + 2] = (G, T)
        view[donor + 2 : donor + 6] = (rng.random((4, 1)) > np.cumsum(_DONOR, axis=1)[:, :3]).sum(axis=1)
        tract = acceptor - 4 - int(rng.integers(11, 18))
        view[tract : acceptor - 3] = rng.choice(4, acceptor - 3 - tract, p=_PYRIMIDINES)
        view[acceptor - 3 : acceptor] = (C if rng.random() < 0.68 else T, A, G)
        branch = tract - int(rng.integers(6, 14))
        view[branch : branch + 5] = encode("CTAAC" if rng.random() < 0.6 else "TTGAC")
        weight[donor + 2 : donor + 5] = 0.45
        weight[branch + 3] = 0.5
        weight[tract : acceptor - 2] = 0.15


def plant_gene(design: GeneDesign, view: Codes, island: Codes, rng: np.random.Generator) -> NDArray[np.float32]:
    """Write a gene into `view`, the sense strand of its slot, in place.

    Returns the functional weight of each base of the slot, (length,) in [0, 1]; 0 where a change does nothing known.
    """
    weight = np.zeros(design.length, dtype=np.float32)
    _plant_promoter(view, weight, island, rng)
    _plant_introns(view, weight, design.exons, rng)
    spliced = positions_of(design.exons)
    if design.coding is None:
        return weight
    start, end = design.coding
    kozak = spliced[start - 6 : start]
    view[kozak] = np.where(rng.random(6) < 0.75, encode("GCCACC"), view[kozak])
    weight[kozak[[1, 3]]] = 0.35
    signal = spliced[-26:-20]
    view[signal] = encode("AATAAA")
    weight[signal] = 0.55
    view[spliced[start:end]] = design.cds
    weight[spliced[start:end]] = np.repeat(design.codon_weight, 3)
    return weight


def place_gene(design: GeneDesign, number: int, contig: str, slot_start: int, strand: str) -> Gene:
    """The gene in genome coordinates, its slot starting at `slot_start` (0-based)."""
    spliced = positions_of(design.exons)

    def to_genome(intervals: Intervals) -> Intervals:
        if strand == "+":
            return intervals + slot_start
        return (slot_start + design.length - intervals)[::-1, ::-1]

    coding = None
    if design.coding is not None:
        sense = np.array([[spliced[design.coding[0]], spliced[design.coding[1] - 1] + 1]])
        coding = (int(to_genome(sense)[0, 0]), int(to_genome(sense)[0, 1]))
    transcripts = tuple(Transcript(to_genome(exons), coding) for exons in (design.exons, *design.alternatives))
    biotype = "lncRNA" if coding is None else "protein_coding"
    return Gene(number, contig, strand, biotype, design.constraint, transcripts)
