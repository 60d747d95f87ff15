"""A device is used only if it gives the CPU's numbers: the CPU plays the faulty ones (spec 2, "Signal and noise")."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from geno_model.encoder.carbon import CarbonStateEncoder, EncoderSettingsError
from geno_model.predictor.world_model import WorldModel
from geno_model.scoring.device import Probe, move, pick_device, probe, require_same_numbers
from tests.tiny_release import random_model
from tests.unit.encoders import tiny_encoder


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("device") / "tiny"


@pytest.fixture(scope="module")
def encoder(folder: Path) -> CarbonStateEncoder:
    return tiny_encoder(folder)


@pytest.fixture(scope="module")
def model(encoder: CarbonStateEncoder) -> WorldModel:
    return random_model(encoder.sixmer_embeddings())


@pytest.fixture(scope="module")
def on_cpu(encoder: CarbonStateEncoder, model: WorldModel) -> Probe:
    return probe(encoder, model)


@contextmanager
def outputs_changed(modules: list[nn.Module], change: Callable[[Tensor], Tensor]) -> Iterator[None]:
    """What the modules give is changed, as by a device that computes them differently."""

    def changed(module: nn.Module, given: Any, out: Tensor) -> Tensor:
        return change(out)

    with ExitStack() as hooks:
        for module in modules:
            hooks.enter_context(module.register_forward_hook(changed))
        yield


def off_by(share: float) -> Callable[[Tensor], Tensor]:
    """Adds random numbers of that share of each vector's length."""
    generator = torch.Generator().manual_seed(3)

    def change(out: Tensor) -> Tensor:
        noise = torch.randn(out.shape, generator=generator)
        scale = share * out.norm(dim=-1, keepdim=True) / noise.norm(dim=-1, keepdim=True)
        return out + (scale * noise).to(out.dtype)

    return change


def parts(encoder: CarbonStateEncoder, model: WorldModel) -> dict[str, list[nn.Module]]:
    llama: Any = encoder.model.model
    return {
        "last norm": [llama.norm],
        "MLPs": [layer.mlp for layer in llama.layers],
        "keys": [layer.self_attn.k_proj for layer in llama.layers],
        "predictor": [model.predictor],
        "head": [encoder.model.lm_head],
    }


def test_an_snv_is_measured_on_dna(on_cpu: Probe) -> None:
    assert on_cpu.states.shape == (3, 8, 32) and on_cpu.delta_loglik.shape == (8,)
    torch.testing.assert_close(on_cpu.states.norm(dim=2), torch.ones(3, 8))
    assert on_cpu.distance == pytest.approx(float((on_cpu.states[1] - on_cpu.states[0]).norm(dim=1).median()))
    assert on_cpu.distance > 0.01 and on_cpu.nats > 0.1


def test_other_last_bits_are_the_same_numbers(encoder: CarbonStateEncoder, model: WorldModel, on_cpu: Probe) -> None:
    require_same_numbers(on_cpu, probe(encoder, model), "float32", "again")
    with outputs_changed([part for each in parts(encoder, model).values() for part in each], off_by(1e-7)):
        off = probe(encoder, model)
    assert not torch.equal(off.states, on_cpu.states)
    require_same_numbers(on_cpu, off, "float32", "another order of summation")


@pytest.mark.parametrize("part", ["last norm", "MLPs", "keys", "predictor", "head"])
def test_arithmetic_that_is_off_by_a_thousandth_is_refused(
    encoder: CarbonStateEncoder, model: WorldModel, on_cpu: Probe, part: str
) -> None:
    """It passed: hidden states were allowed to differ by a fiftieth."""
    with outputs_changed(parts(encoder, model)[part], off_by(1e-3)):
        wrong = probe(encoder, model)
    what = "likelihoods" if part == "head" else "states"
    with pytest.raises(
        EncoderSettingsError, match=rf"device 'mps' gives other {what} than .* 0\.10% of that .* float32"
    ):
        require_same_numbers(on_cpu, wrong, "float32", "mps")


def test_numbers_of_fewer_digits_are_refused(folder: Path, model: WorldModel, on_cpu: Probe) -> None:
    """TF32, which a GPU may take for float32, keeps ten bits behind the point."""
    short = tiny_encoder(folder)
    for parameter in short.model.parameters():
        parameter.data = (parameter.data.view(torch.int32) & ~0x1FFF).view(torch.float32)
    with pytest.raises(EncoderSettingsError, match="gives other states"):
        require_same_numbers(on_cpu, probe(short, model), "float32", "cuda")


def test_what_is_no_number_is_refused(on_cpu: Probe) -> None:
    for wrong in (
        Probe(torch.full_like(on_cpu.states, torch.nan), on_cpu.delta_loglik),
        Probe(on_cpu.states, torch.full_like(on_cpu.delta_loglik, torch.nan)),
        Probe(on_cpu.states.roll(1, 1), on_cpu.delta_loglik),
    ):
        with pytest.raises(EncoderSettingsError):
            require_same_numbers(on_cpu, wrong, "float32", "mps")


@pytest.mark.parametrize(("radius_tokens", "is_right"), [(4, True), (128, False)])
def test_sixteen_bits_may_differ_by_a_twentieth_of_an_snv(
    folder: Path, model: WorldModel, radius_tokens: int, is_right: bool
) -> None:
    """The wider the pool, the less an SNV moves it, while the noise of bfloat16 stays."""
    encoder = tiny_encoder(folder, dtype="bfloat16", radius_tokens=radius_tokens)
    on_cpu = probe(encoder, model)
    encoder.model.float()  # a device that rounds elsewhere
    on_device = probe(encoder, model)
    share = float((on_cpu.states - on_device.states).norm(dim=2).max()) / on_cpu.distance
    assert (share <= 0.05) is is_right
    if is_right:
        require_same_numbers(on_cpu, on_device, "bfloat16", "cuda")
    else:
        with pytest.raises(EncoderSettingsError, match=r"at most 5\.00% of that is allowed in bfloat16"):
            require_same_numbers(on_cpu, on_device, "bfloat16", "cuda")


@pytest.mark.parametrize("device", ["cuda:99", "nonsense", "meta"])
def test_a_device_that_cannot_be_used_is_refused(folder: Path, device: str) -> None:
    encoder = tiny_encoder(folder)
    with pytest.raises(EncoderSettingsError, match=f"device is '{device}', which cannot be used here"):
        move(encoder, random_model(encoder.sixmer_embeddings()), device)


def test_the_cpu_needs_no_comparison(encoder: CarbonStateEncoder, model: WorldModel) -> None:
    before = encoder.n_tokens_run
    move(encoder, model, "cpu")
    assert encoder.n_tokens_run == before and encoder.device == pick_device("cpu")
