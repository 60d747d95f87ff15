"""Ingest: every allele counted once, frequencies and ClinVar's words by hand, haplotypes by hand, and real files."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import polars as pl
import pytest

from data_contracts import ClinvarVariants, GnomadVariants, PhasedHaplotypes, VariantAccounting, validate
from geno_model.genomics.errors import InputError
from geno_model.genomics.genome import Genome
from geno_pipeline.build.phased import GenotypeError, genotypes
from geno_pipeline.build.variants import ingest_clinvar, ingest_gnomad, ingest_phased
from tests.shared_data import SHARED, needs_shared_data

REAL = SHARED / "grch37"
#           1234567890
CONTIG_1 = "ACGTACGTAC" * 300
HEADER = "##fileformat=VCFv4.2\n#CHROM\tPOS\tID\tREF\tALT\tQUAL\tFILTER\tINFO"


@pytest.fixture
def genome(tmp_path: Path) -> Genome:
    (tmp_path / "ref.fa").write_text(f">chr1\n{CONTIG_1}\n>chr2\n{CONTIG_1}\n")
    return Genome.open(tmp_path / "ref.fa", cache_dir=tmp_path / "cache")


def _vcf(folder: Path, records: list[str], header: str = HEADER) -> Path:
    path = folder / "in.vcf"
    path.write_text("\n".join([header, *(record.replace(" ", "\t") for record in records)]) + "\n")
    return path


def _other(index: int) -> str:
    return "T" if CONTIG_1[index] == "C" else "C"


def _counts(accounting: pl.DataFrame) -> dict[tuple[str, str], int]:
    return {(contig, reason): n for _, contig, reason, n in validate(VariantAccounting, accounting).rows()}


def test_gnomad_frequency_reasons_and_sum(tmp_path: Path, genome: Genome) -> None:
    path = _vcf(
        tmp_path,
        [
            "1 5 . A C,G . PASS AF=0.5,0.001;LDAF=0.9",  # the second allele is rare
            "1 6 . C T . . AC=30;AN=100",
            "1 7 . G T . PASS AC=40",
            "1 7 . G T . PASS AF=0.3",  # again
            "1 8 . T A . RF AF=0.4",
            "1 9 . A C . PASS AF=0",
            "1 10 . C A . PASS DP=3",
            "2 5 . A C . PASS AF=0.5",  # chr2 is not asked for
            "1 9 . A <DEL> . PASS AF=0.5",
        ],
    )
    frame, accounting = ingest_gnomad([path], genome, ["chr1"], an_where_af_missing=200)
    validate(GnomadVariants, frame)
    assert [(pos, alt, round(af, 4)) for pos, alt, af in frame.select("pos", "alt", "af").rows()] == [
        (5, "C", 0.5),
        (6, "T", 0.3),
        (7, "T", 0.2),
    ]
    assert _counts(accounting) == {
        ("chr1", "retained"): 3,
        ("chr1", "low_af"): 3,
        ("chr1", "duplicate"): 1,
        ("chr1", "filtered"): 1,
        ("chr1", "symbolic"): 1,
        ("chr2", "contig_unknown"): 1,
    }


def test_without_panel_size_a_count_alone_is_no_frequency(tmp_path: Path, genome: Genome) -> None:
    frame, accounting = ingest_gnomad([_vcf(tmp_path, ["1 7 . G T . PASS AC=40"])], genome, ["chr1"])
    assert frame.is_empty()
    assert _counts(accounting) == {("chr1", "low_af"): 1}


def test_a_file_of_another_build_is_refused(tmp_path: Path, genome: Genome) -> None:
    path = _vcf(tmp_path, [f"1 {pos} . {'ACGT'[pos % 4]} A . PASS AF=0.5" for pos in range(10, 60) if pos % 4])
    with pytest.raises(InputError, match="build"):
        ingest_gnomad([path], genome, ["chr1"])


def test_clinvar_words(tmp_path: Path, genome: Genome) -> None:
    info = [
        "CLNSIG=Pathogenic;CLNREVSTAT=reviewed_by_expert_panel;GENEINFO=BRCA2:675|X:1;MC=SO:0001627|intron_variant,SO:0001587|nonsense",
        "CLNSIG=Pathogenic/Likely_pathogenic;CLNREVSTAT=criteria_provided,_multiple_submitters,_no_conflicts",
        "CLNSIG=Likely_pathogenic|risk_factor;GOLD_STARS=3;CLNREVSTAT=criteria_provided,_single_submitter",
        "CLNSIG=Benign/Likely_benign;MC=SO:0001627|intron_variant",
        "CLNSIG=Likely_benign;GENEINFO=ISG15",
        "CLNSIG=Uncertain_significance",
        "CLNSIG=Conflicting_interpretations_of_pathogenicity;CLNREVSTAT=criteria_provided,_conflicting_interpretations",
        "ALLELEID=4",
    ]
    records = [f"1 {4 * i + 1} . {CONTIG_1[4 * i]} . . . {text}" for i, text in enumerate(info)]
    records = [
        record.replace(" . . . ", f" {'C' if 'C' not in record.split()[3] else 'T'} . . ", 1) for record in records
    ]
    frame, accounting = ingest_clinvar(_vcf(tmp_path, records), genome, ["chr1"])
    validate(ClinvarVariants, frame)
    assert frame["clnsig"].to_list() == ["P", "P", "LP", "B", "LB", "VUS", "OTHER", "OTHER"]
    assert frame["stars"].to_list() == [3, 2, 3, 0, 0, 0, 1, 0]
    assert frame["is_coding"].to_list() == [True, None, None, False, None, None, None, None]
    assert frame["consequence"].to_list()[:4] == ["stop_gained", None, None, "intron_variant"]
    assert frame["gene"].to_list()[:5] == ["BRCA2", None, None, None, "ISG15"]
    assert accounting["n_alleles"].sum() == len(info)


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
    header = HEADER + "\tFORMAT\tS1\tS2\tS3"
    path = _vcf(
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


def test_a_long_haplotype_is_cut_after_its_eighth_edit(tmp_path: Path, genome: Genome) -> None:
    records = [
        f"1 {pos} . {CONTIG_1[pos - 1]} {'C' if CONTIG_1[pos - 1] != 'C' else 'T'} . . . GT 1|0"
        for pos in range(10, 20)
    ]
    frame, _ = ingest_phased(_vcf(tmp_path, records, HEADER + "\tFORMAT\tS"), genome, ["chr1"])
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
    frame, _ = ingest_phased(_vcf(tmp_path, records, HEADER + "\tFORMAT\tS1\tS2"), genome, ["1"])
    found = [tuple((e["pos"], e["ref"], e["alt"]) for e in edits) for edits in frame["edits"]]
    assert found == [((1, "G", "A"), (3, "TAAC", "T"), (24, "T", "G")), ((1, "G", "A"), (24, "T", "G"))]


def test_unsorted_phased_records_are_refused(tmp_path: Path, genome: Genome) -> None:
    records = ["1 9 . A C . . . GT 1|0", "1 5 . A C . . . GT 1|0"]
    with pytest.raises(InputError, match="bcftools sort"):
        ingest_phased(_vcf(tmp_path, records, HEADER + "\tFORMAT\tS"), genome, ["chr1"])


@needs_shared_data
def test_real_files_are_accounted_for(tmp_path: Path) -> None:
    genome = Genome.open(REAL / "reference.fa.gz", cache_dir=tmp_path)
    clinvar, accounting = ingest_clinvar(REAL / "clinvar.vcf.gz", genome, ["1", "13"])
    assert clinvar["clnsig"].is_in(["P", "LP"]).sum() == 95  # the figures of the data's README
    assert clinvar["clnsig"].is_in(["B", "LB"]).sum() in (313, 314)  # one is `Benign|risk_factor`, B here
    assert (clinvar["clnsig"] == "VUS").sum() == 279
    assert accounting["n_alleles"].sum() == 749
    phased, accounting = ingest_phased(REAL / "kg_phased.vcf.gz", genome, ["1", "13"])
    validate(PhasedHaplotypes, phased)
    assert accounting["n_alleles"].sum() == 970
    starts, ends = (phased[name].to_numpy() for name in ("start_bp", "end_bp"))
    assert np.all(ends - starts < 1_000 + 16)
