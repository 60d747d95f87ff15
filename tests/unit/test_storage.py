"""Tables and folders on disk: contracts, contigs, content versions, atomic writing, and ONE run over all contigs."""

# No `from __future__ import annotations`: Dagster wants the class on `context`, not its name.
from pathlib import Path

import dagster as dg
import polars as pl
import pytest

from data_contracts import ContractViolationError, GnomadVariants
from geno_model.files import replacing_file
from geno_pipeline.build.gnomad_fields import POPULATIONS
from geno_pipeline.checks import contract_check
from geno_pipeline.storage import (
    Storage,
    StorageError,
    TableIO,
    content_sha256,
    contract_of,
    empty_table,
    markdown_table,
    schema_version,
    write_table,
)

CONTIGS = dg.StaticPartitionsDefinition(["2", "10"])
RANGE = {"dagster/asset_partition_range_start": "2", "dagster/asset_partition_range_end": "10"}
SINGLE_RUN = dg.BackfillPolicy.single_run()


def variants(contig: str, n_rows: int, af: float = 0.25) -> pl.DataFrame:
    """Population SNVs at positions 1, 2, ... of a contig."""
    return pl.DataFrame(
        {
            "contig": [contig] * n_rows,
            "pos": range(1, n_rows + 1),
            "ref": ["A"] * n_rows,
            "alt": ["C"] * n_rows,
            "edit_type": pl.Series([0] * n_rows, dtype=pl.UInt8),
            "af": pl.Series([af] * n_rows, dtype=pl.Float32),
            **{f"af_{name}": pl.Series([None] * n_rows, dtype=pl.Float32) for name in POPULATIONS},
        }
    )


def pipeline(root: Path, af: float = 0.25, strangers: bool = False) -> dg.Definitions:
    """Three assets: a partitioned table, a partitioned one made from it, and one line over all contigs."""

    @dg.asset(partitions_def=CONTIGS, backfill_policy=SINGLE_RUN, io_manager_key="tables")
    def gnomad_variants(context: dg.AssetExecutionContext) -> pl.DataFrame:
        made = [variants(contig, 2 + int(contig), af) for contig in context.partition_keys]
        return pl.concat([*made, variants("X", 1)] if strangers else made)

    @dg.asset(partitions_def=CONTIGS, backfill_policy=SINGLE_RUN, io_manager_key="tables")
    def phased_haplotypes(gnomad_variants: pl.DataFrame) -> pl.DataFrame:
        assert gnomad_variants["contig"].unique().sort().to_list() == ["10", "2"]
        return empty_table("phased_haplotypes")

    @dg.asset(io_manager_key="tables")
    def variant_accounting(gnomad_variants: pl.DataFrame, phased_haplotypes: pl.DataFrame) -> pl.DataFrame:
        counted = gnomad_variants.group_by("contig").agg(pl.len().cast(pl.Int64).alias("n_alleles")).sort("contig")
        return counted.with_columns(pl.lit("gnomad").alias("source"), pl.lit("retained").alias("reason"))

    assets = [gnomad_variants, phased_haplotypes, variant_accounting]
    storage = Storage(root=str(root))
    return dg.Definitions(
        assets=assets,
        asset_checks=[contract_check(asset.key.to_user_string()) for asset in assets],
        resources={"storage": storage, "tables": TableIO(storage=storage)},
        jobs=[dg.define_asset_job("everything", selection="*", executor_def=dg.in_process_executor)],
    )


def execute(root: Path, instance: dg.DagsterInstance, **settings: bool | float) -> dg.ExecuteInProcessResult:
    job = pipeline(root, **settings).resolve_job_def("everything")  # type: ignore[arg-type]
    quiet = {"loggers": {"console": {"config": {"log_level": "CRITICAL"}}}}
    return job.execute_in_process(instance=instance, raise_on_error=False, run_config=quiet, tags=RANGE)


def latest(instance: dg.DagsterInstance, asset: str) -> dict[str | None, dg.AssetMaterialization]:
    """The newest materialisation of each partition (None for an unpartitioned asset)."""
    records = instance.fetch_materializations(dg.AssetKey(asset), limit=100).records
    return {record.partition_key: record.asset_materialization for record in reversed(records)}  # type: ignore[misc]


def test_one_run_makes_all_contigs_and_the_assets_over_them(tmp_path: Path) -> None:
    with dg.DagsterInstance.ephemeral() as instance:
        assert execute(tmp_path, instance).success
        for asset in ("gnomad_variants", "phased_haplotypes"):
            assert set(instance.get_materialized_partitions(dg.AssetKey(asset))) == {"2", "10"}
        accounting = pl.read_parquet(tmp_path / "variant_accounting.parquet")
        assert accounting.rows() == [("gnomad", "10", "retained", 12), ("gnomad", "2", "retained", 4)]
        metadata = latest(instance, "gnomad_variants")["10"].metadata
        assert metadata["dagster/row_count"].value == 12
        assert metadata["bytes"].value == (tmp_path / "gnomad_variants" / "10.parquet").stat().st_size
        assert metadata["schema_version"].value == schema_version("gnomad_variants")
        assert str(metadata["preview"].value).count("\n") == 6
        # A contig without rows has a file too, so that who reads it knows that it was made.
        assert pl.read_parquet(tmp_path / "phased_haplotypes" / "2.parquet").is_empty()


