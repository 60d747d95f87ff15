"""Rows of edits on a small random genome, and a build of their states as a program of its own that can be killed.

python -m tests.unit.training_rows FOLDER N_WINDOWS
"""

from __future__ import annotations

import sys
from pathlib import Path

import polars as pl

from geno_model.genomics.genome import Genome
from geno_pipeline.build import states
from tests.unit.encoders import WINDOW_BP, random_window, tiny_encoder

CONTIG = "chrT"


def random_genome(folder: Path, n_windows: int = 4) -> Genome:
    """One contig of random bases, as long as so many windows."""
    sequence = random_window(3, n_windows * WINDOW_BP).tobytes().decode()
    path = folder / "t.fa"
    if not path.exists():
        path.write_text(f">{CONTIG}\n{sequence}\n")
    return Genome.open(path, cache_dir=folder)


def rows_of_edits(genome: Genome, n_windows: int = 2, per_window: int = 40) -> pl.DataFrame:
    """SNVs spread over the windows, every fifth row with a second edit 12 bp to the right."""
    rows = []
    for start in range(0, n_windows * WINDOW_BP, WINDOW_BP):
        for index in range(per_window):
            position = start + 100 + 60 * index
            edits = []
            for pos0 in [position] if index % 5 else [position, position + 12]:
                ref = chr(genome.bases(CONTIG)[pos0])
                edits.append({"pos": pos0 + 1, "ref": ref, "alt": "ACGT"["ACGT".index(ref) - 1]})
            rows.append(
                {
                    "row_id": f"{CONTIG}:{start}:{index}", "contig": CONTIG,
                    "window_start_bp": start, "window_end_bp": start + WINDOW_BP,
                    "window_sha256": "x", "source": "synthetic_snv", "k": len(edits), "edits": edits, "edit_type": 0,
                    "pool_token": (position - start) // 6,
                }
            )  # fmt: skip
    return pl.DataFrame(rows)


def build(folder: Path, n_windows: int) -> states.BuildCounts:
    """States of four rows in each window, a shard a window, below `folder`."""
    genome = random_genome(folder, n_windows)
    encoder = tiny_encoder(folder / "encoder")
    states.WINDOWS_PER_SHARD = 1
    return states.build_states(rows_of_edits(genome, n_windows, 4), genome, encoder, folder / "states")


if __name__ == "__main__":
    build(Path(sys.argv[1]), int(sys.argv[2]))
