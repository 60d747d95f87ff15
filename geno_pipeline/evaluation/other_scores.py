"""Scores of other models, from a table that the user has: CADD, AlphaMissense, larger encoders (spec 6).

Belongs here: reading that table. Does not: joining and judging it (`benchmarks`).

The table is Parquet, TSV or CSV (.gz too) with chrom, pos (1-based), ref, alt and one column of numbers for each model,
higher meaning more harmful. Alleles are brought to our form, so an indel may be written in any way.
"""

from __future__ import annotations

from pathlib import Path

import polars as pl

from data_contracts import BenchmarkAlleles, ClinvarScores
from geno_model.genomics.errors import InputError
from geno_model.genomics.genome import Genome
from geno_pipeline.build.hashing import ALLELE_KEY
from geno_pipeline.evaluation.benchmarks import SCORES
from geno_pipeline.evaluation.layouts import aligned, require_build

_KEY = ("chrom", "pos", "ref", "alt")


def read_scores(path: Path, genome: Genome) -> pl.DataFrame:
    """ALLELE_KEY and a Float64 column for each model; rows whose bases are not the FASTA's are left out, of an allele
    that stands there twice the first row counts.

    Raises:
        InputError: the file cannot be read, lacks a column of the key, has no column of numbers, uses a name of ours,
            or is of another build.
    """
    try:
        if path.suffix == ".parquet":
            table = pl.read_parquet(path)
        else:
            separator = "," if ".csv" in path.suffixes else "\t"
            table = pl.read_csv(
                path,
                separator=separator,
                infer_schema_length=None,
                schema_overrides={"chrom": pl.String},
                null_values=["", ".", "NA", "NaN", "nan"],
            )
    except (OSError, pl.exceptions.PolarsError) as error:
        reason = str(error).strip().split("\n")[0]
        raise InputError(f"{path} cannot be read as a table of scores ({reason}); give Parquet, TSV or CSV") from None
    numbers = [name for name, kind in table.schema.items() if kind.is_numeric() and name not in _KEY]
    if missing := [name for name in _KEY if name not in table.columns]:
        raise InputError(f"{path} has no column {', '.join(missing)}; expected chrom, pos, ref, alt and one a model")
    if not numbers:
        raise InputError(f"{path} has no column of numbers beside chrom, pos, ref, alt; expected one for each model")
    text = table.select(
        pl.col("chrom", "ref", "alt").cast(pl.String), pl.col("pos").cast(pl.Int64, strict=False), *numbers
    )
    if taken := sorted(set(numbers) & _taken()):
        raise InputError(f"{path} calls a model {taken[0]}, which is a name of ours; rename that column")
    rows = aligned(text, genome)
    require_build(rows, genome, path, published="", few_rows=1)
    rows = rows.filter(pl.col("reason").is_null())
    scores = [pl.col(name).cast(pl.Float64) for name in numbers]
    return rows.unique(ALLELE_KEY, keep="first", maintain_order=True).select(*ALLELE_KEY, *scores)


def _taken() -> set[str]:
    """Names that the benchmarks' frame has already. No constant: a frame made at import would start polars' threads,
    and the processes that Dagster forks from a loaded one would wait for them for ever."""
    tables = (BenchmarkAlleles.empty(), ClinvarScores.empty())
    return {*SCORES, *(name for table in tables for name in table.columns), "zero_shot", "in_calibration"}
