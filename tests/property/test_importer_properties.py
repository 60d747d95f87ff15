"""An export simulated from a known diploid genome gives back that genome, on made-up and on real bases."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from random import Random

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from geno_model.genomics.genome import Genome
from geno_model.genomics.vcf_reader import read_vcf_chunks
from geno_model.importing.errors import ExportBuildError
from geno_model.importing.import_export import import_export
from tests.shared_data import SHARED, needs_shared_data, shared_genome
from tests.unit.exports import LAYOUTS, Row

COMPLEMENT = str.maketrans("ACGT", "TGCA")
N_BASES = 120
HEADER = "# rsid\tchromosome\tposition\tgenotype\n"


@st.composite
def diploid(draw: st.DrawFn) -> tuple[str, dict[int, str]]:
    """Bases of a contig, and genotypes at up to an eighth of its positions (0-based) that are not the reference."""
    bases = draw(st.text("ACGT", min_size=N_BASES, max_size=N_BASES))
    places = draw(st.sets(st.integers(0, N_BASES - 1), min_size=1, max_size=N_BASES // 8))
    letters = st.text("ACGT", min_size=1, max_size=2)
    genotypes = {pos: draw(letters.filter(lambda text, ref=bases[pos]: set(text) != {ref})) for pos in sorted(places)}
    return bases, genotypes


@contextmanager
def genome_of(bases: str) -> Iterator[tuple[Path, Genome]]:
    """A folder of its own, and a genome of one contig, chr5."""
    with tempfile.TemporaryDirectory() as name:
        (Path(name) / "ref.fa").write_text(f">chr5\n{bases}\n")
        yield Path(name), Genome.open(Path(name) / "ref.fa", cache_dir=Path(name) / "cache")


def expected(bases: str, genotypes: dict[int, str]) -> list[tuple[int, str, str, str]]:
    """Position (1-based), REF, ALT and GT of each genotype, by the book."""
    found = []
    for pos, genotype in genotypes.items():
        alternates = sorted(set(genotype) - {bases[pos]})
        numbers = sorted(0 if letter == bases[pos] else alternates.index(letter) + 1 for letter in genotype)
        found.append((pos + 1, bases[pos], ",".join(alternates), "/".join(map(str, numbers))))
    return found


@settings(max_examples=60, deadline=None)
@given(diploid(), st.booleans(), st.sampled_from(["23andMe", "alleles", "MyHeritage", "FTDNA"]), st.randoms())
def test_the_genome_comes_back(
    simulated: tuple[str, dict[int, str]], is_minus: bool, layout: str, shuffler: Random
) -> None:
    bases, genotypes = simulated
    rows: list[Row] = []
    for pos, letter in enumerate(bases):
        genotype = genotypes.get(pos, letter * 2)
        rows.append((f"rs{pos}", "5", str(pos + 1), genotype.translate(COMPLEMENT) if is_minus else genotype))
    shuffler.shuffle(rows)
    is_third = {pos for pos, text in genotypes.items() if len(set(text) | {bases[pos]}) == 3}
    with genome_of(bases) as (folder, genome):
        (folder / "export").write_text(LAYOUTS[layout](rows))
        for strand in ("minus" if is_minus else "plus", "auto"):
            summary = import_export(folder / "export", genome, folder / "out.vcf", strand=strand, all_sites=True)
            (chunk,) = read_vcf_chunks(folder / "out.vcf")
            lines = chunk.lines.with_columns(pl.col("rest").str.extract(r"([^\t]+)$", 1))
            found = lines.filter(pl.col("alt") != ".").select("pos", "ref", "alt", "rest").rows()
            assert sum(summary.outcomes.values()) == N_BASES == summary.n_rows
            if strand == "auto":  # a third allele is one flipped row, or none
                found = [row for row in found if row[0] - 1 not in is_third]
                assert found == [row for row in expected(bases, genotypes) if row[0] - 1 not in is_third]
            else:
                assert found == expected(bases, genotypes)
                assert summary.outcomes["written"] == len(genotypes)


@settings(max_examples=100, deadline=None)
@given(
    st.lists(
        st.one_of(
            st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"]), max_size=20),
            st.tuples(
                st.sampled_from(["rs1", "rs2", ""]),
                st.sampled_from(["5", "chr5", "6", "--", ""]),
                st.sampled_from(["1", "2", "2", "3", "0", "121", "9" * 30, "x", ""]),
                st.text("ACGTDI-0acgt ", max_size=3),
            ).map("\t".join),
        )
    )
)
def test_any_rows_are_all_accounted_for_or_refused_in_one_line(lines: list[str]) -> None:
    with genome_of("ACGT" * 30) as (folder, genome):
        (folder / "export").write_text(HEADER + "rs0\t5\t9\tAG\n" + "\n".join(lines) + "\n", newline="\n")
        try:
            summary = import_export(folder / "export", genome, folder / "out.vcf")
        except ExportBuildError as error:  # enough rows, and too few of them fit
            assert "\n" not in str(error) and not (folder / "out.vcf").exists()
            return
        assert sum(summary.outcomes.values()) == summary.n_rows <= sum(len(line) + 1 for line in lines) + 1
        (chunk,) = read_vcf_chunks(folder / "out.vcf")
        assert chunk.lines.height == summary.outcomes["written"] == summary.n_records >= 1
        assert chunk.lines["pos"].is_sorted() and chunk.lines["pos"].is_unique().all()


def real_genotypes() -> pl.DataFrame:
    """SNVs of 1000 Genomes on GRCh37 with the genotype of one person: pos, ref, alt, gt such as `0|1`."""
    lines = pl.concat(chunk.lines for chunk in read_vcf_chunks(SHARED / "grch37" / "kg_phased.vcf.gz"))
    snvs = lines.filter((pl.col("ref").str.len_bytes() == 1) & (pl.col("alt").str.len_bytes() == 1))
    snvs = snvs.filter(pl.col("pos").is_unique())
    return snvs.select("pos", "ref", "alt", pl.col("rest").str.extract(r"^[^\t]+\t([01]\|[01])", 1).alias("gt"))


def export_of(genotypes: pl.DataFrame) -> str:
    letters = [pl.when(pl.col("gt").str.slice(at, 1) == "0").then("ref").otherwise("alt") for at in (0, 2)]
    lines = genotypes.select(pl.format("rs{}\t1\t{}\t{}{}", "pos", "pos", *letters)).to_series()
    return HEADER + "\n".join(lines.to_list()) + "\n"


@needs_shared_data
def test_a_person_of_1000_genomes_comes_back(tmp_path: Path) -> None:
    genotypes = real_genotypes()
    assert genotypes.height > 800
    (tmp_path / "export").write_text(export_of(genotypes))
    summary = import_export(tmp_path / "export", shared_genome("grch37"), tmp_path / "out.vcf")
    (chunk,) = read_vcf_chunks(tmp_path / "out.vcf")
    found = chunk.lines.select("pos", "ref", "alt", pl.col("rest").str.extract(r"\t(.+)$", 1).alias("gt"))
    numbers = pl.col("gt").replace({"1|0": "0/1", "0|1": "0/1", "1|1": "1/1"})
    assert found.equals(genotypes.filter(pl.col("gt") != "0|0").with_columns(numbers))
    assert summary.fit.n_fit > 0.8 * summary.fit.n_compared and summary.n_flipped == 0


@needs_shared_data
def test_a_person_of_1000_genomes_on_the_wrong_build_is_refused(tmp_path: Path) -> None:
    beyond = real_genotypes().filter(pl.col("pos") > 178_000)  # up to there chromosome 1 is the same in both builds
    (tmp_path / "export").write_text("# build 37\n" + export_of(beyond))
    with pytest.raises(ExportBuildError, match="its header says GRCh37; the FASTA is GRCh38 by its contig lengths"):
        import_export(tmp_path / "export", shared_genome("grch38"), tmp_path / "out.vcf")
    assert [path.name for path in tmp_path.iterdir()] == ["export"]
