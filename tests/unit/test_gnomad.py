"""Population sites: each spelling, files joined and accounted for by hand, and the real files."""

from __future__ import annotations

from pathlib import Path

import polars as pl
import pytest

from data_contracts import GnomadVariants, VariantAccounting, validate
from geno_model.genomics.errors import InputError
from geno_model.genomics.genome import Genome
from geno_pipeline.build.gnomad import ingest_gnomad
from geno_pipeline.build.gnomad_fields import POPULATIONS
from tests.shared_data import SHARED, needs_shared_data, shared_genome
from tests.unit.build_inputs import REPEATED, VCF_HEADER, repeated_genome, write_vcf


@pytest.fixture
def genome(tmp_path: Path) -> Genome:
    return repeated_genome(tmp_path)


def _counts(accounting: pl.DataFrame) -> dict[tuple[str, str], int]:
    return {(contig, reason): n for _, contig, reason, n in validate(VariantAccounting, accounting).rows()}


def _declared(info: str) -> str:
    """A header that declares the fields of an INFO."""
    names = [part.split("=")[0] for part in info.split(";")]
    lines = [f'##INFO=<ID={name},Number=A,Type=Float,Description="x, <y>">' for name in names]
    return VCF_HEADER.replace("\n", "\n" + "\n".join(lines) + "\n", 1)


def _frequencies(frame: pl.DataFrame) -> list[dict[str, float]]:
    """What each row says, by column, without nulls."""
    rows = frame.select("af", *(f"af_{name}" for name in POPULATIONS)).rows(named=True)
    return [{name: round(value, 5) for name, value in row.items() if value is not None} for row in rows]


