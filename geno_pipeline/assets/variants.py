"""Variants of populations and of patients, every allele accounted for (group `variants`, spec 1, 3, 9)."""

from __future__ import annotations

import json
from datetime import date
from pathlib import Path

import dagster as dg
import polars as pl

from geno_model.files import replacing_file
from geno_pipeline.assets import PROFILE, inputs, open_reference, table_asset
from geno_pipeline.assets.input_files import CLINVAR_RELEASE, HASHES, contents_of
from geno_pipeline.build.accounting import ELSEWHERE, count_alleles, in_order, parts_by_contig, require_all_counted
from geno_pipeline.build.clinvar import ingest_clinvar, release_date, require_not_older
from geno_pipeline.build.gnomad import ingest_gnomad
from geno_pipeline.build.phased import ingest_phased
from geno_pipeline.pictures import histogram_picture
from geno_pipeline.storage import Storage, markdown_table, write_table

PARTS = "variant_accounting_parts"
FILES: dict[str, list[Path]] = {
    "gnomad": [PROFILE.input_path(path) for path in PROFILE.inputs.gnomad],
    "clinvar": [PROFILE.input_path(PROFILE.inputs.clinvar)],
    "phased": [PROFILE.input_path(PROFILE.inputs.phased)],
}
READ = list(dict.fromkeys(name for source in FILES for name in inputs(source)))


@table_asset(
    "variants",
    version="2",
    partitioned=True,
    settings=[PROFILE.inputs.gnomad, PROFILE.inputs.an_where_af_missing, PROFILE.mix.min_af],
    deps=[*inputs("gnomad"), "reference_genome"],
)
def gnomad_variants(context: dg.AssetExecutionContext, storage: Storage) -> pl.DataFrame:
    """Alleles that are common in the population, and so mostly harmless: trimmed, left-aligned, with frequency."""
    frame, accounting = ingest_gnomad(
        FILES["gnomad"],
        open_reference(),
        context.partition_keys,
        an_where_af_missing=PROFILE.inputs.an_where_af_missing,
        min_af=PROFILE.mix.min_af,
    )
    _account(context, storage, "gnomad", accounting)
    for contig in context.partition_keys:
        af = frame.filter(pl.col("contig") == contig)["af"].to_numpy()
        picture = histogram_picture(af, "frequency of the alternate allele", "alleles", bins=40, log_x=True)
        context.add_asset_metadata({"frequencies": picture}, partition_key=contig)
    return frame


@table_asset(
    "variants",
    version="2",
    partitioned=True,
    settings=[PROFILE.inputs.clinvar],
    deps=[*inputs("clinvar"), "reference_genome"],
)
def clinvar_variants(context: dg.AssetExecutionContext, storage: Storage) -> pl.DataFrame:
    """Alleles that laboratories judged: pathogenic, benign or uncertain, with review stars, consequence and gene."""
    path, record = FILES["clinvar"][0], storage.path / CLINVAR_RELEASE
    release, before = release_date(path), _recorded_release(record)
    content = contents_of([path], storage.path / HASHES)[path]
    require_not_older(release, before, record)
    frame, accounting = ingest_clinvar(path, open_reference(), context.partition_keys)
    _account(context, storage, "clinvar", accounting)
    with replacing_file(record) as temporary:
        known = {"release": None if release is None else release.isoformat(), "sha256": content}
        temporary.write_text(json.dumps(known) + "\n")
    for contig in context.partition_keys:
        labels = frame.filter(pl.col("contig") == contig)["clnsig"].value_counts(name="n_alleles").sort("clnsig")
        metadata: dict[str, object] = {"labels": dg.MetadataValue.md(markdown_table(labels))}
        if release is not None:
            metadata["release"] = release.isoformat()
        context.add_asset_metadata(metadata, partition_key=contig)
    return frame


@table_asset(
    "variants",
    version="2",
    partitioned=True,
    settings=[PROFILE.inputs.phased],
    deps=[*inputs("phased"), "reference_genome"],
)
def phased_haplotypes(context: dg.AssetExecutionContext, storage: Storage) -> pl.DataFrame:
    """Two to eight alleles that lie together on one chromosome copy within 1,000 bp, nothing between them left out."""
    frame, accounting = ingest_phased(FILES["phased"][0], open_reference(), context.partition_keys)
    _account(context, storage, "phased", accounting)
    return frame


@table_asset(
    "variants",
    settings=[PROFILE.inputs.gnomad, PROFILE.inputs.clinvar, PROFILE.inputs.phased],
    deps=["gnomad_variants", "clinvar_variants", "phased_haplotypes", *READ],
)
def variant_accounting(context: dg.AssetExecutionContext, storage: Storage) -> pl.DataFrame:
    """What became of every allele in every input: retained, or left out for exactly one reason."""
    parts = [storage.table_files(f"{PARTS}/{source}", [*PROFILE.contigs, ELSEWHERE]) for source in FILES]
    frame = in_order(pl.read_parquet(path) for files in parts for path in files.values())
    n_read = {source: count_alleles(paths) for source, paths in FILES.items()}
    require_all_counted(frame, n_read)
    totals = frame.pivot("source", index="reason", values="n_alleles", aggregate_function="sum").fill_null(0)
    context.add_asset_metadata(
        {
            "alleles": dg.MetadataValue.md(markdown_table(totals.sort("reason"))),
            **{f"alleles_read_{source}": n for source, n in n_read.items()},
        }
    )
    return frame


def _recorded_release(record: Path) -> date | None:
    """Date of the release that the tables were made from last."""
    release = json.loads(record.read_text())["release"] if record.is_file() else None
    return None if release is None else date.fromisoformat(release)


def _account(context: dg.AssetExecutionContext, storage: Storage, source: str, accounting: pl.DataFrame) -> None:
    """Keep the counts of one source for `variant_accounting`, and show those of each contig."""
    for part, counts in parts_by_contig(accounting, context.partition_keys, PROFILE.contigs).items():
        write_table(counts, storage.path / PARTS / source / f"{part}.parquet")
        if part in context.partition_keys:
            shown = dg.MetadataValue.md(markdown_table(counts.select("reason", "n_alleles")))
            context.add_asset_metadata({"alleles": shown}, partition_key=part)
