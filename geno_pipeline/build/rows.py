"""Training rows: the plan of `edit_mix` made true, one contig at a time (spec 3, 4).

Belongs here: turning planned counts into rows of edits, rows of several edits, pooling centres, row ids.
Does not belong here: the plan (`edit_mix`), random draws of a window (`draws`), rows of the holdouts (`validation`).

Concept: what is drawn in a window depends on (seed, contig, window) and nothing else; what is chosen among rows follows
from a seeded hash of the row id. So the rows of a contig are the same whatever else is made, and in whatever order.

A drawn row, before it is finished: window_start_bp, number (of the row in its window), source, edits.
"""

from __future__ import annotations

import numpy as np
import polars as pl

from data_contracts import TrainingEdits
from data_contracts.columns import BASES_PER_TOKEN, EDITS, GNOMAD, MIX_SOURCES, SYNTHETIC_INDEL, SYNTHETIC_SNV
from geno_model.genomics.edits import EditType
from geno_model.genomics.genome import Genome
from geno_pipeline.build.draws import further_edits, masked_window, singles, window_rng
from geno_pipeline.build.edit_mix import calibration_reserved, candidates, training_windows
from geno_pipeline.build.hashing import ALLELE_KEY, stable_hash
from geno_pipeline.build.holdouts import Spans, touches
from geno_pipeline.build.windows import assign_windows

OFF_CENTRE_SHARE = 3 / 4  # of the pool's radius, so that the edit stays inside
MAX_TRAINING_EDITS = 3
# Of a window's gnomAD rows at most this part becomes rows of real haplotypes, so that single common variants remain.
HAPLOTYPE_PART = 0.5

SINGLE_SCHEMA = pl.Schema(
    {
        "window_start_bp": pl.Int64,
        "number": pl.Int64,
        "source": pl.String,
        "pos": pl.Int64,
        "ref": pl.String,
        "alt": pl.String,
    }
)
ROW_KEY = ("contig", "window_start_bp", "number")


def training_rows(
    plan: pl.DataFrame,
    windows: pl.DataFrame,
    gnomad: pl.DataFrame,
    clinvar: pl.DataFrame,
    phased: pl.DataFrame,
    genome: Genome,
    contig: str,
    regions: pl.DataFrame,
    *,
    seed: int,
    calibration_fraction: float,
    min_af: float = 0.01,
    multi_edit_fraction: float = 0.10,
    off_centre_fraction: float = 0.2,
    radius_tokens: int = 256,
) -> pl.DataFrame:
    """All training rows of one contig; as many of each source in each window as the plan says.

    - A row of several edits keeps the source of its first edit. `multi_edit_fraction` of all contigs' rows (rounded)
      have 2 or 3: first real haplotypes, each in the place of a gnomAD row of its window (both are population
      variation, so the source stays `gnomad`), at most half of them; then rows that synthetic edits are added to, right
      of their own. There are fewer only where the windows have no room for more.
    - A haplotype of which an edit is reserved for calibration, or touches a holdout, is not used.
    - The pooling centre is the first edit's token; in `off_centre_fraction` (rounded) of the rows of one edit it is
      moved by up to three quarters of the pool's radius (192 of 256 tokens) to either side, within the window.

    Args:
        plan: EditMix frame of `edit_mix.plan`, of all contigs.
        windows: as given to `edit_mix.plan`, like gnomad, clinvar, regions, seed, calibration_fraction and min_af; what
            lies on other contigs is ignored.
        phased: PhasedHaplotypes frame.

    Returns:
        TrainingEdits frame in the order of window and row.
    """
    here = training_windows(windows.filter(pl.col("contig") == contig))
    on_contig = pl.col("contig") == contig
    common, settings = gnomad.filter(on_contig), {"seed": seed, "calibration_fraction": calibration_fraction}
    known = candidates(here, common, clinvar.filter(on_contig), regions, **settings, min_af=min_af)
    spans = Spans.of(regions, contig)
    first, more = [], []
    for window, counts, variants in windows_with_rows(here, plan.filter(on_contig), known):
        masked = masked_window(genome, contig, window["start_bp"], window["end_bp"], spans)
        rng = window_rng(seed, "training", contig, window["start_bp"])
        of_window = window_singles(window, counts, variants, masked, rng)
        first.append(of_window)
        more.append(window_extensions(of_window, masked, MAX_TRAINING_EDITS - 1, rng))
    rows = as_rows(first, more, contig)
    blocks = usable_haplotypes(phased.filter(on_contig), here, common, regions, **settings, min_af=min_af)
    rows = _with_several_edits(rows, blocks, _n_several(plan, contig, multi_edit_fraction), seed)
    rows = rows.with_columns(_off_centre_shift(rows, off_centre_fraction, int(OFF_CENTRE_SHARE * radius_tokens), seed))
    return finish(rows, here, TrainingEdits.empty())