def test_gnomad_frequency_reasons_and_sum(tmp_path: Path, genome: Genome) -> None:
    path = write_vcf(
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


SPELLINGS = {
    "v2.0": (
        "AC=30;AF=0.3;AN=100;AF_AFR=0.5;AF_OTH=0.2;AF_NFE=0.1;AF_POPMAX=0.5;AF_Male=0.9;AF_raw=0.8",
        {"af": 0.3, "af_afr": 0.5, "af_remaining": 0.2, "af_nfe": 0.1},
    ),
    "v2.1": (
        "AF=0.3;AF_nfe_bgr=0.9;AF_nfe=0.1;AF_nfe_seu=0.9;AF_afr_male=0.9;AF_afr=0.5;AF_oth=0.2;AF_popmax=0.5;"
        "controls_AF_afr=0.9;non_neuro_AF=0.9;faf95_afr=0.9",
        {"af": 0.3, "af_afr": 0.5, "af_remaining": 0.2, "af_nfe": 0.1},
    ),
    "v3.1": (
        "AF=0.3;AF-afr-XX=0.9;AF-non_neuro-afr=0.9;AF-afr=0.5;AF-asj=0.25;AF-ami=0.9;AF-oth=0.2",
        {"af": 0.3, "af_afr": 0.5, "af_asj": 0.25, "af_remaining": 0.2},
    ),
    "v4.1": (
        "AC=30;AN=100;AF=0.3;AF_grpmax=0.9;AF_XX=0.9;AF_afr_XX=0.9;AF_afr=0.5;AF_amr=0.1;AF_mid=0.4;AF_fin=0.6;"
        "AF_eas=0;AF_sas=0.7;AF_remaining=0.2;AF_non_ukb_afr=0.9",
        {
            "af": 0.3, "af_afr": 0.5, "af_amr": 0.1, "af_mid": 0.4, "af_fin": 0.6, "af_eas": 0.0, "af_sas": 0.7,
            "af_remaining": 0.2,
        },
    ),
    "v4.1 joint": (
        "AC_exomes=9;AF_exomes=0.9;AN_exomes=10;AF_genomes=0.8;AF_exomes_afr=0.9;AC_joint=30;AF_joint=0.3;AN_joint=100;"
        "AF_joint_afr_XX=0.9;AF_joint_afr=0.5;AF_joint_remaining=0.2;AF_joint_raw=0.9",
        {"af": 0.3, "af_afr": 0.5, "af_remaining": 0.2},
    ),
    "v4.0": (
        "AF=0.3;AF_joint=0.4;AF_afr=0.5;AF_joint_afr=0.6;AF_joint_eas=0.7",
        {"af": 0.3, "af_afr": 0.5, "af_eas": 0.7},
    ),
    "counts": ("AC=30;AN=100;AC_AFR=1;AN_AFR=8;AC_FIN=0;AN_FIN=0;AC_Adj=9", {"af": 0.3, "af_afr": 0.125}),
    "joint counts": ("AC_joint=30;AN_joint=100;AC_exomes=9;AN_exomes=10", {"af": 0.3}),
    "1000 Genomes": (
        "AC=30;AF=0.3;AN=100;AFR_AF=0.5;AMR_AF=0.1;EAS_AF=0.2;EUR_AF=0.4;SAS_AF=0.6",
        {"af": 0.3, "af_afr": 0.5, "af_amr": 0.1, "af_eas": 0.2, "af_nfe": 0.4, "af_sas": 0.6},
    ),
    # (661 x 0.2958 + 347 x 0.0447 + 504 x 0.0565 + 503 x 0.0388 + 489 x 0.0757) / 2504; the file's MAF_1kg says 0.1182
    "dbSNP": (
        "AF_1kg_afr=0.2958;AF_1kg_amr=0.0447;AF_1kg_eas=0.0565;AF_1kg_eur=0.0388;AF_1kg_sas=0.0757;MAF_1kg=0.9;AF_esp_aa=0.9",
        {"af": 0.11823, "af_afr": 0.2958, "af_amr": 0.0447, "af_eas": 0.0565, "af_nfe": 0.0388, "af_sas": 0.0757},
    ),
}  # fmt: skip


@pytest.mark.parametrize("is_declared", [True, False])
@pytest.mark.parametrize("version", SPELLINGS)
def test_each_spelling(tmp_path: Path, genome: Genome, version: str, is_declared: bool) -> None:
    info, expected = SPELLINGS[version]
    header = _declared(info) if is_declared else VCF_HEADER
    frame, _ = ingest_gnomad([write_vcf(tmp_path, [f"1 5 . A C . PASS {info}"], header)], genome, ["chr1"])
    assert _frequencies(validate(GnomadVariants, frame)) == [expected]


def test_each_allele_of_a_record_has_its_own(tmp_path: Path, genome: Genome) -> None:
    records = [
        "1 5 . A C,G,T . PASS AF=0.1,0.001,0.3;AF_afr=.,0.9,0.6;AC_eas=1,2,3;AN_eas=10",
        "1 6 . C T . PASS AF=0.5",
    ]
    frame, _ = ingest_gnomad([write_vcf(tmp_path, records)], genome, ["chr1"])
    expected = [{"af": 0.1, "af_eas": 0.1}, {"af": 0.3, "af_afr": 0.6, "af_eas": 0.3}, {"af": 0.5}]
    assert _frequencies(frame) == expected
    assert frame["alt"].to_list() == ["C", "T", "T"]


JOINT = [  # PASS: what both say; else what the part says that passed
    "1 5 . A C . PASS AC_joint=30;AN_joint=100;AF_joint=0.3;AF_exomes=0.9;AF_genomes=0.8;AF_joint_afr=0.5",
    "1 6 . C T . EXOMES_FILTERED AF_joint=0.9;AF_exomes=0.9;AF_genomes=0.2;AF_exomes_afr=0.9;AF_genomes_afr=0.1;"
    "AC_genomes=20;AN_genomes=100;AF_joint_afr=0.8",
    "1 7 . G T . GENOMES_FILTERED AF_joint=0.9;AF_exomes=0.4;AF_genomes=0.9;AF_exomes_eas=0.3;AF_genomes_eas=0.9;"
    "AC_exomes=400;AN_exomes=1000",
    "1 8 . T A . BOTH_FILTERED AF_joint=0.9;AF_exomes=0.9;AF_genomes=0.9",
    "1 9 . A C . EXOMES_FILTERED AF_joint=0.9;AF_exomes=0.9",  # not in the genomes
    "1 10 . C A . GENOMES_FILTERED AF_joint=0.9;AF_exomes=0.001;AF_genomes=0.9",
    "1 11 . A G . EXOMES_FILTERED;GENOMES_FILTERED AF_joint=0.9;AF_exomes=0.9;AF_genomes=0.9",
    "1 12 . C G . EXOMES_FILTERED;AC0 AF_joint=0.9;AF_genomes=0.9",
]


@pytest.mark.parametrize("is_declared", [True, False])
def test_a_joint_file_keeps_what_passed_in_one_part(tmp_path: Path, genome: Genome, is_declared: bool) -> None:
    header = _declared(";".join(record.split()[-1] for record in JOINT)) if is_declared else VCF_HEADER
    frame, accounting = ingest_gnomad([write_vcf(tmp_path, JOINT, header)], genome, ["chr1"])
    assert dict(zip(frame["pos"], _frequencies(validate(GnomadVariants, frame)), strict=True)) == {
        5: {"af": 0.3, "af_afr": 0.5},
        6: {"af": 0.2, "af_afr": 0.1},
        7: {"af": 0.4, "af_eas": 0.3},
    }
    assert _counts(accounting) == {
        ("chr1", "retained"): 1,
        ("chr1", "retained_genomes"): 1,
        ("chr1", "retained_exomes"): 1,
        ("chr1", "both_filtered"): 2,
        ("chr1", "filtered"): 2,
        ("chr1", "low_af"): 1,
    }


def test_a_joint_file_beside_another_counts_what_passed(tmp_path: Path, genome: Genome) -> None:
    others = ["1 6 . C T . PASS AC=80;AN=100;AF=0.8", "1 7 . G T . PASS AC=1;AN=9000;AF=0.0001"]
    paths = [write_vcf(tmp_path, JOINT, name="joint.vcf"), write_vcf(tmp_path, others, name="others.vcf")]
    frame, accounting = ingest_gnomad(paths, genome, ["chr1"])
    found = dict(zip(frame["pos"], frame["af"].round(5), strict=True))
    assert found == pytest.approx({5: 0.3, 6: (20 + 80) / (100 + 100), 7: (400 + 1) / (1_000 + 9_000)}, abs=1e-5)
    assert accounting["n_alleles"].sum() == len(JOINT) + len(others)


@pytest.mark.parametrize("filter_", ["EXOMES_FILTERED", "GENOMES_FILTERED", "BOTH_FILTERED"])
@pytest.mark.parametrize("info", ["AF=0.3;AF_afr=0.2", "AF_joint=0.3", "AF=0.3;AF_exomes=0.3;AF_genomes=0.4"])
def test_other_files_keep_no_filtered_record(tmp_path: Path, genome: Genome, filter_: str, info: str) -> None:
    records = [f"1 5 . A C . {filter_} {info}", f"1 6 . C T . PASS {info}"]
    frame, accounting = ingest_gnomad([write_vcf(tmp_path, records)], genome, ["chr1"])
    assert frame["pos"].to_list() == [6]
    assert _counts(accounting) == {("chr1", "retained"): 1, ("chr1", "filtered"): 1}


def test_blanks_and_contradictions_in_info(tmp_path: Path, genome: Genome) -> None:
    infos = [
        "DP=3; AF=0.2; AF_afr = 0.1",
        " AF = 0.3 ",
        "AF=.1;AF=.9",
        "AF=.0001;DP=3; AF=.9",  # rare or not, nobody knows
        "AF=0.2;AF= 0.2",
        "AF=0.2;AF_afr=0.1;AF_afr=0.2",
        "AC=10;AN=100;AC=1",
        "LDAF=0.9;AF=0.4",
    ]
    places = [place for place, letter in enumerate(REPEATED, start=1) if letter == "A"]
    lines = [f"1\t{pos}\t.\tA\tC\t.\t.\t{info}\n" for pos, info in zip(places, infos, strict=False)]
    path = tmp_path / "in.vcf"
    path.write_text(f"{VCF_HEADER}\n{''.join(lines)}")
    frame, accounting = ingest_gnomad([path], genome, ["chr1"])
    assert _frequencies(frame) == [{"af": 0.2, "af_afr": 0.1}, {"af": 0.3}, {"af": 0.2}, {"af": 0.4}]
    assert frame["pos"].to_list() == [places[index] for index in (0, 1, 4, 7)]
    assert _counts(accounting) == {("chr1", "retained"): 4, ("chr1", "contradictory"): 4}


EXOMES = [
    "1 5 . A C . PASS AC=10;AN=1000;AF=0.01;AC_afr=8;AN_afr=100;AF_afr=0.08",  # 10 + 50 of 1000 + 1000
    "1 6 . C T . PASS AC=10;AN=1000;AF=0.01",  # 10 + 1 of 2000: rare together
    "1 7 . G T . PASS AC=2;AN=1000;AF=0.002;AC_afr=0;AN_afr=100;AF_afr=0",  # 2 + 98 of 2000
    "1 8 . T A . PASS AC=300;AN=1000;AF=0.3;AF_afr=0.4",  # in this file alone
    "1 9 . A C . PASS AC=1;AN=1000;AF=0.001",  # rare in both
    "1 10 . C A . PASS AF=0.2;AF_afr=0.5",  # no counts: the first file's frequencies
    "1 11 . A G . PASS AF=0.003",  # no counts, and rare in the first file
    "1 12 . C G . PASS AC=20;AN=1000;AF=0.02",
]
GENOMES = [
    "1 5 . A C . PASS AC=50;AN=1000;AF=0.05;AC_afr=12;AN_afr=300;AF_afr=0.04;AC_eas=3;AN_eas=30;AF_eas=0.1",
    "1 6 . C T . PASS AC=1;AN=1000;AF=0.001",
    "1 7 . G T . PASS AC=98;AN=1000;AF=0.098;AC_afr=20;AN_afr=100;AF_afr=0.2",
    "1 9 . A C . PASS AC=1;AN=1000;AF=0.001",
    "1 10 . C A . PASS AC=4;AN=10;AF=0.4;AF_afr=0.6;AF_eas=0.3",
    "1 11 . A G . PASS AC=300;AN=1000;AF=0.3",
    "1 12 . C G . AC0 AC=900;AN=1000;AF=0.9",  # did not pass: takes no part
    "2 5 . A C . PASS AC=100;AN=1000;AF=0.1",  # on a contig of this file alone
]
JOINED = {
    ("chr1", 5): {"af": 0.03, "af_afr": 0.05, "af_eas": 0.1},
    ("chr1", 7): {"af": 0.05, "af_afr": 0.1},
    ("chr1", 8): {"af": 0.3, "af_afr": 0.4},
    ("chr1", 10): {"af": 0.2, "af_afr": 0.5, "af_eas": 0.3},
    ("chr1", 12): {"af": 0.02},
    ("chr2", 5): {"af": 0.1},
}


@pytest.mark.parametrize("backwards", [False, True])
def test_exomes_and_genomes_are_one_source(tmp_path: Path, genome: Genome, backwards: bool) -> None:
    step = -1 if backwards else 1
    paths = [
        write_vcf(tmp_path, EXOMES[::step], name="exomes.vcf"),
        write_vcf(tmp_path, GENOMES[::step], name="genomes.vcf"),
    ]
    frame, accounting = ingest_gnomad(paths, genome, ["chr1", "chr2"])
    places = frame.select("contig", "pos").rows()
    assert dict(zip(places, _frequencies(validate(GnomadVariants, frame)), strict=True)) == JOINED
    # retained 6 on two contigs; duplicate: 5 and 10 in genomes; rare: 6, 7, 9, 11 in exomes, 6, 9 and (as the first
    # file says so) 11 in genomes.
    assert _counts(accounting) == {
        ("chr1", "retained"): 5,
        ("chr1", "duplicate"): 2,
        ("chr1", "low_af"): 7,
        ("chr1", "filtered"): 1,
        ("chr2", "retained"): 1,
    }
    assert accounting["n_alleles"].sum() == len(EXOMES) + len(GENOMES)


def test_a_file_joined_with_itself_says_what_it_says_alone(tmp_path: Path, genome: Genome) -> None:
    records = ["1 5 . A C . PASS AC=10;AN=1000;AC_afr=8;AN_afr=100", "1 5 . A C . PASS AC=500;AN=1000", EXOMES[4]]
    path = write_vcf(tmp_path, records)
    once, counts = ingest_gnomad([path], genome, ["chr1"])
    twice, counts_of_two = ingest_gnomad([path, path], genome, ["chr1"])
    assert twice.equals(once) and _frequencies(once) == [{"af": 0.01, "af_afr": 0.08}]
    assert _counts(counts) == {("chr1", "retained"): 1, ("chr1", "duplicate"): 1, ("chr1", "low_af"): 1}
    assert _counts(counts_of_two) == {("chr1", "retained"): 1, ("chr1", "duplicate"): 3, ("chr1", "low_af"): 2}


def test_files_by_chromosome_are_read_once(tmp_path: Path, genome: Genome) -> None:
    whole = ["1 5 . A C . PASS AF=0.1", "1 6 . C T . PASS AF=0.001", "2 5 . A C . PASS AF=0.3"]
    parts = [write_vcf(tmp_path, whole[:2], name="1.vcf"), write_vcf(tmp_path, whole[2:], name="2.vcf")]
    of_parts = ingest_gnomad(parts, genome, ["chr1", "chr2"])
    of_whole = ingest_gnomad([write_vcf(tmp_path, whole)], genome, ["chr1", "chr2"])
    assert all(a.equals(b) for a, b in zip(of_parts, of_whole, strict=True))


def test_order_changes_nothing(tmp_path: Path, genome: Genome) -> None:
    records = [f"{chrom} {pos} . A C . PASS AF=0.{pos}" for chrom in (1, 2) for pos in (1, 5, 9)]
    in_order, counts = ingest_gnomad([write_vcf(tmp_path, records)], genome, ["chr1", "chr2"])
    assert in_order.select("contig", "pos").rows() == [(f"chr{chrom}", pos) for chrom in (1, 2) for pos in (1, 5, 9)]
    shuffled = [records[i] for i in (4, 1, 5, 0, 3, 2)]
    again, counts_again = ingest_gnomad([write_vcf(tmp_path, shuffled)], genome, ["chr1", "chr2"])
    assert again.equals(in_order) and counts_again.equals(counts)


@pytest.mark.parametrize(
    ("info", "found"),
    [
        ("AC=40;DP=3", "found AC, DP;"),
        ("DP=3;A=1;B=1;C=1;D=1;E=1;F=1;G=1;H=1;I=1", "found DP, A, B, C, D, E, F, G, ...;"),
        (".", "found no fields;"),
        ("AF_exomes=0.4;AF_popmax=0.3", "found AF_exomes, AF_popmax;"),
        ("AC=0;AN=0", "found AC, AN;"),
    ],
)
def test_a_file_that_tells_no_frequency_is_refused(tmp_path: Path, genome: Genome, info: str, found: str) -> None:
    good, path = write_vcf(tmp_path, EXOMES, name="good.vcf"), write_vcf(tmp_path, [f"1 7 . G T . PASS {info}"])
    with pytest.raises(InputError, match="in.vcf: no allele has a frequency; expected AF, or AC and AN") as error:
        ingest_gnomad([good, path], genome, ["chr1"])
    assert found in str(error.value) and "inputs.an_where_af_missing" in str(error.value)
    assert "\n" not in str(error.value)


def test_what_only_some_alleles_lack_is_rare(tmp_path: Path, genome: Genome) -> None:
    records = ["1 7 . G T . PASS AC=40", "2 5 . A C . PASS AF=0.5"]  # the second is not asked for
    frame, accounting = ingest_gnomad([write_vcf(tmp_path, records)], genome, ["chr1"])
    assert frame.is_empty()
    assert _counts(accounting) == {("chr1", "low_af"): 1, ("chr2", "contig_unknown"): 1}
    frame, _ = ingest_gnomad([write_vcf(tmp_path, records)], genome, ["chr1"], an_where_af_missing=200)
    assert _frequencies(frame) == [{"af": 0.2}]
    assert ingest_gnomad([write_vcf(tmp_path, [])], genome, ["chr1"])[0].is_empty()


def test_a_file_of_another_build_is_refused(tmp_path: Path, genome: Genome) -> None:
    path = write_vcf(tmp_path, [f"1 {pos} . {'ACGT'[pos % 4]} A . PASS AF=0.5" for pos in range(10, 60) if pos % 4])
    with pytest.raises(InputError, match="build"):
        ingest_gnomad([path], genome, ["chr1"])


@needs_shared_data
def test_real_exomes(tmp_path: Path) -> None:
    """v2.0.1, without its index: 570 sites of which the common ones carry eight populations."""
    path = tmp_path / "no_index.vcf.gz"
    path.symlink_to(SHARED / "grch37" / "gnomad_exomes.vcf.gz")
    frame, accounting = ingest_gnomad([path], shared_genome("grch37"), ["1"])
    validate(GnomadVariants, frame)
    assert frame.height > 0 and accounting["n_alleles"].sum() == 570
    assert frame.select(f"af_{name}" for name in POPULATIONS if name != "mid").null_count().sum_horizontal()[0] == 0
    assert frame["af_mid"].null_count() == frame.height
    first = frame.row(by_predicate=pl.col("pos") == 949_608, named=True)
    assert first["af"] == pytest.approx(0.36066) and first["af_remaining"] == pytest.approx(0.364717)
    twice, _ = ingest_gnomad([path, path], shared_genome("grch37"), ["1"])
    assert twice.select("pos", "ref", "alt").equals(frame.select("pos", "ref", "alt"))
    assert ((twice["af"] - frame["af"]).abs() < 1e-6).all()


@needs_shared_data
def test_real_dbsnp_sites() -> None:
    """Most have frequencies of the 1000 Genomes alone; MAF_1kg is of the rarer allele, so AF or 1 - AF."""
    path = SHARED / "grch38" / "chr21_dbsnp_gnomad_1kg.vcf.gz"
    frame, accounting = ingest_gnomad([path], shared_genome("grch38"), ["chr21"])
    validate(GnomadVariants, frame)
    counts = dict(accounting.group_by("reason").agg(pl.col("n_alleles").sum()).iter_rows())
    assert counts["retained"] == frame.height > 3_000
    assert frame.filter(pl.col("af_afr").is_not_null()).height == frame.height
    assert 0 < frame["af_asj"].count() < frame.height  # where gnomAD says more
