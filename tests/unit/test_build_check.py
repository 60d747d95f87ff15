"""Files of another build are refused by names, lengths and bases, and files of the right one never are."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from geno_model.genomics.annotation_io import read_genes
from geno_model.genomics.build_check import BuildCheck, Misfit, SiteCounts, checked_chunks
from geno_model.genomics.errors import InputError, WrongBuildError
from geno_model.genomics.genome import FORMAT_VERSION, Genome
from geno_model.genomics.vcf_reader import read_vcf_chunks
from geno_model.scoring.known_pathogenic import PATHOGENIC, read_pathogenic
from geno_pipeline.build.clinvar import ingest_clinvar
from geno_pipeline.build.gnomad import ingest_gnomad
from geno_pipeline.build.phased import ingest_phased
from tests.shared_data import REAL_VCFS, SHARED, needs_shared_data, shared_genome

LENGTH = 30_000
N_SPAN = (20_000, 25_000)  # of chr1
COLUMNS = {"chrom": pl.String, "pos": pl.Int64, "ref": pl.String, "alt": pl.String}

Site = tuple[str, int, str, str]


@pytest.fixture(scope="module")
def genome(tmp_path_factory: pytest.TempPathFactory) -> Genome:
    """chr1 and chr2 of random bases, and a mitochondrion."""
    folder = tmp_path_factory.mktemp("genome")
    rng = np.random.default_rng(3)
    text = ""
    for name, length in (("chr1", LENGTH), ("chr2", LENGTH), ("chrM", 16_569)):
        bases = np.frombuffer(b"ACGT", dtype=np.uint8)[rng.integers(0, 4, length)].copy()
        if name == "chr1":
            bases[slice(*N_SPAN)] = ord("N")
        text += f">{name}\n{bases.tobytes().decode()}\n"
    (folder / "g.fa").write_text(text)
    return Genome.open(folder / "g.fa", cache_dir=folder)


def other(letter: str) -> str:
    return "ACGTA"["ACGT".index(letter) + 1]


def sites(genome: Genome, positions: range, contig: str = "chr1", *, is_wrong: bool = False) -> list[Site]:
    """SNVs at positions (1-based), all of them with the FASTA's REF, or none."""
    found = []
    for pos in positions:
        ref = chr(genome.bases(contig)[pos - 1])
        ref = ref if ref != "N" else "A"
        found.append((contig, pos, other(ref) if is_wrong else ref, ref if is_wrong else other(ref)))
    return found


def judge(genome: Genome, *chunks: list[Site], header: tuple[str, ...] = ()) -> None:
    check = BuildCheck(genome, "in.vcf", header)
    for chunk in chunks:
        check.see(pl.DataFrame(chunk, schema=COLUMNS, orient="row"))
    check.finish()


def refused(genome: Genome, *chunks: list[Site], header: tuple[str, ...] = ()) -> str:
    with pytest.raises(WrongBuildError) as caught:
        judge(genome, *chunks, header=header)
    assert "\n" not in str(caught.value) and "in.vcf" in str(caught.value)
    return str(caught.value)


# Bases


def test_a_stretch_of_another_build_is_enough_and_is_found_while_reading(genome: Genome) -> None:
    """2,000 sites that fit and 150 that do not: 7 % of the file, as soon as a hundred of them were read."""
    right, wrong = sites(genome, range(1, 2_001)), sites(genome, range(3_001, 3_151), is_wrong=True)
    message = refused(genome, right + wrong)
    assert "100 of 100 sites on chr1 from 0.00 Mb on" in message and "(after 2,150 records)" in message
    check = BuildCheck(genome, "in.vcf")
    check.see(pl.DataFrame(right, schema=COLUMNS, orient="row"))
    check.see(pl.DataFrame(wrong[:99], schema=COLUMNS, orient="row"))
    with pytest.raises(WrongBuildError, match=r"\(after 2,100 records\)"):
        check.see(pl.DataFrame(wrong[99:100], schema=COLUMNS, orient="row"))
    judge(genome, right + wrong[:49])  # fewer than half a stretch at the end
    assert "50 of 50 sites on chr1" in refused(genome, right + wrong[:50])


