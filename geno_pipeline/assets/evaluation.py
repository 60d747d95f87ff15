"""How good the trained model is: rollouts, cost, and the report that a person reads (group `evaluation`, spec 6)."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path

import dagster as dg
import numpy as np
import polars as pl

from geno_model.files import replacing_folder
from geno_model.genomics.context import gc_terciles
from geno_model.genomics.errors import InputError
from geno_model.training.loop import predict_table
from geno_pipeline import automation
from geno_pipeline.assets import PROFILE, folder_asset, open_reference, table_asset
from geno_pipeline.assets.benchmarks import BENCHMARK_INPUTS, CALIBRATED, model_key
from geno_pipeline.assets.model import load_model, model_at_hand
from geno_pipeline.assets.states import ENCODER, open_states
from geno_pipeline.build.hashing import ALLELE_KEY
from geno_pipeline.evaluation import efficiency as cost
from geno_pipeline.evaluation import rollout
from geno_pipeline.evaluation.baselines import ridge_predictions, untrained
from geno_pipeline.evaluation.benchmarks import evaluated, figures
from geno_pipeline.evaluation.calibration import calibration_fit, reliability
from geno_pipeline.evaluation.history import read_metrics, regressions
from geno_pipeline.evaluation.other_scores import read_scores
from geno_pipeline.evaluation.plots import markdown_picture, skill_by_k
from geno_pipeline.evaluation.populations import by_population
from geno_pipeline.evaluation.report import PLOTS, ReportInputs, provenance, write_report
from geno_pipeline.gates import require_one_model
from geno_pipeline.storage import OfModel, Storage

REPOSITORY = Path(__file__).parents[2]
REPORT, RELEASE = "eval_report", "model_release"
OF_MODEL = (*CALIBRATED, "clinvar_scores", "brca_scores", "traitgym_scores", "rollout_fidelity", "efficiency")


@table_asset(
    "evaluation",
    settings=[PROFILE.evaluation.bootstrap, PROFILE.calibration.window_policy, PROFILE.seed],
    deps=["checkpoint", "training_states", "validation_states", "training_edits", "validation_edits"],
)
def rollout_fidelity(context: dg.AssetExecutionContext, storage: Storage) -> OfModel:
    """How much of the change of state the model predicts, for one edit and for several in a row; no change is 0."""
    states, training = open_states(storage, "validation_states").table(), open_states(storage, "training_states")
    model, made_with = load_model(storage), model_at_hand(storage, training)
    table = rollout.rollout_fidelity(
        states.batch.state.numpy(),
        predict_table(model, states).numpy(),
        states.targets.numpy(),
        states.keys["k"].to_numpy(),
        states.keys["holdout"].to_numpy(),
        states.keys["edit_type"].to_numpy(),
        ridge=ridge_predictions(training.table(), states, PROFILE.seed),
        random=predict_table(untrained(model, states.sixmer_embeddings, PROFILE.seed), states).numpy(),
        n_resamples=PROFILE.evaluation.bootstrap,
        seed=PROFILE.seed,
    )
    context.add_asset_metadata({"skill": dg.MetadataValue.md(markdown_picture(skill_by_k(table), "skill by K"))})
    return OfModel(table, made_with)


@table_asset(
    "evaluation",
    version="2",
    settings=[PROFILE.calibration.window_policy, PROFILE.seed],
    deps=["checkpoint", "encoder_identity", ENCODER, "training_states", "reference_genome"],
)
def efficiency(context: dg.AssetExecutionContext, storage: Storage, calibration_scores: pl.DataFrame) -> OfModel:
    """What a score costs on this machine: seconds and memory for one variant and for batches, and tokens of DNA run."""
    subject = cost.Subject(
        encoder=storage.path / ENCODER,
        identity=storage.path / "encoder_identity",
        checkpoint=storage.path / "checkpoint",
        states=storage.path / "training_states",
        fasta=PROFILE.input_path(PROFILE.inputs.reference),
        cache_dir=PROFILE.storage,
        policy=PROFILE.calibration.window_policy,
    )
    context.add_asset_metadata(cost.machine())
    alleles, made_with = calibration_scores.select(*ALLELE_KEY, "edit_type"), model_at_hand(storage)
    return OfModel(cost.efficiency(subject, alleles), made_with)


@folder_asset(
    "evaluation",
    version="2",
    settings=[
        PROFILE.evaluation,
        PROFILE.inputs.other_scores,
        PROFILE.mix.min_af,
        PROFILE.calibration.window_policy,
        PROFILE.seed,
    ],
    deps=["checkpoint", "encoder_identity", "training_states", *BENCHMARK_INPUTS],
)
def eval_report(
    storage: Storage,
    benchmark_alleles: pl.DataFrame,
    clinvar_scores: pl.DataFrame,
    brca_scores: pl.DataFrame,
    traitgym_scores: pl.DataFrame,
    zero_shot_scores: pl.DataFrame,
    calibration: pl.DataFrame,
    calibration_scores: pl.DataFrame,
    rollout_fidelity: pl.DataFrame,
    efficiency: pl.DataFrame,
    variant_accounting: pl.DataFrame,
    mix_report: pl.DataFrame,
    reference_windows: pl.DataFrame,
) -> dg.MaterializeResult:
    """The report a person reads: is it better than no change, than the encoder alone, than no model, and on what n."""
    settings, seed, training = PROFILE.evaluation, PROFILE.seed, open_states(storage, "training_states")
    made_with = model_at_hand(storage, training)
    require_one_model(storage.made_with(*OF_MODEL), made_with)
    others, notes = _other_scores()
    scores = pl.concat([clinvar_scores, brca_scores, traitgym_scores]).unique(["contig", "pos", "ref", "alt"])
    rows = evaluated(benchmark_alleles, scores, zero_shot_scores, calibration_scores, others)
    other_names = () if others is None else tuple(others.columns[4:])
    gc_edges = gc_terciles(calibration_scores["gc"].to_numpy())
    inputs = ReportInputs(
        profile=PROFILE.name,
        synthetic=PROFILE.synthetic,
        has_annotation=PROFILE.inputs.genes is not None,
        rollout=rollout_fidelity,
        figures=figures(rows, other_names, settings.bootstrap, seed),
        rows=rows,
        populations=by_population(rows, settings.bootstrap, seed),
        calibration=calibration_fit(calibration_scores, calibration, gc_edges),
        reliability=reliability(calibration_scores, gc_edges, min_af=PROFILE.mix.min_af, seed=seed),
        efficiency=efficiency,
        machine=cost.machine(),
        accounting=variant_accounting,
        mix=mix_report.filter(pl.col("by") == "source").drop("by").rename({"value": "source"}),
        provenance=provenance(
            REPOSITORY,
            profile_sha256=PROFILE.digest,
            model_key=model_key(storage),
            training_states=training.snapshot,
        ),
        made_with=asdict(made_with),
        evaluated=automation.evaluated(storage.path),
        facts={"windows kept": f"{reference_windows.height:,}", **an_note(), **notes},
        last=read_metrics(storage.path / REPORT),
        released=read_metrics(storage.path / RELEASE),
    )
    with replacing_folder(storage.path / REPORT) as folder:
        metrics = write_report(folder, inputs)
        inputs.figures.ranking.write_parquet(folder / "benchmarks.parquet")
    return storage.folder_result(REPORT, {"verdict": metrics["verdict"], **_shown(storage.path / REPORT)})


def _shown(folder: Path) -> dict[str, dg.MetadataValue]:
    """What the UI shows of a report: its first screen and its pictures, and where the page is."""
    first = (folder / "eval_report.md").read_text(encoding="utf-8").partition("\n## ")[0]
    pictures = {
        path.stem: dg.MetadataValue.md(markdown_picture(path.read_bytes(), path.stem.replace("_", " ")))
        for path in sorted((folder / PLOTS).glob("*.png"))
    }
    page = dg.MetadataValue.path(str(folder / "eval_report.html"))
    return {"first_screen": dg.MetadataValue.md(first), "page": page, **pictures}


def _other_scores() -> tuple[pl.DataFrame | None, dict[str, str]]:
    """Scores of other models, if the profile has any; a table that cannot be used costs nothing but a line."""
    if PROFILE.inputs.other_scores is None:
        return None, {}
    try:
        return read_scores(PROFILE.input_path(PROFILE.inputs.other_scores), open_reference()), {}
    except InputError as error:
        return None, {"scores of other models": f"left out: {error}"}


def an_note() -> dict[str, str]:
    """What the report must say of allele frequencies that the files do not hold."""
    n = PROFILE.inputs.an_where_af_missing
    return {} if n is None else {"allele frequency": f"AC / {n:,} where the file has neither AF nor AN"}


@dg.asset_check(
    asset="eval_report",
    blocking=True,
    description="The model beats 'no change' on single edits of held-out chromosomes, else no release.",
)
def skill_above_zero(storage: Storage) -> dg.AssetCheckResult:
    """Read the stored table: skill at K = 1 on holdout-chr, all edit types together."""
    rows = storage.read_table("rollout_fidelity").filter(
        (pl.col("holdout") == "holdout-chr") & (pl.col("k") == 1) & (pl.col("edit_type") == "all")
    )
    skill = rows["skill"][0] if rows.height else None
    return dg.AssetCheckResult(
        passed=skill is not None and bool(np.isfinite(skill)) and skill > 0,
        description=f"Expected a skill above 0 (no change) on holdout-chr at K = 1, found {skill}.",
        metadata={"skill": float("nan") if skill is None else float(skill)},
    )


@dg.asset_check(
    asset="eval_report",
    description="No AUROC of a head is more than 0.02, and no skill more than 0.05, below that of the last release.",
)
def no_regression(storage: Storage) -> dg.AssetCheckResult:
    """Compare the report with the one in the release folder. It stops nothing: a person decides."""
    released, now = (read_metrics(storage.path / folder) for folder in (RELEASE, REPORT))
    worse = regressions(released, now) if now else []
    first = "There is no release to compare with." if released is None else "Nothing is worse."
    return dg.AssetCheckResult(passed=not worse, description=" ".join(worse) or first, metadata={"worse": len(worse)})
