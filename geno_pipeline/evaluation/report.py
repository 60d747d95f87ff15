"""The evaluation report: `eval_report.md`, `eval_report.html`, `eval_metrics.json` and `plots/` (spec 6).

Belongs here: what a report is made from, the order of its sections, its files. Does not belong here: computing a
figure (`metrics`, `rollout`, `benchmarks`), the sections' words (`first_screen`, `report_sections`), rendering
(`document`), drawing (`plots`).

Concept: the first screen answers what a reviewer asks first. Below it everything has its baselines beside it, and what
failed has a section of its own. The JSON has the same figures, unrounded; null where a figure is not defined.
"""

from __future__ import annotations

import importlib.metadata
import json
import os
import platform
import subprocess
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import polars as pl

from geno_pipeline.build.release import PLOTS
from geno_pipeline.evaluation.benchmarks import Figures
from geno_pipeline.evaluation.calibration import calibration_section
from geno_pipeline.evaluation.document import Block, Heading, Paragraph, Picture, Table, to_html, to_markdown
from geno_pipeline.evaluation.first_screen import NO_CHANGE_SKILL, first_screen, separation_verdict, skill_verdict
from geno_pipeline.evaluation.history import METRICS_FILE, changes, model_change, regressions
from geno_pipeline.evaluation.report_sections import (
    benchmark_section,
    by_reason,
    change_section,
    data_section,
    efficiency_section,
    negative_differences,
    negative_results,
    population_section,
    reliability_section,
    rollout_section,
)
from geno_pipeline.evaluation.rollout import overall
from geno_pipeline.evaluation.wording import plain

TITLE = "GenoLeWM evaluation report"
VERSIONS_OF = ("numpy", "polars", "torch", "transformers", "duckdb", "dagster", "msprime", "scikit-learn")


@dataclass(frozen=True, slots=True)
class ReportInputs:
    """Everything that a report is made from.

    profile: name of the profile; synthetic: whether its data are made up; has_annotation: whether gene models
    were given.
    rollout: table of `rollout.rollout_fidelity`. figures, rows: of `benchmarks`. populations: of `populations`.
    calibration, reliability: tables of `calibration`. efficiency: table `Efficiency`; machine: what it was measured on.
    accounting: `variant_accounting`. mix: what was asked of each edit source and what it gave.
    provenance: what the figures belong to (commit, versions, machine: see `provenance`; config and data hashes).
    made_with: the model that all figures are of (`storage.MadeWith`). evaluated: which benchmark files were judged
    (`automation`). facts: further lines of "Data", name to text.
    last, released: figures of the last report and of the last release (`history.read_metrics`).
    """

    profile: str
    synthetic: bool
    has_annotation: bool
    rollout: pl.DataFrame
    figures: Figures
    rows: pl.DataFrame
    populations: pl.DataFrame
    calibration: pl.DataFrame
    reliability: pl.DataFrame
    efficiency: pl.DataFrame
    machine: Mapping[str, str]
    accounting: pl.DataFrame
    mix: pl.DataFrame
    provenance: Mapping[str, str]
    made_with: Mapping[str, str]
    evaluated: Mapping[str, Any] = field(default_factory=dict)
    facts: Mapping[str, str] = field(default_factory=dict)
    last: Mapping[str, Any] | None = None
    released: Mapping[str, Any] | None = None


def write_report(folder: Path, inputs: ReportInputs) -> dict[str, Any]:
    """Write the files of the report into `folder`, each under a temporary name first; returns the figures."""
    (folder / PLOTS).mkdir(parents=True, exist_ok=True)
    metrics = report_metrics(inputs)
    blocks = _blocks(inputs, metrics)
    text = json.dumps(metrics, indent=1, sort_keys=True, allow_nan=False, ensure_ascii=False) + "\n"
    for block in blocks:
        if isinstance(block, Picture):
            (folder / PLOTS / f"{block.name}.png").write_bytes(block.png)
    (folder / "eval_report.md").write_text(to_markdown(TITLE, blocks, PLOTS), encoding="utf-8")
    (folder / "eval_report.html").write_text(to_html(TITLE, blocks), encoding="utf-8")
    (folder / METRICS_FILE).write_text(text, encoding="utf-8")
    return metrics


