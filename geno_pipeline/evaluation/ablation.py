"""What each input and each choice is worth: the same training without it (spec 4, "Ablations"; RFC 0006).

Belongs here: the variants, training each with several seeds, skill on held-out DNA with an interval over the seeds.
Does not: encoding the states of variants that need their own (`assets.ablation`).

A variant is trained on the rows, steps and seeds of the others. What it must not see is set to zero, in training and
in judging, so that all variants have the same number of parameters.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import polars as pl
import torch
from scipy.stats import t as student

from data_contracts.columns import HOLDOUT_CHR
from geno_model.encoder.shared_prefix import LOCUS_SPANS
from geno_model.genomics.edits import EditType
from geno_model.predictor.world_model import ModelBatch, WorldModel
from geno_model.training.batches import Batch
from geno_model.training.loop import TrainingSettings, Watchers, predict_table, train
from geno_model.training.objective import last_step, skill
from geno_model.training.state_store import StateStore, StateTable

INDELS = (EditType.INS, EditType.DEL, EditType.INDEL)
BASE = "base"
BEHIND = "behind"  # of `locus`, the stretches that lie right of the edit's token


@dataclass(frozen=True, slots=True)
class Variant:
    """A training: states by name (of `base`, or of a contract of its own), inputs that are hidden, half precision.

    train_on, judge_on: names of stores of states. hidden: as `hide` takes them.
    """

    name: str
    train_on: str = BASE
    judge_on: str = BASE
    hidden: tuple[str, ...] = ()
    is_half: bool = False


VARIANTS = (
    Variant("all inputs (context pool)"),
    Variant("no states behind the locus", hidden=(BEHIND,)),
    Variant("context locus (tokens c - 1 and c)", hidden=("shift", BEHIND)),
    Variant("context sixmer", hidden=("shift", "locus")),
    Variant("context none", hidden=("shift", "locus", "tokens_before", "tokens_after")),
    Variant("no ref_bases", hidden=("ref_tokens", "ref_lengths")),
    Variant("float16 targets", is_half=True),
    Variant("layer -1", "layer", "layer"),
    Variant("pool radius 64", "radius", "radius"),
    Variant("windows 3 bp further right", judge_on="phase"),
)
OTHER_STATES = ("layer", "radius", "phase")


def ablate(
    stores: Mapping[str, tuple[StateStore, StateStore]],
    settings: TrainingSettings,
    seeds: Sequence[int],
    progress: Callable[[int], None] | None = None,
) -> pl.DataFrame:
    """Skill of every variant on holdout-chr (contract `Ablations`): a row for each variant and group of edits.

    stores: training and validation states, by name; settings: of the training, the seeds apart.
    Variants whose stores are not there are left out. progress: told the number of trainings done.
    """
    rows: list[dict[str, object]] = []
    n_done = 0
    for variant in variants_of(stores):
        store, judged = stores[variant.train_on][0], stores[variant.judge_on][1].table()
        by_seed: list[dict[str, tuple[int, float]]] = []
        for seed in seeds:
            model = _trained(store, replace(settings, seed_init=seed, seed_order=seed + 1), variant)
            by_seed.append(_skills(model, judged, variant))
            n_done += 1
            if progress:
                progress(n_done)
        for group, (n, _) in by_seed[0].items():
            found = np.array([figures[group][1] for figures in by_seed])
            rows.append({"variant": variant.name, "edits": group, "n": n, **interval(found)})
    return pl.DataFrame(rows)


def variants_of(stores: Mapping[str, tuple[StateStore, StateStore]]) -> list[Variant]:
    """The variants whose states are there."""
    return [variant for variant in VARIANTS if {variant.train_on, variant.judge_on} <= set(stores)]


def interval(values: np.ndarray) -> dict[str, float | int | None]:
    """Mean of figures (n,) of n seeds with Student's 95 % interval; without one for a single seed."""
    n, mean = len(values), float(values.mean())
    if n < 2:
        return {"n_seeds": n, "skill": mean, "skill_low": None, "skill_high": None}
    half = float(student.ppf(0.975, n - 1) * values.std(ddof=1) / n**0.5)
    return {"n_seeds": n, "skill": mean, "skill_low": mean - half, "skill_high": mean + half}


def hide(batch: ModelBatch, fields: Sequence[str]) -> ModelBatch:
    """The batch with zeros in these fields; `BEHIND` stands for the locus states that lie behind the edit's token."""
    zeros = {name: torch.zeros_like(getattr(batch, name)) for name in fields if name != BEHIND}
    if BEHIND in fields and batch.locus.numel():
        is_behind = torch.tensor([first > 0 for first, _ in LOCUS_SPANS])
        zeros["locus"] = batch.locus.masked_fill(is_behind[:, None], 0)
    return replace(batch, **zeros)


def _trained(store: StateStore, settings: TrainingSettings, variant: Variant) -> WorldModel:
    def see(batch: Batch) -> Batch:
        rows, targets = hide(batch.rows, variant.hidden), batch.targets
        if variant.is_half:
            rows, targets = replace(rows, state=rows.state.half().float()), targets.half().float()
        return Batch(rows, targets, batch.naive)

    with tempfile.TemporaryDirectory() as scratch:
        train(store, settings, Path(scratch) / "checkpoint", Watchers(), see=see)
        return WorldModel.load(Path(scratch) / "checkpoint", store.sixmer_embeddings)


def _skills(model: WorldModel, judged: StateTable, variant: Variant) -> dict[str, tuple[int, float]]:
    """Rows and skill by group, on holdout-chr, after the last edit of a row."""
    table = replace(judged, batch=hide(judged.batch, variant.hidden))
    predicted = last_step(predict_table(model, table), table.batch.mask)
    target, source = last_step(judged.targets, judged.batch.mask), judged.batch.state
    keys = judged.keys.select("k", "edit_type", is_chr=pl.col("holdout") == HOLDOUT_CHR)
    single = pl.col("k") == 1
    groups = {
        "K = 1, SNV": single & (pl.col("edit_type") == int(EditType.SNV)),
        "K = 1, indel": single & pl.col("edit_type").is_in([int(kind) for kind in INDELS]),
        **{f"K = {k}, all": pl.col("k") == k for k in keys["k"].unique().sort().to_list()},
    }
    found = {}
    for group, of_group in groups.items():
        rows = torch.from_numpy(keys.select(pl.col("is_chr") & of_group).to_series().to_numpy())
        if rows.any():
            found[group] = int(rows.sum()), skill(predicted[rows], target[rows], source[rows])
    return found
