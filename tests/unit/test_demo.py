"""The synthetic demo inputs: reproducible, self-consistent, and with the signal that was planted."""

from __future__ import annotations

import gzip
import hashlib
import re
import shutil
import subprocess
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pysam
import pytest

from geno_pipeline.demo import DemoConfigError, DemoInputs, write_demo_inputs
from geno_pipeline.demo.sequence import (
    decode,
    encode,
    reverse_complement,
    translate,
)
from tests.unit.demo_settings import SMALL

VCFS = ("gnomad", "phased", "clinvar", "sample")


@pytest.fixture(scope="module")
def inputs(tmp_path_factory: pytest.TempPathFactory) -> DemoInputs:
    return write_demo_inputs(tmp_path_factory.mktemp("demo"), SMALL)


def _hashes(folder: Path) -> dict[str, str]:
    return {file.name: hashlib.sha256(file.read_bytes()).hexdigest() for file in sorted(folder.iterdir())}


def _records(path: Path) -> Iterator[list[str]]:
    with gzip.open(path, "rt") as handle:
        yield from (line.rstrip("\n").split("\t") for line in handle if not line.startswith("#"))


def _info(text: str) -> dict[str, str]:
    return dict(field.split("=", 1) for field in text.split(";") if "=" in field)


def _sequence(path: Path) -> dict[str, str]:
    with pysam.FastaFile(str(path)) as fasta:
        return {name: fasta.fetch(name) for name in fasta.references}


# --- reproducible -------------------------------------------------------------------------------------------------


def test_same_settings_same_bytes_other_seed_other_bytes(inputs: DemoInputs, tmp_path: Path) -> None:
    written = _hashes(inputs.reference.parent)
    assert _hashes(write_demo_inputs(tmp_path / "again", SMALL).reference.parent) == written
    other = replace(SMALL, seed=12)
    changed = _hashes(write_demo_inputs(tmp_path / "other", other).reference.parent)
    data_files = [name for name in written if name.endswith(".gz")]
    assert len(data_files) == 8
    assert not [name for name in data_files if changed[name] == written[name]]


def test_nothing_temporary_is_left_and_every_index_is_there(inputs: DemoInputs) -> None:
    names = {file.name for file in inputs.reference.parent.iterdir()}
    assert not [name for name in names if name.startswith(".")]
    assert {"reference.fa.gz.fai", "reference.fa.gz.gzi", "genes.gtf.gz.tbi"} <= names
    assert {f"{name}.vcf.gz.tbi" for name in VCFS} <= names


@pytest.mark.parametrize(
    ("change", "word"),
    [
        ({"contigs": (("chr1", 5_000),)}, "chr1"),
        ({"contigs": (("chr1", 90_000), ("chr1", 90_000))}, "once"),
        ({"n_samples": 2}, "n_samples"),
        ({"indel_share": 0.9}, "indel_share"),
        ({"sample_contigs": 3}, "sample_contigs"),
        ({"max_intron_bp": 10}, "max_intron_bp"),
        ({"seed": -1}, "seed"),
    ],
)
def test_settings_that_cannot_work_are_named(change: dict[str, Any], word: str) -> None:
    with pytest.raises(DemoConfigError, match=word):
        replace(SMALL, **change)


def test_every_text_file_says_that_it_is_synthetic(inputs: DemoInputs) -> None:
    for name in VCFS:
        with gzip.open(getattr(inputs, name), "rt") as handle:
            header = [line for line in handle if line.startswith("##")]
        assert any(line.startswith("##synthetic=") for line in header), name
        assert "##reference=synthetic-demo\n" in header and "##fileDate=2026-01-01\n" in header
    for path in (inputs.genes, inputs.reference):
        with gzip.open(path, "rt") as handle:
            assert "synthetic" in handle.readline()


# --- genome -------------------------------------------------------------------------------------------------------


def test_contigs_have_telomeres_a_gap_repeats_and_a_duplication(inputs: DemoInputs) -> None:
    sequence = _sequence(inputs.reference)
    assert {name: len(bases) for name, bases in sequence.items()} == dict(SMALL.contigs)
    for bases in sequence.values():
        runs = [match.span() for match in re.finditer("N+", bases)]
        assert [end - start for start, end in runs] == [SMALL.telomere_bp, SMALL.gap_bp, SMALL.telomere_bp]
        assert runs[0][0] == 0 and runs[-1][1] == len(bases)
        assert 0.10 < sum(map(str.islower, bases)) / len(bases) < 0.5
        assert set(bases) <= set("ACGTNacgt")
    with gzip.open(inputs.duplications, "rt") as handle:
        pairs = [line.split("\t") for line in handle]
    for left, right in zip(pairs[::2], pairs[1::2], strict=True):
        assert left[2] == right[1]
        one, two = (sequence[row[0]][int(row[1]) : int(row[2])].upper() for row in (left, right))
        same = np.mean([a == b for a, b in zip(one, two, strict=True)])
        assert 0.96 < same < 0.995


