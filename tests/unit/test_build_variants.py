"""Phased genotypes: alleles, haplotypes and their order by hand, and real files."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import polars as pl
import pytest

from data_contracts import PhasedHaplotypes, VariantAccounting, validate
from geno_model.genomics.errors import InputError
from geno_model.genomics.genome import Genome
from geno_pipeline.build.phased import GenotypeError, genotypes, ingest_phased
from tests.shared_data import SHARED, needs_shared_data
from tests.unit.build_inputs import REPEATED, VCF_HEADER, repeated_genome, write_vcf


@pytest.fixture
def genome(tmp_path: Path) -> Genome:
    return repeated_genome(tmp_path)


def _counts(accounting: pl.DataFrame) -> dict[tuple[str, str], int]:
    return {(contig, reason): n for _, contig, reason, n in validate(VariantAccounting, accounting).rows()}


def test_genotypes_one_and_two_digits_missing_unphased_and_haploid() -> None:
    rest = pl.Series(["GT:DS\t0|1:0.9\t1|0:1\t.|1:2", "GT\t10|2\t0/1\t1", "DP\t1\t2\t3", "GT:X\t.\t./.\t3|3"])
    assert genotypes(rest, "f").tolist() == [
        [0, 1, 1, 0, -1, 1],
        [10, 2, -1, -1, -1, -1],
        [-1] * 6,
        [-1, -1, -1, -1, 3, 3],
    ]
    with pytest.raises(GenotypeError, match="1 to 2 samples"):
        genotypes(pl.Series(["GT\t0|1", "GT\t0|1\t0|1"]), "f")
    with pytest.raises(GenotypeError, match="no samples"):
        genotypes(pl.Series(["GT"]), "f")


def test_haplotypes_by_hand(tmp_path: Path, genome: Genome) -> None:
    header = VCF_HEADER + "\tFORMAT\tS1\tS2\tS3"
    path = write_vcf(
        tmp_path,
        [
            "1 5 . A C . PASS . GT 0|1 1|1 0/1",
            "1 9 . A G,T . PASS . GT 0|1 1|2 1|1",  # S3: unphased above, so {9 A>G} alone
            "1 999 . A C . PASS . GT 1|1 0|0 .|1",  # cell [0, 1000): S1 hap 2 has three; S3 hap 2 {9, 999}
            "1 1001 . A C . PASS . GT 1|0 0|0 0|0",  # the next cell: alone
            "1 1003 . G A . PASS . GT 0|0 1|0 0|0",
            "1 1003 . GTA G . PASS . GT 0|0 1|0 1|0",  # overlaps the one above on the same strand: no combination
            "1 1007 . G C . PASS . GT 0|0 0|0 1|0",  # with the deletion, carried by S3
        ],
        header,
    )
    frame, accounting = ingest_phased(path, genome, ["chr1"])
    validate(PhasedHaplotypes, frame)
    found = {
        tuple((e["pos"], e["ref"], e["alt"]) for e in edits): n
        for edits, n in frame.select("edits", "n_carriers").rows()
    }
    assert found == {
        ((5, "A", "C"), (9, "A", "G")): 1,  # S2 haplotype 1
        ((5, "A", "C"), (9, "A", "T")): 1,  # S2 haplotype 2
        ((5, "A", "C"), (9, "A", "G"), (999, "A", "C")): 1,  # S1 haplotype 2
        ((9, "A", "G"), (999, "A", "C")): 1,  # S3 haplotype 2
        ((1_003, "GTA", "G"), (1_007, "G", "C")): 1,
    }
    deletion = frame.filter(pl.col("start_bp") == 1_002).row(0, named=True)
    assert (deletion["end_bp"], deletion["k"]) == (1_007, 2)
    assert _counts(accounting) == {("chr1", "retained"): 8}


@pytest.mark.parametrize(
    ("genotype", "carried"),
    [
        ("0|1", [1]),
        ("1|1", [1, 1]),
        (".|1", [1]),  # half missing: the copy that is known counts
        ("1|.", [1]),
        (".|.", []),
        ("./.", []),
        ("0/1", []),  # not phased: nobody knows which copy
        ("1/1", []),
        ("1", []),  # of one allele only
        ("0|2", [2]),
        ("2|1", [1, 2]),
        ("0|2:0.97", [2]),
    ],
)
def test_one_genotype(tmp_path: Path, genome: Genome, genotype: str, carried: list[int]) -> None:
    """At 5, both copies carry A>C for certain; at 9, A>G is allele 1 and A>T allele 2."""
    records = ["1 5 . A C . . . GT 1|1", f"1 9 . A G,T . . . GT {genotype}"]
    frame, accounting = ingest_phased(write_vcf(tmp_path, records, VCF_HEADER + "\tFORMAT\tS"), genome, ["chr1"])
    found = [(edits[1]["alt"], n) for edits, n in frame.select("edits", "n_carriers").rows()]
    expected = [(alt, carried.count(allele)) for allele, alt in ((1, "G"), (2, "T")) if allele in carried]
    assert sorted(found) == expected
    assert _counts(accounting) == {("chr1", "retained"): 3}


def test_a_long_haplotype_is_cut_after_its_eighth_edit(tmp_path: Path, genome: Genome) -> None:
    records = [
        f"1 {pos} . {REPEATED[pos - 1]} {'C' if REPEATED[pos - 1] != 'C' else 'T'} . . . GT 1|0"
        for pos in range(10, 20)
    ]
    frame, _ = ingest_phased(write_vcf(tmp_path, records, VCF_HEADER + "\tFORMAT\tS"), genome, ["chr1"])
    assert frame.select("k", "start_bp", "end_bp", "n_carriers").rows() == [(8, 9, 17, 1)]


def test_an_allele_that_was_aligned_over_another_of_its_haplotype_is_no_combination(tmp_path: Path) -> None:
    """Each alone is the file's; the two together would spell other DNA (`bcftools consensus`: GGTAACTACAACAACGG)."""
    (tmp_path / "g.fa").write_text(">1\n" + "GGTAACAACAACAACAACGG" + "ACGT" * 20 + "\n")
    genome = Genome.open(tmp_path / "g.fa", cache_dir=tmp_path)
    records = [
        "1 1 . G A . . . GT 0|1 1|0",
        "1 7 . A T . . . GT 1|0 0|0",
        "1 15 . CAAC C . . . GT 1|1 0|0",  # the same as 3 TAAC>T, on the other side of 7
        "1 24 . T G . . . GT 1|1 1|0",
    ]
    frame, _ = ingest_phased(write_vcf(tmp_path, records, VCF_HEADER + "\tFORMAT\tS1\tS2"), genome, ["1"])
    found = [tuple((e["pos"], e["ref"], e["alt"]) for e in edits) for edits in frame["edits"]]
    assert found == [((1, "G", "A"), (3, "TAAC", "T"), (24, "T", "G")), ((1, "G", "A"), (24, "T", "G"))]


