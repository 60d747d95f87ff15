"""Regions, repeats and codon consequences against independent tools, on real data and on the demo.

Belongs here: which data the oracles of `tests/oracles` are run on in the suite, and how much must be compared.
Does not: the oracles themselves; `run_all` of each module runs over everything. Of the longest lists a part is taken,
always the same.
"""

from __future__ import annotations

from pathlib import Path

import polars as pl
import pytest

from geno_model.genomics import consequence, context
from geno_model.genomics.annotation_io import read_genes
from geno_model.genomics.repeats_io import read_repeats
from tests.oracles import csq, overlap
from tests.oracles.annotation_alleles import alleles_at, retained_alleles
from tests.shared_data import SHARED, needs_shared_data, shared_genome

DATA = SHARED / "grch38"
GENES, FASTA = DATA / "chr21_genes.gff3.gz", DATA / "reference.fa.gz"
VCF = DATA / "chr21_dbsnp_gnomad_1kg.vcf.gz"
pytestmark = pytest.mark.filterwarnings("ignore:The inplace keyword")  # bioframe's use of pandas
_EDGE_STEP = 4  # every fourth edge of a region or repeat


def require_none(differing: pl.DataFrame) -> None:
    """Fails with the first differing rows, coordinates included."""
    with pl.Config(tbl_rows=20, tbl_cols=-1, fmt_str_lengths=100, tbl_width_chars=200):
        assert differing.is_empty(), f"{differing.height} differ, the first:\n{differing.head(20)}"


@needs_shared_data
def test_regions_of_real_variants() -> None:
    genome = shared_genome("grch38")
    n, differing = overlap.compare_regions(read_genes(GENES, genome), retained_alleles(VCF, genome), genome)
    assert n > 115_000
    require_none(differing)


@needs_shared_data
def test_regions_at_the_edges_of_real_genes() -> None:
    genome = shared_genome("grch38")
    genes = read_genes(GENES, genome)
    edges = overlap.region_edges(genes, "chr21")[::_EDGE_STEP]
    n, differing = overlap.compare_regions(genes, alleles_at("chr21", edges, genome.contigs["chr21"]), genome)
    assert n > 90_000
    require_none(differing)


@needs_shared_data
def test_real_repeats() -> None:
    genome = shared_genome("grch38")
    repeats = read_repeats(DATA / "chr22_rmsk.bed.gz", genome)
    n, differing = overlap.compare_repeats(repeats, overlap.chr22_alleles(repeats, genome, 40_000, _EDGE_STEP), genome)
    assert n > 150_000
    require_none(differing)


def test_regions_and_repeats_of_the_demo(tmp_path: Path) -> None:
    genome, genes, repeats, alleles = overlap.demo_tables(tmp_path)
    edges = [alleles_at(name, overlap.region_edges(genes, name), length) for name, length in genome.contigs.items()]
    n, differing = overlap.compare_regions(genes, pl.concat([alleles, *edges]).unique(), genome)
    assert n > 10_000
    require_none(differing)
    n, differing = overlap.compare_repeats(repeats, alleles, genome)
    assert n > 2_000
    require_none(differing)


@needs_shared_data
def test_codons_of_real_variants(tmp_path: Path) -> None:
    genome = shared_genome("grch38")
    found = csq.compare_with_csq(GENES, FASTA, retained_alleles(VCF, genome), genome, tmp_path)
    require_none(found.differing)
    assert found.n > 115_000 and sum(found.excluded.values()) < 20


@needs_shared_data
def test_codons_of_all_snvs_and_of_random_changes_in_real_genes(tmp_path: Path) -> None:
    genome = shared_genome("grch38")
    alleles = csq.possible_coding_alleles(read_genes(GENES, genome), genome, 60_000)
    is_snv = (pl.col("ref").str.len_bytes() == 1) & (pl.col("alt").str.len_bytes() == 1)
    found = csq.compare_with_csq(GENES, FASTA, alleles, genome, tmp_path)
    require_none(found.differing)
    assert found.n > 70_000 and found.n > 0.9 * alleles.height
    snvs = csq.compare_with_csq(GENES, FASTA, alleles.filter(is_snv), genome, tmp_path)
    assert snvs.n > 23_000 and {name for name, n in snvs.excluded.items() if n} == {"unknown_codon"}


def test_codons_of_the_demo(tmp_path: Path) -> None:
    annotation, fasta, genome = csq.demo_files(tmp_path)
    alleles = csq.possible_coding_alleles(read_genes(annotation, genome), genome, 10_000)
    found = csq.compare_with_csq(annotation, fasta, alleles, genome, tmp_path)
    require_none(found.differing)
    assert found.n > 80_000


@pytest.mark.parametrize("fault", ["promoter", "splice", "code"])
def test_the_oracles_notice_a_fault(fault: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    if fault == "code":
        monkeypatch.setattr(consequence, "_STANDARD", consequence._STANDARD.replace(b"M", b"I"))
        annotation, fasta, genome = csq.demo_files(tmp_path)
        alleles = csq.possible_coding_alleles(read_genes(annotation, genome), genome, 100)
        differing = csq.compare_with_csq(annotation, fasta, alleles, genome, tmp_path).differing
    else:
        monkeypatch.setattr(context, {"promoter": "PROMOTER_BP", "splice": "SPLICE_BP"}[fault], 1)
        genome, genes, _, alleles = overlap.demo_tables(tmp_path)
        differing = overlap.compare_regions(genes, alleles, genome)[1]
    assert differing.height > 10
