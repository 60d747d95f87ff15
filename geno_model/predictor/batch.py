"""The tensors that the world model takes: one packed batch of states and chains of edits.

Belongs here: the batch value and the two ways to make one, from freshly encoded windows and from columns of a state
shard. Both go through `collate`, so scoring and training cannot drift apart.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields

import numpy as np
import polars as pl
import torch
from numpy.typing import NDArray
from torch import Tensor

from geno_model.encoder.shared_prefix import EncodedWindow
from geno_model.genomics.edits import RelEdit
from geno_model.genomics.tokens import allele_tokens


@dataclass(frozen=True, slots=True)
class ModelBatch:
    """B rows of up to K edits. Integers are int64; padded steps are False in `mask` and zero elsewhere.

    state (B, d) unit; pool_token (B,); mask (B, K); rel_pos (B, K) 0-based bp in the window; edit_type (B, K);
    ref_tokens, alt_tokens (B, K, 4) and ref_lengths, alt_lengths (B, K) bp; tokens_before, tokens_after (B, K, 4);
    locus (B, K, 5, d); shift (B, K, 3 d), or (B, K, 0) unless the context is `pool`.
    """

    state: Tensor
    pool_token: Tensor
    mask: Tensor
    rel_pos: Tensor
    edit_type: Tensor
    ref_tokens: Tensor
    ref_lengths: Tensor
    alt_tokens: Tensor
    alt_lengths: Tensor
    tokens_before: Tensor
    tokens_after: Tensor
    locus: Tensor
    shift: Tensor

    def rows(self, index: Tensor) -> ModelBatch:
        """The rows of `index`, without steps that none of them has."""
        n_steps = int(self.mask[index].sum(dim=1).max())
        parts = {}
        for field in fields(self):
            value: Tensor = getattr(self, field.name)[index]
            parts[field.name] = value if field.name in ("state", "pool_token") else value[:, :n_steps]
        return ModelBatch(**parts)

    def to(self, device: torch.device) -> ModelBatch:
        """The same on another device."""
        return ModelBatch(**{field.name: getattr(self, field.name).to(device) for field in fields(self)})


@dataclass(frozen=True, slots=True)
class EditColumns:
    """sum(K) edits as columns, row by row: what `collate` scatters into (B, K)."""

    rel_pos: Tensor
    edit_type: Tensor
    ref_tokens: Tensor
    ref_lengths: Tensor
    alt_tokens: Tensor
    alt_lengths: Tensor
    tokens_before: Tensor
    tokens_after: Tensor
    locus: Tensor
    shift: Tensor


def edit_columns(
    rel_pos: NDArray[np.integer],
    edit_type: NDArray[np.integer],
    ref: Sequence[str] | pl.Series,
    alt: Sequence[str] | pl.Series,
    tokens_before: Tensor,
    tokens_after: Tensor,
    locus: Tensor,
    shift: Tensor,
) -> EditColumns:
    """Tokenise the alleles and put everything in tensors."""
    ref_tokens, ref_lengths = allele_tokens(ref)
    alt_tokens, alt_lengths = allele_tokens(alt)

    def tensor(values: NDArray[np.integer]) -> Tensor:
        return torch.from_numpy(np.asarray(values).astype(np.int64))

    return EditColumns(
        rel_pos=tensor(rel_pos),
        edit_type=tensor(edit_type),
        ref_tokens=tensor(ref_tokens),
        ref_lengths=tensor(ref_lengths),
        alt_tokens=tensor(alt_tokens),
        alt_lengths=tensor(alt_lengths),
        tokens_before=tokens_before,
        tokens_after=tokens_after,
        locus=locus,
        shift=shift,
    )


def collate(state: Tensor, pool_token: Tensor, n_steps: Tensor, edits: EditColumns) -> ModelBatch:
    """Scatter sum(K) edits into (B, K): state (B, d), pool_token (B,), n_steps (B,) the K of each row."""
    mask = torch.arange(int(n_steps.max()))[None, :] < n_steps[:, None]
    scattered = {field.name: scatter_steps(getattr(edits, field.name), mask) for field in fields(edits)}
    return ModelBatch(state=state, pool_token=pool_token, mask=mask, **scattered)


def scatter_steps(values: Tensor, mask: Tensor) -> Tensor:
    """sum(K) values (sumK, ...) row by row into (B, K, ...), zero where `mask` (B, K) is False."""
    grid = torch.zeros((mask.numel(), *values.shape[1:]), dtype=values.dtype)
    grid.index_copy_(0, mask.reshape(-1).nonzero()[:, 0], values)
    return grid.view(*mask.shape, *values.shape[1:])


def model_batch(
    encoded: EncodedWindow, chains: Sequence[Sequence[RelEdit]], pool_tokens: NDArray[np.integer]
) -> ModelBatch:
    """The batch of one encoded window: B = number of chains."""
    edits = [edit for chain in chains for edit in chain]
    columns = edit_columns(
        np.array([edit.rel_pos for edit in edits]),
        np.array([int(edit.edit_type) for edit in edits]),
        [edit.ref_bases for edit in edits],
        [edit.alt_bases for edit in edits],
        encoded.tokens_before,
        encoded.tokens_after,
        encoded.locus,
        encoded.shift,
    )
    n_steps = torch.tensor([len(chain) for chain in chains])
    return collate(encoded.reference, torch.from_numpy(np.asarray(pool_tokens).astype(np.int64)), n_steps, columns)
