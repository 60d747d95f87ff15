"""Strand and build of an export are told from the bases of the FASTA, and a doubt is said."""

from __future__ import annotations

from pathlib import Path

import pytest

from geno_model.genomics.genome import Genome
from geno_model.importing.errors import ExportBuildError
from tests.unit.exports import Importer, Row, base, text_23andme, write_genome


@pytest.fixture(scope="module")
def genome(tmp_path_factory: pytest.TempPathFactory) -> Genome:
    folder = tmp_path_factory.mktemp("genome")
    return Genome.open(write_genome(folder / "ref.fa"), cache_dir=folder / "cache")


@pytest.fixture
def run(tmp_path: Path, genome: Genome) -> Importer:
    return Importer(tmp_path, genome)


COMPLEMENT = str.maketrans("ACGT", "TGCA")


def many(n: int = 40, *, minus: bool = False) -> list[Row]:
    """Rows of chr1 from position 1: seven of eight homozygous reference, the eighth heterozygous for a transition."""
    rows = []
    for pos in range(1, n + 1):
        other = {"A": "G", "G": "A", "C": "T", "T": "C"}[base(pos)] if pos % 8 == 0 else base(pos)
        genotype = base(pos) + other
        rows.append((f"rs{pos}", "1", str(pos), genotype.translate(COMPLEMENT) if minus else genotype))
    return rows


def test_an_export_on_the_minus_strand_is_turned(run: Importer) -> None:
    plus, there = run(text_23andme([*many(), ("a", "2", "1", "GG"), ("b", "2", "5", "TT"), ("c", "2", "9", "AT")]))
    minus, here = run(
        text_23andme([*many(minus=True), ("a", "2", "1", "CC"), ("b", "2", "5", "AA"), ("c", "2", "9", "AT")])
    )
    assert minus == plus
    assert plus[:3] == ["chr2 1 a A G 1/1", "chr2 5 b A T 1/1", "chr2 9 c A T 0/1"]
    assert plus[3:] == [f"chr1 {pos} rs{pos} T C 0/1" for pos in (8, 16, 24, 32, 40)]
    assert (there.n_flipped, there.fit.is_minus) == (0, False)
    assert (here.n_flipped, here.fit.is_minus) == (42, True)  # all but the pair of complements
    assert here.outcomes == there.outcomes and here.fit.n_fit == there.fit.n_fit == 41


def test_few_rows_are_read_as_plus(run: Importer) -> None:
    found, summary = run(text_23andme([("a", "2", "1", "TT"), ("b", "2", "5", "TT"), ("c", "2", "3", "CC")]))
    assert found == ["chr2 1 a A T 1/1", "chr2 3 c G C 1/1", "chr2 5 b A T 1/1"]
    assert not summary.fit.is_minus and summary.n_flipped == 0


def test_single_rows_on_the_other_strand_are_flipped_and_counted(run: Importer) -> None:
    rows = [*many(), ("f", "2", "1", "CT"), ("g", "2", "3", "TC"), ("p", "2", "5", "TT"), ("h", "2", "9", "CC")]
    found, summary = run(text_23andme(rows))
    # A with C/T is A/G of the other strand; G with T/C is A/G. Homozygous rows prove nothing alone: plus.
    assert found[:4] == ["chr2 1 f A G 0/1", "chr2 3 g G A 0/1", "chr2 5 p A T 1/1", "chr2 9 h A C 1/1"]
    assert summary.n_flipped == 2


def test_with_the_strand_named_two_alternates_are_one_record(run: Importer) -> None:
    rows = [*many(), ("a", "2", "1", "TC"), ("b", "2", "5", "GC"), ("c", "2", "3", "AC")]
    found, summary = run(text_23andme(rows), strand="plus")
    assert found[:3] == ["chr2 1 a A C,T 1/2", "chr2 3 c G A,C 1/2", "chr2 5 b A C,G 1/2"]
    assert summary.n_flipped == 0 and summary.outcomes["ref_mismatch"] == 0
    turned, summary = run(text_23andme([(*row[:3], row[3].translate(COMPLEMENT)) for row in rows]), strand="minus")
    assert turned == found


def at(build: str, tmp_path: Path, shift: int = 0) -> Importer:
    """An importer whose FASTA has the length of a build's chromosome 21; 400 bases ACGT in turn, moved by shift."""
    length = {"GRCh37": 48_129_895, "GRCh38": 46_709_983}[build]
    fasta = tmp_path / f"{build}.fa"
    fasta.write_text(f">21\n{('ACGT' * 101)[shift : shift + 400]}{'N' * (length - 400)}\n")
    return Importer(tmp_path, Genome.open(fasta, cache_dir=tmp_path / "cache"))


