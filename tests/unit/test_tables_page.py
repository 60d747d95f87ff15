"""The page of all tables is the one that the contracts give, and tells what each column means."""

from __future__ import annotations

from pathlib import Path

import pandera.polars as pa
import pytest

from data_contracts import columns
from data_contracts.__main__ import COMMAND, DATA_FLOW, page, tables

PAGE = Path(__file__).parents[2] / "docs" / "tables.md"


def test_page_is_the_one_that_the_contracts_give() -> None:
    assert PAGE.read_text(encoding="utf-8") == page(), f"the tables have changed; write the page again: {COMMAND}"


@pytest.mark.parametrize("asset", tables())
def test_every_table_and_column_says_what_it_holds(asset: str) -> None:
    table = tables()[asset]
    assert table.__doc__
    assert [name for name, column in table.to_schema().columns.items() if not column.description] == []
    assert f"\n## {asset}\n" in page()


def test_tables_stand_in_the_order_of_the_data_flow() -> None:
    assert [asset for asset in tables() if asset in DATA_FLOW] == list(DATA_FLOW)


def test_rules_of_a_table_have_their_names_also_where_another_derives_from_it() -> None:
    text = page()
    for asset in ("phased_haplotypes", "holdout_haplotypes"):
        section = text.split(f"## {asset}\n")[1].split("\n## ")[0]
        assert "Each row: start_bp < end_bp; k edits in order that do not overlap." in section


def test_checks_in_words(monkeypatch: pytest.MonkeyPatch) -> None:
    class Small(columns.Table):
        """A table of one's own."""

        a: int = pa.Field(ge=1, description="a|b")
        b: str = pa.Field(isin=["", "x"], nullable=True, unique=True, description="letters")
        c: float = pa.Field(in_range={"min_value": 0, "max_value": 1, "include_max": False}, description="share")
        d: str = pa.Field(str_length={"min_value": 2}, description="name")

    monkeypatch.setattr("data_contracts.Scores", Small)
    lines = page().splitlines()
    assert r"| `a` | Int64 |  | a\|b | >= 1 |" in lines
    assert "| `b` | String | yes | letters | unique; one of empty, `x` |" in lines
    assert "| `c` | Float64 |  | share | 0 to 1, not 1 |" in lines
    assert "| `d` | String |  | name | length at least 2 |" in lines
