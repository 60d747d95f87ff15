"""The command line of the pipeline on a genome of a few windows: dataset, encoder, states, checkpoint (spec 9)."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import polars as pl
import pytest
import yaml

from geno_model.training.state_store import read_states
from geno_pipeline.config import PROFILES

pytestmark = pytest.mark.slow
REPOSITORY = Path(__file__).parents[2]


def tiny_profile(folder: Path) -> Path:
    """The demo profile with a genome of 300 kb and a training of seconds; storage inside `folder`."""
    values = yaml.safe_load((PROFILES / "demo.yaml").read_text())
    values["storage"] = str(folder / "data")
    values["demo"] = {"contigs": [["chr20", 120_000], ["chr21", 80_000], ["chr22", 100_000]], "n_samples": 12}
    values["mix"]["edits_per_window"] = 3
    values["validation"] |= {"singles_per_window": 1, "chains_per_k": 1, "haplotypes_per_k": 1, "clinvar_rows": 1}
    values["encoder"] |= {"hidden": 32, "layers": 2, "steps": 2}
    values["model"] |= {"steps": 4, "batch_size": 16}
    path = folder / "tiny.yaml"
    path.write_text(yaml.safe_dump(values))
    return path


def run(profile: Path, job: str) -> subprocess.CompletedProcess[str]:
    environment = {name: value for name, value in os.environ.items() if not name.startswith(("GENO_", "DAGSTER_"))}
    command = [sys.executable, "-m", "geno_pipeline", "run", "--profile", str(profile), "--job", job]
    return subprocess.run(command, cwd=REPOSITORY, env=environment, capture_output=True, text=True, check=False)


@pytest.fixture(scope="module")
def two_runs(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """The storage of two runs from scratch."""
    roots = []
    for name in ("first", "second"):
        folder = tmp_path_factory.mktemp(name)
        profile = tiny_profile(folder)
        for job in ("build_dataset", "train_model"):
            done = run(profile, job)
            assert done.returncode == 0, done.stderr
        roots.append(folder / "data")
    return roots


def test_two_runs_from_scratch_give_the_same_bytes(two_runs: list[Path]) -> None:
    first, second = two_runs
    compared = 0
    for asset in ("demo_inputs", "training_edits", "validation_edits", "demo_encoder", "training_states", "checkpoint"):
        for path in sorted((first / asset).rglob("*")):
            if path.is_file():
                assert path.read_bytes() == (second / path.relative_to(first)).read_bytes(), path
                compared += 1
    assert compared > 25


def test_every_planned_row_has_its_states(two_runs: list[Path]) -> None:
    root = two_runs[0]
    rows = pl.concat([pl.read_parquet(path) for path in sorted((root / "training_edits").glob("*.parquet"))])
    states = read_states(root / "training_states")
    assert sorted(states.keys["row_id"]) == sorted(rows["row_id"])
    assert rows.filter(pl.col("contig") == "chr21").is_empty()  # held out whole
