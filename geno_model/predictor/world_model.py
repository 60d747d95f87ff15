"""The world model: action encoder and predictor joined, saved and loaded as one (spec 4).

On disk: `predictor.safetensors`, `action_encoder.safetensors` and `model.json` (sizes). The encoder's six-mer
embeddings are not saved: they come from the encoder, whose identity the state contract holds.
"""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Literal

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from geno_model.encoder.state_contract import Context
from geno_model.genomics.errors import InputError
from geno_model.predictor.action_encoder import ActionConfig, ActionEncoder
from geno_model.predictor.batch import ModelBatch, model_batch
from geno_model.predictor.predictor import Predictor, PredictorConfig

__all__ = ["ModelBatch", "ModelConfig", "WorldModel", "model_batch", "model_config"]

Size = Literal["demo", "small", "base"]


@dataclass(frozen=True, slots=True)
class ModelConfig:
    """Sizes of both parts."""

    action: ActionConfig
    predictor: PredictorConfig


def model_config(size: Size, d_state: int, context: Context) -> ModelConfig:
    """The sizes of spec 4: `base` about 40 M parameters, `small` about 22 M, `demo` for the embedded encoder."""
    d_shift = 3 * d_state if context == "pool" else 0
    if size == "demo":  # some thousand rows are all it has to learn from, hence the dropout (RFC 0002)
        action = ActionConfig(d_state, context, d_action=256, d_seq=64, d_context=64, d_mlp=512, dropout=0.25)
        return ModelConfig(action, PredictorConfig(d_state, action.d_action, 256, dropout=0.25, d_shift=d_shift))
    action = ActionConfig(d_state, context)
    d_hidden = 768 if size == "small" else 1_024
    return ModelConfig(action, PredictorConfig(d_state, action.d_action, d_hidden, d_shift=d_shift))


class WorldModel(nn.Module):
    """A batch of states and edits to predicted states."""

    def __init__(self, config: ModelConfig, sixmer_embeddings: Tensor) -> None:
        super().__init__()
        self.config = config
        self.action_encoder = ActionEncoder(config.action, sixmer_embeddings)
        self.predictor = Predictor(config.predictor)

    def forward(self, batch: ModelBatch) -> Tensor:
        """Predicted unit states after edits 1..k: (B, K, d_state)."""
        return self.predictor(batch.state, self.action_encoder(batch), batch.pool_token, batch.shift)

    @torch.inference_mode()
    def predict(self, batch: ModelBatch) -> Tensor:
        """The trajectory of each row, `forward` without gradient and in evaluation mode: (B, K, d_state)."""
        return self.eval()(batch)

    def predict_single(self, batch: ModelBatch) -> Tensor:
        """The states after the edit of each row: (B, d_state). Rows of several edits are refused."""
        n_steps = batch.mask.shape[1]
        if n_steps != 1:
            raise ValueError(f"predict_single takes rows of one edit, got up to {n_steps}: use predict_haplotype")
        return self.predict(batch)[:, 0]

    def predict_haplotype(self, batch: ModelBatch) -> Tensor:
        """The state after all edits of each row: (B, d_state)."""
        last = batch.mask.sum(dim=1) - 1
        return self.predict(batch)[torch.arange(len(last), device=last.device), last]

    def n_parameters(self) -> dict[str, int]:
        """Trainable parameters of each part."""
        parts = {"action_encoder": self.action_encoder, "predictor": self.predictor}
        return {name: sum(p.numel() for p in part.parameters() if p.requires_grad) for name, part in parts.items()}

    def save(self, folder: Path) -> None:
        """Write the three files into an existing folder (the caller builds that folder under a temporary name)."""
        save_file(self.predictor.state_dict(), folder / "predictor.safetensors")
        save_file(self.action_encoder.state_dict(), folder / "action_encoder.safetensors")
        (folder / "model.json").write_text(json.dumps(asdict(self.config), sort_keys=True, indent=1) + "\n")

    @classmethod
    def load(cls, folder: Path, sixmer_embeddings: Tensor) -> WorldModel:
        """Read what `save` wrote. Raises `InputError` where a file is missing or does not fit."""
        try:
            values = json.loads((folder / "model.json").read_text())
            config = ModelConfig(ActionConfig(**values["action"]), PredictorConfig(**values["predictor"]))
            model = cls(config, sixmer_embeddings)
            model.predictor.load_state_dict(load_file(folder / "predictor.safetensors"))
            model.action_encoder.load_state_dict(load_file(folder / "action_encoder.safetensors"))
        except (OSError, ValueError, KeyError, TypeError, RuntimeError) as error:
            raise InputError(
                f"{folder}: no usable model there ({str(error).splitlines()[0]}); give the folder of a release"
            ) from error
        return model.eval()
