"""Table contracts: each holds for an empty table, names its columns, and says what is wrong."""

from __future__ import annotations

import polars as pl
import pytest

import data_contracts
from data_contracts import ContractViolationError, GnomadVariants, PhasedHaplotypes, TrainingEdits, validate
from data_contracts.columns import Table
from data_contracts.variant_accounting import REASONS
from geno_model.genomics import alleles

TABLES = [
    value
    for name in data_contracts.__all__
    if isinstance(value := getattr(data_contracts, name), type) and issubclass(value, Table)
]


def _variants(**changes: object) -> pl.DataFrame:
    row = {"contig": "1", "pos": 7, "ref": "A", "alt": "C", "edit_type": 0, "af": 0.25} | changes
    return pl.DataFrame([row], schema=GnomadVariants.empty().schema)


def _row(**changes: object) -> pl.DataFrame:
    row = {
        "row_id": "1:0:0",
        "contig": "1",
        "window_start_bp": 0,
        "window_end_bp": 12_288,
        "window_sha256": "a" * 64,
        "source": "gnomad",
        "k": 2,
        "edits": [{"pos": 1, "ref": "AC", "alt": "A"}, {"pos": 3, "ref": "A", "alt": "C"}],
        "edit_type": 2,
        "pool_token": 0,
    } | changes
    return pl.DataFrame([row], schema=TrainingEdits.empty().schema)


@pytest.mark.parametrize("table", TABLES, ids=lambda table: table.__name__)
def test_empty_table_is_valid_and_every_column_says_what_it_holds(table: type[Table]) -> None:
    assert validate(table, table.empty()).is_empty()
    assert all(column.description for column in table.to_schema().columns.values())


def test_valid_rows_come_back_in_the_order_of_the_contract() -> None:
    frame = _variants()
    assert validate(GnomadVariants, frame.select(reversed(frame.columns))).equals(frame)
    assert validate(TrainingEdits, _row()).height == 1


def test_violation_names_table_column_rule_count_and_first_rows() -> None:
    frame = pl.concat([_variants(), _variants(af=1.5), _variants(pos=0), _variants(af=-1.0)])
    with pytest.raises(ContractViolationError) as caught:
        validate(GnomadVariants, frame)
    message = str(caught.value)
    assert "GnomadVariants: 4 rows" in message
    assert "column af, rule in_range(0, 1): 2 rows, first row 1 found 1.5; row 3 found -1.0" in message
    assert "column pos, rule greater_than_or_equal_to(1): 1 rows, first row 2 found 0" in message


@pytest.mark.parametrize(
    ("frame", "said"),
    [
        (_variants().drop("af"), "column_in_dataframe: found af"),
        (_variants().with_columns(sample=1), "column_in_schema: found sample"),
        (_variants().cast({"pos": pl.Int32}), "column pos, rule dtype('Int64'): found Int32"),
        (_variants(ref="N"), "column ref"),
        (_variants(alt="A" * 17), "column alt"),
        (_variants(alt="A"), "ref and alt differ"),
        (_variants(edit_type=5), "column edit_type"),
    ],
)
def test_each_rule_can_fail(frame: pl.DataFrame, said: str) -> None:
    with pytest.raises(ContractViolationError) as caught:
        validate(GnomadVariants, frame)
    assert said in str(caught.value)


@pytest.mark.parametrize(
    "changes",
    [
        {"k": 3},
        {"edits": [{"pos": 1, "ref": "ACG", "alt": "A"}, {"pos": 3, "ref": "A", "alt": "C"}]},  # they share base 3
        {"edits": [{"pos": 3, "ref": "A", "alt": "C"}, {"pos": 1, "ref": "A", "alt": "C"}]},
        {"edits": [{"pos": 1, "ref": "a", "alt": "C"}, {"pos": 3, "ref": "A", "alt": "C"}]},
        {"window_start_bp": 1},
        {"pool_token": 2_048},
        {"window_sha256": "A" * 64},
    ],
)
def test_a_training_row_holds_its_edits_and_its_pooling_centre(changes: dict[str, object]) -> None:
    with pytest.raises(ContractViolationError):
        validate(TrainingEdits, _row(**changes))


def test_a_haplotype_has_at_least_two_edits() -> None:
    row = {"contig": "1", "start_bp": 0, "end_bp": 1, "k": 1, "edits": [{"pos": 1, "ref": "A", "alt": "C"}]}
    frame = pl.DataFrame([row | {"n_carriers": 1}], schema=PhasedHaplotypes.empty().schema)
    with pytest.raises(ContractViolationError, match="column k"):
        validate(PhasedHaplotypes, frame)


def test_reasons_are_those_that_alleles_are_given() -> None:
    assert REASONS == alleles.REASONS
