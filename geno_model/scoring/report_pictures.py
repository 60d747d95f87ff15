"""Pictures and numbers of the report of a run, as HTML (spec 5, `--report`).

Belongs here: the chromosomes, the histogram, and how a number is written. Does not: what is counted (`report_data`),
the page around them (`report`).

The concept: SVG holds shapes only and is stretched to the width that there is; every letter is HTML beside it. So text
has the same size on a telephone as on a desk, and nothing needs a script.
"""

from __future__ import annotations

import html
import math
from collections.abc import Mapping, Sequence

import numpy as np
import polars as pl
from numpy.typing import NDArray

from geno_model.scoring.report_data import CONTIG_BINS, HISTOGRAM_BINS

MAX_CONTIGS = 30
FEW_CONTIGS = 3  # are drawn higher
MAX_MARKS = 25

_WIDTH, _HEIGHT = 1_000, 100  # of every SVG's own coordinates
_MARK_HEIGHT = 30  # above the bars of a contig, so that a mark is seen where the bars are full
_CAP_QUANTILE = 0.98  # of the stretches' densities: one crowded stretch must not flatten all others


def number(value: float | int | None) -> str:
    """A whole number in full, any other with four significant digits; – where there is none."""
    if value is None:
        return "–"
    if isinstance(value, int):
        return f"{value:,}"
    rounded = float(f"{value:.4g}")
    if rounded == 0:
        return "0"
    decimals = 3 - math.floor(math.log10(abs(rounded)))
    text = f"{rounded:,.{max(decimals, 0)}f}" if decimals < 10 else f"{rounded:.3e}"
    return text.replace("-", "\N{MINUS SIGN}")


def percent(share: float) -> str:
    """A share as "12.3 %", which no line break parts."""
    digits = "0" if share == 0 else f"{100 * share:#.3g}".rstrip(".")
    return f"{digits}\N{NO-BREAK SPACE}%"


def length(bp: float) -> str:
    """A length with a unit."""
    unit, size = next(((unit, size) for unit, size in (("Mb", 1e6), ("kb", 1e3)) if bp >= size), ("bp", 1.0))
    return f"{bp / size:.3g} {unit}"


def chromosomes(
    places: Mapping[str, Sequence[int]], lengths: Mapping[str, int], top: pl.DataFrame, n_marks: int
) -> str:
    """One row a contig, at most `MAX_CONTIGS`: its name, its variants along it, how many they are.

    places: counts in `CONTIG_BINS` parts, in the order to draw. top: the first n_marks of its rows get a mark.
    """
    drawn = list(places)[:MAX_CONTIGS]
    longest = max(lengths[name] for name in drawn)
    density = {name: _stretches(places[name], lengths[name], longest) for name in drawn}
    everywhere = np.concatenate(list(density.values()))
    full = float(np.quantile(everywhere[everywhere > 0], _CAP_QUANTILE))
    marked = top.head(n_marks).filter(pl.col("contig").is_in(drawn))
    rows = [
        _contig(name, sum(places[name]), density[name] / full, lengths[name], longest, marked) for name in drawn
    ]  # fmt: skip
    stretch = longest / CONTIG_BINS
    key = [
        (
            '<rect class="bar" y="30" width="1000" height="70"/>',
            f"scored variants in about {length(stretch)}; full height: {number(math.ceil(full * stretch))} or more",
        )
    ]
    if marked.height:
        first = "the first row" if n_marks == 1 else f"the first {n_marks} rows"
        if marked.height < n_marks:
            first = f"{marked.height} of {first}"
        key.append(('<line class="mark" x1="500" x2="500" y2="100"/>', f"{first} of the long table below"))
    lines = "\n".join(rows)
    few = " few" if len(drawn) <= FEW_CONTIGS else ""
    return f'<div class="map{few}">\n{lines}\n</div>\n{_key(key)}{_undrawn(places, drawn)}'


def histogram(counts: Sequence[int]) -> str:
    """Percentiles in `HISTOGRAM_BINS` bars, as shares of all, and the level that the calibration expects."""
    shares = np.array(counts) / sum(counts)
    expected = 1 / HISTOGRAM_BINS
    step = _round_step(max(float(shares.max()), expected) * 1.05)
    n_steps = math.ceil(max(float(shares.max()), expected) * 1.05 / step)
    scale = _HEIGHT / (n_steps * step)
    wide = _WIDTH / HISTOGRAM_BINS
    bars = "".join(
        f'<rect class="{"high" if index == HISTOGRAM_BINS - 1 else "bar"}" x="{index * wide + 1:g}" '
        f'y="{_HEIGHT - share * scale:.4g}" width="{wide - 2:g}" height="{share * scale:.4g}"/>'
        for index, share in enumerate(shares.tolist())
    )
    ticks = [index * step for index in range(n_steps + 1)]
    grid = "".join(f'<line class="grid" x2="{_WIDTH}" y1="{y}" y2="{y}"/>' for y in (_up(t, scale) for t in ticks))
    line = _up(expected, scale)
    shapes = f'{grid}{bars}<line class="expected" x2="{_WIDTH}" y1="{line}" y2="{line}"/>'
    title = f"Histogram of {sum(counts):,} percentiles in {HISTOGRAM_BINS} bars; the last bar has {percent(shares[-1])}"
    labels = "".join(f'<span class="y" style="bottom:{t * scale:.4g}%">{100 * t:g} %</span>' for t in ticks)
    axis = "".join(f"<span>{name}</span>" for name in ("0", "0.25", "0.5", "0.75", "1"))
    key = [
        ('<rect class="bar" width="1000" height="100"/>', "share of the scored variants"),
        ('<rect class="high" width="1000" height="100"/>', "percentile 0.98 to 1"),
        (
            '<line class="expected" x2="1000" y1="50" y2="50"/>',
            f"{100 * expected:g} % in each bar, as chance would give",
        ),
    ]
    # The labels of y stand beside the SVG alone, so the axis below is outside of what they are placed in.
    chart = f'<div class="chart">{_svg(shapes, title)}{labels}</div>'
    return f'{chart}\n<div class="chart axis" aria-hidden="true"><div class="x">{axis}</div></div>\n{_key(key)}'


