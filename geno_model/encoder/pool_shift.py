"""What an edit does to the six-mers of a pool: a first guess at the next state (RFC 0006).

Belongs here: the mean hidden state of every six-mer, and how far the pool moves if each six-mer stood at its mean.
Does not: real hidden states (`carbon`, `shared_prefix`), what a predictor makes of the guess.

The concept: a pooled state is a mean over tokens, and an edit changes which six-mers those tokens are: one of them for
an SNV, every one behind a frame shift. With h(x) the mean hidden state of six-mer x and the sums over the tokens of
the pool whose six-mer is no longer the same,

    shift     = sum of h(edited) - h(reference)               what is to be expected of the new six-mers
    departure = sum of hidden state - h(reference)            what was particular about the old ones, and may go

    arrival   = sum of hidden state - h(edited)               what is particular about the new ones (`other_frames`)

all divided by the length of the sum of the pool's hidden states, so in units of the state: s + shift is the next state
to first order. h is a property of the encoder alone: it is measured on random DNA from a fixed seed, so whoever
holds the encoder has it. The hidden states are those of the reference pass.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from geno_model.encoder.state_contract import ContractMismatchError
from geno_model.genomics.errors import InputError
from geno_model.genomics.tokens import DNA_OPEN, N_COMPACT

if TYPE_CHECKING:
    from geno_model.encoder.carbon import CarbonStateEncoder

SIXMER_STATES = "sixmer_states.safetensors"
N_SIXMERS = 4_096
N_ROUNDS = 32  # windows' worth of every six-mer: each is seen this often
_TOKENS_PER_PASS = 2_048
_SEED = 20_260_101


def measure_sixmer_states(encoder: CarbonStateEncoder, n_rounds: int = N_ROUNDS) -> Tensor:
    """Mean hidden state of each DNA token of the compact numbering: (N_COMPACT, d_state) float32, zero for controls.

    Every round is a random order of all six-mers, so each is met exactly `n_rounds` times, each time in other company.
    """
    rng = np.random.default_rng(_SEED)
    first = N_COMPACT - N_SIXMERS
    sums = torch.zeros((N_COMPACT, encoder.d_state), dtype=torch.float64)
    for _ in range(n_rounds):
        order = torch.from_numpy(rng.permutation(N_SIXMERS) + first)
        for ids in order.split(_TOKENS_PER_PASS):
            hidden = encoder.hidden_states_of(torch.cat([torch.tensor([DNA_OPEN]), ids])[None], encoder.contract.layer)
            sums.index_add_(0, ids, hidden[0, 1:].double().cpu())
    return (sums / n_rounds).float()


def add_shifts(
    sums: Tensor,
    table: Tensor,
    hidden: Tensor,
    rows: NDArray[np.integer],
    token: NDArray[np.integer],
    before: NDArray[np.integer],
    after: NDArray[np.integer],
    is_pooled: NDArray[np.bool_],
) -> None:
    """Add to `sums` (n, 2 d) at `rows` (m,) what the pooled tokens that differ gain, and how unusual the old ones were.

    table (4099, d); hidden (T, d) of the reference; token (m, w) indices into it; before, after (m, w) six-mers there.
    Only tokens that differ are looked up: one for an SNV.
    """
    row, column = np.nonzero(is_pooled & (before != after))
    old = table[torch.from_numpy(before[row, column].astype(np.int64))]
    new = table[torch.from_numpy(after[row, column].astype(np.int64))]
    real = hidden[torch.from_numpy(token[row, column].astype(np.int64)).to(hidden.device)].to(table.device)
    change = torch.cat([new - old, real - old], dim=1)
    sums.index_add_(0, torch.from_numpy(rows[row].astype(np.int64)), change.to(sums.dtype))


def save_sixmer_states(folder: Path, encoder: CarbonStateEncoder) -> None:
    """Write the encoder's table with the identity that it belongs to."""
    save_file({"sixmers": encoder.sixmer_states()}, folder / SIXMER_STATES, metadata=_identity(encoder))


def load_sixmer_states(folder: Path, encoder: CarbonStateEncoder) -> None:
    """Give the encoder its table from `folder`, so that it need not be measured again.

    Raises `InputError` where there is none, `ContractMismatchError` where it is of another encoder or layer.
    """
    path = folder / SIXMER_STATES
    try:
        with safe_open(path, "pt") as file:
            found, table = file.metadata() or {}, file.get_tensor("sixmers")
    except (OSError, SafetensorError) as error:
        raise InputError(f"{path}: no table of six-mer states there ({error}); build the folder again") from error
    if found != _identity(encoder):
        raise ContractMismatchError(
            f"{path} was measured on another encoder or layer ({found}, expected {_identity(encoder)}): "
            "build the folder again with this encoder"
        )
    encoder.set_sixmer_states(table)


def _identity(encoder: CarbonStateEncoder) -> dict[str, str]:
    return {"encoder_hash": encoder.encoder_hash, "layer": str(encoder.contract.layer)}
