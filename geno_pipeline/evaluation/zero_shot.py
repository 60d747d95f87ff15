"""What the frozen encoder alone says of an allele: the zero-shot baseline (spec 6).

Belongs here: the published way to ask it (centred window, full log-likelihood difference; evaluation/vep_eval.py of
huggingface/carbon), and which alleles are asked. Does not: likelihoods (`encoder.likelihood`).

Each allele is a batch of its own two windows, so that its number does not depend on what else is scored.
"""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import polars as pl

from geno_model.encoder.carbon import CarbonStateEncoder
from geno_model.encoder.likelihood import log_likelihood_difference
from geno_model.genomics.edits import EditType, RelEdit
from geno_model.genomics.genome import Genome
from geno_model.scoring.windows import place
from geno_pipeline.build.hashing import ALLELE_KEY, stable_hash


def zero_shot(
    alleles: pl.DataFrame,
    genome: Genome,
    encoder: CarbonStateEncoder,
    window_bp: int,
    threads: ThreadPoolExecutor,
    progress: Callable[[int], None] | None = None,
) -> pl.Series:
    """log p(edited window) - log p(window) in nats of each allele (contig, pos, ref, alt, edit_type), in their order.

    Null where no window of `window_bp` fits or has few enough N, and where the two windows differ in their `<oov>`.
    progress: told the number of alleles done.
    """
    windows, _ = place(alleles, genome, "centred", window_bp, window_bp)
    rows = alleles.with_row_index("_row").join(windows, on="_row", how="inner", maintain_order="left")

    def difference(contig: str, start: int, pos: int, ref: str, alt: str, kind: int) -> float:
        edit = RelEdit(pos - 1 - start, EditType(kind), ref, alt)
        return float(log_likelihood_difference(encoder, genome.window(contig, start, start + window_bp), [[edit]])[0])

    names = ("contig", "window_start_bp", "pos", "ref", "alt", "edit_type")
    found: list[float] = []
    for value in threads.map(difference, *(rows[name].to_list() for name in names)):
        found.append(value)
        if progress:
            progress(len(found))
    scored = rows.select("_row", zero_shot=pl.Series(found, dtype=pl.Float64).fill_nan(None))
    return alleles.with_row_index("_row").join(scored, on="_row", how="left", maintain_order="left")["zero_shot"]


def choose(alleles: pl.DataFrame, most: int | None, seed: int) -> pl.DataFrame:
    """Distinct alleles (KEY, edit_type) of all tracks: of each track and label the `most` that come first by hash."""
    if most is not None:
        hashes = stable_hash(alleles, ALLELE_KEY, seed=seed, purpose="zero-shot")
        ordered = alleles.with_columns(hashes.alias("_hash")).sort("_hash", *ALLELE_KEY)
        alleles = ordered.filter(pl.int_range(pl.len()).over("track", "label") < most)
    return alleles.select(*ALLELE_KEY, "edit_type").unique().sort(*ALLELE_KEY)
