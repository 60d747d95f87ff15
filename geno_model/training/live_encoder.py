"""An encoder that learns: states that carry gradient into adapters of low rank, LoRA (spec 4, "Phase 2").

Belongs here: adapters on a `CarbonStateEncoder`, windows to states with gradient, rows of edits to a batch of the world
model. Does not: losses, steps and files (`adapt`).

The concept: the adapters are put into the very model of a `CarbonStateEncoder`. Everything that it computes, the
shared-prefix pass too, is from then on done with them, without gradient as ever; `LiveEncoder.states` is the one way
that carries gradient. Each window is run up to the right end of its pool, for nothing further right counts:

    row of K edits    window, window after edit 1, ... after edits 1..K    each [<dna> 0 .. c0 + radius]
                      `-> s_t           `----------> s_1 .. s_K, the targets     all of them carry gradient
"""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from dataclasses import dataclass, fields, replace

import numpy as np
import polars as pl
import torch
from numpy.typing import NDArray
from peft import LoraConfig, PeftModel, get_peft_model
from torch import Tensor, nn

from geno_model.encoder.carbon import CarbonStateEncoder, EncoderSettingsError
from geno_model.encoder.pooling import BASES_PER_TOKEN, pool_bounds, unit
from geno_model.encoder.shared_prefix import EncodedWindow, encode_window
from geno_model.encoder.state_contract import StateContract
from geno_model.genomics.edits import EditSpec, RelEdit, apply_edits_array, fit_window
from geno_model.genomics.genome import Genome
from geno_model.genomics.tokens import DNA_OPEN, sixmer_ids
from geno_model.predictor.batch import ModelBatch, model_batch, scatter_steps

ADAPTED = ("q_proj", "k_proj", "v_proj", "o_proj")


@dataclass(frozen=True, slots=True)
class LoraSettings:
    """Adapters of `rank` on the attention of the last layers that the state is made of, scaled alpha / rank.

    n_last_layers: all such layers, of a model that has fewer. What lies behind the contract's layer learns nothing.
    """

    rank: int
    alpha: int
    n_last_layers: int
    seed: int


@dataclass(frozen=True, slots=True)
class EditRow:
    """A window (window_bp,) of ASCII bases, a chain of edits in it, and the DNA token that all its states centre on."""

    window: NDArray[np.uint8]
    chain: tuple[RelEdit, ...]
    pool_token: int


@dataclass(frozen=True, slots=True)
class LiveBatch:
    """B rows: `inputs` of the world model, `targets` (B, K, d) zero where padded, all states `outputs` (B + sumK, d).

    The state in `inputs`, targets and outputs carry gradient into the adapters; locus states and shifts do not.
    """

    inputs: ModelBatch
    targets: Tensor
    outputs: Tensor