@pytest.mark.parametrize("places", [["1 9", "1 5"], ["1 5", "2 5", "1 9"], ["1 5", "1 1", "2 5"]])
def test_unsorted_phased_records_are_refused(tmp_path: Path, genome: Genome, places: list[str]) -> None:
    records = [f"{place} . A C . . . GT 1|0" for place in places]
    path = write_vcf(tmp_path, records, VCF_HEADER + "\tFORMAT\tS")
    with pytest.raises(InputError, match="in.vcf: records of chr1 are not in the order of position; .*bcftools sort"):
        ingest_phased(path, genome, ["chr1", "chr2"])


@needs_shared_data
def test_real_genotypes_are_accounted_for(tmp_path: Path) -> None:
    real = SHARED / "grch37"
    genome = Genome.open(real / "reference.fa.gz", cache_dir=tmp_path)
    (tmp_path / "no_index.vcf.gz").symlink_to(real / "kg_phased.vcf.gz")
    phased, accounting = ingest_phased(tmp_path / "no_index.vcf.gz", genome, ["1", "13"])
    validate(PhasedHaplotypes, phased)
    assert accounting["n_alleles"].sum() == 970
    starts, ends = (phased[name].to_numpy() for name in ("start_bp", "end_bp"))
    assert np.all(ends - starts < 1_000 + 16)
