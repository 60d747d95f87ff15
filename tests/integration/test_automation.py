"""The refresh of the benchmarks, in the history of a small pipeline with its clock moved forward (spec 6, 9).

A small pipeline is made by the command line. Then a process that has its profile goes through days: it asks the sensor
and the schedule as Dagster's daemon does, and launches what they request unless a run of that key is there.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import dagster as dg
import pytest

from geno_pipeline import automation
from tests.tiny_pipeline import REPOSITORY, answer, copied, run, storage

pytestmark = pytest.mark.slow
REFRESHED = """clinvar_variants variant_accounting holdout_clinvar benchmark_alleles clinvar_scores brca_scores
traitgym_scores zero_shot_scores eval_report""".split()

DAYS = '''
import datetime, gzip, json, os, sys
from pathlib import Path

import dagster as dg
import pysam
from dagster._core.storage.tags import RUN_KEY_TAG
from dagster._utils.schedules import schedule_execution_time_iterator

from geno_pipeline import automation
from geno_pipeline.assets import PROFILE
from geno_pipeline.definitions import defs

repository = defs.get_repository_def()
sensor = repository.get_sensor_def("clinvar_release")
schedule = repository.get_schedule_def("weekly_benchmarks")
instance = dg.DagsterInstance.get()
path = PROFILE.input_path(PROFILE.inputs.clinvar)
text = gzip.open(path, "rt").read()
clock = [path.stat().st_mtime + 3600]
automation.clock = lambda: clock[0]
happened = []


def write(content, seconds=3600):
    """The file as somebody puts it there now; so many seconds pass until the next look."""
    path.write_bytes(content if isinstance(content, bytes) else gzip.compress(content.encode(), mtime=0))
    os.utime(path, (clock[0], clock[0]))
    clock[0] += seconds


def launch(what, data):
    """As the daemon: a request whose key has a run already is not launched again."""
    runs = []
    for asked in data.run_requests:
        known = instance.get_runs(dg.RunsFilter(tags={RUN_KEY_TAG: asked.run_key}))
        if not known:
            job = repository.get_job(asked.job_name or "benchmark_refresh")
            result = job.execute_in_process(
                instance=instance,
                tags={**asked.tags, RUN_KEY_TAG: asked.run_key},
                run_config={"loggers": {"console": {"config": {"log_level": "CRITICAL"}}}},
                raise_on_error=False,
            )
            made = sorted({e.step_key for e in result.all_events if e.event_type_value == "ASSET_MATERIALIZATION"})
            failed = [event.step_key for event in result.all_events if event.is_step_failure]
            runs.append({"key": asked.run_key, "failed": failed, "made": made})
    happened.append({"what": what, "requests": len(data.run_requests), "runs": runs, "skip": data.skip_message})


def look(what):
    context = dg.build_sensor_context(instance=instance, definitions=defs)
    launch(what, sensor.evaluate_tick(context))


def week(what, number):
    ticks = schedule_execution_time_iterator(clock[0], schedule.cron_schedule, "UTC")
    time = [next(ticks) for _ in range(number)][-1]
    clock[0] = time.timestamp()
    context = dg.build_schedule_context(instance=instance, scheduled_execution_time=time)
    launch(what, schedule.evaluate_tick(context))
    happened[-1]["weekday"] = time.strftime("%a %H:%M")


newer = text.replace("##fileDate=2026-01-01", "##fileDate=2026-02-01")
assert newer != text
look("as evaluated")
week("a week without change", 1)
write(newer, seconds=5)
look("being written")
clock[0] += 600
model, record = PROFILE.storage / "checkpoint", PROFILE.storage / "clinvar_release.json"
model.rename(model.with_name("away"))
look("no model")
model.with_name("away").rename(model)
record.rename(record.with_name("kept"))
record.mkdir()  # what the first asset of a refresh writes cannot be written
look("a run that fails")
look("again")
record.rmdir()
record.with_name("kept").rename(record)
look("new release")
look("the same again")
os.utime(path, (clock[0], clock[0]))
clock[0] += 600
look("touched")
week("a week after", 1)
lines = newer.splitlines(keepends=True)
write("".join(lines[:-1]))
look("same date, other content")
write(text)
look("older release")
write(b"this is no VCF")
look("no VCF")
path.unlink()
look("no file")
week("a week without a file", 1)
write("".join(lines[:-1]))
table = PROFILE.input_path(PROFILE.inputs.brca1)
table.write_text(table.read_text() + "\\n")
look("another table, as the sensor sees it")
week("another table", 1)
week("the week after that", 1)
print(json.dumps(happened))
'''


@pytest.fixture(scope="module")
def profile(evaluated: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A tiny pipeline with a report."""
    return copied(evaluated, tmp_path_factory.mktemp("refresh"))


@pytest.fixture(scope="module")
def before(profile: Path) -> dict[str, bytes]:
    """The trained model, byte by byte."""
    return {p.name: p.read_bytes() for p in (storage(profile) / "checkpoint").iterdir()}