def test_a_contig_of_another_build_is_enough(genome: Genome) -> None:
    right, wrong = sites(genome, range(1, 2_001)), sites(genome, range(1, 21), "chr2", is_wrong=True)
    assert "20 of 20 sites on chr2" in refused(genome, right + wrong)
    judge(genome, right + wrong[:19])  # too few to judge


def test_many_contigs_of_few_sites_are_judged_together(genome: Genome) -> None:
    wrong = sites(genome, range(1, 12), is_wrong=True) + sites(genome, range(1, 10), "chr2", is_wrong=True)
    assert "20 of 20 sites have another REF" in refused(genome, wrong)
    judge(genome, wrong[1:])
    judge(genome, wrong, sites(genome, range(101, 121), "chr2"))  # exactly half


def test_odd_records_of_a_right_file_are_no_evidence(genome: Genome) -> None:
    """REF of the commoner allele in a quarter of the sites (PLINK), one record of many ALTs, the same record again and
    again, symbols with a made-up REF, N on either side, places beyond the contig, unknown contigs."""
    right, wrong = sites(genome, range(1, 15_001)), sites(genome, range(1, 15_001), is_wrong=True)
    is_wrong = np.random.default_rng(1).random(15_000) < 0.25
    judge(genome, [pair[int(flag)] for flag, *pair in zip(is_wrong, right, wrong, strict=True)])
    contig, pos, ref, alt = wrong[0]
    judge(genome, [(contig, pos, ref, ",".join([alt] * 60))])
    judge(genome, [(contig, pos, ref, alt)] * 60)
    for odd in ("<DEL>", "<NON_REF>", "*", ".", "C[chr2:3[", "N"):
        judge(genome, [(contig, pos, ref, odd) for contig, pos, ref, _ in wrong])
    judge(genome, [(contig, pos, "N", alt) for contig, pos, _, alt in wrong])
    judge(genome, sites(genome, range(N_SPAN[0] + 1, N_SPAN[1] + 1), is_wrong=True))
    judge(genome, [(contig, LENGTH + pos, ref, alt) for contig, pos, ref, alt in wrong])
    judge(genome, [(contig, pos, ref, alt) for contig in ("chr1",) for pos in (0, -5, 2**62) for ref, alt in ["AC"]])
    judge(genome, [("nowhere", pos, ref, alt) for _, pos, ref, alt in wrong])


