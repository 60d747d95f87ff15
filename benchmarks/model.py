"""Tuples per CPU second of the world model, forward and in training, and its rollout beside repeated forward calls.

    .venv/bin/python benchmarks/model.py [--context none] [--sizes small base] [--batch 256] [--threads 1] [--json FILE]

A tuple is a row: a state, its chain of edits, the states after them. Batches have 256 rows at d = 1,024, either of one
edit each or as in training, a tenth of two or three edits. A training step is forward, backward, clip and AdamW.
The share of the matrix peak is the arithmetic of the matrix products that torch runs, forward and backward
(`torch.utils.flop_counter`; attention, norms and the optimiser count as none), over what a product of two 2,048 x 2,048
matrices of the same type does per CPU second in this process. Weights are random: speed does not depend on them.
"""

from __future__ import annotations

import argparse
import tempfile
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from time import perf_counter, process_time
from typing import get_args

import numpy as np
import polars as pl
import torch
from measuring import Rate, compare, print_rates
from numpy.typing import NDArray
from states import CONTRACT, ROWS_A_SHARD, random_shard, start
from torch import Tensor
from torch.nn.functional import normalize
from torch.utils.flop_counter import FlopCounterMode

from geno_model.encoder.shared_prefix import LOCUS_SPANS
from geno_model.encoder.state_contract import Context
from geno_model.genomics.edits import EditType
from geno_model.genomics.samplers import complex_indel, indel, mnv, uniform_snv
from geno_model.genomics.tokens import N_COMPACT
from geno_model.predictor.batch import ModelBatch, collate, edit_columns
from geno_model.predictor.predictor import Predictor
from geno_model.predictor.world_model import Size, WorldModel, model_config
from geno_model.training.loop import TrainingSettings, train
from geno_model.training.schedule import adamw
from geno_model.training.shards import write_shard
from geno_model.training.state_store import StateStore
from geno_model.training.step import batch_loss

D_STATE = 1_024
WINDOW_BP = 12_288
ROLLOUT_ROWS = 64
# The public implementation at d_hidden 768 in float32, on the same kind of machine: tuples per CPU second.
PUBLIC = {"forward": 1_138.0, "training step": 328.0}
Facts = dict[str, object]


def random_edits(rng: np.random.Generator, n: int) -> pl.DataFrame:
    """n edits in the mix of a training batch, in random order: rel_pos, ref, alt, edit_type."""
    window = np.frombuffer(b"ACGT", dtype=np.uint8)[rng.integers(4, size=WINDOW_BP)]
    n_snv, n_indel, n_mnv = round(0.4 * n), round(0.4 * n), round(0.1 * n)
    drawn = [
        uniform_snv(window, n_snv, rng),
        indel(window, n_indel, rng),
        mnv(window, n_mnv, rng),
        complex_indel(window, n - n_snv - n_indel - n_mnv, rng),
    ]
    edits = pl.concat(drawn)[rng.permutation(n)]
    types = [EditType.of_lengths(len(ref), len(alt)) for ref, alt in edits.select("ref", "alt").iter_rows()]
    return edits.with_columns(pl.Series("edit_type", types, dtype=pl.Int64))


