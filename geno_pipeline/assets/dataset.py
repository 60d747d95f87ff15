"""Windows, holdouts, and the edits to learn from and to test with (groups `windows`, `holdouts`, `edits`; spec 3)."""

from __future__ import annotations

import dagster as dg
import polars as pl

from geno_model.genomics.genome import context_margin_bp
from geno_pipeline.assets import GENOME, PROFILE, open_genome, open_reference, table_asset
from geno_pipeline.build import edit_mix as mix
from geno_pipeline.build import holdouts, regions, rows, validation, windows
from geno_pipeline.config import CORPUS
from geno_pipeline.pictures import bar_picture, coverage_picture, histogram_picture
from geno_pipeline.storage import markdown_table

HELD = PROFILE.holdouts


@table_asset("holdouts", settings=[HELD.contigs, HELD.spans], deps=["reference_genome"])
def holdout_chr() -> pl.DataFrame:
    """Stretches of the genome that training never sees: no window, no variant."""
    return holdouts.holdout_chr(HELD.contigs, HELD.spans, open_reference().contigs)


@table_asset("windows", partitioned=True, settings=[PROFILE.windows], deps=GENOME)
def reference_windows(context: dg.AssetExecutionContext, holdout_chr: pl.DataFrame) -> pl.DataFrame:
    """The genome cut into overlapping windows of 12,288 bases, without those that are mostly unknown."""
    genome, grid = open_genome(), PROFILE.windows
    margin_bp = context_margin_bp(grid.window_bp, grid.stride_bp)
    frames = []
    for contig in context.partition_keys:
        stride_bp = grid.window_bp if contig == CORPUS else grid.stride_bp  # a corpus is windows end to end
        frame, counts = windows.reference_windows(
            genome, contig, grid.window_bp, stride_bp, grid.max_n_fraction, holdout_chr, margin_bp=margin_bp
        )
        frames.append(frame)
        held, length_bp = (frame["holdout"] != "").to_numpy(), genome.contigs[contig]
        pictures = {
            "coverage": coverage_picture(frame["start_bp"], frame["end_bp"], held, length_bp, contig),
            "gc": histogram_picture(frame["gc"].to_numpy(), "share of G and C in a window", "windows", bins=40),
        }
        shown = {f"windows_{name}": value for name, value in counts.items()} | pictures
        context.add_asset_metadata(shown, partition_key=contig)
    return pl.concat(frames)


@table_asset("holdouts", settings=[HELD.clinvar_fraction, PROFILE.seed])
def holdout_clinvar(clinvar_variants: pl.DataFrame, holdout_chr: pl.DataFrame) -> pl.DataFrame:
    """Judged variants kept for the evaluation: pathogenic ones and benign ones, gene by gene, never trained on."""
    return holdouts.holdout_clinvar(clinvar_variants, HELD.clinvar_fraction, PROFILE.seed, holdout_chr)


@table_asset("holdouts", settings=[HELD.haplotype_fraction, PROFILE.seed])
def holdout_haplotypes(phased_haplotypes: pl.DataFrame, holdout_chr: pl.DataFrame) -> pl.DataFrame:
    """Real combinations of neighbouring variants, kept to test how well several edits in a row are predicted."""
    return holdouts.holdout_haplotypes(phased_haplotypes, HELD.haplotype_fraction, PROFILE.seed, holdout_chr)


@table_asset("holdouts", deps=GENOME)
def holdout_regions(
    holdout_chr: pl.DataFrame,
    holdout_clinvar: pl.DataFrame,
    holdout_haplotypes: pl.DataFrame,
    gene_annotation: pl.DataFrame,
) -> pl.DataFrame:
    """Stretches that the three holdouts block: held-out alleles with all their twins, by position, place and codon."""
    return regions.holdout_regions(holdout_chr, holdout_clinvar, holdout_haplotypes, gene_annotation, open_genome())


