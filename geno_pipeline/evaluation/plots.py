"""Pictures of the report: skill by number of edits, ROC curves, percentile histograms, one plain curve (spec 6).

Belongs here: figures from tables, as PNG bytes. Does not belong here: computing what they show.

One style: the Okabe-Ito colours, told apart also by marker and line style; units on the axes, n in the caption. Figures
are made without pyplot, so nothing is shared between two of them and no display is asked for. The metadata has no
date: same table, same bytes.
"""

from __future__ import annotations

import base64
import io
from collections.abc import Sequence

import numpy as np
import polars as pl
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from geno_pipeline.evaluation.benchmarks import HEADS, TRACKS
from geno_pipeline.evaluation.metrics import roc_curve
from geno_pipeline.evaluation.rollout import ALL

BLUE, ORANGE, GREEN, PURPLE, GREY = "#0072B2", "#D55E00", "#009E73", "#CC79A7", "#666666"
SERIES = ((BLUE, "o", "-"), (ORANGE, "s", "--"), (GREEN, "^", "-."), (PURPLE, "D", ":"))
DPI = 110


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


def roc(scores: pl.DataFrame) -> bytes:
    """ROC curves of every head, one panel a ClinVar track.

    Args:
        scores: `clinvar_scores`.
    """
    figure, panels = _figure(len(TRACKS), panel_width=4.6)
    for axes, (track, in_track) in zip(panels, TRACKS.items(), strict=True):
        rows = scores.filter(in_track)
        n_positive = int(rows["label"].sum())
        axes.plot([0, 1], [0, 1], color=GREY, linewidth=1, linestyle=(0, (1, 2)), label="chance")
        if 0 < n_positive < rows.height:
            for (head, column), (colour, _, line) in zip(HEADS.items(), SERIES, strict=False):
                false, true = roc_curve(rows["label"].to_numpy(), rows[column].to_numpy())
                axes.plot(false, true, color=colour, linestyle=line, label=head)
        axes.set(xlabel="false positive rate (B/LB)", ylabel="true positive rate (P/LP)", aspect="equal")
        axes.set_title(f"{track}: {n_positive:,} P/LP, {rows.height - n_positive:,} B/LB")
        axes.legend(loc="lower right")
    return _png(figure)


def percentile_histogram(scores: pl.DataFrame) -> bytes:
    """Surprise percentiles of P/LP and B/LB alleles, one panel a track; common variants would lie flat at 1.

    Args:
        scores: `clinvar_scores`.
    """
    figure, panels = _figure(len(TRACKS))
    edges = np.linspace(0, 1, 21)
    for axes, (track, in_track) in zip(panels, TRACKS.items(), strict=True):
        rows = scores.filter(in_track)
        for label, name, (colour, _, line) in ((1, "P/LP", SERIES[1]), (0, "B/LB", SERIES[0])):
            values = rows.filter(pl.col("label") == label)["surprise"].to_numpy()
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
    figure = Figure(figsize=(panel_width * n_panels + 0.5, 4.4), dpi=DPI, layout="constrained")
    FigureCanvasAgg(figure)
    panels = [figure.add_subplot(1, n_panels, place + 1) for place in range(n_panels)]
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
