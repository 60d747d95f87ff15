"""The mix of training edits: how many rows of which source each window gets (spec 3).

Belongs here: which known variants may be trained on, quotas, what stands in where a source runs dry, and the report of
what was asked for and what it became. Does not belong here: drawing the edits (`draws`, `rows`).

Concept: quotas are set over the whole dataset, so that the mix holds exactly. Known variants are taken in the order of
a seeded hash of the allele, and synthetic edits are spread evenly, so the plan does not depend on the order of its
inputs; and the variants that the plan took from a window are always the first ones of that window by the same hash.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import polars as pl

from data_contracts import EditMix, MixReport
from data_contracts.columns import CLINVAR, GNOMAD, MIX_SOURCES, SYNTHETIC_INDEL, SYNTHETIC_SNV
from geno_model.genomics.edits import EditType
from geno_pipeline.build.hashing import ALLELE_KEY, largest_remainder, stable_hash, uniform
from geno_pipeline.build.holdouts import Spans, touches
from geno_pipeline.build.windows import assign_windows

KNOWN_SOURCES = (GNOMAD, CLINVAR)
FREE_RUN_BP = 16  # an edit's longest reference allele
MIN_ROOM_BP = 1_024  # an eighth of a usual core: more than the 5 % N that a window may hold
_KINDS = ("n_mnv", "n_complex")


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
    mnv_share: float = 0.1,
    complex_share: float = 0.1,
) -> pl.DataFrame:
    """Plan the training rows of all contigs, as an EditMix frame in the order of contig, window and source.

    Args:
        windows: ReferenceWindows frame of all contigs.
        regions: HoldoutRegions frame.
        edits_per_window: mean number of rows over the training windows; the total is rounded.
        shares: share of each of the four sources; what a known source lacks, synthetic SNVs stand in for.
        mnv_share: part of synthetic_indel that is MNVs; `complex_share`: complex indels. Exact over the dataset.

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
    return plan_rows(training, found, total, shares, room(training, regions), seed, mnv_share, complex_share)


def plan_rows(
    windows: pl.DataFrame,
    found: pl.DataFrame,
    total: int,
    shares: Mapping[str, float],
    room_bp: np.ndarray,
    seed: int,
    mnv_share: float,
    complex_share: float,
) -> pl.DataFrame:
    """Plan `total` rows over windows with a room of `room_bp` each, from variants in the order in which they are taken.

    Returns an EditMix frame.
    """
    quotas = source_quotas(total, shares)
    taken = pl.concat([found.filter(pl.col("source") == name).head(quotas[name]) for name in KNOWN_SOURCES])
    n_substituted = quotas[GNOMAD] + quotas[CLINVAR] - taken.height
    roomy = windows.filter(room_bp >= MIN_ROOM_BP)
    counted = pl.Schema({name: dtype for name, dtype in EditMix.empty().schema.items() if name not in _KINDS})
    parts = [
        taken.group_by("contig", "window_start_bp", "source")
        .agg(n_rows=pl.len())
        .select(counted.names())
        .cast(counted),
        _spread(roomy, SYNTHETIC_SNV, quotas[SYNTHETIC_SNV] + n_substituted, seed, counted),
        _spread(roomy, SYNTHETIC_INDEL, quotas[SYNTHETIC_INDEL], seed, counted),
    ]
    order = pl.col("source").cast(pl.Enum(MIX_SOURCES))
    mix = pl.concat(parts).filter(pl.col("n_rows") > 0).sort("contig", "window_start_bp", order)
    return mix.with_columns(_kinds_of_indels(mix, mnv_share, complex_share))


def source_quotas(total: int, shares: Mapping[str, float]) -> dict[str, int]:
    """Rows asked of each source, `total` together."""
    weights = [shares.get(name, 0.0) for name in MIX_SOURCES]
    return dict(zip(MIX_SOURCES, largest_remainder(total, weights), strict=True))


