"""The command line of the pipeline on a genome of a few windows: dataset, encoder, states, checkpoint (spec 9)."""

from __future__ import annotations

import re
import signal
from pathlib import Path

import dagster as dg
import polars as pl
import pytest
import yaml

from geno_model.training.state_store import read_states
from tests.tiny_pipeline import REPOSITORY, said_by, start, storage, tiny_profile

pytestmark = pytest.mark.slow


def stopped(profile: Path, job: str, signum: signal.Signals) -> tuple[int, str]:
    """Send a signal to a run when its first asset is done: exit code, and what it said after that."""
    process = start(profile, job)
    assert process.stderr
    said: list[str] = []
    for line in process.stderr:
        said.append(line)
        if line.startswith("done"):
            break
    else:
        pytest.fail("".join(said))
    process.send_signal(signum)
    rest = process.stderr.read()
    return process.wait(), rest


class Story:
    """Storage of a run without a break, and of one that was stopped thrice, with what was said."""

    def __init__(self, whole: Path, broken: Path) -> None:
        self.whole, self.broken = storage(whole), broken / "data"
        profile = tiny_profile(broken)
        self.terminal_closed = stopped(profile, "build_dataset", signal.SIGHUP)
        self.killed = stopped(profile, "build_dataset", signal.SIGKILL)
        self.resumed = said_by(profile, "build_dataset")
        self.ctrl_c = stopped(profile, "train_model", signal.SIGINT)
        self.at_last = said_by(profile, "train_model")


@pytest.fixture(scope="module")
def story(trained: Path, tmp_path_factory: pytest.TempPathFactory) -> Story:
    return Story(trained, tmp_path_factory.mktemp("broken"))


@pytest.fixture(scope="module")
def two_runs(story: Story) -> list[Path]:
    """The storage of two runs from scratch, the second of which was stopped on the way."""
    return [story.whole, story.broken]


def test_a_stopped_run_is_resumed_and_says_so(story: Story) -> None:
    code, said = story.ctrl_c
    assert code == 130 and "Traceback" not in said
    told = r"train_model: interrupted; what was made is kept \(assets: [1-9]\d*\)\. The same command resumes there"
    assert re.search(told, said), said
    assert story.terminal_closed == (130, "")  # nobody is there to be told
    assert story.killed[0] == -signal.SIGKILL
    assert re.search(
        r"resuming: the last run \(build_dataset, [-\d]+ [\d:]+\) was killed; what it made is kept", story.resumed
    )
    assert "resuming: the last run (train_model, " in story.at_last
    for said in (story.resumed, story.at_last):
        n_current, n_all = map(int, re.findall(r"(\d+) of (\d+) assets are up to date", said)[0])
        assert 0 < n_current < n_all


def test_no_run_stays_alive_in_the_history_and_all_are_found_by_the_ui(story: Story) -> None:
    settings = {"GENO_RUNS": str(story.broken / "dagster"), "DAGSTER_HOME": str(REPOSITORY / "dagster_home")}
    with pytest.MonkeyPatch.context() as patch:
        for name, value in settings.items():
            patch.setenv(name, value)
        with dg.DagsterInstance.get() as instance:
            module = yaml.safe_load((REPOSITORY / "workspace.yaml").read_text())["load_from"][0]["python_module"]
            # What the pages of a code location and of its jobs ask for.
            runs = instance.get_runs(filters=dg.RunsFilter(tags={".dagster/repository": f"__repository__@{module}"}))
    assert len(runs) == 5
    assert all(run.remote_job_origin and run.remote_job_origin.location_name == module for run in runs)
    assert {run.status.value for run in runs} == {"SUCCESS", "FAILURE"}
    assert [run.status.value for run in runs].count("FAILURE") == 3


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
