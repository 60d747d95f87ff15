"""Rollout fidelity: how near the predicted state is to the true one after K edits (spec 6, rollout; spec 4, skill).

Belongs here: how validation rows are grouped, and which step of a row is judged. Does not belong here: running the
model, the figures themselves (`state_metrics`).

Concept: a row of K edits is judged at its last step K, the state after all its edits. A row of one edit is also judged
by its kind of edit; the kind of a chain's first edit says nothing about the chain, so rows of K > 1 are not
split by kind.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

from data_contracts.columns import HOLDOUT_CHR
from geno_model.genomics.edits import EditType
from geno_pipeline.evaluation.state_metrics import States, skill, state_metrics

ALL = "all"
RECALL_BLOCK = 2_048  # rows compared with all others at once

SCHEMA = pl.Schema(
    {
        "holdout": pl.String,
        "k": pl.Int64,
        "edit_type": pl.String,
        "n": pl.Int64,
        "skill": pl.Float64,
        "skill_low": pl.Float64,
        "skill_high": pl.Float64,
        "delta_cosine": pl.Float64,
        "cosine": pl.Float64,
        "l2": pl.Float64,
        "naive_cosine": pl.Float64,
        "naive_l2": pl.Float64,
        "ridge_skill": pl.Float64,
        "random_skill": pl.Float64,
        "recall_1": pl.Float64,
        "recall_5": pl.Float64,
        "naive_recall_1": pl.Float64,
        "naive_recall_5": pl.Float64,
    }
)


def last_step(steps: States, k: NDArray[np.integer]) -> States:
    """The state after a row's last edit: (n, d) from (n, K, d), step k - 1 of each row (n,)."""
    return steps[np.arange(len(steps)), np.asarray(k, dtype=np.int64) - 1]


def rollout_fidelity(
    source: States,
    predictions: States,
    targets: States,
    k: NDArray[np.integer],
    holdout: NDArray[np.str_] | list[str],
    edit_type: NDArray[np.integer],
    *,
    ridge: States,
    random: States,
    n_resamples: int = 1000,
    seed: int = 0,
) -> pl.DataFrame:
    """Skill and its companions by holdout, number of edits and kind of edit (`SCHEMA`).

    Args:
        source: states before any edit, (n, d), unit vectors.
        predictions: predicted state after each edit, (n, K, d); steps beyond a row's `k` are not read.
        targets: true state after each edit, (n, K, d), as `predictions`.
        k: edits of each row, (n,), 1..K.
        holdout: holdout that each row belongs to, (n,).
        edit_type: EditType of each row's first edit, (n,).
        ridge, random: what the two baselines predict, as `predictions` (`baselines`).
        n_resamples: bootstrap resamples (of rows) behind each skill interval.
        seed: of the resampling.

    Returns:
        For each holdout: one row over all its rows (k null, edit_type "all"), one for each k (edit_type "all"), and one
        for each kind of edit at k = 1. Sorted in that order.

    Raises:
        ValueError: shapes do not fit, a k is out of range, or a state is not a unit vector.
    """
    k, kinds, names = np.asarray(k), np.asarray(edit_type), np.asarray(holdout, dtype=str)
    _require_shapes(source, predictions, targets, k, names, kinds)
    predicted, true = last_step(predictions, k), last_step(targets, k)
    others = {"ridge_skill": last_step(ridge, k), "random_skill": last_step(random, k)}
    rows = []
    for group, chosen in _groups(k, names, kinds):
        figures = state_metrics(predicted[chosen], true[chosen], source[chosen], n_resamples, seed)
        beside = {name: skill(other[chosen], true[chosen], source[chosen]) for name, other in others.items()}
        expected, actual = (states[chosen] - source[chosen] for states in (predicted, true))
        found = {f"recall_{n}": recall(expected, actual, n) for n in (1, 5)}
        naive = {f"naive_recall_{n}": min(n / len(actual), 1.0) for n in (1, 5)}
        rows.append({**group, **asdict(figures), **beside, **found, **naive})
    return pl.DataFrame(rows, schema=SCHEMA)


def recall(predicted: States, actual: States, n: int) -> float:
    """Share of rows whose own change (m, d) is among the n that lie nearest to the change predicted for it (m, d).

    Changes, not states: a window's state is its own nearest neighbour in any case. A change as near as its own counts
    before it. No change is as far from every row as from its own length, so it finds n of the m rows: n / m.
    """
    squared = np.einsum("md,md->m", actual, actual)
    hits = 0
    for start in range(0, len(actual), RECALL_BLOCK):
        rows = np.arange(start, min(start + RECALL_BLOCK, len(actual)))
        distance = squared - 2 * predicted[rows] @ actual.T  # less what all candidates of a row share
        own = distance[np.arange(len(rows)), rows]
        hits += int(((distance <= own[:, None]).sum(axis=1) <= n).sum())
    return hits / len(actual)


def overall(table: pl.DataFrame, holdout: str = HOLDOUT_CHR) -> dict[str, Any] | None:
    """The row of `rollout_fidelity` over all rows of a holdout; None where the holdout has no rows."""
    rows = table.filter((pl.col("holdout") == holdout) & pl.col("k").is_null() & (pl.col("edit_type") == ALL))
    return rows.row(0, named=True) if rows.height else None


def _groups(
    k: NDArray[np.integer], names: NDArray[np.str_], kinds: NDArray[np.integer]
) -> Iterator[tuple[dict[str, object], NDArray[np.bool_]]]:
    for name in np.unique(names):
        of_name = names == name
        yield {"holdout": str(name), "k": None, "edit_type": ALL}, of_name
        for n_edits in np.unique(k[of_name]):
            yield {"holdout": str(name), "k": int(n_edits), "edit_type": ALL}, of_name & (k == n_edits)
        single = of_name & (k == 1)
        for kind in np.unique(kinds[single]):
            group = {"holdout": str(name), "k": 1, "edit_type": EditType(int(kind)).name}
            yield group, single & (kinds == kind)


def _require_shapes(
    source: States,
    predictions: States,
    targets: States,
    k: NDArray[np.integer],
    names: NDArray[np.str_],
    kinds: NDArray[np.integer],
) -> None:
    n_rows, width = source.shape
    if predictions.shape != targets.shape or predictions.ndim != 3 or predictions.shape[::2] != (n_rows, width):
        raise ValueError(
            f"expected predictions and targets of one shape ({n_rows}, K, {width}), as the source states; "
            f"found {predictions.shape} and {targets.shape}"
        )
    for what, array in (("k", k), ("holdout", names), ("edit_type", kinds)):
        if array.shape != (n_rows,):
            raise ValueError(f"expected {what} of shape ({n_rows},), found {array.shape}")
    if n_rows and not (k.min() >= 1 and k.max() <= predictions.shape[1]):
        raise ValueError(f"expected k in 1..{predictions.shape[1]}, found {k.min()}..{k.max()}")
