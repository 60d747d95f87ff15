"""A release put to work: alleles in, percentiles out (spec 5).

Belongs here: loading every part of a release and checking that the parts belong together, finding the encoder, scores
of variants that a program has in hand. Does not: files that a user gives (`score_vcf`), the arithmetic (`surprise`,
`calibration`).

The concept: a release is refused at the door unless encoder, model, context and calibration follow ONE state contract.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import polars as pl
import torch

from data_contracts.calibration import EVERYONE
from geno_model.encoder.carbon import CarbonStateEncoder, load_encoder
from geno_model.encoder.pool_shift import load_sixmer_states
from geno_model.encoder.state_contract import StateContract
from geno_model.genomics.alleles import to_alleles
from geno_model.genomics.context import Context
from geno_model.genomics.errors import InputError
from geno_model.genomics.genome import Genome
from geno_model.predictor.world_model import WorldModel
from geno_model.release.config import ReleaseConfig, read_config
from geno_model.release.manifest import ENCODER_FOLDER, ReleaseError, file_sha256, verify_release
from geno_model.scoring.calibration import Percentiles, read_calibration, with_percentiles
from geno_model.scoring.surprise import BATCH_EDITS, DEFAULT_HEADS, Heads, n_cores, score_raw, window_threads

CALIBRATION = "calibration.parquet"
CONTEXT_FOLDER = "context"
PATHOGENIC = "clinvar_pathogenic.parquet"
ENCODER_VARIABLE = "GENO_ENCODER_DIR"

_ALLELE_COLUMNS = ("contig", "pos", "ref", "alt", "edit_type")
_SCORE_COLUMNS = (
    "window_start_bp", "region_class", "gc_bin", "repeat_class", "bucket_id", "surprise_raw", "displacement",
    "delta_loglik", "surprise", "n_calibration", "confidence", "low_confidence",
)  # fmt: skip
_VARIANT = r"^(?P<chrom>\S+?):(?P<pos>\d{1,18}):(?P<ref>[^:\s]+):(?P<alt>[^:\s]+)$"


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
        of the release. device: see `pick_device`. heads: the scores that are wanted. population: whose common variants
        the percentiles are among. n_threads: windows that are scored at once; None is one for each core.
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
        encoder = load_encoder(folder, config.contract, pick_device(device))
        if config.contract.context == "pool":
            load_sixmer_states(model_dir, encoder)
        model = WorldModel.load(model_dir, encoder.sixmer_embeddings().cpu()).to(encoder.device)
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

        variants: texts `contig:pos:ref:alt` (pos 1-based, alts separated by commas), or a frame with the columns
        contig, pos, ref and alt. Those that cannot be scored have a `reason`. Raises InputError for a text of another
        form.
        """
        return self.score_alleles(to_alleles(variant_lines(variants), self.genome))

    def score_alleles(
        self, alleles: pl.DataFrame, *, batch_edits: int = BATCH_EDITS, progress: Callable[[int], None] | None = None
    ) -> pl.DataFrame:
        """Alleles with their scores: every row and column of the input in its order, and the score columns.

        alleles: rows of `to_alleles`; those with a reason are passed on without scores. Adds window_start_bp,
        region_class, gc_bin, repeat_class, bucket_id, surprise_raw, displacement, delta_loglik, surprise (percentile),
        n_calibration, confidence, low_confidence, all null where `reason` (updated by `score_raw`) says why there
        is no score, or where the head is not wanted. Rows without a reason hold the columns of `data_contracts.scores`.
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
        return (
            numbered.join(left_out, on="_row", how="left", maintain_order="left")
            .join(scored.select("_row", *_SCORE_COLUMNS), on="_row", how="left", maintain_order="left")
            .with_columns(pl.coalesce("reason", "_late_reason").alias("reason"))
            .drop("_row", "_late_reason")
        )

    def n_pathogenic(self, alleles: pl.DataFrame) -> int:
        """How many of the alleles (contig, pos, ref, alt) the release's ClinVar calls pathogenic or likely so."""
        return alleles.join(self.pathogenic, on=list(self.pathogenic.columns), how="semi").height


def _load_context(model_dir: Path, config: ReleaseConfig, genome: Genome) -> Context:
    context = Context.load(model_dir / CONTEXT_FOLDER, genome)
    if context.gc_edges not in (None, config.gc_edges):
        raise ReleaseError(
            f"{model_dir}: context has GC thirds at {context.gc_edges}, {config.gc_edges} were calibrated; "
            "build the release again"
        )
    return context


def variant_lines(variants: Sequence[str] | pl.DataFrame) -> pl.DataFrame:
    """Variants as records of a VCF, for `to_alleles`. Raises InputError for a text that is none."""
    if isinstance(variants, pl.DataFrame):
        fields = variants.select(pl.col("contig").alias("chrom"), pl.col("pos").cast(pl.Int64), "ref", "alt")
    else:
        split = pl.Series("variant", variants, dtype=pl.String).str.strip_chars().str.extract_groups(_VARIANT)
        fields = split.struct.unnest().with_columns(pl.col("pos").cast(pl.Int64, strict=False))
        if fields["pos"].null_count():
            wrong = int(fields["pos"].is_null().arg_max() or 0)
            raise InputError(
                f"variant {wrong + 1} of {len(variants)} is none; expected contig:pos:ref:alt with a 1-based position, "
                "such as chr17:43071077:C:T"
            )
    return fields.with_row_index("record").with_columns(pl.col("record").cast(pl.Int64), pl.lit(".").alias("filter"))


def pick_device(name: str) -> torch.device:
    """`auto`: cuda if there is one, else mps (Apple), else cpu; or the device of that name.

    A device other than the CPU has to give the CPU's numbers when the encoder is loaded. mps is untested.
    """
    if name != "auto":
        return torch.device(name)
    if torch.cuda.is_available():
        return torch.device("cuda")
    return torch.device("mps" if torch.backends.mps.is_available() else "cpu")


def read_pathogenic(model_dir: Path, genome: Genome) -> pl.DataFrame:
    """Alleles (contig, pos, ref, alt) that the release's ClinVar calls P or LP, contigs as this genome names them."""
    path = model_dir / PATHOGENIC
    if not path.is_file():
        return pl.DataFrame(schema={name: pl.Int64 if name == "pos" else pl.String for name in _ALLELE_COLUMNS[:4]})
    known = pl.read_parquet(path)
    names = {name: resolved for name in known["contig"].unique() if (resolved := genome.resolve(name)) is not None}
    return known.filter(pl.col("contig").is_in(list(names))).with_columns(pl.col("contig").replace(names))


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
