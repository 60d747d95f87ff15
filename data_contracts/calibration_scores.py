"""Scores of common variants, from which the calibration table is made (spec 5)."""

from __future__ import annotations

import pandera.polars as pa
import polars as pl

from data_contracts import columns


class CalibrationScores(columns.Table):
    """One row a common allele outside all holdouts that training never saw."""

    contig: str = columns.contig()
    pos: int = columns.pos()
    ref: str = columns.ref()
    alt: str = columns.alt()
    edit_type: pl.UInt8 = columns.edit_type()
    region_class: str = columns.region_class()
    gc: pl.Float32 = pa.Field(in_range={"min_value": 0, "max_value": 1}, description="share of G and C in the window")
    repeat_class: str = columns.repeat_class()
    surprise_raw: pl.Float32 = columns.surprise_raw()
    displacement: pl.Float32 = columns.displacement()
    af_afr: pl.Float32 = columns.af_of("afr")
    af_amr: pl.Float32 = columns.af_of("amr")
    af_asj: pl.Float32 = columns.af_of("asj")
    af_eas: pl.Float32 = columns.af_of("eas")
    af_fin: pl.Float32 = columns.af_of("fin")
    af_mid: pl.Float32 = columns.af_of("mid")
    af_nfe: pl.Float32 = columns.af_of("nfe")
    af_sas: pl.Float32 = columns.af_of("sas")
    af_remaining: pl.Float32 = columns.af_of("remaining")
