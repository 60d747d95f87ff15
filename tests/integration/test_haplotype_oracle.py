"""Our haplotypes, from VCF text to edited bases, beside those of `bcftools consensus` (spec 1)."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import polars as pl
import pysam
import pytest

from geno_model.genomics.genome import Genome
from geno_pipeline.build.holdouts import BLOCK_BP
from geno_pipeline.demo import write_demo_inputs
from tests.oracles.consensus import WINDOW_BP, PhasedFile, blocks, compare, read_phased, real_file
from tests.shared_data import needs_shared_data
from tests.unit.demo_settings import SMALL

N_SAMPLES = 12
SMALL_BLOCK_BP = 60
UNITS = ["A", "C", "AC", "AAC", "CCA", "ACGT", "GATTACA", "T", "GGC"]


def made_up_records(sequence: str, rng: np.random.Generator) -> list[str]:
    """Records of every kind, some written far from their leftmost place, some with bases to trim, some that overlap."""
    records, at = [], 3
    while at < len(sequence) - 40:
        n_ref, n_alt = (int(length) for length in rng.integers(1, 7, size=2))
        ref = sequence[at : at + n_ref]
        random_bases = "".join(rng.choice(list("ACGT"), size=n_alt))
        unit = sequence[at + 1 : at + 1 + n_alt]
        alts = {
            "snv": ["ACGT"["ACGT".index(ref[0]) - 1] + ref[1:]],  # an SNV with a tail that must be trimmed
            "repeat": [ref[0] + unit + ref[1:]],  # an insertion that may move left
            "deletion": [ref[:1]],
            "mnv": [ref[::-1]],
            "complex": [random_bases],
            "several": [random_bases, ref[0] + unit + ref[1:], "ACGT"["ACGT".index(ref[0]) - 2] + ref[1:]],
            "star": ["*", ref[0] + "T"],
            "long": [ref + "ACGTTGCA" * 3, random_bases],
            "symbolic": ["<DEL>"],
        }[str(rng.choice(["snv", "repeat", "deletion", "mnv", "complex", "several", "star", "long", "symbolic"]))]
        alts = [alt for alt in dict.fromkeys(alts) if alt != ref]
        if alts:
            calls = rng.integers(0, len(alts) + 1, size=(N_SAMPLES, 2)) * (rng.random((N_SAMPLES, 2)) < 0.7)
            texts = (f"{first}|{second}:7" for first, second in calls)
            records.append("\t".join(["c", str(at + 1), ".", ref, ",".join(alts), ".", "PASS", ".", "GT:XX", *texts]))
        at += int(rng.integers(1, 30))
    return records


@pytest.fixture(scope="module")
def made_up(tmp_path_factory: pytest.TempPathFactory) -> PhasedFile:
    folder = tmp_path_factory.mktemp("phased")
    rng = np.random.default_rng(7)
    sequence = "".join(UNITS[rng.integers(len(UNITS))] * int(rng.integers(1, 9)) for _ in range(900))
    (folder / "g.fa").write_text(f">c\n{sequence}\n")
    pysam.faidx(str(folder / "g.fa"))  # pyright: ignore[reportAttributeAccessIssue]
    names = "\t".join(f"s{number}" for number in range(N_SAMPLES))
    header = f"##fileformat=VCFv4.2\n#CHROM\tPOS\tID\tREF\tALT\tQUAL\tFILTER\tINFO\tFORMAT\t{names}\n"
    text = header + "\n".join(made_up_records(sequence, rng)) + "\n"
    with pysam.BGZFile(str(folder / "p.vcf.gz"), "wb", index=None) as out:
        out.write(text.encode())
    genome = Genome.open(folder / "g.fa", cache_dir=folder)
    return read_phased(folder / "p.vcf.gz", folder / "g.fa", genome)


@pytest.mark.parametrize("block_bp", [SMALL_BLOCK_BP, 5 * SMALL_BLOCK_BP])
def test_made_up_haplotypes_as_bcftools_writes_them(made_up: PhasedFile, tmp_path: Path, block_bp: int) -> None:
    result = compare(made_up, blocks(made_up, block_bp), range(N_SAMPLES), tmp_path)
    assert result.differences == []
    assert result.n_edited > 250 and result.n_alleles > 1_500
    assert min(result.n_overlapping, result.n_excluded, result.n_skipped, result.n_crossing) > 0  # all are made up


def test_made_up_records_are_of_every_kind(made_up: PhasedFile) -> None:
    moved = made_up.alleles.filter(pl.col("pos") < pl.col("vcf_pos"))
    trimmed = made_up.alleles.filter(pl.col("ref").str.len_bytes() < pl.col("vcf_ref").str.len_bytes())
    assert moved.height > 30 and trimmed.height > 100
    assert made_up.alleles["edit_type"].n_unique() == 5
    assert made_up.alleles["allele_number"].max() == 3


def test_blocks_hold_every_allele_once_and_cut_none(made_up: PhasedFile) -> None:
    parts = blocks(made_up, SMALL_BLOCK_BP)
    assert sorted(np.concatenate([part.rows for part in parts])) == list(range(made_up.alleles.height))
    assert all(first.end_bp <= second.start_bp for first, second in zip(parts, parts[1:], strict=False))
    for part in parts:
        rows = made_up.alleles[part.rows]
        for pos, ref in (("pos", "ref"), ("vcf_pos", "vcf_ref")):
            assert int(rows[pos].min()) - 1 >= part.start_bp  # type: ignore[arg-type]
            assert int((rows[pos] - 1 + rows[ref].str.len_bytes()).max()) <= part.end_bp  # type: ignore[arg-type]


def test_a_wrong_allele_is_seen(made_up: PhasedFile, tmp_path: Path) -> None:
    """One SNV gets another base: the oracle must notice, in that block alone."""
    parts = blocks(made_up, SMALL_BLOCK_BP)
    snvs = (made_up.alleles["edit_type"] == 0).arg_true()
    row = int(snvs[len(snvs) // 2])
    other = {"A": "C", "C": "G", "G": "T", "T": "A"}
    ref, alt = made_up.alleles.select("ref", "alt").row(row)
    wrong = next(base for base in other if base not in (ref, alt))
    alleles = made_up.alleles.with_columns(
        pl.when(pl.int_range(pl.len()) == row).then(pl.lit(wrong)).otherwise("alt").alias("alt")
    )
    found = compare(replace(made_up, alleles=alleles), parts, range(N_SAMPLES), tmp_path).differences
    assert found and len({(at.start_bp, at.end_bp) for at in found}) == 1
    assert found[0].start_bp < alleles["pos"][row] <= found[0].end_bp


def test_demo_haplotypes_as_bcftools_writes_them(tmp_path: Path) -> None:
    inputs = write_demo_inputs(tmp_path / "demo", SMALL)
    genome = Genome.open(inputs.reference, cache_dir=tmp_path)
    phased = read_phased(inputs.phased, inputs.reference, genome)
    result = compare(phased, blocks(phased, BLOCK_BP), range(0, SMALL.n_samples, 3), tmp_path)
    assert result.differences == []
    assert result.n_edited > 1_500


@needs_shared_data
@pytest.mark.parametrize(
    ("build", "block_bp", "n_edited"),
    [
        ("grch37", BLOCK_BP, 8_000),
        ("grch37", WINDOW_BP, 3_000),
        ("grch38", BLOCK_BP, 1_800),
        ("grch38", WINDOW_BP, 800),
    ],
)
def test_real_haplotypes_as_bcftools_writes_them(tmp_path: Path, build: str, block_bp: int, n_edited: int) -> None:
    phased = real_file(build)
    n_samples = phased.called.shape[1] // 2
    samples = range(0, n_samples, n_samples // (80 if build == "grch37" else 130))
    result = compare(phased, blocks(phased, block_bp), samples, tmp_path)
    assert result.differences == []
    assert result.n_edited > n_edited and result.n_excluded + result.n_skipped + result.n_crossing == 0