def windows_with_rows(
    windows: pl.DataFrame, planned: pl.DataFrame, known: pl.DataFrame
) -> list[tuple[dict[str, int], dict[str, int], pl.DataFrame]]:
    """Of each window with planned rows: the window, its rows by source and kind, and the known variants to take."""
    counts = planned.pivot("source", index="window_start_bp", values="n_rows", aggregate_function="sum").join(
        planned.group_by("window_start_bp").agg(pl.col("n_mnv", "n_complex").sum()), on="window_start_bp"
    )
    wanted = planned.join(known, on=["window_start_bp", "source"], maintain_order="right")
    wanted = wanted.filter(pl.int_range(pl.len()).over("window_start_bp", "source") < pl.col("n_rows"))
    variants = wanted.partition_by("window_start_bp", as_dict=True)
    of_window = {row["window_start_bp"]: row for row in counts.iter_rows(named=True)}
    nothing, columns = wanted.head(0), (*MIX_SOURCES, "n_mnv", "n_complex")
    return [
        (window, {name: of_window[start].get(name) or 0 for name in columns}, variants.get((start,), nothing))
        for window in windows.iter_rows(named=True)
        if (start := window["start_bp"]) in of_window
    ]


def window_singles(
    window: dict[str, int],
    counts: dict[str, int],
    variants: pl.DataFrame,
    masked: np.ndarray,
    rng: np.random.Generator,
) -> pl.DataFrame:
    """First edits of all rows of a window: window_start_bp, number, source, pos, ref, alt."""
    start = window["start_bp"]
    core = (window["core_start_bp"] - start, window["core_end_bp"] - start)
    drawn = singles(
        masked, core, counts[SYNTHETIC_SNV], counts[SYNTHETIC_INDEL], counts["n_mnv"], counts["n_complex"], rng
    )
    together = pl.concat(
        [
            variants.select("source", "pos", "ref", "alt"),
            drawn.select("source", (pl.col("rel_pos") + start + 1).alias("pos"), "ref", "alt"),
        ]
    )
    ordered = together.sort(pl.col("source").cast(pl.Enum(MIX_SOURCES)), maintain_order=True).with_row_index("number")
    return ordered.with_columns(window_start_bp=pl.lit(start)).select(list(SINGLE_SCHEMA)).cast(SINGLE_SCHEMA)


def window_extensions(
    rows: pl.DataFrame, masked: np.ndarray, n_extra: int | np.ndarray, rng: np.random.Generator
) -> pl.DataFrame:
    """Further edits for the rows of one window, with the same columns; see `draws.further_edits`."""
    if rows.height == 0:
        return rows
    start = rows["window_start_bp"][0]
    length = rows["ref"].str.len_bytes().cast(pl.Int64).to_numpy()
    drawn = further_edits(masked, (rows["pos"] - 1 - start).to_numpy(), length, n_extra, rng)
    facts = rows.select("window_start_bp", "number", "source").with_row_index("row").cast({"row": pl.Int64})
    joined = drawn.join(facts, on="row", maintain_order="left").with_columns(pos=pl.col("rel_pos") + start + 1)
    return joined.select(list(SINGLE_SCHEMA)).cast(SINGLE_SCHEMA)


