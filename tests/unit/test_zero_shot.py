"""The zero-shot baseline: the published difference of full log-likelihoods in a centred window."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import polars as pl
import pytest

from geno_model.encoder.likelihood import window_log_likelihood
from geno_model.scoring.surprise import window_threads
from geno_pipeline.evaluation.zero_shot import choose, zero_shot
from tests.unit.build_inputs import make_genome, snvs
from tests.unit.encoders import tiny_encoder

LENGTH = 5_000
WINDOW = 602  # no multiple of six: the last six-mer is padded, as in the published 8,192 bp


def frame(rows: list[tuple[str, int, str, str]]) -> pl.DataFrame:
    table = pl.DataFrame(rows, schema=["contig", "pos", "ref", "alt"], orient="row")
    return table.with_columns(edit_type=pl.lit(0, pl.UInt8))


def test_equals_two_whole_windows_and_does_not_depend_on_company(tmp_path: Path) -> None:
    genome = make_genome(tmp_path, {"1": LENGTH}, n_spans={"1": (3_500, 3_900)})
    encoder = tiny_encoder(tmp_path / "encoder")
    alleles = frame(snvs(genome, "1", [2_000, 7, 4_990, 3_490]))  # in the middle, at both ends, beside a run of N
    with window_threads(2) as threads:
        found = zero_shot(alleles, genome, encoder, WINDOW, threads)
        alone = zero_shot(alleles[[0]], genome, encoder, WINDOW, threads)
    for number, start in enumerate((2_000 - 1 - WINDOW // 2, 0, LENGTH - WINDOW)):
        window = genome.window("1", start, start + WINDOW).copy()
        edited = window.copy()
        edited[alleles["pos"][number] - 1 - start] = ord(alleles["alt"][number])
        before, after = window_log_likelihood(encoder, np.stack([window, edited])).total
        assert found[number] == pytest.approx(float(after - before), abs=1e-5) and found[number] != 0
    assert found[3] is None  # half of its window is N
    assert alone[0] == found[0]


def test_of_each_track_and_label_as_many_as_asked_for_whatever_the_order() -> None:
    rows = pl.DataFrame(
        {"track": ["a"] * 6 + ["b"] * 2, "label": [1, 1, 1, 0, 0, 0, 1, None], "contig": "1", "pos": range(8),
         "ref": "A", "alt": "C", "edit_type": 0}
    )  # fmt: skip
    few = choose(rows, 2, seed=0)
    assert few.height == 6 and few["pos"].is_sorted() and {6, 7} < set(few["pos"])
    assert choose(rows.reverse(), 2, seed=0).equals(few)
    assert choose(rows, None, seed=0).height == 8
    twice = pl.concat([rows, rows.with_columns(track=pl.lit("c"))])
    assert choose(twice, None, seed=0).height == 8  # an allele of two tracks once
