"""Scores of the saturation screens of BRCA1 and BRCA2 (spec 6)."""

from __future__ import annotations

from data_contracts.benchmark_scores import BenchmarkScores


class BrcaScores(BenchmarkScores):
    """One row an allele; labels are in BenchmarkAlleles."""
