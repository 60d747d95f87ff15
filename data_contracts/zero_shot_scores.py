"""What the encoder alone says of the benchmarks' alleles (spec 6, baselines)."""

from __future__ import annotations

import pandera.polars as pa

from data_contracts import columns


class ZeroShotScores(columns.Table):
    """One row an allele: the full log-likelihood difference of a centred window."""

    contig: str = columns.contig()
    pos: int = columns.pos()
    ref: str = columns.ref()
    alt: str = columns.alt()
    zero_shot: float = pa.Field(
        nullable=True,
        description="log p(edited window) - log p(window), nats: below 0, the edit makes the DNA less likely; null "
        "where the two differ in their runs of N",
    )
