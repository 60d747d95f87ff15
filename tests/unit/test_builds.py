"""Builds are named by contig lengths, and by what a header says."""

from __future__ import annotations

import pytest

from geno_model.genomics.builds import build_of, build_of_header, build_of_markers, build_of_prose


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
