"""The demo's benchmark tables: published layouts, the demo's own bases, labels that follow from the planted harm."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import polars as pl
import pytest

from geno_model.genomics.genome import Genome
from geno_pipeline.demo import DemoConfig, DemoInputs, write_demo_inputs
from geno_pipeline.evaluation.layouts import read_benchmark
from tests.unit.demo_settings import SMALL

TABLES = ("brca1", "brca2", "traitgym")


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> DemoInputs:
    config = dataclasses.replace(SMALL, contigs=(("chr20", 200_000), ("chr21", 200_000)))
    return write_demo_inputs(tmp_path_factory.mktemp("demo"), config)


@pytest.fixture(scope="module")
def genome(made: DemoInputs, tmp_path_factory: pytest.TempPathFactory) -> Genome:
    return Genome.open(made.reference, cache_dir=tmp_path_factory.mktemp("cache"))


@pytest.mark.parametrize("name", TABLES)
def test_every_row_takes_part(made: DemoInputs, genome: Genome, name: str) -> None:
    rows = read_benchmark(getattr(made, name), genome)
    assert rows.height > 50 and rows["reason"].null_count() == rows.height
    assert set(rows["label"].unique()) == {0, 1}


def test_screens_lie_on_the_held_out_contig_and_follow_the_consequence(made: DemoInputs, genome: Genome) -> None:
    table = pl.read_csv(made.brca1, skip_rows=2, null_values="NA")
    assert table.columns == ["gene", "chromosome", "position (hg19)", "reference", "alt", "function.score.mean",
                             "func.class", "consequence"]  # fmt: skip
    assert table["chromosome"].unique().to_list() == [21] and table["gene"].n_unique() == 1
    assert table.group_by("position (hg19)").len()["len"].unique().to_list() == [3]  # all changes of a base
    lost = table.group_by("consequence").agg(share=(pl.col("func.class") == "LOF").mean(), n=pl.len())
    share = dict(lost.select("consequence", "share").iter_rows())
    assert share["stop_gained"] > 0.8 > 0.2 > share["synonymous"] and share["synonymous"] < share["missense"] < 0.9
    assert 0 < table["function.score.mean"].null_count() < 0.1 * table.height
    assert "SYNTHETIC" in made.brca1.read_text().splitlines()[0]


def test_windows_are_centred_and_differ_by_the_variant(made: DemoInputs, genome: Genome) -> None:
    table = pl.read_parquet(made.brca2)
    assert table.columns == ["chrom", "pos", "ref", "alt", "score", "class", "ref_seq", "var_seq"]
    row = table.row(len(table) // 2, named=True)
    assert len(row["ref_seq"]) == len(row["var_seq"]) == 8_192
    assert (row["ref_seq"][4_096], row["var_seq"][4_096]) == (row["ref"], row["alt"])
    assert row["ref_seq"] == genome.window("chr21", row["pos"] - 1 - 4_096, row["pos"] - 1 + 4_096).tobytes().decode()
    brca1 = pl.read_csv(made.brca1, skip_rows=2, null_values="NA")
    assert not set(brca1["position (hg19)"]) & set(table["pos"])  # another gene


def test_each_causal_variant_has_nine_controls_of_its_kind(made: DemoInputs) -> None:
    table = pl.read_parquet(made.traitgym)
    groups = table.group_by("match_group").agg(
        pl.col("label").sum(), n=pl.len(), kinds=pl.col("consequence").n_unique(), contigs=pl.col("chrom").n_unique()
    )
    assert groups.select("label", "n", "kinds", "contigs").unique().rows() == [(1, 10, 1, 1)]
    assert set(table["chrom"]) <= {"20", "21"}


def test_equal_settings_give_equal_bytes_and_a_tiny_genome_does_not_fail(tmp_path: Path) -> None:
    tiny = DemoConfig(contigs=(("chr20", 80_000),), n_samples=12, sample_contigs=1)
    first, second = (write_demo_inputs(tmp_path / name, tiny) for name in ("a", "b"))
    for name in TABLES:
        assert getattr(first, name).read_bytes() == getattr(second, name).read_bytes()
