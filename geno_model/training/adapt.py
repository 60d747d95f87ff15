"""Phase 2: the encoder itself learns, through adapters of low rank (spec 4, "Loss": "In Phase 2").

Belongs here: the regulariser, the steps, and the folder that comes out. Does not: how a state carries gradient
(`live_encoder`), the training on stored states (`loop`).

    loss = JEPA + LeJEPA        both on states that the adapters have made just now
    JEPA   = raw_loss(s_hat, s') / mean raw_loss(s_t, s') of the batch (the divisor without gradient)
    LeJEPA = 0.5 * KL( N(mu, Sigma) || N(0, I) ) = 0.5 * 0.5 * (||mu||^2 + tr Sigma - log det(Sigma + eps I) - d)

What comes out is an encoder of its own, with its own `encoder_hash`, in the layout that everything here loads:

    <folder>/config.json  model.safetensors  tokenizer.json   base + adapters, merged
             adapter/adapter_model.safetensors  adapter_config.json    peft's own format, for whoever has the base
             model/                                           the world model that learnt along, with its contract.json
             adaptation.json                                  settings, seeds, history, warnings

The states of the base encoder, and what was trained on them, do not fit it: they are refused, and made again with it.
The model in `model/` is where a training on the new states could start.

Choices that the design leaves open (the seeds hold no training RFC, only its summary in design-decisions.txt):
- The regulariser acts on states times sqrt(d). Unit vectors cannot have unit variance in d directions, so its least
  value could not be reached; scaled, ||mu||^2 + tr Sigma is d and what is left is -log det: spread in all directions.
- It acts on ALL outputs of the batch, before and after each edit. JEPA alone is content if edits move no state any
  more; then a direction of Sigma closes for each row, which the logarithm resists as it resists one state for all DNA.
- Sigma has lower rank than d for small batches; eps I keeps the logarithm finite, and the empty directions count as a
  constant without gradient. `monitor` logs the same figure in phase 1, over many more rows than d.

Measured on the demo (40 steps of 4 rows at 1e-3, 16 held-back rows; variance of states, loss of no change, JEPA):

    before               0.0048    1.3e-5    1.08
    with the term        0.30      4.0e-5    1.01
    on states before     0.21      1.8e-5    1.01    edits alone left out of the term
    without the term     0.00002   4.4e-8    1.12    all DNA the same: a collapse

Deterministic: same inputs, settings and seeds give the same bytes on the same machine and thread count.
"""

from __future__ import annotations

import json
import shutil
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import numpy as np
import polars as pl
import torch
from torch import Tensor
from transformers import LlamaForCausalLM

from geno_model.encoder.carbon import encoder_hash, load_encoder, save_encoder
from geno_model.encoder.state_contract import StateContract
from geno_model.files import replacing_folder
from geno_model.genomics.errors import InputError
from geno_model.genomics.genome import Genome
from geno_model.predictor.world_model import WorldModel
from geno_model.training.balance import row_sampler
from geno_model.training.live_encoder import LiveBatch, LiveEncoder, LoraSettings, read_rows
from geno_model.training.objective import LEJEPA_EPSILON, LEJEPA_WEIGHT, lejepa, raw_loss
from geno_model.training.schedule import adamw, wsd

CLIP_NORM = 1.0
HELD_BACK_SHARE = 0.1
COLLAPSE_SHARE = 0.5
N_LOGGED = 20
_LEAST = 1e-12  # of a batch whose edits move nothing


class AdaptationError(InputError):
    """An adaptation that cannot be made of what was given."""


@dataclass(frozen=True, slots=True)
class AdaptSettings:
    """Length, rates and the two recorded seeds: order of the data; adapters and then the predictor's dropout.

    predictor_learning_rate: None keeps the world model as it is. n_measured: rows for the figures before and after.
    """

    n_steps: int
    batch_size: int
    seed_order: int
    seed_lora: int
    learning_rate: float = 1e-5
    predictor_learning_rate: float | None = 3e-4
    rank: int = 16
    alpha: int = 32
    n_last_layers: int = 8
    n_measured: int = 32


@dataclass(frozen=True, slots=True)
class Measures:
    """Figures on held-back rows.

    jepa: loss as a share of that of no change; no_change: that loss itself, how far edits move states; lejepa: the
    regulariser; variance: of unit states between windows, summed over directions, in [0, 1].
    """

    jepa: float
    lejepa: float
    variance: float
    no_change: float


@dataclass(frozen=True, slots=True)
class AdaptResult:
    """What a run did. `history`: means since the logged step before; `warnings`: sentences about a collapse."""

    contract: StateContract
    history: list[dict[str, float]]
    before: Measures
    after: Measures
    warnings: list[str]
    n_parameters: int
    seconds: float


