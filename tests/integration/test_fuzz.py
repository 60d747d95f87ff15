"""Two hundred damaged VCFs through reading and scoring; `python -m tests.fuzz_vcf` runs as many as one likes."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.fuzz_vcf import Fuzzer


def test_damaged_files_are_told_or_scored_rightly(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("GENO_ENCODER_DIR", raising=False)
    tally = Fuzzer.make(tmp_path).run(range(200), seed=1)
    assert tally.violations == []
    assert sum(tally.outcomes.values()) == 200 and tally.outcomes["ok"] > 50 and tally.n_scored > 100
