"""What each input and each choice of the predictor is worth (spec 4, "Ablations")."""

from __future__ import annotations

import pandera.polars as pa

from data_contracts import columns


class Ablations(columns.Table):
    """One row a variant of the training and group of edits: skill on holdout-chr, over seeds."""

    variant: str = pa.Field(description="what differs from the training of `checkpoint`")
    edits: str = pa.Field(description="number of edits in a row and kind of edit; rows are judged after the last one")
    n: int = pa.Field(ge=1, description="rows")
    n_seeds: int = pa.Field(ge=1, description="trainings, each with seeds of its own")
    skill: float = pa.Field(description="mean over the seeds; no change is 0, perfect is 1")
    skill_low: float = pa.Field(nullable=True, description="lower end of Student's 95 % interval over the seeds")
    skill_high: float = pa.Field(nullable=True, description="upper end of Student's 95 % interval over the seeds")
