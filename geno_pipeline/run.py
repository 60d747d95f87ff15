"""Run a job of the pipeline from the command line, and what is said before and after it.

Belongs here: the Dagster instance of a command-line run, and its rounds. Does not: what is run (`definitions`), what is
shown of it (`screen`), its place in Dagster's history (`run_history`), the parsing of arguments (`__main__`).

Concept: Dagster runs in this process, one run for each round of what is out of date (`freshness`); the first is ONE. A
run that carries the first and the last contig as partition range makes all contigs between them of the partitioned
assets and, in the same run, the unpartitioned ones; Dagster records every contig as materialised. A blocking check that
fails keeps the assets after it from being made. The history is the one that the UI shows (GENO_RUNS).
"""

from __future__ import annotations

import os
import time
import uuid
import warnings
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import polars as pl
from rich.console import Console

from geno_model.progress import shown
from geno_pipeline.config import DEFAULT_PROFILE, ProfileError, load_profile
from geno_pipeline.headline import ablation_table, print_headline, score_with_release
from geno_pipeline.run_history import COMMAND_LINE, InHistory, close_lost_runs, only_run, stopped_by_any_signal
from geno_pipeline.screen import RunReport, say, summary

if TYPE_CHECKING:
    import dagster as dg

HOME = Path(__file__).parents[1] / "dagster_home"
WHOLE_JOB = "everything"  # the one that ends with a scored VCF
ABLATIONS = "ablate"
REFRESH = "benchmark_refresh"
RESUMES = "The same command resumes there"
INTERRUPTED = 130  # 128 + SIGINT, as shells have it
RANGE_START, RANGE_END = "dagster/asset_partition_range_start", "dagster/asset_partition_range_end"


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
    """Make what is out of date of a job's assets. Returns the exit code: 0 done, 1 an asset or a check failed, 130
    interrupted.

    again: make all of them, up to date or not.
    Raises:
        ProfileError: the profile cannot be used, or has no such job.
        AlreadyRunningError: another process is making assets of this profile.
    """
    warnings.filterwarnings("ignore", module=r"dagster\b")  # beta and deprecation notes are not for who runs a job
    screen = Console(stderr=True)
    set_environment(profile_name, data)
    runs = Path(os.environ["GENO_RUNS"])
    with only_run(runs), stopped_by_any_signal(), shown(partial(say, screen), screen) as work:
        work.begin("loading the pipeline")
        import dagster as dg  # after the environment is set, and not before a bad profile is reported

        from geno_pipeline.assets import PROFILE
        from geno_pipeline.definitions import defs
        from geno_pipeline.gates import GateError

        jobs = {job.name: job for job in defs.resolve_all_job_defs() if not job.name.startswith("__")}
        if job_name not in jobs:
            raise ProfileError(f"--job: found '{job_name}', expected one of {', '.join(sorted(jobs))}")
        instance = dg.DagsterInstance.get()
        began = time.monotonic()
        report = RunReport(runs / "logs" / f"{time.strftime('%Y%m%d-%H%M%S')}-{uuid.uuid4().hex[:8]}.log", screen, work)
        report.log.parent.mkdir(parents=True, exist_ok=True)
        if PROFILE.synthetic:
            report.say("Synthetic data: nothing that this run makes says anything about a person.", "yellow")
        try:
            success = _make(jobs[job_name], instance, report, again=again)
        except GateError as error:
            report.say(f"error: {error}", "red")
            return 1
    if not success:
        return _tell_failure(report, job_name)
    title = f"{job_name}, profile {PROFILE.name}, {time.monotonic() - began:.0f} s"
    if report.steps:
        Console().print(summary(report, title))
    else:
        report.say(f"{job_name}: nothing to make, all is up to date (--again makes it again)")
    if job_name == WHOLE_JOB:
        if (code := score_with_release(PROFILE)) != 0:
            return code
        print_headline(PROFILE)
    if job_name == ABLATIONS:
        screen.print(ablation_table(pl.read_parquet(PROFILE.storage / "ablations.parquet")))
    return 0


def _tell_failure(report: RunReport, job_name: str) -> int:
    """Say what became of a run that did not end well. Returns the exit code."""
    if report.was_interrupted:
        n_made = sum(step.seconds is not None and not step.failure for step in report.assets.values())
        report.say(f"{job_name}: interrupted; what was made is kept (assets: {n_made}). {RESUMES}", "red")
    else:
        Console().print(summary(report, f"{job_name}: failed"))
        for step in report.steps.values():
            if step.failure:
                report.say(f"error: {step.failure}", "red")
    report.say(f"Full log: {report.log}")
    return INTERRUPTED if report.was_interrupted else 1


def _make(job: dg.JobDefinition, instance: dg.DagsterInstance, report: RunReport, *, again: bool) -> bool:
    """Run round after round until nothing is out of date, or one has failed. Returns whether all went well."""
    from geno_pipeline.assets import PROFILE
    from geno_pipeline.definitions import defs, storage
    from geno_pipeline.freshness import Round, next_round
    from geno_pipeline.gates import GateError, refusal

    if before := close_lost_runs(instance):
        report.say(f"resuming: {before}")
    quiet = {"loggers": {"console": {"config": {"log_level": "CRITICAL"}}}}  # the report shows instead
    if PROFILE.data is not None:
        report.work.begin("looking at the input files")
        defs.resolve_job_def("observe_inputs").execute_in_process(instance=instance, run_config=quiet)
    report.work.begin("looking for what is out of date")
    if why := refusal(defs, instance, job.name, PROFILE.contigs, storage):
        raise GateError(why)
    wanted = tuple(job.asset_layer.executable_asset_keys)
    # What lies between a refresh's inputs and its report (training) may be out of date, and stays as it is.
    is_one_round = again or job.name == REFRESH
    part = Round(wanted, PROFILE.contigs) if is_one_round else None
    is_first = True
    while part := part or next_round(defs, instance, wanted, PROFILE.contigs, storage.is_stored):
        if is_first and len(part.assets) < len(wanted):
            report.say(f"{len(wanted) - len(part.assets)} of {len(wanted)} assets are up to date")
        is_first = False
        run_id = str(uuid.uuid4())
        instance.add_event_listener(run_id, InHistory(instance, run_id, report))
        stretch = {RANGE_START: part.contigs[0], RANGE_END: part.contigs[-1]} if part.contigs else {}
        result = job.execute_in_process(
            instance=instance,
            run_id=run_id,
            raise_on_error=False,
            asset_selection=part.assets,
            run_config=quiet,
            tags=COMMAND_LINE | stretch,
        )
        if not result.success:
            return False
        part = None
        if is_one_round:
            return True
    return True
