"""Small pictures in the metadata of assets, drawn inline so that the page asks for nothing from outside.

Belongs here: a line and bars as Markdown with a `data:` image. Does not belong here: figures of the report
(`evaluation.plots`), and computing what is shown.
"""

from __future__ import annotations

import io
from collections.abc import Callable, Mapping, Sequence

import dagster as dg
import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from geno_pipeline.evaluation import plots
from geno_pipeline.evaluation.plots import BLUE, GREEN, GREY, ORANGE, data_uri

COLOURS = (GREY, BLUE, ORANGE, GREEN)


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


def _picture(draw: Callable[[Axes], None], title: str) -> dg.MarkdownMetadataValue:
    figure = Figure(figsize=(6, 3), dpi=90, layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.add_subplot()
    axes.spines[["top", "right"]].set_visible(False)
    draw(axes)
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", metadata={"Software": None})
    return dg.MetadataValue.md(f"![{title}]({data_uri(buffer.getvalue())})")
