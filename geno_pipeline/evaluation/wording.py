"""How a figure is printed: one way for every table of the report.

Belongs here: numbers, intervals and answers as text. Does not: computing them, and what the report says.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

YES, NO, NOT_SHOWN = "yes", "no", "not shown"


def figure(value: float | None, low: float | None, high: float | None, name: str = "") -> str:
    """A figure with its interval (called `name`), to as many digits as the interval's width supports."""
    if value is None:
        return "not defined"
    if low is None or high is None:
        return f"{number(value, '.2f')} (no interval)"
    digits = _digits(high - low)
    value, low, high = (round(part, digits) + 0.0 for part in (value, low, high))  # + 0.0: no minus before a zero
    return f"{value:.{digits}f} ({name}{low:.{digits}f} to {high:.{digits}f})"


def signed(value: float | None, low: float | None, high: float | None) -> str:
    """A difference with its interval and a sign."""
    if value is None or low is None or high is None:
        return "not defined"
    digits = _digits(high - low)
    value, low, high = (round(part, digits) + 0.0 for part in (value, low, high))
    return f"{value:+.{digits}f} ({low:+.{digits}f} to {high:+.{digits}f})"


def is_better(low: float | None, high: float | None) -> str:
    """Whether a difference lies above 0: `YES`, `NO` (below it), or `NOT_SHOWN` where the interval holds 0."""
    if low is None or high is None or low <= 0 <= high:
        return NOT_SHOWN
    return YES if low > 0 else NO


def against(row: Mapping[str, Any] | None) -> str:
    """Whether a score is better than a baseline (row of `Figures.differences`) and by how much, or why nobody knows."""
    if row is None or row["difference"] is None:
        return f"- ({row['note']})" if row and row["note"] else "-"
    return f"{is_better(row['low'], row['high'])}: {signed(row['difference'], row['low'], row['high'])}"


def area(row: Mapping[str, Any], name: str) -> str:
    """The figure `name` of a row with its interval, or the note that says why there is none."""
    return row["note"] or figure(row[name], row.get(f"{name}_low"), row.get(f"{name}_high"))


def number(value: float | None, form: str) -> str:
    """A number, or `not defined`."""
    if value is None or not math.isfinite(value):
        return "not defined"
    text = format(value, form)
    return text.removeprefix("-") if float(text) == 0 else text


def anything(value: object) -> str:
    """A cell of a table whose columns are of any type."""
    if value is None:
        return ""
    if isinstance(value, float):
        return f"{value:,.3f}".rstrip("0").rstrip(".")
    return f"{value:,}" if isinstance(value, int) and not isinstance(value, bool) else str(value)


def plain(row: Mapping[str, Any] | None) -> dict[str, Any] | None:
    """A row with null for a float that is not finite: JSON has no word for it."""
    if row is None:
        return None
    return {name: None if isinstance(v, float) and not math.isfinite(v) else v for name, v in row.items()}


def _digits(width: float) -> int:
    return min(max(1 - math.floor(math.log10(width)), 2), 3) if width > 0 else 2
