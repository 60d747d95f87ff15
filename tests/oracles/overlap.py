"""Region and repeat look-ups against `bioframe`, which overlaps pandas tables of intervals.

Belongs here: the classes of `geno_model.genomics.context` worked out once more from its docstring, transcript by
transcript, with bioframe for every overlap; comparison with ours. Does not: what codons become (`csq`); of the coding
classes only the place is compared. An allele is a row of contig, pos (1-based), ref, alt; all spans are 0-based
half-open. Loops over transcripts are fine here: this is the slow, plain way.
"""

from __future__ import annotations

from pathlib import Path

import bioframe
import numpy as np
import pandas as pd
import polars as pl
from numpy.typing import NDArray

from data_contracts.columns import ANNOTATED_REPEATS
from geno_model.genomics.annotation_io import read_genes
from geno_model.genomics.context import Context
from geno_model.genomics.genome import Genome
from geno_model.genomics.repeats_io import read_repeats
from geno_pipeline.demo import DemoConfig, write_demo_inputs
from tests.oracles.annotation_alleles import (
    KEY,
    alleles_at,
    annotated,
    possible_snvs,
    random_changes,
    retained_alleles,
    with_spans,
)
from tests.shared_data import SHARED, shared_genome
from tests.unit.demo_settings import SMALL

_BEFORE_START_BP = 1_000  # the promoter
_AFTER_EDGE_BP = 2  # the splice site
_BY_SEVERITY = ("splice", "utr5", "utr3", "promoter", "intron", "other", "intergenic")
CHR22_COVERED = (32_000_000, 32_300_000)


def compare_regions(genes: pl.DataFrame, alleles: pl.DataFrame, genome: Genome) -> tuple[int, pl.DataFrame]:
    """Number of alleles compared, and those whose region differs, with region_class (ours), expected and touches_cds.

    genes: a GeneAnnotation. Expected is the most severe class that is not coding. Ours agrees when it is that class
    and no coding base is touched, when it is a coding class, one is touched and no splice site is less severe than it,
    or when it is a splice site.
    """
    ours = annotated(Context.build(genes, None, genome), alleles)
    expected, touches_cds = _expected_regions(genes, alleles)
    found = ours.with_columns(pl.Series("expected", expected), pl.Series("touches_cds", touches_cds))
    region, theirs = pl.col("region_class"), pl.col("expected")
    agrees = (
        pl.when(region == "coding_nonsense")
        .then(pl.col("touches_cds"))
        .when(region.str.starts_with("coding"))
        .then(pl.col("touches_cds") & (theirs != "splice"))
        .when(region == "splice")
        .then(theirs == "splice")
        .otherwise((theirs == region) & ~pl.col("touches_cds"))
    )
    return found.height, found.filter(~agrees).drop("repeat_class")


def compare_repeats(repeats: pl.DataFrame, alleles: pl.DataFrame, genome: Genome) -> tuple[int, pl.DataFrame]:
    """Number of alleles compared, and those whose repeat class differs, with repeat_class (ours) and expected.

    repeats: a RepeatAnnotation. Expected is the first of simple, low_complexity, transposon, segmental_dup that
    overlaps what the allele changes; an insertion is its two neighbours.
    """
    ours = annotated(Context.build(None, repeats, genome), alleles)
    spans = with_spans(alleles)
    is_insertion = (spans["start_bp"] == spans["end_bp"]).to_numpy()
    place = _intervals(spans["contig"], spans["start_bp"] - is_insertion, spans["end_bp"] + is_insertion)
    expected = np.full(alleles.height, "none", dtype=object)
    for name in reversed(ANNOTATED_REPEATS):
        rows = repeats.filter(pl.col("repeat_class") == name)
        expected[_overlapping(place, _intervals(rows["contig"], rows["start_bp"], rows["end_bp"]))] = name
    found = ours.with_columns(pl.Series("expected", expected, dtype=pl.String)).drop("region_class")
    return found.height, found.filter(pl.col("repeat_class") != pl.col("expected"))


