"""Carbon: a frozen Llama DNA language model in a local Hugging Face folder, as a state encoder (spec 2).

The same class loads Carbon of any size and the small encoder that the pipeline pretrains; there is no second loading
path, no remote code and no network. DNA is tokenised by `geno_model.genomics.tokens` in the compact numbering
(`<dna>` = 0); `dna_offset` turns compact ids into the ids of the folder's own vocabulary.
The model and all tensors that come from it lie on one device; states come back where the model is.
Not here: what a folder must hold (`folder`), how several edits of a window share one pass (`shared_prefix`), how likely
DNA is (`likelihood`), whether a number type is exact enough (`noise`).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from geno_model.encoder.folder import (
    CARBON_VOCAB_SIZE,
    EncoderFolderError,
    check_weights,
    compact_vocabulary,
    dna_offset,
    encoder_hash,
    load_attention_pooling,
    load_weights,
    read_config,
    save_encoder,
)
from geno_model.encoder.pool_shift import measure_sixmer_states
from geno_model.encoder.pooling import BASES_PER_TOKEN, AttentionPooling, centered_sums, pool_bounds, unit
from geno_model.encoder.state_contract import ContractMismatchError, StateContract
from geno_model.encoder.suffix import suffix_hidden_states
from geno_model.genomics.errors import InputError
from geno_model.genomics.tokens import DNA_CLOSE, DNA_OPEN, N_COMPACT, sixmer_ids

if TYPE_CHECKING:  # see `suffix`
    from transformers import LlamaConfig, LlamaForCausalLM
    from transformers.cache_utils import Cache

__all__ = [
    "CARBON_VOCAB_SIZE",
    "CarbonStateEncoder",
    "EncoderFolderError",
    "EncoderSettingsError",
    "compact_vocabulary",
    "encoder_hash",
    "load_encoder",
    "save_encoder",
]

CHUNK_TOKENS = 128  # more is no faster on a CPU, and a window is run to the end of a chunk


class EncoderSettingsError(InputError):
    """A setting that this encoder, or the way it is asked to run, cannot follow."""


class CarbonStateEncoder:
    """Windows of DNA to L2-normalised float32 states (B, d_state), by a frozen causal Llama."""

    def __init__(
        self,
        model: LlamaForCausalLM,
        dna_offset: int,
        contract: StateContract,
        attention_pooling: AttentionPooling | None = None,
    ) -> None:
        self.model = model.eval().requires_grad_(False)
        self.dna_offset = dna_offset
        self.contract = contract
        self.n_tokens_run = 0
        if attention_pooling is not None:
            attention_pooling = attention_pooling.to(self.device).requires_grad_(False)
        self._attention_pooling = attention_pooling
        self._sixmer_states: Tensor | None = None

    @property
    def device(self) -> torch.device:
        """Where the model is."""
        return self.model.device

    def to(self, device: torch.device) -> None:
        """Bring the model to a device. Whether that gives the CPU's numbers is for the caller (`scoring.device`)."""
        torch.nn.Module.to(self.model, device)
        if self._attention_pooling is not None:
            self._attention_pooling.to(device)

    @classmethod
    def load(cls, folder: Path, settings: dict[str, Any]) -> CarbonStateEncoder:
        """Load a local folder in the arithmetic of `settings["dtype"]`, whatever type its weights are stored in.

        settings: the fields of `StateContract` without `encoder_hash`. The model is on the CPU.
        Raises `EncoderFolderError` where the folder holds no such model, `ContractValueError` for settings that no
        state can follow, and `EncoderSettingsError` for those that this model or machine cannot.
        """
        contract = StateContract(**settings, encoder_hash="")
        config = read_config(folder)
        check_weights(folder, config)
        offset = dna_offset(folder, config.vocab_size)
        _check_limits(folder, config, contract)
        contract = replace(contract, encoder_hash=encoder_hash(folder, contract.dtype, contract.pooling))
        pooling = load_attention_pooling(folder, config.hidden_size) if contract.pooling == "attention" else None
        return cls(_load_model(folder, config, contract.dtype), offset, contract, pooling)

    @property
    def encoder_hash(self) -> str:
        """SHA-256 identity of the weights, config, tokenizer files and dtype."""
        return self.contract.encoder_hash

    @property
    def d_state(self) -> int:
        """Length of a state vector: the model's hidden size."""
        return int(self.model.config.hidden_size)

    def sixmer_embeddings(self) -> Tensor:
        """The frozen input embeddings of the DNA tokens in compact numbering: (4099, d_state) float32."""
        table = self.model.get_parameter("model.embed_tokens.weight")
        return table[self.dna_offset : self.dna_offset + N_COMPACT].detach().float().clone()

    def sixmer_states(self) -> Tensor:
        """The mean hidden state of each DNA token, (4099, d_state): measured at the first call if nobody gave it."""
        if self._sixmer_states is None:
            self._sixmer_states = measure_sixmer_states(self)
        return self._sixmer_states

    def set_sixmer_states(self, table: Tensor) -> None:
        """Take a table (4099, d_state) that was measured before (`pool_shift.load_sixmer_states`)."""
        self._sixmer_states = table

    def require_linear_pooling(self) -> None:
        """Raise `EncoderSettingsError` unless a pool is a plain mean, which the shared-prefix pass is built on."""
        if self._attention_pooling is not None:
            raise EncoderSettingsError(
                "the pooling is 'attention', whose weights depend on every token of a pool, so the edits of a window "
                "cannot share a pass; use encode_batch, or pool by centered_mean"
            )

    def full_pass(self, compact_ids: Tensor, *, with_last: bool = True) -> tuple[Tensor, Tensor | None, Cache]:
        """For compact ids (T,): hidden states (T, d) float32 of the contract's layer; what the head reads, (T, d)
        in the type of the model, or None if nobody asks and it is not at hand; and the cache of keys and values.

        On a CPU `CHUNK_TOKENS` at a time, so that a token's numbers do not depend on how many follow it: a matrix of
        another height may be multiplied in another order. Raises `EncoderSettingsError` where the pooling allows no
        shared prefix, which the cache is for.
        """
        from transformers.cache_utils import DynamicCache

        self.require_linear_pooling()
        if self.device.type != "cpu":
            hidden, last, cache = self._run(compact_ids[None], self.contract.layer, use_cache=True)
            return hidden[0], last[0], cache
        self.n_tokens_run += compact_ids.numel()
        cache = DynamicCache(config=self.model.config)
        parts = []
        with torch.inference_mode():
            for start in range(0, len(compact_ids), CHUNK_TOKENS):
                ids = compact_ids[None, start : start + CHUNK_TOKENS] + self.dna_offset
                before = torch.tensor([start - 1])  # `<dna>` is no DNA token
                parts.append(
                    suffix_hidden_states(
                        self.model, ids, before, cache, self.contract.layer, with_last=with_last, grow=True
                    )
                )
        hidden, last = zip(*parts, strict=True)
        whole_last = None if last[0] is None else torch.cat(last, dim=1)[0]
        return torch.cat(hidden, dim=1)[0].float(), whole_last, cache

    def hidden_states_of(self, compact_ids: Tensor, layer: int) -> Tensor:
        """Hidden states (B, T, d) float32 of a layer (-1: after the final norm) for compact ids (B, T), no cache."""
        return self._run(compact_ids, layer, use_cache=False)[0]

    def _run(self, compact_ids: Tensor, layer: int, **options: Any) -> tuple[Tensor, Tensor, Any]:
        self.n_tokens_run += compact_ids.numel()
        with torch.inference_mode():
            out = self.model.model(
                input_ids=compact_ids.to(self.device) + self.dna_offset, output_hidden_states=layer != -1, **options
            )
        hidden = out.last_hidden_state if layer == -1 else out.hidden_states[layer]
        return hidden.float(), out.last_hidden_state, out.past_key_values

    def encode(self, window: NDArray[np.uint8], edit_locus: int | None = None) -> Tensor:
        """State (d_state,) of one window of ASCII bases; `edit_locus` is a 0-based bp offset, None pools globally."""
        return self.encode_batch(window[None], None if edit_locus is None else [edit_locus])[0]

    def encode_batch(self, windows: NDArray[np.uint8], edit_loci: Sequence[int] | None = None) -> Tensor:
        """States (B, d_state) of windows (B, window_bp), each run in full: the oracle of the fast way.

        edit_loci: 0-based bp in the window; None, and `global_mean` always, pool over the whole window.
        """
        ids = torch.from_numpy(sixmer_ids(windows).astype(np.int64))
        control = torch.full((len(ids), 1), DNA_OPEN)
        closed = torch.cat([control, ids, torch.full_like(control, DNA_CLOSE)], dim=1)
        dna_hidden = self.hidden_states_of(closed, self.contract.layer)[:, 1:-1]  # DNA token t sits at t + 1
        n_tokens = ids.shape[1]
        if edit_loci is None or self.contract.pooling == "global_mean":
            low, high = torch.zeros(len(ids), dtype=torch.long), torch.full((len(ids),), n_tokens)
        else:
            low, high = pool_bounds(torch.tensor(edit_loci) // BASES_PER_TOKEN, n_tokens, self.contract.radius_tokens)
        pool = self._attention_pooling or centered_sums
        return unit(torch.stack([pool(row, low[i : i + 1], high[i : i + 1])[0] for i, row in enumerate(dna_hidden)]))


def load_encoder(folder: Path, contract: StateContract) -> CarbonStateEncoder:
    """The encoder of `folder`, refused (`ContractMismatchError`) unless it is the very one that `contract` names."""
    settings = contract.to_dict()
    settings.pop("encoder_hash")
    encoder = CarbonStateEncoder.load(folder, settings)
    if encoder.encoder_hash != contract.encoder_hash:
        raise ContractMismatchError(
            f"{folder} holds encoder {encoder.encoder_hash[:12]}, "
            f"but the model was built on {contract.encoder_hash[:12]}: give the folder of that encoder"
        )
    return encoder


def _check_limits(folder: Path, config: LlamaConfig, contract: StateContract) -> None:
    """Refuse a layer that the model does not have and a window that is longer than what it was trained on."""
    if -contract.layer > config.num_hidden_layers:
        raise EncoderSettingsError(
            f"{folder}: layer is {contract.layer}, but the model has {config.num_hidden_layers} layers; "
            "take a layer nearer to the last, -1"
        )
    n_tokens = contract.window_bp // BASES_PER_TOKEN + 2  # <dna> and </dna>
    if n_tokens > config.max_position_embeddings:
        raise EncoderSettingsError(
            f"{folder}: a window of {contract.window_bp:,} bp is {n_tokens:,} tokens, the model reads at most "
            f"{config.max_position_embeddings:,}; take a shorter window"
        )


def _load_model(folder: Path, config: LlamaConfig, dtype: str) -> LlamaForCausalLM:
    """The model on the CPU. `check_weights` has said that every tensor is there, so nothing is made up.

    transformers gets config and tensors, never the folder, in which it would look for more by itself: an adapter, other
    weights that the config names, settings.
    """
    from transformers import LlamaForCausalLM
    from transformers.utils import logging

    logging.disable_progress_bar()  # its bars would run through ours
    try:
        return LlamaForCausalLM.from_pretrained(
            None,
            config=config,
            state_dict=load_weights(folder),
            dtype=getattr(torch, dtype),
            attn_implementation="sdpa",
        )
    except (OSError, ValueError, RuntimeError) as error:
        raise EncoderFolderError(f"{folder}: the encoder cannot be loaded ({str(error).splitlines()[0]})") from error
