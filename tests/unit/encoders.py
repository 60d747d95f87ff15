"""Small encoders with random weights, shared by the tests."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from geno_model.encoder.carbon import CarbonStateEncoder, save_encoder
from geno_pipeline.build.pretraining import PretrainSettings, new_model

WINDOW_BP = 3_072  # twice the 256 tokens that must remain right of an edit for the right side to be cut


def settings(**changes: Any) -> dict[str, Any]:
    """State contract fields for a short window; `changes` replace some."""
    fields: dict[str, Any] = {
        "window_bp": WINDOW_BP,
        "stride_bp": 2_048,
        "fit_side": "right",
        "layer": -1,
        "pooling": "centered_mean",
        "radius_tokens": 16,
        "normalise": True,
        "dtype": "float32",
        "context": "locus",
    }
    return fields | changes


def tiny_encoder(folder: Path, seed: int = 0, **changes: Any) -> CarbonStateEncoder:
    """A random Llama of width 32 and two layers, written to `folder` and loaded from it."""
    if not folder.exists():
        model = new_model(
            PretrainSettings(32, 2, 4, n_steps=1, batch_size=1, learning_rate=1e-3, seed=seed, time_budget_s=None)
        )
        for parameter in model.parameters():  # weights of 0.02 make hidden states that hardly depend on the input
            if parameter.ndim == 2:
                parameter.data *= 8
        save_encoder(model, folder)
    return CarbonStateEncoder.load(folder, settings(**changes))


def random_window(seed: int, length: int = WINDOW_BP) -> NDArray[np.uint8]:
    """ASCII bases, uniform over A, C, G, T."""
    return np.frombuffer(b"ACGT", dtype=np.uint8)[np.random.default_rng(seed).integers(4, size=length)]
