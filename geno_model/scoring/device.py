"""Another device than the CPU: used only where it gives the CPU's numbers (spec 2, "Signal and noise").

Belongs here: choosing a device, moving encoder and model to it, the comparison that decides whether it may be used, and
how far scores of two right machines may lie apart. Does not: noise of a number type on one device (`encoder.noise`).

The concept: an SNV moves a state by a thousandth of its length or less, so a device whose states are off by a
thousandth gives scores that mean nothing, though each state looks right. So encoder and model score SNVs in a window of
made-up DNA, through the shared-prefix pass, on the CPU and on the device, and the largest distance between two states
that should be one is held against what an SNV does.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from geno_model.encoder.carbon import CarbonStateEncoder, EncoderSettingsError
from geno_model.encoder.noise import MOST_NOISE, drawn_snvs
from geno_model.encoder.pooling import BASES_PER_TOKEN
from geno_model.encoder.shared_prefix import encode_window
from geno_model.predictor.world_model import WorldModel, model_batch

MOST_DIFFERENCE = {"float32": 1e-3, "bfloat16": MOST_NOISE, "float16": MOST_NOISE}
"""Of what an SNV does, by number type: between two machines that are both right. With the demo's release an SNV moves a
state by 0.00044. Of that float32 is off by 0.00008 (beside float64), which leaves it a margin of 12; TF32 is off by
0.20, float16 by 0.10, bfloat16 by 0.84. Sixteen bits have what the noise of an encoder may be (`encoder.noise`)."""
_SEED, _ROOM_TOKENS = 7, 64  # more than one pool: room for SNVs whose pools are whole


@dataclass(frozen=True, slots=True)
class Probe:
    """SNVs of one window as a device sees them, on the CPU.

    states (3, n, d): unit states before and after, and as predicted; delta_loglik (n,): nats.
    """

    states: Tensor
    delta_loglik: Tensor

    @property
    def distance(self) -> float:
        """How far an SNV moves a state: the median."""
        return float((self.states[1] - self.states[0]).norm(dim=1).median())

    @property
    def nats(self) -> float:
        """How much an SNV changes the likelihood, either way: the median."""
        return float(self.delta_loglik.abs().median())


def pick_device(name: str) -> torch.device:
    """`auto`: cuda if there is one, else mps (Apple), else cpu; or the device of that name. mps is untested."""
    if name != "auto":
        return torch.device(name)
    if torch.cuda.is_available():
        return torch.device("cuda")
    return torch.device("mps" if torch.backends.mps.is_available() else "cpu")


def move(encoder: CarbonStateEncoder, model: WorldModel, name: str) -> None:
    """Bring encoder and model from the CPU to `pick_device(name)`.

    Raises `EncoderSettingsError` where that is not there, has no room for them, or gives other numbers than the CPU.
    """
    try:
        device = pick_device(name)
        if device.type == "cpu":
            return
        on_cpu = probe(encoder, model)
        encoder.to(device)
        model.to(device)
        on_device = probe(encoder, model)
    except (RuntimeError, AssertionError, NotImplementedError) as error:
        raise EncoderSettingsError(
            f"device is {name!r}, which cannot be used here ({str(error).splitlines()[0]}); use 'cpu', or a device "
            "that this PyTorch knows and that has room for the model"
        ) from error
    require_same_numbers(on_cpu, on_device, encoder.contract.dtype, name)


def probe(encoder: CarbonStateEncoder, model: WorldModel) -> Probe:
    """What encoder and model make of some SNVs, the same each time, where they are now."""
    contract = encoder.contract
    n_bp = min(contract.window_bp, (2 * contract.radius_tokens + _ROOM_TOKENS) * BASES_PER_TOKEN)
    window = np.frombuffer(b"ACGT", dtype=np.uint8)[np.random.default_rng(_SEED).integers(4, size=n_bp)]
    chains = [[edit] for edit in drawn_snvs(window, _SEED)]
    pools = np.array([edit.rel_pos for (edit,) in chains]) // BASES_PER_TOKEN
    encoded = encode_window(encoder, window, chains, pools, with_likelihood=True)
    device = next(model.parameters()).device
    predicted = model.predict(model_batch(encoded, chains, pools).to(device))[:, 0].cpu()
    return Probe(torch.stack([encoded.reference, encoded.targets, predicted]), encoded.delta_loglik)


def require_same_numbers(on_cpu: Probe, on_device: Probe, dtype: str, device: str) -> None:
    """Raise `EncoderSettingsError` where a number differs by more than `MOST_DIFFERENCE` of what an SNV does to it."""
    most = MOST_DIFFERENCE[dtype]
    differences = {
        "states": (float((on_cpu.states - on_device.states).norm(dim=2).max()), on_cpu.distance),
        "likelihoods": (float((on_cpu.delta_loglik - on_device.delta_loglik).abs().max()), on_cpu.nats),
    }
    for what, (difference, of_snv) in differences.items():
        if not difference <= most * of_snv:
            raise EncoderSettingsError(
                f"device {device!r} gives other {what} than the CPU: they differ by {difference:.2g}, an SNV changes "
                f"them by {of_snv:.2g}, and at most {most:.2%} of that is allowed in {dtype}; use --device cpu, or "
                "another version of PyTorch"
            )


def tolerances_of(encoder: CarbonStateEncoder, model: WorldModel) -> dict[str, float]:
    """By how much each score of an allele may differ between two machines that are both right.

    A surprise is the distance of two states, each of which may be off by `MOST_DIFFERENCE`; a displacement D counts as
    the distance sqrt(2 D) that it stands for. delta_loglik, in nats, is held against that of an SNV in the same way.
    Measured on the demo (benchmarks/rerun_noise.py, 40 alleles, with other instruction sets, threads and batches),
    beside what this allows there, and the median of its SNVs:

        surprise_raw  1.6e-8, 8.7e-7, 1.0e-4    displacement  2.9e-8, 8.7e-7, 5.4e-4    delta_loglik  3e-5, 8.9e-4, 0.7
    """
    snvs = probe(encoder, model)
    share = 2 * MOST_DIFFERENCE[encoder.contract.dtype]
    distance = share * snvs.distance
    return {"surprise_raw": distance, "displacement": distance, "delta_loglik": share * snvs.nats}
