"""Checking a frame against its table.

Belongs here: `validate` and the error that it raises. Does not belong here: any rule of a table.

Concept: a frame is checked once where it is written and, sampled, where it is read; code in between trusts it.
"""

from __future__ import annotations

import pandera.polars as pa
import polars as pl
from pandera.errors import SchemaErrors

ROWS_SHOWN = 3
_MAX_CHARS = 100


class ContractViolationError(ValueError):
    """A frame breaks its contract; the message names table, column, rule, count and first offending rows."""


def validate(model: type[pa.DataFrameModel], frame: pl.DataFrame) -> pl.DataFrame:
    """Check a frame against a table and return it with the columns in the table's order.

    Raises:
        ContractViolationError: every broken rule, one line each.
    """
    try:
        model.validate(frame, lazy=True)
    except SchemaErrors as error:
        cases = pl.DataFrame(error.failure_cases)
        raise ContractViolationError(_explain(model.__name__, cases, frame.height)) from None
    return frame.select(model.to_schema().columns.keys())


def _explain(table: str, cases: pl.DataFrame, n_rows: int) -> str:
    # A missing column also fails every rule that reads it: the missing column is what to say.
    structural = cases.filter(pl.col("check").str.starts_with("column_in_"))
    shown = structural if structural.height else cases
    lines = [f"{table}: {n_rows} rows break the contract"]
    for (column, rule), failures in shown.group_by("column", "check", maintain_order=True):
        rows = failures.filter(pl.col("index").is_not_null())
        found = "; ".join(_shown(row) for row in failures.head(ROWS_SHOWN).iter_rows(named=True))
        count = f"{rows.height} rows, first " if rows.height else ""
        lines.append(f"  column {column}, rule {rule}: {count}{found}")
    return "\n".join(lines)


def _shown(case: dict[str, object]) -> str:
    value = str(case["failure_case"])
    value = value if len(value) <= _MAX_CHARS else f"{value[: _MAX_CHARS - 3]}..."
    return f"found {value}" if case["index"] is None else f"row {case['index']} found {value}"