class LiveEncoder:
    """A `CarbonStateEncoder` with adapters in it, which start at "no change"."""

    def __init__(self, encoder: CarbonStateEncoder, lora: LoraSettings) -> None:
        """`encoder` is changed in place. Raises `EncoderSettingsError` for one that cannot be adapted."""
        encoder.require_linear_pooling()
        if encoder.contract.dtype != "float32":
            raise EncoderSettingsError(
                f"the encoder runs in {encoder.contract.dtype}, too coarse for steps of 1e-5: adapt it in float32"
            )
        n_seen = int(encoder.model.config.num_hidden_layers) + 1 + encoder.contract.layer  # -1 is behind the last layer
        torch.manual_seed(lora.seed)
        config = LoraConfig(
            r=lora.rank,
            lora_alpha=lora.alpha,
            target_modules=list(ADAPTED),
            layers_to_transform=list(range(max(0, n_seen - lora.n_last_layers), n_seen)),
            lora_dropout=0.0,
            bias="none",
        )
        with warnings.catch_warnings():  # peft asks transformers for an attribute by its old name
            warnings.simplefilter("ignore", FutureWarning)
            adapted = get_peft_model(encoder.model, config)
        assert isinstance(adapted, PeftModel)
        # The identity instead of a path: equal runs in two places write equal files.
        config.base_model_name_or_path = f"encoder_hash:{encoder.encoder_hash}"
        self.encoder = encoder
        self.adapted = adapted

    def parameters(self) -> list[nn.Parameter]:
        """The adapters' weights, the only ones of the encoder that learn."""
        return [parameter for parameter in self.adapted.parameters() if parameter.requires_grad]

    def states(self, windows: Sequence[NDArray[np.uint8]], pool_tokens: Sequence[int]) -> Tensor:
        """Unit states (n, d) float32 WITH gradient of n windows (window_bp,), centred on DNA tokens (n,).

        What `CarbonStateEncoder.encode_batch` gives, to 1e-6. `pooling.centered_sums` writes into a buffer and so cuts
        the gradient; here each pool is a plain sum, in float64 like there.
        """
        contract, n_tokens = self.encoder.contract, len(windows[0]) // BASES_PER_TOKEN
        low, high = pool_bounds(torch.tensor(pool_tokens), n_tokens, contract.radius_tokens)
        ids = torch.full((len(windows), 1 + int(high.max())), DNA_OPEN)  # what pads a row lies right of its pool
        for row, (window, end) in enumerate(zip(windows, high.tolist(), strict=True)):
            ids[row, 1 : end + 1] = torch.from_numpy(sixmer_ids(window[: end * BASES_PER_TOKEN]).astype(np.int64))
        out = self.encoder.model.model(
            input_ids=ids.to(self.encoder.device) + self.encoder.dna_offset,
            use_cache=False,
            output_hidden_states=contract.layer != -1,
        )
        hidden = out.last_hidden_state if contract.layer == -1 else out.hidden_states[contract.layer]
        bounds = zip(low.tolist(), high.tolist(), strict=True)
        sums = [hidden[i, first + 1 : end + 1].sum(dim=0, dtype=torch.float64) for i, (first, end) in enumerate(bounds)]
        return unit(torch.stack(sums))

    def batch(self, rows: Sequence[EditRow]) -> LiveBatch:
        """A batch of rows, whose states before and after every edit are encoded now."""
        windows: list[NDArray[np.uint8]] = []
        is_source: list[bool] = []
        for row in rows:
            windows += [row.window, *edited_windows(row, self.encoder.contract)]
            is_source += [True] + [False] * len(row.chain)
        pool_tokens = [row.pool_token for row in rows for _ in range(len(row.chain) + 1)]
        outputs = self.states(windows, pool_tokens)
        source = torch.tensor(is_source, device=outputs.device)
        encoded = replace(_encoded(self.encoder, rows), reference=outputs[source])
        inputs = model_batch(encoded, [row.chain for row in rows], np.array([row.pool_token for row in rows]))
        return LiveBatch(inputs, scatter_steps(outputs[~source], inputs.mask), outputs)


def edited_windows(row: EditRow, contract: StateContract) -> list[NDArray[np.uint8]]:
    """The window after edits 1..k for every k, each back at its length: K arrays (window_bp,)."""
    locus, length = row.chain[0].rel_pos, len(row.window)
    return [
        fit_window(
            apply_edits_array(row.window, row.chain[:step]), length, locus, contract.fit_side, contract.right_tokens
        )
        for step in range(1, len(row.chain) + 1)
    ]


def read_rows(frame: pl.DataFrame, genome: Genome) -> list[EditRow]:
    """Rows of `TrainingEdits` with their windows' bases."""
    rows = []
    for values in frame.iter_rows(named=True):
        contig, start, end = values["contig"], values["window_start_bp"], values["window_end_bp"]
        chain = (EditSpec(contig, edit["pos"], edit["ref"], edit["alt"]) for edit in values["edits"])
        relative = tuple(edit.relative_to(start, end) for edit in chain)
        rows.append(EditRow(genome.window(contig, start, end), relative, values["pool_token"]))
    return rows


def _encoded(encoder: CarbonStateEncoder, rows: Sequence[EditRow]) -> EncodedWindow:
    """What the world model takes beside the state, without gradient: the windows of all rows, one after another.

    Locus states are those of the adapters as they are now; a six-mer table stays as it was when first asked for.
    """
    parts = [encode_window(encoder, row.window, [row.chain], np.array([row.pool_token])) for row in rows]
    names = [field.name for field in fields(EncodedWindow)]
    return EncodedWindow(**{name: torch.cat([getattr(part, name) for part in parts]) for name in names})
