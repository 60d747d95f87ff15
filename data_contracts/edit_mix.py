"""The plan of training rows: how many of which source in which window (spec 3)."""

from __future__ import annotations

import pandera.polars as pa

from data_contracts import columns


class EditMix(columns.Table):
    """One row a window and source that has rows to make. Requested against obtained is in MixReport."""

    contig: str = columns.contig()
    window_start_bp: int = columns.start_bp("window")
    source: str = pa.Field(isin=list(columns.MIX_SOURCES), description="where the edits come from")
    n_rows: int = pa.Field(ge=1, description="training rows to make")
    n_mnv: int = pa.Field(ge=0, description="rows of synthetic_indel that are to be MNVs; 0 for other sources")
    n_complex: int = pa.Field(ge=0, description="rows of synthetic_indel that are to be complex indels")
