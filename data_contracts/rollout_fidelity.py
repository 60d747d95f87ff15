"""How well the predictor follows chains of held-out edits, beside no change, ridge and random weights (spec 4, 6)."""

from __future__ import annotations

import pandera.polars as pa

from data_contracts import columns


class RolloutFidelity(columns.Table):
    """One row a holdout, number of edits and edit type (`all`: all together). The last step of a row is judged."""

    holdout: str = pa.Field(isin=list(columns.HOLDOUTS), description="holdout that the rows come from")
    k: int = pa.Field(nullable=True, ge=1, description="edits in a row; null for all rows of the holdout together")
    edit_type: str = pa.Field(description="type of the first edit, or all")
    n: int = pa.Field(ge=1, description="rows")
    skill: float = pa.Field(nullable=True, description="1 - sum of squared errors / that of no change; 0 is no change")
    skill_low: float = pa.Field(nullable=True, description="lower end of its 95 % bootstrap interval")
    skill_high: float = pa.Field(nullable=True, description="upper end of its 95 % bootstrap interval")
    delta_cosine: float = pa.Field(nullable=True, description="mean cosine of predicted and actual change")
    cosine: float = pa.Field(description="mean cosine of predicted and actual state")
    l2: float = pa.Field(ge=0, description="mean distance of predicted and actual state")
    naive_cosine: float = pa.Field(description="the same for no change")
    naive_l2: float = pa.Field(ge=0, description="the same for no change")
    ridge_skill: float = pa.Field(nullable=True, description="skill of ridge regression on the predictor's inputs")
    random_skill: float = pa.Field(nullable=True, description="skill of a predictor with random weights")
    recall_1: float = pa.Field(
        in_range={"min_value": 0, "max_value": 1},
        description="share of rows whose own change of state, of those of all n, is the nearest to the one predicted",
    )
    recall_5: float = pa.Field(
        in_range={"min_value": 0, "max_value": 1}, description="the same: among the five nearest (all, if fewer)"
    )
    naive_recall_1: float = pa.Field(
        in_range={"min_value": 0, "max_value": 1}, description="recall_1 of no change, which predicts nothing: 1 / n"
    )
    naive_recall_5: float = pa.Field(in_range={"min_value": 0, "max_value": 1}, description="recall_5 of no change")
