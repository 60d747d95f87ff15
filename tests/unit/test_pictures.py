"""Pictures in the metadata of assets: the numbers behind them, by hand, and that a PNG comes out."""

from __future__ import annotations

import base64
import re

import dagster as dg
import numpy as np
import polars as pl
import pytest

from geno_pipeline.pictures import (
    COVERAGE_POINTS,
    bar_picture,
    coverage_depth,
    coverage_picture,
    histogram_counts,
    histogram_picture,
    line_picture,
)


def png(picture: dg.MarkdownMetadataValue) -> bytes:
    found = re.fullmatch(r"!\[[^\]]+\]\(data:image/png;base64,([A-Za-z0-9+/=]+)\)", picture.md_str or "")
    assert found
    return base64.b64decode(found[1])


def test_histogram_counts_each_value_once_the_last_bin_holds_its_right_edge() -> None:
    counts, edges, n_left_out = histogram_counts([0, 1, 1, 2, 3, 4], 4)
    assert (counts.tolist(), edges.tolist(), n_left_out) == ([1, 2, 1, 2], [0, 1, 2, 3, 4], 0)


def test_histogram_with_given_edges_tells_how_many_values_are_beyond_them_or_missing() -> None:
    values = pl.Series([None, float("nan"), -1.0, 0.0, 0.5, 1.0, 7.0])
    counts, edges, n_left_out = histogram_counts(values, [0, 0.5, 1])
    assert (counts.tolist(), edges.tolist(), n_left_out) == ([1, 2], [0, 0.5, 1], 4)


def test_histogram_on_a_log_axis_has_bins_of_equal_ratio_and_leaves_out_what_is_not_above_0() -> None:
    counts, edges, n_left_out = histogram_counts([-1, 0, 1, 2, 20, 200, 1_000], 3, log_x=True)
    assert counts.tolist() == [2, 1, 2]
    assert edges == pytest.approx([1, 10, 100, 1_000])
    assert n_left_out == 2


@pytest.mark.parametrize("values", [[], [3.0], [3.0, 3.0]])
@pytest.mark.parametrize("log", [False, True])
def test_histogram_of_no_value_and_of_one(values: list[float], log: bool) -> None:
    counts, _, n_left_out = histogram_counts(values, 5, log_x=log)
    assert (counts.sum(), n_left_out) == (len(values), 0)
    assert png(histogram_picture(values, "x", "n", 5, log_x=log, log_y=log)).startswith(b"\x89PNG")


def test_coverage_of_every_base_of_a_short_contig() -> None:
    # base          0  1  2  3  4  5  6  7  8  9
    # [0, 4)        x  x  x  x
    # [2, 6)              x  x  x  x
    # [8, 10)                               x  x
    edges, depth = coverage_depth([8, 0, 2], [10, 4, 6], 10)
    assert edges.tolist() == list(range(11))
    assert depth.tolist() == [1, 1, 2, 2, 1, 1, 0, 0, 1, 1]


def test_coverage_of_a_stretch_is_the_mean_over_its_bases() -> None:
    edges, depth = coverage_depth([0, 2, 8], [4, 6, 10], 10, n_points=2)
    assert (edges.tolist(), depth.tolist()) == ([0, 5, 10], [7 / 5, 3 / 5])


def test_coverage_of_a_chromosome_has_few_points_and_loses_no_base() -> None:
    length = 248_956_422
    start = np.arange(0, length - 12_288, 8_192)
    edges, depth = coverage_depth(start, start + 12_288, length)
    assert len(depth) == COVERAGE_POINTS
    assert (depth * np.diff(edges)).sum() == pytest.approx(len(start) * 12_288)
    held = start > 200_000_000
    assert png(coverage_picture(start, start + 12_288, held, length, "chr1")).startswith(b"\x89PNG")


def test_coverage_of_a_contig_without_windows() -> None:
    none = pl.Series([], dtype=pl.Int64)
    assert coverage_depth(none, none, 5)[1].tolist() == [0] * 5
    assert png(coverage_picture(none, none, none.cast(pl.Boolean), 5, "chr1")).startswith(b"\x89PNG")


def test_same_values_same_bytes() -> None:
    pictures = [histogram_picture([1, 2, 2], "reads", "alleles", 3).md_str for _ in range(2)]
    assert pictures[0] == pictures[1]
    assert png(line_picture([1, 2], [3, 4], "step", "loss")).startswith(b"\x89PNG")
    assert png(bar_picture(["a"], {"obtained": [1]}, "rows")).startswith(b"\x89PNG")
