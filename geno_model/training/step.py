"""The loss of a batch (spec 4, "Loss", "Small numbers"), and which arithmetic is fast here.

Belongs here: running the model on a batch and comparing. Does not: which rows are in it (`balance`), the optimiser's
step (`loop`).
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from geno_model.predictor.batch import ModelBatch
from geno_model.predictor.world_model import WorldModel
from geno_model.training.objective import raw_loss


def has_fast_bfloat16() -> bool:
    """Whether this machine's CPU multiplies bfloat16 in hardware (AVX512-BF16 or AMX).

    Others emulate it: a backward pass takes ten times as long as in float32 on a CPU that has AVX2 alone.
    """
    capabilities = torch.cpu.get_capabilities()
    return bool(capabilities.get("avx512_bf16") or capabilities.get("amx_bf16"))


def batch_loss(model: WorldModel, rows: ModelBatch, targets: Tensor, naive: Tensor, *, bf16: bool = False) -> Tensor:
    """Mean over rows of their loss divided by `naive` (B,), that of no change for their kind of row.

    targets (B, K, d). Rows of one edit and rows of several go through the model apart, so that padding to the longest
    chain costs nothing. With `bf16` the model's blocks run under autocast; states and loss are float32.
    """
    n_edits = rows.mask.sum(dim=1)
    groups = [index for index in ((n_edits == 1).nonzero()[:, 0], (n_edits > 1).nonzero()[:, 0]) if len(index)]
    parts = [rows.rows(index) for index in groups]
    with torch.autocast(rows.state.device.type, dtype=torch.bfloat16, enabled=bf16):
        predictions = [model(part) for part in parts]
    losses = [
        raw_loss(predicted.float(), targets[index, : part.mask.shape[1]], part.mask) / naive[index]
        for predicted, part, index in zip(predictions, parts, groups, strict=True)
    ]
    return torch.cat(losses).sum() / len(n_edits)


class BatchLoss(nn.Module):
    """`batch_loss` as a module, which is what several processes share the gradient of."""

    def __init__(self, model: WorldModel, *, bf16: bool) -> None:
        super().__init__()
        self.model = model
        self.bf16 = bf16

    def forward(self, rows: ModelBatch, targets: Tensor, naive: Tensor) -> Tensor:
        """Loss of a batch, a scalar."""
        return batch_loss(self.model, rows, targets, naive, bf16=self.bf16)
