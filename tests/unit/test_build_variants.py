"""Phased genotypes: alleles, haplotypes and their order by hand, and real files."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import numpy as np
import polars as pl
import pysam
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from data_contracts import PhasedHaplotypes, VariantAccounting, validate
from geno_model.genomics.errors import InputError
from geno_model.genomics.genome import Genome
from geno_pipeline.build.panel import GenotypeError, panel_chunks
from geno_pipeline.build.phased import combinations, ingest_phased
from tests.shared_data import SHARED, needs_shared_data
from tests.unit.build_inputs import REPEATED, VCF_HEADER, other, repeated_genome, write_vcf


@pytest.fixture
def genome(tmp_path: Path) -> Genome:
    return repeated_genome(tmp_path)


def _counts(accounting: pl.DataFrame) -> dict[tuple[str, str], int]:
    return {(contig, reason): n for _, contig, reason, n in validate(VariantAccounting, accounting).rows()}


def _panel(folder: Path, records: list[str], version: str = "4.2") -> Path:
    """A VCF of as many samples as the records have genotypes."""
    samples = "\t".join(f"S{number}" for number in range(len(records[0].split(" ")) - 9))
    return write_vcf(folder, records, f"{VCF_HEADER.replace('4.2', version)}\tFORMAT\t{samples}")


def _called(path: Path) -> list[list[int]]:
    return [row for chunk in panel_chunks(path) for row in chunk.lines["called"].to_numpy().tolist()]


def _edits(frame: pl.DataFrame) -> dict[tuple[int, ...], int]:
    """Carriers by the positions of a combination."""
    return {tuple(edit["pos"] for edit in edits): n for edits, n in frame.select("edits", "n_carriers").rows()}


def test_the_alleles_of_each_copy(tmp_path: Path) -> None:
    ten = ",".join("CGT"[number % 3] * (1 + number // 3) for number in range(10))
    records = [
        "1 5 . A C,G . . . GT:DS 0|1:0.9 2|0:1 .|1:2",
        f"1 9 . A {ten} . . . GT 10|2 0/1 1",  # not phased; one copy
        "1 13 . G C . . . DP 1 2 3",
        "1 14 . T C . . . DS:GT 1:0|1 1 1",  # GT has to be first
        "1 15 . A C . . . GT 1/1 0/0 ./1",  # the same on both copies, whichever is which
        "1 16 . A C . . . GT 0 1 .",
        "1 17 . A C . . . GT 0|1|1 0|1/1 1|1",  # three copies
    ]
    none = [-1, -1]
    assert _called(_panel(tmp_path, records)) == [
        [0, 1, 2, 0, -1, 1],
        [10, 2, *none, 1, -2],
        [*none, *none, *none],
        [*none, *none, *none],
        [1, 1, 0, 0, *none],
        [0, -2, 1, -2, -1, -2],
        [*none, *none, 1, 1],
    ]


def test_the_leading_phase_of_vcf_4_4(tmp_path: Path) -> None:
    records = [
        "1 5 . A C . . . GT |0|1 /0/1 0|1",
        "1 6 . A C . . . GT:DS |1:3 /1:3 1:/3",
        "1 7 . A C . . . GT /0|1 |0/1 |.|1",  # the two copies are not told apart
    ]
    expected = [[0, 1, -1, -1, 0, 1], [1, -2, 1, -2, 1, -2], [-1, -1, -1, -1, -1, 1]]
    assert _called(_panel(tmp_path, records, "4.4")) == _called(_panel(tmp_path, records, "4.5")) == expected
    with pytest.raises(GenotypeError, match="record 1 .* is malformed or damaged"):
        _called(_panel(tmp_path, records))  # 4.2 knows no leading phase


GOOD = "1 5 . A C . PASS . GT 0|1 1|1"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (f"{GOOD}\n1 9 . A C . . . GT 0|1", "record 2 .* has 1 sample, the header names 2 samples"),
        (f"{GOOD} 0|0", "record 1 .* has 3 samples, the header names 2 samples"),
        (f"{GOOD}\n1 9 . A C . . .", "record 2 .* has no samples"),
        (f"{GOOD}\n1 9 . A C . . . GT 0|x 0|1", "record 2 .* malformed"),
        (f"{GOOD}\n1 9 . A C . . . GT  0|1", "record 2 .* malformed"),
        (f"{GOOD}\n1 9 . A C . . . GT 0|1 0|2", "record 2 .* allele that is not there, expected 0 to 1"),
        (f"{GOOD}\n1 x . A C . . . GT 0|1 0|1", "record 2 .* malformed"),
        (f"2 x . A C . . . GT 0|1 0|1\n{GOOD}", "record 1 .* malformed"),
        (f"{GOOD}\n1  . A C . . . GT 0|1 0|1", "record 2 .* malformed, expected the name of a contig"),
        (f"{GOOD}\n1 4294967301 . A C . . . GT 0|1 0|1", "record 2 .* malformed"),  # 5 in 32 bits
        (f"{GOOD}\n1 9 . A C . . . GT 0|1 0|70000", "record 2 .* allele that is not there"),
    ],
)
def test_genotypes_that_cannot_be_read(
    tmp_path: Path, genome: Genome, capfd: pytest.CaptureFixture[str], text: str, message: str
) -> None:
    path = write_vcf(tmp_path, text.split("\n"), VCF_HEADER + "\tFORMAT\tS1\tS2")
    with pytest.raises(GenotypeError, match=f"in.vcf: {message}") as error:
        ingest_phased(path, genome, ["chr1"])
    assert "\n" not in str(error.value) and capfd.readouterr() == ("", "")


def test_files_that_are_no_panel(tmp_path: Path, genome: Genome) -> None:
    whole = _as_bcf(_panel(tmp_path, [GOOD]), tmp_path / "whole.bcf").read_bytes()
    (tmp_path / "cut.bcf").write_bytes(whole[:-28])
    (tmp_path / "inside.bcf").write_bytes(whole[: len(whole) // 2] + whole[-28:])
    (tmp_path / "text.vcf").write_text("hello\n")
    sites = write_vcf(tmp_path, ["1 5 . A C . . ."], name="sites.vcf")
    for path, message in (
        (tmp_path / "cut.bcf", "truncated"),
        (tmp_path / "inside.bcf", "cannot read its header"),
        (tmp_path / "text.vcf", "is no VCF"),
        (tmp_path / "absent.vcf", "check the path"),
        (sites, "record 1 .* has no samples"),
        (_as_bcf(sites, tmp_path / "sites.bcf"), "no samples"),
    ):
        with pytest.raises(InputError, match=f"{path.name}.*{message}"):
            ingest_phased(path, genome, ["chr1"])


def test_what_other_readers_tolerate(tmp_path: Path, genome: Genome) -> None:
    """Line ends of Windows, empty lines, no `##fileformat`, two samples of one name, fields that no header declares."""
    records = ["1 5 . A C . PASS X=y GT:Q 0|1:1 1|1:.", "1 9 . A C . PASS . GT 0|1 1|0"]
    plain = ingest_phased(_panel(tmp_path, records), genome, ["chr1"])
    text = (tmp_path / "in.vcf").read_text().replace("\n", "\r\n\r\n").replace("S1", "S0").split("\n", 2)[2]
    (tmp_path / "odd.vcf").write_text(text)
    odd = ingest_phased(tmp_path / "odd.vcf", genome, ["chr1"])
    assert _edits(plain[0]) == {(5, 9): 2} and all(a.equals(b) for a, b in zip(plain, odd, strict=True))


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
        ("1/1", [1, 1]),  # any
        ("1", []),  # nobody knows which of the two copies before goes on
        ("0|2", [2]),
        ("2|1", [1, 2]),
        ("0|2:0.97", [2]),  # FORMAT GT:DS
    ],
)
def test_one_genotype(tmp_path: Path, genome: Genome, genotype: str, carried: list[int]) -> None:
    """At 5, both copies carry A>C for certain; at 9, A>G is allele 1 and A>T allele 2."""
    records = ["1 5 . A C . . . GT 1|1", f"1 9 . A G,T . . . GT{':DS' * (':' in genotype)} {genotype}"]
    frame, accounting = ingest_phased(write_vcf(tmp_path, records, VCF_HEADER + "\tFORMAT\tS"), genome, ["chr1"])
    found = [(edits[1]["alt"], n) for edits, n in frame.select("edits", "n_carriers").rows()]
    expected = [(alt, carried.count(allele)) for allele, alt in ((1, "G"), (2, "T")) if allele in carried]
    assert sorted(found) == expected
    assert _counts(accounting) == {("chr1", "retained"): 3}


def _snv(pos: int, *calls: str) -> str:
    base = REPEATED[pos - 1]
    return f"1 {pos} . {base} {other(base)} . . . GT {' '.join(calls)}"


def test_more_than_eight_alleles_are_cut_at_the_widest_gap(tmp_path: Path, genome: Genome) -> None:
    """Nothing is left out; a part of two alleles at least stays on either side; the other sample has a part alone."""
    # The widest gap, 10 to 30, would leave one allele alone, as would 45 to 60; so 34 to 43 is cut.
    places = [10, 30, 31, 32, 33, 34, 43, 44, 45, 60]
    records = [_snv(pos, "1|0", "1|0" if pos < 40 else "0|0") for pos in places]
    frame, _ = ingest_phased(_panel(tmp_path, records), genome, ["chr1"])
    assert _edits(frame) == {(10, 30, 31, 32, 33, 34): 2, (43, 44, 45, 60): 1}


def test_copies_with_one_allele_everywhere(tmp_path: Path, genome: Genome) -> None:
    """As on chrX: three men and a woman; the last man has two copies from 13 on (a pseudo-autosomal region)."""
    records = [
        _snv(5, "1", "0", "0|1", "1"),
        _snv(9, "1", "1", "1|1", "1"),
        _snv(13, "1", "1", "0|1", "1|1"),
        _snv(17, "0", "1", "0|0", "1|0"),
    ]
    frame, accounting = ingest_phased(_panel(tmp_path, records), genome, ["chr1"])
    assert _edits(frame) == {(5, 9): 1, (5, 9, 13): 2, (9, 13, 17): 1, (13, 17): 1}
    assert _counts(accounting) == {("chr1", "retained"): 4}


@pytest.mark.parametrize(
    ("between", "is_parted"),
    [
        (_snv(13, "0|0"), False),
        (_snv(13, "0/0"), False),
        (_snv(13, ".|0"), True),  # nobody knows what the copy is there
        (_snv(13, "0/1"), True),
        ("1 13 . G GACGTACGTACGTACGTAC . . . GT 1|0", True),  # too long to be kept
        ("1 13 . G <DEL> . . . GT 1|0", True),
        ("1 13 . G T,* . . . GT 2|0", True),
        ("1 13 . G T . q10 . GT 1|0", True),
        ("1 13 . G T . q10 . GT 0|1", False),  # on the other copy
        ("1 13 . G G . . . GT 1|0", False),  # no allele
        ("1 13 . G T . . . DP 3", True),
    ],
)
def test_a_combination_has_all_that_lies_between(tmp_path: Path, genome: Genome, between: str, is_parted: bool) -> None:
    records = [_snv(5, "1|0"), _snv(9, "1|0"), between, _snv(17, "1|0"), _snv(18, "1|0"), _snv(19, "1|0")]
    frame, accounting = ingest_phased(_panel(tmp_path, records), genome, ["chr1"])
    assert _edits(frame) == ({(5, 9): 1, (17, 18, 19): 1} if is_parted else {(5, 9, 17, 18, 19): 1})
    assert accounting["n_alleles"].sum() == sum(len(record.split(" ")[4].split(",")) for record in records)


def _slow_cut(run: list[int]) -> list[list[int]]:
    if len(run) <= 8:
        return [run]
    at = max(range(2, len(run) - 1), key=lambda place: (run[place] - run[place - 1], -place))
    return _slow_cut(run[:at]) + _slow_cut(run[at:])


@given(seed=st.integers(0, 2**32 - 1), density=st.floats(0.05, 0.9))
@settings(max_examples=60, deadline=None)
def test_combinations_as_a_slow_version_finds_them(seed: int, density: float) -> None:
    rng = np.random.default_rng(seed)
    places = np.sort(rng.choice(np.arange(1, 300), size=40, replace=False))
    is_break = rng.random(40) < 0.1
    bits = rng.random((40, 12)) < np.where(is_break, 0.3, density)[:, None]
    letters = np.where(is_break, "", "A").tolist()
    alleles = pl.DataFrame(
        {"contig": "c", "pos": places, "ref": letters, "alt": np.where(is_break, "", "C"), "vcf_pos": places,
         "vcf_ref": letters, "is_break": is_break}
    ).cast({"pos": pl.Int64, "vcf_pos": pl.Int64})  # fmt: skip
    expected: Counter[tuple[int, ...]] = Counter()
    for copy in bits.T:
        runs: list[list[int]] = [[]]
        for place, carries, breaks in zip(places.tolist(), copy, is_break, strict=True):
            if runs[-1] and (carries and breaks or (place - 1) // 100 != (runs[-1][-1] - 1) // 100):
                runs.append([])
            if carries and not breaks:
                runs[-1].append(place)
        expected.update(tuple(part) for run in runs for part in _slow_cut(run) if len(part) > 1)
    order = rng.permutation(40)
    frame = combinations(alleles[order.tolist()], bits[order], 100)
    assert _edits(validate(PhasedHaplotypes, frame)) == expected


def _as_bcf(vcf: Path, bcf: Path) -> Path:
    contig = '##contig=<ID=1>\n##FORMAT=<ID=GT,Number=1,Type=String,Description="">\n#CHROM'
    declared = vcf.with_suffix(".declared.vcf")
    declared.write_text(vcf.read_text().replace("#CHROM", contig))
    with pysam.VariantFile(str(declared)) as records, pysam.VariantFile(str(bcf), "wb", header=records.header) as out:
        for record in records:
            out.write(record)
    return bcf


@pytest.mark.parametrize("batch_genotypes", [1, 7, 1 << 21])
def test_bcf_and_batches_change_nothing(
    tmp_path: Path, genome: Genome, monkeypatch: pytest.MonkeyPatch, batch_genotypes: int
) -> None:
    records = [
        _snv(5, "1", "0|1"),
        _snv(9, "1", "1|1"),
        _snv(13, ".", "0/1"),
        _snv(17, "1|1", "1|1"),
        _snv(21, "1|1", "1|1"),
    ]
    path = _panel(tmp_path, records)
    expected = ingest_phased(path, genome, ["chr1"])
    assert _edits(expected[0]) == {(5, 9): 2, (17, 21): 4}
    monkeypatch.setattr("geno_pipeline.build.panel._BATCH_GENOTYPES", batch_genotypes)
    for again in (path, _as_bcf(path, tmp_path / "in.bcf")):
        assert all(a.equals(b) for a, b in zip(expected, ingest_phased(again, genome, ["chr1"]), strict=True))


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
