"""The evaluation report: `eval_report.md`, `eval_report.html` and `eval_metrics.json` (spec 6).

Belongs here: what the report says and in which order, and how a figure is printed. Does not belong here: computing a
figure (`metrics`, `rollout`, `benchmarks`), rendering (`document`), drawing (`plots`).

Concept: the first screen answers one question, is the model better than predicting no change, with n and an interval.
Below it everything has its baseline beside it, and what failed has a section of its own. The JSON has the same figures,
unrounded; null where a figure is not defined.
"""

from __future__ import annotations

import importlib.metadata
import json
import math
import os
import platform
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import polars as pl

from data_contracts.columns import HOLDOUT_CHR
from geno_pipeline.evaluation import plots
from geno_pipeline.evaluation.benchmarks import CONSEQUENCE, benchmark_counts
from geno_pipeline.evaluation.calibration import calibration_section
from geno_pipeline.evaluation.document import Block, Heading, Paragraph, Picture, Table, to_html, to_markdown
from geno_pipeline.evaluation.rollout import ALL, overall

TITLE = "GenoLeWM evaluation report"
RESEARCH_TOOL = "Research tool, not a clinical diagnostic."
SYNTHETIC = (
    "Synthetic data: the genome, the variants and their labels were made up by the pipeline. "
    "The figures say that the machinery works, nothing about human DNA."
)
NO_ANNOTATION = (
    "No gene models were given: the region class of every allele is 'other', "
    "and calibration is by GC and repeat class alone."
)
NO_CHANGE_SKILL = 0.0
VERSIONS_OF = ("numpy", "polars", "torch", "transformers", "duckdb", "dagster", "msprime", "scikit-learn")


@dataclass(frozen=True, slots=True)
class ReportInputs:
    """Everything that a report is made from.

    profile: name of the profile; synthetic: whether its data are made up; has_annotation: whether gene models
    were given.
    rollout: table of `rollout.rollout_fidelity`. calibration: table of `calibration.calibration_fit`.
    benchmarks: table of `benchmarks.clinvar_benchmarks`.
    scores, holdout: `clinvar_scores` and `holdout_clinvar`, for curves and for the count of excluded alleles.
    accounting: `variant_accounting`.
    mix: what was asked of each edit source and what it gave: column `source` and counts.
    provenance: what the figures belong to (commit, versions, machine: see `provenance`; config and data hashes).
    facts: further lines of "Data", name to text, such as the observed number of windows a position.
    """

    profile: str
    synthetic: bool
    has_annotation: bool
    rollout: pl.DataFrame
    calibration: pl.DataFrame
    benchmarks: pl.DataFrame
    scores: pl.DataFrame
    holdout: pl.DataFrame
    accounting: pl.DataFrame
    mix: pl.DataFrame
    provenance: Mapping[str, str]
    facts: Mapping[str, str] = field(default_factory=dict)


def write_report(folder: Path, inputs: ReportInputs) -> None:
    """Write the three files of the report into `folder`, each under a temporary name first."""
    folder.mkdir(parents=True, exist_ok=True)
    blocks = _blocks(inputs)
    metrics = json.dumps(report_metrics(inputs), indent=1, sort_keys=True, allow_nan=False, ensure_ascii=False)
    _write(folder / "eval_report.md", to_markdown(TITLE, blocks))
    _write(folder / "eval_report.html", to_html(TITLE, blocks))
    _write(folder / "eval_metrics.json", metrics + "\n")


