"""What the predictor must beat beside "no change": ridge regression on its inputs, and itself untrained (spec 4, 6).

Belongs here: the two baselines' predictions. Does not: judging them (`rollout`).

Ridge sees what the predictor sees: the state, the pooling centre, and of every edit so far its place, phase, type,
lengths, the six-mers before and after, the locus states and the shift of the pool, where the context has them. What
belongs to single edits is added up over the chain. Each kind of row that training balances (an edit type, or several
edits) has a regression of its own; its penalty is chosen by leave-one-out error on the training rows.
"""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from sklearn.linear_model import RidgeCV
from torch import Tensor

from geno_model.genomics.edits import EditType
from geno_model.predictor.world_model import ModelBatch, WorldModel
from geno_model.training.state_store import StateTable

PENALTIES = np.logspace(-1, 5, 13)
MAX_FIT_ROWS = 10_000
N_PHASES = 6
POSITION_SCALE = 1_000.0  # bp; only so that numbers are near 1

Floats = NDArray[np.float32]


def ridge_predictions(training: StateTable, rows: StateTable, seed: int = 0) -> Floats:
    """States (n, K, d) that ridges on `training` predict for `rows`: unit vectors, no change where padded."""
    seen, asked = inputs(training.batch, training.sixmer_embeddings), inputs(rows.batch, training.sixmer_embeddings)
    change = (training.targets - training.batch.state[:, None]).numpy()
    of_training, of_rows = row_kinds(training.batch), row_kinds(rows.batch)
    mask = rows.batch.mask.numpy()
    moved = np.zeros(rows.targets.shape, dtype=np.float32)
    rng = np.random.default_rng(seed)
    for kind in np.unique(of_rows):
        steps = training.batch.mask.numpy() & (of_training == kind)[:, None]
        if steps.sum() < 2:  # nothing to learn from: no change
            continue
        where = np.argwhere(steps)
        where = where[rng.permutation(len(where))[:MAX_FIT_ROWS]]
        x, y = seen[where[:, 0], where[:, 1]], change[where[:, 0], where[:, 1]]
        mean, spread = x.mean(axis=0), x.std(axis=0) + 1e-12
        fitted = RidgeCV(PENALTIES).fit((x - mean) / spread, y)
        places = mask & (of_rows == kind)[:, None]
        moved[places] = fitted.predict((asked[places] - mean) / spread)
    return torch.nn.functional.normalize(rows.batch.state[:, None] + torch.from_numpy(moved), dim=-1).numpy()


def untrained(model: WorldModel, sixmer_embeddings: Tensor, seed: int = 0) -> WorldModel:
    """A model of the same sizes and output scale whose weights are random, those of the last layer too."""
    torch.manual_seed(seed)
    other = WorldModel(model.config, sixmer_embeddings)
    torch.nn.init.normal_(other.predictor.get_parameter("out.3.weight"), std=model.config.predictor.d_hidden**-0.5)
    other.predictor.get_buffer("output_scale").copy_(model.predictor.get_buffer("output_scale"))
    return other.eval()


def row_kinds(batch: ModelBatch) -> NDArray[np.int64]:
    """Kind of each row (n,): its EditType, or -1 for several edits."""
    return torch.where(batch.mask.sum(dim=1) == 1, batch.edit_type[:, 0], -1).numpy()


def inputs(batch: ModelBatch, sixmer_embeddings: Tensor) -> Floats:
    """The predictor's inputs as numbers: (n, K, width), of step k what is known after edits 1..k."""
    n_rows, n_steps = batch.mask.shape
    table = torch.nn.functional.layer_norm(sixmer_embeddings, sixmer_embeddings.shape[1:])
    before, after = table[batch.tokens_before], table[batch.tokens_after]
    of_edits = [
        (after - before).flatten(2),
        (after + before).flatten(2),
        torch.nn.functional.one_hot(batch.rel_pos % N_PHASES, N_PHASES).float(),
        torch.nn.functional.one_hot(batch.edit_type, len(EditType)).float(),
        torch.stack([batch.ref_lengths, batch.alt_lengths, batch.rel_pos / POSITION_SCALE], dim=-1).float(),
        batch.locus.flatten(2),
    ]
    summed = (torch.cat(of_edits, dim=-1) * batch.mask[..., None]).cumsum(dim=1)
    of_rows = torch.cat([batch.state, batch.pool_token[:, None] * N_PHASES / POSITION_SCALE], dim=1)
    return torch.cat([of_rows[:, None].expand(n_rows, n_steps, -1), summed, batch.shift], dim=-1).numpy()