def as_rows(first: list[pl.DataFrame], more: list[pl.DataFrame], contig: str) -> pl.DataFrame:
    """Drawn rows of one contig: contig, window_start_bp, number, source, edits (the first one), more (edits to add)."""
    key = ["window_start_bp", "number"]
    nothing = pl.DataFrame(schema=SINGLE_SCHEMA)
    edit = pl.struct("pos", "ref", "alt")
    rows = pl.concat([nothing, *first]).select(*key, "source", edits=pl.concat_list(edit).cast(EDITS))
    added = pl.concat([nothing, *more]).sort("pos").group_by(key, maintain_order=True).agg(edit.alias("more"))
    joined = rows.join(added, on=key, how="left", maintain_order="left")
    return joined.with_columns(contig=pl.lit(contig), more=pl.col("more").fill_null(pl.lit([], dtype=EDITS)))


def usable_haplotypes(
    phased: pl.DataFrame,
    windows: pl.DataFrame,
    gnomad: pl.DataFrame,
    regions: pl.DataFrame,
    *,
    seed: int,
    calibration_fraction: float,
    min_af: float,
) -> pl.DataFrame:
    """Haplotypes of 2 or 3 edits that training may use: PhasedHaplotypes columns and window_start_bp, by position."""
    placed = place_haplotypes(phased.filter(pl.col("k") <= MAX_TRAINING_EDITS), windows).with_row_index("block")
    edits = placed.select("block", "contig", "edits").explode("edits").unnest("edits")
    common = edits.join(gnomad.filter(pl.col("af") >= min_af), on=ALLELE_KEY, how="semi", maintain_order="left")
    reserved = common.filter(calibration_reserved(common, calibration_fraction, seed))
    barred = pl.concat([reserved.select("block"), edits.filter(touches(edits, regions)).select("block")])
    return placed.join(barred, on="block", how="anti", maintain_order="left").drop("block")


def place_haplotypes(phased: pl.DataFrame, windows: pl.DataFrame) -> pl.DataFrame:
    """Haplotypes with the window in whose core their first edit begins; those that no window holds whole are left out.

    In the order of contig and position. The columns are those of PhasedHaplotypes and `window_start_bp`.
    """
    first_ref = pl.col("edits").list.first().struct.field("ref")
    located = assign_windows(phased.with_columns(pos=pl.col("start_bp") + 1, ref=first_ref), windows)
    ends = windows.select("contig", window_start_bp="start_bp", window_end_bp="end_bp")
    inside = located.join(ends, on=["contig", "window_start_bp"]).filter(pl.col("end_bp") <= pl.col("window_end_bp"))
    return inside.sort("contig", "start_bp", "end_bp", "edits").drop("pos", "ref", "window_end_bp")


def finish(rows: pl.DataFrame, windows: pl.DataFrame, empty: pl.DataFrame) -> pl.DataFrame:
    """Rows of a table from drawn rows of one contig: row id, span and hash of the window, k, edit type, pooling centre.

    Args:
        rows: contig, window_start_bp, number, source, edits; what else the table has; and, where the pooling centre is
            not the first edit's token, `shift` in tokens.
        empty: an empty frame of the table.
    """
    spans = windows.select("contig", window_start_bp="start_bp", window_end_bp="end_bp", window_sha256="sha256")
    full = rows.join(spans, on=["contig", "window_start_bp"], maintain_order="left").sort("window_start_bp", "number")
    edit = pl.col("edits").list.first().struct
    n_tokens = (pl.col("window_end_bp") - pl.col("window_start_bp")) // BASES_PER_TOKEN
    token = (edit.field("pos") - 1 - pl.col("window_start_bp")) // BASES_PER_TOKEN
    shift = pl.col("shift") if "shift" in rows.columns else pl.lit(0)
    made = full.with_columns(
        row_id=pl.concat_str(ROW_KEY, separator=":"),
        k=pl.col("edits").list.len().cast(pl.Int64),
        edit_type=_edit_type(edit.field("ref").str.len_bytes(), edit.field("alt").str.len_bytes()),
        pool_token=(token + shift).clip(0, n_tokens - 1).cast(pl.Int32),
    )
    return made.select(empty.columns)


def _n_several(plan: pl.DataFrame, contig: str, fraction: float) -> int:
    """How many rows of a contig have several edits, so that all contigs together have `fraction` (rounded)."""
    before = int(plan.filter(pl.col("contig") < contig)["n_rows"].sum())
    after = before + int(plan.filter(pl.col("contig") == contig)["n_rows"].sum())
    return int(np.floor(fraction * after + 0.5)) - int(np.floor(fraction * before + 0.5))