@table_asset("edits", settings=[PROFILE.mix, PROFILE.seed])
def edit_mix(
    reference_windows: pl.DataFrame,
    gnomad_variants: pl.DataFrame,
    clinvar_variants: pl.DataFrame,
    holdout_regions: pl.DataFrame,
) -> pl.DataFrame:
    """How many edits of which source each window gets: population, pathogenic, synthetic; exact over the dataset."""
    return mix.plan(
        reference_windows,
        gnomad_variants,
        clinvar_variants,
        holdout_regions,
        edits_per_window=PROFILE.mix.edits_per_window,
        shares=PROFILE.mix.shares,
        seed=PROFILE.seed,
        calibration_fraction=PROFILE.mix.calibration_fraction,
        min_af=PROFILE.mix.min_af,
        mnv_share=PROFILE.mix.mnv_share,
        complex_share=PROFILE.mix.complex_share,
    )


@table_asset("edits", partitioned=True, settings=[PROFILE.mix, PROFILE.state.radius_tokens, PROFILE.seed], deps=GENOME)
def training_edits(
    context: dg.AssetExecutionContext,
    edit_mix: pl.DataFrame,
    reference_windows: pl.DataFrame,
    gnomad_variants: pl.DataFrame,
    clinvar_variants: pl.DataFrame,
    phased_haplotypes: pl.DataFrame,
    holdout_regions: pl.DataFrame,
) -> pl.DataFrame:
    """Edits that the model learns from: one to three in a window, and the place at which their effect is read."""
    genome = open_genome()
    made = pl.concat(
        rows.training_rows(
            edit_mix,
            reference_windows,
            gnomad_variants,
            clinvar_variants,
            phased_haplotypes,
            genome,
            contig,
            holdout_regions,
            seed=PROFILE.seed,
            calibration_fraction=PROFILE.mix.calibration_fraction,
            min_af=PROFILE.mix.min_af,
            multi_edit_fraction=PROFILE.mix.multi_edit_fraction,
            off_centre_fraction=PROFILE.mix.off_centre_fraction,
            radius_tokens=PROFILE.state.radius_tokens,
        )
        for contig in context.partition_keys
    )
    context.add_asset_metadata({"rows_by_source_and_k": _by_k(made, "source")})
    return made


@table_asset("edits", settings=[PROFILE.mix])
def mix_report(
    context: dg.AssetExecutionContext,
    edit_mix: pl.DataFrame,
    training_edits: pl.DataFrame,
    phased_haplotypes: pl.DataFrame,
) -> pl.DataFrame:
    """What was asked of the training rows and what they became: by source, type, contig and number of edits."""
    report = mix.mix_report(
        edit_mix, training_edits, phased_haplotypes, PROFILE.mix.shares, PROFILE.mix.multi_edit_fraction
    )
    sources = report.filter(pl.col("by") == "source")
    series = {name: sources[name].to_list() for name in ("requested", "obtained", "substituted")}
    context.add_asset_metadata(
        {
            "mix": dg.MetadataValue.md(markdown_table(report)),
            "picture": bar_picture(sources["value"].to_list(), series, "training rows"),
        }
    )
    return report


@table_asset("edits", partitioned=True, settings=[PROFILE.validation, PROFILE.mix, PROFILE.seed], deps=GENOME)
def validation_edits(
    context: dg.AssetExecutionContext,
    reference_windows: pl.DataFrame,
    gnomad_variants: pl.DataFrame,
    holdout_clinvar: pl.DataFrame,
    holdout_haplotypes: pl.DataFrame,
    holdout_regions: pl.DataFrame,
) -> pl.DataFrame:
    """Edits that the model is tested on, drawn from the three holdouts: single ones, and up to eight in a row."""
    genome = open_genome()
    made = pl.concat(
        validation.validation_rows(
            reference_windows,
            gnomad_variants,
            holdout_clinvar,
            holdout_haplotypes,
            genome,
            contig,
            holdout_regions,
            seed=PROFILE.seed,
            shares=PROFILE.mix.shares,
            min_af=PROFILE.mix.min_af,
            mnv_share=PROFILE.mix.mnv_share,
            complex_share=PROFILE.mix.complex_share,
            **PROFILE.validation.model_dump(),
        )
        for contig in context.partition_keys
    )
    context.add_asset_metadata({"rows_by_holdout_and_k": _by_k(made, "holdout")})
    return made


def _by_k(made: pl.DataFrame, column: str) -> dg.MarkdownMetadataValue:
    """Rows of several edits: counts by k, one line for each value of a column."""
    counts = made.pivot("k", index=column, values="row_id", aggregate_function="len", sort_columns=True).fill_null(0)
    return dg.MetadataValue.md(markdown_table(counts.sort(column)))