def random_rows(rng: np.random.Generator, k: NDArray[np.int64], context: Context) -> ModelBatch:
    """A batch of rows with k (B,) edits each, in a random window."""
    n = int(k.sum())
    edits = random_edits(rng, n)
    columns = edit_columns(
        edits["rel_pos"].to_numpy(),
        edits["edit_type"].to_numpy(),
        edits["ref"],
        edits["alt"],
        torch.randint(3, N_COMPACT, (n, 4)),
        torch.randint(3, N_COMPACT, (n, 4)),
        torch.randn(n, len(LOCUS_SPANS), D_STATE),
        torch.randn(n, D_STATE if context == "pool" else 0),
    )
    pool_token = torch.from_numpy(rng.integers(WINDOW_BP // 6, size=len(k)))
    return collate(normalize(torch.randn(len(k), D_STATE), dim=-1), pool_token, torch.from_numpy(k), columns)


def training_mix(rng: np.random.Generator, n_rows: int) -> NDArray[np.int64]:
    """Edits of each row (n_rows,): one, and two or three in a tenth of the rows."""
    k = np.ones(n_rows, dtype=np.int64)
    k[: n_rows // 10] = rng.integers(2, 4, size=n_rows // 10)
    return rng.permutation(k)


def forward_way(model: WorldModel, rows: ModelBatch, dtype: torch.dtype) -> Callable[[], int]:
    """Predictions of all rows, those of several edits apart from the others so that padding costs nothing."""
    is_single = rows.mask.sum(dim=1) == 1
    parts = [rows.rows(which.nonzero()[:, 0]) for which in (is_single, ~is_single) if which.any()]

    def way() -> int:
        with torch.autocast("cpu", dtype=torch.bfloat16, enabled=dtype == torch.bfloat16):
            return sum(len(model.predict(part)) for part in parts)

    return way


def training_way(model: WorldModel, rows: ModelBatch, dtype: torch.dtype) -> Callable[[], int]:
    """One step of training: the loss against random states, backward, clip, AdamW."""
    optimiser = adamw(model, 1e-6)
    targets, naive = normalize(torch.randn(*rows.mask.shape, D_STATE), dim=-1), torch.ones(len(rows.state))

    def way() -> int:
        loss = batch_loss(model.train(), rows, targets, naive, bf16=dtype == torch.bfloat16)
        optimiser.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimiser.step()
        return len(targets)

    return way


def operations(way: Callable[[], int]) -> float:
    """Floating point operations of the matrix products of one call, for each tuple."""
    was_fast = torch.backends.mha.get_fastpath_enabled()
    torch.backends.mha.set_fastpath_enabled(False)  # the fused Transformer layer of inference is not seen
    with FlopCounterMode(display=False) as counter:
        n = way()
    torch.backends.mha.set_fastpath_enabled(was_fast)
    return counter.get_total_flops() / n


def matrix_peak(dtype: torch.dtype) -> float:
    """Floating point operations per CPU second of a large matrix product."""
    matrix, best = torch.randn(2_048, 2_048).to(dtype), 0.0
    for _ in range(10):
        started = process_time()
        torch.mm(matrix, matrix)
        best = max(best, 2 * 2_048**3 / (process_time() - started))
    return best


def speeds(size: Size, context: Context, n_rows: int, rng: np.random.Generator) -> tuple[list[Rate], Facts]:
    """Forward and training rates of one size, in both types, on both kinds of batch, and their shares of the peak."""
    model = WorldModel(model_config(size, D_STATE, context), torch.randn(N_COMPACT, D_STATE))
    types = {"bfloat16": torch.bfloat16, "float32": torch.float32}
    peaks = {name: matrix_peak(dtype) for name, dtype in types.items()}
    rates: list[Rate] = []
    facts: Facts = {f"{size}_parameters": model.n_parameters()}
    for mix, k in (("K = 1", np.ones(n_rows, dtype=np.int64)), ("training mix", training_mix(rng, n_rows))):
        rows = random_rows(rng, k, context)
        for what, make in (("forward", forward_way), ("training step", training_way)):
            ways = {name: make(model, rows, dtype) for name, dtype in types.items()}
            work = operations(ways["float32"])
            found = compare(f"{size}, {mix}: {what}", ways)
            rates += found
            for rate in found:
                share = rate.per_cpu_second * work / peaks[rate.way]
                facts[f"{size}, {mix}, {what}, {rate.way}"] = (
                    f"{rate.per_cpu_second:,.0f} tuples per CPU s, {work / 1e6:.1f} MFLOP each, {share:.0%} of "
                    f"{peaks[rate.way] / 1e9:.0f} GFLOP/s, {rate.per_cpu_second / PUBLIC[what]:.2f} of the public one"
                )
    return rates, facts


@torch.inference_mode()
def rollouts(size: Size, context: Context, n_steps: int) -> list[Rate]:
    """Rolling K edits out with remembered keys and values, beside `forward` on the prefixes of 1..K edits."""
    config = replace(model_config(size, D_STATE, context).predictor, max_steps=n_steps)
    predictor = Predictor(config).eval()
    state, actions = torch.randn(ROLLOUT_ROWS, D_STATE), torch.randn(ROLLOUT_ROWS, n_steps, config.d_action)
    pool_token, shift = torch.full((ROLLOUT_ROWS,), 1_000), torch.zeros(ROLLOUT_ROWS, n_steps, 0)

    def repeated() -> Tensor:
        calls = [predictor(state, actions[:, :k], pool_token, shift[:, :k])[:, -1] for k in range(1, n_steps + 1)]
        return torch.stack(calls, dim=1)

    ways = {
        "remembered": lambda: predictor.rollout(state, actions, pool_token, shift)[..., 0].numel(),
        "repeated forward": lambda: repeated()[..., 0].numel(),
    }
    return compare(f"{size}, rollout of K = {n_steps}: states", ways, rounds=2)


def whole_run(size: Size, batch_size: int, n_rows: int = 10_000, n_steps: int = 12) -> Facts:
    """A short training from state shards on disk: how long to its first step, and how long it waits for data."""
    rng = np.random.default_rng(0)
    settings = TrainingSettings(size, n_steps, batch_size, 1e-4, seed_init=1, seed_order=2)
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch) / "states"
        start(folder, D_STATE)
        for first in range(0, n_rows, ROWS_A_SHARD):
            rows, columns = random_shard(first, min(ROWS_A_SHARD, n_rows - first), D_STATE, rng)
            write_shard(folder / "chr1" / f"{first:06d}.parquet", rows, columns, CONTRACT, str(first))
        began = perf_counter()
        result = train(StateStore(folder), settings, Path(scratch) / "checkpoint")
        seconds = perf_counter() - began
    return {
        f"{size}, training from {n_rows:,} rows on disk": f"first step after {result.seconds_to_first_step:.1f} s, "
        f"{result.waiting_share:.2%} of the time waiting for data, {result.tuples_per_second:,.0f} rows a second, "
        f"{seconds:.0f} s in all"
    }


def main() -> None:
    """Run all measurements and print the tables."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--context", choices=get_args(Context), default="none")
    parser.add_argument("--sizes", nargs="+", choices=get_args(Size), default=["small", "base"])
    parser.add_argument("--batch", type=int, default=256)
    parser.add_argument("--threads", type=int, default=1, help="more than one waits, and waiting is counted")
    parser.add_argument("--json", type=Path, default=None)
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    torch.manual_seed(0)
    rng = np.random.default_rng(0)
    rates: list[Rate] = []
    facts: Facts = {"public implementation, d_hidden 768, float32, tuples per CPU s": PUBLIC}
    for size in arguments.sizes:
        found, lines = speeds(size, arguments.context, arguments.batch, rng)
        rates, facts = rates + found, facts | lines
    for n_steps in (5, 20):
        rates += rollouts(arguments.sizes[0], arguments.context, n_steps)
    facts |= whole_run(arguments.sizes[0], arguments.batch)
    print_rates(rates, arguments.json, **facts)


if __name__ == "__main__":
    main()
