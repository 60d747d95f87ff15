"""ClinVar: its words of any year, the date of a release, order, contig names, and the real file."""

from __future__ import annotations

import datetime
from pathlib import Path

import polars as pl
import pytest

from data_contracts import ClinvarVariants, validate
from geno_model.genomics.errors import InputError
from geno_model.genomics.genome import Genome
from geno_pipeline.build.clinvar import clinvar_facts, ingest_clinvar, release_date, require_not_older
from tests.shared_data import SHARED, needs_shared_data
from tests.unit.build_inputs import REPEATED, VCF_HEADER, other, repeated_genome, write_vcf


@pytest.fixture
def genome(tmp_path: Path) -> Genome:
    return repeated_genome(tmp_path)


def _records(info: list[str], chrom: str = "1") -> list[str]:
    """An SNV every four bases, one for each INFO."""
    alleles = [(4 * i + 1, REPEATED[4 * i]) for i in range(len(info))]
    return [f"{chrom} {pos} . {ref} {other(ref)} . . {text}" for (pos, ref), text in zip(alleles, info, strict=True)]


def _fact(name: str, info: str) -> object:
    return clinvar_facts(pl.DataFrame({"info": [info], "alt_index": [0], "n_alts": [1]}))[name].item()


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
    frame, accounting = ingest_clinvar(write_vcf(tmp_path, _records(info)), genome, ["chr1"])
    validate(ClinvarVariants, frame)
    assert frame["clnsig"].to_list() == ["P", "P", "LP", "B", "LB", "VUS", "OTHER", "OTHER"]
    assert frame["stars"].to_list() == [3, 2, 3, 0, 0, 0, 1, 0]
    assert frame["is_coding"].to_list() == [True, None, None, False, None, None, None, None]
    assert frame["consequence"].to_list()[:4] == ["stop_gained", None, None, "intron_variant"]
    assert frame["gene"].to_list()[:5] == ["BRCA2", None, None, None, "ISG15"]
    assert accounting["n_alleles"].sum() == len(info)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("Pathogenic", "P"),
        ("pathogenic", "P"),
        ("Likely_pathogenic", "LP"),
        ("Likely pathogenic", "LP"),
        ("Benign", "B"),
        ("Likely_benign", "LB"),
        ("Uncertain_significance", "VUS"),
        ("Pathogenic/Likely_pathogenic", "P"),
        ("Pathogenic/Likely_pathogenic/Pathogenic,_low_penetrance", "OTHER"),
        ("Pathogenic,_low_penetrance", "OTHER"),
        ("Pathogenic&_low_penetrance", "OTHER"),
        ("Likely_pathogenic,_low_penetrance", "OTHER"),
        ("Likely_pathogenic/Likely_pathogenic,_low_penetrance", "OTHER"),
        ("Pathogenic/Likely_risk_allele", "OTHER"),
        ("Pathogenic/Likely_pathogenic/Established_risk_allele", "OTHER"),
        ("Likely_pathogenic|Uncertain_risk_allele", "OTHER"),
        ("Established_risk_allele", "OTHER"),
        ("Likely_risk_allele", "OTHER"),
        ("Uncertain_risk_allele", "OTHER"),
        ("Benign/Likely_risk_allele", "OTHER"),
        ("Uncertain_significance/Likely_risk_allele", "OTHER"),
        ("Likely_pathogenic|drug_response", "LP"),
        ("drug_response|Pathogenic", "P"),
        ("Pathogenic,_other,_risk_factor", "P"),
        ("Benign/Likely_benign|other", "B"),
        ("Benign/Likely_benign,_other", "B"),
        ("Likely_benign,_other", "LB"),
        ("Uncertain_significance/Uncertain_risk_allele", "VUS"),
        ("Uncertain_significance,_association", "VUS"),
        ("Conflicting_interpretations_of_pathogenicity", "OTHER"),
        ("Conflicting_classifications_of_pathogenicity|risk_factor", "OTHER"),
        ("Pathogenic|Conflicting_interpretations_of_pathogenicity", "OTHER"),
        ("Pathogenic|Benign", "OTHER"),
        ("Likely_benign|Likely_pathogenic", "OTHER"),
        ("Uncertain_significance|Benign", "OTHER"),
        ("Likely_pathogenic,_Uncertain_significance", "OTHER"),
        ("not_provided", "OTHER"),
        ("drug_response", "OTHER"),
        ("no_classification_for_the_single_variant", "OTHER"),
        ("", "OTHER"),
        ("0", "VUS"),
        ("2", "B"),
        ("3", "LB"),
        ("4", "LP"),
        ("5", "P"),
        ("255", "OTHER"),
        ("1", "OTHER"),
        ("6|7", "OTHER"),
        ("5|5", "P"),
        ("5|4", "P"),
        ("4|255", "LP"),
        ("2|3", "B"),
        ("5,2", "OTHER"),
        ("0|5", "OTHER"),
    ],
)
def test_significance_of_any_year(text: str, expected: str) -> None:
    assert _fact("clnsig", f"ALLELEID=1;CLNSIG={text};CLNSIGCONF=Benign(1)") == expected


