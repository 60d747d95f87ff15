"""What a person sees of a run: finished assets, a summary, and one line for what failed."""

from __future__ import annotations

import io
import re
import time
import uuid
from pathlib import Path

import dagster as dg
import pytest
from rich.console import Console

from geno_model.genomics.errors import InputError
from geno_model.progress import Ticker, now_and_then
from geno_pipeline.screen import RunReport, summary


def run(tmp_path: Path, *, is_good: bool, passes: bool) -> tuple[RunReport, str]:
    """Run three assets in a row, the second with a blocking check, and return the report and the screen."""

    @dg.asset
    def first() -> dg.MaterializeResult:
        return dg.MaterializeResult(metadata={"dagster/row_count": 1_234, "bytes": 5_000})

    @dg.asset(deps=[first])
    def second() -> None:
        if not is_good:
            try:
                raise OSError("cause")
            except OSError as error:
                raise InputError("the VCF is\n  not there") from error

    @dg.asset_check(asset=second, blocking=True)
    def is_sound() -> dg.AssetCheckResult:
        return dg.AssetCheckResult(passed=passes, description="Expected 0 rows, found 7.")

    @dg.asset(deps=[second])
    def third() -> None: ...

    job = dg.define_asset_job("all", executor_def=dg.in_process_executor)
    defs = dg.Definitions(assets=[first, second, third], asset_checks=[is_sound], jobs=[job])
    return watched(tmp_path, defs)


def watched(tmp_path: Path, defs: dg.Definitions, every_s: float = 10) -> tuple[RunReport, str]:
    """Run the job `all` and return the report and what was on a screen that is no terminal."""
    screen, run_id = io.StringIO(), str(uuid.uuid4())
    console = Console(file=screen, width=120)
    with dg.DagsterInstance.ephemeral() as instance, Ticker(console.print, every_s) as work:
        report = RunReport(tmp_path / "run.log", console, work)
        instance.add_event_listener(run_id, report)
        quiet = {"loggers": {"console": {"config": {"log_level": "CRITICAL"}}}}
        resolved = defs.resolve_job_def("all")
        resolved.execute_in_process(instance=instance, run_id=run_id, raise_on_error=False, run_config=quiet)
    return report, screen.getvalue()


def printed(report: RunReport) -> dict[str, list[str]]:
    """Cells of the summary by asset."""
    screen = io.StringIO()
    Console(file=screen, width=120).print(summary(report, "title"))
    lines = [[cell.strip() for cell in line.split("│")[1:-1]] for line in screen.getvalue().splitlines()]
    return {cells[0]: cells[1:] for cells in lines if cells}


def test_good_run(tmp_path: Path) -> None:
    report, screen = run(tmp_path, is_good=True, passes=True)
    assert not [step.failure for step in report.steps.values() if step.failure]
    assert [line.split()[3] for line in screen.splitlines()] == ["first", "second", "third"]
    cells = printed(report)
    assert list(cells) == ["first", "second", "third"]
    assert cells["first"][:3] == ["1,234", "5", ""]
    assert cells["second"][2] == "1 of 1"


def test_failed_check_speaks_for_itself_and_stops_the_rest(tmp_path: Path) -> None:
    report, screen = run(tmp_path, is_good=True, passes=False)
    failures = [step.failure for step in report.steps.values() if step.failure]
    assert failures == ["second: check is_sound failed. Expected 0 rows, found 7."]
    assert re.search(r"^(done|failed) .*third", screen, re.MULTILINE) is None
    cells = printed(report)
    assert cells["second"][2] == "0 of 1"
    assert cells["third"][3] == "not made"


def test_failed_asset_gives_class_and_message_on_one_line(tmp_path: Path) -> None:
    report, screen = run(tmp_path, is_good=False, passes=True)
    failures = [step.failure for step in report.steps.values() if step.failure]
    assert failures == ["second: InputError: the VCF is not there"]
    assert "failed  second" in screen
    assert "Stack Trace" in (tmp_path / "run.log").read_text()


@pytest.mark.parametrize("is_good", [True, False])
def test_log_holds_every_step(tmp_path: Path, is_good: bool) -> None:
    run(tmp_path, is_good=is_good, passes=True)
    log = (tmp_path / "run.log").read_text()
    assert 'Finished execution of step "first"' in log
    assert ('Finished execution of step "third"' in log) == is_good


def test_nothing_that_takes_long_is_silent(tmp_path: Path) -> None:
    @dg.asset
    def counts(context) -> None:
        tell = now_and_then(context.log.info, 40, "steps", every_s=0.1)
        for n_done in range(41):
            tell(n_done)
            time.sleep(0.02)
        context.log.info("trained in float32")

    @dg.asset(deps=[counts])
    def says_nothing() -> None:
        time.sleep(0.5)

    job = dg.define_asset_job("all", executor_def=dg.in_process_executor)
    _, screen = watched(tmp_path, dg.Definitions(assets=[counts, says_nothing], jobs=[job]), every_s=0.1)
    lines = screen.splitlines()
    counted = [line for line in lines if re.match(r"\[1 of 2\] counts: \d+ of 40 steps, [\d.]+/s, \d+ s left$", line)]
    assert len(counted) >= 3 and not any(" 0 s left" in line for line in counted[:1])
    assert "counts: trained in float32" in lines
    assert lines.count("[2 of 2] says_nothing: 0 s") >= 2