def jepa(model: WorldModel, batch: LiveBatch) -> tuple[Tensor, Tensor]:
    """Loss of each row (B,), and that of "no change" (B,), which carries no gradient."""
    inputs = batch.inputs
    still = inputs.state[:, None].expand_as(batch.targets)
    return raw_loss(model(inputs), batch.targets, inputs.mask), raw_loss(still, batch.targets, inputs.mask).detach()


def adapt(
    encoder_folder: Path,
    contract: StateContract,
    checkpoint: Path,
    genome: Genome,
    rows: pl.DataFrame,
    settings: AdaptSettings,
    folder: Path,
    progress: Callable[[int], None] | None = None,
) -> AdaptResult:
    """Adapt the encoder of `encoder_folder` to rows of `TrainingEdits` and write `folder`, replacing an older one.

    contract: of the encoder's states; checkpoint: of phase 1, on states of that contract.
    Raises `ContractMismatchError` where encoder, checkpoint and contract do not belong together, `AdaptationError` for
    rows of fewer than two windows.
    """
    started = time.monotonic()
    torch.use_deterministic_algorithms(True)
    _checkpoint_contract(checkpoint).require_same(contract, str(checkpoint))
    encoder = load_encoder(encoder_folder, contract)
    model = WorldModel.load(checkpoint, encoder.sixmer_embeddings())
    held_back = _held_back(rows, settings.seed_order)
    measured = rows.filter(held_back).sample(
        min(settings.n_measured, int(held_back.sum())), shuffle=True, seed=settings.seed_order
    )
    live = LiveEncoder(encoder, LoraSettings(settings.rank, settings.alpha, settings.n_last_layers, settings.seed_lora))
    before = measure(live, model, measured, genome, settings.batch_size)
    history = _optimise(live, model, rows.filter(~held_back), genome, settings, progress)
    after = measure(live, model, measured, genome, settings.batch_size)
    result = AdaptResult(
        contract=contract,
        history=history,
        before=before,
        after=after,
        warnings=collapse_warnings(before, after),
        n_parameters=sum(parameter.numel() for parameter in live.parameters()),
        seconds=0.0,
    )
    adapted = _write(folder, encoder_folder, live, model, settings, result)
    return replace(result, contract=adapted, seconds=time.monotonic() - started)


@torch.no_grad()
def measure(live: LiveEncoder, model: WorldModel, rows: pl.DataFrame, genome: Genome, batch_size: int) -> Measures:
    """Figures of encoder and model as they are now, on all `rows`."""
    model.eval()
    losses, still, outputs, sources = [], [], [], []
    for part in rows.iter_slices(batch_size):
        batch = live.batch(read_rows(part, genome))
        loss, no_change = jepa(model, batch)
        losses.append(loss)
        still.append(no_change)
        outputs.append(batch.outputs)
        sources.append(batch.inputs.state)
    moved = torch.cat(still).mean()
    return Measures(
        jepa=float(torch.cat(losses).mean() / moved.clamp(min=_LEAST)),
        lejepa=float(lejepa(torch.cat(outputs))),
        variance=float(torch.cat(sources).double().var(dim=0, correction=0).sum()),
        no_change=float(moved),
    )


def collapse_warnings(before: Measures, after: Measures) -> list[str]:
    """A sentence for each way in which the states have come to say less: less than half of what they said before."""
    pairs = {
        "the variance of states between windows": (before.variance, after.variance),
        "the loss of no change, that is how far edits move states,": (before.no_change, after.no_change),
    }
    return [
        f"collapse: {what} fell from {old:.3g} to {new:.3g}; lower the learning rate or the number of steps"
        for what, (old, new) in pairs.items()
        if not new >= COLLAPSE_SHARE * old
    ]