def test_equal_content_keeps_the_data_version_and_other_content_changes_it(tmp_path: Path) -> None:
    versions = []
    with dg.DagsterInstance.ephemeral() as instance:
        for af in (0.25, 0.25, 0.5):
            assert execute(tmp_path, instance, af=af).success
            made = latest(instance, "gnomad_variants")["2"]
            versions.append((made.tags or {})["dagster/data_version"])
    assert versions[0] == versions[1] != versions[2]
    files = {path.stem: path for path in (tmp_path / "gnomad_variants").iterdir()}
    assert versions[2] == content_sha256(files)


def test_blocking_contract_check_stops_what_comes_after(tmp_path: Path) -> None:
    with dg.DagsterInstance.ephemeral() as instance:
        result = execute(tmp_path, instance, af=1.5)
        assert not result.success
        failed = [event for event in result.all_events if event.is_step_failure]
        assert [event.step_key for event in failed] == ["gnomad_variants"]
        assert "GnomadVariants" in str(failed[0].step_failure_data.error)
        assert not (tmp_path / "gnomad_variants").exists()
        assert not latest(instance, "variant_accounting")


def test_rows_of_another_contig_are_refused(tmp_path: Path) -> None:
    with dg.DagsterInstance.ephemeral() as instance:
        result = execute(tmp_path, instance, strangers=True)
        message = str(next(event for event in result.all_events if event.is_step_failure).step_failure_data.error)
    assert "gnomad_variants has rows on X, but this run makes" in message


def test_contract_check_reads_what_lies_on_disk(tmp_path: Path) -> None:
    write_table(variants("1", 3), tmp_path / "gnomad_variants" / "1.parquet")
    check = contract_check("gnomad_variants")
    assert check(Storage(root=str(tmp_path))).passed  # type: ignore[union-attr]
    write_table(variants("1", 2_000, af=7.0), tmp_path / "gnomad_variants" / "1.parquet")
    result = check(Storage(root=str(tmp_path)))
    assert not result.passed  # type: ignore[union-attr]
    assert "column af" in str(result.description)  # type: ignore[union-attr]


def test_read_table_names_what_is_missing_or_broken(tmp_path: Path) -> None:
    storage = Storage(root=str(tmp_path))
    with pytest.raises(StorageError, match="Materialise the asset gnomad_variants first"):
        storage.read_table("gnomad_variants")
    write_table(variants("2", 2), tmp_path / "gnomad_variants" / "2.parquet")
    with pytest.raises(StorageError, match=r"10\.parquet is missing"):
        storage.read_table("gnomad_variants", ["2", "10"])
    write_table(variants("10", 1), tmp_path / "gnomad_variants" / "10.parquet")
    assert storage.read_table("gnomad_variants", ["2", "10"])["contig"].to_list() == ["10", "2", "2"]
    write_table(variants("10", 1).drop("af"), tmp_path / "gnomad_variants" / "10.parquet")
    with pytest.raises(ContractViolationError, match="GnomadVariants"):
        storage.read_table("gnomad_variants", ["10"])


def test_equal_frames_give_equal_bytes(tmp_path: Path) -> None:
    frame = variants("1", 100_000)
    write_table(frame, tmp_path / "a.parquet")
    write_table(pl.concat([frame.head(7), frame.tail(-7)], rechunk=False), tmp_path / "b.parquet")
    assert (tmp_path / "a.parquet").read_bytes() == (tmp_path / "b.parquet").read_bytes()


def test_folder_result_follows_names_and_content(tmp_path: Path) -> None:
    storage = Storage(root=str(tmp_path))
    (storage.folder("a") / "x.txt").write_text("1")
    (storage.folder("b") / "x.txt").write_text("1")
    (storage.folder("c") / "y.txt").write_text("1")
    with replacing_file(tmp_path / "b" / "other.txt") as unfinished:
        unfinished.write_text("half")
        during = storage.folder_result("b")
    (tmp_path / "b" / "other.txt").unlink()
    results = [storage.folder_result(name, {"note": "n"}) for name in "abc"]
    assert results[0].data_version == results[1].data_version == during.data_version != results[2].data_version
    assert (results[0].metadata or {})["bytes"] == 1
    assert (results[0].metadata or {})["note"] == "n"


def test_contracts_by_asset_name() -> None:
    assert contract_of("gnomad_variants") is GnomadVariants
    assert empty_table("gnomad_variants").schema == variants("1", 1).schema
    assert schema_version("gnomad_variants") != schema_version("clinvar_variants")


def test_markdown_table_keeps_one_row_a_line() -> None:
    frame = pl.DataFrame({"a": ["x|y\nz", None], "b": [0.123456, 2.0]})
    assert markdown_table(frame).splitlines() == ["| a | b |", "| --- | --- |", "| x\\|y z | 0.1235 |", "|  | 2 |"]
