"""How much of a change of state is arithmetic: the noise floor of an encoder (spec 2, "Signal and noise"; pitfall 33).

An edit moves a state by 1e-3 to 1e-2, and a number type with few digits may move it as far by itself. So the same
window is encoded in ways that should not differ, and what they differ by is held against what an SNV does.
Belongs here: that measurement and its bound. Does not: the states themselves (`carbon`, `shared_prefix`).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations

import numpy as np
import torch
from numpy.typing import NDArray

from geno_model.encoder.carbon import CarbonStateEncoder
from geno_model.encoder.pooling import BASES_PER_TOKEN
from geno_model.encoder.shared_prefix import encode_window
from geno_model.genomics.edits import EditType, RelEdit, apply_edits_array
from geno_model.genomics.samplers import uniform_snv

MOST_NOISE = 0.05  # of the signal (spec 2)
SNVS_A_WINDOW = 8


@dataclass(frozen=True, slots=True)
class NoiseFloor:
    """Distances of unit states, without a unit.

    floor: the largest between two encodings of one window, over all windows and ways; signal: the median between the
    states before and after an SNV; n_snvs: how many it is a median of.
    """

    dtype: str
    floor: float
    signal: float
    n_snvs: int

    @property
    def share(self) -> float:
        """The floor as a share of the signal; infinite where edits move nothing."""
        return self.floor / self.signal if self.signal else float("inf")

    @property
    def is_quiet(self) -> bool:
        """Whether states may be made of it: a share of at most 5 % (spec 2)."""
        return self.share <= MOST_NOISE

    def __str__(self) -> str:
        return (
            f"{self.dtype}: two encodings of one window differ by {self.floor:.2g}, which is {self.share:.2%} of what "
            f"an SNV does ({self.signal:.2g}, median of {self.n_snvs}); at most {MOST_NOISE:.0%} is allowed for states."
            + ("" if self.is_quiet else " Encode in float32.")
        )


def measure_noise(
    encoder: CarbonStateEncoder, windows: NDArray[np.uint8], snvs: Sequence[Sequence[RelEdit]] | None = None
) -> NoiseFloor:
    """Measure an encoder on windows (B, L) of ASCII bases.

    snvs: single edits of each window; None draws eight a window, uniformly and the same each time. Every window and
    every edited window is encoded alone, in one batch with the others, and through the shared-prefix pass with all its
    edits, each pooled at the edit. Cost: two full passes for each window and edit.
    Raises `EncoderSettingsError` where the pooling cannot share a prefix.
    """
    encoder.require_linear_pooling()
    if snvs is None:
        snvs = [drawn_snvs(window, index) for index, window in enumerate(windows)]
    floor, signals = 0.0, []
    for window, edits in zip(windows, snvs, strict=True):
        loci = [edit.rel_pos for edit in edits]
        shared = encode_window(encoder, window, [[edit] for edit in edits], np.array(loci) // BASES_PER_TOKEN)
        whole = np.stack([window, *(apply_edits_array(window, [edit]) for edit in edits)])
        pooled_at = [loci[0], *loci]
        ways = [
            torch.stack([encoder.encode(one, locus).cpu() for one, locus in zip(whole, pooled_at, strict=True)]),
            encoder.encode_batch(whole, pooled_at).cpu(),
            torch.cat([shared.reference[:1], shared.targets]),
        ]
        floor = max(floor, *(float((one - other).norm(dim=1).max()) for one, other in combinations(ways, 2)))
        signals.append((shared.targets - shared.reference).norm(dim=1))
    signal = torch.cat(signals)
    return NoiseFloor(encoder.contract.dtype, floor, float(signal.median()), len(signal))


def drawn_snvs(window: NDArray[np.uint8], seed: int) -> list[RelEdit]:
    """`SNVS_A_WINDOW` SNVs of a window (L,) of ASCII bases, drawn uniformly, the same for the same seed."""
    rows = uniform_snv(window, SNVS_A_WINDOW, np.random.default_rng(seed)).iter_rows()
    return [RelEdit(at, EditType.SNV, ref, alt) for at, ref, alt in rows]
