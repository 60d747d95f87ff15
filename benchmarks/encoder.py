"""Edits per second of the shared-prefix pass beside the plain way: same weights, same windows, one run.

    .venv/bin/python benchmarks/encoder.py [--windows 4] [--hidden 128] [--layers 4] [--json FILE]

Plain: both alleles of every edit as whole windows, in the batch size that is fastest here. Tokens are counted, not
estimated; the share of the matrix peak is the arithmetic of those tokens over that of a large matrix product, measured
in the same run. The encoder has random weights: speed does not depend on what they are. With a
model that costs nothing, what is left is our own work around it (one thread, so that no thread waits and is counted).
"""

from __future__ import annotations

import argparse
import resource
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import torch
from measuring import Rate, compare, print_rates
from transformers.cache_utils import DynamicCache

from geno_model.encoder.carbon import CarbonStateEncoder, save_encoder
from geno_model.encoder.shared_prefix import encode_window
from geno_model.genomics.edits import EditType, RelEdit, apply_edits_array
from geno_pipeline.build.pretraining import PretrainSettings, new_model

WINDOW_BP = 12_288
CORE = (2_048, 10_240)  # where a window is the most central one of the grid
EDITS_A_WINDOW = (1, 8, 13, 64)
Case = tuple[np.ndarray, list[RelEdit]]


