"""The mix of training edits: how many rows of which source each window gets (spec 3).

Belongs here: which known variants may be trained on, quotas, and what stands in where a source runs dry.
Does not belong here: drawing the edits (`draws`, `rows`).

Concept: quotas are set over the whole dataset, so that the mix holds exactly. Known variants are taken in the order of
a seeded hash of the allele, and synthetic edits are spread evenly, so the plan does not depend on the order of its
inputs; and the variants that the plan took from a window are always the first ones of that window by the same hash.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import polars as pl

from data_contracts import EditMix
from data_contracts.columns import CLINVAR, GNOMAD, MIX_SOURCES, SYNTHETIC_INDEL, SYNTHETIC_SNV
from geno_pipeline.build.hashing import ALLELE_KEY, largest_remainder, stable_hash, uniform
from geno_pipeline.build.holdouts import Spans, touches
from geno_pipeline.build.windows import assign_windows

KNOWN_SOURCES = (GNOMAD, CLINVAR)
FREE_RUN_BP = 16  # an edit's longest reference allele
MIN_ROOM_BP = 1_024  # an eighth of a usual core: more than the 5 % N that a window may hold
REPORT_SCHEMA = pl.Schema(
    {
        "contig": pl.String,
        "source": pl.String,
        "requested": pl.Int64,
        "obtained": pl.Int64,
        "substituted": pl.Int64,
    }
)


class MixError(ValueError):
    """A mix that cannot be planned."""


def calibration_reserved(alleles: pl.DataFrame, fraction: float, seed: int) -> pl.Series:
    """Which alleles (contig, pos, ref, alt) belong to calibration: those with a hash in the first `fraction` of all.

    A common variant that this is true for is never trained on, and calibration takes no other.
    """
    hashes = stable_hash(alleles, ALLELE_KEY, seed=seed, purpose="calibration")
    return pl.Series("reserved", uniform(hashes) < fraction)


def training_windows(windows: pl.DataFrame) -> pl.DataFrame:
    """Windows that training may use, in the order of contig and start."""
    return windows.filter(pl.col("holdout") == "").sort("contig", "start_bp")


def candidates(
    windows: pl.DataFrame,
    gnomad: pl.DataFrame,
    clinvar: pl.DataFrame,
    regions: pl.DataFrame,
    *,
    seed: int,
    calibration_fraction: float,
    min_af: float = 0.01,
) -> pl.DataFrame:
    """Known variants that may be trained on, each with its window, in the order in which they are taken.

    gnomAD: frequency of at least `min_af`, not reserved for calibration, not also P/LP in ClinVar. ClinVar: P and LP.
    Both: no base in a blocked region, and in the core of a training window.

    Returns:
        source, contig, pos, ref, alt, edit_type, window_start_bp; in the order of a seeded hash of the allele.
    """
    pathogenic = clinvar.filter(pl.col("clnsig").is_in(["P", "LP"]))
    common = gnomad.filter(pl.col("af") >= min_af).join(pathogenic, on=ALLELE_KEY, how="anti", maintain_order="left")
    common = common.filter(~calibration_reserved(common, calibration_fraction, seed))
    columns = [*ALLELE_KEY, "edit_type"]
    known = pl.concat(
        [common.select(*columns, source=pl.lit(GNOMAD)), pathogenic.select(*columns, source=pl.lit(CLINVAR))]
    )
    return in_order_of_hash(known.filter(~touches(known, regions)), training_windows(windows), seed)


def in_order_of_hash(known: pl.DataFrame, windows: pl.DataFrame, seed: int) -> pl.DataFrame:
    """Variants that lie in the core of one of the windows, in the order of a seeded hash, with `window_start_bp`."""
    placed = assign_windows(known, windows).filter(pl.col("window_start_bp").is_not_null())
    priority = stable_hash(placed, ALLELE_KEY, seed=seed, purpose="mix")
    ordered = placed.with_columns(priority.alias("_hash")).sort("_hash", *ALLELE_KEY)
    return ordered.select("source", *ALLELE_KEY, "edit_type", "window_start_bp")


def plan(
    windows: pl.DataFrame,
    gnomad: pl.DataFrame,
    clinvar: pl.DataFrame,
    regions: pl.DataFrame,
    *,
    edits_per_window: float,
    shares: Mapping[str, float],
    seed: int,
    calibration_fraction: float,
    min_af: float = 0.01,
) -> tuple[pl.DataFrame, pl.DataFrame]:
    """Plan the training rows of all contigs.

    Args:
        windows: ReferenceWindows frame of all contigs.
        regions: frame of `holdouts.blocked_regions`.
        edits_per_window: mean number of rows over the training windows; the total is rounded.
        shares: share of each of the four sources.

    Returns:
        EditMix frame (order: contig, window, source), and the report: contig, source, requested, obtained, substituted.
        Its lines with contig `*` hold for the dataset and add up: `substituted` is the part of a source's request that
        synthetic SNVs stand in for, and is counted in their `obtained`. Lines by contig say what was obtained there;
        nothing is requested of a contig.

    Raises:
        MixError: synthetic rows are due, and no window has room for them outside the blocked regions.
    """
    if unknown := set(shares) - set(MIX_SOURCES):
        raise MixError(f"shares of {', '.join(sorted(unknown))}: expected {', '.join(MIX_SOURCES)}")
    training = training_windows(windows)
    total = int(np.floor(edits_per_window * training.height + 0.5))
    found = candidates(
        training, gnomad, clinvar, regions, seed=seed, calibration_fraction=calibration_fraction, min_af=min_af
    )
    mix, requested, substituted = plan_rows(training, found, total, shares, room(training, regions), seed)
    return mix, _report(mix, requested, substituted)


def plan_rows(
    windows: pl.DataFrame, found: pl.DataFrame, total: int, shares: Mapping[str, float], room_bp: np.ndarray, seed: int
) -> tuple[pl.DataFrame, dict[str, int], dict[str, int]]:
    """Plan `total` rows over windows with a room of `room_bp` each, from variants in the order in which they are taken.

    Returns:
        EditMix frame, rows requested of each source, and rows of each source that synthetic SNVs stand in for.
    """
    quotas: dict[str, int] = dict(
        zip(MIX_SOURCES, largest_remainder(total, [shares.get(name, 0.0) for name in MIX_SOURCES]), strict=True)
    )
    taken = pl.concat([found.filter(pl.col("source") == name).head(quotas[name]) for name in KNOWN_SOURCES])
    substituted = {name: quotas[name] - taken.filter(pl.col("source") == name).height for name in KNOWN_SOURCES}
    synthetic = {
        SYNTHETIC_SNV: quotas[SYNTHETIC_SNV] + sum(substituted.values()),
        SYNTHETIC_INDEL: quotas[SYNTHETIC_INDEL],
    }
    roomy = windows.filter(room_bp >= MIN_ROOM_BP)
    schema = EditMix.empty().schema
    parts = [
        taken.group_by("contig", "window_start_bp", "source").agg(n_rows=pl.len()).select(schema.names()).cast(schema),
        *(_spread(roomy, source, n, seed) for source, n in synthetic.items()),
    ]
    order = pl.col("source").cast(pl.Enum(MIX_SOURCES))
    mix = pl.concat(parts).filter(pl.col("n_rows") > 0).sort("contig", "window_start_bp", order)
    return mix, quotas, substituted


def room(windows: pl.DataFrame, regions: pl.DataFrame, within: pl.DataFrame | None = None) -> np.ndarray:
    """Positions of each window's core from which 16 bp lie outside the regions (and, if given, inside `within`)."""
    blocked = {contig: Spans.of(regions, contig) for contig in windows["contig"].unique()}
    allowed = {contig: Spans.of(within, contig) for contig in blocked} if within is not None else {}
    counts = np.empty(windows.height, dtype=np.int64)
    for index, (contig, start, end) in enumerate(windows.select("contig", "core_start_bp", "core_end_bp").iter_rows()):
        closed = blocked[contig].mask(start, end)
        if within is not None:
            closed |= ~allowed[contig].mask(start, end)
        total = np.concatenate([[0], np.cumsum(closed)])
        counts[index] = np.count_nonzero(total[FREE_RUN_BP:] == total[:-FREE_RUN_BP])
    return counts


