"""WSD learning-rate schedule and AdamW parameter groups (spec 4, "Optimiser and schedule")."""

from __future__ import annotations

import torch
from torch import nn

WARMUP_STEPS = 2_000
WARMUP_SHARE = 0.02
DECAY_SHARE = 0.18
FINAL_SHARE = 0.02


def wsd(step: int, n_steps: int) -> float:
    """Learning-rate factor at `step` (0-based): linear warm-up, stable, linear to 10 %, then to 1 %."""
    warmup = max(1, min(WARMUP_STEPS, round(WARMUP_SHARE * n_steps)))
    final_start = n_steps * (1 - FINAL_SHARE)
    decay_start = final_start - n_steps * DECAY_SHARE
    if step < warmup:
        return (step + 1) / warmup
    if step < decay_start:
        return 1.0
    if step < final_start:
        return 1.0 - 0.9 * (step - decay_start) / (final_start - decay_start)
    return 0.1 - 0.09 * (step - final_start) / (n_steps - final_start)


def adamw(model: nn.Module, learning_rate: float) -> torch.optim.AdamW:
    """AdamW (0.9, 0.95), eps 1e-8, weight decay 0.05; none on LayerNorm, biases and embedding tables."""
    tables = {id(module.weight) for module in model.modules() if isinstance(module, nn.Embedding | nn.LayerNorm)}
    decayed, kept = [], []
    for parameter in model.parameters():
        if parameter.requires_grad:
            (decayed if parameter.ndim >= 2 and id(parameter) not in tables else kept).append(parameter)
    groups = [{"params": decayed, "weight_decay": 0.05}, {"params": kept, "weight_decay": 0.0}]
    return torch.optim.AdamW(groups, lr=learning_rate, betas=(0.9, 0.95), eps=1e-8, fused=True)
