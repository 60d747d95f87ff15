"""Phase 2: a regulariser that is alive, states with gradient, and the encoder that comes out (spec 4)."""

from __future__ import annotations

import json
import math
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
import torch
from peft import PeftModel
from safetensors.torch import load_file

from geno_model.encoder.carbon import CarbonStateEncoder, EncoderSettingsError, load_encoder
from geno_model.encoder.pooling import centered_sums
from geno_model.encoder.shared_prefix import encode_window
from geno_model.encoder.state_contract import ContractMismatchError, StateContract
from geno_model.genomics.edits import EditType, RelEdit
from geno_model.genomics.genome import Genome
from geno_model.scoring.scorer import Scorer
from geno_model.training.adapt import (
    LEJEPA_EPSILON,
    AdaptationError,
    AdaptResult,
    AdaptSettings,
    Measures,
    adapt,
    collapse_warnings,
    jepa,
    lejepa,
)
from geno_model.training.live_encoder import EditRow, LiveEncoder, LoraSettings, read_rows
from geno_model.training.state_store import StateStore
from geno_pipeline.assets.adapt import encoder_files
from geno_pipeline.build.states import build_states
from geno_pipeline.config import Encoder
from tests.tiny_release import build_release, random_model
from tests.unit.encoders import WINDOW_BP, hub_config, random_window, settings, snv, tiny_encoder, write_hub_folder
from tests.unit.training_rows import random_genome, rows_of_edits

LORA = LoraSettings(rank=4, alpha=8, n_last_layers=8, seed=1)
SHORT = AdaptSettings(n_steps=3, batch_size=4, seed_order=5, seed_lora=6, learning_rate=1e-3, rank=4, alpha=8)


def write_checkpoint(folder: Path, encoder: CarbonStateEncoder) -> Path:
    """A world model of random weights with the contract of its states."""
    folder.mkdir(parents=True)
    random_model(encoder.sixmer_embeddings()).save(folder)
    (folder / "contract.json").write_text(json.dumps(encoder.contract.to_dict()))
    return folder


class World:
    """A genome, rows of edits on it, a base encoder and a checkpoint, and the encoder adapted from them."""

    def __init__(self, folder: Path) -> None:
        self.genome: Genome = random_genome(folder, 3)
        self.rows: pl.DataFrame = rows_of_edits(self.genome, 3, 10)
        self.base = folder / "base"
        self.contract: StateContract = tiny_encoder(self.base).contract
        self.checkpoint = write_checkpoint(folder / "checkpoint", tiny_encoder(self.base))
        self.folder = folder / "adapted"
        self.result = self.adapt(self.folder)

    def adapt(self, folder: Path, **changes: Any) -> AdaptResult:
        given = replace(SHORT, **changes)
        return adapt(self.base, self.contract, self.checkpoint, self.genome, self.rows, given, folder)


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> World:
    return World(tmp_path_factory.mktemp("world"))


def live(folder: Path, lora: LoraSettings = LORA, **changes: Any) -> LiveEncoder:
    return LiveEncoder(tiny_encoder(folder / "encoder", **changes), lora)