def _labels(frame: pl.DataFrame) -> dict[str, tuple[str, int]]:
    return {alt: (label, stars) for alt, label, stars in frame.select("alt", "clnsig", "stars").rows()}


@pytest.mark.parametrize(
    ("alts", "info", "expected"),
    [
        ("C,G", "CLNALLE=2;CLNSIG=5;CLNREVSTAT=exp", {"C": ("OTHER", 0), "G": ("P", 3)}),
        ("C,G", "CLNALLE=2,1;CLNSIG=5,2|3;CLNREVSTAT=single|mult,no_criteria", {"C": ("B", 0), "G": ("P", 2)}),
        ("C,G", "CLNALLE=1,2;CLNSIG=4|255,0;CLNREVSTAT=mult,conf", {"C": ("LP", 2), "G": ("VUS", 1)}),
        ("C,G", "CLNALLE=1,1;CLNSIG=5,5;CLNREVSTAT=single,exp", {"C": ("P", 3), "G": ("OTHER", 0)}),
        ("C,G", "CLNALLE=1,1;CLNSIG=5,2", {"C": ("OTHER", 0), "G": ("OTHER", 0)}),  # two names of one allele
        ("C,G", "CLNALLE=1, 2;CLNSIG=5", {"C": ("P", 0), "G": ("OTHER", 0)}),  # no second label
        ("C", "CLNALLE=0;CLNSIG=5", {"C": ("OTHER", 0)}),  # the reference is what is pathogenic
        ("C", "CLNALLE=-1;CLNSIG=5", {"C": ("OTHER", 0)}),  # no allele of the record
        ("C", "CLNALLE=1;CLNSIG=5|5;CLNREVSTAT=single|single", {"C": ("P", 1)}),
        ("C,G", "CLNSIG=5", {"C": ("OTHER", 0), "G": ("OTHER", 0)}),  # nothing says of which
        ("C", "CLNSIG=Pathogenic,_low_penetrance", {"C": ("OTHER", 0)}),
    ],
)
def test_each_allele_has_its_own_label(
    tmp_path: Path, genome: Genome, alts: str, info: str, expected: dict[str, tuple[str, int]]
) -> None:
    path = tmp_path / "in.vcf"
    path.write_text(f"{VCF_HEADER}\n1\t5\t.\tA\t{alts}\t.\t.\t{info}\n")
    assert _labels(ingest_clinvar(path, genome, ["chr1"])[0]) == expected


@pytest.mark.parametrize("step", [1, -1])
@pytest.mark.parametrize(
    ("records", "expected", "reason"),
    [
        (["Pathogenic 1", "Benign 2"], ("B", 2), "duplicate"),
        (["Pathogenic 3", "Conflicting_classifications_of_pathogenicity 1"], ("P", 3), "duplicate"),
        (["Pathogenic 2", "Benign 2"], ("OTHER", 2), "contradictory"),
        (["Pathogenic 2", "drug_response 2"], ("OTHER", 2), "contradictory"),
        (["Pathogenic 2", "Likely_pathogenic 2"], ("P", 2), "duplicate"),
        (["Benign 0", "Likely_benign 0"], ("B", 0), "duplicate"),
        (["Benign 1", "Pathogenic 1", "Uncertain_significance 2"], ("VUS", 2), "duplicate"),
    ],
)
def test_records_of_one_allele_are_judged_by_stars(
    tmp_path: Path, genome: Genome, step: int, records: list[str], expected: tuple[str, int], reason: str
) -> None:
    lines = ["1 5 . A C . . CLNSIG={};GOLD_STARS={}".format(*record.split()) for record in records[::step]]
    frame, accounting = ingest_clinvar(write_vcf(tmp_path, lines), genome, ["chr1"])
    assert frame.select("clnsig", "stars").rows() == [expected]
    counts = {row[2]: row[3] for row in accounting.rows()}
    assert counts == {"retained": 1, reason: len(records) - 1}


