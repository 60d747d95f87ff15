"""What has changed since an earlier report, and what has become worse since the last release (spec 6).

Belongs here: comparing two reports' figures. Does not: words about them (`report`), making them.

A report's figures are those of its `eval_metrics.json`. Compared are AUROC of the heads on all alleles, and on SNVs, of
each benchmark, and skill on held-out chromosomes by number of edits.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import polars as pl

from data_contracts.columns import HOLDOUT_CHR
from geno_pipeline.evaluation.benchmarks import HEADS
from geno_pipeline.evaluation.rollout import ALL

METRICS_FILE = "eval_metrics.json"
AUROC, SKILL = "AUROC", "skill"
MOST_WORSE = {AUROC: 0.02, SKILL: 0.05}
"""How far a figure may fall below the last release's (spec 6)."""

_SCHEMA = pl.Schema(
    {"figure": pl.String, "of": pl.String, "before": pl.Float64, "now": pl.Float64, "change": pl.Float64}
    | dict.fromkeys(("n_before", "n_now"), pl.Int64)
)


def read_metrics(folder: Path) -> dict[str, Any] | None:
    """The figures of the report in a folder; None where there is none, or one of another form."""
    try:
        found = json.loads((folder / METRICS_FILE).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    return found if isinstance(found, dict) and {"ranking", "rollout"} <= found.keys() else None


def changes(before: Mapping[str, Any] | None, now: Mapping[str, Any]) -> pl.DataFrame:
    """Figures that both reports have: figure, of, before, now, change, and the numbers of rows behind them."""
    if before is None:
        return pl.DataFrame(schema=_SCHEMA)
    earlier, later = _compared(before), _compared(now)
    rows = [
        (kind, of, was, value, value - was, n_was, n)
        for (kind, of), (value, n) in later.items()
        if (kind, of) in earlier
        for was, n_was in [earlier[kind, of]]
    ]
    return pl.DataFrame(rows, schema=_SCHEMA, orient="row")


def model_change(before: Mapping[str, Any] | None, now: Mapping[str, Any]) -> str:
    """A sentence on whether both reports are of one model; nothing where there is no earlier one."""
    if before is None:
        return ""
    old, new = (metrics.get("made_with") or {} for metrics in (before, now))
    if old == new:
        return "Both reports are of the same model."
    names = (str(marks.get("checkpoint_sha256", "an unknown one"))[:12] for marks in (old, new))
    if old.get("checkpoint_sha256") == new["checkpoint_sha256"]:
        return "The model is the same, and scores with other settings than in the last report."
    return "The model has changed: the last report was of checkpoint {}, this one is of {}.".format(*names)


def regressions(before: Mapping[str, Any] | None, now: Mapping[str, Any]) -> list[str]:
    """One sentence for each figure that has fallen by more than `MOST_WORSE`, or is there no more."""
    if before is None:
        return []
    gone = [
        f"{kind} of {of}: {was:.3f} (n = {n:,}), now not measured."
        for (kind, of), (was, n) in _compared(before).items()
        if (kind, of) not in _compared(now)
    ]
    table = changes(before, now).with_columns(
        limit=pl.col("figure").replace_strict(MOST_WORSE, return_dtype=pl.Float64)
    )
    return gone + [
        f"{row['figure']} of {row['of']}: {row['before']:.3f} (n = {row['n_before']:,}), now {row['now']:.3f} "
        f"(n = {row['n_now']:,}), {-row['change']:.3f} lower; at most {row['limit']:.2f} is let pass."
        for row in table.filter(-pl.col("change") > pl.col("limit")).iter_rows(named=True)
    ]


def _compared(metrics: Mapping[str, Any]) -> dict[tuple[str, str], tuple[float, int]]:
    """Value and number of rows by figure and what it is of."""
    found = {}
    for row in metrics["ranking"]:
        if row["score"] in HEADS and row["subset"] in ("all", "SNV") and row["auroc"] is not None:
            of = f"{row['track']}, {row['subset']}, {row['score']}"
            found[AUROC, of] = row["auroc"], row["n_positive"] + row["n_negative"]
    for row in metrics["rollout"]:
        if row["holdout"] == HOLDOUT_CHR and row["edit_type"] == ALL and row["skill"] is not None:
            of = f"{HOLDOUT_CHR}, " + ("all rows" if row["k"] is None else f"K = {row['k']}")
            found[SKILL, of] = row["skill"], row["n"]
    return found
