"""When benchmarks are refreshed: each week, and as soon as a new ClinVar release lies there (spec 6, 9).

Belongs here: what a refresh makes, the schedule, the sensor, and the question both ask. Does not: making anything.

Concept: a refresh judges the model that is there on the benchmarks as they are now. It trains nothing: alleles of a new
release that training met take no part (`evaluation.alleles`). Schedule and sensor compare the files with those that the
last report was made from, which it names itself, by content and by the date in ClinVar's header. A file's own time only
says whether it is still being written.
"""

from __future__ import annotations

import datetime
import json
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import dagster as dg

from geno_model.genomics.errors import InputError
from geno_pipeline.assets import PROFILE
from geno_pipeline.assets.input_files import BENCHMARK_FILES, CLINVAR_RELEASE, HASHES, benchmark_tables, contents_of
from geno_pipeline.build.clinvar import release_date
from geno_pipeline.evaluation.history import read_metrics
from geno_pipeline.gates import refusal
from geno_pipeline.storage import combined_sha256

REFRESHED = (
    "clinvar_variants",
    "variant_accounting",
    "holdout_clinvar",
    "benchmark_alleles",
    "clinvar_scores",
    "brca_scores",
    "traitgym_scores",
    "zero_shot_scores",
    "eval_report",
)
REPORT = "eval_report"
MONDAY_NIGHT = "0 3 * * 1"  # ClinVar is released in the days before
QUIET_S = 60.0
"""A file that was written to within this time may not be whole yet."""

REQUEST = "refresh_of"  # tag of a run: the files that it was asked for
MOST_TRIES = 3
ALL_CONTIGS = {
    "dagster/asset_partition_range_start": PROFILE.contigs[0],
    "dagster/asset_partition_range_end": PROFILE.contigs[-1],
}
RELEASE, CONTENT, TABLES = "clinvar_release", "clinvar_sha256", "tables_sha256"
Found = Mapping[str, str | None]


def evaluated(root: Path) -> dict[str, str | None]:
    """The files that the tables below a storage root were made from, as `evaluated_now` has them."""
    clinvar, tables = (
        json.loads((root / name).read_text()) if (root / name).is_file() else {}
        for name in (CLINVAR_RELEASE, BENCHMARK_FILES)
    )
    return {RELEASE: clinvar.get("release"), CONTENT: clinvar.get("sha256"), TABLES: tables.get("sha256")}


def evaluated_now() -> dict[str, str | None]:
    """The benchmark files as they are: ClinVar's date and SHA-256, and one SHA-256 over the user's tables.

    Raises:
        InputError: ClinVar's file is missing, damaged or no VCF.
    """
    clinvar, hashes = PROFILE.input_path(PROFILE.inputs.clinvar), PROFILE.storage / HASHES
    date = release_date(clinvar)
    content = contents_of([clinvar], hashes)
    return {
        RELEASE: None if date is None else date.isoformat(),
        CONTENT: content[clinvar],
        TABLES: benchmark_tables(hashes),
    }


def request(now: Found, last: Found | None, key: str, *, clinvar_alone: bool) -> dg.RunRequest | dg.SkipReason:
    """A run where the files differ from those of the last report, else the reason why there is none.

    last: the report's own record; None where there is no report. key: begins the run's key. clinvar_alone: other tables
    are not looked at.
    """
    if last is None:
        return dg.SkipReason("There is no report yet: run the job `everything` first.")
    compared = (CONTENT,) if clinvar_alone else (CONTENT, TABLES)
    if all(now[name] == last.get(name) for name in compared):
        return dg.SkipReason(f"The last report is of these files (ClinVar of {now[RELEASE] or 'no date'}).")
    before = last.get(RELEASE)
    if now[RELEASE] and before and now[RELEASE] < before:  # type: ignore[operator]
        return dg.SkipReason(
            f"The ClinVar file is the release of {now[RELEASE]}, older than that of {before} which the last report is "
            "of; put the newer file back."
        )
    digest = combined_sha256({name: str(now[name]) for name in compared})[:12]
    run_key = f"{key}-{now[RELEASE]}-{digest}"
    tags = {RELEASE: now[RELEASE] or "no date", CONTENT: str(now[CONTENT])[:12], REQUEST: run_key}
    return dg.RunRequest(run_key=run_key, tags=ALL_CONTIGS | tags)


