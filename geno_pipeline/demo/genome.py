"""The reference genome of the demo: contigs with isochores, genes, repeats, duplications and N.

Belongs here: how a contig is laid out and put together. Genes come from genes.py, repeats from repeats.py.
Does not belong here: variants (population.py), files (write.py).

Concept: isochores and background first, then slots for genes and duplications are dealt out over the stretches between
N runs, then genes are written, then repeats into what is left, then duplications copy what lies in their first half.

    N N N | gap gene gap gene gap [dup][copy] gap | N N | gap gene gap ... | N N N
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import polars as pl
from numpy.typing import NDArray

from geno_pipeline.demo.config import DemoConfig, DemoConfigError, generator
from geno_pipeline.demo.genes import (
    Domain,
    Gene,
    GeneDesign,
    design_gene,
    make_domains,
    place_gene,
    plant_gene,
    positions_of,
)
from geno_pipeline.demo.repeats import Family, make_families, plant_repeats
from geno_pipeline.demo.sequence import GC_LEVELS, ISLAND, Background, Codes, N, reverse_complement

MIN_GAP_BP = 300
_EXON_MARGIN_BP = 50  # splice signals and their branch points stay free of repeats
_CORE_PROMOTER_BP = 500
_COPY_DIVERGENCE = 0.02


@dataclass(frozen=True, slots=True)
class Species:
    """What all contigs share: background, protein domains, repeat families."""

    background: Background
    domains: tuple[Domain, ...]
    families: tuple[Family, ...]


@dataclass(frozen=True, slots=True)
class ContigGenome:
    """One contig. Arrays have one entry a base.

    Attributes:
        codes: bases, 0..4 for A, C, G, T, N (uint8).
        masked: True where a repeat is soft-masked (lower case).
        genes: planted genes, by position.
        repeats: planted repeats, columns of `repeats.SCHEMA`, 0-based half-open.
        duplications: (n, 2) tandem segmental duplications, both copies, 0-based half-open.
        weight: known function of a base in [0, 1] (codons, promoter words, splice neighbours); float32.
        unit_bp: unit length of the microsatellite there, 0 outside.
    """

    name: str
    codes: Codes
    masked: NDArray[np.bool_]
    genes: tuple[Gene, ...]
    repeats: pl.DataFrame
    duplications: NDArray[np.int64]
    weight: NDArray[np.float32]
    unit_bp: NDArray[np.uint8]

    @property
    def coding_fraction(self) -> float:
        """Share of the bases, N included, that lie in a coding sequence."""
        coding = np.zeros(self.codes.size, dtype=bool)
        for gene in self.genes:
            for transcript in gene.transcripts:
                coding[positions_of(transcript.cds())] = True
        return float(coding.mean())


@dataclass(frozen=True, slots=True)
class _Slot:
    start: int
    length: int
    design: GeneDesign | None  # None: a tandem duplication


def make_species(seed: int) -> Species:
    """Everything that the contigs have in common under one seed."""
    background = Background.from_rng(generator(seed, "background"))
    families = make_families(background, generator(seed, "families"))
    return Species(background, make_domains(generator(seed, "domains")), families)


def _isochores(length: int, rng: np.random.Generator) -> NDArray[np.uint8]:
    """GC level of each base: stretches of 25 to 150 kb, AT-rich ones more often."""
    borders = np.cumsum(rng.integers(25_000, 150_000, length // 25_000 + 2))
    levels = rng.choice(len(GC_LEVELS), borders.size, p=(0.2, 0.3, 0.25, 0.15, 0.1)).astype(np.uint8)
    return levels[np.searchsorted(borders, np.arange(length), side="right")]


def _segments(length: int, config: DemoConfig, rng: np.random.Generator) -> NDArray[np.int64]:
    """(2, 2) stretches without N: between the telomeres, left and right of the gap."""
    gap = int(length * rng.uniform(0.40, 0.60))
    return np.array([[config.telomere_bp, gap], [gap + config.gap_bp, length - config.telomere_bp]])


def _deal(
    segments: NDArray[np.int64], designs: list[GeneDesign | None], segdup_bp: int, rng: np.random.Generator
) -> list[_Slot]:
    """Deal items over the segments, emptiest first, with random gaps between; what does not fit is left out."""
    room = segments[:, 1] - segments[:, 0]
    taken: list[list[GeneDesign | None]] = [[] for _ in segments]
    for design in designs:
        needs = (2 * segdup_bp if design is None else design.length) + MIN_GAP_BP
        widest = int(room.argmax())
        if needs + MIN_GAP_BP <= room[widest]:
            taken[widest].append(design)
            room[widest] -= needs
    slots: list[_Slot] = []
    for (start, _), items, spare in zip(segments, taken, room, strict=True):
        gaps = (rng.dirichlet(np.ones(len(items) + 1)) * (spare - MIN_GAP_BP)).astype(np.int64)
        at = int(start)
        for item, gap in zip([items[i] for i in rng.permutation(len(items))], gaps, strict=False):
            at += MIN_GAP_BP + int(gap)
            length = 2 * segdup_bp if item is None else item.length
            slots.append(_Slot(at, length, item))
            at += length
    return slots


def _plant_genes(
    slots: list[_Slot], codes: Codes, species: Species, name: str, first_number: int, rng: np.random.Generator
) -> tuple[tuple[Gene, ...], NDArray[np.float32], NDArray[np.bool_]]:
    """Write the genes; returns them, the functional weights and where repeats may not go."""
    weight = np.zeros(codes.size, dtype=np.float32)
    blocked = codes == N
    genes: list[Gene] = []
    designed = [(slot, slot.design) for slot in slots if slot.design is not None]
    island = species.background.sample(np.full(800 * max(len(designed), 1), ISLAND, dtype=np.uint8), rng)
    for order, (slot, design) in enumerate(designed):
        strand = "+" if rng.random() < 0.5 else "-"
        span = slice(slot.start, slot.start + slot.length)
        view = codes[span].copy() if strand == "+" else reverse_complement(codes[span])
        weights = plant_gene(design, view, island[800 * order : 800 * (order + 1)], rng)
        codes[span] = view if strand == "+" else reverse_complement(view)
        weight[span] = weights if strand == "+" else weights[::-1]
        gene = place_gene(design, first_number + order, name, slot.start, strand)
        genes.append(gene)
        for start, end in gene.transcripts[0].exons:
            blocked[start - _EXON_MARGIN_BP : end + _EXON_MARGIN_BP] = True
        left_end = gene.tss - _CORE_PROMOTER_BP if strand == "+" else gene.tss + 1
        blocked[left_end : left_end + _CORE_PROMOTER_BP] = True
    return tuple(genes), weight, blocked


def _duplicate(
    slots: list[_Slot], codes: Codes, repeats: pl.DataFrame, unit_bp: NDArray[np.uint8], rng: np.random.Generator
) -> tuple[pl.DataFrame, NDArray[np.int64]]:
    """Copy the first half of each duplication slot onto its second half, repeats included; `codes` changes in place."""
    copies, frames = [], [repeats]
    for slot in slots:
        if slot.design is not None:
            continue
        half = slot.length // 2
        source, target = slice(slot.start, slot.start + half), slice(slot.start + half, slot.start + slot.length)
        changed = rng.random(half) < _COPY_DIVERGENCE
        codes[target] = np.where(changed, (codes[source] + rng.integers(1, 4, half)) % 4, codes[source])
        unit_bp[target] = unit_bp[source]
        inside = repeats.filter((pl.col("start_bp") >= source.start) & (pl.col("end_bp") <= source.stop))
        frames.append(inside.with_columns(pl.col("start_bp", "end_bp") + half))
        copies += [[source.start, source.stop], [target.start, target.stop]]
    return pl.concat(frames).sort("start_bp"), np.array(copies, dtype=np.int64).reshape(-1, 2)


def make_contig(name: str, length: int, first_number: int, species: Species, config: DemoConfig) -> ContigGenome:
    """Make one contig; `first_number` numbers its first gene.

    Raises:
        DemoConfigError: no gene fits into the contig.
    """
    rng = generator(config.seed, "contig", name)
    codes = species.background.sample(_isochores(length, rng), rng)
    segments = _segments(length, config, rng)
    has_bases = np.zeros(length, dtype=bool)
    has_bases[positions_of(segments)] = True
    codes[~has_bases] = N
    wanted = max(1, round(config.genes_per_mbp * length / 1e6))
    designs: list[GeneDesign | None] = [None] * max(1, round(length / 7e5))
    designs += [design_gene(species.domains, config.max_intron_bp, rng) for _ in range(wanted)]
    slots = sorted(_deal(segments, designs, config.segdup_bp, rng), key=lambda slot: slot.start)
    genes, weight, blocked = _plant_genes(slots, codes, species, name, first_number, rng)
    if not any(gene.biotype == "protein_coding" for gene in genes):
        raise DemoConfigError(
            f"no protein-coding gene fits into contig {name} of {length} bp with {wanted} tried; "
            "make the contig longer, genes_per_mbp larger or max_intron_bp smaller."
        )
    for slot in slots:
        if slot.design is None:  # the second half is overwritten, and no repeat may cross its border
            blocked[slot.start + slot.length // 2 - 1 : slot.start + slot.length] = True
    repeats, unit_bp = plant_repeats(codes, blocked, species.families, rng)
    repeats, duplications = _duplicate(slots, codes, repeats, unit_bp, rng)
    masked = np.zeros(length, dtype=bool)
    masked[positions_of(repeats.select("start_bp", "end_bp").to_numpy())] = True
    return ContigGenome(name, codes, masked, genes, repeats, duplications, weight, unit_bp)


def make_genome(config: DemoConfig) -> tuple[ContigGenome, ...]:
    """All contigs of the demo, in the order of the settings."""
    species = make_species(config.seed)
    contigs: list[ContigGenome] = []
    for name, length in config.contigs:
        first = 1 + sum(len(contig.genes) for contig in contigs)
        contigs.append(make_contig(name, length, first, species, config))
    return tuple(contigs)
