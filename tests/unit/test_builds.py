"""Builds are named by contig lengths, and by what a header says."""

from __future__ import annotations

import pytest

from geno_model.genomics.builds import build_of, build_of_header


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
