"""Run a job of the pipeline from the command line: progress, a summary, and one line for what failed.

Belongs here: the Dagster instance of a command-line run, its progress and its summary.
Does not belong here: what is run (`definitions`) and the parsing of arguments (`__main__`).

Concept: Dagster runs in this process, one run for each round of what is out of date (`freshness`); the first is ONE. A
run that carries the first and the last contig as partition range makes all contigs between them of the partitioned
assets and, in the same run, the unpartitioned ones; Dagster records every contig as materialised. A blocking check that
fails keeps the assets after it from being made. The history is the one that the UI shows (GENO_RUNS).
"""

from __future__ import annotations

import os
import re
import time
import uuid
import warnings
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import polars as pl
from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, MofNCompleteColumn, Progress, SpinnerColumn, TextColumn, TimeElapsedColumn
from rich.table import Table

from geno_pipeline.config import DEFAULT_PROFILE, ProfileError, load_profile
from geno_pipeline.headline import ablation_table, print_headline, score_with_release

if TYPE_CHECKING:
    import dagster as dg

HOME = Path(__file__).parents[1] / "dagster_home"
WHOLE_JOB = "everything"  # the one that ends with a scored VCF
ABLATIONS = "ablate"
REFRESH = "benchmark_refresh"
RANGE_START, RANGE_END = "dagster/asset_partition_range_start", "dagster/asset_partition_range_end"


@dataclass
class StepReport:
    """What is known of an asset, or of a check (a step of its own)."""

    started: float | None = None
    seconds: float | None = None
    failure: str | None = None
    n_rows: int | None = None
    n_bytes: int = 0
    is_check: bool = False


@dataclass
class RunReport:
    """Listens to the events of a run: writes all of them to the log file, shows the assets as they finish."""

    log: Path
    progress: Progress
    steps: dict[str, StepReport] = field(default_factory=dict)
    checks: list[dg.AssetCheckEvaluation] = field(default_factory=list)

    def __post_init__(self) -> None:
        self._task = self.progress.add_task("starting", total=None)

    def __call__(self, entry: dg.EventLogEntry) -> None:
        """Take one event. Dagster calls this in the thread that runs the assets."""
        event, step = entry.dagster_event, entry.step_key
        error = getattr(event.event_specific_data, "error", None) if event else None
        self._write(entry.timestamp, step, f"{entry.message}\n{error.to_string()}" if error else entry.message)
        if step is None:
            return
        if event is None:
            self._now(f"{step}: {entry.user_message}")
            return
        report = self.steps.setdefault(step, StepReport())
        match event.event_type_value:
            case "ASSET_CHECK_EVALUATION_PLANNED":
                report.is_check = True
            case "STEP_START":
                report.started, report.n_rows, report.n_bytes = entry.timestamp, None, 0
                self._now(step)
            case "ASSET_MATERIALIZATION":
                _add_size(report, event.step_materialization_data.materialization.metadata)
            case "ASSET_CHECK_EVALUATION":
                self.checks.append(event.asset_check_evaluation_data)
            case "STEP_SUCCESS" | "STEP_FAILURE":
                report.seconds = entry.timestamp - (report.started or entry.timestamp)
                report.failure = self._cause(step, error) if error else None
                self._finished(step, report)

    def _write(self, timestamp: float, step: str | None, text: str) -> None:
        stamp = time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(timestamp))
        with self.log.open("a", encoding="utf-8") as file:
            file.write(f"{stamp} {step or '-'} {text}\n")

    def _now(self, text: str) -> None:
        self.progress.update(self._task, description=text[:60], total=len(self.steps))

    def _finished(self, step: str, report: StepReport) -> None:
        self.progress.advance(self._task)
        if report.failure:
            self.progress.console.print(f"[red]failed[/red]  {step}")
        elif not report.is_check:
            rows = "" if report.n_rows is None else f"{report.n_rows:>12,} rows"
            line = f"[green]done[/green]  {report.seconds or 0:>7.1f} s  {step:<24}{rows}"
            self.progress.console.print(line, highlight=False)

    def _cause(self, step: str, error: Any) -> str:
        """One line: of a check its own words, of an asset the class and message of the error that it raised."""
        if self.steps[step].is_check:
            failed = [check for check in self.checks if not check.passed]
            if failed and error.cls_name == "DagsterAssetCheckFailedError":
                check = failed[-1]
                return f"{check.asset_key.to_user_string()}: check {check.check_name} failed. {check.description or ''}"
        while error.cls_name.startswith("Dagster") and error.cause is not None:
            error = error.cause
        if error.cls_name == "DagsterExecutionInterruptedError":
            return f"{step}: interrupted"
        message = re.sub(rf"^[\w.]*\b{error.cls_name}: ", "", error.message.strip())
        return f"{step}: {error.cls_name}: {' '.join(message.split())}"


def _add_size(report: StepReport, metadata: Any) -> None:
    """Take in one materialisation: of a table one for each contig, of a folder the whole folder each time."""
    rows, size = metadata.get("dagster/row_count"), metadata.get("bytes")
    if rows is not None:
        report.n_rows = (report.n_rows or 0) + rows.value
    if size is not None:
        report.n_bytes = size.value + (report.n_bytes if rows is not None else 0)


