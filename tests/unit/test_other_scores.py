"""Scores of other models from a user's table."""

from __future__ import annotations

from pathlib import Path

import polars as pl
import pytest

from geno_model.genomics.errors import InputError
from geno_model.genomics.genome import Genome
from geno_pipeline.evaluation.other_scores import read_scores
from tests.unit.build_inputs import repeated_genome

ROWS = {"chrom": ["1", "chr1", "chr2", "1"], "pos": [2, 3, 2, 2], "ref": ["C", "T", "C", "C"], "alt": ["A"] * 4,
        "CADD": [20.5, 10.0, 3.0, 1.0], "name": list("abcd"), "Evo2": [1, None, 2, 3]}  # fmt: skip


@pytest.fixture
def genome(tmp_path: Path) -> Genome:
    return repeated_genome(tmp_path)  # ACGTACGTAC...


@pytest.mark.parametrize("suffix", [".parquet", ".tsv", ".csv"])
def test_columns_of_numbers_by_allele(genome: Genome, tmp_path: Path, suffix: str) -> None:
    path, table = tmp_path / f"scores{suffix}", pl.DataFrame(ROWS)
    table.write_parquet(path) if suffix == ".parquet" else table.write_csv(
        path, separator="," if "c" in suffix else "\t"
    )
    found = read_scores(path, genome)
    # The second row's base is not the FASTA's, the fourth is the first allele again.
    assert found.columns == ["contig", "pos", "ref", "alt", "CADD", "Evo2"]
    assert found.rows() == [("chr1", 2, "C", "A", 20.5, 1.0), ("chr2", 2, "C", "A", 3.0, 2.0)]


def test_an_indel_may_be_written_in_any_way(genome: Genome, tmp_path: Path) -> None:
    table = pl.DataFrame({"chrom": ["1"], "pos": [2], "ref": ["CGTA"], "alt": ["CA"], "score": [1.0]})
    table.write_parquet(tmp_path / "s.parquet")
    assert read_scores(tmp_path / "s.parquet", genome).row(0)[:4] == ("chr1", 2, "CGT", "C")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"pos": None}, "no column pos"),
        ({"CADD": None, "Evo2": None}, "no column of numbers"),
        ({"label": [1, 0, 1, 0]}, "calls a model label, which is a name of ours"),
        ({"displacement": [1, 0, 1, 0]}, "calls a model displacement"),
        ({"ref": ["T"] * 4}, "have another REF than the bases of the FASTA"),
    ],
)
def test_what_cannot_be_used_is_one_sentence(
    genome: Genome, tmp_path: Path, change: dict[str, object], message: str
) -> None:
    columns = {name: value for name, value in (ROWS | change).items() if value is not None}
    pl.DataFrame(columns).write_parquet(tmp_path / "s.parquet")
    with pytest.raises(InputError, match=message):
        read_scores(tmp_path / "s.parquet", genome)


def test_a_file_that_is_missing_or_no_table(genome: Genome, tmp_path: Path) -> None:
    (tmp_path / "broken.parquet").write_text("no parquet")
    for name in ("missing.tsv", "broken.parquet"):
        with pytest.raises(InputError, match="cannot be read as a table of scores"):
            read_scores(tmp_path / name, genome)
