"""Put a release folder together from what the pipeline made (spec 8).

A release holds all that scoring needs. The encoder is inside only where the pipeline trained it itself; of a downloaded
encoder only the identity goes in, through the state contract.
"""

from __future__ import annotations

import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import polars as pl

from data_contracts.calibration import ANY_EDIT, EVERYONE
from geno_model.encoder.pool_shift import SIXMER_STATES
from geno_model.encoder.state_contract import StateContract
from geno_model.genomics.context import Context
from geno_model.release.config import ReleaseConfig, WindowPolicy, write_config
from geno_model.release.manifest import write_manifest
from geno_model.scoring.calibration import EVERYTHING, write_calibration
from geno_model.scoring.known_pathogenic import PATHOGENIC
from geno_model.scoring.scorer import CALIBRATION
from geno_pipeline.build.hashing import ALLELE_KEY

MODEL_FILES = ("predictor.safetensors", "action_encoder.safetensors", "model.json")
REPORT_FILES = ("eval_report.md", "eval_report.html", "eval_metrics.json")
PLOTS = "plots"
RESEARCH_LINE = "A research tool, not a clinical diagnostic. If a result concerns you, talk to a genetic counsellor."


@dataclass(frozen=True, slots=True)
class ReleaseParts:
    """Folders and values that a release is made of.

    sixmer_states: the file of `pool_shift`, looked at with the context `pool` alone. pathogenic: P/LP alleles of the
    data's ClinVar (contig, pos, ref, alt). about: facts for `config.json` and the model card.
    """

    checkpoint: Path
    report: Path
    encoder: Path
    sixmer_states: Path
    contract: StateContract
    context: Context
    calibration: pl.DataFrame
    gc_edges: tuple[float, float]
    window_policy: WindowPolicy
    pathogenic: pl.DataFrame
    about: dict[str, Any]


def assemble(folder: Path, parts: ReleaseParts) -> str:
    """Write a release into an empty folder; returns its model id."""
    for source, names in ((parts.checkpoint, MODEL_FILES), (parts.report, REPORT_FILES)):
        for name in names:
            shutil.copyfile(source / name, folder / name)
    shutil.copytree(parts.report / PLOTS, folder / PLOTS)
    shutil.copytree(parts.encoder, folder / "encoder")
    if parts.contract.context == "pool":
        shutil.copyfile(parts.sixmer_states, folder / SIXMER_STATES)
    parts.context.with_gc_edges(parts.gc_edges).save(folder / "context")
    config = ReleaseConfig(parts.contract, parts.gc_edges, parts.window_policy)
    write_calibration(parts.calibration, folder / CALIBRATION, config.contract, config.gc_edges, config.window_policy)
    parts.pathogenic.sort(*ALLELE_KEY).select(ALLELE_KEY).write_parquet(folder / PATHOGENIC)
    write_config(folder, config, parts.about)
    (folder / "model_card.md").write_text(model_card(parts), encoding="utf-8")
    return write_manifest(folder)


def model_card(parts: ReleaseParts) -> str:
    """What the model is, what it is for and what it is not for, in Markdown."""
    facts = "\n".join(f"| {name.replace('_', ' ')} | {value} |" for name, value in parts.about.items())
    everyone = parts.calibration.filter(pl.col("population") == EVERYONE)
    whole = everyone.filter(pl.col("edit_class") == ANY_EDIT)
    n_own = everyone.filter(pl.col("bucket_id") != EVERYTHING).height
    tables = ", ".join(parts.calibration["population"].unique(maintain_order=True))
    return f"""# Model card

{RESEARCH_LINE}

| fact | value |
|---|---|
{facts}
| encoder | {parts.contract.encoder_hash} |
| window | {parts.contract.window_bp:,} bp, stride {parts.contract.stride_bp:,} bp |
| calibration | {whole["n"][0]:,} common variants, {n_own:,} buckets by kind of region; populations: {tables} |
| windows | {parts.window_policy} |

## What it does
It predicts where an edit of 1 to 16 bp takes the encoder's state of the DNA around it. The surprise of a variant is the
distance between that prediction and the real state, as a percentile among common variants: those of the same kind of
region where the calibration has 1,000 of them, else all.

## Limits
- The surprise measures what this encoder and this predictor find unusual. It is no measure of harm.
- An indel whose length is no multiple of six shifts the frame of all six-mers after it; its state moves far for a
  reason that is not biology. Indels therefore have calibration tables of their own; where there are too few common
  ones, their percentiles have low confidence.
- Percentiles are among the variants that are common in all people together, unless a population is asked for.
- Structural variants, alleles above 16 bp and bases other than A, C, G, T are not scored; they are counted.

## Results, the negative ones too
See `eval_report.md`.
"""