@given(st.lists(st.tuples(st.sampled_from(["a", "b"]), st.lists(st.booleans(), max_size=40)), max_size=12))
def test_stretches_as_counted_one_by_one(parts: list[tuple[str, list[bool]]]) -> None:
    counts, stretches = SiteCounts(10, 5), {"a": [], "b": []}
    found, expected = None, None
    for contig, wrong in parts:
        before = len(stretches[contig])
        stretches[contig] += wrong
        pos = np.arange(before, len(stretches[contig]), dtype=np.int64) * 1_000_000
        misfit = counts.add(contig, pos, np.array(wrong, dtype=np.bool_))
        found = found or misfit
        full = range(before // 10 * 10, len(stretches[contig]) // 10 * 10, 10)
        bad = [(start, sum(stretches[contig][start : start + 10])) for start in full]
        news = [Misfit(n, 10, f"on {contig} from {start:.2f} Mb on") for start, n in bad if n > 5]
        expected = expected or (news[0] if news else None)
    assert found == expected
    assert counts.n_sites == sum(map(len, stretches.values()))
    whole = stretches["a"] + stretches["b"]
    rests = [stretches[name][len(stretches[name]) // 10 * 10 :] for name in "ab"]
    judged = [whole, *stretches.values(), *(rest for rest in rests if len(rest) >= 5)]
    is_bad = any(len(wrong) >= 5 and 2 * sum(wrong) > len(wrong) for wrong in judged)
    assert (counts.at_end() is not None) == is_bad


# Lengths and names


def contig_line(name: str, length: int) -> tuple[str, ...]:
    return ("##fileformat=VCFv4.2", f"##contig=<ID={name},length={length}>", "#CHROM")


def test_a_length_of_the_header_that_contradicts_the_fasta_refuses_any_file(genome: Genome) -> None:
    one = sites(genome, range(1, 2))
    judge(genome, one, header=contig_line("chr1", LENGTH))
    assert "its header says that chr1 has 29,999 bp, but chr1 has 30,000 bp in the FASTA" in refused(
        genome, one, header=contig_line("chr1", LENGTH - 1)
    )
    both = contig_line("chr1", LENGTH) + contig_line("2", 9)
    judge(genome, one, header=both)  # no record lies on 2
    assert "2 has 9 bp, but chr2 has" in refused(genome, one, [("2", 1, "A", "C")], header=both)
    judge(genome, one, header=("##source=PLINKv1.90", *contig_line("chr1", 2)))


def test_the_other_mitochondrion_is_refused(genome: Genome, tmp_path: Path) -> None:
    message = refused(genome, [("M", 5, "A", "C")], header=contig_line("M", 16_571))
    assert "M has 16,571 bp, but chrM has 16,569 bp" in message and "leave its records out" in message
    hg19 = sparse_genome(tmp_path, {"chrM": 16_571})
    assert hg19.resolve("chrM") == "chrM" == hg19.resolve("NC_001807.4") == hg19.resolve("M")
    for name in ("MT", "NC_012920.1", "J01415.2"):
        assert hg19.resolve(name) is None
        assert "the mitochondrion" in refused(hg19, [(name, 5, "A", "C")])
    assert "chrM has 16,569 bp, but chrM has 16,571 bp" in refused(
        hg19, [("chrM", 5, "A", "C")], header=contig_line("chrM", 16_569)
    )


def sparse_genome(folder: Path, contigs: dict[str, int], n_at: tuple[int, int] = (0, 0)) -> Genome:
    """A genome of true lengths without bases, but for N in a span (0-based) of its first contig."""
    table, offset = [], 0
    for name, length in contigs.items():
        table.append({"name": name, "length": length, "offset": offset})
        offset += -(-length // 8) * 8
    for name, size in (("bases.bin", offset), ("soft_mask.bin", offset // 8), ("codes.bin", 0)):
        with (folder / name).open("wb") as file:
            file.truncate(size)
            if name == "bases.bin":
                file.seek(n_at[0])
                file.write(b"N" * (n_at[1] - n_at[0]))
    (folder / "genome.json").write_text(json.dumps({"version": FORMAT_VERSION, "contigs": table}))
    return Genome(folder / "g.fa", folder)


def test_accessions_resolve_to_their_own_build_alone(tmp_path: Path) -> None:
    genome = sparse_genome(tmp_path, {"chr21": 46_709_983, "chrM": 16_569})
    for name in ("NC_000021.9", "CM000683.2", "NC_000021", "21"):
        assert genome.resolve(name) == "chr21"
        judge(genome, [(name, 5, "N", "C")])
    assert genome.resolve("NC_012920.1") == "chrM" == genome.resolve("J01415.2")
    for name in ("NC_000021.8", "CM000683.1"):
        assert genome.resolve(name) is None
        message = refused(genome, [(name, 5, "A", "C")])
        assert f"{name} is chromosome 21 of GRCh37 (48,129,895 bp), but chr21 has 46,709,983 bp (GRCh38)" in message
    assert "of a build that is not known here" in refused(genome, [("NC_000021.99", 5, "A", "C")])
    assert "the mitochondrion (16,571 bp)" in refused(genome, [("NC_001807.4", 5, "A", "C")])
    judge(genome, [("NC_000022.10", 5, "A", "C")])  # not in the FASTA: unknown, whatever it is


def test_a_release_of_another_build_is_told_by_its_clinvar(genome: Genome, tmp_path: Path) -> None:
    columns = ["contig", "pos", "ref", "alt"]
    for is_wrong in (False, True):
        rows = sites(genome, range(1, 21), is_wrong=is_wrong)
        pl.DataFrame(rows, schema=columns, orient="row").write_parquet(tmp_path / PATHOGENIC)
        if is_wrong:
            with pytest.raises(WrongBuildError, match="the release's ClinVar"):
                read_pathogenic(tmp_path, genome)
        else:
            assert read_pathogenic(tmp_path, genome).rows() == rows


GFF3 = "##gff-version 3\n{comment}\n{chrom}\tx\texon\t11\t20\t.\t+\t.\tID=e;Parent=t\n"


@pytest.mark.parametrize(
    ("comment", "chrom", "told"),
    [
        ("##sequence-region 21 1 46709983", "21", None),
        ("#!genome-build GRCh38.p14", "NC_000021.9", None),
        ("##sequence-region 21 5010000 48129895", "21", None),  # where its features lie
        ("##description: mapped from GRCh38 to GRCh37", "21", None),  # says two
        ("##sequence-region 21 1 48129895", "21", "is of GRCh37 by its comments"),
        ("#!genome-build GRCh37.p13", "21", "is of GRCh37 by its comments"),
        ("###", "NC_000021.8", "NC_000021.8 is chromosome 21 of GRCh37"),
    ],
)
def test_genes_of_another_build_are_refused(tmp_path: Path, comment: str, chrom: str, told: str | None) -> None:
    genome = sparse_genome(tmp_path, {"chr21": 46_709_983})
    (tmp_path / "genes.gff3").write_text(GFF3.format(comment=comment, chrom=chrom))
    if told is None:
        assert read_genes(tmp_path / "genes.gff3", genome)["contig"].unique().to_list() == ["chr21"]
    else:
        with pytest.raises(WrongBuildError, match=told):
            read_genes(tmp_path / "genes.gff3", genome)


# Real files

WRONG = [
    ("grch37/kg_sites", "grch38", "on chr1 from 0.17 Mb on"),  # the first 200 kb are the same in both builds
    ("grch37/kg_phased", "grch38", "its header says GRCh37"),
    ("grch37/clinvar", "grch38", "1 has 249,250,621 bp (GRCh37), but chr1 has 248,956,422 bp (GRCh38)"),
    ("grch37/gnomad_exomes", "grch38", "1 has 249,250,621 bp (GRCh37), but chr1 has 248,956,422 bp (GRCh38)"),
    ("grch38/kg_phased", "grch37", "chr1 has 248,956,422 bp (GRCh38), but 1 has 249,250,621 bp (GRCh37)"),
]


@needs_shared_data
@pytest.mark.parametrize("name", REAL_VCFS)
def test_real_files_of_the_right_build_have_no_site_that_does_not_fit(name: str) -> None:
    genome = shared_genome(name.partition("/")[0])
    check = BuildCheck(genome, name)
    for chunk in read_vcf_chunks(SHARED / f"{name}.vcf.gz", n_columns=8):
        check.see(chunk.lines)
    check.finish()
    assert check._counts.n_sites > 500
    assert sum(count.n_wrong for count in check._counts._contigs.values()) == 0


@needs_shared_data
@pytest.mark.parametrize(("name", "build", "told"), WRONG)
def test_real_files_of_another_build_are_refused(name: str, build: str, told: str) -> None:
    genome = shared_genome(build)
    with pytest.raises(WrongBuildError) as caught:
        list(checked_chunks(read_vcf_chunks(SHARED / f"{name}.vcf.gz", n_columns=8), genome, name))
    assert told in str(caught.value)


@needs_shared_data
def test_the_pipeline_refuses_them_too() -> None:
    genome = shared_genome("grch38")
    with pytest.raises(InputError, match="on chr1 from 0.17 Mb on"):
        ingest_gnomad([SHARED / "grch37" / "kg_sites.vcf.gz"], genome, ["chr1"])
    with pytest.raises(InputError, match="249,250,621 bp"):
        ingest_clinvar(SHARED / "grch37" / "clinvar.vcf.gz", genome, ["chr1"])
    with pytest.raises(InputError, match="its header says GRCh37"):
        ingest_phased(SHARED / "grch37" / "kg_phased.vcf.gz", genome, ["chr1"])
