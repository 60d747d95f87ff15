"""Population variants of the demo: a coalescent with recombination, and purifying selection on top.

Belongs here: people, their phased haplotypes, alleles, allele counts.
Does not belong here: labels (clinvar.py), VCF text (records.py).

Concept: msprime gives sites and who carries them; the reference and its effects then decide what each derived allele IS
(more transitions, mutable CpG, slippage in microsatellites), and harmful ones are removed or left to one carrier. The
reference base is the ancestral one everywhere. Records never overlap, so no haplotype carries two alleles that do.
"""

from __future__ import annotations

from dataclasses import dataclass

import msprime
import numpy as np
import polars as pl
import tskit
from numpy.typing import NDArray

from geno_pipeline.demo.config import DemoConfig, generator
from geno_pipeline.demo.effects import Effects
from geno_pipeline.demo.genome import ContigGenome
from geno_pipeline.demo.sequence import LETTERS, C, Codes, G, N, decode

POPULATIONS = ("afr", "eas", "nfe")
RECOMBINATION_RATE = 1.2e-8  # a base and generation
CPG_FACTOR = 6.0
MAX_INDEL_BP = 15
_SLIPPAGE = 0.6  # share of the alleles in a microsatellite that are indels
_N_MARGIN_BP = 40
_RECORD_GAP_BP = 1

ALLELE_SCHEMA = {
    "pos": pl.Int64,
    "ref": pl.String,
    "alt": pl.String,
    "site": pl.Int64,
    "term": pl.UInt8,
    "harm": pl.Float64,
}


@dataclass(frozen=True, slots=True)
class Population:
    """Variants of one contig.

    Attributes:
        contig: its name.
        alleles: one row an alternate allele, sorted by `pos` (1-based), left-aligned and trimmed: pos, ref, alt, term
            (effects.Term), harm, ac (derived copies).
        haplotypes: (alleles, 2 * people) bool, who carries it; columns 2i and 2i + 1 are person i.
        population: (people,) index into POPULATIONS.
    """

    contig: str
    alleles: pl.DataFrame
    haplotypes: NDArray[np.bool_]
    population: NDArray[np.int64]


def population_of(n_samples: int) -> NDArray[np.int64]:
    """Population index of each person: three nearly equal groups, in order."""
    return np.sort(np.arange(n_samples) % len(POPULATIONS))


def _demography() -> msprime.Demography:
    """Three populations out of one, two of them through a bottleneck, all growing of late."""
    history = msprime.Demography()
    history.add_population(name="afr", initial_size=24_000, growth_rate=0.002)
    history.add_population(name="eas", initial_size=30_000, growth_rate=0.004)
    history.add_population(name="nfe", initial_size=30_000, growth_rate=0.004)
    history.add_population(name="ooa", initial_size=3_500)
    history.add_population(name="ancestral", initial_size=12_000)
    history.add_population_split(time=850, derived=["eas", "nfe"], ancestral="ooa")
    history.add_population_split(time=2_000, derived=["afr", "ooa"], ancestral="ancestral")
    return history


def _mutability(codes: Codes) -> NDArray[np.float64]:
    """Relative mutation rate of each base: 0 near N and the ends, CPG_FACTOR in CpG, 1 elsewhere."""
    rate = np.ones(codes.size)
    cpg = np.flatnonzero((codes[:-1] == C) & (codes[1:] == G))
    rate[cpg] = rate[cpg + 1] = CPG_FACTOR
    unknown = np.cumsum(np.pad((codes == N).astype(np.int64), (_N_MARGIN_BP + 1, _N_MARGIN_BP), constant_values=1))
    rate[unknown[2 * _N_MARGIN_BP + 1 :] - unknown[: -(2 * _N_MARGIN_BP + 1)] > 0] = 0.0
    return rate


