"""What the score tables of all benchmarks have in common (spec 6)."""

from __future__ import annotations

import pandera.polars as pa
import polars as pl

from data_contracts import columns
from data_contracts.scores import Scores


class BenchmarkScores(Scores):
    """As Scores, with what other models make of the same passes."""

    gc: pl.Float32 = pa.Field(in_range={"min_value": 0, "max_value": 1}, description="share of G and C in the window")
    no_change: pl.Float32 = pa.Field(
        in_range={"min_value": 0, "max_value": 2.01},
        description="distance of the states before and after the edit: the surprise of a model that predicts no change",
    )
    random_surprise: pl.Float32 = columns.surprise_raw()
    random_displacement: pl.Float32 = columns.displacement()
