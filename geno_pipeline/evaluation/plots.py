"""Pictures of the report: skill by number of edits, ROC and PR curves, percentiles, reliability (spec 6).

Belongs here: figures from tables, as PNG bytes. Does not belong here: computing what they show.

One style: the Okabe-Ito colours, told apart also by marker and line style; units on the axes, n in the caption. Figures
are made without pyplot, so nothing is shared between two of them and no display is asked for. The metadata has no
date: same table, same bytes.
"""

from __future__ import annotations

import base64
import io
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import polars as pl
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from numpy.typing import NDArray

from data_contracts.benchmark_alleles import TRACKS
from geno_pipeline.evaluation.benchmarks import CONSEQUENCE, DISPLACEMENT, DISTANCE, NO_CHANGE, SURPRISE, ZERO_SHOT
from geno_pipeline.evaluation.metrics import pr_curve, roc_curve
from geno_pipeline.evaluation.rollout import ALL

BLUE, ORANGE, GREEN, PURPLE, GREY = "#0072B2", "#D55E00", "#009E73", "#CC79A7", "#666666"
SKY, BLACK = "#56B4E9", "#000000"
SERIES: tuple[tuple[str, str, Any], ...] = (
    (BLUE, "o", "-"),
    (ORANGE, "s", "--"),
    (GREEN, "^", "-."),
    (PURPLE, "D", ":"),
    (SKY, "v", (0, (5, 1, 1, 1, 1, 1))),
    (BLACK, "x", (0, (8, 2))),
)
DRAWN = (SURPRISE, DISPLACEMENT, ZERO_SHOT, NO_CHANGE, DISTANCE, CONSEQUENCE)
DPI = 110

CurveOf = Callable[[NDArray[Any], NDArray[Any]], tuple[NDArray[np.float64], NDArray[np.float64]]]
"""From labels and scores to the points of a curve."""


def skill_by_k(rollout: pl.DataFrame) -> bytes:
    """Skill at the last step against the number of edits, one line a holdout, 95 % intervals; no change is 0.

    Args:
        rollout: table of `rollout.rollout_fidelity`.
    """
    table = rollout.filter(pl.col("k").is_not_null() & (pl.col("edit_type") == ALL) & pl.col("skill").is_not_null())
    figure, (axes,) = _figure(1)
    n_holdouts = max(table["holdout"].n_unique(), 1)
    for place, ((name,), rows) in enumerate(table.group_by("holdout", maintain_order=True)):
        colour, marker, line = SERIES[place % len(SERIES)]
        skill = rows["skill"].to_numpy()
        low = rows["skill_low"].fill_null(pl.Series(skill)).to_numpy()
        high = rows["skill_high"].fill_null(pl.Series(skill)).to_numpy()
        # A small shift to the side keeps the intervals of two holdouts apart.
        x = rows["k"].to_numpy() + 0.08 * (place - (n_holdouts - 1) / 2)
        error = np.maximum(np.stack([skill - low, high - skill]), 0)
        label = f"{name} (n = {rows['n'].sum():,})"
        axes.errorbar(x, skill, yerr=error, color=colour, marker=marker, linestyle=line, capsize=3, label=label)
    axes.axhline(0, color=GREY, linewidth=1, linestyle=(0, (1, 2)), label="predict no change")
    axes.set_xticks(sorted(table["k"].unique().to_list()))
    axes.set(xlabel="edits in the row, K", ylabel="skill (share of the change explained)")
    axes.set_title("Skill after the last of K edits, 95 % intervals")
    axes.legend()
    return _png(figure)


def roc(rows: pl.DataFrame) -> bytes:
    """ROC curves of both heads and of what they must beat, one panel a benchmark that has both classes.

    Args:
        rows: `benchmarks.evaluated`.
    """
    return _curves(rows, roc_curve, "false positive rate", "true positive rate", is_roc=True)


