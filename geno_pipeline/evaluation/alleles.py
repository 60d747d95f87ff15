"""The alleles of every benchmark, with what is known of each and what became of it (spec 6; BenchmarkAlleles).

Belongs here: which rows take part, and the facts that baselines and sub-tables are made of. Does not: reading a
benchmark's file (`layouts`, `build.clinvar`), scores.

Concept: no row is lost. A row that takes no part keeps its place with one reason:

    vus, conflicting_or_other   ClinVar does not say harmful or harmless
    not_held_out                ClinVar says so, but the allele's gene is a source of training
    seen_in_training            a training edit touches the allele, however either is written, or a codon of it; or
                                ClinVar's alleles of its gene were taught. None is in the benchmark that a run holds
                                out; in a newer release or in a user's table some may be
    unreadable                  the whole file; `note` says why
    others                      see `layouts`
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import polars as pl

from data_contracts import BenchmarkAlleles
from data_contracts.benchmark_alleles import CODING, NON_CODING, UNREADABLE
from data_contracts.columns import POPULATIONS
from geno_model.genomics.errors import InputError
from geno_model.genomics.genome import Genome
from geno_pipeline.build.hashing import ALLELE_KEY
from geno_pipeline.build.holdouts import LABELS, Spans, gene_or_bin, touches
from geno_pipeline.build.regions import allele_spans, codon_spans
from geno_pipeline.evaluation.layouts import read_benchmark

NOT_JUDGED = {"VUS": "vus"}
OTHER = "conflicting_or_other"
NOT_HELD_OUT = "not_held_out"
SEEN = "seen_in_training"
FREQUENCIES = ("af", *(f"af_{population}" for population in POPULATIONS))


def clinvar_rows(clinvar: pl.DataFrame, holdout: pl.DataFrame, training: pl.DataFrame) -> pl.DataFrame:
    """All ClinVarVariants rows as two tracks; those of HoldoutClinvar take part.

    training: contig, pos, ref and alt of training's edits that come from ClinVar. What shares a gene with one is seen:
    of another release than training's, another choice of genes may be held out.
    """
    held = holdout.select(*ALLELE_KEY, is_held=pl.lit(True))
    judged = pl.col("clnsig").is_in(list(LABELS))
    units = clinvar.with_columns(unit=gene_or_bin())
    taught = units.join(training, on=ALLELE_KEY, how="semi")["unit"].unique().implode()
    reason = (
        pl.when(~judged)
        .then(pl.col("clnsig").replace_strict(NOT_JUDGED, default=OTHER))
        .when(pl.col("is_held").is_null())
        .then(pl.lit(NOT_HELD_OUT))
        .when(pl.col("unit").is_in(taught))
        .then(pl.lit(SEEN))
    )
    return units.join(held, on=ALLELE_KEY, how="left", maintain_order="left").select(
        *ALLELE_KEY,
        "edit_type",
        "stars",
        "consequence",
        track=pl.when(pl.col("is_coding").fill_null(False)).then(pl.lit(CODING)).otherwise(pl.lit(NON_CODING)),
        label=pl.col("clnsig").replace_strict(LABELS, default=None, return_dtype=pl.Int8),
        reason=reason,
    )


def table_rows(track: str, path: Path, genome: Genome) -> pl.DataFrame:
    """The rows of a user's table; of a file that cannot be used, one row that says why."""
    try:
        return read_benchmark(path, genome).with_columns(track=pl.lit(track))
    except InputError as error:
        schema = {"track": pl.String, "reason": pl.String, "note": pl.String}
        return pl.DataFrame([(track, UNREADABLE, str(error))], schema=schema, orient="row")


def with_facts(
    rows: list[pl.DataFrame], training: pl.DataFrame, frequencies: pl.DataFrame, genes: pl.DataFrame, genome: Genome
) -> pl.DataFrame:
    """BenchmarkAlleles from the rows of all benchmarks.

    training: contig, pos, ref and alt of the edits that the predictor was trained on. frequencies: KEY and frequencies
    (`build.gnomad.frequencies_of`). genes: GeneAnnotation, perhaps without rows.
    """
    empty = BenchmarkAlleles.empty()
    joined = pl.concat(
        [empty, *(part.cast({k: empty.schema[k] for k in part.columns}) for part in rows)], how="diagonal"
    )
    used = joined.filter(pl.col("reason").is_null()).drop("exon_distance_bp", *FREQUENCIES)
    seen = touched_by_edits(used, training, genes, genome)
    used = used.with_columns(
        reason=pl.when(seen).then(pl.lit(SEEN)).otherwise("reason"), exon_distance_bp=exon_distance(used, genes)
    ).join(frequencies, on=ALLELE_KEY, how="left", maintain_order="left")
    left_out = joined.filter(pl.col("reason").is_not_null())
    order = {name: place for place, name in enumerate(joined["track"].unique(maintain_order=True))}
    place = pl.col("track").replace_strict(order, return_dtype=pl.Int64)
    both = pl.concat([used.select(empty.columns), left_out.select(empty.columns)])
    return both.sort(place, "contig", "pos", "ref", "alt", "reason", nulls_last=True, maintain_order=True)


def touched_by_edits(alleles: pl.DataFrame, edits: pl.DataFrame, genes: pl.DataFrame, genome: Genome) -> pl.Series:
    """Which alleles share a base with an edit, with another place that either can be written at, or a codon with it."""
    here = edits.filter(pl.col("contig").is_in(list(genome.contigs)))  # a corpus is no part of the reference
    theirs = allele_spans(here.unique(), genome)
    shifted = theirs.with_columns(end_bp=pl.col("end_bp") + pl.col("shift_bp")).drop("shift_bp")
    regions = pl.concat([shifted, codon_spans(theirs, genes)])
    ours = alleles.select(*ALLELE_KEY).with_row_index("_row")
    spans = [
        here.with_columns(allele_spans(here, genome).drop("contig"))
        for _, here in ours.group_by("contig", maintain_order=True)
    ]
    if not spans:
        return pl.Series("touched", [], dtype=pl.Boolean)
    placed = pl.concat(spans).sort("_row")
    # `touches` reads pos and the length of ref: give it the bases from the first place to the last.
    reach = placed.select(
        "contig",
        pos=pl.col("start_bp") + 1,
        ref=pl.lit("N").repeat_by(pl.col("end_bp") + pl.col("shift_bp") - pl.col("start_bp")).list.join(""),
    )
    return touches(reach, regions).alias("touched")


def exon_distance(alleles: pl.DataFrame, genes: pl.DataFrame) -> pl.Series:
    """Bases from each allele (contig, pos, ref) to the nearest exon, 0 inside; null on a contig without exons."""
    exons = genes.filter(pl.col("feature") == "exon")
    contigs = alleles["contig"].to_numpy()
    begin = alleles["pos"].to_numpy() - 1
    end = begin + alleles["ref"].str.len_bytes().to_numpy().astype(np.int64)
    distance = np.full(alleles.height, -1, dtype=np.int64)
    for contig in alleles["contig"].unique():
        here, spans = contigs == contig, Spans.of(exons, contig)
        if not len(spans.starts):
            continue
        far = np.iinfo(np.int64).max // 2
        starts, ends = np.append(spans.starts, far), np.concatenate([[-far], spans.ends])
        nearest = np.searchsorted(spans.ends, begin[here], side="right")  # the first exon that ends behind the allele
        to_right = np.maximum(starts[nearest] - end[here] + 1, 0)
        distance[here] = np.minimum(to_right, begin[here] - ends[nearest] + 1)
    return pl.Series("exon_distance_bp", distance).replace(-1, None)
