"""A release put to work: alleles in, percentiles out (spec 5).

Belongs here: loading every part of a release and checking that the parts belong together, finding the encoder, scores
of variants that a program has in hand. Does not: files that a user gives (`score_vcf`), the arithmetic (`surprise`,
`calibration`).

The concept: a release is refused at the door unless encoder, model, context and calibration follow ONE state contract.
"""

from __future__ import annotations

import os
import warnings
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import polars as pl

from data_contracts.calibration import EVERYONE
from geno_model.encoder.carbon import CarbonStateEncoder, load_encoder
from geno_model.encoder.pool_shift import load_sixmer_states
from geno_model.encoder.state_contract import StateContract
from geno_model.genomics.alleles import to_alleles
from geno_model.genomics.build_check import BuildCheck
from geno_model.genomics.context import Context
from geno_model.genomics.genome import Genome
from geno_model.predictor.world_model import WorldModel
from geno_model.release.config import ReleaseConfig, read_config
from geno_model.release.manifest import ENCODER_FOLDER, ReleaseError, file_sha256, verify_release
from geno_model.scoring.calibration import Percentiles, read_calibration, with_percentiles
from geno_model.scoring.device import move
from geno_model.scoring.known_pathogenic import (
    KnownPathogenic,
    KnownPathogenicWarning,
    known_alleles,
    marked,
    read_pathogenic,
)
from geno_model.scoring.surprise import BATCH_EDITS, DEFAULT_HEADS, Heads, n_cores, score_raw, window_threads
from geno_model.scoring.variant_text import variant_lines

CALIBRATION = "calibration.parquet"
CONTEXT_FOLDER = "context"
ENCODER_VARIABLE = "GENO_ENCODER_DIR"

_ALLELE_COLUMNS = ("contig", "pos", "ref", "alt", "edit_type")
_SCORE_COLUMNS = (
    "window_start_bp", "region_class", "gc_bin", "repeat_class", "bucket_id", "surprise_raw", "displacement",
    "delta_loglik", "surprise", "n_calibration", "confidence", "low_confidence",
)  # fmt: skip


