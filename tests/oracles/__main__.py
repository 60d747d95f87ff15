"""Every oracle over every record there is, as a table; some minutes.

    .venv/bin/python -m tests.oracles

The tests run the same comparisons on a part of the samples and alleles. Exit code 1 when anything differs.
"""

from __future__ import annotations

import sys
import tempfile
import time
from pathlib import Path

from rich.console import Console
from rich.table import Table

from tests.oracles import consensus, csq, norm, overlap
from tests.shared_data import SHARED

ORACLES = {
    "bcftools norm": norm.run_all,
    "bcftools consensus": consensus.run_all,
    "bioframe overlap": overlap.run_all,
    "bcftools csq": csq.run_all,
}


def main() -> int:
    """Run all oracles and print what was compared; returns the exit code."""
    if not SHARED.is_dir():
        print(f"real human data absent: {SHARED}; name their folder in GENO_SHARED_DATA", file=sys.stderr)
        return 1
    table = Table("oracle", "what")
    for name in ("compared", "differences"):
        table.add_column(name, justify="right")
    n_different = 0
    for oracle, run_all in ORACLES.items():
        started = time.perf_counter()
        with tempfile.TemporaryDirectory() as folder:
            rows = run_all(Path(folder))
        table.add_section()
        for what, n_compared, n_differences in rows:
            table.add_row(oracle, what, f"{n_compared:,}", f"{n_differences:,}")
            n_different += n_differences
        print(f"{oracle}: {time.perf_counter() - started:.0f} s", file=sys.stderr)
    Console(width=110).print(table)
    return 1 if n_different else 0


if __name__ == "__main__":
    sys.exit(main())
