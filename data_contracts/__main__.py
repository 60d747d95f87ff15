"""The page `docs/tables.md`: what every table holds, written from the contracts themselves.

    python -m data_contracts > docs/tables.md

Belongs here: a contract as Markdown. Does not belong here: any rule or meaning of a table.
"""

from __future__ import annotations

import inspect
from typing import Any

import pandera.polars as pa
import polars as pl
from pandera import Check

import data_contracts
from data_contracts import columns

COMMAND = "python -m data_contracts > docs/tables.md"
# From inputs to scores; a table that is not named here comes after these.
DATA_FLOW = (
    "gene_annotation",
    "repeat_annotation",
    "gnomad_variants",
    "clinvar_variants",
    "phased_haplotypes",
    "variant_accounting",
    "holdout_chr",
    "reference_windows",
    "holdout_clinvar",
    "holdout_haplotypes",
    "holdout_regions",
    "edit_mix",
    "training_edits",
    "mix_report",
    "validation_edits",
    "rollout_fidelity",
    "calibration_scores",
    "calibration",
    "benchmark_alleles",
    "clinvar_scores",
    "brca_scores",
    "traitgym_scores",
    "zero_shot_scores",
    "efficiency",
    "scores",
)
_COMPARISONS = {
    "equal_to": "=",
    "not_equal_to": "not",
    "greater_than": ">",
    "greater_than_or_equal_to": ">=",
    "less_than": "<",
    "less_than_or_equal_to": "<=",
}
_HEAD = "| column | type | null | meaning | rule |\n|---|---|---|---|---|"


def tables() -> dict[str, type[columns.Table]]:
    """All tables by the name of their asset, in the order of the data flow."""
    found = [getattr(data_contracts, name) for name in data_contracts.__all__]
    by_asset = {
        table.__module__.rpartition(".")[2]: table
        for table in found
        if isinstance(table, type) and issubclass(table, columns.Table)
    }
    return dict(sorted(by_asset.items(), key=lambda item: (_place(item[0]), item[0])))


def page() -> str:
    """The whole page."""
    known = tables()
    coordinates = next(text for text in _paragraphs(columns) if text.startswith("Coordinates"))
    names = ", ".join(f"[{asset}](#{asset})" for asset in known)
    parts = [
        "# Tables",
        f"Written from `data_contracts`; do not edit. To write it again: `{COMMAND}`.",
        coordinates.partition(" Source:")[0],
        "A table has the columns named and no others. Types are those of polars; `null` says whether a value may be "
        "missing. A frame is checked against its table where it is written and, sampled, where it is read.",
        f"In the order in which they are made: {names}.",
        *(_section(asset, table, list(known.values())) for asset, table in known.items()),
    ]
    return "\n\n".join(parts) + "\n"


def _section(asset: str, table: type[columns.Table], known: list[type[columns.Table]]) -> str:
    lines = [f"| {' | '.join(_cells(name, column))} |" for name, column in table.to_schema().columns.items()]
    parts = [f"## {asset}", f"`{table.__name__}`: {' '.join(_paragraphs(table))}", "\n".join([_HEAD, *lines])]
    if rules := _rules_of_rows(table, known):
        parts.append(f"Each row: {'; '.join(rules)}.")
    return "\n\n".join(parts)


def _cells(name: str, column: pa.Column) -> list[str]:
    rules = [*(["unique"] if column.unique else []), *map(_rule, column.checks)]
    null, dtype = "yes" if column.nullable else "", column.dtype.type if column.dtype else ""
    cells = [f"`{name}`", _type(dtype), null, column.description or "", "; ".join(rules)]
    return [cell.replace("|", r"\|") for cell in cells]


def _type(dtype: Any) -> str:
    """A polars type in words."""
    if isinstance(dtype, pl.List):
        return f"list of {_type(dtype.inner)}"
    if isinstance(dtype, pl.Struct):
        return "{" + ", ".join(f"{field.name}: {_type(field.dtype)}" for field in dtype.fields) + "}"
    return str(dtype)


def _rule(check: Check) -> str:
    """A check of one column in words; one that has no words here as its name and values."""
    facts = check.statistics or {}
    match check.name:
        case name if name in _COMPARISONS:
            return f"{_COMPARISONS[name]} {next(iter(facts.values()))}"
        case "in_range":
            low, high = facts["min_value"], facts["max_value"]
            excluded = [end for end, is_in in ((low, facts["include_min"]), (high, facts["include_max"])) if not is_in]
            return f"{low} to {high}" + "".join(f", not {end}" for end in excluded)
        case "isin":
            values = (f"`{value}`" if value != "" else "empty" for value in facts["allowed_values"])
            return f"one of {', '.join(values)}"
        case "str_length":
            ends = (("at least", "min_value"), ("at most", "max_value"), ("exactly", "exact_value"))
            return "length " + " and ".join(f"{word} {facts[key]}" for word, key in ends if facts[key] is not None)
        case "str_matches":
            return f"matches `{facts['pattern']}`"
    return f"{check.name} {', '.join(f'{key} {value}' for key, value in facts.items())}".strip()


def _rules_of_rows(table: type[columns.Table], known: list[type[columns.Table]]) -> list[str]:
    """Names of the rules over several columns.

    Of a table and one derived from it, pandera gives the rules' names to the one that is used first and the names of
    their functions to the other; the rules of the base come first in both.
    """
    names = _check_names(table)
    for other in known:
        if issubclass(other, table) or issubclass(table, other):
            pairs = zip(names, _check_names(other), strict=False)
            names[: len(_check_names(other))] = [theirs if own.startswith("_") else own for own, theirs in pairs]
    return names


def _check_names(table: type[columns.Table]) -> list[str]:
    return [check.name or "" for check in table.to_schema().checks or []]


def _paragraphs(thing: object) -> list[str]:
    """Paragraphs of a docstring, each on one line."""
    return [" ".join(text.split()) for text in (inspect.getdoc(thing) or "").split("\n\n")]


def _place(asset: str) -> int:
    return DATA_FLOW.index(asset) if asset in DATA_FLOW else len(DATA_FLOW)


if __name__ == "__main__":
    print(page(), end="")