def _simulate(contig: ContigGenome, config: DemoConfig, rng: np.random.Generator) -> tskit.TreeSequence:
    """Trees and mutations; the rate is set so that sites with two or more copies come at `common_spacing_bp`."""
    groups = np.bincount(population_of(config.n_samples), minlength=len(POPULATIONS))
    trees = msprime.sim_ancestry(
        samples={name: int(size) for name, size in zip(POPULATIONS, groups, strict=True)},
        demography=_demography(),
        sequence_length=contig.codes.size,
        recombination_rate=RECOMBINATION_RATE,
        random_seed=int(rng.integers(1, 2**31)),
    )
    spectrum = trees.allele_frequency_spectrum(mode="branch", polarised=True)
    rate = 1.0 / (config.common_spacing_bp * float(spectrum[2:-1].sum()))
    relative = _mutability(contig.codes)
    scaled = relative * (rate / relative[relative > 0].mean())
    starts = np.r_[0, np.flatnonzero(np.diff(scaled)) + 1]
    rates = msprime.RateMap(position=np.r_[starts, scaled.size], rate=scaled[starts])
    seed = int(rng.integers(1, 2**31))
    return msprime.sim_mutations(trees, rate=rates, model=msprime.InfiniteAlleles(), random_seed=seed)


def _substitutions(codes: Codes, sites: NDArray[np.int64], rng: np.random.Generator) -> NDArray[np.int64]:
    """(n, 3) alternate bases of each site in the order in which its alleles take them; mostly a transition first."""
    reference = codes[sites].astype(np.int64)
    in_cpg = ((reference == C) & (codes[sites + 1] == G)) | ((reference == G) & (codes[sites - 1] == C))
    transition_first = rng.random(sites.size) < np.where(in_cpg, 0.92, 0.66)
    swap = rng.random(sites.size) < 0.5
    first, second = np.where(swap, 1, 3), np.where(swap, 3, 1)  # transversions, as steps modulo 4
    steps = np.where(
        transition_first[:, None],
        np.stack([np.full_like(first, 2), first, second], 1),
        np.stack([first, np.full_like(first, 2), second], 1),
    )
    return (reference[:, None] + steps) % 4


def align_left(codes: Codes, anchor: int, bases: Codes) -> tuple[int, Codes]:
    """Shift inserted or deleted `bases` (after the 0-based `anchor`) as far left as the sequence stays the same."""
    while anchor > 0 and bases[-1] == codes[anchor]:
        bases = np.r_[codes[anchor], bases[:-1]]
        anchor -= 1
    return anchor, bases


def draw_indel(
    contig: ContigGenome, anchor: int, rng: np.random.Generator, effects: Effects
) -> tuple[int, str, str, int, float] | None:
    """One indel of 1 to 15 bp at a 0-based anchor: (pos 1-based, ref, alt, term, harm); None where it meets N.

    In a microsatellite whole units come and go; elsewhere lengths are geometric and most insertions repeat what
    follows.
    """
    codes = contig.codes
    unit = int(contig.unit_bp[anchor])
    n_bases = int(min(rng.geometric(0.42), MAX_INDEL_BP))
    if unit:
        n_bases = unit * int(1 + (rng.random() < 0.25 and 2 * unit <= MAX_INDEL_BP))
    is_deletion = bool(rng.random() < 0.55)
    following = codes[anchor + 1 : anchor + 1 + n_bases]
    if following.size < n_bases or (following == N).any():
        return None
    bases = following
    if not is_deletion and not unit and rng.random() < 0.4:
        bases = rng.integers(0, 4, n_bases).astype(np.uint8)
    anchor, bases = align_left(codes, anchor, bases)
    if codes[anchor] == N:
        return None
    short, long = decode(codes[anchor : anchor + 1]), decode(np.r_[codes[anchor], bases])
    term, harm = effects.indel(anchor, n_bases, is_deletion)
    return (anchor + 1, *((long, short) if is_deletion else (short, long)), int(term), harm)


