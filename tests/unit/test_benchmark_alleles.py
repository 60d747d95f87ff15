"""Which alleles of a benchmark take part, why others do not, and the facts beside them."""

from __future__ import annotations

from pathlib import Path

import polars as pl
import pytest

from data_contracts import BenchmarkAlleles, ClinvarVariants, GeneAnnotation, HoldoutClinvar, validate
from geno_model.genomics.genome import Genome
from geno_pipeline.build.gnomad import frequencies_of
from geno_pipeline.build.hashing import ALLELE_KEY
from geno_pipeline.evaluation.alleles import clinvar_rows, exon_distance, table_rows, touched_by_edits, with_facts
from tests.unit.build_inputs import VCF_HEADER, repeated_genome, write_vcf
from tests.unit.test_regions import genes, small_genome

NO_EDITS = pl.DataFrame(schema={"contig": pl.String, "pos": pl.Int64, "ref": pl.String, "alt": pl.String})


def edits(*rows: tuple[int, str, str]) -> pl.DataFrame:
    return pl.DataFrame([("1", *row) for row in rows], schema=NO_EDITS.schema, orient="row")


def clinvar(*rows: tuple[int, str, str | None, bool | None]) -> pl.DataFrame:
    """pos, significance, consequence, is_coding of SNVs T>A on contig 1."""
    values = [("1", pos, "T", "A", 0, sig, 2, coding, term, "G") for pos, sig, term, coding in rows]
    return pl.DataFrame(values, schema=ClinvarVariants.empty().schema, orient="row")


def held(*positions: int) -> pl.DataFrame:
    rows = [("1", pos, "T", "A", 0, 1, True, 2) for pos in positions]
    return pl.DataFrame(rows, schema=HoldoutClinvar.empty().schema, orient="row")


@pytest.fixture
def genome(tmp_path: Path) -> Genome:
    return small_genome(tmp_path)


def test_clinvar_rows_are_all_there_with_one_reason_each(genome: Genome) -> None:
    table = clinvar(
        (1, "P", "missense_variant", True),
        (2, "LB", None, None),
        (3, "VUS", "intron_variant", False),
        (4, "OTHER", None, True),
        (5, "B", "stop_gained", True),
    )
    rows = clinvar_rows(table, held(1, 2), NO_EDITS)
    assert rows.select("pos", "track", "label", "reason").rows() == [
        (1, "ClinVar coding", 1, None),
        (2, "ClinVar non-coding", 0, None),
        (3, "ClinVar non-coding", None, "vus"),
        (4, "ClinVar coding", None, "conflicting_or_other"),
        (5, "ClinVar coding", 0, "not_held_out"),
    ]
    full = with_facts([rows], NO_EDITS, frequency_table(), GeneAnnotation.empty(), genome)
    assert validate(BenchmarkAlleles, full).height == 5
    assert full.filter(pl.col("reason").is_null())["pos"].to_list() == [1, 2]


def test_alleles_of_a_gene_that_was_taught_take_no_part() -> None:
    """Another release may choose other genes to hold out; of a gene with training edits from ClinVar nothing counts."""
    table = clinvar((1, "P", None, True), (2, "B", None, True), (9, "P", None, True))
    table = table.with_columns(gene=pl.Series(["A", "A", None]))
    taught = table.head(1).select("contig", "pos", "ref", "alt")
    reasons = clinvar_rows(table, held(2, 9), taught)["reason"].to_list()
    assert reasons == ["not_held_out", "seen_in_training", None]


def test_edits_of_a_corpus_touch_nothing(genome: Genome) -> None:
    corpus = edits((40, "G", "C")).with_columns(contig=pl.lit("corpus"))
    assert touched_by_edits(edits((40, "G", "T")), corpus, genes(), genome).to_list() == [False]


def frequency_table(*rows: tuple[int, float, float]) -> pl.DataFrame:
    """pos, af, af_afr of T>A; other populations null."""
    schema = {
        name: BenchmarkAlleles.empty().schema[name] for name in BenchmarkAlleles.empty().columns if name[:2] == "af"
    }
    empty = pl.DataFrame(schema={**NO_EDITS.schema, **schema})
    some = pl.DataFrame([("1", pos, "T", "A", af, afr) for pos, af, afr in rows],
                        schema=["contig", "pos", "ref", "alt", "af", "af_afr"], orient="row")  # fmt: skip
    return pl.concat([empty, some.cast({"af": pl.Float32, "af_afr": pl.Float32})], how="diagonal") if rows else empty


