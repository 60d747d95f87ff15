"""What is watched while a predictor learns: figures of every holdout, and alerts (spec 4, "Run discipline").

Belongs here: figures of predicted against true states, and which of them are alarming. Does not: deciding anything by
them: validation rows train nothing and choose nothing; the published figures (`geno_pipeline.evaluation`).

All figures are of the last step of a row. The LeJEPA term is that of the encoder's states, which are frozen in phase 1:
watched, never added (pitfall 5); it needs four times as many rows as dimensions (pitfall 28), else it is None.
"""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor

from geno_model.predictor.world_model import WorldModel
from geno_model.training.objective import last_step, lejepa, skill, squared_distance
from geno_model.training.state_store import StateTable

ROWS_PER_DIMENSION = 4
LEAST_SPREAD = 0.1  # variance of predicted changes, as a share of that of the true ones; below it they collapse

Figures = dict[str, Any]


def figures_of(source: Tensor, predicted: Tensor, target: Tensor) -> Figures:
    """Figures of n rows: source, predicted, target (n, d), unit vectors. Variances are sums over dimensions.

    cosine and l2: mean over rows; skill: 0 is no change; change_cosine: mean cosine of predicted and true change;
    correlation: of all numbers of predicted and true change; distance: mean over pairs of predictions. The variances
    of changes, unlike those of states, hold nothing of the source state that a prediction starts from.
    """
    guess, actual = (predicted - source).double(), (target - source).double()
    pairs = torch.pdist(predicted[:512]) if len(predicted) > 1 else torch.zeros(1)
    return {
        "n": len(source),
        "cosine": float(1 - squared_distance(predicted, target).mean() / 2),
        "l2": float((predicted - target).norm(dim=1).mean()),
        "skill": skill(predicted, target, source),
        "change_cosine": float(torch.nn.functional.cosine_similarity(guess, actual, dim=1).mean()),
        "change_variance": _variance(actual),
        "predicted_change_variance": _variance(guess),
        "correlation": _correlation(guess.flatten(), actual.flatten()),
        "distance": float(pairs.mean()),
        "lejepa": float(lejepa(target)) if len(target) >= ROWS_PER_DIMENSION * target.shape[1] else None,
    }


@torch.inference_mode()
def validate(model: WorldModel, table: StateTable, batch_size: int = 512) -> list[Figures]:
    """Figures of each holdout of `table` (its keys name them), the model left in the mode that it was in."""
    was_training = model.training
    model.eval()
    device = next(model.parameters()).device
    parts = [table.batch.rows(index) for index in torch.arange(len(table.targets)).split(batch_size)]
    predicted = torch.cat([last_step(model(part.to(device)).cpu(), part.mask) for part in parts])
    model.train(was_training)
    target, source = last_step(table.targets, table.batch.mask), table.batch.state
    found = []
    for holdout in table.keys["holdout"].unique().sort().to_list():
        rows = torch.from_numpy((table.keys["holdout"] == holdout).to_numpy())
        found.append({"holdout": holdout, **figures_of(source[rows], predicted[rows], target[rows])})
    return found


def alerts(figures: Figures) -> list[str]:
    """What is alarming in the figures of a holdout, a sentence each; nothing in most runs."""
    where, found = f"{figures['holdout']} (n = {figures['n']})", []
    if not math.isfinite(figures["l2"]):
        found.append(f"{where}: predictions are not finite; lower the learning rate")
    if figures["skill"] < 0:
        found.append(f"{where}: skill {figures['skill']:.3f}, worse than no change; train longer or on more rows")
    if figures["predicted_change_variance"] < LEAST_SPREAD * figures["change_variance"]:
        share = figures["predicted_change_variance"] / figures["change_variance"]
        found.append(
            f"{where}: predicted changes have {share:.1%} of the variance of the true ones; they collapse to one change"
        )
    return found


def _variance(values: Tensor) -> float:
    return float((values - values.mean(dim=0)).square().sum(dim=1).mean())


def _correlation(a: Tensor, b: Tensor) -> float:
    a, b = a - a.mean(), b - b.mean()
    length = a.norm() * b.norm()
    return float(a @ b / length) if length > 0 else float("nan")
