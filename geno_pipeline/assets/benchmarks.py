"""The benchmarks' alleles and what every model says of them, once each (group `evaluation`, spec 6)."""

from __future__ import annotations

import json
from collections.abc import Callable
from importlib.metadata import version

import dagster as dg
import polars as pl

from data_contracts.benchmark_alleles import BRCA1, BRCA2, CODING, NON_CODING, TRAITGYM
from data_contracts.columns import CLINVAR
from geno_model.files import replacing_file
from geno_model.genomics.context import gc_terciles
from geno_model.genomics.genome import Genome
from geno_model.scoring.calibration import Percentiles, with_percentiles
from geno_model.scoring.surprise import score_raw, window_threads
from geno_model.scoring.windows import place
from geno_pipeline.assets import GENOME, PROFILE, annotation, inputs, open_genome, open_reference, table_asset, tell
from geno_pipeline.assets.input_files import BENCHMARK_FILES, HASHES, benchmark_tables
from geno_pipeline.assets.model import load_model, model_at_hand
from geno_pipeline.assets.states import open_encoder, read_contract
from geno_pipeline.build.gnomad import frequencies_of
from geno_pipeline.build.hashing import ALLELE_KEY
from geno_pipeline.config import digest
from geno_pipeline.evaluation import alleles as benchmark
from geno_pipeline.evaluation.baselines import untrained
from geno_pipeline.evaluation.score_cache import groups, scored_once
from geno_pipeline.evaluation.zero_shot import choose, zero_shot
from geno_pipeline.gates import require_one_model
from geno_pipeline.storage import OfModel, Storage, content_sha256, markdown_table

CACHE = "score_cache"
CALIBRATED = ("calibration", "calibration_scores")
ONE_WINDOW = ("most_central", "centred")  # policies that score an allele in one window
SCORING = 1  # to be raised when the code gives other numbers for the same alleles
RUNTIME = [SCORING, *(f"{name} {version(name)}" for name in ("numpy", "torch", "transformers"))]
TABLES_OF = {BRCA1: PROFILE.inputs.brca1, BRCA2: PROFILE.inputs.brca2, TRAITGYM: PROFILE.inputs.traitgym}
SITE_FILES = PROFILE.inputs.frequencies or PROFILE.inputs.gnomad
BENCHMARK_INPUTS = list(dict.fromkeys([*inputs("benchmark"), *inputs("frequency")]))


@table_asset(
    "evaluation",
    settings=[*TABLES_OF.values(), *SITE_FILES, PROFILE.inputs.an_where_af_missing],
    deps=[*BENCHMARK_INPUTS, "reference_genome"],
)
def benchmark_alleles(
    context: dg.AssetExecutionContext,
    storage: Storage,
    clinvar_variants: pl.DataFrame,
    holdout_clinvar: pl.DataFrame,
    training_edits: pl.DataFrame,
    gene_annotation: pl.DataFrame,
) -> pl.DataFrame:
    """Judged alleles of ClinVar, of the BRCA1 and BRCA2 screens and of TraitGym, and why some of them take no part."""
    genome, content = open_reference(), benchmark_tables(storage.path / HASHES)
    tables = {track: PROFILE.input_path(path) for track, path in TABLES_OF.items() if path is not None}
    training = training_edits.select("source", "contig", "edits").explode("edits").unnest("edits")
    from_clinvar = training.filter(pl.col("source") == CLINVAR).drop("source")
    rows = [benchmark.clinvar_rows(clinvar_variants, holdout_clinvar, from_clinvar)]
    rows += [benchmark.table_rows(track, path, genome) for track, path in tables.items()]
    wanted = pl.concat([part.filter(pl.col("reason").is_null()).select(*ALLELE_KEY) for part in rows if "pos" in part])
    site_files = [PROFILE.input_path(path) for path in SITE_FILES]
    frequencies = frequencies_of(
        wanted.unique(), site_files, genome, an_where_af_missing=PROFILE.inputs.an_where_af_missing
    )
    table = benchmark.with_facts(rows, training.drop("source"), frequencies, gene_annotation, genome)
    counts = table.group_by("track", "reason", maintain_order=True).agg(pl.len())
    context.add_asset_metadata({"rows": dg.MetadataValue.md(markdown_table(counts))})
    with replacing_file(storage.path / BENCHMARK_FILES) as temporary:
        temporary.write_text(json.dumps({"sha256": content}) + "\n")
    return table


