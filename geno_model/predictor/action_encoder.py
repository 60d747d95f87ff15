"""An edit as a vector: position, type, alleles, and what the frozen encoder knows at the locus (spec 1).

Five sub-encoders are concatenated and projected. Four are the seeds' (RFC-0003 section 3.4); the fifth, `context`, is
the locus channel, with four settings: `none`, `sixmer` (input embeddings of the six-mers at the locus before
and after the edit), `locus` (`sixmer` and the reference hidden states around its token) and `pool` (`locus` and
the shift of the pool after this edit and those before it in the chain, RFC 0006).
Alleles enter injectively: A-padded six-mer ids plus the true length (pitfall 14).
Not here: how the tensors of a batch are made (`batch`).
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from geno_model.encoder.shared_prefix import LOCUS_SPANS, LOCUS_TOKENS
from geno_model.encoder.state_contract import Context
from geno_model.genomics.edits import V1_MAX_LEN
from geno_model.genomics.tokens import N_COMPACT
from geno_model.predictor.batch import ModelBatch

N_EDIT_TYPES = 6
SMALLEST_SHIFT = 1e-8  # of a state of length 1; an edit right of its pool moves nothing


@dataclass(frozen=True, slots=True)
class ActionConfig:
    """Widths of the action encoder; the defaults are the RFC's."""

    d_state: int
    context: Context
    d_action: int = 512
    d_pos: int = 128
    d_type: int = 64
    d_seq: int = 256
    d_context: int = 128  # width of each of the nine context slots, and half of that of the shift
    d_mlp: int = 1024
    dropout: float = 0.0


def sinusoidal(positions: Tensor, width: int) -> Tensor:
    """Sinusoidal encoding (..., width) of positions (...), wavelengths 2 pi to 10,000 * 2 pi."""
    rates = torch.exp(torch.arange(0, width, 2, device=positions.device) * (-math.log(10_000.0) / width))
    angles = positions[..., None].float() * rates
    return torch.cat([angles.sin(), angles.cos()], dim=-1)


class AlleleEncoder(nn.Module):
    """Four six-mer tokens and the true length of an allele to one vector; shared by ref and alt (SeqMicroEncoder)."""

    def __init__(self, d_seq: int) -> None:
        super().__init__()
        self.tokens = nn.Embedding(N_COMPACT, d_seq)
        self.lengths = nn.Embedding(V1_MAX_LEN + 1, d_seq)
        self.slots = nn.Parameter(torch.randn(LOCUS_TOKENS, d_seq) * 0.02)
        layer = nn.TransformerEncoderLayer(
            d_seq, 4, d_seq // 2, dropout=0.0, activation="gelu", batch_first=True, norm_first=True
        )
        self.transformer = nn.TransformerEncoder(layer, 2, enable_nested_tensor=False)

    def forward(self, tokens: Tensor, lengths: Tensor) -> Tensor:
        """tokens (N, 4), lengths (N,) -> (N, d_seq).

        In training each distinct allele is computed once (most are one base). In use all are: how many are distinct
        depends on the company, and the last bits would with it.
        """
        if not self.training:
            embedded = self.tokens(tokens) + self.slots + self.lengths(lengths[:, None])
            return self.transformer(embedded).mean(dim=1)
        distinct, index = torch.unique(torch.cat([tokens, lengths[:, None]], dim=1), dim=0, return_inverse=True)
        embedded = self.tokens(distinct[:, :-1]) + self.slots + self.lengths(distinct[:, -1:])
        return self.transformer(embedded).mean(dim=1)[index]


class LocusEncoder(nn.Module):
    """The `context` sub-encoder: six-mers before and after the edit, locus states, shift of the pool, all projected."""

    def __init__(self, config: ActionConfig, sixmer_embeddings: Tensor) -> None:
        super().__init__()
        self.with_states = config.context in ("locus", "pool")
        self.with_shift = config.context == "pool"
        # The frozen encoder's own table: part of the encoder's identity, so not saved with our weights.
        self.register_buffer(
            "sixmers", nn.functional.layer_norm(sixmer_embeddings, sixmer_embeddings.shape[1:]), persistent=False
        )
        self.tokens = nn.Linear(2 * config.d_state, config.d_context)
        self.states = nn.ModuleList(
            nn.Sequential(nn.LayerNorm(config.d_state), nn.Linear(config.d_state, config.d_context))
            for _ in LOCUS_SPANS
        )
        self.shift = nn.Linear(3 * config.d_state + 1, 2 * config.d_context) if self.with_shift else None
        n_slots = LOCUS_TOKENS + (len(LOCUS_SPANS) if self.with_states else 0) + (2 if self.with_shift else 0)
        self.d_out = config.d_context * n_slots

    def forward(self, before: Tensor, after: Tensor, locus: Tensor, shift: Tensor) -> Tensor:
        """before, after (N, 4) compact ids, locus (N, 5, d_state), shift (N, 3 d_state) -> (N, d_out)."""
        table: Tensor = self.get_buffer("sixmers")
        old, new = table[before], table[after]
        parts = [self.tokens(torch.cat([old + new, new - old], dim=-1)).flatten(1)]
        if self.with_states:
            parts += [project(locus[:, index]) for index, project in enumerate(self.states)]
        if self.shift is not None:
            # A frame shift moves the pool ten times as far as one base: direction and size apart, both near 1.
            size = shift.norm(dim=-1, keepdim=True).clamp(min=SMALLEST_SHIFT)
            parts.append(self.shift(torch.cat([shift / size * shift.shape[-1] ** 0.5, size.log()], dim=-1)))
        return torch.cat(parts, dim=-1)


class ActionEncoder(nn.Module):
    """Edits of a batch to actions (B, K, d_action); padded steps hold a learned padding embedding."""

    def __init__(self, config: ActionConfig, sixmer_embeddings: Tensor) -> None:
        super().__init__()
        self.config = config
        self.types = nn.Embedding(N_EDIT_TYPES, config.d_type)
        self.alleles = AlleleEncoder(config.d_seq)
        self.context = None if config.context == "none" else LocusEncoder(config, sixmer_embeddings)
        d_joined = config.d_pos + config.d_type + 2 * config.d_seq + (self.context.d_out if self.context else 0)
        self.project = nn.Sequential(
            nn.LayerNorm(d_joined),
            nn.Dropout(config.dropout),
            nn.Linear(d_joined, config.d_mlp),
            nn.GELU(),
            nn.Dropout(config.dropout),
            nn.Linear(config.d_mlp, config.d_action),
            nn.Dropout(config.dropout),
        )
        self.padding = nn.Parameter(torch.zeros(config.d_action))

    def forward(self, batch: ModelBatch) -> Tensor:
        """One vector an edit: (B, K, d_action)."""
        mask = batch.mask
        n_edits = int(mask.sum())
        alleles = self.alleles(
            torch.cat([batch.ref_tokens[mask], batch.alt_tokens[mask]]),
            torch.cat([batch.ref_lengths[mask], batch.alt_lengths[mask]]),
        )
        parts = [
            sinusoidal(batch.rel_pos[mask], self.config.d_pos),
            self.types(batch.edit_type[mask]),
            alleles[:n_edits],
            alleles[n_edits:],
        ]
        if self.context is not None:
            tokens = batch.tokens_before[mask], batch.tokens_after[mask]
            parts.append(self.context(*tokens, batch.locus[mask], batch.shift[mask]))
        actions = self.padding.expand(*mask.shape, -1).clone()
        actions[mask] = self.project(torch.cat(parts, dim=-1)).to(actions.dtype)
        return actions