def precision_recall(rows: pl.DataFrame) -> bytes:
    """Precision by recall in steps, as `roc`; chance is the share of positives among the alleles of each curve."""
    return _curves(rows, pr_curve, "recall (true positive rate)", "precision", is_roc=False)


@dataclass(frozen=True, slots=True)
class Curve:
    """The curve of a score (x, y), on how many alleles it is; no points where the score is one value for all."""

    score: str
    x: NDArray[np.float64]
    y: NDArray[np.float64]
    n_positive: int
    n_negative: int

    @property
    def share_positive(self) -> float:
        """Precision by chance."""
        return self.n_positive / (self.n_positive + self.n_negative)


def curves(group: pl.DataFrame, curve: CurveOf) -> list[Curve]:
    """The curves of a benchmark's panel, in the order of `DRAWN`, each of the alleles that have the score."""
    found = []
    for score in DRAWN:
        judged = group.filter(pl.col(score).is_finite())
        label, values = judged["label"].to_numpy(), judged[score].to_numpy()
        if judged["label"].n_unique() == 2:
            x, y = curve(label, values) if judged[score].n_unique() > 1 else (np.empty(0), np.empty(0))
            n_positive = int(label.sum())
            found.append(Curve(score, x, y, n_positive, len(label) - n_positive))
    return found


def percentile_histogram(rows: pl.DataFrame) -> bytes:
    """Surprise percentiles of both classes, one panel a benchmark; common variants would lie flat at 1.

    Args:
        rows: `benchmarks.evaluated`.
    """
    groups = _labelled(rows)
    figure, panels = _figure(len(groups))
    edges = np.linspace(0, 1, 21)
    for axes, (track, group) in zip(panels, groups.items(), strict=False):
        for label, name, (colour, _, line) in ((1, "harmful", SERIES[1]), (0, "harmless", SERIES[0])):
            values = group.filter((pl.col("label") == label) & pl.col(SURPRISE).is_finite())[SURPRISE].to_numpy()
            if len(values):
                density, _ = np.histogram(values, edges, density=True)
                axes.stairs(
                    density, edges, color=colour, linestyle=line, linewidth=1.8, label=f"{name} (n = {len(values):,})"
                )
        axes.axhline(1, color=GREY, linewidth=1, linestyle=(0, (1, 2)), label="common variants")
        axes.set(xlabel="surprise (percentile among common variants)", ylabel="density", xlim=(0, 1))
        axes.set_title(track)
        axes.legend()
    return _png(figure)


def reliability(table: pl.DataFrame) -> bytes:
    """Share of unseen common variants up to each percentile, with 95 % intervals; ideally on the diagonal.

    Args:
        table: of `calibration.reliability`.
    """
    figure, (axes,) = _figure(1)
    axes.plot([0, 1], [0, 1], color=GREY, linewidth=1, linestyle=(0, (1, 2)), label="ideal")
    for place, ((edits,), rows) in enumerate(table.group_by("edits", maintain_order=True)):
        colour, marker, line = SERIES[place]
        x, y = rows["expected"].to_numpy(), rows["observed"].to_numpy()
        error = np.maximum(np.stack([y - rows["low"].to_numpy(), rows["high"].to_numpy() - y]), 0)
        label = f"{edits} (n = {rows['n'][0]:,})"
        axes.errorbar(x + 0.004 * place, y, yerr=error, color=colour, marker=marker, linestyle=line, capsize=2,
                      markersize=4, label=label)  # fmt: skip
    axes.set(xlabel="percentile", ylabel="share of unseen common variants up to it", xlim=(0, 1), ylim=(0, 1))
    axes.set_title("Reliability of percentiles")
    axes.legend()
    return _png(figure)


