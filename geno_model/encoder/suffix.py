"""Hidden states of edited suffixes that share one reference prefix (spec 2, "Causality").

Belongs here: running tokens through the layers of a Llama whose keys and values left of an edit are those of the
reference pass. Does not: which suffixes there are and what is pooled (`shared_prefix`).

The concept: a token of a suffix attends to the reference tokens left of its edit and to its own suffix. Both parts are
plain attention, one without a mask and one causal, and their sum of exponentials (lse) says how to mix them:

    keys      reference 0 ......... first | suffix first .. t        softmax over both =
    part 1    ============================|                          sigmoid(lse1 - lse2) of part 1
    part 2                                |================          and the rest of part 2

So the reference's keys and values are read where they lie: nothing is copied for each edit, nothing is masked away.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import Tensor

if TYPE_CHECKING:  # transformers takes seconds to load: who has no model, as most of the pipeline, does without
    from transformers import LlamaForCausalLM
    from transformers.cache_utils import Cache, DynamicLayer
    from transformers.models.llama.modeling_llama import LlamaAttention

_cpu_attention = torch.ops.aten._scaled_dot_product_flash_attention_for_cpu


def suffix_hidden_states(
    model: LlamaForCausalLM,
    ids: Tensor,
    first: Tensor,
    cache: Cache,
    layer: int,
    *,
    with_last: bool = False,
    grow: bool = False,
) -> tuple[Tensor, Tensor | None]:
    """Hidden states (n, T, d) of n suffixes, in the model's dtype; with_last: and those that the head reads, or None.

    ids: (n, T) ids of the model's vocabulary, padded on the right with any id: no token sees what follows it.
    first: (n,) DNA token index of each suffix's first token; it sees `<dna>` and the tokens before `first`.
    cache: keys and values of the reference window, `<dna>` first. layer: -1 is the last, after the final norm; -2 the
    output of the last but one layer, and so on (spec 2). grow: keep the keys and values of the one suffix in the cache,
    of the layers that are run.
    """
    from transformers.cache_utils import DynamicLayer
    from transformers.models.llama.modeling_llama import LlamaDecoderLayer

    llama = model.model
    hidden = llama.embed_tokens(ids)
    positions = first[:, None] + 1 + torch.arange(ids.shape[1], device=ids.device)
    cosine_sine = llama.rotary_emb(hidden, position_ids=positions)
    n_prefix = (first + 1).tolist()
    n_wanted = len(llama.layers) + 1 + layer
    wanted = hidden
    for number, (block, kept) in enumerate(zip(llama.layers, cache.layers, strict=True), start=1):
        if number > n_wanted and not with_last:
            break
        assert isinstance(block, LlamaDecoderLayer) and isinstance(kept, DynamicLayer)
        attended = _attend(block.self_attn, block.input_layernorm(hidden), cosine_sine, kept, n_prefix, grow=grow)
        hidden = hidden + attended
        hidden = hidden + block.mlp(block.post_attention_layernorm(hidden))
        if number == n_wanted:
            wanted = hidden
    last = llama.norm(hidden) if with_last or layer == -1 else None
    return (last if layer == -1 and last is not None else wanted), last


def bytes_per_token(model: LlamaForCausalLM) -> tuple[int, int]:
    """Memory of a token: its keys and values in all layers, and what is alive at once while it passes a layer."""
    config = model.config
    head_dim = int(config.head_dim or config.hidden_size // config.num_attention_heads)
    n_heads, n_key_heads = (
        int(config.num_attention_heads),
        int(config.num_key_value_heads or config.num_attention_heads),
    )
    kept = 2 * config.num_hidden_layers * n_key_heads * head_dim
    passing = 3 * config.hidden_size + max(8 * n_heads * head_dim, 3 * config.intermediate_size)
    return kept * model.dtype.itemsize, passing * model.dtype.itemsize


def _attend(
    attention: LlamaAttention,
    hidden: Tensor,
    cosine_sine: tuple[Tensor, Tensor],
    kept: DynamicLayer,
    n_prefix: list[int],
    *,
    grow: bool,
) -> Tensor:
    """The attention of one layer for normalised hidden states (n, T, d)."""
    from transformers.models.llama.modeling_llama import apply_rotary_pos_emb

    n, n_tokens, _ = hidden.shape
    heads = (n, n_tokens, -1, attention.head_dim)
    query, key, value = (
        project(hidden).view(heads).transpose(1, 2)
        for project in (attention.q_proj, attention.k_proj, attention.v_proj)
    )
    query, key = apply_rotary_pos_emb(query, key, *cosine_sine)
    n_groups = attention.num_key_value_groups
    own, own_lse = _attention(query, *(part.repeat_interleave(n_groups, dim=1) for part in (key, value)), causal=True)
    if max(n_prefix) > 0:
        own = _with_prefix(query, kept, n_prefix, own, own_lse)
    if grow:
        kept.update(key, value)
    return attention.o_proj(own.transpose(1, 2).reshape(n, n_tokens, -1))


def _with_prefix(query: Tensor, kept: DynamicLayer, n_prefix: list[int], own: Tensor, own_lse: Tensor) -> Tensor:
    """Attention to the reference's tokens left of each suffix mixed into `own`, that to the suffix alone."""
    n, _, n_tokens, head_dim = query.shape
    assert kept.keys is not None and kept.values is not None
    n_key_heads = kept.keys.shape[1]
    # Without a mask the heads that share a key head are just more queries of it: no key is repeated.
    grouped = query.reshape(n, n_key_heads, -1, head_dim)
    parts = [
        _attention(grouped[i : i + 1], kept.keys[:, :, :length], kept.values[:, :, :length], causal=False)
        for i, length in enumerate(n_prefix)
    ]
    before = torch.cat([out for out, _ in parts]).view(own.shape)
    before_lse = torch.cat([lse for _, lse in parts]).view(own_lse.shape)
    share = torch.sigmoid(before_lse - own_lse)[..., None].to(own.dtype)
    return torch.lerp(own, before, share)


def _attention(query: Tensor, key: Tensor, value: Tensor, *, causal: bool) -> tuple[Tensor, Tensor]:
    """Attention (n, heads, T, head_dim) and the logarithm of its sums of exponentials (n, heads, T), scale 1/sqrt."""
    if query.device.type == "cpu":
        return _cpu_attention(query, key, value, 0.0, causal)
    return plain_attention(query, key, value, causal=causal)


def plain_attention(query: Tensor, key: Tensor, value: Tensor, *, causal: bool) -> tuple[Tensor, Tensor]:
    """The same in operators that every device has; it holds all scores at once."""
    scores = (query @ key.transpose(-1, -2)).float() / query.shape[-1] ** 0.5
    if causal:
        later = torch.ones(scores.shape[-2:], dtype=torch.bool, device=scores.device).triu(1)
        scores = scores.masked_fill(later, float("-inf"))
    lse = scores.logsumexp(dim=-1)
    return (scores - lse[..., None]).exp().to(value.dtype) @ value, lse
