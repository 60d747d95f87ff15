"""Raw scores: how far the predicted state of an edited window lies from the real one (spec 5, "Scores").

Belongs here: the one pass of encoder and model over each window, the numbers that come out, and the context of each
allele. Usable before a release exists: calibration is made from these rows. Does not: which windows (`windows`),
percentiles (`calibration`), reading and writing VCF.

The concept, for a variant in window w, pooled at the token c of its first base:

    s = enc(w, c)        s' = enc(edited w, c)        ŝ = model(s, edit)
    surprise_raw = ||ŝ - s'||                         displacement = 1 - cos(ŝ, s) = ||ŝ - s||² / 2   (unit vectors)
    delta_loglik = log p(edited w) - log p(w) up to the pool's end, nats (`encoder.edit_likelihood`); < 0 is less likely

An evaluation asks the same pass for what it compares with: no_change = ||s - s'||, and both heads of another model.

Alleles are grouped by window, so that each window is encoded once for all of its alleles. The displacement alone needs
no pass over an edited window.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import nullcontext
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
from geno_model.genomics.genome import Genome
from geno_model.predictor.world_model import WorldModel, model_batch
from geno_model.release.config import WindowPolicy
from geno_model.scoring.errors import ScoringError
from geno_model.scoring.windows import combine, place

BATCH_EDITS = 16
HEADS = ("surprise_raw", "displacement", "delta_loglik")
BASELINES = ("no_change", "random_surprise", "random_displacement")

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
        "delta_loglik": pl.Float32,
        "reason": pl.String,
    }
)


@dataclass(frozen=True, slots=True)
class Heads:
    """Which scores are wanted; the others are null."""

    surprise: bool = True
    displacement: bool = True
    delta_loglik: bool = False


DEFAULT_HEADS = Heads()


def score_raw(
    alleles: pl.DataFrame,
    genome: Genome,
    encoder: CarbonStateEncoder,
    model: WorldModel,
    context: Context,
    *,
    policy: WindowPolicy = "most_central",
    heads: Heads = DEFAULT_HEADS,
    untrained: WorldModel | None = None,
    batch_edits: int = BATCH_EDITS,
    pool: ThreadPoolExecutor | None = None,
    progress: Callable[[int], None] | None = None,
) -> pl.DataFrame:
    """Raw scores of alleles: one row for each, in their order, with the columns of `RAW_SCHEMA`.

    alleles: contig (a name of the genome), pos (1-based), ref, alt, edit_type; normalised, fitting the reference.
    untrained: a model to compare with; adds the columns `BASELINES`, no_change and this model's two heads.
    batch_edits: alleles that go through the model at once; fewer are filled up. pool: threads of `window_threads`, a
    window in each at a time; None makes one for each core. progress: told how many alleles are done, window by window.
    On a CPU what else is scored, its order and the number of threads change no bit of an allele's numbers; another
    machine, a GPU's batches, or another batch_edits may change the last of a state's digits (about 1e-7).
    window_start_bp and the context are those of an allele's first window. An allele without a window (`windows.place`)
    has a reason and null scores: `out_of_range` (contig too short, allele over the window's edge, more than 5 % N) or
    `little_context` (near an end of its contig).
    Raises `ScoringError` when the model gives a number that is not finite.
    """
    window_bp = encoder.contract.window_bp
    numbered = alleles.select(_ALLELE).with_row_index("_row")
    windows, left_out = place(alleles, genome, policy, window_bp, encoder.contract.stride_bp)
    placed = windows.join(numbered, on="_row", how="left", maintain_order="left")
    tell = _in_alleles(progress, windows)

    def score_window(window: _Window) -> NDArray[np.float32]:
        return _score_window(window, encoder, model, heads, untrained, batch_edits)

    with nullcontext(pool) if pool else window_threads() as threads:
        found = _scores(placed, genome, window_bp, score_window, threads, tell)
    _require_finite(found, heads)
    schema = pl.Schema(RAW_SCHEMA | dict.fromkeys(BASELINES if untrained else (), pl.Float32))
    names = [name for name in (*HEADS, *BASELINES) if name in schema]
    columns = [pl.Series(name, values, nan_to_null=True) for name, values in zip(names, found, strict=False)]
    scores = combine(windows.with_columns(columns), policy)
    annotated = context.annotate(
        scores.join(numbered, on="_row", how="left", maintain_order="left").with_columns(
            (pl.col("window_start_bp") + window_bp).alias("window_end_bp")
        )
    )
    joined = numbered.join(annotated.drop(_ALLELE), on="_row", how="left", maintain_order="left")
    told = joined.join(left_out, on="_row", how="left", maintain_order="left")
    return told.select(schema.names()).cast(schema)  # pyright: ignore[reportArgumentType]


def _in_alleles(progress: Callable[[int], None] | None, windows: pl.DataFrame) -> Callable[[int], None]:
    """Turn a number of (allele, window) pairs that are done into one of alleles."""
    n_alleles = windows["_row"].n_unique()

    def tell(n_done: int) -> None:
        if progress:
            progress(n_done * n_alleles // windows.height)

    return tell


def n_cores() -> int:
    """CPU cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def window_threads(n_threads: int | None = None) -> ThreadPoolExecutor:
    """Threads to score windows in, each with one thread of PyTorch; None is one for each core.

    PyTorch's own threads would split a window's arrays at places that depend on their number, and with them the last
    bits; whole windows in threads of ours do not, and do not wait for each other. Keep them for the next call: memory
    that the matrix library takes for a thread outlives it.
    """
    return ThreadPoolExecutor(n_threads or n_cores(), initializer=torch.set_num_threads, initargs=(1,))


def _scores(
    rows: pl.DataFrame,
    genome: Genome,
    window_bp: int,
    score_window: Callable[[_Window], NDArray[np.float32]],
    threads: ThreadPoolExecutor,
    progress: Callable[[int], None],
) -> NDArray[np.float32]:
    """`HEADS` and `BASELINES` (6, n) of alleles with the window_start_bp that each is scored in, windows at once."""
    found = np.full((len(HEADS) + len(BASELINES), rows.height), np.nan, dtype=np.float32)
    numbered = rows.with_row_index("_index")
    groups = [members for _, members in numbered.group_by("contig", "window_start_bp", maintain_order=True)]
    n_done, torch_threads = 0, torch.get_num_threads()
    running = [threads.submit(score_window, _Window.of(members, genome, window_bp)) for members in groups]
    try:
        for members, scores in zip(groups, running, strict=True):
            found[:, members["_index"].to_numpy()] = scores.result()
            n_done += members.height
            progress(n_done)
    finally:
        for window in running:
            window.cancel()
        torch.set_num_threads(torch_threads)  # PyTorch gives new threads the number that was set last
    return found


def _require_finite(found: NDArray[np.float32], heads: Heads) -> None:
    wanted = [heads.surprise, heads.displacement]
    if n_bad := int((~np.isfinite(found[:2][wanted])).any(axis=0).sum()):
        raise ScoringError(
            f"the model gave numbers that are not finite for {n_bad} of {found.shape[1]} alleles; "
            "the model or the encoder is damaged: verify the release, or train again"
        )


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
    window: _Window,
    encoder: CarbonStateEncoder,
    model: WorldModel,
    heads: Heads,
    untrained: WorldModel | None,
    batch_edits: int,
) -> NDArray[np.float32]:
    """`HEADS` and `BASELINES` (6, n) of a window's alleles, NaN where not asked: all calls of encoder and models."""
    encoded = encode_window(
        encoder,
        window.bases,
        window.chains,
        window.pool_tokens,
        with_targets=heads.surprise,
        with_likelihood=heads.delta_loglik,
    )
    found = torch.full((len(HEADS) + len(BASELINES), len(window.chains)), torch.nan)

    def judge(judged: WorldModel, surprise: int, displacement: int) -> None:
        batch = model_batch(encoded, window.chains, window.pool_tokens)
        device = next(judged.parameters()).device
        n = len(window.chains)
        # Every batch is full, its rows repeated: a matrix of another height may be multiplied in another order.
        rows = torch.arange(-(-n // batch_edits) * batch_edits).clamp(max=n - 1).split(batch_edits)
        predicted = torch.cat([judged.predict(batch.rows(index).to(device)) for index in rows])[:n, 0].cpu()
        if heads.surprise:
            found[surprise] = (predicted - encoded.targets).norm(dim=1)
        if heads.displacement:
            found[displacement] = (predicted - encoded.reference).square().sum(dim=1) / 2

    if heads.surprise or heads.displacement:
        judge(model, 0, 1)
    if heads.delta_loglik:
        found[2] = encoded.delta_loglik.float()
    if untrained is not None:
        if heads.surprise:
            found[3] = (encoded.reference - encoded.targets).norm(dim=1)
        judge(untrained, 4, 5)
    return found.numpy()
