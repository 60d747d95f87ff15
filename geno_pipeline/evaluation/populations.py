"""ClinVar's alleles by frequency, for all people and for each population (spec 6).

Belongs here: groups of alleles by how common they are, and where. Does not: percentiles among one population's common
variants (`calibration`).

A score that is fair finds harmless alleles as harmless wherever they are common. So beside how well pathogenic and
benign alleles are told apart, each row has the share of benign ones above the percentile 0.95: 0.05 would be that of
common variants.
"""

from __future__ import annotations

import polars as pl

from data_contracts.columns import POPULATIONS
from geno_pipeline.evaluation.benchmarks import CLINVAR, FREQUENCIES, GROUPS, SURPRISE, frequency_bin
from geno_pipeline.evaluation.metrics import rank

HIGH = 0.95
_SCHEMA = pl.Schema(
    {"population": pl.String, "frequency": pl.String, "n_positive": pl.Int64, "n_negative": pl.Int64}
    | dict.fromkeys(("auroc", "auroc_low", "auroc_high", "benign_median", "benign_high"), pl.Float64)
    | {"note": pl.String}
)


def by_population(rows: pl.DataFrame, n_resamples: int = 1000, seed: int = 0) -> pl.DataFrame:
    """ClinVar's labelled rows of `benchmarks.evaluated`, by population and frequency there.

    Counts, AUROC of the percentile, median percentile of benign alleles and the share of them above `HIGH`. A
    population without frequencies is left out.
    """
    of_clinvar = pl.col("track").is_in(GROUPS[CLINVAR]) & pl.col("reason").is_null() & pl.col("label").is_not_null()
    used = rows.filter(of_clinvar & pl.col(SURPRISE).is_finite())
    found = []
    for population in ("all", *POPULATIONS):
        af = pl.col("af" if population == "all" else f"af_{population}")
        binned = used.with_columns(frequency_bin(af).alias("frequency"))
        for name in FREQUENCIES:
            group = binned.filter(pl.col("frequency") == name)
            if group.is_empty():
                continue
            ranked = rank(group["label"].to_numpy(), group[SURPRISE].to_numpy(), n_resamples, seed)
            benign = group.filter(pl.col("label") == 0)[SURPRISE]
            found.append(
                (population, name, ranked.n_positive, ranked.n_negative, ranked.auroc, ranked.auroc_low)
                + (ranked.auroc_high, benign.median(), (benign > HIGH).mean(), ranked.note)
            )
    return pl.DataFrame(found, schema=_SCHEMA, orient="row")
