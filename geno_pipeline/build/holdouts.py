"""What training and calibration never see (spec 3).

Belongs here: choosing the three holdouts, and spans of the reference as values.
Does not belong here: what a holdout blocks (`regions`), the proof that nothing touches it (`leakage`), and how rows are
drawn (`edit_mix`, `rows`).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

import numpy as np
import polars as pl
from numpy.typing import NDArray

from data_contracts import HoldoutChr, HoldoutHaplotypes
from geno_pipeline.build.hashing import stable_hash

BLOCK_BP = 1_000  # grid of the haplotype blocks
BIN_BP = 8_192  # haplotype blocks of one bin are held out together; the same size stands in for a gene's name
AXIS_BP = 1 << 36  # room for one contig on one axis; no chromosome is as long
LABELS = {"P": 1, "LP": 1, "B": 0, "LB": 0}


class HoldoutError(ValueError):
    """A holdout that cannot be made as asked for."""


@dataclass(frozen=True, slots=True)
class Spans:
    """Spans of one contig, merged and in order: `starts[i] < ends[i] < starts[i + 1]`; 0-based, half-open."""

    starts: NDArray[np.int64]
    ends: NDArray[np.int64]

    @classmethod
    def of(cls, regions: pl.DataFrame, contig: str) -> Spans:
        """The spans of a frame (contig, start_bp, end_bp) on one contig."""
        here = regions.filter(pl.col("contig") == contig).sort("start_bp")
        starts, ends = (here[name].to_numpy().astype(np.int64) for name in ("start_bp", "end_bp"))
        if not len(starts):
            return cls(starts, ends)
        reach = np.maximum.accumulate(ends)
        first = np.concatenate([[True], starts[1:] > reach[:-1]])
        return cls(starts[first], reach[np.concatenate([first[1:], [True]])])

    def overlap(self, start_bp: NDArray[np.int64], end_bp: NDArray[np.int64]) -> NDArray[np.bool_]:
        """Which of the given spans share a base with one of these."""
        # Merged spans end in order, so the only one that can matter is the first that ends after the query begins.
        nearest = np.searchsorted(self.ends, start_bp, side="right")
        starts = np.append(self.starts, np.iinfo(np.int64).max)
        return starts[nearest] < end_bp

    def mask(self, start_bp: int, end_bp: int) -> NDArray[np.bool_]:
        """Which positions of [start_bp, end_bp) lie in a span."""
        near = slice(np.searchsorted(self.ends, start_bp, side="right"), np.searchsorted(self.starts, end_bp))
        edge = np.zeros(end_bp - start_bp + 1, dtype=np.int32)
        np.add.at(edge, np.maximum(self.starts[near] - start_bp, 0), 1)
        np.add.at(edge, np.minimum(self.ends[near], end_bp) - start_bp, -1)
        return np.cumsum(edge[:-1]) > 0


def holdout_chr(
    contigs: Iterable[str], spans: Iterable[tuple[str, int, int]], lengths: Mapping[str, int]
) -> pl.DataFrame:
    """Whole contigs and parts of contigs as a HoldoutChr frame.

    Args:
        spans: (contig, start_bp, end_bp); an end beyond the contig is cut.
        lengths: length of each contig in bp (`Genome.contigs`).

    Raises:
        HoldoutError: a contig that the FASTA does not have, or a span outside its contig.
    """
    rows = [(contig, 0, lengths.get(contig, 0)) for contig in contigs]
    rows += [(contig, start, min(end, lengths.get(contig, 0))) for contig, start, end in spans]
    for contig, start, end in rows:
        if contig not in lengths:
            raise HoldoutError(f"holdout on contig {contig}: expected one of the FASTA's, {', '.join(lengths)}")
        if start >= end:
            raise HoldoutError(
                f"holdout on contig {contig} starts at {start}, but the contig ends at {lengths[contig]} bp"
            )
    frame = pl.DataFrame(rows, schema=HoldoutChr.empty().schema, orient="row")
    return frame.unique().sort("contig", "start_bp", "end_bp")


def holdout_clinvar(clinvar: pl.DataFrame, fraction: float, seed: int, chr_regions: pl.DataFrame) -> pl.DataFrame:
    """ClinVar alleles of the evaluation benchmarks: whole genes, `fraction` of them, and all on `holdout-chr`.

    Alleles with significance P, LP (label 1), B or LB (label 0) take part. Genes are ordered by their hash and the
    first `fraction` of them (rounded) is held out; an allele without a gene counts with those of its 8,192 bp bin.

    Returns:
        HoldoutClinvar frame in the order of contig, pos, ref, alt.
    """
    labelled = clinvar.filter(pl.col("clnsig").is_in(list(LABELS))).with_columns(unit=gene_or_bin())
    chosen = labelled.join(
        _lowest(labelled.select("unit").unique(), ("unit",), fraction, seed, "clinvar"), on="unit", how="semi"
    )
    keep = pl.concat([chosen, labelled.filter(touches(labelled, chr_regions))]).unique(["contig", "pos", "ref", "alt"])
    return keep.select(
        "contig",
        "pos",
        "ref",
        "alt",
        "edit_type",
        pl.col("clnsig").replace_strict(LABELS, return_dtype=pl.Int8).alias("label"),
        pl.col("is_coding").fill_null(False),
        "stars",
    ).sort("contig", "pos", "ref", "alt")


def gene_or_bin() -> pl.Expr:
    """What is held out together of ClinVar: the gene's name, or the 8,192 bp bin of an allele without one."""
    return pl.coalesce("gene", pl.concat_str("contig", pl.lit(":"), (pl.col("pos") - 1) // BIN_BP))


def holdout_haplotypes(phased: pl.DataFrame, fraction: float, seed: int, chr_regions: pl.DataFrame) -> pl.DataFrame:
    """Phased blocks for the evaluation of rollouts: whole 8,192 bp bins, `fraction` of them, and all on `holdout-chr`.

    A block belongs to the bin in which its 1,000 bp grid cell begins, so all combinations of one block go together.
    """
    placed = phased.with_columns(bin=pl.col("start_bp") // BLOCK_BP * BLOCK_BP // BIN_BP)
    bins = placed.select("contig", "bin").unique()
    chosen = placed.join(
        _lowest(bins, ("contig", "bin"), fraction, seed, "haplotypes"), on=["contig", "bin"], how="semi"
    )
    on_chr = placed.filter(_span_overlap(placed, chr_regions))
    schema = HoldoutHaplotypes.empty().schema
    keys = ["contig", "start_bp", "end_bp", "edits"]
    return pl.concat([chosen, on_chr]).select(schema.names()).unique(keys).sort("contig", "start_bp", "end_bp", "edits")


def touches(alleles: pl.DataFrame, regions: pl.DataFrame) -> pl.Series:
    """Whether each allele (contig, pos, ref) has a reference base in one of the regions, in the order given."""
    first = alleles["pos"] - 1
    spans = alleles.select("contig", start_bp=first, end_bp=first + alleles["ref"].str.len_bytes().cast(pl.Int64))
    return _span_overlap(spans, regions).alias("touches")


def on_one_axis(spans: pl.DataFrame, contigs: pl.Series) -> pl.DataFrame:
    """Spans with all contigs behind each other on one axis; those on contigs that are not named are left out.

    Two inequalities and no equality: DuckDB then joins by sorting (IEJoin) instead of comparing all pairs of a contig.
    """
    names = contigs.unique().sort()
    offset = pl.col("contig").replace_strict(
        names, pl.Series(range(len(names)), dtype=pl.Int64) * AXIS_BP, default=None, return_dtype=pl.Int64
    )
    shifted = spans.with_columns(pl.col("start_bp", "end_bp").cast(pl.Int64) + offset)
    return shifted.filter(pl.col("start_bp").is_not_null())


def _lowest(units: pl.DataFrame, key: tuple[str, ...], fraction: float, seed: int, purpose: str) -> pl.DataFrame:
    """The `fraction` (rounded) of the units that come first by hash."""
    hashes = stable_hash(units, key, seed=seed, purpose=purpose)
    n = int(np.floor(fraction * units.height + 0.5))
    return units.with_columns(hashes.alias("_hash")).sort("_hash", *key).head(n).drop("_hash")


def _span_overlap(spans: pl.DataFrame, regions: pl.DataFrame) -> pl.Series:
    """Which spans (contig, start_bp, end_bp) share a base with a region."""
    start, end = (spans[name].to_numpy() for name in ("start_bp", "end_bp"))
    contigs = spans["contig"].to_numpy()
    result = np.zeros(spans.height, dtype=np.bool_)
    for contig in spans["contig"].unique():
        here = np.flatnonzero(contigs == contig)
        result[here] = Spans.of(regions, contig).overlap(start[here], end[here])
    return pl.Series("overlaps", result)
