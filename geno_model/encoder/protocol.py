"""What an encoder must offer to stand in for Carbon (spec 2, "Contract"). Nothing is computed here."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from geno_model.encoder.state_contract import StateContract


@runtime_checkable
class StateEncoder(Protocol):
    """A frozen map from DNA windows to unit vectors."""

    @property
    def contract(self) -> StateContract:
        """The settings that decide what a state of this encoder is."""
        ...

    @property
    def encoder_hash(self) -> str:
        """SHA-256 over weights, config, tokenizer files and dtype."""
        ...

    @property
    def d_state(self) -> int:
        """Length of a state vector."""
        ...

    def encode(self, window: NDArray[np.uint8], edit_locus: int | None = None) -> Tensor:
        """State (d_state,) float32 of one window of ASCII bases, pooled at `edit_locus` (0-based bp in the window)."""
        ...

    def encode_batch(self, windows: NDArray[np.uint8], edit_loci: Sequence[int] | None = None) -> Tensor:
        """States (B, d_state) float32 of windows (B, window_bp); a batch of one equals a batch of many."""
        ...
