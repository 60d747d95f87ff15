"""The predictor: where a chain of edits takes a state (spec 4).

    s_hat_k = normalize(s_t + output_scale * gain_k * delta(s_t, a_1..a_k))

Four cross-attention blocks alternate state <- action and action <- state, two self-attention blocks follow;
pre-LayerNorm, GELU. Causal throughout: what is predicted for step k sees actions 1..k only (pitfall 15). The last
layer of the output MLP starts at zero, so an untrained predictor says "no change" exactly (pitfall 7).
`gain_k` is fitted once after training, on windows held back from it: how far a prediction for this type of edit
is to be believed (RFC 0002). A chain is believed no further than its least predictable edit.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from geno_model.predictor.action_encoder import N_EDIT_TYPES, sinusoidal

MAX_STEPS = 16
N_CROSS_BLOCKS = 4
N_SELF_BLOCKS = 2


@dataclass(frozen=True, slots=True)
class PredictorConfig:
    """Widths of the predictor. The feed-forward layers are as wide as the hidden size (spec 4, sizes)."""

    d_state: int
    d_action: int
    d_hidden: int
    n_heads: int = 8
    dropout: float = 0.0


class Block(nn.Module):
    """Pre-LayerNorm attention from `queries` to `memory`, then a feed-forward layer, both residual."""

    def __init__(self, config: PredictorConfig) -> None:
        super().__init__()
        d_hidden, n_heads = config.d_hidden, config.n_heads
        self.norm_queries = nn.LayerNorm(d_hidden)
        self.norm_memory = nn.LayerNorm(d_hidden)
        self.attention = nn.MultiheadAttention(d_hidden, n_heads, batch_first=True)
        self.feed_forward = nn.Sequential(
            nn.LayerNorm(d_hidden),
            nn.Linear(d_hidden, d_hidden),
            nn.GELU(),
            nn.Linear(d_hidden, d_hidden),
            nn.Dropout(config.dropout),
        )

    def forward(self, queries: Tensor, memory: Tensor, hidden_from: Tensor) -> Tensor:
        """queries (B, Q, d), memory (B, M, d), hidden_from (Q, M) True where a query must not look."""
        keys = self.norm_memory(memory)
        attended, _ = self.attention(self.norm_queries(queries), keys, keys, attn_mask=hidden_from, need_weights=False)
        queries = queries + attended
        return queries + self.feed_forward(queries)


class Predictor(nn.Module):
    """State (B, d_state) and actions (B, K, d_action) to predicted unit states (B, K, d_state)."""

    def __init__(self, config: PredictorConfig) -> None:
        super().__init__()
        self.config = config
        d = config.d_hidden
        self.state_in = nn.Sequential(nn.LayerNorm(config.d_state), nn.Linear(config.d_state, d))
        self.action_in = nn.Linear(config.d_action, d)
        self.token_types = nn.Parameter(torch.randn(2, d) * 0.02)
        self.steps = nn.Parameter(torch.randn(MAX_STEPS, d) * 0.02)
        self.cross = nn.ModuleList(Block(config) for _ in range(N_CROSS_BLOCKS))
        self.self_attention = nn.ModuleList(Block(config) for _ in range(N_SELF_BLOCKS))
        self.out = nn.Sequential(nn.LayerNorm(d), nn.Linear(d, d), nn.GELU(), nn.Linear(d, config.d_state))
        last = self.out[-1]
        assert isinstance(last, nn.Linear)
        nn.init.zeros_(last.weight)
        nn.init.zeros_(last.bias)
        # RMS of ||s_next - s_t|| over the training rows; set once before training, saved with the weights (spec 4).
        self.register_buffer("output_scale", torch.ones(()))
        self.register_buffer("gain", torch.ones(N_EDIT_TYPES))

    def forward(self, state: Tensor, actions: Tensor, pool_token: Tensor, edit_type: Tensor) -> Tensor:
        """Predicted states after edits 1..k for every k: (B, K, d_state), norm 1.

        Padded steps need no mask: they lie right of the real ones, and nothing looks to the right.
        """
        n_steps = actions.shape[1]
        if n_steps > MAX_STEPS:
            raise ValueError(
                f"a chain of {n_steps} edits was given; the predictor takes at most {MAX_STEPS}: split the chain"
            )
        centre = sinusoidal(pool_token, self.config.d_hidden)
        steps = self.steps[:n_steps]
        slots = (self.state_in(state) + centre + self.token_types[0])[:, None] + steps
        acts = self.action_in(actions) + self.token_types[1] + steps
        later = torch.ones(n_steps, n_steps, dtype=torch.bool, device=state.device).triu(1)
        for index, block in enumerate(self.cross):
            if index % 2 == 0:
                slots = block(slots, acts, later)
            else:
                acts = block(acts, slots, later)
        tokens = torch.cat([slots, acts], dim=1)
        for block in self.self_attention:
            tokens = block(tokens, tokens, later.repeat(2, 2))
        gain = self.get_buffer("gain")[edit_type].cummin(dim=1).values
        delta = self.out(tokens[:, :n_steps]).float() * self.get_buffer("output_scale") * gain[..., None]
        return nn.functional.normalize(state[:, None] + delta, dim=-1)
