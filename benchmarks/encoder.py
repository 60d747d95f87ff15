"""Edits per second of the shared-prefix pass beside the plain way: same weights, same windows, one run.

    .venv/bin/python benchmarks/encoder.py [--edits 8] [--windows 3] [--json FILE]

Plain: every edited window in full, reference and edited, as a batch of two. Tokens are counted, not estimated. The
encoder is one of the demo's size with random weights: speed does not depend on what the weights are.
"""

from __future__ import annotations

import argparse
import json
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from rich.console import Console
from rich.table import Table

from geno_model.encoder.carbon import CarbonStateEncoder, save_encoder
from geno_model.encoder.shared_prefix import encode_window
from geno_model.genomics.edits import EditType, RelEdit, apply_edits_array
from geno_pipeline.build.pretraining import PretrainSettings, new_model

WINDOW_BP = 12_288
CORE = (2_048, 10_240)  # where a window is the most central one of the grid


def demo_sized_encoder() -> CarbonStateEncoder:
    """Hidden 128, four layers, random weights."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "encoder"
        save_encoder(new_model(PretrainSettings(128, 4, 2, 1, 1, 1e-3, seed=0, time_budget_s=None)), path)
        fields = {
            "window_bp": WINDOW_BP,
            "stride_bp": 8_192,
            "fit_side": "right",
            "layer": -1,
            "pooling": "centered_mean",
        }
        return CarbonStateEncoder.load(
            path, {**fields, "radius_tokens": 256, "normalise": True, "dtype": "float32", "context": "locus"}
        )


def random_edits(rng: np.random.Generator, n_edits: int) -> tuple[np.ndarray, list[RelEdit]]:
    """A random window and SNVs in its core, sorted."""
    window = np.frombuffer(b"ACGT", dtype=np.uint8)[rng.integers(4, size=WINDOW_BP)]
    places = np.sort(rng.choice(np.arange(*CORE), n_edits, replace=False)).tolist()
    bases = window.tobytes().decode()
    return window, [RelEdit(p, EditType.SNV, bases[p], "ACGT"["ACGT".index(bases[p]) - 1]) for p in places]


def plain(encoder: CarbonStateEncoder, window: np.ndarray, edits: list[RelEdit]) -> torch.Tensor:
    """States after each edit, every window in full."""
    pairs = [(np.stack([window, apply_edits_array(window, [edit])]), edit.rel_pos) for edit in edits]
    return torch.stack([encoder.encode_batch(both, [locus, locus])[1] for both, locus in pairs])


def shared(encoder: CarbonStateEncoder, window: np.ndarray, edits: list[RelEdit]) -> torch.Tensor:
    """The same states from one reference pass."""
    tokens = np.array([edit.rel_pos // 6 for edit in edits])
    return encode_window(encoder, window, [[edit] for edit in edits], tokens).targets


def measure(way: Callable[..., torch.Tensor], encoder: CarbonStateEncoder, cases: list) -> tuple[float, float, list]:
    """Edits per second, tokens per edit, and the states."""
    n_edits, before, started = sum(len(edits) for _, edits in cases), encoder.n_tokens_run, time.perf_counter()
    states = [way(encoder, window, edits) for window, edits in cases]
    seconds = time.perf_counter() - started
    return n_edits / seconds, (encoder.n_tokens_run - before) / n_edits, states


def main() -> None:
    """Run both ways and print the table."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--edits", type=int, default=8, help="edits in a window")
    parser.add_argument("--windows", type=int, default=3)
    parser.add_argument("--json", type=Path, default=None)
    arguments = parser.parse_args()
    encoder, rng = demo_sized_encoder(), np.random.default_rng(0)
    cases = [random_edits(rng, arguments.edits) for _ in range(arguments.windows)]
    shared(encoder, *cases[0])  # warm up
    rows = {}
    for name, way in (("plain", plain), ("shared prefix", shared)):
        rate, tokens, states = measure(way, encoder, cases)
        rows[name] = {"edits_per_second": rate, "tokens_per_edit": tokens, "states": states}
    worst = max(float((a - b).abs().max()) for a, b in zip(*(row.pop("states") for row in rows.values()), strict=True))
    table = Table(title=f"{arguments.edits} edits a window, largest difference {worst:.1e}")
    for column in ("way", "edits/s", "tokens/edit", "times plain"):
        table.add_column(column, justify="right")
    for name, row in rows.items():
        row["times_plain"] = row["edits_per_second"] / rows["plain"]["edits_per_second"]
        table.add_row(
            name, f"{row['edits_per_second']:.1f}", f"{row['tokens_per_edit']:.0f}", f"{row['times_plain']:.1f}"
        )
    Console().print(table)
    if arguments.json:
        arguments.json.write_text(json.dumps({"largest_difference": worst, **rows}, indent=1) + "\n")


if __name__ == "__main__":
    main()
