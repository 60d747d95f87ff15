"""Small pictures in the metadata of assets, drawn inline so that the page asks for nothing from outside.

Belongs here: a line, bars, a histogram and a coverage as Markdown with a `data:` image, and the counts behind the last
two. Does not belong here: figures of the report (`evaluation.plots`), and computing anything else that is shown.
"""

from __future__ import annotations

import io
from collections.abc import Callable, Mapping, Sequence

import dagster as dg
import numpy as np
from matplotlib.axes import Axes
from matplotlib.axis import Axis
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter
from numpy.typing import ArrayLike, NDArray

from geno_pipeline.evaluation import plots
from geno_pipeline.evaluation.plots import BLUE, GREEN, GREY, ORANGE, data_uri

COLOURS = (GREY, BLUE, ORANGE, GREEN)
COVERAGE_POINTS = 2_000
_LIGHT, _DARK = "#9ecae1", "#a63603"  # far apart in grey too


def line_picture(x: Sequence[float], y: Sequence[float], x_label: str, y_label: str) -> dg.MarkdownMetadataValue:
    """One line of `y` over `x`, of the same length."""
    return dg.MetadataValue.md(plots.line_picture(x, y, x_label, y_label))


def bar_picture(names: Sequence[str], series: Mapping[str, Sequence[float]], y_label: str) -> dg.MarkdownMetadataValue:
    """For each name a group of bars, one of each series (at most four)."""

    def draw(axes: Axes) -> None:
        width = 0.8 / len(series)
        for place, (label, values) in enumerate(series.items()):
            x = np.arange(len(names)) + (place - (len(series) - 1) / 2) * width
            axes.bar(x, values, width, label=label, color=COLOURS[place])
        axes.set_xticks(range(len(names)), names)
        axes.set(ylabel=y_label)
        axes.legend()

    return _picture(draw, y_label)


def histogram_picture(
    values: ArrayLike, x_label: str, y_label: str, bins: int | Sequence[float], log_x: bool = False, log_y: bool = False
) -> dg.MarkdownMetadataValue:
    """How many values lie in each bin; the labels carry the units. See `histogram_counts` for values left out."""
    counts, edges, n_left_out = histogram_counts(values, bins, log_x=log_x)
    shown = f"n = {counts.sum():,}" + (f", {n_left_out:,} not shown" if n_left_out else "")

    def draw(axes: Axes) -> None:
        floor = 0.5 if log_y else 0.0  # below a count of 1
        axes.stairs(counts, edges, baseline=floor, fill=True, facecolor=_LIGHT, edgecolor="black", linewidth=0.8)
        axes.set(xlabel=x_label, ylabel=y_label, xlim=(edges[0], edges[-1]), title=shown)
        axes.set_ylim(floor, max(int(counts.max()), 1) * (1.5 if log_y else 1.05))
        if log_x:
            axes.set_xscale("log")
            _plain_log_ticks(axes.xaxis)
        if log_y:
            axes.set_yscale("log")
            _plain_log_ticks(axes.yaxis)

    return _picture(draw, f"{y_label} by {x_label}")


def histogram_counts(
    values: ArrayLike, bins: int | Sequence[float], *, log_x: bool = False
) -> tuple[NDArray[np.int64], NDArray[np.float64], int]:
    """Counts of the bins, their edges, and how many values are in none.

    A bin holds its left edge, the last one both. In none are values that are missing, beyond the edges given, or with
    `log_x` not above 0.

    Args:
        bins: how many of equal width from the least value to the greatest (of equal ratio with `log_x`), or the edges.
    """
    found = np.asarray(values, dtype=np.float64)
    usable = found[np.isfinite(found) & (found > 0)] if log_x else found[np.isfinite(found)]
    if isinstance(bins, int) and log_x:
        scaled = np.log10(usable)
        counts, edges = np.histogram(scaled, bins)
        edges = 10.0**edges
    else:
        counts, edges = np.histogram(usable, bins)
    return counts.astype(np.int64), edges.astype(np.float64), int(found.size - counts.sum())


def coverage_picture(
    start_bp: ArrayLike, end_bp: ArrayLike, held: ArrayLike, length_bp: int, contig: str
) -> dg.MarkdownMetadataValue:
    """How many kept windows cover each position of a contig; those that are held out stand on top of the others.

    Args:
        start_bp, end_bp: spans of the windows, 0-based, half-open.
        held: which of them are held out.
    """
    start, end, is_held = np.asarray(start_bp), np.asarray(end_bp), np.asarray(held, dtype=np.bool_)
    edges, free = coverage_depth(start[~is_held], end[~is_held], length_bp)
    _, total = coverage_depth(start, end, length_bp)
    mega, width = edges / 1e6, int(np.diff(edges).max())

    def draw(axes: Axes) -> None:
        axes.stairs(free, mega, fill=True, color=_LIGHT, label="for training")
        if is_held.any():
            axes.stairs(total, mega, baseline=free, fill=True, color=_DARK, label="held out")
        axes.set(xlabel=f"position on {contig} (Mbp)", ylabel="windows over a position", xlim=(0, mega[-1]))
        axes.set_ylim(0, max(float(total.max()), 1.0) * 1.25)
        axes.set_title(f"{len(start):,} windows" + (f", mean of each {width:,} bp" if width > 1 else ""))
        axes.legend(loc="upper right", ncols=2, frameon=False)

    return _picture(draw, f"windows over each position of {contig}")


def coverage_depth(
    start_bp: ArrayLike, end_bp: ArrayLike, length_bp: int, n_points: int = COVERAGE_POINTS
) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    """Edges of at most `n_points` stretches of a contig (bp), and how many spans cover a base of each on average."""
    edges = np.linspace(0, length_bp, min(length_bp, n_points) + 1).round().astype(np.int64)
    # Bases before an edge that lie in spans: all that follow the starts before it, less all that follow such ends.
    covered = np.diff(_bases_after(start_bp, edges) - _bases_after(end_bp, edges))
    return edges, covered / np.diff(edges)


def _bases_after(points: ArrayLike, edges: NDArray[np.int64]) -> NDArray[np.int64]:
    """For each edge the sum of its distances from all points before it."""
    ordered = np.sort(np.asarray(points, dtype=np.int64))
    n_before = np.searchsorted(ordered, edges)
    return n_before * edges - np.concatenate([[0], np.cumsum(ordered)])[n_before]


def _plain_log_ticks(axis: Axis) -> None:
    """Plain numbers on a log axis: each power of ten, and 2 and 5 times it where there are few."""
    low, high = axis.get_view_interval()
    axis.set_major_locator(LogLocator(subs=(1.0, 2.0, 5.0) if high < 300 * low else (1.0,)))
    axis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:,g}"))
    axis.set_minor_formatter(NullFormatter())


def _picture(draw: Callable[[Axes], None], title: str) -> dg.MarkdownMetadataValue:
    figure = Figure(figsize=(6, 3), dpi=90, layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.add_subplot()
    axes.spines[["top", "right"]].set_visible(False)
    draw(axes)
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", metadata={"Software": None})
    return dg.MetadataValue.md(f"![{title}]({data_uri(buffer.getvalue())})")