def on_21(rows: list[Row], said: str = "") -> str:
    header = (f"# {said}\n" if said else "") + "# rsid\tchromosome\tposition\tgenotype\n"
    return text_23andme([(name, "21", pos, genotype) for name, _, pos, genotype in rows], header)


def test_a_header_that_is_wrong_gives_way_to_the_bases(tmp_path: Path) -> None:
    run = at("GRCh38", tmp_path)
    found, summary = run(on_21(many(), "human reference build 37.1 coordinates"))
    assert len(found) == 5
    assert summary.notes == [
        "its header says GRCh37, but 40 of 40 called genotypes hold the base that the FASTA has there, which is "
        "GRCh38: taken as GRCh38"
    ]
    assert "##contig=<ID=21,length=46709983,assembly=GRCh38>" in run.out.read_text()
    assert run(on_21(many(), "build 38"))[1].notes == []


@pytest.mark.parametrize(
    ("said", "extra", "told"),
    [
        (
            "reference human assembly build 37",
            [],
            "its header says GRCh37; the FASTA is GRCh38 by its contig lengths; use the FASTA of GRCh37",
        ),
        ("", [("rs3094315", "1", "742429", "AG")], "markers in it are of NCBI36; the FASTA is GRCh38"),
        ("", [], "does not say its build; the FASTA is GRCh38 by its contig lengths; use the FASTA of the build of"),
    ],
)
def test_the_wrong_build_is_refused(said: str, extra: list[Row], told: str, tmp_path: Path) -> None:
    run = at("GRCh38", tmp_path, shift=2)  # A meets G, C meets T: the transitions fit, no homozygote does
    with pytest.raises(ExportBuildError) as caught:
        run(on_21(many(), said) + text_23andme(extra, ""))
    assert str(caught.value).startswith("only 5 of 40 called genotypes hold the base")
    assert told in str(caught.value)
    assert not run.out.exists()


@pytest.mark.parametrize(
    ("chrom", "first", "n_wrong", "told"),
    [
        ("2", 1_001, 1_000, "1,000 of 1,000 sites on chr2 from 0.00 Mb on"),
        ("2", 3_001, 500, "500 of 500 sites on chr2"),  # the end of a contig
        ("3", 1, 101, "101 of 200 sites on chr3"),
        ("2", 1_001, 450, None),  # as many as an inversion has
        ("3", 1, 100, None),
    ],
)
def test_a_stretch_or_a_contig_of_another_build_is_refused(
    chrom: str, first: int, n_wrong: int, told: str | None, tmp_path: Path
) -> None:
    """Homozygotes of a third base, on either strand, in 3,700 rows of which the others fit."""
    fasta = write_genome(tmp_path / "g.fa", {"chr2": 3_500, "chr3": 200})
    run = Importer(tmp_path, Genome.open(fasta, cache_dir=tmp_path / "cache"))
    third = {"A": "C", "C": "A", "G": "A", "T": "G"}
    rows = [("2", pos) for pos in range(1, 3_501)] + [("3", pos) for pos in range(1, 201)]
    bad = {(chrom, pos) for pos in range(first, first + n_wrong)}
    genotypes = [base(pos) if (name, pos) not in bad else third[base(pos)] for name, pos in rows]
    export = text_23andme(
        (f"rs{name}_{pos}", name, str(pos), letter * 2) for (name, pos), letter in zip(rows, genotypes, strict=True)
    )
    if told is None:
        assert len(run(export)[0]) == n_wrong
        return
    with pytest.raises(ExportBuildError, match=told):
        run(export)
    assert not run.out.exists()


def test_too_few_rows_to_tell_leave_it_to_the_header(tmp_path: Path) -> None:
    run = at("GRCh38", tmp_path)
    with pytest.raises(ExportBuildError, match="8 of 8 .* header says GRCh37"):
        run(on_21(many(8), "build 37"))
    assert len(run(on_21(many(8), "build 38"))[0]) == 1


def test_mixed_strands_are_refused(run: Importer) -> None:
    plus, minus = many(), many(minus=True)
    with pytest.raises(
        ExportBuildError, match="20 of 40 .* on one strand, and 40 on one or the other: .* mixes strands"
    ):
        run(text_23andme([pair[index % 2] for index, pair in enumerate(zip(plus, minus, strict=True))]))


def test_a_strand_named_wrongly_is_told(run: Importer) -> None:
    with pytest.raises(ExportBuildError, match="only 0 of 40 .* on the plus strand; 40 do on the other strand"):
        run(text_23andme(many(minus=True)), strand="plus")
