"""Small encoders with random weights, shared by the tests."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors.torch import save_file
from transformers import LlamaConfig, LlamaForCausalLM

from geno_model.encoder.carbon import CARBON_VOCAB_SIZE, CarbonStateEncoder, save_encoder
from geno_model.genomics.edits import EditType, RelEdit
from geno_pipeline.build.pretraining import PretrainSettings, new_model

WINDOW_BP = 3_072


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


def snv(window: NDArray[np.uint8], position: int) -> RelEdit:
    """An SNV that fits an ASCII window at a 0-based place in it."""
    ref = chr(window[position])
    return RelEdit(position, EditType.SNV, ref, "ACGT"["ACGT".index(ref) - 1])


def hub_config(hidden: int = 16, n_layers: int = 4, n_heads: int = 4, **changes: Any) -> dict[str, Any]:
    """A config.json as the Hub has Carbon's: its vocabulary, rope_theta on its own, tied embeddings, bf16."""
    return {
        "architectures": ["LlamaForCausalLM"],
        "model_type": "llama",
        "vocab_size": CARBON_VOCAB_SIZE,
        "hidden_size": hidden,
        "intermediate_size": 3 * hidden,
        "num_hidden_layers": n_layers,
        "num_attention_heads": n_heads,
        "num_key_value_heads": n_heads // 2,
        "head_dim": hidden // n_heads,
        "hidden_act": "silu",
        "rms_norm_eps": 1e-5,
        "rope_theta": 500_000.0,
        "max_position_embeddings": 8_192,
        "tie_word_embeddings": True,
        "torch_dtype": "bfloat16",
    } | changes


def write_hub_folder(folder: Path, config: dict[str, Any], *, n_files: int = 1, scale: float = 0.2) -> None:
    """A Llama of random weights as the Hub holds Carbon: bf16 safetensors, one file or several and their index.

    The tokenizer lists text tokens only, one of which reads like a six-mer. scale: standard deviation of the weights.
    """
    folder.mkdir(parents=True)
    (folder / "config.json").write_text(json.dumps(config))
    text = {"hello": 0, "AAAAAA": 151_000, "<|last_text|>": 151_668}
    (folder / "tokenizer.json").write_text(json.dumps({"model": {"type": "BPE", "vocab": text}, "added_tokens": []}))
    with torch.device("meta"):
        shapes = {k: v.shape for k, v in LlamaForCausalLM(LlamaConfig.from_dict(config)).state_dict().items()}
    generator = torch.Generator().manual_seed(0)
    tensors = {
        name: torch.ones(shape, dtype=torch.bfloat16)
        if len(shape) == 1
        else torch.empty(shape, dtype=torch.bfloat16).normal_(0, scale, generator=generator)
        for name, shape in shapes.items()
        if name != "lm_head.weight"
    }
    if n_files == 1:
        save_file(tensors, folder / "model.safetensors", metadata={"format": "pt"})
        return
    weight_map = {name: f"model-{i % n_files + 1:05d}-of-{n_files:05d}.safetensors" for i, name in enumerate(tensors)}
    for file in set(weight_map.values()):
        part = {name: tensors[name] for name, place in weight_map.items() if place == file}
        save_file(part, folder / file, metadata={"format": "pt"})
    (folder / "model.safetensors.index.json").write_text(json.dumps({"metadata": {}, "weight_map": weight_map}))