@pytest.mark.parametrize(
    ("edit", "touched"),
    [
        ((40, "G", "C"), True),  # the base itself, another allele
        ((42, "G", "C"), True),  # two bases beside it: perhaps its codon
        ((43, "G", "C"), False),
        ((53, "G", "C"), False),  # behind an intron, in the next codon
        ((52, "G", "C"), True),  # behind the intron, in its codon
        ((31, "GGGGGGGGGG", "G"), True),  # a deletion over it
    ],
)
def test_what_a_training_edit_touches(genome: Genome, edit: tuple[int, str, str], touched: bool) -> None:
    allele = edits((40, "G", "T"))
    assert touched_by_edits(allele, edits(edit), genes((36, 40), (50, 55)), genome).to_list() == [touched]


def test_the_same_deletion_written_elsewhere_in_its_repeat_is_seen(genome: Genome) -> None:
    # CACACA at 11..16 (0-based): a deletion of CA stands left-most at pos 11 and can be written at 15.
    assert touched_by_edits(
        edits((11, "GCA", "G")), edits((16, "A", "C")), GeneAnnotation.empty(), genome
    ).to_list() == [True]
    assert touched_by_edits(
        edits((16, "A", "C")), edits((11, "GCA", "G")), GeneAnnotation.empty(), genome
    ).to_list() == [True]


def test_touched_keeps_the_order_of_alleles_of_several_contigs(tmp_path: Path) -> None:
    two = repeated_genome(tmp_path)
    alleles = pl.DataFrame([("chr2", 2, "C", "A"), ("chr1", 2, "C", "A"), ("chr2", 9, "A", "C")],
                           schema=NO_EDITS.schema, orient="row")  # fmt: skip
    trained = alleles[[0]]
    assert touched_by_edits(alleles, trained, GeneAnnotation.empty(), two).to_list() == [True, False, False]
    assert touched_by_edits(alleles.clear(), trained, GeneAnnotation.empty(), two).to_list() == []


def test_an_allele_that_training_met_takes_no_part(genome: Genome) -> None:
    rows = clinvar_rows(clinvar((1, "P", None, True), (9, "B", None, True)), held(1, 9), NO_EDITS)
    full = with_facts([rows], edits((2, "T", "C")), frequency_table((1, 0.1, 0.2), (9, 0.25, 0.5)), genes(), genome)
    assert full.select("pos", "reason", "af", "af_afr").rows() == [
        (1, "seen_in_training", pytest.approx(0.1), pytest.approx(0.2)),
        (9, None, 0.25, 0.5),
    ]


def test_distance_to_the_nearest_exon_by_hand() -> None:
    exons = genes((10, 20), (30, 40)).with_columns(feature=pl.lit("exon"))
    distance = {10: 1, 11: 0, 20: 0, 21: 1, 25: 5, 26: 5, 27: 4, 30: 1, 31: 0, 45: 5}  # 1-based position: bases
    alleles = edits(*((pos, "A", "C") for pos in distance))
    assert exon_distance(alleles, exons).to_list() == list(distance.values())
    assert exon_distance(edits((8, "ACG", "A")), exons).to_list() == [1]  # bases 7..9, the exon begins at 10
    elsewhere = alleles.with_columns(contig=pl.lit("2"))
    assert exon_distance(elsewhere, exons).null_count() == len(distance)
    assert exon_distance(alleles, GeneAnnotation.empty()).null_count() == len(distance)


def test_a_file_that_cannot_be_used_is_one_row_that_says_why(genome: Genome, tmp_path: Path) -> None:
    rows = table_rows("BRCA1", tmp_path / "missing.csv", genome)
    full = with_facts([rows], NO_EDITS, frequency_table(), genes(), genome)
    row = validate(BenchmarkAlleles, full).row(0, named=True)
    assert (row["track"], row["reason"], row["pos"]) == ("BRCA1", "unreadable", None)
    assert "missing.csv" in row["note"]


def test_frequencies_of_wanted_alleles_the_rare_ones_too(tmp_path: Path) -> None:
    genome = repeated_genome(tmp_path)
    header = VCF_HEADER.replace("#CHROM", '##INFO=<ID=AF,Number=A,Type=Float,Description="x">\n#CHROM')
    first = write_vcf(tmp_path, ["chr1 2 . C A,T . PASS AF=0.0001,0.2", "chr1 3 . G A . PASS AF=0.5"], header, "a.vcf")
    second = write_vcf(tmp_path, ["chr1 2 . C A . PASS AF=0.3", "chr2 2 . C A . PASS AF=0.4"], header, "b.vcf")
    wanted = pl.DataFrame([("chr1", 2, "C", "A"), ("chr2", 2, "C", "A"), ("chr2", 3, "G", "A")],
                          schema=list(ALLELE_KEY), orient="row")  # fmt: skip
    found = frequencies_of(wanted, [first, second], genome).sort("contig")
    assert found.select(*ALLELE_KEY, "af").rows() == [
        ("chr1", 2, "C", "A", pytest.approx(0.0001)),  # the first file's
        ("chr2", 2, "C", "A", pytest.approx(0.4)),
    ]
