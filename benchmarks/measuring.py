"""Rates of several ways to do the same thing, measured in turn in one run, as a table and as JSON.

Belongs here: timing, the ratio against the alternatives, printing. Does not: what is measured.

A way is run once before the clock starts, then `ROUNDS` times in turn with its rivals, and its best round counts: what
else the machine does meanwhile slows all of them. CPU seconds are those of all threads of this process.
"""

from __future__ import annotations

import json
import os
import platform
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from importlib.metadata import version
from pathlib import Path

from rich.console import Console
from rich.table import Table

ROUNDS = 3
_VERSIONS = ("numpy", "polars", "pysam", "torch", "transformers")


@dataclass(frozen=True)
class Rate:
    """One way's best round. times_faster: ours per CPU second over this one's, 1 for ours."""

    what: str
    way: str
    n: int
    per_cpu_second: float
    per_second: float
    times_faster: float


def compare(what: str, ways: dict[str, Callable[[], int]], *, rounds: int = ROUNDS, warm_up: bool = True) -> list[Rate]:
    """Rates of the ways, ours first. Each way does all its work and returns how many items that were."""
    best = dict.fromkeys(ways, (float("inf"), float("inf")))
    counts: dict[str, int] = {}
    for round_ in range(-1 if warm_up else 0, rounds):
        for name, way in ways.items():
            wall, cpu = time.perf_counter(), time.process_time()
            counts[name] = way()
            seconds = time.process_time() - cpu, time.perf_counter() - wall
            if round_ >= 0:
                best[name] = min(best[name][0], seconds[0]), min(best[name][1], seconds[1])
    ours = next(iter(ways))
    rate = {name: counts[name] / best[name][0] for name in ways}
    return [
        Rate(what, name, counts[name], rate[name], counts[name] / best[name][1], rate[ours] / rate[name])
        for name in ways
    ]


def machine() -> str:
    """Processor count, Python and the versions of the libraries that decide the figures."""
    found = " ".join(f"{name} {version(name)}" for name in _VERSIONS)
    return f"{os.cpu_count()} CPUs, {platform.machine()}, Python {platform.python_version()}, {found}"


def print_rates(rates: list[Rate], path: Path | None = None, **facts: object) -> None:
    """The table on standard output, and everything as JSON in a file if one is named."""
    table = Table(title=machine())
    for column in ("what", "way", "items", "per CPU s", "per s", "ours is faster by"):
        table.add_column(column, justify="left" if column in ("what", "way") else "right")
    before = ""
    for rate in rates:
        if rate.what != before:
            table.add_section()
        ratio = "" if rate.what != before else f"{rate.times_faster:.1f}"
        cells = f"{rate.n:,}", _short(rate.per_cpu_second), _short(rate.per_second), ratio
        table.add_row(rate.what if rate.what != before else "", rate.way, *cells)
        before = rate.what
    console = Console(width=max(Console().width, 130))
    console.print(table)
    for name, value in facts.items():
        console.print(f"{name.replace('_', ' ')}: {value}")
    if path:
        report = {"machine": machine(), "rates": [asdict(rate) for rate in rates], **facts}
        path.write_text(json.dumps(report, indent=1) + "\n")


def _short(rate: float) -> str:
    for size, letter in ((1e6, "M"), (1e3, "k")):
        if rate >= size:
            return f"{rate / size:.3g} {letter}"
    return f"{rate:.3g}"