@dataclass(frozen=True)
class Scorer:
    """All parts of a release, loaded and known to fit. Make one with `from_release`."""

    model_id: str
    calibration_sha256: str
    genome: Genome
    encoder: CarbonStateEncoder
    model: WorldModel
    context: Context
    percentiles: Percentiles
    config: ReleaseConfig
    heads: Heads
    pathogenic: pl.DataFrame
    n_threads: int
    threads: ThreadPoolExecutor

    @classmethod
    def from_release(
        cls,
        model_dir: Path | str,
        reference: Genome | Path | str,
        encoder_dir: Path | None = None,
        *,
        device: str = "auto",
        heads: Heads = DEFAULT_HEADS,
        population: str = EVERYONE,
        n_threads: int | None = None,
    ) -> Scorer:
        """Verify and load a release.

        reference: a FASTA or its genome. encoder_dir: the encoder's folder; else `$GENO_ENCODER_DIR`, else `encoder/`
        of the release. device: see `device.pick_device`. heads: the scores that are wanted. population: whose common
        variants the percentiles are among. n_threads: windows that are scored at once; None is one for each core.
        Raises ReleaseError, CalibrationError, ContractMismatchError or another InputError, one sentence each.
        """
        model_dir = Path(model_dir)
        genome = reference if isinstance(reference, Genome) else Genome.open(reference)
        model_id = verify_release(model_dir)
        config = read_config(model_dir)
        context = _load_context(model_dir, config, genome)
        calibration_sha256 = file_sha256(model_dir / CALIBRATION)
        calibration = read_calibration(model_dir / CALIBRATION, config.contract, config.gc_edges, config.window_policy)
        percentiles = Percentiles(calibration, population)
        folder = find_encoder(model_dir, encoder_dir, config.contract)
        encoder = load_encoder(folder, config.contract)
        if config.contract.context == "pool":
            load_sixmer_states(model_dir, encoder)
        model = WorldModel.load(model_dir, encoder.sixmer_embeddings())
        move(encoder, model, device)
        if encoder.device.type != "cpu":
            n_threads = 1  # one queue of work is what a GPU wants
        pathogenic = read_pathogenic(model_dir, genome)
        n = n_threads or n_cores()
        return cls(
            model_id,
            calibration_sha256,
            genome,
            encoder,
            model,
            context,
            percentiles,
            config,
            heads,
            pathogenic,
            n,
            window_threads(n),
        )

    def score(self, variants: Sequence[str] | pl.DataFrame) -> pl.DataFrame:
        """Scores of variants: one row for each alternate allele, in their order, columns of `score_alleles`.

        Research tool, not a clinical diagnostic. Warns (KnownPathogenicWarning) where `clinvar_pathogenic` is true.
        variants: texts such as `contig:pos:ref:alt` (pos 1-based, alts separated by commas; other spellings:
        `variant_text`), or a frame with the columns contig, pos, ref and alt. Those that cannot be scored have a
        `reason`. Raises VariantTextError for a text that is no variant, WrongBuildError for variants of another build
        (`build_check`).
        """
        scores = self.score_lines(variant_lines(variants))
        known = KnownPathogenic.count(known_alleles(scores))
        for advice in known.advice(is_synthetic=self.config.is_synthetic):
            warnings.warn(f"research tool, not a clinical diagnostic: {advice}", KnownPathogenicWarning, stacklevel=2)
        return scores

    def score_lines(self, lines: pl.DataFrame) -> pl.DataFrame:
        """`score` of rows of `variant_lines`, without a warning. Raises WrongBuildError."""
        check = BuildCheck(self.genome, "what was given")
        check.see(lines)
        check.finish()
        return self.score_alleles(to_alleles(lines, self.genome))

    def score_alleles(
        self, alleles: pl.DataFrame, *, batch_edits: int = BATCH_EDITS, progress: Callable[[int], None] | None = None
    ) -> pl.DataFrame:
        """Alleles with their scores: every row and column of the input in its order, and the score columns.

        alleles: rows of `to_alleles`; those with a reason are passed on without scores. Adds window_start_bp,
        region_class, gc_bin, repeat_class, bucket_id, surprise_raw, displacement, delta_loglik, surprise (percentile),
        n_calibration, confidence, low_confidence, all null where `reason` (updated by `score_raw`) says why there
        is no score, or where the head is not wanted. Rows without a reason hold the columns of `data_contracts.scores`.
        Adds clinvar_pathogenic, with or without a score: whether the release's ClinVar calls the allele pathogenic or
        likely so; null where the release has no ClinVar.
        A window over the origin of a circle may begin left of 0.
        """
        numbered = alleles.with_row_index("_row")
        retained = numbered.filter(pl.col("reason").is_null())
        raw = score_raw(
            retained.select(_ALLELE_COLUMNS),
            self.genome,
            self.encoder,
            self.model,
            self.context,
            policy=self.config.window_policy,
            heads=self.heads,
            batch_edits=batch_edits,
            pool=self.threads,
            progress=progress,
        ).with_columns(retained["_row"])
        scored = with_percentiles(raw.filter(pl.col("reason").is_null()), self.percentiles, self.config.gc_edges)
        left_out = raw.select("_row", pl.col("reason").alias("_late_reason"))
        rows = (
            numbered.join(left_out, on="_row", how="left", maintain_order="left")
            .join(scored.select("_row", *_SCORE_COLUMNS), on="_row", how="left", maintain_order="left")
            .with_columns(pl.coalesce("reason", "_late_reason").alias("reason"))
            .drop("_row", "_late_reason")
        )
        return marked(rows, self.pathogenic)


def _load_context(model_dir: Path, config: ReleaseConfig, genome: Genome) -> Context:
    context = Context.load(model_dir / CONTEXT_FOLDER, genome)
    if context.gc_edges not in (None, config.gc_edges):
        raise ReleaseError(
            f"{model_dir}: context has GC thirds at {context.gc_edges}, {config.gc_edges} were calibrated; "
            "build the release again"
        )
    return context


def find_encoder(model_dir: Path, encoder_dir: Path | None, contract: StateContract) -> Path:
    """The encoder's folder: the given one, else `$GENO_ENCODER_DIR`, else `encoder/` of the release.

    Raises ReleaseError saying where it was looked for and which encoder is wanted.
    """
    from_environment = os.environ.get(ENCODER_VARIABLE)
    if encoder_dir is not None:
        folder, origin = encoder_dir, "--encoder-dir"
    elif from_environment:
        folder, origin = Path(from_environment), f"${ENCODER_VARIABLE}"
    else:
        folder, origin = model_dir / ENCODER_FOLDER, "the release"
    if (folder / "config.json").is_file():
        return folder
    raise ReleaseError(
        f"no encoder at {folder} (from {origin}; looked at --encoder-dir, ${ENCODER_VARIABLE}, "
        f"{model_dir / ENCODER_FOLDER}, in that order): the model needs the encoder with hash "
        f"{contract.encoder_hash}; give its folder with --encoder-dir"
    )