def report_metrics(inputs: ReportInputs) -> dict[str, Any]:
    """The figures of the report as plain values, unrounded: what `eval_metrics.json` holds and checks read."""
    return {
        "profile": inputs.profile,
        "synthetic": inputs.synthetic,
        "has_annotation": inputs.has_annotation,
        "naive_skill": NO_CHANGE_SKILL,
        "skill": _plain(overall(inputs.rollout)),
        "verdict": _verdict(inputs.rollout)[0],
        "rollout": [_plain(row) for row in inputs.rollout.to_dicts()],
        "benchmarks": [_plain(row) for row in inputs.benchmarks.to_dicts()],
        "calibration": inputs.calibration.to_dicts(),
        "benchmark_counts": benchmark_counts(inputs.scores, inputs.holdout).to_dicts(),
        "accounting": _by_reason(inputs.accounting).to_dicts(),
        "mix": [_plain(row) for row in inputs.mix.to_dicts()],
        "not_better_than_baseline": negative_results(inputs.rollout, inputs.benchmarks),
        "provenance": dict(inputs.provenance),
        "facts": dict(inputs.facts),
    }


def negative_results(rollout: pl.DataFrame, benchmarks: pl.DataFrame) -> list[str]:
    """One sentence for each figure whose interval does not lie above its baseline: skill 0, or AUROC 0.5.

    A skill is also named where ridge regression has as much, a head of the benchmarks where its AUROC is below that of
    the consequence class alone.
    """
    found = []
    for row in rollout.filter(pl.col("skill_low") <= NO_CHANGE_SKILL).iter_rows(named=True):
        figure = _figure(row["skill"], row["skill_low"], row["skill_high"])
        found.append(f"Skill on {_group(row)} is {figure}, not above 0 (no change), n = {row['n']:,}.")
    for row in rollout.filter(pl.col("skill") <= pl.col("ridge_skill")).iter_rows(named=True):
        skill, ridge = f"{row['skill']:.3f}", f"{row['ridge_skill']:.3f}"
        found.append(f"Skill on {_group(row)} is {skill}; ridge regression on the same inputs has {ridge}.")
    for row in benchmarks.filter(pl.col("auroc_low") <= 0.5).iter_rows(named=True):
        figure = _figure(row["auroc"], row["auroc_low"], row["auroc_high"])
        found.append(f"AUROC of {row['head']} on {_benchmark(row)} is {figure}, not above chance.")
    baseline = benchmarks.filter(pl.col("head") == CONSEQUENCE).select("track", "subset", simple="auroc")
    beaten = benchmarks.filter(pl.col("head") != CONSEQUENCE).join(baseline, on=["track", "subset"])
    for row in beaten.filter(pl.col("auroc") < pl.col("simple")).iter_rows(named=True):
        auroc, simple = f"{row['auroc']:.2f}", f"{row['simple']:.2f}"
        found.append(
            f"AUROC of {row['head']} on {_benchmark(row)} is {auroc}; the consequence class alone has {simple}."
        )
    return found


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


def _blocks(inputs: ReportInputs) -> list[Block]:
    return [
        *_first_screen(inputs),
        *_rollout_section(inputs.rollout),
        *_benchmark_section(inputs),
        *calibration_section(inputs.calibration),
        *_negative_section(inputs),
        *_data_section(inputs),
        Heading("What these figures belong to"),
        Table(["what", "value"], [[name, value] for name, value in inputs.provenance.items()]),
    ]


def _first_screen(inputs: ReportInputs) -> list[Block]:
    blocks: list[Block] = [Paragraph(RESEARCH_TOOL, "notice")]
    if inputs.synthetic:
        blocks.append(Paragraph(SYNTHETIC, "notice"))
    if not inputs.has_annotation:
        blocks.append(Paragraph(NO_ANNOTATION, "notice"))
    verdict, sentence = _verdict(inputs.rollout)
    blocks.append(Paragraph(f"Better than predicting no change? {verdict.capitalize()}. {sentence}", "answer"))
    heads = inputs.benchmarks.filter(pl.col("subset") == "all")
    rows = [[row["track"], row["head"], _area(row, "auroc"), _n(row)] for row in heads.iter_rows(named=True)]
    blocks.append(Table(["ClinVar track", "score", "AUROC (95 % interval)", "n"], rows))
    blocks.append(Paragraph(f"Profile {inputs.profile}. Chance is 0.5 for AUROC; no change is 0 for skill."))
    return blocks