def test_a_record_that_contradicts_itself_is_left_out(tmp_path: Path, genome: Genome) -> None:
    info = ["CLNSIG=Pathogenic;CLNSIG=Benign", "CLNSIG=Benign;CLNSIG=Benign", "A=1; CLNSIG = Benign "]
    path = tmp_path / "in.vcf"
    lines = [f"1\t{pos}\t.\tA\tG\t.\t.\t{text}\n" for pos, text in zip((1, 5, 9), info, strict=True)]
    path.write_text(f"{VCF_HEADER}\n{''.join(lines)}")
    frame, accounting = ingest_clinvar(path, genome, ["chr1"])
    assert frame.select("pos", "clnsig").rows() == [(5, "B"), (9, "B")]
    assert {row[2]: row[3] for row in accounting.rows()} == {"retained": 2, "contradictory": 1}


@pytest.mark.parametrize(
    ("text", "stars"),
    [
        ("practice_guideline", 4),
        ("reviewed_by_expert_panel", 3),
        ("criteria_provided,_multiple_submitters,_no_conflicts", 2),
        ("criteria_provided,_multiple_submitters", 2),
        ("criteria_provided,_single_submitter", 1),
        ("criteria_provided,_conflicting_interpretations", 1),
        ("criteria_provided,_conflicting_classifications", 1),
        ("no_assertion_criteria_provided", 0),
        ("no_classification_provided", 0),
        ("no_assertion", 0),
        ("no_criteria", 0),
        ("single", 1),
        ("conf", 1),
        ("mult", 2),
        ("exp", 3),
        ("prof", 4),
        ("guideline", 4),
        ("single|mult|no_criteria", 2),
    ],
)
def test_stars_of_any_year(text: str, stars: int) -> None:
    assert _fact("stars", f"CLNSIG=Benign;CLNREVSTAT={text}") == stars


@pytest.mark.parametrize("chrom", ["1", "chr1"])
def test_order_and_contig_names_change_nothing(tmp_path: Path, genome: Genome, chrom: str) -> None:
    words = ["Pathogenic", "Benign", "Likely_benign", "Uncertain_significance"]
    records = _records([f"CLNSIG={word}" for word in words], chrom)
    sorted_, counts = ingest_clinvar(write_vcf(tmp_path, records), genome, ["chr1"])
    assert sorted_.select("contig", "pos", "clnsig").rows() == [
        ("chr1", 1, "P"),
        ("chr1", 5, "B"),
        ("chr1", 9, "LB"),
        ("chr1", 13, "VUS"),
    ]
    shuffled, counts_too = ingest_clinvar(write_vcf(tmp_path, [records[i] for i in (2, 0, 3, 1)]), genome, ["chr1"])
    assert shuffled.equals(sorted_) and counts_too.equals(counts)


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("##fileDate=2024-03-11", datetime.date(2024, 3, 11)),
        ("##fileDate=20160203", datetime.date(2016, 2, 3)),
        ("##filedate=2024-03-11", datetime.date(2024, 3, 11)),
        ("##fileDate=2024-13-11", None),  # no such month
        ("##fileDate=yesterday", None),
        ("##source=ClinVar", None),
    ],
)
def test_release_date(tmp_path: Path, line: str, expected: datetime.date | None) -> None:
    assert release_date(write_vcf(tmp_path, _records(["CLNSIG=Benign"]), f"{line}\n{VCF_HEADER}")) == expected


def test_an_older_release_is_refused(tmp_path: Path) -> None:
    old, new, record = datetime.date(2023, 10, 7), datetime.date(2024, 3, 11), tmp_path / "clinvar_release.json"
    for found, before in ((new, old), (old, old), (None, new), (new, None)):
        require_not_older(found, before, record)
    with pytest.raises(InputError) as error:
        require_not_older(old, new, record)
    assert str(error.value) == (
        "the ClinVar file is the release of 2023-10-07, expected one not older than that of 2024-03-11, which was used "
        f"before ({record}); give the newer file, or remove {record} to go back to the earlier release"
    )


@needs_shared_data
def test_the_real_file_is_accounted_for(tmp_path: Path) -> None:
    real = SHARED / "grch37"
    genome = Genome.open(real / "reference.fa.gz", cache_dir=tmp_path)
    (tmp_path / "no_index.vcf.gz").symlink_to(real / "clinvar.vcf.gz")
    clinvar, accounting = ingest_clinvar(tmp_path / "no_index.vcf.gz", genome, ["1", "13"])
    validate(ClinvarVariants, clinvar)
    assert clinvar["clnsig"].is_in(["P", "LP"]).sum() == 95  # the figures of the data's README
    assert clinvar["clnsig"].is_in(["B", "LB"]).sum() in (313, 314)  # one is `Benign|risk_factor`, B here
    assert (clinvar["clnsig"] == "VUS").sum() == 279
    assert accounting["n_alleles"].sum() == 749
