"""A release put to work: alleles in, percentiles out (spec 5).

Belongs here: loading every part of a release and checking that the parts belong together, finding the encoder, scores
of a frame of alleles. Does not: files that a user gives (`score_vcf`), the arithmetic (`surprise`, `calibration`).

The concept: a release is refused at the door unless encoder, model, context and calibration follow ONE state contract.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import polars as pl

from geno_model.encoder.carbon import CarbonStateEncoder, load_encoder
from geno_model.encoder.pool_shift import load_sixmer_states
from geno_model.encoder.state_contract import StateContract
from geno_model.genomics.context import Context, GcEdges
from geno_model.genomics.genome import Genome
from geno_model.predictor.world_model import WorldModel
from geno_model.release.config import read_config
from geno_model.release.manifest import ENCODER_FOLDER, ReleaseError, file_sha256, verify_release
from geno_model.scoring.calibration import Percentiles, read_calibration, with_percentiles
from geno_model.scoring.surprise import BATCH_EDITS, score_raw

CALIBRATION = "calibration.parquet"
CONTEXT_FOLDER = "context"
ENCODER_VARIABLE = "GENO_ENCODER_DIR"

_ALLELE_COLUMNS = ("contig", "pos", "ref", "alt", "edit_type")
_SCORE_COLUMNS = (
    "region_class", "gc_bin", "repeat_class", "bucket_id", "surprise_raw", "displacement", "surprise",
    "n_calibration", "confidence", "low_confidence",
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
    gc_edges: GcEdges

    @classmethod
    def from_release(cls, model_dir: Path, genome: Genome, encoder_dir: Path | None = None) -> Scorer:
        """Verify and load a release.

        encoder_dir: the encoder's folder; else `$GENO_ENCODER_DIR`, else `encoder/` of the release.
        Raises ReleaseError, CalibrationError, ContractMismatchError or another InputError, one sentence each.
        """
        model_id = verify_release(model_dir)
        config = read_config(model_dir)
        context = Context.load(model_dir / CONTEXT_FOLDER, genome)
        if context.gc_edges not in (None, config.gc_edges):
            raise ReleaseError(
                f"{model_dir}: context has GC thirds at {context.gc_edges}, {config.gc_edges} were calibrated; "
                "build the release again"
            )
        calibration_sha256 = file_sha256(model_dir / CALIBRATION)
        calibration = read_calibration(model_dir / CALIBRATION, config.contract, config.gc_edges)
        encoder = load_encoder(find_encoder(model_dir, encoder_dir, config.contract), config.contract)
        if config.contract.context == "pool":
            load_sixmer_states(model_dir, encoder)
        model = WorldModel.load(model_dir, encoder.sixmer_embeddings())
        return cls(
            model_id, calibration_sha256, genome, encoder, model, context, Percentiles(calibration), config.gc_edges
        )

    def raw(
        self, alleles: pl.DataFrame, *, batch_edits: int = BATCH_EDITS, progress: Callable[[int], None] | None = None
    ) -> pl.DataFrame:
        """`score_raw` with the parts of this release."""
        return score_raw(
            alleles, self.genome, self.encoder, self.model, self.context, batch_edits=batch_edits, progress=progress
        )

    def score(
        self, alleles: pl.DataFrame, *, batch_edits: int = BATCH_EDITS, progress: Callable[[int], None] | None = None
    ) -> pl.DataFrame:
        """Alleles with their scores: every row and column of the input in its order, and the score columns.

        alleles: rows of `to_alleles`; those with a reason are passed on without scores. Adds region_class, gc_bin,
        repeat_class, bucket_id, surprise_raw, displacement, surprise (percentile), n_calibration, confidence,
        low_confidence, all null where `reason` (updated with `out_of_range`) says why there is no score. Rows without a
        reason hold the columns of `data_contracts.scores`.
        """
        numbered = alleles.with_row_index("_row")
        retained = numbered.filter(pl.col("reason").is_null())
        raw = self.raw(retained.select(_ALLELE_COLUMNS), batch_edits=batch_edits, progress=progress)
        raw = raw.with_columns(retained["_row"])
        scored = with_percentiles(raw.filter(pl.col("reason").is_null()), self.percentiles, self.gc_edges)
        left_out = raw.select("_row", pl.col("reason").alias("_late_reason"))
        return (
            numbered.join(left_out, on="_row", how="left", maintain_order="left")
            .join(scored.select("_row", *_SCORE_COLUMNS), on="_row", how="left", maintain_order="left")
            .with_columns(pl.coalesce("reason", "_late_reason").alias("reason"))
            .drop("_row", "_late_reason")
        )


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
