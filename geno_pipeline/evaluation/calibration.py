"""How well percentiles fit: by kind of edit, by population, and for variants that they were not made of (spec 5, 6).

Belongs here: the distances, and the report's section about them. Does not: making or using the tables
(`geno_model.scoring.calibration`).

Percentiles that fit are uniform: the Kolmogorov-Smirnov distance of a kind of edit is then small, about 1.36 / sqrt(n)
or less. RFC 0007 rests on these figures.
"""

from __future__ import annotations

import numpy as np
import polars as pl
from scipy.stats import binomtest, kstest

from data_contracts.calibration import ANY_EDIT, EVERYONE, INDEL, SUBSTITUTION
from geno_model.genomics.context import GcEdges
from geno_model.scoring.calibration import Percentiles, calibrate, edit_class, percentile, with_percentiles
from geno_pipeline.build.hashing import ALLELE_KEY, stable_hash
from geno_pipeline.evaluation.document import Block, Heading, Paragraph, Table

_CHANCE = 1.358  # of the Kolmogorov distribution at 5 %, over sqrt(n)


def calibration_fit(scores: pl.DataFrame, calibration: pl.DataFrame, gc_edges: GcEdges) -> pl.DataFrame:
    """Distances over the calibration's own variants: edits, among, n, ks, ks_chance, median (of the percentiles).

    Rows: substitutions and indels, each among all edits in one table and in the tables in use; and for each population
    all variants, in its tables (among that population), with shift: mean absolute change of a percentile against the
    tables of everyone.
    """
    everything = calibration.filter(
        (pl.col("population") == EVERYONE) & (pl.col("edit_class") == ANY_EDIT) & (pl.col("bucket_id") == "*")
    )
    pooled = percentile(scores["surprise_raw"].cast(pl.Float64).to_numpy(), everything["grid"][0].to_numpy())
    used = _percentiles(scores, calibration, gc_edges, EVERYONE)
    kind = edit_class(scores["edit_type"]).to_numpy()
    rows = []
    for name in (SUBSTITUTION, INDEL):
        of_kind = kind == name
        if of_kind.any():
            rows += [_row(name, "all edits", pooled[of_kind]), _row(name, "tables in use", used[of_kind])]
    for population in calibration["population"].unique(maintain_order=True):
        if population != EVERYONE:
            among = _percentiles(scores, calibration, gc_edges, population)
            rows.append(_row("all", f"common in {population}", among) | {"shift": float(np.abs(among - used).mean())})
    schema = {"edits": pl.String, "among": pl.String, "n": pl.Int64} | dict.fromkeys(
        ("ks", "ks_chance", "median", "shift"), pl.Float64
    )
    return pl.DataFrame(rows, schema=schema)


def reliability(scores: pl.DataFrame, gc_edges: GcEdges, *, min_af: float, seed: int) -> pl.DataFrame:
    """Whether a share p of unseen variants is up to percentile p: edits, expected, observed, low, high, n.

    The calibration's variants are cut in two by a hash. Each half is looked up in tables made of the other, and for
    each p from 0.05 to 0.95 the share of percentiles up to p is counted, with its 95 % (Wilson) interval.
    """
    is_first = stable_hash(scores, ALLELE_KEY, seed=seed, purpose="reliability") % 2 == 0
    halves = [scores.filter(chosen) for chosen in (is_first, ~is_first)]
    schema = {"edits": pl.String, **dict.fromkeys(("expected", "observed", "low", "high"), pl.Float64), "n": pl.Int64}
    if min(half.height for half in halves) == 0:
        return pl.DataFrame(schema=schema)
    found = [
        with_percentiles(own, Percentiles(calibrate(other, gc_edges, min_af=min_af)), gc_edges)
        for own, other in (halves, halves[::-1])
    ]
    both = pl.concat([part.select("surprise", edits=edit_class(part["edit_type"])) for part in found])
    rows = []
    for edits in (SUBSTITUTION, INDEL):
        values = both.filter(pl.col("edits") == edits)["surprise"].to_numpy()
        for expected in np.arange(5, 100, 5) / 100 if len(values) else ():
            n_below = int((values <= expected).sum())
            interval = binomtest(n_below, len(values)).proportion_ci(method="wilson")
            rows.append((edits, float(expected), n_below / len(values), interval.low, interval.high, len(values)))
    return pl.DataFrame(rows, schema=schema, orient="row")


def calibration_section(fit: pl.DataFrame) -> list[Block]:
    """Heading, a sentence and the table of `calibration_fit`."""
    text = (
        "Percentiles of the calibration's own variants, so the tables in use fit by construction; the picture below "
        "shows how they fit other variants. Percentiles that fit are uniform: their median is 0.5, and their "
        "Kolmogorov-Smirnov distance is one that chance explains (5 % of samples exceed the figure beside it). "
        "Compared with all edits, indels would all look extreme, so they have tables of their own. The last column is "
        "how far a percentile moves on average when it is taken among the population's own common variants."
    )
    rows = [
        [
            row["edits"],
            row["among"],
            f"{row['n']:,}",
            f"{row['ks']:.3f}",
            f"{row['ks_chance']:.3f}",
            f"{row['median']:.2f}",
            "" if row["shift"] is None else f"{row['shift']:.3f}",
        ]
        for row in fit.iter_rows(named=True)
    ]
    columns = ["edits", "among", "n", "distance", "5 % by chance", "median", "mean shift"]
    return [Heading("Calibration"), Paragraph(text), Table(columns, rows)]


def _percentiles(scores: pl.DataFrame, calibration: pl.DataFrame, gc_edges: GcEdges, population: str) -> np.ndarray:
    return with_percentiles(scores, Percentiles(calibration, population), gc_edges)["surprise"].to_numpy()


def _row(edits: str, among: str, percentiles: np.ndarray) -> dict[str, object]:
    n = len(percentiles)
    distance = float(kstest(percentiles, "uniform").statistic)  # type: ignore[attr-defined]
    chance = _CHANCE / np.sqrt(n)
    return {
        "edits": edits, "among": among, "n": n, "ks": distance, "ks_chance": chance,
        "median": float(np.median(percentiles)), "shift": None,
    }  # fmt: skip