def test_repeat_masker_file_agrees_with_the_soft_mask(inputs: DemoInputs) -> None:
    sequence = _sequence(inputs.reference)
    masked = {name: np.zeros(len(bases), dtype=bool) for name, bases in sequence.items()}
    classes: set[str] = set()
    with gzip.open(inputs.repeats, "rt") as handle:
        rows = [line.split() for line in handle.readlines()[3:]]
    for row in rows:
        assert len(row) == 15 and row[8] in "+C"
        masked[row[4]][int(row[5]) - 1 : int(row[6])] = True
        assert int(row[6]) + int(row[7].strip("()")) == len(sequence[row[4]])
        classes.add(row[10].split("/")[0])
    assert {"SINE", "LINE", "DNA", "Simple_repeat", "Low_complexity"} <= classes
    for name, bases in sequence.items():
        lower = np.frombuffer(bases.encode(), dtype=np.uint8) >= ord("a")
        assert np.array_equal(lower, masked[name])


# --- genes --------------------------------------------------------------------------------------------------------


def _gtf(path: Path) -> dict[str, dict[str, list[tuple[str, int, int, str, str]]]]:
    """transcript id -> feature -> (contig, start, end, strand, frame), 1-based closed, in file order."""
    found: dict[str, dict[str, list[tuple[str, int, int, str, str]]]] = defaultdict(lambda: defaultdict(list))
    for row in _records(path):
        match = re.search('transcript_id "([^"]+)"', row[8])
        if match:
            found[match[1]][row[2]].append((row[0], int(row[3]), int(row[4]), row[6], row[7]))
    return found


def _spliced(sequence: dict[str, str], rows: list[tuple[str, int, int, str, str]]) -> str:
    text = "".join(sequence[contig][start - 1 : end] for contig, start, end, _, _ in sorted(rows)).upper()
    return text if rows[0][3] == "+" else decode(reverse_complement(encode(text)))


def test_every_written_cds_translates(inputs: DemoInputs) -> None:
    sequence, strands, in_phase = _sequence(inputs.reference), set(), set()
    for features in _gtf(inputs.genes).values():
        if not features["CDS"]:
            continue
        rows = features["CDS"] + features["stop_codon"]
        protein = translate(encode(_spliced(sequence, rows)))
        assert protein[0] == "M" and protein[-1] == "*" and "*" not in protein[:-1]
        assert _spliced(sequence, features["start_codon"]) == "ATG"
        done = 0
        for _, start, end, strand, frame in sorted(features["CDS"], reverse=rows[0][3] == "-"):
            assert int(frame) == -done % 3
            done += end - start + 1
            strands.add(strand)
            in_phase.add(frame)
    assert strands == {"+", "-"}
    assert in_phase == {"0", "1", "2"}  # codons do cross exon borders


def test_introns_begin_with_gt_and_end_with_ag(inputs: DemoInputs) -> None:
    sequence, n_introns = _sequence(inputs.reference), 0
    for features in _gtf(inputs.genes).values():
        exons = sorted(features["exon"])
        for left, right in zip(exons[:-1], exons[1:], strict=True):
            intron = _spliced(sequence, [(left[0], left[2] + 1, right[1] - 1, left[3], ".")])
            assert intron[:2] == "GT" and intron[-2:] == "AG"
            n_introns += 1
    assert n_introns > 10


def test_exons_are_the_cds_the_stop_codon_and_the_utrs(inputs: DemoInputs) -> None:
    several: dict[str, int] = defaultdict(int)
    for name, features in _gtf(inputs.genes).items():
        several[name.split(".")[0]] += 1
        size = {key: sum(end - start + 1 for _, start, end, _, _ in rows) for key, rows in features.items()}
        if "CDS" in size:
            utrs = size.get("five_prime_utr", 0) + size.get("three_prime_utr", 0)
            assert size["exon"] == size["CDS"] + size["stop_codon"] + utrs
    assert max(several.values()) > 1


# --- effects and people -------------------------------------------------------------------------------------------


# --- files --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", VCFS)
def test_every_reference_allele_is_the_reference(inputs: DemoInputs, name: str) -> None:
    sequence, n_records = _sequence(inputs.reference), 0
    for row in _records(getattr(inputs, name)):
        start = int(row[1]) - 1
        assert sequence[row[0]][start : start + len(row[3])].upper() == row[3]
        assert "N" not in row[3]
        n_records += 1
    assert n_records > 100


@pytest.mark.skipif(shutil.which("bcftools") is None, reason="bcftools is not installed")
@pytest.mark.parametrize("name", VCFS)
def test_bcftools_finds_nothing_to_correct(inputs: DemoInputs, name: str) -> None:
    path = str(getattr(inputs, name))
    command = ["bcftools", "norm", "-c", "e", "-f", str(inputs.reference), path, "-Ou", "-o", "/dev/null"]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    counted = re.search(r"skipped:\s+(\d+)/(\d+)/(\d+)/(?:\d+/)?(\d+)", done.stderr)
    assert counted and int(counted[3]) == 0, done.stderr  # nothing to realign