def set_environment(profile_name: str | None, data: Path | None) -> None:
    """Set what the definitions and the Dagster instance read: GENO_PROFILE, GENO_DATA, GENO_RUNS and DAGSTER_HOME.

    Raises:
        ProfileError: the profile cannot be used.
    """
    name = profile_name or os.environ.get("GENO_PROFILE") or DEFAULT_PROFILE
    profile = load_profile(name, data)
    os.environ["GENO_PROFILE"] = name
    if data is not None:
        os.environ["GENO_DATA"] = str(data)
    runs = Path(os.environ.setdefault("GENO_RUNS", str((profile.storage / "dagster").resolve())))
    runs.mkdir(parents=True, exist_ok=True)
    os.environ.setdefault("DAGSTER_HOME", str(HOME))


def run(profile_name: str | None, data: Path | None, job_name: str, *, again: bool = False) -> int:
    """Make what is out of date of a job's assets. Returns the exit code: 0 done, 1 an asset or a check failed.

    again: make all of them, up to date or not.
    Raises:
        ProfileError: the profile cannot be used, or has no such job.
    """
    warnings.filterwarnings("ignore", module=r"dagster\b")  # beta and deprecation notes are not for who runs a job
    screen = Console(stderr=True)
    with screen.status("loading the pipeline"):
        set_environment(profile_name, data)
        import dagster as dg  # after the environment is set, and not before a bad profile is reported

        from geno_pipeline.assets import PROFILE
        from geno_pipeline.definitions import defs

        jobs = {job.name: job for job in defs.resolve_all_job_defs() if not job.name.startswith("__")}
        if job_name not in jobs:
            raise ProfileError(f"--job: found '{job_name}', expected one of {', '.join(sorted(jobs))}")
        instance = dg.DagsterInstance.get()
    log = Path(os.environ["GENO_RUNS"]) / "logs" / f"{time.strftime('%Y%m%d-%H%M%S')}-{uuid.uuid4().hex[:8]}.log"
    log.parent.mkdir(parents=True, exist_ok=True)
    if PROFILE.synthetic:
        screen.print("[yellow]Synthetic data: nothing that this run makes says anything about a person.[/yellow]")
    began = time.monotonic()
    bar = (SpinnerColumn(), BarColumn(30), MofNCompleteColumn(), TimeElapsedColumn(), TextColumn("{task.description}"))
    with Progress(*bar, console=screen, transient=True, disable=not screen.is_terminal) as progress:
        report = RunReport(log, progress)
        success = _make(jobs[job_name], instance, report, again=again)
    if report.steps:
        Console().print(summary(report, f"{job_name}, profile {PROFILE.name}, {time.monotonic() - began:.0f} s"))
    else:
        screen.print(f"{job_name}: nothing to make, all is up to date (--again makes it again)", highlight=False)
    for step in report.steps.values():
        if step.failure:
            screen.print(f"[red]error:[/red] {escape(step.failure)}", highlight=False, soft_wrap=True)
    if not success:
        screen.print(f"Full log: {log}", highlight=False, soft_wrap=True)
        return 1
    if job_name == WHOLE_JOB:
        if score_with_release(PROFILE) != 0:
            return 1
        print_headline(PROFILE)
    if job_name == ABLATIONS:
        screen.print(ablation_table(pl.read_parquet(PROFILE.storage / "ablations.parquet")))
    return 0


def _make(job: dg.JobDefinition, instance: dg.DagsterInstance, report: RunReport, *, again: bool) -> bool:
    """Run round after round until nothing is out of date, or one has failed. Returns whether all went well."""
    from geno_pipeline.assets import PROFILE
    from geno_pipeline.definitions import defs, storage
    from geno_pipeline.freshness import Round, next_round

    quiet = {"loggers": {"console": {"config": {"log_level": "CRITICAL"}}}}  # the report shows instead
    if PROFILE.data is not None:
        defs.resolve_job_def("observe_inputs").execute_in_process(instance=instance, run_config=quiet)
    wanted = tuple(job.asset_layer.executable_asset_keys)
    # What lies between a refresh's inputs and its report (training) may be out of date, and stays as it is.
    is_one_round = again or job.name == REFRESH
    part = Round(wanted, PROFILE.contigs) if is_one_round else None
    while part := part or next_round(defs, instance, wanted, PROFILE.contigs, storage.is_stored):
        run_id = str(uuid.uuid4())
        instance.add_event_listener(run_id, report)
        result = job.execute_in_process(
            instance=instance,
            run_id=run_id,
            raise_on_error=False,
            asset_selection=part.assets,
            run_config=quiet,
            tags={RANGE_START: part.contigs[0], RANGE_END: part.contigs[-1]} if part.contigs else {},
        )
        if not result.success:
            return False
        part = None
        if is_one_round:
            return True
    return True


def summary(report: RunReport, title: str) -> Table:
    """A table of the assets of a run with rows, size, checks and time."""
    table = Table(title=title, title_justify="left")
    table.add_column("asset")
    for column in ("rows", "kB", "checks passed", "seconds"):
        table.add_column(column, justify="right")
    made = {name: step for name, step in report.steps.items() if not step.is_check}
    for name, step in sorted(made.items(), key=lambda item: item[1].started or float("inf")):
        checks = [check.passed for check in report.checks if check.asset_key.to_user_string() == name]
        table.add_row(
            name,
            "" if step.n_rows is None else f"{step.n_rows:,}",
            f"{step.n_bytes / 1_000:,.0f}" if step.n_bytes else "",
            f"{sum(checks)} of {len(checks)}" if checks else "",
            "failed" if step.failure else "not made" if step.seconds is None else f"{step.seconds:.1f}",
            style=None if all(checks) and step.seconds is not None and not step.failure else "red",
        )
    return table