def region_edges(genes: pl.DataFrame, contig: str) -> list[int]:
    """Places, 0-based, where a region of the contig begins or ends."""
    rows = genes.filter(pl.col("contig") == contig)
    edges = set(rows["start_bp"]) | set(rows["end_bp"])
    whole = rows.filter(pl.col("feature") == "transcript")
    edges |= {start - _BEFORE_START_BP for start in whole["start_bp"]}
    edges |= {end + _BEFORE_START_BP for end in whole["end_bp"]}
    return sorted(edge for edge in edges if edge > 2)


def chr22_alleles(repeats: pl.DataFrame, genome: Genome, n: int, step: int = 1) -> pl.DataFrame:
    """Alleles at the edges of the repeats of chr22, and n random changes and 3 n / 4 SNVs where its bases are known.

    step: of every step-th edge.
    """
    edges = sorted(set(repeats["start_bp"]) | set(repeats["end_bp"]))[::step]
    places = range(*CHR22_COVERED)
    chosen = np.random.default_rng(1).choice(np.arange(*CHR22_COVERED), n // 4, replace=False).tolist()
    parts = [
        alleles_at("chr22", edges, genome.contigs["chr22"]),
        possible_snvs("chr22", chosen, genome),
        random_changes("chr22", places, genome, n),
    ]
    return pl.concat(parts).unique().sort(KEY)


def demo_tables(folder: Path, config: DemoConfig = SMALL) -> tuple[Genome, pl.DataFrame, pl.DataFrame, pl.DataFrame]:
    """Genome, genes, repeats, and the alleles of the population and of ClinVar, of a demo written into the folder."""
    inputs = write_demo_inputs(folder / "demo", config)
    genome = Genome.open(inputs.reference, folder / "cache")
    repeats = [read_repeats(inputs.repeats, genome), read_repeats(inputs.duplications, genome, "segmental_dup")]
    alleles = pl.concat([retained_alleles(vcf, genome) for vcf in (inputs.gnomad, inputs.clinvar)]).unique().sort(KEY)
    return genome, read_genes(inputs.genes, genome), pl.concat(repeats), alleles


def run_all(folder: Path) -> list[tuple[str, int, int]]:
    """(name, alleles compared, differences) over all that there is; folder: scratch."""
    genome, data = shared_genome("grch38"), SHARED / "grch38"
    genes = read_genes(data / "chr21_genes.gff3.gz", genome)
    repeats = read_repeats(data / "chr22_rmsk.bed.gz", genome)
    real = retained_alleles(data / "chr21_dbsnp_gnomad_1kg.vcf.gz", genome)
    edges = alleles_at("chr21", region_edges(genes, "chr21"), genome.contigs["chr21"])
    demo, demo_genes, demo_repeats, demo_alleles = demo_tables(folder)
    demo_edges = [alleles_at(name, region_edges(demo_genes, name), n) for name, n in demo.contigs.items()]
    results = {
        "regions, chr21 variants": compare_regions(genes, real, genome),
        "regions, edges on chr21": compare_regions(genes, edges, genome),
        "regions, demo": compare_regions(demo_genes, pl.concat([demo_alleles, *demo_edges]).unique(), demo),
        "repeats, chr22": compare_repeats(repeats, chr22_alleles(repeats, genome, 200_000), genome),
        "repeats, demo": compare_repeats(demo_repeats, demo_alleles, demo),
    }
    return [(name, n, differing.height) for name, (n, differing) in results.items()]


def _expected_regions(genes: pl.DataFrame, alleles: pl.DataFrame) -> tuple[list[str], NDArray[np.bool_]]:
    """Most severe class that is not coding, and whether a coding base is touched, of each allele."""
    features = _features(genes)
    spans = with_spans(alleles)
    contig, start, end = spans["contig"], spans["start_bp"], spans["end_bp"]
    is_insertion = (start == end).to_numpy()
    changed = _intervals(contig, start, end + is_insertion)  # of an insertion: the base to its right
    left = _intervals(contig, start - is_insertion, end)  # of an insertion: the base to its left
    both = _intervals(contig, start - is_insertion, end + is_insertion)
    touching = {name: _overlapping(both, features[name]) for name in ("utr5", "utr3", "promoter", "other")}
    # Two bases of an intron beside an exon: an insertion between them, or between them and the exon, is inside.
    touching["splice"] = _overlapping(changed, features["intron_begin"]) | _overlapping(left, features["intron_end"])
    touching["intron"] = _overlapping(left, features["intron"]) & _overlapping(changed, features["intron"])
    touches_cds = _overlapping(both, features["cds"])
    touches_cds[is_insertion] = _within(both.loc[is_insertion], features["cds"])
    expected = np.full(alleles.height, "intergenic", dtype=object)
    for name in reversed(_BY_SEVERITY[:-1]):
        expected[touching[name]] = name
    expected[~contig.is_in(genes["contig"].unique().implode()).to_numpy()] = "other"
    return expected.tolist(), touches_cds


def _features(genes: pl.DataFrame) -> dict[str, pd.DataFrame]:
    """Spans by kind of region, over all transcripts; a transcript's two strands are two transcripts."""
    rows: dict[str, list[tuple[str, int, int]]] = {
        name: [] for name in (*_BY_SEVERITY, "cds", "intron_begin", "intron_end")
    }
    for (_, contig, strand), parts in genes.group_by("transcript_id", "contig", "strand"):
        exons, cds = (
            sorted(parts.filter(pl.col("feature") == name).select("start_bp", "end_bp").iter_rows())
            for name in ("exon", "CDS")
        )
        for name, start, end in _of_transcript(exons, cds, str(strand)):
            if start < end:
                rows[name].append((str(contig), max(start, 0), end))
    return {name: pd.DataFrame(spans, columns=["chrom", "start", "end"]) for name, spans in rows.items()}


def _of_transcript(exons: list[tuple[int, int]], cds: list[tuple[int, int]], strand: str) -> list[tuple[str, int, int]]:
    """(kind, start, end) of one transcript's regions."""
    first, last = exons[0][0], exons[-1][1]
    found = [("promoter", first - _BEFORE_START_BP, first) if strand == "+" else ("promoter", last, last + 1_000)]
    found += [("other", start, end) for start, end in exons]
    found += [("cds", start, end) for start, end in cds]
    for (_, start), (end, _) in zip(exons, exons[1:], strict=False):
        found.append(("intron", start, end))
        found.append(("intron_begin", start, min(start + _AFTER_EDGE_BP, end)))
        found.append(("intron_end", max(end - _AFTER_EDGE_BP, start), end))
    if cds:
        before, after = ("utr5", "utr3") if strand == "+" else ("utr3", "utr5")
        coding_start, coding_end = cds[0][0], max(end for _, end in cds)
        found += [(before, start, min(end, coding_start)) for start, end in exons]
        found += [(after, max(start, coding_end), end) for start, end in exons]
    return found


def _intervals(contig: pl.Series, start: pl.Series, end: pl.Series) -> pd.DataFrame:
    """A bioframe table."""
    return pd.DataFrame({"chrom": contig.to_list(), "start": start.to_numpy(), "end": end.to_numpy()})


def _overlapping(places: pd.DataFrame, features: pd.DataFrame) -> NDArray[np.bool_]:
    """Whether each place shares a base with any feature (n,)."""
    touched = np.zeros(len(places), dtype=np.bool_)
    if len(places) and len(features):
        pairs = bioframe.overlap(places, features, how="inner", return_index=True, return_input=False)
        touched[pairs["index"].to_numpy(dtype=np.int64)] = True
    return touched


def _within(places: pd.DataFrame, features: pd.DataFrame) -> NDArray[np.bool_]:
    """Whether a single feature holds all bases of each place (n,)."""
    held = np.zeros(len(places), dtype=np.bool_)
    if len(places) and len(features):
        places = places.reset_index(drop=True)
        pairs = bioframe.overlap(places, features, how="inner", return_index=True)
        whole = (pairs["start_"] <= pairs["start"]) & (pairs["end"] <= pairs["end_"])
        held[pairs.loc[whole.to_numpy(dtype=np.bool_), "index"].to_numpy(dtype=np.int64)] = True
    return held
