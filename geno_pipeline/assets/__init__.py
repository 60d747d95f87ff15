"""Assets: what the pipeline makes, one function each, with its inputs, group and settings.

Belongs here: reading inputs, one call of a plain function, metadata. In this file: the two kinds of asset.
Does not belong here: a loop over bases, variants or rows, or a rule of the data (`geno_pipeline.build`, `geno_model`).

Concept: there are two kinds.
- A `table_asset` returns a frame; `TableIO` checks its contract and writes it. Its input tables are parameters of the
  same name.
- A `folder_asset` writes `<storage>/<asset>/` itself and returns `storage.folder_result(...)`. Who needs it names it in
  `deps` and reads it by path.
Both name the settings that they read, so that a changed setting shows as a stale asset; so does a changed contract.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any, get_type_hints

import dagster as dg
import polars as pl

from geno_model.genomics.context import Context
from geno_model.genomics.genome import Genome
from geno_model.progress import now_and_then
from geno_pipeline.build.corpus import GenomeWithCorpus
from geno_pipeline.config import CORPUS, active_profile, digest
from geno_pipeline.storage import contract_of, schema_version

PROFILE = active_profile()
CONTIGS = dg.StaticPartitionsDefinition(list(PROFILE.contigs))
TABLES = "tables"  # key of the IO manager
GENOME = ["reference_genome"] if PROFILE.inputs.corpus is None else ["reference_genome", CORPUS]
"""What an asset depends on that calls `open_genome`."""
SAY_EVERY_S = 3.0  # between two lines of an asset about its progress


def inputs(name: str) -> list[str]:
    """What an asset depends on that reads the input files of a setting in `inputs`: see `assets.input_files`."""
    return ["demo_inputs"] if PROFILE.synthetic else [f"{name}_files"]


def table_asset(
    group: str,
    *,
    version: str = "1",
    settings: Iterable[object] = (),
    partitioned: bool = False,
    deps: Iterable[str] = (),
) -> Callable[[Callable[..., Any]], dg.AssetsDefinition]:
    """An asset that returns a table: a frame with the columns of `data_contracts.<asset>`.

    Args:
        group: group of spec 9.
        version: to be raised when the code gives other rows from the same inputs.
        settings: sections of the profile that the asset reads.
        partitioned: by contig. One run may make several contigs; the frame then holds the rows of all of them.
        deps: assets that must be there but are not read as tables.
    """

    def wrap(function: Callable[..., Any]) -> dg.AssetsDefinition:
        return dg.asset(
            group_name=group,
            deps=list(deps),
            code_version=f"{_code_version(version, settings)}-{schema_version(function.__name__)[:6]}",
            io_manager_key=TABLES,
            kinds={"parquet"},
            metadata={"dagster/column_schema": _column_schema(function.__name__)},
            **_partitions(partitioned),
        )(_with_types(function))

    return wrap


def folder_asset(
    group: str,
    *,
    version: str = "1",
    settings: Iterable[object] = (),
    partitioned: bool = False,
    deps: Iterable[str] = (),
) -> Callable[[Callable[..., Any]], dg.AssetsDefinition]:
    """An asset that writes its folder itself and returns `storage.folder_result(...)`. Arguments: see `table_asset`."""

    def wrap(function: Callable[..., Any]) -> dg.AssetsDefinition:
        return dg.asset(
            group_name=group,
            deps=list(deps),
            code_version=_code_version(version, settings),
            kinds={"file"},
            **_partitions(partitioned),
        )(_with_types(function))

    return wrap


def tell(context: dg.AssetExecutionContext, n_total: int, unit: str) -> Callable[[int], None]:
    """Something for an asset's work to call with what is done: the screen, the UI and the log say how far it is."""
    return now_and_then(context.log.info, n_total, unit, SAY_EVERY_S)


def open_reference() -> Genome:
    """The profile's reference genome; its memory-mapped bases are kept under the storage root."""
    return Genome.open(PROFILE.input_path(PROFILE.inputs.reference), cache_dir=PROFILE.storage)


def open_genome() -> Genome:
    """The reference genome and, where the profile has one, the contig of its corpus."""
    if PROFILE.inputs.corpus is None:
        return open_reference()
    corpus = Genome.open(PROFILE.storage / "corpus" / "corpus.fa", cache_dir=PROFILE.storage)
    return GenomeWithCorpus(open_reference(), corpus)


def annotation(gene_annotation: pl.DataFrame, repeat_annotation: pl.DataFrame) -> Context:
    """What is known about the genome's parts; without gene models every region class is `other`."""
    genes = gene_annotation if PROFILE.inputs.genes is not None else None
    return Context.build(genes, repeat_annotation, open_genome())


def _with_types(function: Callable[..., Any]) -> Callable[..., Any]:
    # Dagster wants the class on `context`, not its name, which is what `from __future__ import annotations` leaves.
    function.__annotations__ = get_type_hints(function, include_extras=True)
    return function


def _partitions(partitioned: bool) -> dict[str, Any]:
    if not partitioned:
        return {}
    return {"partitions_def": CONTIGS, "backfill_policy": dg.BackfillPolicy.single_run()}


def _code_version(version: str, settings: Iterable[object]) -> str:
    return f"{version}-{digest(*settings)[:8]}"


def _column_schema(asset: str) -> dg.TableSchema:
    columns = contract_of(asset).to_schema().columns
    return dg.TableSchema(
        [
            dg.TableColumn(
                name,
                type=str(column.dtype),
                description=column.description,
                constraints=dg.TableColumnConstraints(nullable=column.nullable),
            )
            for name, column in columns.items()
        ]
    )
