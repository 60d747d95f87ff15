"""Synthetic edits: valid, uniform, of the asked lengths (spec 1, "Samplers"; pitfall 16)."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import polars as pl
import pytest
from numpy.typing import NDArray

from geno_model.genomics.samplers import (
    NoValidPositionError,
    complex_indel,
    indel,
    mnv,
    truncated_geometric,
    uniform_snv,
)

SAMPLERS: list[Callable[..., pl.DataFrame]] = [uniform_snv, indel, mnv, complex_indel]


def window_of(text: str) -> NDArray[np.uint8]:
    return np.frombuffer(text.encode(), dtype=np.uint8)


@pytest.fixture(scope="module")
def window() -> NDArray[np.uint8]:
    bases = np.random.default_rng(0).choice(np.frombuffer(b"ACGT", dtype=np.uint8), 2_000)
    bases[500:700] = ord("N")
    bases[900:1_100:5] = ord("N")  # runs of four known bases
    return bases


def chi_squared(observed: NDArray[np.int64], expected: NDArray[np.float64] | float) -> float:
    return float(((observed - expected) ** 2 / expected).sum())


@pytest.mark.parametrize("sampler", SAMPLERS)
def test_edits_fit_the_window_and_keep_the_margin(
    window: NDArray[np.uint8], sampler: Callable[..., pl.DataFrame]
) -> None:
    frame = sampler(window, 3_000, np.random.default_rng(1))
    assert frame.height == 3_000
    assert frame.schema == {"rel_pos": pl.Int64, "ref": pl.String, "alt": pl.String}
    text = window.tobytes().decode()
    for rel_pos, ref, alt in frame.iter_rows():
        assert text[rel_pos : rel_pos + len(ref)] == ref
        assert rel_pos >= 64 and rel_pos + len(ref) <= 2_000 - 64
        assert ref != alt and set(ref + alt) <= set("ACGT")
        assert 1 <= len(ref) <= 16 and 1 <= len(alt) <= 16


@pytest.mark.parametrize("sampler", SAMPLERS)
def test_same_seed_same_edits(window: NDArray[np.uint8], sampler: Callable[..., pl.DataFrame]) -> None:
    first, again, other = (sampler(window, 50, np.random.default_rng(seed)) for seed in (7, 7, 8))
    assert first.equals(again) and not first.equals(other)


@pytest.mark.parametrize("sampler", SAMPLERS)
def test_span_and_margin_restrict(window: NDArray[np.uint8], sampler: Callable[..., pl.DataFrame]) -> None:
    frame = sampler(window, 500, np.random.default_rng(2), span=(300, 310))
    assert set(frame["rel_pos"]) == set(range(300, 310))
    frame = sampler(window, 500, np.random.default_rng(2), margin_bp=980)
    assert frame["rel_pos"].is_between(980, 1_019).all()


@pytest.mark.parametrize("sampler", SAMPLERS)
def test_none_asked_for(window: NDArray[np.uint8], sampler: Callable[..., pl.DataFrame]) -> None:
    assert sampler(window, 0, np.random.default_rng(0)).is_empty()


@pytest.mark.parametrize("sampler", SAMPLERS)
def test_no_valid_position_is_said(sampler: Callable[..., pl.DataFrame]) -> None:
    rng = np.random.default_rng(0)
    for text, options in (("N" * 500, {}), ("ACGT" * 10, {}), ("ACGT" * 100, {"span": (0, 30)}), ("", {})):
        with pytest.raises(NoValidPositionError, match="no position of this window"):
            sampler(window_of(text), 5, rng, **options)


def test_one_valid_position_in_a_desert_is_found() -> None:
    frame = uniform_snv(window_of("N" * 6_000 + "G" + "N" * 6_000), 30, np.random.default_rng(0))
    assert set(frame["rel_pos"]) == {6_000} and set(frame["ref"]) == {"G"} and set(frame["alt"]) == set("ACT")


def test_lengths_that_fit_nowhere_are_not_drawn() -> None:
    lonely = window_of(("N" * 10 + "ACGT") * 20)
    rng = np.random.default_rng(3)
    assert indel(lonely, 400, rng)["ref"].str.len_bytes().max() == 4
    assert mnv(lonely, 400, rng)["ref"].str.len_bytes().max() == 4
    assert complex_indel(lonely, 400, rng)["ref"].str.len_bytes().max() == 4
    single = window_of(("N" * 3 + "A") * 100)
    assert indel(single, 50, rng)["ref"].to_list() == ["A"] * 50  # only insertions are possible
    with pytest.raises(NoValidPositionError, match="MNV"):
        mnv(single, 5, rng)


def test_snvs_are_uniform_over_positions_and_bases() -> None:
    window = window_of("NACGTNACGTNN" * 3)
    n = 48_000
    frame = uniform_snv(window, n, np.random.default_rng(5), margin_bp=0)
    counts = frame.group_by("rel_pos", "alt").len()
    assert counts.height == 24 * 3
    assert chi_squared(counts["len"].to_numpy().astype(np.int64), n / 72) < 112  # 71 degrees of freedom, p = 0.001


def test_deletions_are_uniform_over_the_positions_that_hold_them() -> None:
    window = window_of("NACGTNACGTACNN")
    only_two = np.eye(15)[1]
    frame = indel(window, 20_000, np.random.default_rng(6), margin_bp=0, length_weights=only_two, insertion_share=0.0)
    assert set(frame["ref"].str.len_bytes()) == {3} and set(frame["alt"].str.len_bytes()) == {1}
    counts = dict(frame.group_by("rel_pos").len().iter_rows())
    assert set(counts) == {1, 2, 6, 7, 8, 9}
    assert chi_squared(np.array(list(counts.values())), 20_000 / 6) < 20.5  # 5 degrees of freedom, p = 0.001


def test_indel_lengths_and_types(window: NDArray[np.uint8]) -> None:
    frame = indel(window, 40_000, np.random.default_rng(9))
    ref, alt = frame["ref"].str.len_bytes().to_numpy(), frame["alt"].str.len_bytes().to_numpy()
    assert ((ref == 1) ^ (alt == 1)).all()
    assert (frame["ref"].str.slice(0, 1) == frame["alt"].str.slice(0, 1)).all()  # the anchor
    assert abs((alt > ref).mean() - 0.5) < 0.01
    size = np.maximum(ref, alt) - 1
    assert size.min() == 1 and size.max() == 15
    expected = truncated_geometric(15) * 40_000
    assert chi_squared(np.bincount(size, minlength=16)[1:], expected) < 36.1  # 14 degrees of freedom, p = 0.001
    assert (truncated_geometric(15) * np.arange(1, 16)).sum() == pytest.approx(3.0, abs=0.1)


def test_mnv_changes_its_ends_and_is_uniform_in_length(window: NDArray[np.uint8]) -> None:
    frame = mnv(window, 14_000, np.random.default_rng(10))
    ref, alt = frame["ref"], frame["alt"]
    lengths = ref.str.len_bytes()
    assert (lengths == alt.str.len_bytes()).all()
    assert (ref.str.slice(0, 1) != alt.str.slice(0, 1)).all() and (ref.str.slice(-1) != alt.str.slice(-1)).all()
    counts = np.bincount(lengths.to_numpy(), minlength=9)[2:]
    assert len(counts) == 7 and chi_squared(counts, 2_000) < 22.5  # 6 degrees of freedom, p = 0.001


def test_complex_indels_cannot_be_trimmed(window: NDArray[np.uint8]) -> None:
    frame = complex_indel(window, 5_000, np.random.default_rng(11))
    ref, alt = frame["ref"], frame["alt"]
    assert (ref.str.len_bytes() > 1).all() and (alt.str.len_bytes() > 1).all()
    assert (ref.str.len_bytes() != alt.str.len_bytes()).all()
    assert (ref.str.slice(0, 1) != alt.str.slice(0, 1)).all() and (ref.str.slice(-1) != alt.str.slice(-1)).all()


@pytest.mark.parametrize("lengths", [(1, 4), (5, 4), (2, 17)])
def test_mnv_lengths_are_checked(window: NDArray[np.uint8], lengths: tuple[int, int]) -> None:
    with pytest.raises(ValueError, match="lengths"):
        mnv(window, 1, np.random.default_rng(0), lengths=lengths)


def test_length_weights_are_checked(window: NDArray[np.uint8]) -> None:
    with pytest.raises(ValueError, match="length_weights"):
        indel(window, 1, np.random.default_rng(0), length_weights=np.ones(16))
    with pytest.raises(ValueError, match="longest"):
        truncated_geometric(0)
