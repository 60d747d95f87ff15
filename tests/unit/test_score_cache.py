"""What is scored again after a change of alleles, DNA or key; and that the result is as from nothing."""

from __future__ import annotations

from pathlib import Path

import polars as pl
import pytest

from geno_model.scoring.windows import place
from geno_pipeline.build.hashing import ALLELE_KEY
from geno_pipeline.evaluation.score_cache import groups, scored_once
from tests.unit.build_inputs import make_genome


class Scoring:
    """A score that depends on the company of an allele, as real ones do in their last bits; notes what it was given."""

    def __init__(self) -> None:
        self.asked: list[list[int]] = []

    def __call__(self, rows: pl.DataFrame) -> pl.DataFrame:
        self.asked.append(rows["pos"].to_list())
        window = rows["pos"] // 100
        company = rows.select(pl.len().over(window)).to_series()
        return rows.select(*ALLELE_KEY, score=pl.col("pos") * 1.0 + company * 0.001)


def alleles(*positions: int) -> pl.DataFrame:
    return pl.DataFrame({"contig": "1", "pos": list(positions), "ref": "A", "alt": "C"})


def windows(frame: pl.DataFrame) -> pl.Series:
    return (frame["pos"] // 100).cast(pl.String)


def once(folder: Path, frame: pl.DataFrame, key: str = "k") -> tuple[pl.DataFrame, int, list[list[int]]]:
    scoring = Scoring()
    found, n_made = scored_once(folder, key, frame, windows(frame), scoring)
    return found, n_made, scoring.asked


def test_the_second_time_nothing_is_scored(tmp_path: Path) -> None:
    frame = alleles(301, 102, 101)
    first, n_first, _ = once(tmp_path, frame)
    second, n_second, asked = once(tmp_path, frame)
    assert (n_first, n_second, asked) == (3, 0, [])
    assert second.equals(first) and first["pos"].to_list() == [301, 102, 101]


@pytest.mark.parametrize(
    ("later", "made"),
    [
        ((101, 102, 301, 502), [502]),  # a new window
        ((101, 102, 103, 301), [101, 102, 103]),  # one more allele in a window: all of it
        ((101, 301), [101]),  # one less
        ((101, 102), []),  # a window less
    ],
)
def test_only_windows_that_changed_are_scored_and_the_result_is_as_from_nothing(
    tmp_path: Path, later: tuple[int, ...], made: list[int]
) -> None:
    once(tmp_path / "kept", alleles(101, 102, 301))
    found, n_made, asked = once(tmp_path / "kept", alleles(*later))
    assert n_made == len(made) and asked == ([made] if made else [])
    assert found.equals(once(tmp_path / "new", alleles(*later))[0])
    assert (tmp_path / "kept" / "k.parquet").read_bytes() == (tmp_path / "new" / "k.parquet").read_bytes()


def test_another_key_knows_nothing(tmp_path: Path) -> None:
    once(tmp_path, alleles(101))
    assert once(tmp_path, alleles(101), key="other")[1] == 1
    assert once(tmp_path, alleles(101))[1] == 0


def test_no_alleles(tmp_path: Path) -> None:
    found, n_made, _ = once(tmp_path, alleles(101).clear())
    assert n_made == 0 and found.columns == [*ALLELE_KEY, "score"]
    assert once(tmp_path, alleles(101))[1] == 1


def test_a_group_is_a_window_with_its_bases(tmp_path: Path) -> None:
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
    genome = make_genome(tmp_path / "a", {"1": 30_000})
    frame = alleles(5_000, 5_100, 20_000, 2_500)
    found = groups(frame, place(frame, genome, "most_central", 12_288, 8_192)[0], genome, 12_288)
    assert found[0] == found[1] != found[2] and found[3].startswith("1:0:")
    other = make_genome(tmp_path / "b", {"1": 30_000}, n_spans={"1": (6_000, 6_001)})
    again = groups(frame, place(frame, other, "most_central", 12_288, 8_192)[0], other, 12_288)
    assert again[0] != found[0] and again[2] == found[2]


def test_alleles_without_a_window_are_a_group_of_their_own(tmp_path: Path) -> None:
    genome = make_genome(tmp_path, {"1": 5_000})
    frame = alleles(100, 4_000)
    nowhere = place(frame, genome, "most_central", 12_288, 8_192)[0]
    assert groups(frame, nowhere, genome, 12_288).to_list() == ["no window"] * 2


@pytest.mark.parametrize("content", [b"", b"PAR1 and no more"])
def test_a_damaged_file_is_as_none(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "k.parquet").write_bytes(content)
    assert once(tmp_path, alleles(101))[1] == 1