def _verdict(rollout: pl.DataFrame) -> tuple[str, str]:
    """yes, no, not shown or not measured, and the sentence behind it."""
    row = overall(rollout)
    if row is None or row["skill"] is None:
        return "not measured", f"There are no rows of {HOLDOUT_CHR} whose state changes."
    figure = _figure(row["skill"], row["skill_low"], row["skill_high"], "95 % interval ")
    sentence = (
        f"On {HOLDOUT_CHR} (chromosomes or spans that training never saw) "
        f"the skill is {figure}, n = {row['n']:,} rows: "
        "the share of the change of state that is explained (no change 0, perfect 1)."
    )
    of_holdout = (pl.col("holdout") == HOLDOUT_CHR) & (pl.col("edit_type") == ALL) & pl.col("k").is_not_null()
    weak = rollout.filter(of_holdout & (pl.col("skill_low") <= NO_CHANGE_SKILL))["k"].to_list()
    if weak:
        sentence += f" Not shown to be better at K = {', '.join(map(str, weak))}."
    if row["skill_low"] is None or row["skill_low"] <= NO_CHANGE_SKILL <= row["skill_high"]:
        return "not shown", sentence
    return ("yes" if row["skill"] > NO_CHANGE_SKILL else "no"), sentence


def _rollout_section(rollout: pl.DataFrame) -> list[Block]:
    columns = ["holdout", "edits K", "kind of edit", "n", "skill (95 % interval)"]
    columns += ["no change", "ridge", "random weights", "cosine of change"]
    columns += ["1 - cosine", "1 - cosine, no change", "L2", "L2, no change"]
    rows = [
        [
            row["holdout"],
            "all" if row["k"] is None else str(row["k"]),
            row["edit_type"],
            f"{row['n']:,}",
            _figure(row["skill"], row["skill_low"], row["skill_high"]),
            "0",
            _number(row["ridge_skill"], ".3f"),
            _number(row["random_skill"], ".3f"),
            _number(row["delta_cosine"], ".3f"),
            _number(_from_one(row["cosine"]), ".2e"),
            _number(_from_one(row["naive_cosine"]), ".2e"),
            _number(row["l2"], ".2e"),
            _number(row["naive_l2"], ".2e"),
        ]
        for row in rollout.iter_rows(named=True)
    ]
    text = (
        "Each row of K edits is judged after its last edit. "
        "Skill = 1 - sum of squared errors over sum of squared changes. "
        "Ridge regression is given the predictor's own inputs; random weights are those of an untrained predictor. "
        "The intervals resample rows; rows of one window are not independent, so they are somewhat too narrow. "
        "An indel whose length is not a multiple of six shifts the encoder's reading frame: "
        "compare kinds of edit with care."
    )
    caption = "Skill after the last of K edits, by holdout; bars are 95 % intervals"
    return [
        Heading("Rollout: predicted against true states"),
        Paragraph(text),
        Picture(plots.skill_by_k(rollout), caption),
        Table(columns, rows),
    ]


def _benchmark_section(inputs: ReportInputs) -> list[Block]:
    columns = [
        "track",
        "alleles",
        "score",
        "AUROC (95 % interval)",
        "AUPRC (95 % interval)",
        "share P/LP",
        "n",
        "excluded",
    ]
    rows = [
        [
            row["track"],
            row["subset"],
            row["head"],
            _area(row, "auroc"),
            "" if row["note"] else _area(row, "auprc"),
            _number(_share(row), ".2f"),
            _n(row),
            f"{row['n_excluded']:,}",
        ]
        for row in inputs.benchmarks.iter_rows(named=True)
    ]
    counts = [
        [row["track"], "P/LP" if row["label"] == 1 else "B/LB"]
        + [f"{row[name]:,}" for name in ("n_benchmark", "n_retained", "n_excluded")]
        for row in benchmark_counts(inputs.scores, inputs.holdout).iter_rows(named=True)
    ]
    return [
        Heading("ClinVar: pathogenic against benign"),
        Paragraph("P/LP against B/LB; VUS and conflicting alleles are out. AUPRC of chance is the share of P/LP."),
        Table(columns, rows),
        Picture(plots.roc(inputs.scores), "ROC curves of all heads, by ClinVar track"),
        Picture(plots.percentile_histogram(inputs.scores), "Surprise percentiles of P/LP and B/LB alleles"),
        Table(["track", "class", "in the benchmark", "retained", "excluded: could not be scored"], counts),
    ]


