"""Scores are computed once: those of an earlier run are taken where nothing about them has changed (spec 6).

Belongs here: which rows are known already. Does not: any score.

Concept: alleles that share a window are scored together, and on a GPU the last bits of a number depend on its company
(on a CPU they do not: RFC 0009). So what is kept or made anew is a whole group (the alleles of one window): its numbers
are taken from before only if the group has the very same alleles. That way a refresh gives the bytes that a run from
nothing gives. The key names all that the numbers depend on besides the alleles; with another key nothing is known.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import polars as pl

from geno_model.genomics.genome import Genome
from geno_pipeline.build.hashing import ALLELE_KEY
from geno_pipeline.storage import write_table

_GROUP = "_group"


def scored_once(
    folder: Path, key: str, alleles: pl.DataFrame, groups: pl.Series, score: Callable[[pl.DataFrame], pl.DataFrame]
) -> tuple[pl.DataFrame, int]:
    """Scores of distinct `alleles` in their order, and how many of them had to be made.

    folder: of one table's scores; it keeps those of the last run for each key. groups: text for each allele. score:
    from some of the alleles (whole groups, in their order) to a frame of as many rows that begins with ALLELE_KEY.
    """
    path = folder / f"{key}.parquet"
    wanted = alleles.with_columns(groups.alias(_GROUP))
    known = _read(path, wanted)
    same = known.select(*ALLELE_KEY, _GROUP, is_known=pl.lit(True))
    counts = wanted.join(same, on=[*ALLELE_KEY, _GROUP], how="left").group_by(_GROUP)
    now = counts.agg(n=pl.len(), n_known=pl.col("is_known").sum())
    whole = now.join(known.group_by(_GROUP).agg(n_before=pl.len()), on=_GROUP).filter(
        (pl.col("n") == pl.col("n_known")) & (pl.col("n") == pl.col("n_before"))
    )
    missing = wanted.join(whole, on=_GROUP, how="anti", maintain_order="left")
    parts = [known.join(whole, on=_GROUP, how="semi")] if whole.height else []
    if missing.height or not parts:
        parts.append(score(missing.drop(_GROUP)).with_columns(missing[_GROUP]))
    scores = wanted.select(*ALLELE_KEY).join(
        pl.concat(part.select(parts[-1].columns) for part in parts), on=ALLELE_KEY, how="left", maintain_order="left"
    )
    write_table(scores, path)
    return scores.drop(_GROUP), missing.height


def _read(path: Path, wanted: pl.DataFrame) -> pl.DataFrame:
    """What an earlier run left; nothing where there is none, or where it is damaged."""
    try:
        return pl.read_parquet(path)
    except (OSError, pl.exceptions.PolarsError):
        return wanted.clear()


def groups(alleles: pl.DataFrame, windows: pl.DataFrame, genome: Genome, window_bp: int) -> pl.Series:
    """The window of each allele as text, its bases included, so that other DNA is another group.

    windows: rows of `scoring.windows.place`, one an allele at most; alleles without one are a group of their own.
    """
    placed = alleles.with_row_index("_row").join(windows, on="_row", how="left", maintain_order="left")
    distinct = placed.select("contig", "window_start_bp").drop_nulls().unique().sort("contig", "window_start_bp")
    bases = [genome.sha256(contig, start, start + window_bp)[:16] for contig, start in distinct.iter_rows()]
    named = placed.join(
        distinct.with_columns(bases=pl.Series(bases, dtype=pl.String)),
        on=["contig", "window_start_bp"],
        how="left",
        maintain_order="left",
    )
    text = pl.concat_str("contig", pl.col("window_start_bp").cast(pl.String), "bases", separator=":")
    return named.select(text.fill_null("no window").alias(_GROUP)).to_series()
