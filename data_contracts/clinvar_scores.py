"""Scores of the held-out ClinVar alleles (spec 6)."""

from __future__ import annotations

from data_contracts.benchmark_scores import BenchmarkScores


class ClinvarScores(BenchmarkScores):
    """One row an allele; labels are in BenchmarkAlleles."""