def benchmark_scores(name: str, tracks: tuple[str, ...], description: str) -> dg.AssetsDefinition:
    """The asset of the scores of some tracks: both heads, no change, and random weights, from one pass."""

    def scores(
        context: dg.AssetExecutionContext,
        storage: Storage,
        benchmark_alleles: pl.DataFrame,
        calibration: pl.DataFrame,
        calibration_scores: pl.DataFrame,
        gene_annotation: pl.DataFrame,
        repeat_annotation: pl.DataFrame,
    ) -> OfModel:
        made_with = model_at_hand(storage)
        require_one_model(storage.made_with(*CALIBRATED), made_with)
        genome, policy = open_genome(), PROFILE.calibration.window_policy
        encoder, model = open_encoder(storage), load_model(storage)
        where = annotation(gene_annotation, repeat_annotation)
        other = untrained(model, encoder.sixmer_embeddings().cpu(), PROFILE.seed)
        chosen = _distinct(benchmark_alleles, tracks)

        def score(rows: pl.DataFrame) -> pl.DataFrame:
            progress = tell(context, rows.height, "alleles")
            return score_raw(rows, genome, encoder, model, where, policy=policy, untrained=other, progress=progress)

        raw = _scored_once(context, storage, name, model_key(storage), chosen, genome, score)
        known = raw.filter(pl.col("reason").is_null())
        percentiles = with_percentiles(
            known, Percentiles(calibration), gc_terciles(calibration_scores["gc"].to_numpy())
        )
        return OfModel(percentiles.drop("window_start_bp", "delta_loglik", "reason"), made_with)

    scores.__name__, scores.__doc__ = name, description
    settings = [PROFILE.calibration.window_policy, PROFILE.seed]
    return table_asset("evaluation", settings=settings, deps=["checkpoint", "encoder_identity", *GENOME])(scores)


clinvar_scores = benchmark_scores(
    "clinvar_scores",
    (CODING, NON_CODING),
    "Scores of judged variants that were kept away from training: do pathogenic ones surprise the model more?",
)
brca_scores = benchmark_scores(
    "brca_scores", (BRCA1, BRCA2), "Scores of all single-base changes that were tried in a cell, in BRCA1 and BRCA2."
)
traitgym_scores = benchmark_scores(
    "traitgym_scores", (TRAITGYM,), "Scores of regulatory variants that cause a disease, and of controls like them."
)


@table_asset(
    "evaluation",
    settings=[PROFILE.evaluation.zero_shot_window_bp, PROFILE.evaluation.zero_shot_rows, PROFILE.seed],
    deps=["encoder_identity", *GENOME],
)
def zero_shot_scores(
    context: dg.AssetExecutionContext, storage: Storage, benchmark_alleles: pl.DataFrame
) -> pl.DataFrame:
    """What the DNA language model alone says of the same alleles, without our predictor: how unlikely they are."""
    window_bp = PROFILE.evaluation.zero_shot_window_bp
    genome, encoder = open_genome(), open_encoder(storage)
    used = benchmark_alleles.filter(pl.col("reason").is_null())
    chosen = choose(used, PROFILE.evaluation.zero_shot_rows, PROFILE.seed)

    def score(rows: pl.DataFrame) -> pl.DataFrame:
        progress = tell(context, rows.height, "alleles")
        with window_threads() as threads:
            return rows.select(*ALLELE_KEY, zero_shot(rows, genome, encoder, window_bp, threads, progress))

    key = digest(read_contract(storage).to_dict(), window_bp, RUNTIME)
    windows, _ = place(chosen, genome, "centred", window_bp, window_bp)
    scores, n_made = scored_once(
        storage.path / CACHE / "zero_shot_scores", key[:16], chosen, groups(chosen, windows, genome, window_bp), score
    )
    context.add_asset_metadata({"alleles": chosen.height, "scored_now": n_made})
    return scores


def model_key(storage: Storage) -> str:
    """SHA-256 over all that a raw score and its context depend on besides the allele and the DNA around it."""
    folders = [storage.path / "checkpoint", storage.path / "encoder_identity"]
    files = {f"{folder.name}/{path.name}": path for folder in folders for path in folder.iterdir() if path.is_file()}
    files |= {name: storage.path / f"{name}.parquet" for name in ("gene_annotation", "repeat_annotation")}
    return digest(content_sha256(files), PROFILE.calibration.window_policy, PROFILE.seed, RUNTIME)


def _distinct(alleles: pl.DataFrame, tracks: tuple[str, ...]) -> pl.DataFrame:
    used = alleles.filter(pl.col("reason").is_null() & pl.col("track").is_in(tracks))
    return used.select(*ALLELE_KEY, "edit_type").unique().sort(*ALLELE_KEY)


def _scored_once(
    context: dg.AssetExecutionContext,
    storage: Storage,
    name: str,
    key: str,
    alleles: pl.DataFrame,
    genome: Genome,
    score: Callable[[pl.DataFrame], pl.DataFrame],
) -> pl.DataFrame:
    """Scores of alleles; those of a window whose alleles are the same as in an earlier run are taken from it."""
    contract = read_contract(storage)
    windows, _ = place(alleles, genome, "most_central", contract.window_bp, contract.stride_bp)
    group = groups(alleles, windows, genome, contract.window_bp)
    if PROFILE.calibration.window_policy not in ONE_WINDOW:  # an allele is scored beside those of other groups, too
        group = group.clear().extend_constant(digest(group.to_list()), len(group))
    raw, n_made = scored_once(storage.path / CACHE / name, key[:16], alleles, group, score)
    context.add_asset_metadata({"alleles": alleles.height, "scored_now": n_made, "model_key": key})
    return raw
