"""Regions of a scoring run: texts, BED, and which records touch them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from geno_model.genomics.genome import Genome
from geno_model.scoring.regions import RegionError, Regions
from tests.tiny_release import write_fasta


@pytest.fixture(scope="module")
def genome(tmp_path_factory: pytest.TempPathFactory) -> Genome:
    folder = tmp_path_factory.mktemp("regions")
    return Genome.open(write_fasta(folder / "ref.fa"), cache_dir=folder / "cache")


def kept(regions: Regions | None, *records: tuple[str, int, str]) -> list[int]:
    assert regions is not None
    lines = pl.DataFrame(records, schema={"chrom": pl.String, "pos": pl.Int64, "ref": pl.String}, orient="row")
    return regions.filter(lines.with_row_index("record"))["record"].to_list()


def test_texts_are_1_based_with_both_ends_and_a_record_counts_with_all_of_its_ref(genome: Genome) -> None:
    regions = Regions.read(["chr1:1,000-2,000"], None, genome)
    records = [
        ("1", 999, "A"),
        ("1", 1_000, "A"),
        ("chr1", 2_000, "A"),
        ("1", 2_001, "A"),
        ("1", 998, "ACG"),
        ("1", 998, "AC"),
        ("2", 1_500, "A"),
    ]
    assert kept(regions, *records) == [1, 2, 4]
    assert kept(Regions.read(["1:1000"], None, genome), *records) == [1, 4]
    assert kept(Regions.read(["chr2"], None, genome), *records) == [6]
    assert kept(Regions.read(["chr1:2001-"], None, genome), *records) == [3]
    assert kept(Regions.read(["chr1:1-1000", "chr1:900-999", "chr2:1500-1500"], None, genome), *records) == [
        0,
        1,
        4,
        5,
        6,
    ]


def test_a_bed_is_0_based_and_half_open(genome: Genome, tmp_path: Path) -> None:
    bed = tmp_path / "a.bed"
    bed.write_text("#comment\ntrack name=x\n1\t999\t1000\tname\n\nchr2\t0\t2000\n")
    assert kept(
        Regions.read([], bed, genome), ("1", 999, "A"), ("1", 1_000, "A"), ("1", 1_001, "A"), ("2", 5, "A")
    ) == [1, 3]
    assert Regions.read([], None, genome) is None


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("chr1:0-5", "1 <= first <= last"),
        ("chr1:9-5", "1 <= first <= last"),
        ("chr1:x-5", "is none of this FASTA"),
        ("chr9", "is none of this FASTA"),
        ("chr9:1-5", "has no contig chr9"),
        ("chr1:", "is none of this FASTA"),
        ("", "is none of this FASTA"),
    ],
)
def test_a_text_that_is_no_region_is_refused(genome: Genome, text: str, message: str) -> None:
    with pytest.raises(RegionError, match=message):
        Regions.read([text], None, genome)


@pytest.mark.parametrize("line", ["chr1\t5", "chr1\t9\t5", "chr1\ta\tb", "chr9\t1\t2", "chr1\t-5\t9"])
def test_a_line_that_is_no_region_is_told_by_its_number(genome: Genome, tmp_path: Path, line: str) -> None:
    bed = tmp_path / "a.bed"
    bed.write_text(f"chr1\t0\t9\n{line}\n")
    with pytest.raises(RegionError, match=r"a\.bed, line 2"):
        Regions.read([], bed, genome)
    bed.write_text("\n")
    with pytest.raises(RegionError, match="holds no regions"):
        Regions.read([], bed, genome)
    with pytest.raises(RegionError, match="not found"):
        Regions.read([], tmp_path / "absent", genome)


@given(
    spans=st.lists(st.tuples(st.integers(0, 40), st.integers(1, 12)), min_size=1, max_size=6),
    records=st.lists(st.tuples(st.integers(1, 50), st.integers(1, 6)), min_size=1, max_size=12),
)
def test_it_is_the_same_as_looking_at_every_base(
    genome: Genome, spans: list[tuple[int, int]], records: list[tuple[int, int]]
) -> None:
    covered = np.zeros(80, dtype=bool)
    for start, length in spans:
        covered[start : start + length] = True
    frame = pl.DataFrame(
        [("chr1", start, start + length) for start, length in spans],
        schema=["contig", "start_bp", "end_bp"],
        orient="row",
    )
    expected = [i for i, (pos, length) in enumerate(records) if covered[pos - 1 : pos - 1 + length].any()]
    assert kept(Regions(frame, genome), *(("1", pos, "A" * length) for pos, length in records)) == expected
