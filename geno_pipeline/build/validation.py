"""Validation rows, drawn from the three holdouts (spec 3, 4).

Belongs here: single edits and synthetic chains on `holdout-chr`, real haplotypes, ClinVar alleles.
Does not belong here: what is held out (`holdouts`), training rows (`rows`).

Concept: rows of `holdout-chr` have the mix of training, so that skill there is skill on unseen DNA and nothing else. An
edit of such a row lies inside the held-out span, also in a window that reaches beyond it. The pooling centre is always
the first edit's token, as it is in scoring.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping

import numpy as np
import polars as pl

from data_contracts import ValidationEdits
from data_contracts.columns import (
    CLINVAR,
    EDITS,
    GNOMAD,
    HOLDOUT_CHR,
    HOLDOUT_CLINVAR,
    HOLDOUT_HAPLOTYPES,
    PHASED,
    SYNTHETIC_SNV,
)
from geno_model.genomics.genome import Genome
from geno_model.genomics.samplers import uniform_snv
from geno_pipeline.build.draws import masked_window, window_rng
from geno_pipeline.build.edit_mix import MIN_ROOM_BP, in_order_of_hash, plan_rows, room
from geno_pipeline.build.hashing import ALLELE_KEY, stable_hash
from geno_pipeline.build.holdouts import Spans, touches
from geno_pipeline.build.rows import (
    SINGLE_SCHEMA,
    as_rows,
    finish,
    place_haplotypes,
    window_extensions,
    window_singles,
    windows_with_rows,
)

_NOTHING_BLOCKED = Spans(np.empty(0, dtype=np.int64), np.empty(0, dtype=np.int64))


def validation_rows(
    windows: pl.DataFrame,
    gnomad: pl.DataFrame,
    clinvar: pl.DataFrame,
    haplotypes: pl.DataFrame,
    genome: Genome,
    contig: str,
    regions: pl.DataFrame,
    *,
    seed: int,
    shares: Mapping[str, float],
    singles_per_window: int,
    chains_per_k: int,
    k_values: Collection[int] = (1, 2, 3, 5, 8),
    haplotypes_per_k: int = 200,
    clinvar_rows: int = 500,
    min_af: float = 0.01,
    mnv_share: float = 0.1,
    complex_share: float = 0.1,
) -> pl.DataFrame:
    """All validation rows of one contig.

    - holdout-chr: `singles_per_window` single edits a window on average, with the shares of training (what a known
      source lacks, synthetic SNVs stand in for), and `chains_per_k` synthetic chains of each k above 1 (four SNVs to
      one indel, within 1,000 bp right of the first), where the contig has windows that are held out.
    - holdout-haplotypes: up to `haplotypes_per_k` held-out blocks of each k.
    - holdout-clinvar: up to `clinvar_rows` of the pathogenic alleles (label 1).
    What is taken where there is more follows from a seeded hash.

    Args:
        windows: ReferenceWindows frame; `clinvar`: HoldoutClinvar; `haplotypes`: HoldoutHaplotypes. What lies on other
            contigs is ignored.
        regions: HoldoutRegions frame; of these the spans of holdout-chr matter.

    Returns:
        ValidationEdits frame in the order of window and row.
    """
    on_contig = pl.col("contig") == contig
    here = windows.filter(on_contig).sort("start_bp")
    chr_regions = regions.filter(on_contig & (pl.col("holdout") == HOLDOUT_CHR))
    held = here.filter(pl.col("holdout") == HOLDOUT_CHR)
    held = held.filter(room(held, regions.head(0), chr_regions) >= MIN_ROOM_BP)
    pathogenic = clinvar.filter(on_contig & (pl.col("label") == 1)).with_columns(source=pl.lit(CLINVAR))
    common = gnomad.filter(on_contig & (pl.col("af") >= min_af)).with_columns(source=pl.lit(GNOMAD))
    known = pl.concat([frame.select("source", *ALLELE_KEY, "edit_type") for frame in (common, pathogenic)])
    known = in_order_of_hash(known.filter(touches(known, chr_regions)), held, seed)
    enough = np.full(held.height, MIN_ROOM_BP)
    plan = plan_rows(held, known, singles_per_window * held.height, shares, enough, seed, mnv_share, complex_share)
    inside = Spans.of(chr_regions, contig)
    parts = [
        _singles(held, plan, known, genome, inside, seed),
        _chains(held, genome, inside, seed, chains_per_k, [k for k in sorted(k_values) if k > 1]),
        _haplotypes(haplotypes.filter(on_contig & pl.col("k").is_in(list(k_values))), here, seed, haplotypes_per_k),
        _clinvar(pathogenic, here, seed, clinvar_rows),
    ]
    columns = ["window_start_bp", "source", "edits", "holdout"]
    rows = pl.concat([part.select(columns) for part in parts]).with_columns(contig=pl.lit(contig))
    rows = rows.with_columns(number=pl.int_range(pl.len()).over("window_start_bp"))
    return finish(rows, here, ValidationEdits.empty())


def _singles(
    held: pl.DataFrame,
    plan: pl.DataFrame,
    known: pl.DataFrame,
    genome: Genome,
    inside: Spans,
    seed: int,
) -> pl.DataFrame:
    """Single edits of the held-out windows, as planned."""
    drawn = []
    for window, counts, variants in windows_with_rows(held, plan, known):
        contig, start, end = window["contig"], window["start_bp"], window["end_bp"]
        masked = masked_window(genome, str(contig), start, end, _NOTHING_BLOCKED, inside)
        rng = window_rng(seed, "validation", str(contig), start)
        drawn.append(window_singles(window, counts, variants, masked, rng))
    return as_rows(drawn, [], "").with_columns(holdout=pl.lit(HOLDOUT_CHR))


def _chains(
    held: pl.DataFrame, genome: Genome, inside: Spans, seed: int, per_k: int, k_values: list[int]
) -> pl.DataFrame:
    """`per_k` chains of each k, spread over the held-out windows; each begins with a random SNV of a window's core."""
    lengths = np.tile(np.array(k_values, dtype=np.int64), per_k)
    order = stable_hash(held, ("contig", "start_bp"), seed=seed, purpose="chains").arg_sort().to_numpy()
    first, more = [], []
    # Chain number c goes to window c modulo n, so each k meets as many windows as there are chains of it.
    for place, index in enumerate(order if len(lengths) else []):
        mine = lengths[place :: len(order)]
        if not len(mine):
            break
        window = held.row(int(index), named=True)
        contig, start = window["contig"], window["start_bp"]
        masked = masked_window(genome, contig, start, window["end_bp"], _NOTHING_BLOCKED, inside)
        rng = window_rng(seed, "chains", contig, start)
        core = (window["core_start_bp"] - start, window["core_end_bp"] - start)
        drawn = uniform_snv(masked, len(mine), rng, span=core).with_row_index("number")
        rows = drawn.select(
            pl.lit(start).alias("window_start_bp"),
            "number",
            pl.lit(SYNTHETIC_SNV).alias("source"),
            (pl.col("rel_pos") + start + 1).alias("pos"),
            "ref",
            "alt",
        ).cast(SINGLE_SCHEMA)
        first.append(rows)
        more.append(window_extensions(rows, masked, mine - 1, rng))
    chains = as_rows(first, more, "").with_columns(edits=pl.concat_list("edits", "more"), holdout=pl.lit(HOLDOUT_CHR))
    # A chain whose first edit lies too near to the end of the span or the window is shorter than it was to be.
    return chains.filter(pl.col("edits").list.len().is_in(k_values))


def _haplotypes(blocks: pl.DataFrame, windows: pl.DataFrame, seed: int, per_k: int) -> pl.DataFrame:
    """Held-out blocks, at most `per_k` of each k."""
    placed = place_haplotypes(blocks, windows)
    placed = placed.with_columns(key=pl.col("edits").list.eval(pl.element().struct.json_encode()).list.join(";"))
    hashes = stable_hash(placed, ("contig", "key"), seed=seed, purpose="haplotype rows")
    ordered = placed.with_columns(hashes.alias("_hash")).sort("_hash", "key")
    taken = ordered.filter(pl.int_range(pl.len()).over("k") < per_k)
    return taken.with_columns(source=pl.lit(PHASED), holdout=pl.lit(HOLDOUT_HAPLOTYPES))


def _clinvar(pathogenic: pl.DataFrame, windows: pl.DataFrame, seed: int, n: int) -> pl.DataFrame:
    """Held-out pathogenic alleles, at most `n`."""
    taken = in_order_of_hash(pathogenic, windows, seed).head(n)
    edit = pl.concat_list(pl.struct("pos", "ref", "alt")).cast(EDITS)
    return taken.with_columns(edits=edit, holdout=pl.lit(HOLDOUT_CLINVAR))