def _draw_alleles(
    contig: ContigGenome,
    effects: Effects,
    sites: NDArray[np.int64],
    rank: NDArray[np.int64],
    config: DemoConfig,
    rng: np.random.Generator,
) -> pl.DataFrame:
    """An allele for each (site, rank): columns of ALLELE_SCHEMA and `row`, the place in `sites`; order not kept."""
    alternate = _substitutions(contig.codes, np.unique(sites), rng)[np.unique(sites, return_inverse=True)[1], rank]
    in_unit = contig.unit_bp[sites] > 0
    elsewhere = max(0.0, (config.indel_share - _SLIPPAGE * in_unit.mean()) / max(1e-9, 1.0 - in_unit.mean()))
    is_indel = rng.random(sites.size) < np.where(in_unit, _SLIPPAGE, elsewhere)
    snv = np.flatnonzero(~is_indel)
    at, to = sites[snv], alternate[snv]
    snvs = pl.DataFrame(
        {
            "pos": at + 1,
            "ref": LETTERS[contig.codes[at]].view("S1").astype(str),
            "alt": LETTERS[to].view("S1").astype(str),
            "site": at,
            "term": effects.snv_term[at, to],
            "harm": effects.snv_harm[at, to].astype(np.float64),
            "row": snv,
        }
    )
    rows: list[tuple[object, ...]] = []
    for row in np.flatnonzero(is_indel):
        drawn = draw_indel(contig, int(sites[row]), rng, effects)
        if drawn is not None:
            pos, ref, alt, term, harm = drawn
            rows.append((pos, ref, alt, int(sites[row]), term, harm, int(row)))
    indels = pl.DataFrame(rows, schema={**ALLELE_SCHEMA, "row": pl.Int64}, orient="row")
    return pl.concat([snvs.cast({**ALLELE_SCHEMA, "row": pl.Int64}), indels])


def _select(haplotypes: NDArray[np.bool_], harm: NDArray[np.float64], rng: np.random.Generator) -> NDArray[np.bool_]:
    """Purifying selection, in place on `haplotypes` (n, copies); returns which alleles remain.

    A common allele stays common with chance (1 - harm) ** 1.5, else it is left to one carrier (45 %) or lost; a
    singleton stays with chance 1 - harm / 2.
    """
    copies = haplotypes.sum(axis=1)
    common = copies >= 2
    fate = rng.random(harm.size)
    stays = fate < np.where(common, (1.0 - harm) ** 1.5, 1.0 - 0.5 * harm)
    rare = common & ~stays & (rng.random(harm.size) < 0.45)
    carrier = (haplotypes[rare] * rng.random((int(rare.sum()), haplotypes.shape[1]))).argmax(axis=1)
    haplotypes[rare] = np.arange(haplotypes.shape[1])[None, :] == carrier[:, None]
    return (stays | rare) & (copies > 0)


def _without_overlap(alleles: pl.DataFrame) -> pl.DataFrame:
    """Drop the alleles of every site that reaches into a site before it (alleles of ONE site exclude each other)."""
    spans = (
        alleles.with_columns(end=pl.col("pos") + pl.col("ref").str.len_bytes() + _RECORD_GAP_BP)
        .group_by("site")
        .agg(pl.col("pos").min().alias("start"), pl.col("end").max())
        .sort("start", "site")
        .with_columns(reached=pl.col("end").cum_max().shift(1, fill_value=0))
        .filter(pl.col("start") >= pl.col("reached"))
    )
    return alleles.join(spans.select("site"), on="site", how="semi")


def simulate_population(contig: ContigGenome, effects: Effects, config: DemoConfig) -> Population:
    """Simulate the people of the demo on one contig; equal settings give equal people."""
    rng = generator(config.seed, "population", contig.name)
    trees = _simulate(contig, config, rng)
    genotypes = trees.genotype_matrix()
    at = trees.sites_position.astype(np.int64)
    # One row per (site, derived allele); a site with more than three derived alleles has run out of bases.
    present = np.stack([(genotypes == value).any(axis=1) for value in (1, 2, 3)], axis=1)
    site_row, value = np.nonzero(present)
    rank = (np.cumsum(present, axis=1) - 1)[site_row, value]
    haplotypes = genotypes[site_row] == value[:, None] + 1
    drawn = _draw_alleles(contig, effects, at[site_row], rank, config, rng)
    drawn = _without_overlap(drawn.unique(["pos", "ref", "alt"], keep="first", maintain_order=True))
    drawn = drawn.sort("pos", "ref", "alt")
    carried = haplotypes[drawn["row"].to_numpy()]
    remains = _select(carried, drawn["harm"].to_numpy(), rng)
    remains &= carried.sum(axis=1) < carried.shape[1]
    carried = carried[remains]
    alleles = drawn.drop("row", "site").filter(pl.Series(remains)).with_columns(ac=pl.Series(carried.sum(axis=1)))
    return Population(contig.name, alleles, carried, population_of(config.n_samples))