def tried_again(asked: dg.RunRequest, instance: dg.DagsterInstance) -> dg.RunRequest | dg.SkipReason:
    """The request, under a key of its own where runs of the same files have failed; none after `MOST_TRIES` of them."""
    runs = instance.get_runs(dg.RunsFilter(tags={REQUEST: asked.tags[REQUEST]}))
    if any(not run.is_finished for run in runs):
        return dg.SkipReason("A refresh of these files is running.")
    if len(runs) >= MOST_TRIES:
        return dg.SkipReason(
            f"A refresh of these files has failed {len(runs)} times, last in run {runs[0].run_id[:8]}: see what it "
            "says, and start the job benchmark_refresh by hand."
        )
    return dg.RunRequest(run_key=f"{asked.run_key}-{len(runs) + 1}" if runs else asked.run_key, tags=asked.tags)


def stale_model(instance: dg.DagsterInstance) -> dg.SkipReason | None:
    """Why a refresh cannot start now: the model, or what else it is made from, is out of date."""
    from geno_pipeline.definitions import defs, storage  # which load this module

    why = refusal(defs, instance, benchmark_refresh.name, PROFILE.contigs, storage)
    return None if why is None else dg.SkipReason(why)


def last_evaluated(root: Path) -> dict[str, Any] | None:
    """What the report below a storage root says that it was made from."""
    metrics = read_metrics(root / REPORT)
    return metrics.get("evaluated") if metrics else None


def clock() -> float:
    """Seconds since 1970."""
    return time.time()


benchmark_refresh = dg.define_asset_job(
    "benchmark_refresh",
    selection=dg.AssetSelection.assets(*REFRESHED),
    description="Judge the model that is there on the benchmarks as they are now. Trains nothing.",
)


@dg.sensor(
    job=benchmark_refresh,
    name="clinvar_release",
    minimum_interval_seconds=600,
    default_status=dg.DefaultSensorStatus.STOPPED if PROFILE.synthetic else dg.DefaultSensorStatus.RUNNING,
    description="Starts a refresh when a new ClinVar release lies in the data folder.",
)
def clinvar_release(context: dg.SensorEvaluationContext) -> dg.RunRequest | dg.SkipReason:
    """A run for each new content of the file, again if it fails; a file that cannot be used starts nothing."""
    path = PROFILE.input_path(PROFILE.inputs.clinvar)
    try:
        if clock() - path.stat().st_mtime < QUIET_S:
            return dg.SkipReason(f"{path.name} was written to less than {QUIET_S:.0f} s ago; it may not be whole.")
        asked = request(evaluated_now(), last_evaluated(PROFILE.storage), "clinvar", clinvar_alone=True)
        if isinstance(asked, dg.SkipReason):
            return asked
        return stale_model(context.instance) or tried_again(asked, context.instance)
    except (OSError, InputError) as error:
        return dg.SkipReason(f"The ClinVar file cannot be used: {error}")


@dg.schedule(
    job=benchmark_refresh,
    name="weekly_benchmarks",
    cron_schedule=MONDAY_NIGHT,
    execution_timezone="UTC",
    default_status=dg.DefaultScheduleStatus.STOPPED if PROFILE.synthetic else dg.DefaultScheduleStatus.RUNNING,
    description="Starts a refresh on Monday night if ClinVar or another benchmark's file has changed.",
)
def weekly_benchmarks(context: dg.ScheduleEvaluationContext) -> dg.RunRequest | dg.SkipReason:
    """A run if any file differs from those of the last report, for what the sensor does not watch or has missed."""
    try:
        week: datetime.date = context.scheduled_execution_time.date()
        asked = request(evaluated_now(), last_evaluated(PROFILE.storage), f"weekly-{week}", clinvar_alone=False)
        return asked if isinstance(asked, dg.SkipReason) else stale_model(context.instance) or asked
    except (OSError, InputError) as error:
        return dg.SkipReason(f"The ClinVar file cannot be used: {error}")