@pytest.fixture(scope="module")
def days(profile: Path, before: dict[str, bytes]) -> dict[str, dict[str, Any]]:
    return {day["what"]: day for day in answer(profile, DAYS)}


@pytest.mark.parametrize("what", ["new release", "same date, other content", "another table"])
def test_a_new_file_starts_one_run_that_succeeds(days: dict[str, dict[str, Any]], what: str) -> None:
    (made,) = days[what]["runs"]
    assert days[what]["requests"] == 1 and "eval_report" in made["made"]
    assert made["failed"] in ([], ["eval_report_skill_above_zero"])  # four steps of training may predict nothing


@pytest.mark.parametrize(
    ("what", "reason"),
    [
        ("as evaluated", "The last report is of these files (ClinVar of 2026-01-01)."),
        ("a week without change", "The last report is of these files (ClinVar of 2026-01-01)."),
        ("being written", "it may not be whole"),
        ("the same again", "The last report is of these files (ClinVar of 2026-02-01)."),
        ("touched", "The last report is of these files"),
        ("a week after", "The last report is of these files"),
        ("older release", "the release of 2026-01-01, older than that of 2026-02-01"),
        ("no VCF", "The ClinVar file cannot be used"),
        ("no file", "The ClinVar file cannot be used"),
        ("a week without a file", "The ClinVar file cannot be used"),
        ("another table, as the sensor sees it", "The last report is of these files"),
        ("the week after that", "The last report is of these files"),
    ],
)
def test_the_same_file_starts_none_and_says_why(days: dict[str, dict[str, Any]], what: str, reason: str) -> None:
    assert days[what]["requests"] == 0 and reason in days[what]["skip"]


def test_a_model_that_is_gone_is_told_instead_of_a_run(days: dict[str, dict[str, Any]]) -> None:
    assert days["no model"]["requests"] == 0
    assert "checkpoint (its files are gone). Run first: python -m geno_pipeline run " in days["no model"]["skip"]


def test_a_run_that_failed_is_tried_again_under_a_key_of_its_own(days: dict[str, dict[str, Any]]) -> None:
    tries = [days[what]["runs"][0] for what in ("a run that fails", "again", "new release")]
    assert [bool(run["failed"]) for run in tries[:2]] == [True, True]
    first = tries[0]["key"]
    assert [run["key"] for run in tries] == [first, f"{first}-2", f"{first}-3"]


def test_a_run_that_fails_each_time_is_left_to_a_person() -> None:
    @dg.op
    def fails() -> None:
        raise OSError("no")

    asked = dg.RunRequest(run_key="clinvar-2026", tags={automation.REQUEST: "clinvar-2026"})
    job = dg.GraphDefinition("refresh", node_defs=[fails]).to_job(tags=asked.tags)
    with dg.DagsterInstance.ephemeral() as instance:
        for _ in range(automation.MOST_TRIES):
            assert isinstance(automation.tried_again(asked, instance), dg.RunRequest)
            job.execute_in_process(instance=instance, raise_on_error=False)
        left = automation.tried_again(asked, instance)
        assert isinstance(left, dg.SkipReason) and "has failed 3 times" in (left.skip_message or "")


def test_a_refresh_makes_the_benchmarks_and_trains_nothing(
    days: dict[str, dict[str, Any]], profile: Path, before: dict[str, bytes]
) -> None:
    made = days["new release"]["runs"][0]["made"]
    assert made == sorted(REFRESHED)
    assert {p.name: p.read_bytes() for p in (storage(profile) / "checkpoint").iterdir()} == before
    metrics = json.loads((storage(profile) / "eval_report" / "eval_metrics.json").read_text())
    assert metrics["evaluated"]["clinvar_release"] == "2026-02-01"
    text = (storage(profile) / "eval_report" / "eval_report.md").read_text()
    assert "## Since the last report\n\nBoth reports are of the same model.\n\n| figure |" in text


def test_the_schedule_is_on_monday_night(days: dict[str, dict[str, Any]]) -> None:
    assert {day["weekday"] for day in days.values() if "weekday" in day} == {"Mon 03:00"}


def test_the_command_line_refreshes_too(days: dict[str, dict[str, Any]], profile: Path) -> None:
    done = run(profile, "benchmark_refresh")
    assert done.returncode == 0 or "skill_above_zero" in done.stderr, done.stderr
    assert "checkpoint" not in done.stdout and "eval_report" in done.stdout


def test_only_files_that_come_from_elsewhere_are_watched_from_the_start() -> None:
    assert automation.PROFILE.synthetic  # of this process: the demo, which writes its own ClinVar
    assert automation.clinvar_release.default_status.value == "STOPPED"
    script = "from geno_pipeline import automation; print(automation.clinvar_release.default_status.value)"
    environment = os.environ | {"GENO_PROFILE": "real"}
    done = subprocess.run(
        [sys.executable, "-c", script], env=environment, cwd=REPOSITORY, capture_output=True, text=True
    )
    assert done.stdout.strip() == "RUNNING", done.stderr