def _negative_section(inputs: ReportInputs) -> list[Block]:
    found = negative_results(inputs.rollout, inputs.benchmarks)
    none = "No figure of this run has an interval that reaches its baseline."
    return [Heading("What is not better than its baseline"), *[Paragraph(text) for text in found or [none]]]


def _data_section(inputs: ReportInputs) -> list[Block]:
    reasons, mix = _by_reason(inputs.accounting), inputs.mix
    blocks: list[Block] = [
        Heading("Data"),
        Paragraph("Every allele that was read, by what became of it:"),
        Table(
            ["input", "retained or reason", "alleles"], [[str(a), str(b), f"{n:,}"] for a, b, n in reasons.iter_rows()]
        ),
        Paragraph("Training edits by source, asked for and obtained:"),
        Table(mix.columns, [[_any(value) for value in row] for row in mix.iter_rows()]),
    ]
    if inputs.facts:
        blocks.append(Table(["fact", "value"], [[name, value] for name, value in inputs.facts.items()]))
    return blocks


def _by_reason(accounting: pl.DataFrame) -> pl.DataFrame:
    totals = accounting.group_by("source", "reason").agg(pl.col("n_alleles").sum())
    first = (pl.col("reason") == "retained").cast(pl.Int8)
    return totals.sort("source", first, "n_alleles", "reason", descending=[False, True, True, False])


def _figure(value: float | None, low: float | None, high: float | None, name: str = "") -> str:
    """A figure with its interval (called `name`), to as many digits as the interval's width supports."""
    if value is None:
        return "not defined"
    if low is None or high is None:
        return f"{value:.2f} (no interval)"
    width = high - low
    digits = min(max(1 - math.floor(math.log10(width)), 2), 3) if width > 0 else 2
    return f"{value:.{digits}f} ({name}{low:.{digits}f} to {high:.{digits}f})"


def _area(row: Mapping[str, Any], name: str) -> str:
    return row["note"] or _figure(row[name], row[f"{name}_low"], row[f"{name}_high"])


def _n(row: Mapping[str, Any]) -> str:
    return f"{row['n_positive']:,} P/LP, {row['n_negative']:,} B/LB"


def _share(row: Mapping[str, Any]) -> float | None:
    total = row["n_positive"] + row["n_negative"]
    return row["n_positive"] / total if total else None


def _group(row: Mapping[str, Any]) -> str:
    edits = "rows of any K" if row["k"] is None else f"K = {row['k']}"
    return f"{row['holdout']}, {edits}" + ("" if row["edit_type"] == ALL else f", {row['edit_type']}")


def _benchmark(row: Mapping[str, Any]) -> str:
    return row["track"] if row["subset"] == "all" else f"{row['track']} ({row['subset']})"


def _from_one(cosine: float | None) -> float | None:
    return None if cosine is None else 1 - cosine


def _number(value: float | None, form: str) -> str:
    return "not defined" if value is None else format(value, form)


def _any(value: object) -> str:
    if isinstance(value, float):
        return f"{value:,.3f}".rstrip("0").rstrip(".")
    return f"{value:,}" if isinstance(value, int) and not isinstance(value, bool) else str(value)


def _plain(row: Mapping[str, Any] | None) -> dict[str, Any] | None:
    """A row with null for a float that is not finite: JSON has no word for it."""
    if row is None:
        return None
    return {name: None if isinstance(v, float) and not math.isfinite(v) else v for name, v in row.items()}


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


def _write(path: Path, text: str) -> None:
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    temporary.write_text(text, encoding="utf-8")
    os.replace(temporary, path)