def rows_of_every_kind() -> list[EditRow]:
    """SNVs at both ends of a window and in the middle, an insertion, a deletion near the right end, and a chain."""
    window = random_window(1)
    chains = [
        [snv(window, 3)],
        [snv(window, 1_500)],
        [snv(window, WINDOW_BP - 2)],
        [RelEdit(900, EditType.INS, chr(window[900]), chr(window[900]) + "ACGTG")],
        [RelEdit(2_900, EditType.DEL, window[2_900:2_904].tobytes().decode(), chr(window[2_900]))],
        [snv(window, 600), RelEdit(620, EditType.INS, chr(window[620]), chr(window[620]) + "TT"), snv(window, 640)],
    ]
    return [EditRow(window, tuple(chain), chain[0].rel_pos // 6) for chain in chains]


def test_regulariser_by_hand() -> None:
    # Times sqrt 2: (1.414, 0) and (0, 1.414). ||mu||^2 = 1, Sigma = [[.5, -.5], [-.5, .5]]: trace 1, eigenvalues 0, 1.
    expected = 0.25 * (1 + 1 - math.log(LEJEPA_EPSILON * (1 + LEJEPA_EPSILON)) - 2)
    assert lejepa(torch.eye(2)).item() == pytest.approx(expected, rel=1e-6)
    # Four states along both axes have mean 0 and, times sqrt 2, the unit covariance: nothing to regularise.
    assert lejepa(torch.cat([torch.eye(2), -torch.eye(2)])).item() == pytest.approx(0, abs=1e-4)


def test_regulariser_is_finite_for_fewer_states_than_directions_and_largest_when_all_are_one() -> None:
    spread = torch.nn.functional.normalize(torch.randn(4, 64, generator=torch.Generator().manual_seed(0)), dim=1)
    same = spread[:1].expand(4, -1)
    assert lejepa(spread).isfinite() and lejepa(spread) < lejepa(same)
    assert lejepa(same).item() == pytest.approx(-0.25 * 64 * math.log(LEJEPA_EPSILON), rel=1e-5)


def test_regulariser_alone_moves_the_adapters(tmp_path: Path) -> None:
    encoder = live(tmp_path)
    lejepa(encoder.batch(rows_of_every_kind()).outputs).backward()
    gradients = {name: p.grad for name, p in encoder.adapted.named_parameters() if p.requires_grad}
    assert len(gradients) == 2 * 4 * 2  # A and B of q, k, v, o in two layers
    ups = [gradient for name, gradient in gradients.items() if "lora_B" in name]  # A's is zero as long as B is
    assert all(gradient is not None and gradient.abs().max() > 1e-6 for gradient in ups)
    assert all(p.grad is None for name, p in encoder.adapted.named_parameters() if "lora" not in name)


def test_jepa_alone_moves_the_adapters(tmp_path: Path) -> None:
    encoder = live(tmp_path)
    loss, still = jepa(random_model(encoder.encoder.sixmer_embeddings()), encoder.batch(rows_of_every_kind()))
    assert not still.requires_grad
    loss.mean().backward()
    assert any(p.grad is not None and p.grad.abs().max() > 0 for p in encoder.parameters())


@pytest.mark.parametrize("changes", [{}, {"layer": -2}, {"pooling": "global_mean", "radius_tokens": WINDOW_BP // 6}])
def test_fresh_adapters_change_no_state(tmp_path: Path, changes: dict[str, Any]) -> None:
    encoder = live(tmp_path, **changes)
    windows = [random_window(seed) for seed in range(5)]
    loci = [2, 700, 1_500, 3_000, WINDOW_BP - 1]
    states = encoder.states(windows, [locus // 6 for locus in loci])
    assert states.requires_grad
    oracle = tiny_encoder(tmp_path / "encoder", **changes).encode_batch(np.stack(windows), loci)
    torch.testing.assert_close(states, oracle, atol=1e-6, rtol=0)


def test_a_batch_is_what_the_shared_prefix_pass_gives(tmp_path: Path) -> None:
    encoder, rows = live(tmp_path), rows_of_every_kind()
    with torch.no_grad():  # adapters that do something
        for parameter in encoder.parameters():
            parameter.add_(0.05)
    batch = encoder.batch(rows)
    chains, pools = [row.chain for row in rows], np.array([row.pool_token for row in rows])
    oracle = encode_window(encoder.encoder, rows[0].window, chains, pools)
    assert batch.outputs.requires_grad and len(batch.outputs) == 6 + 8
    torch.testing.assert_close(batch.inputs.state, oracle.reference, atol=1e-5, rtol=0)
    torch.testing.assert_close(batch.targets[batch.inputs.mask], oracle.targets, atol=1e-5, rtol=0)
    assert not batch.inputs.locus.requires_grad


def test_shared_pooling_would_cut_the_gradient() -> None:
    hidden = torch.randn(8, 4, requires_grad=True)
    with pytest.raises(RuntimeError, match="out="):  # why `LiveEncoder.states` sums on its own
        centered_sums(hidden, torch.tensor([0]), torch.tensor([8]))


def test_adapters_sit_in_the_last_layers(tmp_path: Path) -> None:
    encoder = live(tmp_path, LoraSettings(rank=2, alpha=4, n_last_layers=1, seed=0))
    names = [name for name, p in encoder.adapted.named_parameters() if p.requires_grad]
    assert len(names) == 8 and all(".layers.1.self_attn." in name for name in names)


def test_every_adapter_has_a_part_in_the_state(tmp_path: Path) -> None:
    encoder = live(tmp_path, LoraSettings(rank=2, alpha=4, n_last_layers=8, seed=0), layer=-2)
    encoder.states([random_window(1)], [WINDOW_BP // 12]).sum().backward()
    names = [name for name, p in encoder.adapted.named_parameters() if p.requires_grad]
    assert names and all(
        ".layers.0.self_attn." in name for name in names
    )  # of two layers, the state is behind the first
    assert all(parameter.grad is not None for parameter in encoder.parameters())


def test_coarse_arithmetic_is_refused(tmp_path: Path) -> None:
    with pytest.raises(EncoderSettingsError, match="adapt it in float32"):
        live(tmp_path, dtype="bfloat16")


def test_rows_are_read_with_their_steps(world: World) -> None:
    row = read_rows(world.rows[:1], world.genome)[0]
    assert len(row.chain) == 2 and row.window.shape == (WINDOW_BP,)
    assert [chr(row.window[edit.rel_pos]) for edit in row.chain] == [edit.ref_bases for edit in row.chain]


def test_merged_encoder_is_base_and_adapters(world: World) -> None:
    windows, loci = np.stack([random_window(seed) for seed in range(3)]), [100, 1_000, 2_500]
    adapted = load_encoder(world.folder, world.result.contract)
    base = tiny_encoder(world.base)
    states = {"base": base.encode_batch(windows, loci), "merged": adapted.encode_batch(windows, loci)}
    PeftModel.from_pretrained(base.model, str(world.folder / "adapter"))  # puts the adapters into the base
    torch.testing.assert_close(states["merged"], base.encode_batch(windows, loci), atol=1e-5, rtol=0)
    assert (states["merged"] - states["base"]).norm(dim=1).min() > 1e-4


def test_adapted_encoder_is_another_encoder(world: World, tmp_path: Path) -> None:
    new = world.result.contract
    assert new.encoder_hash != world.contract.encoder_hash
    assert replace(new, encoder_hash=world.contract.encoder_hash) == world.contract
    with pytest.raises(ContractMismatchError, match="the model was built on"):
        load_encoder(world.folder, world.contract)
    build_states(world.rows[:4], world.genome, tiny_encoder(world.base), tmp_path / "states")
    with pytest.raises(ContractMismatchError, match="encoder_hash"):  # a store of the old encoder
        StateStore(tmp_path / "states").contract.require_same(new, "states")
    trained_along = StateContract.from_dict(json.loads((world.folder / "model" / "contract.json").read_text()))
    assert trained_along == new
    with pytest.raises(ContractMismatchError, match="encoder_hash"):  # a checkpoint of the old encoder
        adapt(world.folder, new, world.checkpoint, world.genome, world.rows, SHORT, tmp_path / "again")


def test_mixed_state_store_is_refused(world: World, tmp_path: Path) -> None:
    adapted = load_encoder(world.folder, world.result.contract)
    build_states(world.rows[:10], world.genome, tiny_encoder(world.base), tmp_path / "states")
    build_states(world.rows[:10], world.genome, adapted, tmp_path / "new")
    (tmp_path / "new" / "chrT" / "00000.parquet").rename(tmp_path / "states" / "chrT" / "00001.parquet")
    with pytest.raises(ContractMismatchError, match="encoder_hash"):
        StateStore(tmp_path / "states")


def test_release_of_the_base_refuses_the_adapted_encoder(tmp_path: Path) -> None:
    release = build_release(tmp_path / "release")
    base = release.model_dir / "encoder"
    contract, checkpoint = tiny_encoder(base).contract, write_checkpoint(tmp_path / "checkpoint", tiny_encoder(base))
    genome = random_genome(tmp_path, 3)
    adapt(base, contract, checkpoint, genome, rows_of_edits(genome, 3, 4), SHORT, tmp_path / "adapted")
    with pytest.raises(ContractMismatchError, match="the model was built on"):
        Scorer.from_release(release.model_dir, release.genome(), tmp_path / "adapted")


def test_two_runs_give_the_same_bytes_and_another_seed_does_not(world: World, tmp_path: Path) -> None:
    world.adapt(tmp_path / "again")
    files = sorted(path.relative_to(world.folder) for path in world.folder.rglob("*") if path.is_file())
    assert {str(path) for path in files} >= {
        "adaptation.json",
        "adapter/adapter_config.json",
        "adapter/adapter_model.safetensors",
        "config.json",
        "model.safetensors",
        "model/contract.json",
        "model/predictor.safetensors",
        "tokenizer.json",
    }
    for path in files:
        assert (world.folder / path).read_bytes() == (tmp_path / "again" / path).read_bytes(), path
    world.adapt(tmp_path / "other", seed_lora=7)
    name = "adapter/adapter_model.safetensors"
    assert (world.folder / name).read_bytes() != (tmp_path / "other" / name).read_bytes()
    told = json.loads((world.folder / "adaptation.json").read_text())
    assert told["settings"]["seed_order"] == 5 and told["settings"]["seed_lora"] == 6
    assert told["base_encoder"] == world.contract.encoder_hash
    assert [set(point) for point in told["history"]] == [{"step", "jepa", "lejepa", "no_change"}] * 3


def test_the_predictor_learns_along_or_stays(world: World, tmp_path: Path) -> None:
    world.adapt(tmp_path / "frozen", predictor_learning_rate=None)
    before = load_file(world.checkpoint / "predictor.safetensors")
    frozen = load_file(tmp_path / "frozen" / "model" / "predictor.safetensors")
    along = load_file(world.folder / "model" / "predictor.safetensors")
    assert all(torch.equal(value, frozen[name]) for name, value in before.items())
    assert any(not torch.equal(value, along[name]) for name, value in before.items())


def test_a_run_that_ends_early_leaves_the_old_folder(world: World, tmp_path: Path) -> None:
    class Stop(Exception):
        pass

    def stop(n_done: int) -> None:
        raise Stop

    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "old").touch()
    with pytest.raises(Stop):
        adapt(world.base, world.contract, world.checkpoint, world.genome, world.rows, SHORT, tmp_path / "out", stop)
    assert [path.name for path in tmp_path.rglob("*")] == ["out", "old"]


def test_rows_of_one_window_are_refused(world: World, tmp_path: Path) -> None:
    one = world.rows.filter(pl.col("window_start_bp") == 0)
    with pytest.raises(AdaptationError, match="in 1 windows, expected at least two"):
        adapt(world.base, world.contract, world.checkpoint, world.genome, one, SHORT, tmp_path / "out")


def test_collapse_is_told() -> None:
    before = Measures(jepa=0.9, lejepa=10.0, variance=0.01, no_change=1e-5)
    assert collapse_warnings(before, replace(before, jepa=0.1, variance=0.006)) == []
    assert len(collapse_warnings(before, replace(before, variance=0.004))) == 1
    assert len(collapse_warnings(before, replace(before, variance=float("nan"), no_change=1e-6))) == 2


def test_what_a_profile_takes_of_a_folder_is_the_encoder_alone(world: World, tmp_path: Path) -> None:
    names = set(encoder_files(world.folder))
    assert names == {"adaptation.json", "config.json", "generation_config.json", "model.safetensors", "tokenizer.json"}
    assert encoder_files(tmp_path / "nowhere") == {}
    with pytest.raises(ValueError, match="a run has one encoder"):
        Encoder.model_validate({"steps": 1, "folder": "here", "carbon": {"use": True}})


def test_carbons_vocabulary_is_kept(tmp_path: Path) -> None:
    write_hub_folder(tmp_path / "carbon", hub_config())
    base = CarbonStateEncoder.load(tmp_path / "carbon", settings())
    checkpoint = write_checkpoint(tmp_path / "checkpoint", base)
    genome = random_genome(tmp_path, 2)
    result = adapt(
        tmp_path / "carbon", base.contract, checkpoint, genome, rows_of_edits(genome, 2, 4), SHORT, tmp_path / "out"
    )
    assert load_encoder(tmp_path / "out", result.contract).dna_offset == base.dna_offset
    assert (tmp_path / "out" / "tokenizer.json").read_bytes() == (tmp_path / "carbon" / "tokenizer.json").read_bytes()