def report_metrics(inputs: ReportInputs) -> dict[str, Any]:
    """The figures of the report as plain values, unrounded: what `eval_metrics.json` holds and checks read."""
    figures = inputs.figures
    tables = {
        "rollout": inputs.rollout,
        "ranking": figures.ranking,
        "differences": figures.differences,
        "by_chromosome": figures.by_chromosome,
        "correlation": figures.correlation,
        "agreement": figures.agreement,
        "benchmark_counts": figures.counts,
        "populations": inputs.populations,
        "calibration": inputs.calibration,
        "reliability": inputs.reliability,
        "efficiency": inputs.efficiency,
        "accounting": by_reason(inputs.accounting),
        "mix": inputs.mix,
    }
    return {
        "profile": inputs.profile,
        "synthetic": inputs.synthetic,
        "has_annotation": inputs.has_annotation,
        "naive_skill": NO_CHANGE_SKILL,
        "skill": plain(overall(inputs.rollout)),
        "verdict": skill_verdict(inputs.rollout).answer,
        "separation": asdict(separation_verdict(figures)),
        **{name: [plain(row) for row in table.to_dicts()] for name, table in tables.items()},
        "not_better_than_baseline": [*negative_results(inputs.rollout, figures), *negative_differences(figures)],
        "made_with": dict(inputs.made_with),
        "evaluated": dict(inputs.evaluated),
        "machine": dict(inputs.machine),
        "provenance": dict(inputs.provenance),
        "facts": dict(inputs.facts),
    }


def provenance(repository: Path, **more: str) -> dict[str, str]:
    """Commit, versions and machine of this process, and whatever else the caller names (hashes of config and data)."""
    versions = {name: _version(name) for name in VERSIONS_OF}
    return {
        "commit": _commit(repository),
        "python": platform.python_version(),
        "machine": f"{platform.system()} {platform.machine()}, {os.cpu_count()} CPU cores",
        **{name: version for name, version in versions.items() if version},
        **more,
    }


def _blocks(inputs: ReportInputs, metrics: Mapping[str, Any]) -> list[Block]:
    negative = negative_results(inputs.rollout, inputs.figures) or ["Nothing that could be measured."]
    return [
        *first_screen(
            inputs.rollout,
            inputs.figures,
            profile=inputs.profile,
            synthetic=inputs.synthetic,
            has_annotation=inputs.has_annotation,
        ),
        *change_section(
            changes(inputs.last, metrics),
            regressions(inputs.released, metrics),
            has_earlier=inputs.last is not None,
            model=model_change(inputs.last, metrics),
            released=inputs.released is not None,
        ),
        *benchmark_section(inputs.figures, inputs.rows),
        *rollout_section(inputs.rollout),
        *calibration_section(inputs.calibration),
        *reliability_section(inputs.reliability),
        *population_section(inputs.populations),
        *efficiency_section(inputs.efficiency, inputs.machine),
        Heading("What is not better than its baseline"),
        *map(Paragraph, negative),
        Paragraph("Differences to the other baselines are under 'Against the baselines'."),
        *data_section(inputs.accounting, inputs.mix, inputs.facts),
        Heading("What these figures were made with"),
        Table(
            ["what", "value"],
            [
                [name, str(value)]
                for name, value in {**inputs.provenance, **inputs.made_with, **inputs.evaluated}.items()
            ],
        ),
    ]


def _version(package: str) -> str | None:
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return None


def _commit(repository: Path) -> str:
    command = ["git", "-C", str(repository), "describe", "--always", "--dirty", "--abbrev=40", "--exclude=*"]
    try:
        return subprocess.run(command, capture_output=True, text=True, check=True, timeout=20).stdout.strip()
    except (OSError, subprocess.SubprocessError):
        return "unknown: not run from a git checkout"
