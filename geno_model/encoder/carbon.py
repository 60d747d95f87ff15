"""Carbon: a frozen Llama DNA language model in a local Hugging Face folder, as a state encoder (spec 2).

The same class loads Carbon-500M and the small encoder that the pipeline pretrains; there is no second loading path, no
remote code and no network. DNA is tokenised by `geno_model.genomics.tokens` in the compact numbering (`<dna>` = 0);
`dna_offset` turns compact ids into the ids of the folder's own vocabulary.
Not here: how several edits of a window share one pass (`shared_prefix`).
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from transformers import LlamaForCausalLM
from transformers.cache_utils import Cache
from transformers.utils import logging as transformers_logging

from geno_model.encoder.pooling import BASES_PER_TOKEN, centered_sums, pool_bounds, unit
from geno_model.encoder.state_contract import ContractMismatchError, StateContract
from geno_model.genomics.errors import InputError
from geno_model.genomics.tokens import CARBON_DNA_OPEN, DNA_CLOSE, DNA_OPEN, N_COMPACT, sixmer_ids

CARBON_VOCAB_SIZE = 155_776
transformers_logging.disable_progress_bar()  # its bars would run through ours
_CONTROL_TOKENS = ("<dna>", "</dna>", "<oov>")
_BASE_ORDER = "ATCG"


class EncoderFolderError(InputError):
    """A folder that does not hold a usable encoder."""


def compact_vocabulary() -> dict[str, int]:
    """Token text -> compact id: the three control tokens, then the 4,096 six-mers in base 4, order A, T, C, G."""
    bases = np.array(list(_BASE_ORDER))
    digits = np.arange(4**BASES_PER_TOKEN)[:, None] // 4 ** np.arange(BASES_PER_TOKEN - 1, -1, -1) % 4
    sixmers = ["".join(row) for row in bases[digits]]
    return {token: index for index, token in enumerate([*_CONTROL_TOKENS, *sixmers])}


def save_encoder(model: LlamaForCausalLM, folder: Path) -> None:
    """Write a Llama with the compact DNA vocabulary as a Hugging Face folder (safetensors, config, tokenizer.json).

    Written under a temporary name and renamed. Raises `EncoderFolderError` if `folder` exists.
    """
    if folder.exists():
        raise EncoderFolderError(f"{folder} exists already: an encoder folder is never overwritten; remove it first")
    temporary = folder.with_name(f".{folder.name}.{os.getpid()}.tmp")
    model.save_pretrained(temporary)
    tokenizer = {"version": "1.0", "model": {"type": "WordLevel", "unk_token": "<oov>", "vocab": compact_vocabulary()}}
    (temporary / "tokenizer.json").write_text(json.dumps(tokenizer, indent=0))
    os.replace(temporary, folder)


def _dna_offset(folder: Path, vocab_size: int) -> int:
    """Id of `<dna>` in the folder's vocabulary, after checking that the DNA tokens follow it in Carbon's order."""
    path = folder / "tokenizer.json"
    try:
        vocabulary: dict[str, int] = json.loads(path.read_text())["model"]["vocab"]
    except (OSError, ValueError, KeyError) as error:
        raise EncoderFolderError(
            f"{path}: no readable Hugging Face tokenizer there ({error}); fetch the encoder again"
        ) from error
    if "<dna>" not in vocabulary:  # Carbon's own files list the text tokens only; its DNA ids are fixed (data README)
        if vocab_size == CARBON_VOCAB_SIZE:
            return CARBON_DNA_OPEN
        raise EncoderFolderError(
            f"{path}: no <dna> token, and the model's vocabulary is {vocab_size}, not Carbon's {CARBON_VOCAB_SIZE}"
        )
    offset = vocabulary["<dna>"]
    wrong = [token for token, index in compact_vocabulary().items() if vocabulary.get(token) != offset + index]
    if wrong:
        raise EncoderFolderError(
            f"{path}: {len(wrong)} DNA tokens are not where Carbon's order puts them (first: {wrong[0]})"
        )
    return offset


def encoder_hash(folder: Path, dtype: str) -> str:
    """SHA-256 over (name, SHA-256) of weight shards, config and tokenizer files, and the dtype (spec 2, "Identity")."""
    total = hashlib.sha256()
    for path in sorted(folder.iterdir()):
        if path.suffix == ".safetensors" or path.name == "config.json" or path.name.startswith("tokenizer"):
            with path.open("rb") as handle:
                total.update(f"{path.name}\0{hashlib.file_digest(handle, 'sha256').hexdigest()}\n".encode())
    total.update(dtype.encode())
    return total.hexdigest()


class CarbonStateEncoder:
    """Windows of DNA to L2-normalised float32 states (B, d_state), by a frozen causal Llama."""

    def __init__(self, model: LlamaForCausalLM, dna_offset: int, contract: StateContract) -> None:
        self.model = model.eval().requires_grad_(False)
        self.dna_offset = dna_offset
        self.contract = contract
        self.n_tokens_run = 0

    @classmethod
    def load(cls, folder: Path, settings: dict[str, Any]) -> CarbonStateEncoder:
        """Load a local folder. `settings` are the fields of `StateContract` without `encoder_hash`.

        Raises `EncoderFolderError` where the folder holds no such model.
        """
        if not (folder / "config.json").is_file():
            raise EncoderFolderError(
                f"{folder}: no encoder there (config.json is missing); give the folder of a Llama DNA model"
            )
        contract = StateContract(**settings, encoder_hash=encoder_hash(folder, settings["dtype"]))
        try:
            model = LlamaForCausalLM.from_pretrained(
                folder, local_files_only=True, dtype=torch.float32, attn_implementation="sdpa"
            )
        except (OSError, ValueError, RuntimeError) as error:
            raise EncoderFolderError(
                f"{folder}: the encoder cannot be loaded ({str(error).splitlines()[0]})"
            ) from error
        return cls(model, _dna_offset(folder, model.config.vocab_size), contract)

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

    def hidden_states(
        self, compact_ids: Tensor, past: Cache | None = None, **positions: Tensor
    ) -> tuple[Tensor, Cache]:
        """Hidden states (B, T, d) of the contract's layer for compact ids (B, T), and the keys/values cache."""
        self.n_tokens_run += compact_ids.numel()
        with torch.inference_mode():
            out = self.model.model(
                input_ids=compact_ids + self.dna_offset,
                past_key_values=past,
                use_cache=True,
                output_hidden_states=self.contract.layer != -1,
                **positions,
            )
        hidden = out.last_hidden_state if self.contract.layer == -1 else out.hidden_states[self.contract.layer]
        return hidden.float(), out.past_key_values

    def encode(self, window: NDArray[np.uint8], edit_locus: int | None = None) -> Tensor:
        """State (d_state,) of one window of ASCII bases; `edit_locus` is a 0-based bp offset, None pools globally."""
        return self.encode_batch(window[None], None if edit_locus is None else [edit_locus])[0]

    def encode_batch(self, windows: NDArray[np.uint8], edit_loci: Sequence[int] | None = None) -> Tensor:
        """States (B, d_state) of windows (B, window_bp), each run in full: the oracle of the fast way."""
        ids = torch.from_numpy(sixmer_ids(windows).astype(np.int64))
        control = torch.full((len(ids), 1), DNA_OPEN)
        hidden, _ = self.hidden_states(torch.cat([control, ids, torch.full_like(control, DNA_CLOSE)], dim=1))
        dna_hidden = hidden[:, 1:-1]  # hidden index 0 is <dna>: DNA token t sits at t + 1
        n_tokens = ids.shape[1]
        if edit_loci is None:
            low, high = torch.zeros(len(ids), dtype=torch.long), torch.full((len(ids),), n_tokens)
        else:
            low, high = pool_bounds(torch.tensor(edit_loci) // BASES_PER_TOKEN, n_tokens, self.contract.radius_tokens)
        pooled = [centered_sums(row, low[i : i + 1], high[i : i + 1])[0] for i, row in enumerate(dna_hidden)]
        return unit(torch.stack(pooled))


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
