"""Window policies, worked out by hand on a contig of 12,000 bp with windows of 3,072 bp every 2,048 bp."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import get_args

import numpy as np
import polars as pl
import pytest

from geno_model.genomics.context import Context
from geno_model.genomics.genome import Genome
from geno_model.release.config import WindowPolicy
from geno_model.scoring.surprise import Heads, score_raw
from geno_model.scoring.windows import combine, place
from tests.tiny_release import random_model, write_fasta
from tests.unit.encoders import tiny_encoder

WINDOW, STRIDE = 3_072, 2_048  # windows begin at 0, 2,048, 4,096, 6,144, 8,192 and, flush with the end, 8,928


@pytest.fixture(scope="module")
def genome(tmp_path_factory: pytest.TempPathFactory) -> Genome:
    folder = tmp_path_factory.mktemp("windows")
    return Genome.open(write_fasta(folder / "ref.fa"), cache_dir=folder / "cache")


def starts(genome: Genome, policy: WindowPolicy, *alleles: tuple[str, int, str]) -> list[list[int]]:
    frame = pl.DataFrame(alleles, schema={"contig": pl.String, "pos": pl.Int64, "ref": pl.String}, orient="row")
    placed, _ = place(frame, genome, policy, WINDOW, STRIDE)
    assert placed["_row"].is_sorted()
    return [placed.filter(pl.col("_row") == row)["window_start_bp"].to_list() for row in range(frame.height)]


def test_the_windows_of_each_policy(genome: Genome) -> None:
    at_2500, at_11480, at_600 = ("chr1", 2_501, "A"), ("chr1", 11_481, "A"), ("chr1", 601, "A")
    alleles = (at_2500, at_11480, at_600)
    # 0-based 2,500 lies 964 bp right of the first window's middle (1,536) and 1,084 left of the second's.
    assert starts(genome, "most_central", *alleles) == [[0], [8_928], [0]]
    assert starts(genome, "centred", *alleles) == [[964], [8_928], [0]]
    for policy in ("mean_of_all", "max_of_all", "median_of_all"):
        # The window from 2,048 holds 2,500 as well, but with 452 bp on its left; 506 bp are the least.
        assert starts(genome, policy, *alleles) == [[0], [8_928], [0]]
        assert starts(genome, policy, ("chr1", 2_555, "A"), ("chr1", 2_554, "A")) == [[0, 2_048], [0]]
    # The most central one first.
    assert starts(genome, "mean_of_all", ("chr1", 8_711, "A")) == [[8_192, 6_144]]
    assert starts(genome, "mean_of_phases", *alleles) == [
        [0, 1, 2, 3, 4, 5],
        [8_928, 8_923, 8_924, 8_925, 8_926, 8_927],  # at the contig's end the same phases, six bases further left
        [0, 1, 2, 3, 4, 5],
    ]


def test_a_window_must_hold_the_whole_allele_and_few_n(genome: Genome) -> None:
    over_the_edge = ("chr1", 3_070, "ACGTAC")  # bases 3,069 .. 3,074: the window from 0 ends at 3,072
    assert starts(genome, "mean_of_all", over_the_edge) == [[2_048]]
    assert starts(genome, "mean_of_phases", ("chr1", 3_070, "ACGTAC")) == [[2_048, 2_049, 2_050, 2_051, 2_052, 2_053]]
    for policy in get_args(WindowPolicy):
        assert starts(genome, policy, ("chr2", 50, "A"), ("chr3", 2_000, "A")) == [[], []]  # too short; too much N
    empty = pl.DataFrame(schema={"contig": pl.String, "pos": pl.Int64, "ref": pl.String})
    assert all(part.is_empty() for part in place(empty, genome, "centred", WINDOW, STRIDE))


def reasons(genome: Genome, policy: WindowPolicy, contig: str, *positions: int) -> list[str | None]:
    frame = pl.DataFrame({"contig": [contig] * len(positions), "pos": positions, "ref": ["A"] * len(positions)})
    windows, left_out = place(frame, genome, policy, WINDOW, STRIDE)
    assert sorted([*windows["_row"].unique(), *left_out["_row"]]) == list(range(len(positions)))  # one or the other
    by_row = dict(left_out.iter_rows())
    return [by_row.get(row) for row in range(len(positions))]


@pytest.mark.parametrize("policy", get_args(WindowPolicy))
def test_no_policy_scores_near_the_ends_of_a_contig(genome: Genome, policy: WindowPolicy) -> None:
    """506 bp on both sides are what every allele inside the contig has in its most central window, less a token."""
    near = ["little_context"]
    assert reasons(genome, policy, "chr1", 1, 73, 506) == near * 3
    assert reasons(genome, policy, "chr1", 512, 6_000, 11_488) == [None] * 3  # phases move a window by 5 bp
    has_score = [reason is None for reason in reasons(genome, policy, "chr1", 506, 507, 508, 11_494, 11_495, 11_496)]
    assert has_score == ([False] * 6 if policy == "mean_of_phases" else [False, True, True, True, True, False])
    assert reasons(genome, policy, "chr1", 11_496, 11_600, 12_000) == near * 3
    assert reasons(genome, policy, "chr2", 1, 1_000) == ["out_of_range"] * 2  # the contig is shorter than a window


def test_a_window_that_is_left_beside_unknown_bases_is_no_refuge(tmp_path: Path) -> None:
    """Of two windows that hold an allele the one over a run of N is dropped; in the other it lies at the very edge."""
    bases = np.frombuffer(b"ACGT", dtype=np.uint8)[np.random.default_rng(1).integers(0, 4, 12_000)].copy()
    bases[1_000:1_200] = ord("N")
    (tmp_path / "n.fa").write_text(f">chr1\n{bases.tobytes().decode()}\n")
    genome = Genome.open(tmp_path / "n.fa", cache_dir=tmp_path / "cache")
    for policy in ("mean_of_all", "max_of_all", "median_of_all"):
        assert reasons(genome, policy, "chr1", 2_040, 2_060, 2_600) == ["out_of_range", "little_context", None]
    assert reasons(genome, "most_central", "chr1", 2_040, 2_060, 2_600) == ["out_of_range", "out_of_range", None]


@pytest.mark.parametrize("policy", get_args(WindowPolicy))
def test_a_circle_is_scored_all_around_in_windows_over_its_origin(policy: WindowPolicy, tmp_path: Path) -> None:
    bases = "".join(np.random.default_rng(2).choice(list("ACGT"), 16_569))
    (tmp_path / "m.fa").write_text(f">chrM\n{bases}\n>chr1\n{bases}\n")
    genome = Genome.open(tmp_path / "m.fa", cache_dir=tmp_path / "cache")
    positions = np.arange(1, 16_570)
    frame = pl.DataFrame({"contig": "chrM", "pos": positions, "ref": [*bases]})
    windows, left_out = place(frame, genome, policy, 12_288, 8_192)
    assert left_out.is_empty()
    placed = frame.with_row_index("_row").join(windows, on="_row")
    offset = placed["pos"] - 1 - placed["window_start_bp"]
    assert offset.min() >= 2_042 and offset.max() <= 12_288 - 2_042  # type: ignore[operator]
    drawn = placed.sample(20, seed=1)
    for pos, ref, start in drawn.select("pos", "ref", "window_start_bp").iter_rows():
        window = genome.window("chrM", start, start + 12_288)
        assert window.shape == (12_288,) and chr(window[pos - 1 - start]) == ref
    linear = place(frame.with_columns(contig=pl.lit("chr1")), genome, policy, 12_288, 8_192)[1]
    assert set(linear["reason"]) == {"little_context"} and 4_082 <= linear.height <= 4_096


def test_several_scores_become_one() -> None:
    scores = pl.DataFrame(
        {"_row": [0, 0, 0, 2], "window_start_bp": [5, 1, 9, 4], "surprise_raw": [1.0, 5.0, 3.5, 2.0]},
        schema_overrides={"_row": pl.UInt32},
    )
    expected = {
        "most_central": 1.0,
        "mean_of_all": 9.5 / 3,
        "max_of_all": 5.0,
        "median_of_all": 3.5,
        "mean_of_phases": 9.5 / 3,
    }
    for policy, value in expected.items():
        rows = combine(scores, policy).rows()  # type: ignore[arg-type]
        assert rows == [(0, 5, pytest.approx(value)), (2, 4, 2.0)]


def snvs(genome: Genome, *positions: int) -> pl.DataFrame:
    bases = genome.bases("chr1")
    refs = [chr(bases[pos - 1]) for pos in positions]
    alts = ["ACGT"[("ACGT".index(ref) + 1) % 4] for ref in refs]
    columns = {
        "contig": ["chr1"] * len(positions),
        "pos": positions,
        "ref": refs,
        "alt": alts,
        "edit_type": [0] * len(refs),
    }
    return pl.DataFrame(columns, schema_overrides={"pos": pl.Int64, "edit_type": pl.UInt8})


def test_scores_of_a_policy_are_made_of_those_of_single_windows(genome: Genome, tmp_path: Path) -> None:
    encoder = tiny_encoder(tmp_path / "encoder")
    model, context = random_model(encoder.sixmer_embeddings()), Context.build(None, None, genome)
    alleles = snvs(genome, 2_501, 2_561)
    heads = Heads(delta_loglik=True)

    def in_window(start: int, position: int) -> np.ndarray:
        """The three scores of the SNV with the window at `start`: a policy that has it as its only window."""
        contig = genome.window("chr1", start, start + WINDOW).tobytes().decode()
        fasta = tmp_path / f"{start}.fa"
        fasta.write_text(f">chr1\n{contig}\n")
        alone = Genome.open(fasta, cache_dir=tmp_path / "cache")
        row = score_raw(
            snvs(alone, position - start), alone, encoder, model, Context.build(None, None, alone), heads=heads
        )
        return row.select("surprise_raw", "displacement", "delta_loglik").to_numpy()[0]

    def scored(policy: WindowPolicy) -> np.ndarray:
        rows = score_raw(alleles, genome, encoder, model, context, policy=policy, heads=heads)
        assert rows["reason"].null_count() == 2
        return rows.select("surprise_raw", "displacement", "delta_loglik").to_numpy()

    second = np.stack([in_window(start, 2_561) for start in (2_048, 0)])
    combinations: list[tuple[WindowPolicy, Callable[..., np.ndarray]]]
    combinations = [("mean_of_all", np.mean), ("max_of_all", np.max), ("median_of_all", np.median)]
    for policy, combined in combinations:
        np.testing.assert_allclose(scored(policy)[1], combined(second, axis=0), rtol=2e-3, atol=1e-6)
    phases = np.stack([in_window(phase, 2_501) for phase in range(6)])
    assert phases[:, 0].std() > 0.01 * phases[:, 0].mean()  # the cut matters
    np.testing.assert_allclose(scored("mean_of_phases")[0], phases.mean(axis=0), rtol=2e-3, atol=1e-6)
    np.testing.assert_allclose(scored("centred")[0], in_window(964, 2_501), rtol=2e-3, atol=1e-6)


def test_heads_that_nobody_asked_for_are_null_and_cost_nothing(genome: Genome, tmp_path: Path) -> None:
    encoder = tiny_encoder(tmp_path / "encoder")
    model, context = random_model(encoder.sixmer_embeddings()), Context.build(None, None, genome)
    alleles = snvs(genome, 1_501, 1_700)
    rows, n_tokens = {}, {}
    for heads in (Heads(), Heads(displacement=False), Heads(surprise=False), Heads(delta_loglik=True)):
        before = encoder.n_tokens_run
        rows[heads] = score_raw(alleles, genome, encoder, model, context, heads=heads)
        n_tokens[heads] = encoder.n_tokens_run - before
    both, surprise, displacement, all_three = rows.values()
    assert both["delta_loglik"].null_count() == 2 and surprise["displacement"].null_count() == 2
    assert displacement["surprise_raw"].null_count() == 2 and all_three["delta_loglik"].null_count() == 0
    for name in ("surprise_raw", "displacement"):
        parts = [frame[name].drop_nulls().to_numpy() for frame in rows.values()]
        for part in parts:
            np.testing.assert_allclose(part, parts[0] if len(part) else [], atol=1e-6)
    counts = list(n_tokens.values())
    # Both SNVs run a suffix of 17 tokens, but not for the displacement alone; the likelihood costs no token.
    assert counts[0] == counts[1] == counts[3] and counts[0] - counts[2] == 2 * 17
