"""Asset checks: what must hold before the next asset is made.

Belongs here: checks that read stored tables and say what was expected and what was found.
Does not belong here: the rules themselves (`data_contracts`, `geno_pipeline.build`).

Concept: a contract check is made for every table by ONE factory. It reads back what lies on disk, so it also catches a
file that changed after it was written. A blocking check that fails stops every asset that comes after.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import dagster as dg
import polars as pl

from data_contracts.checking import ContractViolationError
from geno_pipeline.assets import open_genome
from geno_pipeline.build.leakage import Holdouts, leakage
from geno_pipeline.storage import Storage, contract_of, markdown_table, schema_version


def contract_checks(assets: Iterable[object]) -> Iterator[dg.AssetChecksDefinition]:
    """One blocking check for each table among the assets: its stored rows keep the contract of its name."""
    for asset in assets:
        if isinstance(asset, dg.AssetsDefinition) and "dagster/column_schema" in asset.metadata_by_key[asset.key]:
            yield contract_check(asset.key.to_python_identifier())


def contract_check(asset: str) -> dg.AssetChecksDefinition:
    """A blocking check that the stored table of an asset keeps its contract."""
    contract = contract_of(asset).__name__

    @dg.asset_check(
        asset=asset, name="contract", blocking=True, description=f"Every stored row keeps the contract {contract}."
    )
    def check(storage: Storage) -> dg.AssetCheckResult:
        metadata = {"contract": contract, "schema_version": schema_version(asset)}
        try:
            frame = storage.read_table(asset, n_checked=None)
        except ContractViolationError as error:
            return dg.AssetCheckResult(passed=False, description=str(error), metadata=metadata)
        return dg.AssetCheckResult(passed=True, metadata={**metadata, "rows": frame.height})

    return check


def leakage_check(asset: str) -> dg.AssetChecksDefinition:
    """A blocking check that no row of an asset shares anything with one of the three holdouts."""

    @dg.asset_check(
        asset=asset,
        name="holdout_leakage",
        blocking=True,
        description="No row touches a holdout: no allele however written, no position, codon, block or window.",
    )
    def check(storage: Storage) -> dg.AssetCheckResult:
        held = Holdouts(
            storage.read_table("holdout_chr"),
            storage.read_table("holdout_clinvar"),
            storage.read_table("holdout_haplotypes"),
            storage.read_table("gene_annotation"),
            open_genome(),
        )
        counts = leakage(storage.read_table(asset), held)
        n_rows = int(counts["n_rows"].sum())
        lines = counts.filter(pl.col("n_rows") > 0).rows()
        found = ", ".join(f"{n} by {kind} of {holdout}" for holdout, kind, n in lines) or "none"
        return dg.AssetCheckResult(
            passed=n_rows == 0,
            description=f"Expected no row of {asset} that touches a holdout, found {found}.",
            metadata={"rows_by_holdout": dg.MetadataValue.md(markdown_table(counts))},
        )

    return check


training_leakage = leakage_check("training_edits")
calibration_leakage = leakage_check("calibration_scores")


@dg.asset_check(
    asset="training_edits",
    blocking=True,
    description="Each window has exactly the rows of each source that the edit mix planned.",
)
def mix_exact(storage: Storage) -> dg.AssetCheckResult:
    """Compare the stored training rows with the plan, by window and source."""
    key = ["contig", "window_start_bp", "source"]
    made = storage.read_table("training_edits").group_by(key).agg(made=pl.len().cast(pl.Int64))
    contigs = list(storage.table_files("training_edits"))  # of a partial run, those that are made so far
    plan = storage.read_table("edit_mix").filter(pl.col("contig").is_in(contigs))
    both = plan.join(made, on=key, how="full", coalesce=True).fill_null(0)
    wrong = both.filter(pl.col("n_rows") != pl.col("made"))
    totals = both.group_by("source").agg(planned=pl.col("n_rows").sum(), made=pl.col("made").sum()).sort("source")
    return dg.AssetCheckResult(
        passed=wrong.is_empty(),
        description=f"Expected the planned rows in every window, found {wrong.height} windows and sources that differ.",
        metadata={"rows_by_source": dg.MetadataValue.md(markdown_table(totals))},
    )
