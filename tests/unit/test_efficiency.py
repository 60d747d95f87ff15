"""What is measured of scoring, by processes of their own. Times are not judged."""

from __future__ import annotations

import dataclasses
import json
import subprocess
import sys
from pathlib import Path

import polars as pl
import pytest
from safetensors.torch import save_file

from data_contracts import Efficiency, validate
from geno_model.encoder.carbon import load_encoder
from geno_model.genomics.context import Context
from geno_model.predictor.world_model import WorldModel
from geno_model.release.config import read_config
from geno_model.scoring.surprise import score_raw
from geno_pipeline.evaluation.efficiency import EfficiencyError, Subject, efficiency, machine
from tests.tiny_release import TinyRelease, build_release
from tests.unit.build_inputs import snvs


@pytest.fixture(scope="module")
def release(tmp_path_factory: pytest.TempPathFactory) -> TinyRelease:
    return build_release(tmp_path_factory.mktemp("release"))


@pytest.fixture(scope="module")
def subject(release: TinyRelease, tmp_path_factory: pytest.TempPathFactory) -> Subject:
    """The folders as assets leave them."""
    folder = tmp_path_factory.mktemp("storage")
    for name in ("identity", "states"):
        (folder / name).mkdir()
    contract = read_config(release.model_dir).contract
    (folder / "identity" / "contract.json").write_text(json.dumps(contract.to_dict()))
    sixmers = load_encoder(release.model_dir / "encoder", contract).sixmer_embeddings()
    save_file({"sixmers": sixmers.contiguous()}, folder / "states" / "sixmer_embeddings.safetensors")
    return Subject(
        encoder=release.model_dir / "encoder",
        identity=folder / "identity",
        checkpoint=release.model_dir,
        states=folder / "states",
        fasta=release.fasta,
        cache_dir=release.cache,
        policy="most_central",
    )


@pytest.fixture(scope="module")
def alleles(release: TinyRelease) -> pl.DataFrame:
    rows = snvs(release.genome(), "chr1", list(range(1_000, 11_000, 1_000)))
    table = pl.DataFrame(rows, schema=["contig", "pos", "ref", "alt"], orient="row")
    return table.with_columns(edit_type=pl.lit(0, pl.UInt8))


def test_rows_and_tokens(subject: Subject, alleles: pl.DataFrame, release: TinyRelease) -> None:
    table = validate(Efficiency, efficiency(subject, alleles, batches=(1, 8, 64), repeats=2))
    assert table.select("what", "n_variants", "n_repeats").rows() == [
        ("one variant, cold", 1, 3),
        ("one variant, warm", 1, 2),
        ("batch", 1, 2),
        ("batch", 8, 2),
    ]  # 64 is more than there are
    assert (table["low_s"] <= table["median_s"]).all() and (table["median_s"] <= table["high_s"]).all()
    assert (table["peak_memory_mib"] > 100).all()
    assert table["median_s"][0] > table["median_s"][1]  # a cold start holds a warm one
    contract = read_config(release.model_dir).contract
    encoder = load_encoder(subject.encoder, contract)
    model, genome = WorldModel.load(subject.checkpoint, encoder.sixmer_embeddings()), release.genome()
    eight = alleles.sort("pos").slice(1, 8)
    score_raw(eight, genome, encoder, model, Context.build(None, None, genome))
    assert table["tokens_per_variant"][3] == encoder.n_tokens_run / 8


def test_a_process_that_fails_is_told_by_its_last_line(subject: Subject, alleles: pl.DataFrame, tmp_path: Path) -> None:
    broken = dataclasses.replace(subject, checkpoint=tmp_path)
    with pytest.raises(EfficiencyError, match=r"scoring 1 variants in a process of its own failed: .*\w"):
        efficiency(broken, alleles, batches=(1,), repeats=1)


def test_what_is_measured_does_not_load_the_orchestrator() -> None:
    script = (
        "import sys, geno_pipeline.evaluation.efficiency; print([m for m in sys.modules if m.startswith('dagster')])"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_the_machine_is_named() -> None:
    assert {"processor", "cores", "memory", "torch", "transformers"} <= machine().keys() and all(machine().values())
