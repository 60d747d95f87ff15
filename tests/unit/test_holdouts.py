"""Which variants and haplotypes are held out, and what touches a span."""

from __future__ import annotations

import polars as pl
import pytest

from data_contracts import HoldoutChr, HoldoutClinvar, HoldoutHaplotypes, validate
from geno_pipeline.build.hashing import largest_remainder, stable_hash
from geno_pipeline.build.holdouts import (
    HoldoutError,
    Spans,
    holdout_chr,
    holdout_clinvar,
    holdout_haplotypes,
    touches,
)
from tests.unit.build_inputs import clinvar, haplotype

LENGTHS = {"1": 100_000, "21": 50_000}
CHR = holdout_chr(["21"], [("1", 90_000, 200_000)], LENGTHS)


def _alleles(*rows: tuple[str, int, str]) -> pl.DataFrame:
    return pl.DataFrame(rows, schema={"contig": pl.String, "pos": pl.Int64, "ref": pl.String}, orient="row")


def test_stable_hash_is_md5_of_the_documented_text() -> None:
    import hashlib

    frame = pl.DataFrame({"contig": ["1", "X"], "pos": [5, 7]})
    wanted = [int.from_bytes(hashlib.md5(f"3|mix|{c}|{p}".encode()).digest()[8:], "little") for c, p in frame.rows()]
    assert stable_hash(frame, ("contig", "pos"), seed=3, purpose="mix").to_list() == wanted
    assert stable_hash(frame.head(0), ("contig", "pos"), seed=3, purpose="mix").to_list() == []


def test_largest_remainder_adds_up() -> None:
    assert largest_remainder(10, [0.4, 0.3, 0.2, 0.1]) == [4, 3, 2, 1]
    assert largest_remainder(8, [0.4, 0.3, 0.2, 0.1]) == [3, 2, 2, 1]  # 3.2 2.4 1.6 0.8
    assert largest_remainder(0, [0, 0]) == [0, 0]
    with pytest.raises(ValueError, match="cannot share"):
        largest_remainder(1, [0.0])


def test_holdout_chr_cuts_at_the_contigs_end_and_refuses_what_is_not_there() -> None:
    assert CHR.rows() == [("1", 90_000, 100_000), ("21", 0, 50_000)]
    validate(HoldoutChr, CHR)
    with pytest.raises(HoldoutError, match="contig 22"):
        holdout_chr(["22"], [], LENGTHS)
    with pytest.raises(HoldoutError, match="starts at"):
        holdout_chr([], [("1", 100_000, 100_001)], LENGTHS)


def test_clinvar_goes_by_gene_and_all_of_holdout_chr_is_in() -> None:
    genes = [clinvar([("1", 100 * i + j, "A", "C") for j in range(1, 4)], gene=f"G{i}") for i in range(10)]
    frame = pl.concat(
        [
            *genes,
            clinvar([("1", 5_000, "A", "C")], "VUS", "G0"),
            clinvar([("1", 5_001, "A", "C")], "OTHER", "G0"),
            clinvar([("21", 7, "A", "C")], "LB", None),
        ]
    )
    half = holdout_clinvar(frame, 0.5, 1, CHR)
    validate(HoldoutClinvar, half)
    per_gene = half.filter(pl.col("contig") == "1").group_by(pl.col("pos") // 100).len()
    # 11 units: ten genes and the bin of the allele without one; round(5.5) = 6 of them, whole
    assert set(per_gene["len"]) == {3} and per_gene.height in (5, 6)
    assert half.filter(pl.col("contig") == "21").select("pos", "label").rows() == [(7, 0)]
    assert holdout_clinvar(frame.sample(fraction=1, shuffle=True, seed=1), 0.5, 1, CHR).equals(half)
    assert not holdout_clinvar(frame, 0.5, 2, CHR).equals(half)
    assert holdout_clinvar(frame, 1.0, 1, CHR).height == 31
    assert holdout_clinvar(frame, 0.0, 1, CHR)["contig"].to_list() == ["21"]


def test_haplotypes_of_a_bin_go_together() -> None:
    def pair(contig: str, pos: int) -> pl.DataFrame:
        return haplotype([(contig, pos, "A", "C"), (contig, pos + 5, "A", "C")])

    blocks = [pair("1", 8_192 * i + offset) for i in range(8) for offset in (1_500, 3_000)]
    frame = pl.concat([*blocks, pair("21", 9), pair("1", 90_100)])
    chosen = holdout_haplotypes(frame, 0.5, 4, CHR)
    validate(HoldoutHaplotypes, chosen)
    assert chosen.filter(pl.col("contig") == "21").height == 1
    assert chosen.filter(pl.col("start_bp") == 90_099).height == 1
    bins = chosen.filter((pl.col("contig") == "1") & (pl.col("start_bp") < 80_000)).group_by(
        pl.col("start_bp") // 8_192
    )
    assert set(bins.len()["len"]) == {2}
    # Two combinations of one 1,000 bp cell lie on both sides of 8,192: the cell [8,000, 9,000) decides for both.
    cell = pl.concat([pair("1", 8_100), pair("1", 8_300)])
    assert all(holdout_haplotypes(cell, 0.5, seed, CHR.head(0)).height in (0, 2) for seed in range(8))


def test_what_touches() -> None:
    spans = [("1", 997, 1_002), ("1", 2_000, 2_011), ("1", 90_000, 100_000), ("21", 0, 50_000)]
    regions = pl.DataFrame(spans, schema=["contig", "start_bp", "end_bp"], orient="row")
    alleles = _alleles(
        ("1", 997, "A"), ("1", 998, "A"), ("1", 1_002, "A"), ("1", 1_003, "A"),
        ("1", 996, "AC"), ("1", 996, "ACG"), ("1", 2_000, "A"), ("1", 2_001, "A"), ("1", 2_011, "A"), ("1", 2_012, "A"),
        ("21", 1, "A"), ("X", 1, "A"),
    )  # fmt: skip
    expected = [False, True, True, False, False, True, False, True, True, False, True, False]
    assert touches(alleles, regions).to_list() == expected
    assert not touches(alleles, regions.head(0)).any()


def test_spans_merge_and_mask() -> None:
    frame = pl.DataFrame({"contig": ["1"] * 4, "start_bp": [30, 5, 7, 9], "end_bp": [31, 9, 8, 12]})
    spans = Spans.of(frame, "1")
    assert (spans.starts.tolist(), spans.ends.tolist()) == ([5, 30], [12, 31])
    assert spans.mask(10, 32).nonzero()[0].tolist() == [0, 1, 20]
    assert not Spans.of(frame, "2").mask(0, 50).any()
