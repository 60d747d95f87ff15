"""Scores of the held-out ClinVar alleles, with their labels (spec 6)."""

from __future__ import annotations

import pandera.polars as pa
import polars as pl

from data_contracts import columns
from data_contracts.scores import Scores


class ClinvarScores(Scores):
    """As Scores, with what ClinVar says."""

    label: pl.Int8 = pa.Field(isin=[0, 1], description="1 pathogenic or likely so, 0 benign or likely so")
    is_coding: bool = pa.Field(description="ClinVar's consequence lies in a coding sequence; false where it names none")
    stars: pl.Int8 = columns.stars()
