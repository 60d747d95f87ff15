"""What was asked of the training rows and what they became (spec 3)."""

from __future__ import annotations

import pandera.polars as pa

from data_contracts import columns


class MixReport(columns.Table):
    """One row a value of what is counted by; edit_type is that of a row's first edit."""

    by: str = pa.Field(
        isin=["source", "synthetic_indel", "edit_type", "contig", "k", "multi_edit"],
        description="what the rows are counted by",
    )
    value: str = pa.Field(description="value of it, in words")
    requested: int = pa.Field(
        nullable=True, ge=0, description="rows that the profile asks for; null where it asks for none in particular"
    )
    obtained: int = pa.Field(ge=0, description="rows that were made")
    substituted: int = pa.Field(
        nullable=True, ge=0, description="part of a source's request that synthetic SNVs stand in for"
    )
