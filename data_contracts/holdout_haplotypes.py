"""Haplotype blocks kept for the evaluation of rollouts (spec 3)."""

from __future__ import annotations

from data_contracts.phased_haplotypes import PhasedHaplotypes


class HoldoutHaplotypes(PhasedHaplotypes):
    """As PhasedHaplotypes; no row of training or calibration touches the span of one."""
