"""Builds are named by contig lengths, and by what a header says."""

from __future__ import annotations

import pytest

from geno_model.genomics.builds import (
    Accession,
    accession,
    build_of,
    build_of_header,
    build_of_markers,
    build_of_prose,
    contradicts,
    header_lengths,
)


@pytest.mark.parametrize(
    ("lengths", "build"),
    [
        ({"1": 249_250_621, "13": 115_169_878}, "GRCh37"),
        ({"chr1": 248_956_422}, "GRCh38"),
        ({"NC_000021.9": 46_709_983}, "GRCh38"),
        ({"chrX": 155_270_560}, "GRCh37"),
        ({"1": 247_249_719}, "NCBI36"),
        ({"chr1": 248_387_328}, "T2T-CHM13"),
        ({"1": 249_250_621, "2": 242_193_529, "3": 198_295_559}, "GRCh38"),  # two against one
        ({"chr21": 600_000}, None),
        ({}, None),
    ],
)
def test_build_by_contig_lengths(lengths: dict[str, int], build: str | None) -> None:
    assert build_of(lengths) == build


@pytest.mark.parametrize(
    ("header", "build"),
    [
        (["##contig=<ID=1,length=249250621,assembly=GRCh38>"], "GRCh37"),  # lengths before words
        (["##contig=<length=46709983,ID=chr21>"], "GRCh38"),
        (["##reference=GRCh38"], "GRCh38"),
        (["##reference=file:///data/hs37d5.fa"], "GRCh37"),
        (["##contig=<ID=21,assembly=b37>"], "GRCh37"),
        (["##reference=hg19ToHg38.fa"], None),  # says two
        (["##source=GRCh38"], None),
        ([], None),
    ],
)
def test_build_by_header(header: list[str], build: str | None) -> None:
    assert build_of_header(["##fileformat=VCFv4.2", *header, "#CHROM\tPOS"]) == build


@pytest.mark.parametrize(
    ("comment", "build"),
    [
        ("# We are using reference human assembly build 37 (also known as Annotation Release 104).", "GRCh37"),
        ("#of the SNP using human reference build 37.1 coordinates.", "GRCh37"),
        ("##reference=build37", "GRCh37"),
        ("# build 36, map_search.cgi?taxid=9606&build=36", "NCBI36"),
        ("# GRCh38.p14", "GRCh38"),
        ("# lifted from hg19 to hg38", None),
        ("# array v37, kit ab36c, 37 rows", None),
        ("", None),
    ],
)
def test_build_by_what_comments_say(comment: str, build: str | None) -> None:
    assert build_of_prose(["# an export", comment]) == build


@pytest.mark.parametrize(
    ("positions", "build"),
    [
        ([("rs3094315", 752566), ("rs1", 5)], "GRCh37"),
        ([("rs3094315", 742429)], "NCBI36"),
        ([("rs3094315", 817186), ("rs964481", 27638706)], "GRCh38"),
        ([("rs3094315", 817186), ("rs964481", 27656823)], None),  # torn
        ([("rs3094315", 1)], None),
        ([], None),
    ],
)
def test_build_by_positions_of_markers(positions: list[tuple[str, int]], build: str | None) -> None:
    assert build_of_markers(positions) == build


@pytest.mark.parametrize(
    ("name", "says"),
    [
        ("NC_000001.11", Accession("1", "GRCh38", 248_956_422)),
        ("NC_000001.10", Accession("1", "GRCh37", 249_250_621)),
        ("NC_000001.9", Accession("1", "NCBI36", 247_249_719)),
        ("NC_000021.9", Accession("21", "GRCh38", 46_709_983)),
        ("NC_000021.8", Accession("21", "GRCh37", 48_129_895)),
        ("NC_000007.13", Accession("7", "GRCh37", 159_138_663)),
        ("NC_000024.10", Accession("Y", "GRCh38", 57_227_415)),
        ("NC_000021.10", Accession("21")),  # a version that is yet to come
        ("NC_000021", Accession("21")),
        ("NC_060925.1", Accession("1", "T2T-CHM13", 248_387_328)),
        ("NC_060948.1", Accession("Y", "T2T-CHM13", 62_460_029)),
        ("CM000683.2", Accession("21", "GRCh38", 46_709_983)),
        ("CM000683.1", Accession("21", "GRCh37", 48_129_895)),
        ("CM000685.2", Accession("X", "GRCh38", 156_040_895)),
        ("NC_012920.1", Accession("MT", None, 16_569)),
        ("J01415.2", Accession("MT", None, 16_569)),
        ("NC_001807.4", Accession("MT", None, 16_571)),
        *((name, None) for name in ("NC_000025.1", "NC_000067.7", "CM000687.1", "CM000662.2", "NC_", "21", "J01416.1")),
    ],
)
def test_accessions(name: str, says: Accession | None) -> None:
    assert accession(name) == says


@pytest.mark.parametrize(
    ("name", "length_bp", "is_other"),
    [
        ("NC_000021.9", 46_709_983, False),
        ("NC_000021.8", 46_709_983, True),
        ("NC_000021.8", 48_129_895, False),
        ("NC_000021.10", 46_709_983, True),  # of no known length
        ("NC_000021", 46_709_983, False),
        ("CM000683.1", 46_709_983, True),
        ("NC_012920.1", 16_571, True),
        ("NC_001807.4", 16_571, False),
        ("NC_001807.4", 16_569, True),
        ("MT", 16_571, True),
        ("chrMT", 16_571, True),
        ("chrM", 16_571, False),
        ("MT", 16_569, False),
        ("NC_012920", 16_571, True),
        ("NC_012920", 1_000, False),
        ("NC_012920.1", 1_000, True),
        ("chr21", 600_000, False),
    ],
)
def test_names_that_contradict_a_length(name: str, length_bp: int, is_other: bool) -> None:
    assert contradicts(name, length_bp) == is_other


def test_lengths_of_a_header() -> None:
    lines = ["##contig=<ID=1,length=5>", "##contig=<ID=2>", "##contig=<length=7,ID=3>", "##contig=<ID=4,length=0>"]
    lines.append("##contig=<ID=5,length=2147483647>")
    assert header_lengths(lines) == {"1": 5, "3": 7}
    assert header_lengths(["##source=PLINKv1.90", *lines]) == {}  # the positions of its last variants
