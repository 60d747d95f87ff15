"""UCSC's tables of repeats as its server gives them out, and files that are no repeats."""

from __future__ import annotations

import gzip
from pathlib import Path

import pytest

from geno_model.genomics.errors import InputError
from geno_model.genomics.genome import Genome
from geno_model.genomics.repeats_io import read_repeats


@pytest.fixture
def genome(tmp_path: Path) -> Genome:
    """1 (the tables say chr1), 40,000 bp."""
    fasta = tmp_path / "reference.fa"
    fasta.write_text(">1\n" + "ACGT" * 10_000 + "\n")
    return Genome.open(fasta, tmp_path / "cache")


# Columns in UCSC's order; the first is `bin`, which the table browser may leave out.
RMSK = (
    "585 463 13 6 17 chr1 10000 10468 -248945954 + (TAACCC)n Simple_repeat Simple_repeat 1 471 0 1",
    "585 3612 114 215 13 chr1 10468 11447 -248944975 - TAR1 Satellite telo -399 1712 483 2",
    "585 484 251 132 0 chr1 11504 11675 -248944747 - L1MC5a LINE L1 -2382 395 199 3",
    "585 18 232 0 20 chr1 15264 15355 -248941067 + A-rich Low_complexity Low_complexity 1 91 0 4",
    "585 213 100 0 0 chr1 16000 16070 -248940000 - tRNA-Glu tRNA tRNA 0 70 1 5",
    "585 213 100 0 0 chr1 17000 17070 -248940000 + X1_DNA DNA? hAT? 1 70 -9 6",
    "585 213 100 0 0 chr1_KI270706v1_random 17000 17070 -1 + X1_DNA DNA? hAT? 1 70 -9 7",
)
SIMPLE = (
    "585 chr1 10000 10468 trf 6 77.2 6 95 3 789 33 51 0 15 1.43 TAACCC",
    "585 chr1 10627 10800 trf 29 6 29 100 0 346 13 38 31 17 1.89 AGGCGCGCCGCGCCGGCGCAGGCGCAGAG",
)
DUPLICATED = (
    "585 chr1 10000 20818 chr15:101843372 0 - chr15 101843372 101854181 10809 1 1000 N/A N/A N/A N/A "
    "align_both/0009/both0046049 10843 39 159 10684 10596 88 34 54 0.991763 0.988311 0.00827583 0.00828165",
    "585 chr1 10464 19729 chr1_KI270706v1_random:45646 0 + chr1_KI270706v1_random 45646 54920 9274 2 1000 N/A N/A N/A "
    "N/A align_both/0009/both0046050 9303 22 67 9236 9154 82 30 52 0.991122 0.988979 0.0089 0.0089",
)
TABLES = {
    "rmsk": (
        RMSK,
        [
            ("1", 10_000, 10_468, "simple"),
            ("1", 10_468, 11_447, "simple"),  # a satellite
            ("1", 11_504, 11_675, "transposon"),
            ("1", 15_264, 15_355, "low_complexity"),
            ("1", 17_000, 17_070, "transposon"),  # the tRNA before it is no repeat
        ],
    ),
    "simpleRepeat": (SIMPLE, [("1", 10_000, 10_468, "simple"), ("1", 10_627, 10_800, "simple")]),
    "genomicSuperDups": (DUPLICATED, [("1", 10_000, 20_818, "segmental_dup"), ("1", 10_464, 19_729, "segmental_dup")]),
}


@pytest.mark.parametrize("header", ["", "#header\tline\n"])
@pytest.mark.parametrize("has_bin", [True, False])
@pytest.mark.parametrize("table", TABLES)
def test_ucsc_tables(genome: Genome, tmp_path: Path, table: str, has_bin: bool, header: str) -> None:
    lines, expected = TABLES[table]
    text = header + "".join("\t".join(line.split()[0 if has_bin else 1 :]) + "\n" for line in lines)
    (tmp_path / "plain.txt").write_text(text)
    (tmp_path / "dump.txt.gz").write_bytes(gzip.compress(text.encode()))
    repeats = read_repeats(tmp_path / "plain.txt", genome)
    assert repeats.rows() == expected
    assert read_repeats(tmp_path / "dump.txt.gz", genome).equals(repeats)


def test_an_rmsk_table_without_bin_is_not_taken_for_repeatmaskers_out(genome: Genome, tmp_path: Path) -> None:
    (tmp_path / "plain.txt").write_text("\t".join(RMSK[0].split()[1:]) + "\n")
    assert read_repeats(tmp_path / "plain.txt", genome).rows() == [("1", 10_000, 10_468, "simple")]  # .out: from 9,999


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("585 NM_1.2 chr1 + 100 900 150 800 1 100, 900, 0 ABC cmpl cmpl 0,", "lines are malformed"),  # refGene
        ("chr1 RefSeq exon 101 200 . + . ID=exon-1;Parent=rna-1", "lines are malformed"),  # GFF3
        ("chr1 101 rs1 A G . PASS AF=0.1", "lines are malformed"),  # VCF
        ("585 chr1 39000 40001 trf 6 77.2 6", "1 features reach beyond"),  # another build
        ("585 chr7 100 200 trf 6 77.2 6", "has none of the FASTA's contigs"),
        (RMSK[0].replace("10000 ", "-5 "), "lines are malformed"),
    ],
)
def test_a_wrong_file_is_refused_in_one_line(genome: Genome, tmp_path: Path, line: str, message: str) -> None:
    path = tmp_path / "table.txt"
    path.write_text("\t".join(line.split()) + "\n")
    with pytest.raises(InputError, match=message) as caught:
        read_repeats(path, genome)
    assert str(path) in str(caught.value) and "\n" not in str(caught.value)


NO_REPEATS = "There were no repetitive sequences detected in /data/chr1.fa\n"
OUT = "  463  13.0 0.6 1.7  chr1  10001 10468 (248945954) + (TAACCC)n Simple_repeat 1 471 (0) 1\n"


def test_a_contig_without_repeats_is_an_empty_table(genome: Genome, tmp_path: Path) -> None:
    """What RepeatMasker writes in place of its table; also as the first of several that were joined."""
    (tmp_path / "none.out").write_text(NO_REPEATS)
    found = read_repeats(tmp_path / "none.out", genome)
    assert found.is_empty()
    (tmp_path / "joined.out").write_text(NO_REPEATS + OUT)
    joined = read_repeats(tmp_path / "joined.out", genome)
    assert joined.rows() == [("1", 10_000, 10_468, "simple")] and joined.schema == found.schema
    (tmp_path / "other.out").write_text("nothing was found\n")
    with pytest.raises(InputError):
        read_repeats(tmp_path / "other.out", genome)
