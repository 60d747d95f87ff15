"""The plan of training rows: how many of which source in which window (spec 3)."""

from __future__ import annotations

import pandera.polars as pa

from data_contracts import columns


class EditMix(columns.Table):
    """One row a window and source that has rows to make. Requested against obtained is reported beside it."""

    contig: str = columns.contig()
    window_start_bp: int = columns.start_bp("window")
    source: str = pa.Field(isin=list(columns.MIX_SOURCES), description="where the edits come from")
    n_rows: int = pa.Field(ge=1, description="training rows to make")