def test_genotypes_are_phased_and_add_up_to_ac(inputs: DemoInputs) -> None:
    sites = {(row[0], row[1], row[3], row[4]): _info(row[7]) for row in _records(inputs.gnomad)}
    reached: dict[tuple[str, int], int] = defaultdict(int)
    n_multiallelic = 0
    for row in _records(inputs.phased):
        alternates, genotypes = row[4].split(","), row[9:]
        assert row[8] == "GT" and len(genotypes) == SMALL.n_samples and all("|" in one for one in genotypes)
        carried = [int(one) for genotype in genotypes for one in genotype.split("|")]
        counts = [carried.count(number) for number in range(1, len(alternates) + 1)]
        n_multiallelic += len(alternates) > 1
        assert _info(row[7])["AC"] == ",".join(map(str, counts))
        site = sites[(row[0], row[1], row[3], row[4])]
        assert site["AC"] == _info(row[7])["AC"] and int(site["AN"]) == 2 * SMALL.n_samples
        by_population = [list(map(int, site[f"AC_{name}"].split(","))) for name in ("afr", "eas", "nfe")]
        assert [sum(one) for one in zip(*by_population, strict=True)] == counts
        assert float(site["AF"].split(",")[0]) == pytest.approx(counts[0] / (2 * SMALL.n_samples), abs=1e-6)
        for column, number in enumerate(carried):
            if number:  # alleles of one haplotype do not overlap
                assert int(row[1]) > reached[(row[0], column)]
                reached[(row[0], column)] = int(row[1]) + len(row[3]) - 1
    assert n_multiallelic >= 1


def test_records_to_be_excluded_are_there(inputs: DemoInputs) -> None:
    for path in (inputs.gnomad, inputs.sample):
        alternates = [(row[3], row[4]) for row in _records(path)]
        assert [one for one in alternates if one[1] == "*"]
        assert [one for one in alternates if one[1] == "<DEL>"]
        assert [one for one in alternates if one[1].endswith("N")]
        assert [one for one in alternates if len(one[0]) > 16]
        assert [one for one in alternates if "," in one[1]]
    filters = {row[6] for row in _records(inputs.gnomad)}
    assert filters == {"PASS", "RF", "AC0"}


def test_labels_follow_the_consequence_but_not_perfectly(inputs: DemoInputs) -> None:
    pathogenic: dict[str, list[bool]] = defaultdict(list)
    for row in _records(inputs.clinvar):
        info = _info(row[7])
        assert info["CLNREVSTAT"]
        harmful = info["CLNSIG"].startswith(("Pathogenic", "Likely_pathogenic"))
        if harmful or info["CLNSIG"].startswith(("Benign", "Likely_benign")):
            pathogenic[info.get("MC", "none").split(",")[0].split("|")[-1]].append(harmful)
    assert np.mean(pathogenic["nonsense"]) > 0.8
    assert np.mean(pathogenic["splice_donor_variant"] + pathogenic["splice_acceptor_variant"]) > 0.8
    assert 0.2 < np.mean(pathogenic["missense_variant"]) < 0.8
    assert np.mean(pathogenic["synonymous_variant"] + pathogenic["intron_variant"]) < 0.15
    assert any(pathogenic["2KB_upstream_variant"]) and not all(pathogenic["nonsense"])


def test_clinvar_names_genes_and_each_allele_once(inputs: DemoInputs) -> None:
    rows = list(_records(inputs.clinvar))
    alleles = [tuple(row[i] for i in (0, 1, 3, 4)) for row in rows]
    assert len(set(alleles)) == len(alleles)
    assert len({row[2] for row in rows}) == len(rows)
    genes = [_info(row[7])["GENEINFO"] for row in rows if "GENEINFO=" in row[7]]
    assert all(re.fullmatch(r"GENE(\d+):(\d+)", one) for one in genes) and len(genes) > 0.9 * len(rows)
    assert "GENE1:1001" in genes
    common = {tuple(row[i] for i in (0, 1, 3, 4)) for row in _records(inputs.gnomad) if "AC=1;" not in row[7]}
    assert len(common & set(alleles)) > 10  # benign ones are partly common variants


def test_the_person_to_score_carries_rare_labelled_alleles(inputs: DemoInputs) -> None:
    rows = list(_records(inputs.sample))
    assert {row[0] for row in rows} == {"chr21"}
    assert 60 <= len(rows) <= 140
    assert all(re.fullmatch(r"(0/1|1/1|1/2):\d+:\d+", row[9]) for row in rows)
    bad = {
        tuple(row[i] for i in (0, 1, 3, 4))
        for row in _records(inputs.clinvar)
        if _info(row[7])["CLNSIG"].startswith(("Pathogenic", "Likely_pathogenic"))
    }
    assert len(bad & {tuple(row[i] for i in (0, 1, 3, 4)) for row in rows}) >= 2


def test_summary_counts_what_was_written(inputs: DemoInputs) -> None:
    assert inputs.summary["bases"] == 160_000
    labels = sum(count for name, count in inputs.summary.items() if name.startswith("clinvar_"))
    assert labels == sum(1 for _ in _records(inputs.clinvar)) - 4  # two odd records a contig
    assert 0.02 < inputs.summary["coding_fraction"] < 0.3
