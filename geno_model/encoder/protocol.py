"""What an encoder must offer to stand in for Carbon (spec 2, "Contract"). Nothing is computed here.

Belongs here: the protocol that training, scoring and evaluation may rely on. Does not: what only Carbon has (its
hidden states, its likelihoods, the pass that edits of one window share).
"""

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
        """SHA-256 over weights, config, tokenizer files and dtype, and over the weights of a learned pooling."""
        ...

    @property
    def d_state(self) -> int:
        """Length of a state vector."""
        ...

    def encode(self, window: NDArray[np.uint8], edit_locus: int | None = None) -> Tensor:
        """State (d_state,) of one window of ASCII bases, pooled at `edit_locus` (0-based bp in the window).

        Float32 and of norm 1 whatever `contract.dtype` is; without a locus, and with `global_mean`, the pool is the
        whole window.
        """
        ...

    def encode_batch(self, windows: NDArray[np.uint8], edit_loci: Sequence[int] | None = None) -> Tensor:
        """States (B, d_state) of windows (B, window_bp), as `encode` gives them one by one (pitfall 23)."""
        ...
