"""The end of `make demo` and `make real`: score the profile's VCF with the fresh release, and say what came out.

Belongs here: the call of `geno-score`, as a user would make it, and the last lines on the screen. Every figure is read
from what the assets wrote; nothing is computed here.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import polars as pl
from rich.console import Console
from rich.table import Table

from data_contracts.benchmark_alleles import TRACKS
from geno_pipeline.build.release import RESEARCH_LINE
from geno_pipeline.config import Profile
from geno_pipeline.evaluation.benchmarks import NO_FILE
from geno_pipeline.evaluation.first_screen import HARMFUL, ONE_TRAINING
from geno_pipeline.evaluation.history import METRICS_FILE

SHOWN = ("surprise (percentile)", "displacement", "zero-shot likelihood", "consequence class", "distance to the exon")
SCORED, SCORED_PAGE = "scored.vcf.gz", "scored.html"


def score_with_release(profile: Profile) -> int:
    """Run `geno-score` on the profile's VCF into `<storage>/scored.vcf.gz`, with a page. Returns its exit code."""
    command = [sys.executable, "-m", "geno_model.cli.score"]
    options = {
        "--model-dir": profile.storage / "model_release",
        "--vcf": profile.input_path(profile.inputs.score_vcf),
        "--fasta": profile.input_path(profile.inputs.reference),
        "--output": profile.storage / SCORED,
        "--report": profile.storage / SCORED_PAGE,
    }
    # --restart: what an interrupted run has kept beside the output may be of another model.
    arguments = [*(str(part) for pair in options.items() for part in pair), "--restart"]
    Console(stderr=True).print(" ".join(["geno-score", *arguments]), highlight=False, soft_wrap=True)
    environment = os.environ | {"GENO_CACHE": str(profile.storage)}
    return subprocess.run([*command, *arguments], env=environment, check=False).returncode


def print_headline(profile: Profile) -> None:
    """What was made, how good it is, where it lies and how to look at it."""
    root, screen = profile.storage, Console()
    if profile.synthetic:
        screen.print("[yellow]SYNTHETIC data: a made-up genome and population.[/yellow]")
    screen.print(skill_table(pl.read_parquet(root / "rollout_fidelity.parquet")))
    screen.print(ranking_table(pl.read_parquet(root / "eval_report" / "benchmarks.parquet")))
    metrics = json.loads((root / "eval_report" / METRICS_FILE).read_text(encoding="utf-8"))
    screen.print(f"{HARMFUL} {metrics['separation']['answer']}. {metrics['separation']['sentence']}", highlight=False)
    screen.print(ONE_TRAINING, highlight=False)
    for what, path in (
        ("report", root / "eval_report" / "eval_report.html"),
        ("model", root / "model_release"),
        ("scored VCF", root / SCORED),
        ("scores page", root / SCORED_PAGE),
    ):
        screen.print(f"{what:<12}{_size(path):>12}  {path}", highlight=False, soft_wrap=True)
    data = "" if profile.data is None else f" DATA={profile.data}"
    screen.print(f"look at it{'':>14}  make ui PROFILE={profile.name}{data}   (http://localhost:3000)", highlight=False)
    screen.print(RESEARCH_LINE, highlight=False, soft_wrap=True)


def skill_table(rollout: pl.DataFrame) -> Table:
    """Skill on held-out chromosomes or spans: by edit type for one edit, and by number of edits."""
    title = "Skill on holdout-chr: share of the change of state predicted (no change = 0)"
    table = Table(title=title, title_justify="left")
    for name in ("edits", "type", "n", "skill", "95 % interval", "ridge", "random weights"):
        table.add_column(name, justify="left" if name == "type" else "right", no_wrap=True)
    rows = rollout.filter((pl.col("holdout") == "holdout-chr") & pl.col("k").is_not_null())
    for row in rows.iter_rows(named=True):
        table.add_row(
            f"{row['k']}",
            row["edit_type"],
            f"{row['n']:,}",
            _number(row["skill"]),
            _interval(row["skill_low"], row["skill_high"]),
            _number(row["ridge_skill"]),
            _number(row["random_skill"]),
        )
    return table


def ranking_table(benchmarks: pl.DataFrame) -> Table:
    """AUROC of the heads and of what they must beat on each benchmark, with its interval."""
    table = Table(title="Harmful against harmless, held-out alleles (AUROC; chance = 0.5)", title_justify="left")
    for name in ("benchmark", "score", "harmful", "harmless", "AUROC", "95 % interval"):
        is_number = name in ("harmful", "harmless", "AUROC")  # the interval may be a sentence
        table.add_column(name, justify="right" if is_number else "left", no_wrap=is_number)
    whole = benchmarks.filter((pl.col("family") == "kind") & (pl.col("subset") == "all"))
    given = whole.filter(pl.col("note").ne_missing(NO_FILE) & pl.col("track").is_in(TRACKS))
    for row in given.filter(pl.col("score").is_in(SHOWN)).iter_rows(named=True):
        interval = row["note"] or _interval(row["auroc_low"], row["auroc_high"])
        numbers = (f"{row['n_positive']:,}", f"{row['n_negative']:,}", _number(row["auroc"]), interval)
        table.add_row(row["track"], row["score"], *numbers)
    return table


def ablation_table(ablations: pl.DataFrame) -> Table:
    """A row for each variant of the training, a column for each group of edits: skill and half of its interval."""
    n_seeds = ablations["n_seeds"][0]
    title = f"Skill on holdout-chr by what the predictor is given: mean of {n_seeds} seeds, Student's 95 % interval"
    table = Table(title=title, title_justify="left", show_lines=True)
    table.add_column("variant")
    for edits, n in ablations.select("edits", "n").unique(maintain_order=True).iter_rows():
        table.add_column("\n".join([*edits.split(", "), f"n = {n:,}"]), justify="right")
    for (variant,), rows in ablations.group_by("variant", maintain_order=True):
        table.add_row(
            str(variant),
            *(
                f"{_number(skill)}\n±{high - skill:.3f}"
                for skill, high in rows.select("skill", "skill_high").iter_rows()
            ),
        )
    return table


def _number(value: float | None) -> str:
    return "-" if value is None else f"{round(value, 3) + 0.0:.3f}"  # + 0.0: no minus before a zero


def _interval(low: float | None, high: float | None) -> str:
    return "-" if low is None or high is None else f"{_number(low)} to {_number(high)}"


def _size(path: Path) -> str:
    files = path.rglob("*") if path.is_dir() else [path]
    return f"{sum(file.stat().st_size for file in files if file.is_file()) / 1e3:,.0f} kB"
