"""Raw scores: how far the predicted state of an edited window lies from the real one (spec 5, "Scores").

Belongs here: placing alleles in windows, the one pass of encoder and model over each, the two numbers that come out,
and the context of each allele. Usable before a release exists: calibration is made from these rows. Does not:
percentiles (`calibration`), reading and writing VCF.

The concept, for a variant in window w, pooled at the token c of its first base:

    s = enc(w, c)        s' = enc(edited w, c)        ŝ = model(s, edit)
    surprise_raw = ||ŝ - s'||                         displacement = 1 - cos(ŝ, s) = ||ŝ - s||² / 2   (unit vectors)

Alleles are grouped by window, so that each window is encoded once for all of its alleles.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import polars as pl
import torch
from numpy.typing import NDArray

from geno_model.encoder.carbon import CarbonStateEncoder
from geno_model.encoder.pooling import BASES_PER_TOKEN
from geno_model.encoder.shared_prefix import encode_window
from geno_model.genomics.context import Context
from geno_model.genomics.edits import EditType, RelEdit
from geno_model.genomics.genome import Genome, most_central
from geno_model.predictor.world_model import WorldModel, model_batch
from geno_model.scoring.errors import ScoringError

MAX_N_FRACTION = 0.05  # of a window; as in the pipeline's training windows
BATCH_EDITS = 64
OUT_OF_RANGE = "out_of_range"

_ALLELE = ("contig", "pos", "ref", "alt", "edit_type")
RAW_SCHEMA = pl.Schema(
    {
        "contig": pl.String,
        "pos": pl.Int64,
        "ref": pl.String,
        "alt": pl.String,
        "edit_type": pl.UInt8,
        "window_start_bp": pl.Int64,
        "region_class": pl.String,
        "gc": pl.Float32,
        "repeat_class": pl.String,
        "surprise_raw": pl.Float32,
        "displacement": pl.Float32,
        "reason": pl.String,
    }
)


def score_raw(
    alleles: pl.DataFrame,
    genome: Genome,
    encoder: CarbonStateEncoder,
    model: WorldModel,
    context: Context,
    *,
    batch_edits: int = BATCH_EDITS,
    progress: Callable[[int], None] | None = None,
) -> pl.DataFrame:
    """Raw scores of alleles: one row for each, in their order, with the columns of `RAW_SCHEMA`.

    alleles: contig (a name of the genome), pos (1-based), ref, alt, edit_type; normalised, fitting the reference.
    batch_edits: alleles that go through the model at once. progress: told how many alleles are done, window by window.
    An allele without a window (contig too short, allele over the window's edge, more than 5 % N) has the reason
    `out_of_range` and null scores. Raises `ScoringError` when the model gives a number that is not finite.
    """
    rows = placed(alleles.select(_ALLELE), genome, encoder.contract.window_bp, encoder.contract.stride_bp)
    scored = rows.filter(pl.col("reason").is_null())
    surprise, displacement = _two_scores(scored, genome, encoder, model, batch_edits, progress)
    annotated = context.annotate(scored).select(
        "_row",
        "region_class",
        "gc",
        "repeat_class",
        pl.Series("surprise_raw", surprise, dtype=pl.Float32),
        pl.Series("displacement", displacement, dtype=pl.Float32),
    )
    joined = rows.join(annotated, on="_row", how="left", maintain_order="left")
    return joined.select(RAW_SCHEMA.names()).cast(RAW_SCHEMA)


def placed(alleles: pl.DataFrame, genome: Genome, window_bp: int, stride_bp: int) -> pl.DataFrame:
    """Alleles in their order with _row, window_start_bp, window_end_bp (null without a window) and reason."""
    start = np.full(alleles.height, -1, dtype=np.int64)
    for (contig,), rows in alleles.with_row_index("_row").group_by("contig"):
        length = genome.contigs[str(contig)]
        start[rows["_row"].to_numpy()] = most_central(rows["pos"].to_numpy() - 1, length, window_bp, stride_bp)
    fits = (pl.col("pos") - 1 + pl.col("ref").str.len_bytes().cast(pl.Int64)) <= pl.col("window_start_bp") + window_bp
    placed = alleles.with_row_index("_row").with_columns(pl.Series("window_start_bp", start))
    windows = placed.filter((pl.col("window_start_bp") >= 0) & fits).select("contig", "window_start_bp").unique()
    known = [
        np.count_nonzero(genome.window(contig, first, first + window_bp) == ord("N")) <= MAX_N_FRACTION * window_bp
        for contig, first in windows.iter_rows()
    ]
    windows = windows.with_columns(pl.Series("_is_known", known, dtype=pl.Boolean))
    placed = placed.join(windows, on=["contig", "window_start_bp"], how="left", maintain_order="left")
    is_good = pl.col("_is_known").fill_null(False) & fits
    return placed.with_columns(
        pl.when(is_good).then("window_start_bp").alias("window_start_bp"),
        pl.when(is_good).then(pl.col("window_start_bp") + window_bp).alias("window_end_bp"),
        pl.when(~is_good).then(pl.lit(OUT_OF_RANGE)).alias("reason"),
    ).drop("_is_known")


def _two_scores(
    rows: pl.DataFrame,
    genome: Genome,
    encoder: CarbonStateEncoder,
    model: WorldModel,
    batch_edits: int,
    progress: Callable[[int], None] | None,
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """surprise_raw and displacement (n,) of rows that have a window."""
    surprise, displacement = np.empty(rows.height, dtype=np.float32), np.empty(rows.height, dtype=np.float32)
    n_done = 0
    numbered = rows.with_row_index("_index")
    for _, members in numbered.group_by("contig", "window_start_bp", maintain_order=True):
        window = _Window.of(members, genome, encoder.contract.window_bp)
        index = members["_index"].to_numpy()
        surprise[index], displacement[index] = _score_window(window, encoder, model, batch_edits)
        n_done += len(index)
        if progress:
            progress(n_done)
    is_bad = ~(np.isfinite(surprise) & np.isfinite(displacement))
    if is_bad.any():
        raise ScoringError(
            f"the model gave numbers that are not finite for {int(is_bad.sum())} of {rows.height} alleles; "
            "the model or the encoder is damaged: verify the release, or train again"
        )
    return surprise, displacement


@dataclass(frozen=True, slots=True)
class _Window:
    """A window's bases (window_bp,) and the alleles in it, one chain of one edit each."""

    bases: NDArray[np.uint8]
    chains: Sequence[Sequence[RelEdit]]
    pool_tokens: NDArray[np.int64]

    @classmethod
    def of(cls, members: pl.DataFrame, genome: Genome, window_bp: int) -> _Window:
        """members: rows of one window."""
        start = int(members["window_start_bp"][0])
        bases = genome.window(members["contig"][0], start, start + window_bp)
        rel_pos = members["pos"].to_numpy() - 1 - start
        chains = [
            [RelEdit(offset, EditType(kind), ref, alt)]
            for offset, kind, ref, alt in zip(
                rel_pos.tolist(), members["edit_type"], members["ref"], members["alt"], strict=True
            )
        ]
        return cls(bases, chains, rel_pos // BASES_PER_TOKEN)


def _score_window(
    window: _Window, encoder: CarbonStateEncoder, model: WorldModel, batch_edits: int
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """surprise_raw and displacement (n,) of the alleles of one window: every call of encoder and model is here."""
    encoded = encode_window(encoder, window.bases, window.chains, window.pool_tokens)
    batch = model_batch(encoded, window.chains, window.pool_tokens)
    parts = [model.predict(batch.rows(index)) for index in torch.arange(len(window.chains)).split(batch_edits)]
    predicted = torch.cat(parts)[:, 0]
    surprise = (predicted - encoded.targets).norm(dim=1)
    displacement = (predicted - encoded.reference).square().sum(dim=1) / 2
    return surprise.numpy(), displacement.numpy()