def _curves(rows: pl.DataFrame, curve: CurveOf, x_name: str, y_name: str, *, is_roc: bool) -> bytes:
    groups = _labelled(rows)
    figure, panels = _figure(len(groups), panel_width=4.6)
    lines: dict[str, tuple[str, str, Any]] = dict(zip(DRAWN, SERIES, strict=True))
    for axes, (track, group) in zip(panels, groups.items(), strict=False):
        n_positive = int(group["label"].sum())
        share = n_positive / max(group.height, 1)
        start, name = (0, "chance") if is_roc else (share, f"chance: {share:.2f}")
        axes.plot([0, 1], [start, 1 if is_roc else share], color=GREY, linewidth=1, linestyle=(0, (1, 2)), label=name)
        for found in curves(group, curve):
            colour, _, line = lines[found.score]
            label = found.score if len(found.x) else f"{found.score}: constant here, not drawn"
            is_part = found.n_positive + found.n_negative < group.height
            if is_part:
                label += f" ({found.n_positive:,} + {found.n_negative:,})"
            axes.plot(found.x, found.y, color=colour, linestyle=line, label=label,
                      drawstyle="default" if is_roc else "steps-pre")  # fmt: skip
            if is_part and not is_roc:
                own, name = found.share_positive, f"chance among those: {found.share_positive:.2f}"
                axes.plot([0, 1], [own, own], color=colour, linewidth=1, linestyle=(0, (1, 2)), label=name)
        axes.set(xlabel=x_name, ylabel=y_name, aspect="equal", xlim=(-0.02, 1.02), ylim=(-0.02, 1.02))
        axes.set_title(f"{track}: {n_positive:,} positive, {group.height - n_positive:,} negative")
        axes.legend(fontsize=7)
    return _png(figure)


def _labelled(rows: pl.DataFrame) -> dict[str, pl.DataFrame]:
    """Rows with a label that take part, by benchmark; one empty panel where there are none."""
    used = rows.filter(pl.col("reason").is_null() & pl.col("label").is_not_null())
    found = {track: used.filter(pl.col("track") == track) for track in TRACKS}
    both = {track: group for track, group in found.items() if group["label"].n_unique() == 2}
    return both or {"no benchmark with both classes": used.clear()}


def line(x: Sequence[float], y: Sequence[float], x_name: str, y_name: str) -> bytes:
    """One curve, such as a loss by step; the names carry the units."""
    figure, (axes,) = _figure(1)
    axes.plot(x, y, color=BLUE, marker="o", markersize=3)
    axes.set(xlabel=x_name, ylabel=y_name)
    return _png(figure)


def line_picture(x: Sequence[float], y: Sequence[float], x_name: str, y_name: str) -> str:
    """`line` as Markdown, for the metadata of an asset (`MetadataValue.md`)."""
    return markdown_picture(line(x, y, x_name, y_name), f"{y_name} by {x_name}")


def markdown_picture(png: bytes, caption: str) -> str:
    """A PNG as Markdown that holds the picture itself."""
    return f"![{caption}]({data_uri(png)})"


def data_uri(png: bytes) -> str:
    """A PNG as a `data:` address, for a page that asks for nothing from outside."""
    return f"data:image/png;base64,{base64.b64encode(png).decode('ascii')}"


def _figure(n_panels: int, panel_width: float = 6.0) -> tuple[Figure, list[Axes]]:
    n_columns = min(n_panels, 2)
    n_rows = -(-n_panels // n_columns)
    figure = Figure(figsize=(panel_width * n_columns + 0.5, 4.4 * n_rows), dpi=DPI, layout="constrained")
    FigureCanvasAgg(figure)
    panels = [figure.add_subplot(n_rows, n_columns, place + 1) for place in range(n_panels)]
    for axes in panels:
        axes.spines[["top", "right"]].set_visible(False)
        axes.grid(color="#dddddd", linewidth=0.6)
        axes.set_axisbelow(True)
    return figure, panels


def _png(figure: Figure) -> bytes:
    for axes in figure.axes:
        axes.title.set_fontsize(11)
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", metadata={"Software": None})
    return buffer.getvalue()
