"""Where assets live on disk: tables as checked Parquet files, everything else as a folder.

Belongs here: paths, atomic writing, content hashes, the IO manager and the metadata of every materialisation.
Does not belong here: what a table means (`data_contracts`) and what makes it (`geno_pipeline.build`).

Concept: one root folder. A table is `<root>/<asset>.parquet`, or `<root>/<asset>/<contig>.parquet` for an asset that is
partitioned by contig; an asset body takes and returns ONE frame, and rows are split by their `contig` column. A frame
that was read holds the contigs in the order of their names. A partitioned asset gets the rows of its own contigs from a
partitioned input; an unpartitioned asset gets all of them. A folder asset writes `<root>/<asset>/` itself and is handed
on by path.

The data version of an asset is the SHA-256 of its content (of all contigs, where it is partitioned), so that an asset
that came out the same does not make those after it stale. It does not see file times, nor anything outside the asset.
"""

from __future__ import annotations

import hashlib
import importlib.util
import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import dagster as dg
import pandera.polars as pa
import polars as pl

from data_contracts.checking import validate
from geno_model.files import replacing_file

ROW_GROUP_ROWS = 65_536
PREVIEW_ROWS = 5
ROWS_CHECKED_ON_READ = 100_000
NOT_STORED = ("reference_genome",)  # a record of what lies elsewhere
_MADE_WITH = "made_with"


class StorageError(OSError):
    """A stored asset that is missing or does not fit its place; the message says what to do."""


def contract_of(asset: str) -> type[pa.DataFrameModel]:
    """The table contract of an asset: `data_contracts.gnomad_variants.GnomadVariants` for `gnomad_variants`."""
    module = importlib.import_module(f"data_contracts.{asset}")
    return getattr(module, "".join(part.capitalize() for part in asset.split("_")))


def _has_contract(asset: str) -> bool:
    return importlib.util.find_spec(f"data_contracts.{asset}") is not None


def empty_table(asset: str) -> pl.DataFrame:
    """A table of no rows with the columns and types of the asset's contract."""
    return contract_of(asset).empty()


def file_sha256(path: Path) -> str:
    """SHA-256 of a file, read in blocks."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def content_sha256(files: Mapping[str, Path]) -> str:
    """SHA-256 over (name, SHA-256 of the content) of several files, in the order of their names."""
    return combined_sha256({name: file_sha256(path) for name, path in files.items()})


def combined_sha256(hashes: Mapping[str, str]) -> str:
    """SHA-256 over (name, hash) pairs, in the order of the names."""
    lines = [f"{name}\t{hashes[name]}\n" for name in sorted(hashes)]
    return hashlib.sha256("".join(lines).encode()).hexdigest()


@dataclass(frozen=True, slots=True)
class MadeWith:
    """The model that something was made with: SHA-256 of checkpoint and of the settings of training and scoring."""

    checkpoint_sha256: str
    settings_sha256: str


@dataclass(frozen=True, slots=True)
class OfModel:
    """A table and the model that it was made with, which goes into the file's metadata."""

    frame: pl.DataFrame
    made_with: MadeWith


def write_table(frame: pl.DataFrame, path: Path, made_with: MadeWith | None = None) -> None:
    """Write Parquet: equal frames give equal bytes, and a killed run leaves the old file or the new one."""
    metadata = {_MADE_WITH: json.dumps(asdict(made_with), sort_keys=True)} if made_with else None
    with replacing_file(path) as temporary:
        frame.rechunk().write_parquet(
            temporary, compression="zstd", row_group_size=ROW_GROUP_ROWS, statistics=True, metadata=metadata
        )


