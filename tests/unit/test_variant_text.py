"""Spellings of one variant that people paste, and what is said of those that name none."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from geno_model.scoring.errors import VariantTextError
from geno_model.scoring.variant_text import variant_lines


def read(*texts: str) -> list[tuple[str, int, str, str]]:
    return variant_lines(texts).select("chrom", "pos", "ref", "alt").rows()


@pytest.mark.parametrize(
    "text",
    [
        "chr21:300001:A:C", "chr21-300001-A-C", "chr21 300001 A C", "chr21\t300001\tA\tC", " chr21:300001:A:C\n",
        "chr21:300,001:A:C", "chr21:300001 A>C", "chr21:300001A>C", "chr21 300001 A > C", "chr21:g.300001A>C",
        "chr21_300001_A/C", "chr21_300001_A_C", "chr21:300001:A>C", "chr21 : 300001 A C",
        "chr21\t300001\trs5\tA\tC\t50\tPASS\tAC=1;DB\tGT\t0/1", "chr21 300001 . A C", "chr21 300001 300001 A C",
    ],
)  # fmt: skip
def test_one_variant_in_many_spellings(text: str) -> None:
    assert read(text) == [("chr21", 300_001, "A", "C")]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("NC_000021.9:g.300001A>C", ("NC_000021.9", 300_001, "A", "C")),
        ("chrM:m.8993T>G", ("chrM", 8_993, "T", "G")),
        ("HLA-A*01:01:5:A:C", ("HLA-A*01:01", 5, "A", "C")),
        ("HLA-A*01:01-5-A-C", ("HLA-A*01:01", 5, "A", "C")),
        ("chr1_KI270706v1_random_5_A_C", ("chr1_KI270706v1_random", 5, "A", "C")),
        ("X 5 a gt,<DEL>", None),
        ("X:5:a:gt,<DEL>", ("X", 5, "a", "gt,<DEL>")),
        ("1-5-A-C,T", ("1", 5, "A", "C,T")),
        ("1\t5\t.\tA\tA[2:100[\t.\t.\t.", ("1", 5, "A", "A[2:100[")),
        ("1 5 A <DEL>", ("1", 5, "A", "<DEL>")),
        ("1-5-A-*", ("1", 5, "A", "*")),
        ("1:5:A:.", ("1", 5, "A", ".")),
    ],
)
def test_other_variants(text: str, expected: tuple[str, int, str, str] | None) -> None:
    if expected is None:
        with pytest.raises(VariantTextError):
            read(text)
    else:
        assert read(text) == [expected]


@pytest.mark.parametrize(
    ("text", "hint"),
    [
        ("rs123", "names an entry of a database"), ("VCV000012345", "names an entry of a database"),
        ("NM_007294.4:c.5A>G", "HGVS on a transcript"), ("BRCA1:c.68_69del", "HGVS on a transcript"),
        ("p.Val600Glu", "HGVS on a transcript"), ("NC_000017.11:g.43071077del", "of HGVS only a substitution"),
        ("chr1:5:A", ""), ("chr1:x:A:C", ""), ("chr1:5", ""), ("", ""), ("1:5:A:C:T", ""), ("chr1:100-200", ""),
        ("chr1:99999999999999999999:A:C", ""), ("chr1:3,0,1:A:C", ""), ("BRAF V600E", ""),
    ],
)  # fmt: skip
def test_what_names_no_variant_is_told_with_what_to_give(text: str, hint: str) -> None:
    with pytest.raises(VariantTextError, match="expected contig:pos:ref:alt with a 1-based position") as told:
        read(text)
    assert str(told.value).startswith(f"variant '{text}' cannot be read") and hint in str(told.value)
    with pytest.raises(VariantTextError, match="^variant 2 of 2, "):
        read("1:5:A:C", text)


ALLELE = st.text("ACGTN", min_size=1, max_size=5)


@settings(max_examples=10)
@given(
    st.lists(
        st.tuples(st.from_regex(r"[A-Za-z0-9_.*:-]{1,12}", fullmatch=True), st.integers(0, 10**9), ALLELE, ALLELE),
        max_size=50,
    )
)
def test_whatever_the_contig_the_plain_spelling_is_read_as_it_is_meant(
    variants: list[tuple[str, int, str, str]],
) -> None:
    assert read(*(f"{chrom}:{pos}:{ref}:{alt}" for chrom, pos, ref, alt in variants)) == variants
    assert read(*(f"{chrom}\t{pos}\t.\t{ref}\t{alt}\t." for chrom, pos, ref, alt in variants)) == variants