def random_encoder(hidden: int, n_layers: int) -> CarbonStateEncoder:
    """An encoder of Carbon's architecture with random weights, heads of 64."""
    settings = PretrainSettings(hidden, n_layers, max(hidden // 64, 1), 1, 1, 1e-3, seed=0, time_budget_s=None)
    with tempfile.TemporaryDirectory() as folder:
        save_encoder(new_model(settings), Path(folder) / "encoder")
        return CarbonStateEncoder.load(
            Path(folder) / "encoder",
            {
                "window_bp": WINDOW_BP, "stride_bp": 8_192, "fit_side": "right", "layer": -1,
                "pooling": "centered_mean", "radius_tokens": 256, "normalise": True, "dtype": "float32",
                "context": "locus",
            },
        )  # fmt: skip


class FreeLlama(torch.nn.Module):
    """Stands in for the layers of a Llama and costs nothing: every hidden state is a view of the same zeros."""

    def __init__(self, hidden: int) -> None:
        super().__init__()
        self.zeros = torch.zeros(1 << 14, hidden)
        self.layers: list[torch.nn.Module] = []

    def forward(self, input_ids: torch.Tensor, **_: object) -> SimpleNamespace:
        return SimpleNamespace(last_hidden_state=self.embed_tokens(input_ids), past_key_values=DynamicCache())

    def embed_tokens(self, ids: torch.Tensor) -> torch.Tensor:
        return self.zeros[: ids.numel()].view(*ids.shape, -1)

    def rotary_emb(self, hidden: torch.Tensor, position_ids: torch.Tensor) -> None:
        pass

    def norm(self, hidden: torch.Tensor) -> torch.Tensor:
        return hidden


def free_encoder(hidden: int) -> CarbonStateEncoder:
    """An encoder whose model costs nothing."""
    encoder = random_encoder(hidden, 1)
    encoder.model.model = FreeLlama(hidden)  # pyright: ignore[reportAttributeAccessIssue]
    return encoder


def random_cases(rng: np.random.Generator, n_windows: int, n_edits: int) -> list[Case]:
    """Random windows with SNVs in their core, sorted, one in four an insertion of three bases."""
    cases: list[Case] = []
    for _ in range(n_windows):
        window = np.frombuffer(b"ACGT", dtype=np.uint8)[rng.integers(4, size=WINDOW_BP)]
        bases = window.tobytes().decode()
        edits = [
            RelEdit(p, EditType.SNV, bases[p], "ACGT"["ACGT".index(bases[p]) - 1])
            if number % 4
            else RelEdit(p, EditType.INS, bases[p], bases[p] + "GAT")
            for number, p in enumerate(np.sort(rng.choice(np.arange(*CORE), n_edits, replace=False)).tolist())
        ]
        cases.append((window, edits))
    return cases


def plain(encoder: CarbonStateEncoder, cases: list[Case], batch_size: int) -> torch.Tensor:
    """States after each edit; every window in full, its two alleles and `batch_size` windows at a time."""
    windows, loci = [], []
    for window, edits in cases:
        for edit in edits:
            windows += [window, apply_edits_array(window, [edit])[:WINDOW_BP]]
            loci += [edit.rel_pos] * 2
    parts = [
        encoder.encode_batch(np.stack(windows[start : start + batch_size]), loci[start : start + batch_size])
        for start in range(0, len(windows), batch_size)
    ]
    return torch.cat(parts)[1::2]


def shared(encoder: CarbonStateEncoder, cases: list[Case]) -> torch.Tensor:
    """The same states, each window from one reference pass."""
    return torch.cat(
        [
            encode_window(
                encoder, window, [[edit] for edit in edits], np.array([edit.rel_pos // 6 for edit in edits])
            ).targets
            for window, edits in cases
        ]
    )


def matrix_peak() -> float:
    """Floating point operations per second of a large float32 matrix product, all threads."""
    matrix, best = torch.randn(2_048, 2_048), 0.0
    for _ in range(10):
        started = time.perf_counter()
        torch.mm(matrix, matrix)
        best = max(best, 2 * 2_048**3 / (time.perf_counter() - started))
    return best


def operations(encoder: CarbonStateEncoder, n_tokens: float, mean_context: float) -> float:
    """Arithmetic of `n_tokens` tokens that attend to `mean_context` others on average: layers only, no embedding."""
    config = encoder.model.config
    head_dim = config.hidden_size // config.num_attention_heads
    width = config.hidden_size
    linear = width * (2 * width + 2 * int(config.num_key_value_heads or 0) * head_dim + 3 * config.intermediate_size)
    return n_tokens * config.num_hidden_layers * (2 * linear + 4 * mean_context * width)


def counted(encoder: CarbonStateEncoder, way: Callable[[], object], n_edits: int) -> float:
    """Tokens that the model was run on for each edit."""
    before = encoder.n_tokens_run
    way()
    return (encoder.n_tokens_run - before) / n_edits


def best_batch(encoder: CarbonStateEncoder, cases: list[Case]) -> int:
    """The batch size at which the plain way is fastest, of 2, 4 and 8."""
    seconds = {}
    for size in (2, 4, 8):
        started = time.process_time()
        plain(encoder, cases, size)
        seconds[size] = time.process_time() - started
    return min(seconds, key=lambda size: seconds[size])


def resident_mib() -> float:
    """Memory that this process holds now (Linux)."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * resource.getpagesize() / 2**20


def growth_over_many_edits(encoder: CarbonStateEncoder, rng: np.random.Generator, n_edits: int = 10_000) -> float:
    """MiB that the process grows by from the 1,000th edit to the last, 50 edits a window."""
    middle = 0.0
    for number in range(n_edits // 50):
        shared(encoder, random_cases(rng, 1, 50))
        if number == n_edits // 500:
            middle = resident_mib()
    return round(resident_mib() - middle, 1)


def main() -> None:
    """Run all ways and print the tables."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--windows", type=int, default=4)
    parser.add_argument("--hidden", type=int, default=128)
    parser.add_argument("--layers", type=int, default=4)
    parser.add_argument("--json", type=Path, default=None)
    arguments = parser.parse_args()
    rng, encoder, peak = np.random.default_rng(0), random_encoder(arguments.hidden, arguments.layers), matrix_peak()
    rates: list[Rate] = []
    facts: dict[str, object] = {"matrix_peak_gflops": round(peak / 1e9, 1)}
    batch = best_batch(encoder, random_cases(rng, 1, 4))
    for n_edits in EDITS_A_WINDOW:
        cases = random_cases(rng, max(arguments.windows * 8 // n_edits, 1), n_edits)
        few = [(window, edits[:8]) for window, edits in cases[:2]]  # the plain way takes long
        worst = float((plain(encoder, few, batch) - shared(encoder, few)).abs().max())
        ways = {
            "shared prefix": lambda cases=cases: len(shared(encoder, cases)),
            f"plain, batch of {batch}": lambda few=few: len(plain(encoder, few, batch)),
        }
        found = compare(f"{n_edits} edits a window", ways, rounds=2, warm_up=False)
        rates += found
        tokens, plain_tokens = (counted(encoder, way, rate.n) for way, rate in zip(ways.values(), found, strict=True))
        mean_context = np.mean([edit.rel_pos / 6 for _, edits in cases for edit in edits]) + 128
        work = operations(encoder, tokens, float(mean_context)) * found[0].per_second
        facts[f"at_{n_edits}"] = (
            f"{tokens:.0f} tokens an edit (plain {plain_tokens:.0f}), {work / peak:.0%} of the matrix peak, "
            f"largest difference {worst:.1e}"
        )
    torch.set_num_threads(1)
    for hidden in (128, 1_024):
        free, cases = free_encoder(hidden), random_cases(rng, 20, 13)
        ways = {f"shared prefix, d = {hidden}": lambda free=free, cases=cases: len(shared(free, cases))}
        rates += compare("a model that costs nothing, 13 edits a window", ways)
    facts["MiB_more_after_10_000_edits"] = growth_over_many_edits(random_encoder(64, 1), rng)
    print_rates(rates, arguments.json, **facts)


if __name__ == "__main__":
    main()