def _optimise(
    live: LiveEncoder,
    model: WorldModel,
    rows: pl.DataFrame,
    genome: Genome,
    settings: AdaptSettings,
    progress: Callable[[int], None] | None,
) -> list[dict[str, float]]:
    """All steps over `rows`, balanced as in phase 1; returns the history."""
    rows_of = row_sampler(rows["edit_type"].to_numpy(), rows["k"].to_numpy(), settings.batch_size, settings.seed_order)
    optimiser = _optimiser(live, model, settings)
    schedule = torch.optim.lr_scheduler.LambdaLR(optimiser, lambda step: wsd(step, settings.n_steps))
    learning = [parameter for group in optimiser.param_groups for parameter in group["params"]]
    log_every = max(1, settings.n_steps // N_LOGGED)
    parts: list[dict[str, float]] = []
    history: list[dict[str, float]] = []
    model.train(settings.predictor_learning_rate is not None)
    for step in range(settings.n_steps):
        batch = live.batch(read_rows(rows[rows_of(step)], genome))
        row_loss, no_change = jepa(model, batch)
        predicted, spread = (row_loss / no_change.mean().clamp(min=_LEAST)).mean(), lejepa(batch.outputs)
        optimiser.zero_grad()
        (predicted + spread).backward()
        torch.nn.utils.clip_grad_norm_(learning, CLIP_NORM)
        optimiser.step()
        schedule.step()
        figures = {"jepa": predicted, "lejepa": spread, "no_change": no_change.mean()}
        parts.append({name: float(value.detach()) for name, value in figures.items()})
        if (step + 1) % log_every == 0:
            history.append({"step": step + 1, **_means(parts)})
            parts = []
        if progress:
            progress(step + 1)
    return history


def _optimiser(live: LiveEncoder, model: WorldModel, settings: AdaptSettings) -> torch.optim.AdamW:
    """AdamW over the adapters (no weight decay) and, unless it is frozen, the world model as in phase 1."""
    adapters = {"params": live.parameters(), "lr": settings.learning_rate, "weight_decay": 0.0}
    if settings.predictor_learning_rate is None:
        model.requires_grad_(False)
        return torch.optim.AdamW([adapters], betas=(0.9, 0.95), eps=1e-8)
    optimiser = adamw(model, settings.predictor_learning_rate)
    optimiser.add_param_group(adapters)
    return optimiser


def _means(parts: Sequence[dict[str, float]]) -> dict[str, float]:
    return {name: sum(part[name] for part in parts) / len(parts) for name in parts[0]}


def _held_back(rows: pl.DataFrame, seed: int) -> pl.Series:
    """Whether each row (n,) lies in one of the tenth of the windows that are measured on and not learnt from."""
    place = ["contig", "window_start_bp"]
    windows = rows.select(place).unique().sort(place)
    if windows.height < 2:
        raise AdaptationError(
            f"the rows of edits lie in {windows.height} windows, expected at least two, one of them to measure on; "
            "give the training edits of more windows"
        )
    chosen = np.random.default_rng(seed).permutation(windows.height)[: max(1, round(HELD_BACK_SHARE * windows.height))]
    marked = rows.select(place).join(
        windows[chosen].with_columns(held=True), on=place, how="left", maintain_order="left"
    )
    return marked["held"].fill_null(False)


def _checkpoint_contract(checkpoint: Path) -> StateContract:
    try:
        return StateContract.from_dict(json.loads((checkpoint / "contract.json").read_text()))
    except (OSError, json.JSONDecodeError) as error:
        raise AdaptationError(
            f"{checkpoint}: no checkpoint there (contract.json: {error}); train the model of phase 1 first"
        ) from None


def _write(
    folder: Path,
    base: Path,
    live: LiveEncoder,
    model: WorldModel,
    settings: AdaptSettings,
    result: AdaptResult,
) -> StateContract:
    """Write the folder, whole or not at all. Returns the contract of the new encoder's states.

    The adapters are merged into the weights, so `live` is no longer of use.
    """
    with replacing_folder(folder) as whole:
        _write_adapter(live, whole / "adapter")
        merged = live.adapted.merge_and_unload()
        assert isinstance(merged, LlamaForCausalLM)
        save_encoder(merged, whole)
        for path in base.glob("tokenizer*"):  # Carbon's numbering is not the compact one that save_encoder writes
            shutil.copyfile(path, whole / path.name)
        contract = result.contract
        adapted = replace(contract, encoder_hash=encoder_hash(whole, contract.dtype, contract.pooling))
        (whole / "model").mkdir()
        model.save(whole / "model")
        _write_json(whole / "model" / "contract.json", adapted.to_dict())
        told = {name: value for name, value in asdict(result).items() if name not in ("seconds", "contract")}
        constants = {"lejepa_weight": LEJEPA_WEIGHT, "lejepa_epsilon": LEJEPA_EPSILON}
        _write_json(
            whole / "adaptation.json",
            {"settings": asdict(settings) | constants, "base_encoder": contract.encoder_hash, **told},
        )
    return adapted


def _write_adapter(live: LiveEncoder, folder: Path) -> None:
    """peft's own two files, without its empty model card; the same bytes each time."""
    live.adapted.save_pretrained(str(folder), safe_serialization=True, save_embedding_layers=False)
    (folder / "README.md").unlink(missing_ok=True)
    path = folder / "adapter_config.json"
    values = json.loads(path.read_text())
    values["target_modules"] = sorted(values["target_modules"])  # peft keeps a set, whose order changes between runs
    _write_json(path, values)


def _write_json(path: Path, values: object) -> None:
    path.write_text(json.dumps(values, sort_keys=True, indent=1) + "\n")