def _with_several_edits(rows: pl.DataFrame, blocks: pl.DataFrame, n_several: int, seed: int) -> pl.DataFrame:
    """The same rows, of which `n_several` now have several edits."""
    hashes = stable_hash(rows, ROW_KEY, seed=seed, purpose="several edits")
    rows = rows.with_columns(hashes.alias("_hash")).sort("_hash", *ROW_KEY).drop("_hash")
    real = _haplotype_places(rows, blocks, seed).head(n_several)
    rows = rows.join(real, on=["window_start_bp", "number"], how="left", maintain_order="left")
    is_extended = pl.col("haplotype").is_null() & (pl.col("more").list.len() > 0)
    is_extended &= is_extended.cum_sum() <= n_several - real.height
    # Rows are in the order of a hash, so every other one is a random half; one with room for one more edit gets one.
    n_more = 1 + pl.int_range(pl.len()) % (MAX_TRAINING_EDITS - 1)
    extended = pl.concat_list("edits", pl.col("more").list.head(n_more))
    edits = pl.when(is_extended).then(extended).otherwise(pl.coalesce("haplotype", "edits"))
    return rows.with_columns(edits=edits).drop("more", "haplotype")


def _haplotype_places(rows: pl.DataFrame, blocks: pl.DataFrame, seed: int) -> pl.DataFrame:
    """Haplotypes and the gnomAD rows whose places they take: window_start_bp, number, haplotype; in random order."""
    keyed = blocks.with_columns(key=pl.col("edits").list.eval(pl.element().struct.json_encode()).list.join(";"))
    keyed = keyed.with_columns(stable_hash(keyed, ("contig", "key"), seed=seed, purpose="haplotype").alias("_hash"))
    nth = pl.int_range(pl.len()).over("window_start_bp").alias("nth")
    ordered = keyed.sort("_hash", "key").with_columns(nth)
    free = rows.filter(pl.col("source") == GNOMAD).with_columns(nth, n=pl.len().over("window_start_bp"))
    free = free.filter(pl.col("nth") < (pl.col("n") * HAPLOTYPE_PART).ceil()).select("window_start_bp", "nth", "number")
    placed = ordered.join(free, on=["window_start_bp", "nth"], maintain_order="left").sort("nth", "_hash", "key")
    return placed.select("window_start_bp", "number", haplotype="edits")


def _off_centre_shift(rows: pl.DataFrame, fraction: float, most_tokens: int, seed: int) -> pl.Series:
    """Tokens from each row's edit to its pooling centre: not 0 for `fraction` (rounded) of the single edits."""
    hashes = stable_hash(rows, ROW_KEY, seed=seed, purpose="off centre")
    sizes = stable_hash(rows, ROW_KEY, seed=seed, purpose="off centre by")
    numbered = rows.select(*ROW_KEY, k=pl.col("edits").list.len(), size=sizes, hash=hashes).with_row_index("row")
    ones = numbered.filter(pl.col("k") == 1).sort("hash", *ROW_KEY)
    moved = ones.head(int(np.floor(fraction * ones.height + 0.5))) if most_tokens else ones.head(0)
    step = (moved["size"] % max(2 * most_tokens, 1)).cast(pl.Int64).to_numpy() - most_tokens  # -192 .. 191
    shift = np.zeros(rows.height, dtype=np.int64)
    shift[moved["row"].to_numpy()] = np.where(step >= 0, step + 1, step)
    return pl.Series("shift", shift)


def _edit_type(ref_length: pl.Expr, alt_length: pl.Expr) -> pl.Expr:
    """EditType from the two lengths, as `EditType.of_lengths`."""
    same = pl.when(ref_length == 1).then(pl.lit(EditType.SNV.value)).otherwise(pl.lit(EditType.MNV.value))
    return (
        pl.when(ref_length == alt_length)
        .then(same)
        .when(ref_length == 1)
        .then(pl.lit(EditType.INS.value))
        .when(alt_length == 1)
        .then(pl.lit(EditType.DEL.value))
        .otherwise(pl.lit(EditType.INDEL.value))
        .cast(pl.UInt8)
    )
