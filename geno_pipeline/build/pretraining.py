"""Pretrain the small embedded encoder: a causal Llama over six-mers, on the training windows (spec 2, "Weights").

The architecture is Carbon's, the vocabulary its DNA part alone in the same order (compact numbering). It is written as
a Hugging Face folder and loaded by `CarbonStateEncoder` like any other. Held-out windows are never seen.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import polars as pl
import torch

from geno_model.encoder.carbon import save_encoder
from geno_model.encoder.pooling import BASES_PER_TOKEN
from geno_model.files import replacing_folder
from geno_model.genomics.genome import Genome
from geno_model.genomics.tokens import DNA_CLOSE, DNA_OPEN, N_COMPACT, sixmer_ids
from geno_model.training.step import has_fast_bfloat16

if TYPE_CHECKING:  # see `suffix`
    from transformers import LlamaForCausalLM

VOCAB_SIZE = N_COMPACT + 8  # eight rows of padding, as in Carbon
ROPE_THETA = 500_000.0
WARMUP_SHARE = 0.03
LOG_EVERY = 10


@dataclass(frozen=True, slots=True)
class PretrainSettings:
    """Size and length of a pretraining run: it ends after `n_steps`, or when a given `time_budget_s` is used up.

    Only a run without a time budget is reproducible to the byte.
    """

    hidden: int
    n_layers: int
    n_heads: int
    n_steps: int
    batch_size: int
    learning_rate: float
    seed: int
    time_budget_s: float | None


@dataclass(frozen=True, slots=True)
class PretrainResult:
    """`history`: mean next-six-mer cross entropy in nats over the last ten steps; ln 4,096 = 8.318 is chance.

    arithmetic: of the matrix products, `bfloat16` or `float32`.
    """

    history: list[tuple[int, float]]
    n_steps: int
    n_tokens: int
    n_parameters: int
    seconds: float
    arithmetic: str


def new_model(settings: PretrainSettings) -> LlamaForCausalLM:
    """A Llama with random weights from the seed, SwiGLU three times as wide as the hidden size, tied embeddings."""
    from transformers import LlamaConfig, LlamaForCausalLM

    torch.manual_seed(settings.seed)
    config = LlamaConfig(
        vocab_size=VOCAB_SIZE,
        hidden_size=settings.hidden,
        intermediate_size=3 * settings.hidden,
        num_hidden_layers=settings.n_layers,
        num_attention_heads=settings.n_heads,
        num_key_value_heads=max(1, settings.n_heads // 2),
        max_position_embeddings=8_192,
        rope_parameters={"rope_type": "default", "rope_theta": ROPE_THETA},
        tie_word_embeddings=True,
        bos_token_id=DNA_OPEN,
        eos_token_id=DNA_CLOSE,
    )
    return LlamaForCausalLM(config)


def training_batches(genome: Genome, windows: pl.DataFrame, batch_size: int, seed: int) -> Iterator[torch.Tensor]:
    """Endless batches (B, T) of compact ids: halves of windows in random order, each in a random one of the six phases.

    Half a window trains a third faster on a CPU than a whole one, and rotary positions carry over to the whole.
    """
    contigs, starts, ends = (windows[name].to_list() for name in ("contig", "start_bp", "end_bp"))
    rng = np.random.default_rng(seed)
    while True:
        order = rng.permutation(windows.height)
        for first in range(0, len(order), batch_size):
            rows = order[first : first + batch_size]
            half_bp = (ends[0] - starts[0]) // 2 // BASES_PER_TOKEN * BASES_PER_TOKEN
            offsets = rng.integers(half_bp, size=len(rows))
            bases = [
                genome.window(contigs[row], starts[row] + offset, starts[row] + offset + half_bp)
                for row, offset in zip(rows, offsets, strict=True)
            ]
            ids = torch.from_numpy(sixmer_ids(np.stack(bases)).astype(np.int64))
            yield torch.cat([torch.full((len(ids), 1), DNA_OPEN), ids], dim=1)


def pretrain(
    genome: Genome,
    windows: pl.DataFrame,
    settings: PretrainSettings,
    folder: Path,
    progress: Callable[[int], None] | None = None,
) -> PretrainResult:
    """Train on the windows that hold no holdout tag and write the encoder folder, replacing an older one.

    progress: told the number of steps done, once before the first. The arithmetic is that which this CPU does fast
    (`has_fast_bfloat16`), so weights differ between machines that have bfloat16 and those that do not.
    """
    started, is_bf16 = time.monotonic(), has_fast_bfloat16()
    torch.use_deterministic_algorithms(True)
    model = new_model(settings).train()
    optimiser = torch.optim.AdamW(model.parameters(), lr=settings.learning_rate, betas=(0.9, 0.95), weight_decay=0.05)
    history: list[tuple[int, float]] = []
    losses: list[float] = []
    n_tokens = step = 0
    tell = progress or (lambda n_done: None)
    tell(0)
    for ids in training_batches(genome, windows.filter(pl.col("holdout") == ""), settings.batch_size, settings.seed):
        elapsed = time.monotonic() - started
        done = step / settings.n_steps if settings.time_budget_s is None else elapsed / settings.time_budget_s
        if done >= 1 or step >= settings.n_steps:
            break
        for group in optimiser.param_groups:
            group["lr"] = settings.learning_rate * _rate(done)
        with torch.autocast("cpu", dtype=torch.bfloat16, enabled=is_bf16):
            loss = model(input_ids=ids, labels=ids).loss
        optimiser.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimiser.step()
        step += 1
        n_tokens += ids.numel()
        losses.append(float(loss.detach()))
        if step % LOG_EVERY == 0 or step == settings.n_steps:
            recent = losses[-LOG_EVERY:]
            history.append((step, sum(recent) / len(recent)))
        tell(step)
    with replacing_folder(folder) as temporary:
        save_encoder(model, temporary)
    n_parameters = sum(parameter.numel() for parameter in model.parameters())
    arithmetic = "bfloat16" if is_bf16 else "float32"
    return PretrainResult(history, step, n_tokens, n_parameters, time.monotonic() - started, arithmetic)


def _rate(done: float) -> float:
    """Linear warm-up, then a cosine to 5 %; `done` is the share of the run that has passed."""
    if done < WARMUP_SHARE:
        return (done + 1e-3) / (WARMUP_SHARE + 1e-3)
    return 0.05 + 0.95 * (1 + math.cos(math.pi * (done - WARMUP_SHARE) / (1 - WARMUP_SHARE))) / 2
