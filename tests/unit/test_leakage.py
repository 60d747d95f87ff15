"""The leakage count can fail: a row of each kind of leak is planted and found, and nothing else is."""

from __future__ import annotations

from pathlib import Path

import polars as pl
import pytest

from data_contracts import CalibrationScores, HoldoutChr, TrainingEdits
from data_contracts.columns import POPULATIONS
from geno_pipeline.build.leakage import KINDS, Holdouts, leakage
from tests.unit.build_inputs import haplotype
from tests.unit.test_regions import genes, held_clinvar, small_genome

NO_LEAK = dict.fromkeys(KINDS, 0)
CLINVAR, BLOCKS, CHROMOSOME = "holdout-clinvar", "holdout-haplotypes", "holdout-chr"


@pytest.fixture(scope="module")
def held(tmp_path_factory: pytest.TempPathFactory) -> Holdouts:
    """Held out: 90..99; a deletion of CA at 11 in CACACA; an SNV at 39 (0-based) whose codon goes on at 50; a block."""
    return Holdouts(
        pl.DataFrame([("1", 90, 100)], schema=HoldoutChr.empty().schema, orient="row"),
        held_clinvar((11, "GCA", "G", 2), (40, "G", "T", 0)),
        haplotype([("1", 60, "G", "C"), ("1", 64, "G", "C")]),
        genes((36, 40), (50, 55)),
        small_genome(Path(tmp_path_factory.mktemp("genome"))),
    )


def row(*edits: tuple[int, str, str], window: tuple[int, int] = (0, 84), contig: str = "1") -> pl.DataFrame:
    """A training row of edits: pos (1-based), ref, alt."""
    structs = [{"pos": pos, "ref": ref, "alt": alt} for pos, ref, alt in edits]
    values = ("id", contig, *window, "0" * 64, "gnomad", len(structs), structs, 0, 0)
    return pl.DataFrame([values], schema=TrainingEdits.empty().schema, orient="row")


def counts(rows: pl.DataFrame, held: Holdouts) -> dict[tuple[str, str], int]:
    found = leakage(rows, held)
    return {(holdout, kind): n for holdout, kind, n in found.rows()}


@pytest.mark.parametrize(
    ("planted", "leaks"),
    [
        (row((30, "G", "A")), []),
        (row((95, "G", "A"), window=(16, 100)), [(CHROMOSOME, "edit"), (CHROMOSOME, "window")]),
        (row((30, "G", "A"), window=(8, 92)), [(CHROMOSOME, "window")]),
        # the very allele; and the same deletion at the end of the repeat: no base of it is a base of the first
        (row((11, "GCA", "G")), [(CLINVAR, "allele"), (CLINVAR, "position"), (CLINVAR, "codon")]),
        (row((15, "ACA", "A")), [(CLINVAR, "allele"), (CLINVAR, "codon")]),
        (row((16, "CA", "C")), []),
        # another allele of the position; of the codon; of the part of the codon behind the intron; and beyond it
        (row((40, "G", "A")), [(CLINVAR, "position"), (CLINVAR, "codon")]),
        (row((42, "G", "A")), [(CLINVAR, "codon")]),
        (row((52, "G", "A")), [(CLINVAR, "codon")]),
        (row((53, "G", "A")), []),
        # a block, its very allele, and both through the second edit of a row alone
        (row((62, "G", "A")), [(BLOCKS, "block")]),
        (row((64, "G", "C")), [(BLOCKS, "allele"), (BLOCKS, "block")]),
        (row((30, "G", "A"), (64, "G", "C")), [(BLOCKS, "allele"), (BLOCKS, "block")]),
        (row((42, "G", "A"), (62, "G", "A")), [(CLINVAR, "codon"), (BLOCKS, "block")]),
    ],
)  # fmt: skip
def test_each_kind_of_planted_row_is_found(held: Holdouts, planted: pl.DataFrame, leaks: list[tuple[str, str]]) -> None:
    clean = pl.concat([row((pos, "G", "A")) for pos in (28, 30, 80)])
    assert counts(clean, held) == NO_LEAK
    assert counts(pl.concat([clean, planted]), held) == NO_LEAK | dict.fromkeys(leaks, 1)


def test_single_alleles_are_counted_too(held: Holdouts) -> None:
    schema = CalibrationScores.empty().schema
    rows = [("1", pos, "G", "T", 0, "other", 0.4, "none", 0.1, 0.1, *[None] * len(POPULATIONS)) for pos in (30, 40, 62)]
    expected = {(CLINVAR, "allele"): 1, (CLINVAR, "position"): 1, (CLINVAR, "codon"): 1, (BLOCKS, "block"): 1}
    assert counts(pl.DataFrame(rows, schema=schema, orient="row"), held) == NO_LEAK | expected
    assert counts(CalibrationScores.empty(), held) == NO_LEAK
    assert counts(TrainingEdits.empty(), held) == NO_LEAK