class Storage(dg.ConfigurableResource):
    """Paths of all assets under one root folder, and the reading of tables outside an asset's own inputs."""

    root: str

    @property
    def path(self) -> Path:
        """The root folder."""
        return Path(self.root)

    def is_stored(self, key: dg.AssetKey, contig: str | None) -> bool:
        """Whether what an asset has written is there: its table, or its folder if it has one (of a contig)."""
        asset = key.to_python_identifier()
        path = self.path / asset if contig is None else self.path / asset / contig
        if not _has_contract(asset):
            return path.is_dir() or asset in NOT_STORED
        return path.with_name(f"{path.name}.parquet").is_file()

    def folder(self, asset: str) -> Path:
        """The folder `<root>/<asset>` of an asset that is not a table; made when it is missing."""
        folder = self.path / asset
        folder.mkdir(parents=True, exist_ok=True)
        return folder

    def table_files(self, asset: str, contigs: Iterable[str] | None = None) -> dict[str, Path]:
        """Files of a table by contig (`""` for an unpartitioned one); all that exist unless `contigs` are named.

        Raises:
            StorageError: a file is missing.
        """
        whole = self.path / f"{asset}.parquet"
        if contigs is not None:
            files = {contig: self.path / asset / f"{contig}.parquet" for contig in sorted(contigs)}
        elif whole.is_file():
            files = {"": whole}
        else:
            files = {path.stem: path for path in sorted((self.path / asset).glob("[!.]*.parquet"))}
        for path in files.values() or [whole]:
            if not path.is_file():
                raise StorageError(f"{path} is missing. Materialise the asset {asset} first.")
        return files

    def read_table(
        self, asset: str, contigs: Iterable[str] | None = None, n_checked: int | None = ROWS_CHECKED_ON_READ
    ) -> pl.DataFrame:
        """A table as one frame, its contract checked on `n_checked` rows, evenly spread (None: on all).

        Raises:
            StorageError: a file is missing (see `table_files` for `contigs`).
            ContractViolationError: a column or a row does not keep the contract.
        """
        files = self.table_files(asset, contigs)
        frame = pl.concat([pl.read_parquet(path) for path in files.values()])
        step = 1 if n_checked is None else -(-frame.height // n_checked)
        validate(contract_of(asset), frame.gather_every(max(step, 1)))
        return frame

    def made_with(self, *assets: str) -> dict[str, MadeWith | None]:
        """The model that each unpartitioned table was made with; None where its file does not say.

        Raises `StorageError` if a file is missing.
        """
        found: dict[str, MadeWith | None] = {}
        for asset in assets:
            (path,) = self.table_files(asset).values()
            text = pl.read_parquet_metadata(path).get(_MADE_WITH)
            found[asset] = MadeWith(**json.loads(text)) if text else None
        return found

    def folder_result(self, asset: str, metadata: Mapping[str, Any] | None = None) -> dg.MaterializeResult:
        """What a folder asset returns: its metadata, and a data version over the content of every file.

        Hidden ones are none of it: another run may be writing a shard of the same folder.
        """
        folder = self.path / asset
        found = {path.relative_to(folder): path for path in folder.rglob("*") if path.is_file()}
        files = {str(name): path for name, path in found.items() if not any(part[0] == "." for part in name.parts)}
        return dg.MaterializeResult(
            metadata={
                "path": dg.MetadataValue.path(str(folder)),
                "files": len(files),
                "bytes": sum(path.stat().st_size for path in files.values()),
                **(metadata or {}),
            },
            data_version=dg.DataVersion(content_sha256(files)),
        )


class TableIO(dg.ConfigurableIOManager):
    """Tables of assets as Parquet. The contract is checked before anything is written, and sampled when read."""

    storage: Storage

    def handle_output(self, context: dg.OutputContext, obj: pl.DataFrame | OfModel) -> None:
        """Write a frame: all of it, or one file a contig for the contigs of this run."""
        asset = context.asset_key.to_python_identifier()
        given, made_with = (obj.frame, obj.made_with) if isinstance(obj, OfModel) else (obj, None)
        frame = validate(contract_of(asset), given)
        if context.has_asset_partitions:
            parts = _by_contig(asset, frame, context.asset_partition_keys)
            paths = {contig: self.storage.path / asset / f"{contig}.parquet" for contig in parts}
        else:
            parts = {"": frame}
            paths = {"": self.storage.path / f"{asset}.parquet"}
        step = context.step_context
        for contig, part in parts.items():
            write_table(part, paths[contig], made_with)
            step.add_asset_metadata(_table_metadata(asset, part, paths[contig]), context.asset_key, contig or None)
        # In one run over several contigs Dagster records one data version for them all, so it covers the whole table.
        version = content_sha256(self.storage.table_files(asset) if context.has_asset_partitions else paths)
        step.set_data_version(context.asset_key, dg.DataVersion(version))

    def load_input(self, context: dg.InputContext) -> pl.DataFrame:
        """Read a table: the contigs that Dagster maps to this run, or the whole."""
        asset = context.asset_key.to_python_identifier()
        contigs = context.asset_partition_keys if context.has_asset_partitions else None
        return self.storage.read_table(asset, contigs)


def _by_contig(asset: str, frame: pl.DataFrame, contigs: Sequence[str]) -> dict[str, pl.DataFrame]:
    strangers = frame.filter(~pl.col("contig").is_in(list(contigs)))["contig"].unique().sort()
    if len(strangers):
        raise StorageError(
            f"{asset} has rows on {', '.join(strangers)}, but this run makes {', '.join(contigs)} only. "
            "Filter the rows in the asset."
        )
    # Dagster gives the contigs of a run in no fixed order.
    return {contig: frame.filter(pl.col("contig") == contig) for contig in sorted(contigs)}


def _table_metadata(asset: str, frame: pl.DataFrame, path: Path) -> dict[str, dg.MetadataValue]:
    return {
        "dagster/row_count": dg.MetadataValue.int(frame.height),
        "bytes": dg.MetadataValue.int(path.stat().st_size),
        "schema_version": dg.MetadataValue.text(schema_version(asset)),
        "sha256": dg.MetadataValue.text(file_sha256(path)),
        "path": dg.MetadataValue.path(str(path)),
        "preview": dg.MetadataValue.md(markdown_table(frame.head(PREVIEW_ROWS))),
    }


def schema_version(asset: str) -> str:
    """Twelve hex digits that change when a column's name, order, type or nullability changes in the contract."""
    columns = contract_of(asset).to_schema().columns
    text = "\n".join(f"{name} {column.dtype} {column.nullable}" for name, column in columns.items())
    return hashlib.sha256(text.encode()).hexdigest()[:12]


def markdown_table(frame: pl.DataFrame) -> str:
    """A small frame as a Markdown table; cells longer than 40 characters are cut."""
    lines = [frame.columns, ["---"] * frame.width, *([_cell(value) for value in row] for row in frame.iter_rows())]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def _cell(value: object) -> str:
    text = f"{value:.4g}" if isinstance(value, float) else "" if value is None else str(value)
    text = text.replace("|", "\\|").replace("\n", " ")
    return text if len(text) <= 40 else f"{text[:37]}..."
