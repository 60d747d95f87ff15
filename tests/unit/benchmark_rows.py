"""Made-up benchmark alleles with scores, for the tests of the evaluation's tables and pages."""

from __future__ import annotations

from typing import Any

import numpy as np
import polars as pl

from data_contracts import BenchmarkAlleles, ClinvarScores, ZeroShotScores
from data_contracts.benchmark_alleles import CODING
from data_contracts.columns import POPULATIONS
from geno_pipeline.build.hashing import ALLELE_KEY
from geno_pipeline.evaluation.benchmarks import evaluated

NO_CALIBRATION = pl.DataFrame(schema={"contig": pl.String, "pos": pl.Int64, "ref": pl.String, "alt": pl.String})


def alleles(n: int, track: str = CODING, first_pos: int = 1, **columns: object) -> pl.DataFrame:
    """n SNVs, every other one harmful; columns: values or expressions for some of BenchmarkAlleles' columns."""
    empty = BenchmarkAlleles.empty()
    number = pl.int_range(n, eager=True).alias("number")
    values: dict[str, object] = {
        "track": track, "contig": "1", "ref": "A", "alt": "C", "edit_type": 0,
        "pos": number + first_pos, "label": number % 2, **columns,
    }  # fmt: skip
    given = pl.DataFrame({"number": number}).select(
        *(
            (value if isinstance(value, pl.Expr | pl.Series) else pl.lit(value)).alias(name)
            for name, value in values.items()
        )
    )
    return pl.concat([empty, given.cast({name: empty.schema[name] for name in given.columns})], how="diagonal")  # type: ignore[arg-type]


def scores(rows: pl.DataFrame, *, seed: int = 0, region: str = "intron") -> pl.DataFrame:
    """BenchmarkScores: surprise ranks labels perfectly, displacement the wrong way round, the rest is noise."""
    keys = rows.select(*ALLELE_KEY, "edit_type", "label").drop_nulls("pos").unique(ALLELE_KEY, maintain_order=True)
    n, label = keys.height, keys["label"].fill_null(0).cast(pl.Float64)
    rng = np.random.default_rng(seed)
    noise = {name: pl.Series(rng.random(n)) for name in ("no_change", "random_surprise", "random_displacement")}
    table = keys.drop("label").with_columns(
        region_class=pl.lit(region), gc_bin=pl.lit(0), repeat_class=pl.lit("none"), bucket_id=pl.lit("*"),
        surprise_raw=0.1 + 0.5 * label, displacement=0.01 - 0.001 * label, surprise=0.2 + 0.5 * label,
        n_calibration=pl.lit(1_000), confidence=pl.lit(1.0), low_confidence=pl.lit(False),
        gc=pl.Series(rng.random(n)), **noise,
    )  # fmt: skip
    schema = ClinvarScores.empty().schema
    return table.select(schema.names()).cast(dict(schema))  # type: ignore[arg-type]


def zero_shots(rows: pl.DataFrame, seed: int = 1) -> pl.DataFrame:
    keys = rows.select(*ALLELE_KEY).drop_nulls("pos").unique(maintain_order=True)
    values = pl.Series("zero_shot", np.random.default_rng(seed).normal(size=keys.height))
    return keys.with_columns(values).select(ZeroShotScores.empty().columns)


def judged(rows: pl.DataFrame, **changes: object) -> pl.DataFrame:
    """`evaluated` over made-up scores; changes: arguments of `scores`."""
    return evaluated(rows, scores(rows, **changes), zero_shots(rows), NO_CALIBRATION)  # type: ignore[arg-type]


def frequencies(af: object) -> dict[str, Any]:
    """The same frequency in all people and in each population."""
    return {"af": af, **{f"af_{population}": af for population in POPULATIONS}}
