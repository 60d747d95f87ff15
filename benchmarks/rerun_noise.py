"""How far scores differ between machines that are both right: the noise behind the tolerance of `geno-verify --rerun`.

    .venv/bin/python benchmarks/rerun_noise.py --model-dir data/demo/model_release --fasta F --vcf V [--json F]

Other machines are played by this one: each way is a process of its own whose matrix libraries are told to use other
instructions (environment variables that PyTorch, oneDNN and MKL read), or other threads, or that scores the alleles in
other company. Each is compared with the plain way, allele by allele. Surprise and displacement are told as distances of
unit states, a displacement D as sqrt(2 D). An SNV's own numbers stand beside the differences.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import polars as pl
from rich.console import Console
from rich.table import Table

from geno_model.genomics.alleles import to_alleles
from geno_model.genomics.edits import EditType
from geno_model.genomics.genome import Genome
from geno_model.genomics.vcf_reader import read_vcf_chunks
from geno_model.scoring.scorer import Scorer
from geno_model.scoring.surprise import Heads

HEADS: tuple[str, ...] = ("surprise_raw", "displacement", "delta_loglik")
_PLAIN_INSTRUCTIONS = {"ATEN_CPU_CAPABILITY": "default", "ONEDNN_MAX_CPU_ISA": "SSE41", "MKL_CBWR": "COMPATIBLE"}


@dataclass(frozen=True)
class Way:
    """Environment and settings of a process. at_once: alleles that are scored together."""

    environment: dict[str, str] = field(default_factory=dict)
    threads: int = 1
    batch_edits: int = 64
    at_once: int | None = None


WAYS = {
    "plain": Way(),
    "again": Way(),
    "two threads": Way(threads=2),
    "OMP_NUM_THREADS=4": Way({"OMP_NUM_THREADS": "4"}),
    "one allele at once": Way(at_once=1),
    "seven at once, batches of 3": Way(batch_edits=3, at_once=7),
    **{f"{name}={value}": Way({name: value}) for name, value in _PLAIN_INSTRUCTIONS.items()},
    "MKL_ENABLE_INSTRUCTIONS=SSE4_2": Way({"MKL_ENABLE_INSTRUCTIONS": "SSE4_2"}),
    "none of them, one at once": Way(_PLAIN_INSTRUCTIONS, at_once=1),
}


def score(arguments: argparse.Namespace, way: Way) -> pl.DataFrame:
    """The three numbers of the first alleles of the VCF, in this process."""
    genome = Genome.open(arguments.fasta)
    alleles = pl.concat([to_alleles(chunk.lines, genome) for chunk in read_vcf_chunks(arguments.vcf)])
    alleles = alleles.filter(pl.col("reason").is_null()).head(arguments.n)
    scorer = Scorer.from_release(
        arguments.model_dir, genome, device="cpu", heads=Heads(delta_loglik=True), n_threads=way.threads
    )
    parts = alleles.iter_slices(way.at_once or arguments.n)
    return pl.concat([scorer.score_alleles(part, batch_edits=way.batch_edits) for part in parts])


def distances(rows: pl.DataFrame) -> pl.DataFrame:
    """The three numbers, a displacement as the distance that it stands for."""
    return rows.select("surprise_raw", (2 * pl.col("displacement").clip(0)).sqrt(), "delta_loglik").cast(pl.Float64)


def main() -> None:
    """Run every way in a process, print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    for name in ("--model-dir", "--fasta", "--vcf"):
        parser.add_argument(name, type=Path, required=True)
    parser.add_argument("--n", type=int, default=600)
    parser.add_argument("--json", type=Path)
    parser.add_argument("--way", choices=WAYS)
    parser.add_argument("--to", type=Path)
    arguments = parser.parse_args()
    if arguments.way:
        score(arguments, WAYS[arguments.way]).write_parquet(arguments.to)
        return
    found = {}
    with tempfile.TemporaryDirectory() as folder:
        for name, way in WAYS.items():
            to = Path(folder) / "rows.parquet"
            command = [sys.executable, *sys.argv, "--way", name, "--to", str(to)]
            subprocess.run(command, env=os.environ | {"OMP_NUM_THREADS": "1"} | way.environment, check=True)
            found[name] = pl.read_parquet(to)
    told = compare(found)
    if arguments.json:
        arguments.json.write_text(json.dumps(told, indent=1) + "\n")


def compare(found: dict[str, pl.DataFrame]) -> dict[str, dict[str, float]]:
    """Print and return the largest difference of each way to the plain one, and what is usual for an SNV."""
    plain = found.pop("plain")
    is_snv = plain["edit_type"].to_numpy() == int(EditType.SNV)
    numbers = distances(plain).to_numpy()
    told = {
        f"SNVs, {name}": dict(zip(HEADS, values.tolist(), strict=True))
        for name, values in zip(
            ("lowest tenth", "median"), np.nanquantile(np.abs(numbers[is_snv]), (0.1, 0.5), axis=0), strict=True
        )
    }
    for name, rows in found.items():
        difference = np.abs(distances(rows).to_numpy() - numbers)
        told[name] = dict(zip(HEADS, np.nanmax(difference, axis=0).tolist(), strict=True))
    table = Table(
        "way", *HEADS, title=f"largest difference to the plain way, {len(plain)} alleles, {is_snv.sum()} SNVs"
    )
    for name, values in told.items():
        table.add_row(name, *(f"{value:.2g}" for value in values.values()))
    Console(width=110).print(table)
    return told


if __name__ == "__main__":
    main()
