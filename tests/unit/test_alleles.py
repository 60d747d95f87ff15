"""Normalisation by hand and against bcftools, and the accounting of every allele (spec 1)."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import polars as pl
import pysam
import pytest

from geno_model.genomics.alleles import (
    REASONS,
    RETAINED,
    account,
    flag_duplicates,
    left_align,
    to_alleles,
)
from geno_model.genomics.genome import Genome
from geno_pipeline.demo import DemoInputs, write_demo_inputs
from tests.oracles.norm import DEMO_FILES, bcftools_norm, compare_demo, compare_file, compare_real
from tests.shared_data import REAL_VCFS, needs_shared_data
from tests.unit.demo_settings import SMALL

#          0         1         2         3
#          0123456789012345678901234567890123456789
CHR1 = "GGGCACACAGGGAAAATCTCTCGGNTTTTACGTACGTACGTACGTACGTA"
COLUMNS = {"chrom": pl.String, "pos": pl.Int64, "ref": pl.String, "alt": pl.String, "filter": pl.String}


@pytest.fixture(scope="module")
def genome(tmp_path_factory: pytest.TempPathFactory) -> Genome:
    folder = tmp_path_factory.mktemp("genome")
    (folder / "g.fa").write_text(f">chr1\n{CHR1}\n>chr2\nAAAACCCC\n")
    return Genome.open(folder / "g.fa", cache_dir=folder)


def records(*rows: tuple[str, int, str, str] | tuple[str, int, str, str, str]) -> pl.DataFrame:
    """Columns of a chunk, as far as alleles are concerned."""
    full = [(*row, ".")[:5] for row in rows]
    frame = pl.DataFrame(full, schema=COLUMNS, orient="row")
    return frame.select(pl.int_range(pl.len(), dtype=pl.Int64).alias("record"), pl.all())


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ((4, "C", "T"), (4, "C", "T")),
        ((7, "ACA", "A"), (3, "GCA", "G")),  # a repeat unit moves to its left end
        ((9, "A", "ACA"), (3, "G", "GCA")),  # likewise an insertion
        ((16, "A", "AA"), (12, "G", "GA")),  # homopolymer
        ((13, "AAAA", "AAA"), (12, "GA", "G")),
        ((4, "CACA", "CATA"), (6, "C", "T")),  # an SNV in disguise
        ((4, "CAC", "TAT"), (4, "CAC", "TAT")),  # an MNV keeps its middle
        ((10, "GGGA", "GGTA"), (12, "G", "T")),
        ((17, "TCTC", "TC"), (16, "ATC", "A")),
        ((10, "GGGAA", "GCAA"), (11, "GG", "C")),  # complex: trimmed, never shifted
        ((1, "GG", "G"), (1, "GG", "G")),  # start of the contig: no base before, the anchor follows
        ((2, "GG", "G"), (1, "GG", "G")),
        ((3, "G", "GG"), (1, "G", "GG")),
        ((30, "ACGT", "A"), (30, "ACGT", "A")),
    ],
)  # fmt: skip
def test_normalisation_by_hand(genome: Genome, given: tuple[int, str, str], expected: tuple[int, str, str]) -> None:
    alleles = to_alleles(records(("chr1", *given)), genome)
    assert alleles.select("pos", "ref", "alt").row(0) == expected
    assert alleles["reason"].to_list() == [None]
    assert alleles.select("vcf_chrom", "vcf_pos", "vcf_ref", "vcf_alt").row(0) == ("chr1", *given)


BAD = [
    (("chr1", 4, "C", "."), "no_alt"),
    (("chr1", 4, "C", "C"), "no_alt"),
    (("chr1", 4, "C", "c"), "no_alt"),
    (("chr1", 4, "C", ""), "no_alt"),
    (("chr1", 4, "C", "*"), "spanning_deletion"),
    (("chr1", 4, "C", "C[chr2:3["), "breakend"),
    (("chr1", 4, "C", "]chr2:3]C"), "breakend"),
    (("chr1", 4, "C", "C."), "breakend"),
    (("chr1", 4, "C", "<DEL>"), "symbolic"),
    (("chr1", 4, "C", "<NON_REF>"), "symbolic"),
    (("chr7", 4, "C", "T"), "contig_unknown"),
    (("chr1", 4, "C", "T", "q10"), "filtered"),
    (("chr1", 4, "C", "N"), "ambiguous_base"),
    (("chr1", 4, "R", "T"), "ambiguous_base"),
    (("chr1", 25, "A", "T"), "ambiguous_base"),  # the reference has N
    (("chr1", 24, "GN", "G"), "ambiguous_base"),
    (("chr1", 29, "T", "TT"), "ambiguous_base"),  # moves left until it stands beside the N
    (("chr1", 0, "C", "T"), "out_of_range"),
    (("chr1", -5, "C", "T"), "out_of_range"),
    (("chr1", 51, "A", "T"), "out_of_range"),
    (("chr1", 50, "AC", "A"), "out_of_range"),
    (("chr1", 4, "G", "T"), "ref_mismatch"),
    (("chr1", 4, "CAG", "C"), "ref_mismatch"),
    (("chr1", 4, "C", "C" + "ACGT" * 4), "too_long"),
    (("chr1", 30, "ACGTACGTACGTACGTA", "A"), "too_long"),
]


@pytest.mark.parametrize(("row", "reason"), BAD)
def test_every_bad_allele_has_one_reason(genome: Genome, row: tuple[str, int, str, str], reason: str) -> None:
    alleles = to_alleles(records(row), genome, pass_only=True)
    assert alleles["reason"].to_list() == [reason]


def test_accounting_is_complete(genome: Genome) -> None:
    good = [
        ("chr1", 4, "C", "T"),
        ("1", 4, "C", "T"),
        ("chr1", 4, "C", "G,T,*,<DEL>"),
        ("chr2", 1, "A", "G"),
        ("chr1", 5, "a", "t", "PASS"),
    ]
    lines = records(*good, *(row for row, _ in BAD))
    alleles = to_alleles(lines, genome, pass_only=True, mark_duplicates=True)
    n_read = sum(len(alt.split(",")) for alt in lines["alt"])
    assert alleles.height == n_read == len(BAD) + 8
    table = account(alleles, "test")
    assert table.columns == ["source", "contig", "reason", "n_alleles"]
    assert table["n_alleles"].sum() == n_read and table.schema["n_alleles"] == pl.Int64
    by_reason = dict(table.group_by("reason").agg(pl.col("n_alleles").sum()).iter_rows())
    expected: dict[str, int] = {RETAINED: 4, "duplicate": 2}
    for reason in [reason for _, reason in BAD] + ["spanning_deletion", "symbolic"]:
        expected[reason] = expected.get(reason, 0) + 1
    assert by_reason == expected
    assert set(by_reason) - {RETAINED} == set(REASONS) - {"low_af", "little_context"}  # a caller's own
    assert set(table["contig"]) == {"chr1", "chr2", "chr7"}


def test_long_in_the_vcf_but_short_after_trimming_is_kept(genome: Genome) -> None:
    ref = CHR1[29:49]
    row = to_alleles(records(("chr1", 30, ref, ref[:10] + ("T" if ref[10] != "T" else "C") + ref[11:])), genome).row(
        0, named=True
    )
    assert row["reason"] is None and row["pos"] == 40 and row["edit_type"] == 0


def test_rows_keep_order_and_point_back(genome: Genome) -> None:
    lines = records(("chr2", 1, "A", "C,G"), ("1", 4, "C", "T"), ("chr2", 2, "A", "T"))
    alleles = to_alleles(lines, genome)
    assert alleles.select("record", "alt_index", "contig", "vcf_chrom").rows() == [
        (0, 0, "chr2", "chr2"), (0, 1, "chr2", "chr2"), (1, 0, "chr1", "1"), (2, 0, "chr2", "chr2"),
    ]  # fmt: skip
    assert alleles.schema["edit_type"] == pl.UInt8 and alleles.schema["pos"] == pl.Int64


def test_edit_types(genome: Genome) -> None:
    lines = records(
        ("chr1", 4, "C", "T,CTT,<DEL>"), ("chr1", 4, "CACA", "T"), ("chr1", 4, "CA", "TG"), ("chr1", 4, "CAC", "TG")
    )
    assert to_alleles(lines, genome)["edit_type"].to_list() == [0, 1, None, 2, 3, 4]


def test_contigs_asked_for(genome: Genome) -> None:
    lines = records(("chr1", 4, "C", "T"), ("2", 1, "A", "T"))
    assert to_alleles(lines, genome, contigs={"chr2"})["reason"].to_list() == ["contig_unknown", None]


def test_filters_count_only_when_asked(genome: Genome) -> None:
    assert to_alleles(records(("chr1", 4, "C", "T", "q10")), genome)["reason"].to_list() == [None]


def test_duplicates_are_found_after_normalisation_and_over_chunks(genome: Genome) -> None:
    lines = records(("chr1", 9, "A", "ACA"), ("chr1", 3, "G", "GCA"), ("chr1", 3, "G", "GCA", "q10"))
    assert to_alleles(lines, genome)["reason"].to_list() == [None, None, None]
    assert to_alleles(lines, genome, mark_duplicates=True)["reason"].to_list() == [None, "duplicate", "duplicate"]
    chunks = [
        to_alleles(lines[:1], genome, pass_only=True),
        to_alleles(lines[2:], genome, pass_only=True),
        to_alleles(lines[1:2], genome),
    ]
    assert flag_duplicates(pl.concat(chunks))["reason"].to_list() == [None, "filtered", "duplicate"]


def test_no_records(genome: Genome) -> None:
    alleles = to_alleles(records(), genome, mark_duplicates=True)
    assert alleles.is_empty() and alleles.schema == to_alleles(records(("chr1", 4, "C", "T")), genome).schema
    assert account(alleles, "test").is_empty()


def test_left_align_of_known_alleles(genome: Genome) -> None:
    frame = pl.DataFrame(
        {
            "contig": ["chr2", "chr1", "chr2"],
            "pos": [4, 9, 1],
            "ref": ["AC", "A", "A"],
            "alt": ["A", "ACA", "T"],
            "x": [1, 2, 3],
        }
    )
    aligned = left_align(frame, genome)
    assert aligned.select("contig", "pos", "ref", "alt", "edit_type", "x").rows() == [
        ("chr2", 4, "AC", "A", 2, 1), ("chr1", 3, "G", "GCA", 1, 2), ("chr2", 1, "A", "T", 0, 3),
    ]  # fmt: skip
    assert left_align(frame.clear(), genome).columns == [*frame.columns, "edit_type"]


@needs_shared_data
@pytest.mark.parametrize("name", REAL_VCFS)
def test_real_alleles_as_bcftools_normalises_them(tmp_path: Path, name: str) -> None:
    result = compare_real(name, tmp_path)
    assert result.n_retained > 500
    assert result.differences.is_empty(), result.differences.head(5).to_dicts()


@pytest.fixture(scope="module")
def demo(tmp_path_factory: pytest.TempPathFactory) -> DemoInputs:
    return write_demo_inputs(tmp_path_factory.mktemp("demo"), SMALL)


@pytest.mark.parametrize("name", DEMO_FILES)
def test_made_up_alleles_as_bcftools_normalises_them(demo: DemoInputs, tmp_path: Path, name: str) -> None:
    result = compare_demo(demo, name, tmp_path)
    assert result.n_retained > 100
    assert result.differences.is_empty(), result.differences.head(5).to_dicts()


def test_the_oracle_tells_what_does_not_fit(genome: Genome, tmp_path: Path) -> None:
    """Alleles of another reference are left out by the tool, and long ones come back; each has its reason with us."""
    rows = [("chr1", 4, "G", "T"), ("chr1", 7, "ACA", "A"), ("chr1", 4, "C", "C" + "ACGT" * 4)]
    header = "##fileformat=VCFv4.2\n#CHROM\tPOS\tID\tREF\tALT\tQUAL\tFILTER\tINFO\n"
    text = "".join(f"{chrom}\t{pos}\t.\t{ref}\t{alt},<DEL>\t.\t.\t.\n" for chrom, pos, ref, alt in rows)
    (tmp_path / "v.vcf").write_text(header + text)
    result = compare_file(tmp_path / "v.vcf", genome.fasta, genome, tmp_path)
    assert (result.n_records, result.n_alleles, result.n_asked, result.n_retained, result.n_moved) == (3, 6, 3, 1, 1)
    assert result.differences.is_empty()
    frame = pl.DataFrame(rows, schema=["contig", "pos", "ref", "alt"], orient="row")
    theirs = bcftools_norm(frame, genome, genome.fasta, tmp_path, leave_out_mismatches=True)
    assert theirs.rows()[:2] == [(None, None, None, None), ("chr1", 3, "GCA", "G")]
    with pytest.raises(pysam.SamtoolsError):
        bcftools_norm(frame, genome, genome.fasta, tmp_path)


def test_repeats_and_contig_ends_as_bcftools_normalises_them(tmp_path: Path) -> None:
    """Random indels in a genome of two letters and short repeats, where nearly everything shifts."""
    rng = np.random.default_rng(4)
    units = ["A", "C", "AC", "AAC", "CCA", "ACCA"]
    sequence = "".join(units[rng.integers(len(units))] * int(rng.integers(1, 25)) for _ in range(60))
    fasta = tmp_path / "g.fa"
    fasta.write_text(f">c\n{sequence}\n")
    genome = Genome.open(fasta, cache_dir=tmp_path)
    rows = []
    for _ in range(3_000):
        ref_len, alt_len = (int(length) for length in rng.integers(1, 9, size=2))
        start = int(rng.integers(0, 12 if rng.random() < 0.2 else len(sequence) - ref_len))
        ref = sequence[start : start + ref_len]
        alt = ref[0] + "".join(rng.choice(["A", "C"], size=alt_len - 1))
        if alt_len < ref_len:
            alt = ref[:alt_len]
        if ref != alt:
            rows.append(("c", start + 1, ref, alt))
    alleles = to_alleles(records(*rows), genome)
    assert alleles["reason"].null_count() == len(rows)
    moved = alleles.filter(pl.col("pos") != pl.col("vcf_pos"))
    assert moved.height > 500
    frame = pl.DataFrame(rows, schema=["contig", "pos", "ref", "alt"], orient="row")
    expected = bcftools_norm(frame, genome, fasta, tmp_path)
    wrong = alleles.with_columns(
        expected["pos"].alias("want_pos"), expected["ref"].alias("want_ref"), expected["alt"].alias("want_alt")
    ).filter(
        (pl.col("pos") != pl.col("want_pos"))
        | (pl.col("ref") != pl.col("want_ref"))
        | (pl.col("alt") != pl.col("want_alt"))
    )
    assert wrong.is_empty(), wrong.head(5).to_dicts()
