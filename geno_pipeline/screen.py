"""What a person sees of a run on the command line: how far it is, what is made, what failed.

Belongs here: listening to a run's events, its log file, the summary. Does not: running anything (`run`).
"""

from __future__ import annotations

import re
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rich.console import Console
from rich.table import Table

from geno_model.progress import Work, count_in

if TYPE_CHECKING:
    import dagster as dg


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
    """Listens to the events of a run: writes all of them to the log file, shows what is being made and what is done.

    What an asset says of its progress (`assets.tell`) moves `work`; anything else that it says is a line of its own.
    """

    log: Path
    screen: Console
    work: Work
    steps: dict[str, StepReport] = field(default_factory=dict)
    checks: list[dg.AssetCheckEvaluation] = field(default_factory=list)
    was_interrupted: bool = False

    def __post_init__(self) -> None:
        self._label, self._counted = "", ""

    def __call__(self, entry: dg.EventLogEntry) -> None:
        """Take one event. Dagster calls this in the thread that runs the assets."""
        event, step = entry.dagster_event, entry.step_key
        error = getattr(event.event_specific_data, "error", None) if event else None
        self._write(entry.timestamp, step, f"{entry.message}\n{error.to_string()}" if error else entry.message)
        if step is None:
            self.was_interrupted |= event is not None and event.event_type_value == "PIPELINE_CANCELED"
            return
        if event is None:
            self._heard(step, entry.user_message)
            return
        report = self.steps.setdefault(step, StepReport())
        match event.event_type_value:
            case "ASSET_CHECK_EVALUATION_PLANNED":
                report.is_check = True
            case "STEP_START":
                report.started, report.n_rows, report.n_bytes = entry.timestamp, None, 0
                n_begun = sum(step.started is not None for step in self.steps.values())
                self._label, self._counted = f"[{n_begun} of {len(self.steps)}] {step}", ""
                self.work.begin(self._label)
            case "ASSET_MATERIALIZATION":
                _add_size(report, event.step_materialization_data.materialization.metadata)
            case "ASSET_CHECK_EVALUATION":
                self.checks.append(event.asset_check_evaluation_data)
            case "STEP_SUCCESS" | "STEP_FAILURE":
                report.seconds = entry.timestamp - (report.started or entry.timestamp)
                report.failure = self._cause(step, error) if error else None
                self._finished(step, report)

    @property
    def assets(self) -> dict[str, StepReport]:
        """The steps that are no checks."""
        return {name: step for name, step in self.steps.items() if not step.is_check}

    def say(self, line: str, style: str = "") -> None:
        """A line on the screen."""
        say(self.screen, line, style)

    def _write(self, timestamp: float, step: str | None, text: str) -> None:
        stamp = time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(timestamp))
        with self.log.open("a", encoding="utf-8") as file:
            file.write(f"{stamp} {step or '-'} {text}\n")

    def _heard(self, step: str, message: str) -> None:
        """Take in what an asset said of itself."""
        if (count := count_in(message)) is None:
            self.say(f"{step}: {message}")
            return
        n_done, n_total, unit = count
        if self._counted != f"{n_total} {unit}":  # one asset may count several things, one after the other
            self._counted = f"{n_total} {unit}"
            self.work.begin(self._label, n_total, unit)
        self.work.at(n_done)

    def _finished(self, step: str, report: StepReport) -> None:
        if report.failure:
            self.say(f"failed  {step}", "red")
        elif not report.is_check:
            rows = "" if report.n_rows is None else f"{report.n_rows:>12,} rows"
            self.say(f"done  {report.seconds or 0:>7.1f} s  {step:<24}{rows}", "green")

    def _cause(self, step: str, error: Any) -> str:
        """One line: of a check its own words, of an asset the class and message of the error that it raised."""
        if self.steps[step].is_check:
            failed = [check for check in self.checks if not check.passed]
            if failed and error.cls_name == "DagsterAssetCheckFailedError":
                check = failed[-1]
                return f"{check.asset_key.to_user_string()}: check {check.check_name} failed. {check.description or ''}"
        while error.cls_name.startswith("Dagster") and error.cause is not None:
            error = error.cause
        if error.cls_name in ("DagsterExecutionInterruptedError", "KeyboardInterrupt"):
            self.was_interrupted = True
            return f"{step}: interrupted"
        message = re.sub(rf"^[\w.]*\b{error.cls_name}: ", "", error.message.strip())
        return f"{step}: {error.cls_name}: {' '.join(message.split())}"


def say(screen: Console, line: str, style: str = "") -> None:
    """A line as it is, without markup."""
    screen.print(line, style=style, highlight=False, markup=False, soft_wrap=True)


def _add_size(report: StepReport, metadata: Any) -> None:
    """Take in one materialisation: of a table one for each contig, of a folder the whole folder each time."""
    rows, size = metadata.get("dagster/row_count"), metadata.get("bytes")
    if rows is not None:
        report.n_rows = (report.n_rows or 0) + rows.value
    if size is not None:
        report.n_bytes = size.value + (report.n_bytes if rows is not None else 0)


def summary(report: RunReport, title: str) -> Table:
    """A table of the assets of a run with rows, size, checks and time."""
    table = Table(title=title, title_justify="left")
    table.add_column("asset")
    for column in ("rows", "kB", "checks passed", "seconds"):
        table.add_column(column, justify="right")
    for name, step in sorted(report.assets.items(), key=lambda item: item[1].started or float("inf")):
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
