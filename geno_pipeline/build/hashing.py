"""A hash that is the same on every machine, in every version and for every order of the rows.

Belongs here: hashing the key columns of a frame, and choosing by it. Does not belong here: what is chosen.

Concept: choices by chance (which variants train, which genes are held out) follow from (seed, purpose, key) alone. The
hash is MD5 of the text `seed|purpose|column|column|...`, its last 8 bytes read as a little-endian number, which DuckDB
computes for a whole column at once (`md5_number_lower`). polars' own `hash` may change between versions.
"""

from __future__ import annotations

from collections.abc import Sequence

import duckdb
import numpy as np
import polars as pl

ALLELE_KEY = ("contig", "pos", "ref", "alt")
HASH_RANGE = 2.0**64


def stable_hash(frame: pl.DataFrame, columns: Sequence[str], *, seed: int, purpose: str) -> pl.Series:
    """Hash of each row's key columns (u64), in the order of the rows."""
    keys = frame.select(
        row=pl.int_range(pl.len()),
        key=pl.concat_str(
            pl.lit(f"{seed}|{purpose}"), *(pl.col(name).cast(pl.String) for name in columns), separator="|"
        ),
    )
    with duckdb.connect() as connection:
        connection.register("keys", keys.to_arrow())
        hashed = connection.sql("SELECT md5_number_lower(key) AS hash FROM keys ORDER BY row").pl()
    return hashed["hash"].cast(pl.UInt64)


def uniform(hashes: pl.Series) -> np.ndarray:
    """Hashes as numbers in [0, 1)."""
    return np.minimum(hashes.to_numpy().astype(np.float64) / HASH_RANGE, np.nextafter(1.0, 0.0))


def largest_remainder(total: int, weights: Sequence[float]) -> list[int]:
    """Whole numbers in the ratio of `weights` that add up to exactly `total`; an equal remainder goes to the first.

    Raises:
        ValueError: weights that are negative or all zero, while there is something to hand out.
    """
    if total == 0:
        return [0] * len(weights)
    share = np.asarray(weights, dtype=np.float64)
    if len(share) == 0 or share.min() < 0 or share.sum() <= 0:
        raise ValueError(f"weights {list(weights)} cannot share {total}: expected numbers >= 0 that are not all 0")
    exact = total * share / share.sum()
    # A share such as 0.3 is a little off in binary; nine digits keep 30 from being read as 29.99...
    parts = np.floor(exact.round(9)).astype(np.int64)
    order = np.argsort(-(exact - parts).round(9), kind="stable")
    parts[order[: total - parts.sum()]] += 1
    return parts.tolist()
