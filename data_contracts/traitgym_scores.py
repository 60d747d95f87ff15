"""Scores of TraitGym's causal variants and their matched controls (spec 6)."""

from __future__ import annotations

from data_contracts.benchmark_scores import BenchmarkScores


class TraitgymScores(BenchmarkScores):
    """One row an allele; labels are in BenchmarkAlleles."""