def _spread(windows: pl.DataFrame, source: str, n: int, seed: int) -> pl.DataFrame:
    """`n` rows over the windows as evenly as whole numbers allow; the rest goes by hash."""
    if n == 0:
        return EditMix.empty()
    if windows.height == 0:
        raise MixError(
            f"{n} {source} rows are due, but no window has {MIN_ROOM_BP} bp outside the holdouts. "
            "Hold out less, or add contigs."
        )
    each, rest = divmod(n, windows.height)
    hashes = stable_hash(windows, ("contig", "start_bp"), seed=seed, purpose=f"spread {source}")
    ordered = windows.with_columns(hashes.alias("_hash")).sort("_hash", "contig", "start_bp")
    return ordered.select(
        "contig",
        window_start_bp="start_bp",
        source=pl.lit(source),
        n_rows=pl.lit(each, pl.Int64) + (pl.int_range(pl.len()) < rest).cast(pl.Int64),
    )


def _report(mix: pl.DataFrame, requested: Mapping[str, int], substituted: Mapping[str, int]) -> pl.DataFrame:
    obtained = mix.group_by("contig", "source").agg(obtained=pl.col("n_rows").sum())
    whole = [
        ("*", name, requested[name], mix.filter(pl.col("source") == name)["n_rows"].sum(), substituted.get(name, 0))
        for name in MIX_SOURCES
    ]
    by_contig = obtained.with_columns(requested=None, substituted=None).select(list(REPORT_SCHEMA)).cast(REPORT_SCHEMA)
    order = pl.col("source").cast(pl.Enum(MIX_SOURCES))
    return pl.concat([pl.DataFrame(whole, schema=REPORT_SCHEMA, orient="row"), by_contig.sort("contig", order)])
