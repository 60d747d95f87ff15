"""The whole pipeline over a genome of a few windows, run by the command line: profiles, runs, and runs that are shared.

A run from nothing takes half a minute. Tests that start behind one take a copy of a storage that is made once, whatever
the number of test processes.
"""

from __future__ import annotations

import fcntl
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import yaml

from geno_pipeline.config import PROFILES

REPOSITORY = Path(__file__).parents[1]


def tiny_profile(folder: Path, **sections: Any) -> Path:
    """The demo profile with a genome of 300 kb, a training of seconds and a report of few rows; storage in `folder`.

    sections: replaced whole.
    """
    values = yaml.safe_load((PROFILES / "demo.yaml").read_text())
    values["storage"] = str(folder / "data")
    values["demo"] = {"contigs": [["chr20", 120_000], ["chr21", 80_000], ["chr22", 100_000]], "n_samples": 12}
    values["mix"]["edits_per_window"] = 3
    values["validation"] |= {"singles_per_window": 1, "chains_per_k": 1, "haplotypes_per_k": 1, "clinvar_rows": 1}
    values["encoder"] |= {"hidden": 32, "layers": 2, "steps": 2}
    values["model"] |= {"steps": 4, "batch_size": 16}
    values["calibration"]["max_rows"] = 60
    values["evaluation"] = {"bootstrap": 20, "zero_shot_rows": 2}
    path = folder / "tiny.yaml"
    path.write_text(yaml.safe_dump(values | sections))
    return path


def storage(profile: Path) -> Path:
    return Path(yaml.safe_load(profile.read_text())["storage"])


def changed(profile: Path, **sections: Any) -> Path:
    """The profile with sections replaced, as a file beside it."""
    values = yaml.safe_load(profile.read_text())
    path = profile.with_name(f"changed_{len(list(profile.parent.glob('*.yaml')))}.yaml")
    path.write_text(yaml.safe_dump(values | sections))
    return path


def copied(profile: Path, folder: Path) -> Path:
    """A profile of the same settings in `folder`, with a copy of all that was made."""
    folder.mkdir(parents=True, exist_ok=True)
    shutil.copytree(storage(profile), folder / "data")
    path = folder / profile.name
    path.write_text(yaml.safe_dump(yaml.safe_load(profile.read_text()) | {"storage": str(folder / "data")}))
    return path


def _clean() -> dict[str, str]:
    """The environment without settings of ours."""
    return {name: value for name, value in os.environ.items() if not name.startswith(("GENO_", "DAGSTER_"))}


def answer(profile: Path, script: str) -> Any:
    """What a script prints last, as JSON, in a process that loads the profile with its own history."""
    history = {"GENO_RUNS": str(storage(profile) / "dagster"), "DAGSTER_HOME": str(REPOSITORY / "dagster_home")}
    environment = _clean() | history | {"GENO_PROFILE": str(profile)}
    command = [sys.executable, "-c", script]
    done = subprocess.run(command, cwd=REPOSITORY, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-3_000:]
    return json.loads(done.stdout.splitlines()[-1])


def start(profile: Path, job: str) -> subprocess.Popen[str]:
    command = [sys.executable, "-m", "geno_pipeline", "run", "--profile", str(profile), "--job", job]
    pipe = subprocess.PIPE
    return subprocess.Popen(command, cwd=REPOSITORY, env=_clean(), stdout=pipe, stderr=pipe, text=True)


def run(profile: Path, job: str) -> subprocess.CompletedProcess[str]:
    process = start(profile, job)
    printed, said = process.communicate()
    return subprocess.CompletedProcess(process.args, process.returncode, printed, said)


def said_by(profile: Path, job: str) -> str:
    """Run a job to its end; what it said."""
    done = run(profile, job)
    assert done.returncode == 0, done.stderr
    return done.stderr


def made_once(own: Path, name: str, jobs: Sequence[str], base: Path | None = None) -> Path:
    """The profile `name` whose jobs have run, made by the first test process that asks. base: to begin with a copy of.

    own: temporary folder of this process; with several, its parent is that of them all.
    """
    shared = own.parent if "PYTEST_XDIST_WORKER" in os.environ else own
    folder = shared / name
    with (shared / f"{name}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not folder.exists():
            scratch = shared / f"{name}.new"
            shutil.rmtree(scratch, ignore_errors=True)
            scratch.mkdir()
            profile = tiny_profile(scratch) if base is None else copied(base, scratch)
            for job in jobs:
                done = run(profile, job)
                # Four steps of training may predict nothing.
                assert done.returncode == 0 or "skill_above_zero" in done.stderr, done.stderr
            profile.write_text(profile.read_text().replace(str(scratch), str(folder)))
            scratch.rename(folder)
    return folder / "tiny.yaml"
