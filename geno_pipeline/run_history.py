"""The place of a command-line run in Dagster's history, so that the UI shows it, and so that an ended one has ended.

Belongs here: what a run in this process lacks beside one that the UI launches, one run at a time, signals. Does not:
what is run (`run`).

Concept: Dagster's pages list runs by the code location that they belong to. A run that is executed in this process has
none, so it is given the one that `workspace.yaml` names. A run whose process was killed stays `STARTED` for ever; who
holds the lock of the history knows that no other command-line run is alive, and closes such runs.
"""

from __future__ import annotations

import os
import signal
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import dagster as dg

# No public name says where a run belongs; the version is pinned in constraints.txt, and a test looks at the pages.
from dagster._core.remote_origin import ManagedGrpcPythonEnvCodeLocationOrigin, RemoteRepositoryOrigin
from dagster._core.types.loadable_target_origin import LoadableTargetOrigin

from geno_model.files import lock
from geno_pipeline.config import ProfileError
from geno_pipeline.screen import RunReport

MODULE = "geno_pipeline.definitions"  # as in workspace.yaml, which makes it the name of the code location, too
_TARGET = LoadableTargetOrigin(executable_path=sys.executable, module_name=MODULE)
_ORIGIN = RemoteRepositoryOrigin(
    code_location_origin=ManagedGrpcPythonEnvCodeLocationOrigin(_TARGET, MODULE), repository_name="__repository__"
)
COMMAND_LINE = {".dagster/repository": _ORIGIN.get_label(), "geno/from": "command line"}
"""Tags of every run that is executed here."""
_ALIVE = (dg.DagsterRunStatus.NOT_STARTED, dg.DagsterRunStatus.STARTING, dg.DagsterRunStatus.STARTED)


class AlreadyRunningError(ProfileError):
    """Another process is making assets of the same profile."""


class InHistory:
    """Listens to a run: gives it its origin when it starts, and passes all events on."""

    def __init__(self, instance: dg.DagsterInstance, run_id: str, report: RunReport) -> None:
        self._instance, self._run_id, self._report = instance, run_id, report
        self._is_placed = False

    def __call__(self, entry: dg.EventLogEntry) -> None:
        """Take one event."""
        if not self._is_placed and (run := self._instance.get_run_by_id(self._run_id)):
            self._is_placed = True
            self._instance.run_storage.replace_job_origin(run, _ORIGIN.get_job_origin(run.job_name))
        self._report(entry)


def close_lost_runs(instance: dg.DagsterInstance) -> str | None:
    """Mark command-line runs as failed whose process is gone; to be called under `only_run`.

    Returns what became of the last command-line run, in words, where it did not end well.
    """
    mine = {"geno/from": COMMAND_LINE["geno/from"]}
    lost = instance.get_runs(filters=dg.RunsFilter(tags=mine, statuses=list(_ALIVE)))
    for run in lost:
        instance.report_run_failed(run, "The process of this run is gone: it was killed, or the machine stopped.")
    last = instance.get_run_records(filters=dg.RunsFilter(tags=mine), limit=1)
    if not last or last[0].dagster_run.status == dg.DagsterRunStatus.SUCCESS:
        return None
    run, began = last[0].dagster_run, time.strftime("%Y-%m-%d %H:%M", time.localtime(last[0].start_time or 0))
    what = "was killed" if run.run_id in {one.run_id for one in lost} else "did not end well"
    return f"the last run ({run.job_name}, {began}) {what}; what it made is kept"


@contextmanager
def only_run(runs: Path) -> Iterator[None]:
    """Hold the lock of a history for as long as the block lasts. Raises `AlreadyRunningError` if another has it."""
    handle = lock(runs)
    if handle is None:
        raise AlreadyRunningError(
            f"another command is making assets of this profile (it has the lock in {runs}); wait for it, or stop it"
        )
    try:
        yield
    finally:
        os.close(handle)


@contextmanager
def stopped_by_any_signal() -> Iterator[None]:
    """Treat a closed terminal (SIGHUP) and SIGTERM like ctrl-C, so that a run is closed in the history either way."""

    def stop(signum: int, _frame: object) -> None:
        if signum == signal.SIGHUP:  # the terminal is gone: whatever is still said goes nowhere
            sys.stdout = sys.stderr = open(os.devnull, "w")
        signal.raise_signal(signal.SIGINT)

    before = {number: signal.signal(number, stop) for number in (signal.SIGHUP, signal.SIGTERM)}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
