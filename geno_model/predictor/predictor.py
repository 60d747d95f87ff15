"""The predictor: where a chain of edits takes a state (spec 4).

    s_hat_k = normalize(s_t + W shift_k + output_scale * delta(s_t, a_1..a_k))

Four cross-attention blocks alternate state <- action and action <- state, two self-attention blocks follow;
pre-LayerNorm, GELU. Causal throughout: what is predicted for step k sees actions 1..k only (pitfall 15). The last
layer of the output MLP starts at zero, so an untrained predictor says "no change" exactly (pitfall 7).
`W shift_k` is what follows to first order from the six-mers that edits 1..k put into the pool (`pool_shift`, RFC 0006).
W starts at zero, is solved by least squares before training and trained along; it is there with the context `pool`.

Two ways to the same numbers: `forward` takes whole chains; `start` and `step` take one edit at a time and remember the
keys and values of the steps before (`Prefix`), so that one prefix can be continued by many candidates.
Under autocast the blocks run in bfloat16; the residual stream, the norms and the state stay float32.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import NamedTuple, cast

import torch
from torch import Tensor, nn
from torch.nn.functional import linear, normalize, scaled_dot_product_attention

from geno_model.predictor.action_encoder import sinusoidal

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
    max_steps: int = MAX_STEPS  # each step has an embedding
    d_shift: int = 0  # width of `shift`: 0 unless the context is `pool`


class Memory(NamedTuple):
    """What a block looks at: keys and values, each (B, n_heads, M, d_hidden / n_heads)."""

    keys: Tensor
    values: Tensor

    def join(self, later: Memory) -> Memory:
        """This memory and what came after it."""
        return Memory(torch.cat([self.keys, later.keys], dim=2), torch.cat([self.values, later.values], dim=2))

    def rows(self, index: Tensor) -> Memory:
        """The memories of the rows of `index`."""
        return Memory(self.keys[index], self.values[index])


@dataclass(frozen=True, slots=True)
class Prefix:
    """B chains of edits as far as they have come; never changed in place, so that each can be continued in many ways.

    state (B, d_state) where the chains start; slot (B, d_hidden) the state token without its step; memories: one a
    block, empty before the first step.
    """

    state: Tensor
    slot: Tensor
    n_steps: int
    memories: tuple[Memory, ...]

    def rows(self, index: Tensor) -> Prefix:
        """The chains of `index` (N,) int64; a chain named n times can be continued in n ways."""
        memories = tuple(memory.rows(index) for memory in self.memories)
        return Prefix(self.state[index], self.slot[index], self.n_steps, memories)


class Block(nn.Module):
    """Pre-LayerNorm attention from `queries` to `memory`, then a feed-forward layer, both residual."""

    def __init__(self, config: PredictorConfig) -> None:
        super().__init__()
        d_hidden = config.d_hidden
        self.n_heads = config.n_heads
        self.norm_queries = nn.LayerNorm(d_hidden)
        self.norm_memory = nn.LayerNorm(d_hidden)
        self.query = nn.Linear(d_hidden, d_hidden)
        self.key = nn.Linear(d_hidden, d_hidden)
        self.value = nn.Linear(d_hidden, d_hidden)
        self.output = nn.Linear(d_hidden, d_hidden)
        self.feed_forward = nn.Sequential(
            nn.LayerNorm(d_hidden),
            nn.Linear(d_hidden, d_hidden),
            nn.GELU(),
            nn.Linear(d_hidden, d_hidden),
            nn.Dropout(config.dropout),
        )

    def forward(self, queries: Tensor, memory: Tensor, visible: Tensor | None = None) -> Tensor:
        """queries (B, Q, d), memory (B, M, d), visible (Q, M) True where a query may look; None is everywhere.

        Attention to a single token is that token's value, whatever query and key are: they are not computed.
        """
        if memory.shape[1] == 1:
            return self._add(queries, self.value(self.norm_memory(memory)))
        if memory.shape[1] == 2 and visible is None:
            return self._add(queries, self._between(self.norm_queries(queries), self.norm_memory(memory)))
        return self.read(queries, self.remember(memory), visible)

    def remember(self, memory: Tensor) -> Memory:
        """Keys and values of tokens (B, M, d)."""
        normed = self.norm_memory(memory)
        return Memory(self._heads(self.key(normed)), self._heads(self.value(normed)))

    def read(self, queries: Tensor, memory: Memory, visible: Tensor | None = None) -> Tensor:
        """What `forward` gives, from keys and values; without `visible` (Q, M) every query looks at all of them."""
        asked = self._heads(self.query(self.norm_queries(queries)))
        attended = scaled_dot_product_attention(asked, memory.keys, memory.values, attn_mask=visible)
        return self._add(queries, attended.transpose(1, 2).flatten(2))

    def _between(self, queries: Tensor, memory: Tensor) -> Tensor:
        """Attention of normed queries (B, Q, d) to two normed tokens (B, 2, d).

        The softmax of two scores is the sigmoid of their difference, so one key, that of the difference, is enough.
        """
        heads = self.n_heads, -1
        key = linear(memory[:, 0] - memory[:, 1], self.key.weight)
        score = (self.query(queries) * key[:, None]).unflatten(2, heads).sum(dim=3, keepdim=True)
        share = torch.sigmoid(score * (key.shape[1] // self.n_heads) ** -0.5)  # (B, Q, n_heads, 1)
        first, second = self.value(memory)[:, :, None].unflatten(3, heads).unbind(1)
        return (second + share * (first - second)).flatten(2)

    def _heads(self, tokens: Tensor) -> Tensor:
        return tokens.unflatten(2, (self.n_heads, -1)).transpose(1, 2)

    def _add(self, queries: Tensor, attended: Tensor) -> Tensor:
        queries = queries + self.output(attended)
        return queries + self.feed_forward(queries)


Attend = Callable[[Block, Tensor, Tensor], Tensor]


class Predictor(nn.Module):
    """State (B, d_state) and actions (B, K, d_action) to predicted unit states (B, K, d_state)."""

    def __init__(self, config: PredictorConfig) -> None:
        super().__init__()
        self.config = config
        d = config.d_hidden
        self.state_in = nn.Sequential(nn.LayerNorm(config.d_state), nn.Linear(config.d_state, d))
        self.action_in = nn.Linear(config.d_action, d)
        self.token_types = nn.Parameter(torch.randn(2, d) * 0.02)
        self.steps = nn.Parameter(torch.randn(config.max_steps, d) * 0.02)
        self.cross = nn.ModuleList(Block(config) for _ in range(N_CROSS_BLOCKS))
        self.self_attention = nn.ModuleList(Block(config) for _ in range(N_SELF_BLOCKS))
        self.out = nn.Sequential(nn.LayerNorm(d), nn.Linear(d, d), nn.GELU(), nn.Linear(d, config.d_state))
        last = self.out[-1]
        assert isinstance(last, nn.Linear)
        nn.init.zeros_(last.weight)
        nn.init.zeros_(last.bias)
        # RMS of ||s_next - s_t|| over the training rows; set once before training, saved with the weights (spec 4).
        self.register_buffer("output_scale", torch.ones(()))
        self.first_order = nn.Linear(config.d_shift, config.d_state, bias=False) if config.d_shift else None
        if self.first_order is not None:
            nn.init.zeros_(self.first_order.weight)

    def forward(self, state: Tensor, actions: Tensor, pool_token: Tensor, shift: Tensor) -> Tensor:
        """Predicted states after edits 1..k for every k: (B, K, d_state), norm 1.

        state (B, d_state), actions (B, K, d_action), pool_token (B,), shift (B, K, d_shift). Padded steps need no mask:
        they lie right of the real ones, and nothing looks to the right.
        """
        n_steps = actions.shape[1]
        causal = torch.ones(n_steps, n_steps, dtype=torch.bool, device=state.device).tril()

        def attend(block: Block, queries: Tensor, memory: Tensor) -> Tensor:
            if n_steps == 1:
                return block(queries, memory)
            times = queries.shape[1] // n_steps, memory.shape[1] // n_steps  # 2 where slots and actions are joined
            return block(queries, memory, causal.repeat(times))

        slots = self._blocks(self._slot(state, pool_token), actions, 0, attend)
        return self._moved(state[:, None], slots, shift)

    def start(self, state: Tensor, pool_token: Tensor) -> Prefix:
        """Chains without an edit yet: state (B, d_state), pool_token (B,)."""
        return Prefix(state, self._slot(state, pool_token), 0, ())

    def step(self, prefix: Prefix, action: Tensor, shift: Tensor) -> tuple[Tensor, Prefix]:
        """One more edit to each chain: action (B, d_action), shift (B, d_shift) of the whole chain so far.

        Returns the states after it (B, d_state) and the longer chains.
        """
        past, memories = iter(prefix.memories), list[Memory]()

        def attend(block: Block, queries: Tensor, memory: Tensor) -> Tensor:
            new = block.remember(memory)
            memories.append(next(past).join(new) if prefix.memories else new)
            return block.read(queries, memories[-1])

        slots = self._blocks(prefix.slot, action[:, None], prefix.n_steps, attend)
        longer = Prefix(prefix.state, prefix.slot, prefix.n_steps + 1, tuple(memories))
        return self._moved(prefix.state, slots[:, 0], shift), longer

    def rollout(self, state: Tensor, actions: Tensor, pool_token: Tensor, shift: Tensor) -> Tensor:
        """`forward`, step by step: same arguments, same numbers."""
        prefix, states = self.start(state, pool_token), list[Tensor]()
        for action, moved in zip(actions.unbind(1), shift.unbind(1), strict=True):
            predicted, prefix = self.step(prefix, action, moved)
            states.append(predicted)
        return torch.stack(states, dim=1)

    def _slot(self, state: Tensor, pool_token: Tensor) -> Tensor:
        """The state token without its step: (B, d_hidden)."""
        return self.state_in(state) + sinusoidal(pool_token, self.config.d_hidden) + self.token_types[0]

    def _blocks(self, slot: Tensor, actions: Tensor, first_step: int, attend: Attend) -> Tensor:
        """All blocks over K new steps: slot (B, d_hidden), actions (B, K, d_action) to slots (B, K, d_hidden)."""
        n_steps = actions.shape[1]
        if first_step + n_steps > self.config.max_steps:
            raise ValueError(
                f"a chain of {first_step + n_steps} edits was given; the predictor takes at most "
                f"{self.config.max_steps}: split the chain"
            )
        steps = self.steps[first_step : first_step + n_steps]
        slots = slot[:, None] + steps
        acts = self.action_in(actions) + self.token_types[1] + steps
        for index, block in enumerate(cast("Iterable[Block]", self.cross)):
            if index % 2 == 0:
                slots = attend(block, slots, acts)
            else:
                acts = attend(block, acts, slots)
        tokens = torch.cat([slots, acts], dim=1)
        *blocks, last = cast("Iterable[Block]", self.self_attention)
        for block in blocks:
            tokens = attend(block, tokens, tokens)
        return attend(last, tokens[:, :n_steps], tokens)  # nothing reads what the actions would become

    def _moved(self, state: Tensor, slots: Tensor, shift: Tensor) -> Tensor:
        """States (..., d_state) moved as slots (..., d_hidden) and shift say; float32 whatever the blocks ran in."""
        delta = self.out(slots).float() * self.get_buffer("output_scale")
        if self.first_order is not None:
            delta = delta + linear(shift.float(), self.first_order.weight.float())
        return normalize(state.float() + delta, dim=-1)
