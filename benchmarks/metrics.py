"""Bootstraps of the evaluation's figures beside a loop over resamples with scikit-learn and SciPy.

    .venv/bin/python benchmarks/metrics.py [--n 1000 10000 50000] [--json F]

1,000 resamples of n made-up variants with scores that are all different. The loop draws the same kind of resamples,
`N_LOOPED` of them, and its rate stands for a thousand; ours makes all.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable
from pathlib import Path

import numpy as np
from measuring import Rate, compare, print_rates
from numpy.typing import NDArray
from scipy.stats import spearmanr
from sklearn.metrics import average_precision_score, roc_auc_score

from geno_pipeline.evaluation.metrics import auprc_by_chromosome, auroc_difference, rank, spearman

N_RESAMPLES, N_LOOPED = 1_000, 10
N_CHROMOSOMES = 22

Floats = NDArray[np.float64]


def made_up(n: int) -> tuple[NDArray[np.int64], Floats, Floats, NDArray[np.int64]]:
    """Labels (three in ten positive), two scores that go together, chromosomes."""
    rng = np.random.default_rng(0)
    labels = (rng.random(n) < 0.3).astype(np.int64)
    first = rng.normal(labels, 1)
    return labels, first, first + rng.normal(size=n), rng.integers(0, N_CHROMOSOMES, n)


def looped(labels: NDArray[np.int64], figure: Callable[[NDArray[np.intp]], float]) -> Callable[[], int]:
    """A loop over stratified resamples of rows."""
    sides = [np.flatnonzero(labels == label) for label in (1, 0)]

    def loop() -> int:
        rng = np.random.default_rng(1)
        for _ in range(N_LOOPED):
            figure(np.concatenate([rng.choice(side, len(side)) for side in sides]))
        return N_LOOPED

    return loop


def rates(n: int) -> list[Rate]:
    """Resamples a second of each figure at n variants."""
    labels, a, b, contig = made_up(n)

    def by_chromosome(rows: NDArray[np.intp]) -> float:
        return sum(
            average_precision_score(labels[here], a[here]) * len(here)
            for name in range(N_CHROMOSOMES)
            if len(here := rows[contig[rows] == name]) and labels[here].any()
        ) / len(rows)

    def all_resamples(call: Callable[[], object]) -> Callable[[], int]:
        return lambda: (call(), N_RESAMPLES)[1]

    ways: dict[str, tuple[Callable[[], object], Callable[[NDArray[np.intp]], float]]] = {
        "AUROC and AUPRC": (
            lambda: rank(labels, a, N_RESAMPLES),
            lambda i: roc_auc_score(labels[i], a[i]) + average_precision_score(labels[i], a[i]),
        ),
        "paired difference of AUROC": (
            lambda: auroc_difference(labels, a, b, N_RESAMPLES),
            lambda i: roc_auc_score(labels[i], a[i]) - roc_auc_score(labels[i], b[i]),
        ),
        "Spearman": (
            lambda: spearman(a, b, N_RESAMPLES),
            lambda i: spearmanr(a[i], b[i]).statistic,  # type: ignore[attr-defined]
        ),
        f"AUPRC by {N_CHROMOSOMES} chromosomes": (
            lambda: auprc_by_chromosome(labels, a, contig, N_RESAMPLES),
            by_chromosome,
        ),
    }
    found = []
    for name, (ours, theirs) in ways.items():
        sides = {"ours": all_resamples(ours), "a loop": looped(labels, theirs)}
        found += compare(f"{name}, n = {n:,}", sides, rounds=1, warm_up=False)
    return found


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--n", type=int, nargs="+", default=[1_000, 10_000, 50_000])
    parser.add_argument("--json", type=Path, default=None)
    arguments = parser.parse_args()
    found = [rate for n in arguments.n for rate in rates(n)]
    ours = [rate for rate in found if rate.way == "ours"]
    facts = {f"seconds of {N_RESAMPLES:,} resamples, {rate.what}": f"{rate.n / rate.per_second:.2f}" for rate in ours}
    print_rates(found, arguments.json, **facts)


if __name__ == "__main__":
    main()