def _kinds_of_indels(mix: pl.DataFrame, mnv_share: float, complex_share: float) -> list[pl.Series]:
    """n_mnv and n_complex of each planned line, so that the shares hold over all lines together.

    Row number i of all synthetic_indel rows, in order, is special when the rounded share steps up there; so is a
    special row an MNV. What a line gets is a difference of two such counts.
    """

    def rounded(n: np.ndarray, share: float) -> np.ndarray:
        return np.floor((n * share).round(9) + 0.5).astype(np.int64)  # 0.35 is a little less in binary

    rows = np.where((mix["source"] == SYNTHETIC_INDEL).to_numpy(), mix["n_rows"].to_numpy(), 0)
    special = rounded(np.concatenate([[0], np.cumsum(rows)]), mnv_share + complex_share)
    mnv = rounded(special, mnv_share / (mnv_share + complex_share) if mnv_share + complex_share else 0.0)
    return [pl.Series(_KINDS[0], np.diff(mnv)), pl.Series(_KINDS[1], np.diff(special) - np.diff(mnv))]


def mix_report(
    mix: pl.DataFrame,
    rows: pl.DataFrame,
    phased: pl.DataFrame,
    shares: Mapping[str, float],
    multi_edit_fraction: float,
) -> pl.DataFrame:
    """What was asked for and what was made, by source, type, contig and number of edits, as a MixReport frame.

    Args:
        mix: EditMix frame; rows: TrainingEdits frame made from it; phased: PhasedHaplotypes frame.

    A request that a known source could not meet is `substituted`: synthetic SNVs stand in for it and are counted as
    obtained of theirs.
    """
    total = int(mix["n_rows"].sum())
    quotas, made = source_quotas(total, shares), _counts(rows, "source")
    several = rows.filter(pl.col("k") > 1)
    n_real = several.join(phased.select("contig", "edits").unique(), on=["contig", "edits"], how="semi").height
    n_several = int(np.floor(multi_edit_fraction * total + 0.5))
    indels = mix.filter(pl.col("source") == SYNTHETIC_INDEL).select("n_rows", *_KINDS).sum().row(0)
    kinds = rows.filter(pl.col("source") == SYNTHETIC_INDEL).select(
        plain=pl.col("edit_type").is_in([EditType.INS, EditType.DEL]).sum(),
        mnv=(pl.col("edit_type") == EditType.MNV).sum(),
        of_both=(pl.col("edit_type") == EditType.INDEL).sum(),
    )
    known = {name: quotas[name] - made.get(name, 0) for name in KNOWN_SOURCES}
    types = {int(key): n for key, n in _counts(rows, "edit_type").items()}
    lines = [
        *(("source", name, quotas[name], made.get(name, 0), known.get(name, 0)) for name in MIX_SOURCES),
        ("synthetic_indel", "insertion or deletion", indels[0] - indels[1] - indels[2], kinds["plain"][0], None),
        ("synthetic_indel", "MNV", indels[1], kinds["mnv"][0], None),
        ("synthetic_indel", "complex indel", indels[2], kinds["of_both"][0], None),
        *(("edit_type", EditType(code).name, None, types[code], None) for code in sorted(types)),
        *(("contig", name, None, n, None) for name, n in sorted(_counts(rows, "contig").items())),
        ("k", "1", total - n_several, rows.height - several.height, None),
        ("k", "2 or 3", n_several, several.height, None),
        ("multi_edit", "real haplotype", None, n_real, None),
        ("multi_edit", "edits put together", None, several.height - n_real, None),
    ]
    return pl.DataFrame(lines, schema=MixReport.empty().schema, orient="row")


def _counts(rows: pl.DataFrame, column: str) -> dict[str, int]:
    return dict(rows.group_by(column).agg(pl.len()).iter_rows())


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


def _spread(windows: pl.DataFrame, source: str, n: int, seed: int, schema: pl.Schema) -> pl.DataFrame:
    """`n` rows over the windows as evenly as whole numbers allow; the rest goes by hash."""
    if n == 0:
        return pl.DataFrame(schema=schema)
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