def wilson(n_hits: int, n: int) -> tuple[float, float]:
    """95 % interval of a share by Wilson's formula; (0, 1) of nothing."""
    if not n:
        return 0.0, 1.0
    z = 1.959964
    share, more = n_hits / n, z * z / n
    half = z * math.sqrt(share * (1 - share) / n + more / (4 * n))
    low, high = ((share + more / 2 + side * half) / (1 + more) for side in (-1, 1))
    return (0.0 if n_hits == 0 else low), (1.0 if n_hits == n else high)


def _stretches(counts: Sequence[int], bp: int, longest: int) -> NDArray[np.float64]:
    """Variants per bp in stretches of about the same length on every contig."""
    n_stretches = max(1, round(CONTIG_BINS * bp / longest))
    of_bin = np.arange(CONTIG_BINS) * n_stretches // CONTIG_BINS
    sizes = np.bincount(of_bin, minlength=n_stretches) * bp / CONTIG_BINS
    return np.bincount(of_bin, weights=counts, minlength=n_stretches) / sizes


def _contig(name: str, n: int, heights: NDArray[np.float64], bp: int, longest: int, marked: pl.DataFrame) -> str:
    """A row of the grid. heights: 1 is full."""
    wide, room = _WIDTH / len(heights), _HEIGHT - _MARK_HEIGHT
    bars = "".join(
        f'<path class="bar" d="M{index * wide:.5g} {_HEIGHT}v-{room * min(height, 1):.3g}h{wide:.5g}V{_HEIGHT}z"/>'
        for index, height in enumerate(heights.tolist())
        if height
    )
    here = marked.filter(pl.col("contig") == name).sort("pos", "record", "alt_index")
    lines = "".join(
        f'<line class="mark" x1="{x:.5g}" x2="{x:.5g}" y2="{_HEIGHT}"/>'
        for x in ((here["pos"] - 0.5) / bp * _WIDTH).to_list()
    )
    track = f'<rect class="track" y="{_MARK_HEIGHT}" width="{_WIDTH}" height="{room}"/>'
    title = f"{name}, {length(bp)}: {number(n)} scored, {number(here.height)} marked"
    picture = _svg(track + bars + lines, title, f"width:{100 * bp / longest:.4g}%")
    label = html.escape(name)
    return f'<span class="name" title="{label}">{label}</span>{picture}<span class="n">{number(n)}</span>'


def _undrawn(places: Mapping[str, Sequence[int]], drawn: Sequence[str]) -> str:
    rest = [sum(counts) for name, counts in places.items() if name not in set(drawn)]
    if not rest:
        return ""
    contigs = (
        "1 more contig, not drawn, has" if len(rest) == 1 else f"{number(len(rest))} more contigs, not drawn, have"
    )
    return f'\n<p class="small">{contigs} {number(sum(rest))} scored variants.</p>'


def _svg(shapes: str, title: str, style: str = "") -> str:
    text = html.escape(title)
    styled = f' style="{style}"' if style else ""
    return (
        f'<svg role="img" aria-label="{text}" viewBox="0 0 {_WIDTH} {_HEIGHT}" preserveAspectRatio="none"{styled}>'
        f"<title>{text}</title>{shapes}</svg>"
    )


def _key(entries: Sequence[tuple[str, str]]) -> str:
    box = f'<svg aria-hidden="true" viewBox="0 0 {_WIDTH} {_HEIGHT}" preserveAspectRatio="none">'
    spans = "".join(f"<span>{box}{shape}</svg>{html.escape(text)}</span>" for shape, text in entries)
    return f'<div class="key">{spans}</div>'


def _up(share: float, scale: float) -> str:
    return f"{_HEIGHT - share * scale:.4g}"


def _round_step(highest: float) -> float:
    """The smallest of 1, 2, 5 times a power of ten that goes into `highest` at most five times."""
    power = 10.0 ** math.floor(math.log10(highest / 5))
    return next(factor * power for factor in (1, 2, 5, 10) if factor * power * 5 >= highest)
