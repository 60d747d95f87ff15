"""Receipts of a run: what the objects that score are, and a line for each score (spec 5, "Receipts").

Belongs here: reading the facts off a `Scorer`, the commitment to each input, the file that appears whole or not at
all. Does not: the format (`geno_model.release.receipt`), comparing receipts with anything (`verify`).

The concept: a receipt says what RAN. Number type, device and attention come from the loaded weights, the thread number
and versions from the running libraries, the contract from the encoder; no setting is copied.

The commitment to an input is the SHA-256 of the canonical JSON of: SHA-256 of the bases of the window, or of all
windows of the policy together; where they begin; the edit (contig, pos, ref, alt, normalised); layer, pooling, radius,
number type, window policy.
"""

from __future__ import annotations

import hashlib
import platform
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import asdict
from pathlib import Path

import numpy as np
import polars as pl
import torch

from data_contracts.calibration import ANY_EDIT
from geno_model import __version__
from geno_model.files import replacing_file
from geno_model.genomics.genome import Genome
from geno_model.release.config import ReleaseConfig
from geno_model.release.manifest import canonical_json, file_sha256
from geno_model.release.receipt import OUTPUT_FIELDS, Run, Runtime, Score, Seal, run_line, score_line, seal_line
from geno_model.scoring.calibration import edit_class
from geno_model.scoring.errors import OutputError
from geno_model.scoring.scorer import Scorer
from geno_model.scoring.windows import place

STDIN = "-"

_EDIT = ("contig", "pos", "ref", "alt", "window_start_bp")
_SPAN = ("contig", "window_start_bp", "window_end_bp")


@contextmanager
def receipt_output(
    path: Path | None,
    scorer: Scorer,
    vcf: Path | str,
    output: Path,
    *,
    pass_only: bool = False,
    is_restricted: bool = False,
) -> Iterator[ReceiptWriter | None]:
    """A writer of receipts for `path`, None without a path; enter it BEFORE the output's own `with`.

    The file appears, or replaces an older one, when the `with` ends without an error and `output` is there; on any
    error nothing of it is left. Raises `OutputError` where it cannot be written, and at the end for a VCF that changed
    meanwhile.
    """
    if path is None:
        yield None
        return
    if path.is_dir():
        raise OutputError(f"receipt {path} is a folder; expected the name of a file")
    run = run_of(scorer, vcf, pass_only=pass_only, is_restricted=is_restricted)
    with ExitStack() as stack:
        try:
            writer = ReceiptWriter(stack.enter_context(replacing_file(path)), scorer, run)
        except OSError as error:
            raise OutputError(
                f"receipt {path} cannot be written: {error.strerror}; name a file in a folder that may be written to"
            ) from None
        stack.callback(writer.abandon)
        yield writer
        writer.finish(output, vcf)


class ReceiptWriter:
    """Appends receipts to a file, chunk by chunk."""

    def __init__(self, path: Path, scorer: Scorer, run: Run) -> None:
        """path: a temporary name; run: `run_of` the scorer."""
        self._scorer, self._run = scorer, run
        self._digest, self._n_scores = hashlib.sha256(), 0
        self._file = path.open("wb")
        self._write(run_line(run))

    def write(self, scores: pl.DataFrame) -> None:
        """Append the scored ones of the rows of `Scorer.score`."""
        for score in scores_of(scores, self._scorer.genome, self._scorer.config, self._run.runtime.dtype):
            self._write(score_line(self._run, score))
            self._n_scores += 1

    def finish(self, output: Path, vcf: Path | str) -> None:
        """Seal the file. output: complete; vcf: refused (`OutputError`) if it is not what it was at the beginning."""
        if self._run.vcf_sha256 != vcf_sha256(vcf):
            raise OutputError(
                f"{vcf} changed while it was scored: {output} was written, but no receipt can be given for it; "
                "score the VCF again"
            )
        self._write(seal_line(Seal(self._n_scores, file_sha256(output)), self._digest))
        self._file.close()

    def abandon(self) -> None:
        """Let go of the file."""
        self._file.close()

    def _write(self, line: bytes) -> None:
        self._digest.update(line)
        self._file.write(line)


def run_of(scorer: Scorer, vcf: Path | str, *, pass_only: bool, is_restricted: bool) -> Run:
    """What a run with this scorer is, read off its parts."""
    contract = scorer.encoder.contract
    return Run(
        model_id=scorer.model_id,
        calibration_sha256=scorer.calibration_sha256,
        encoder_hash=scorer.encoder.encoder_hash,
        state_contract=contract.digest,
        window_policy=scorer.config.window_policy,
        vcf_sha256=vcf_sha256(vcf),
        reference_sha256=reference_sha256(scorer.genome),
        heads="+".join(name for name, is_wanted in asdict(scorer.heads).items() if is_wanted),
        population=scorer.percentiles.population,
        pass_only=pass_only,
        is_restricted=is_restricted,
        runtime=runtime_of(scorer),
    )


def runtime_of(scorer: Scorer) -> Runtime:
    """Device, number type and attention of the loaded encoder, threads and versions of this process."""
    import transformers

    model = scorer.encoder.model
    device = model.device
    dtypes = sorted({str(parameter.dtype).removeprefix("torch.") for parameter in model.parameters()})
    return Runtime(
        device=f"cuda {torch.cuda.get_device_name(device)}" if device.type == "cuda" else device.type,
        dtype="+".join(dtypes),
        attention=str(model.config._attn_implementation),
        threads=scorer.n_threads,
        platform=f"{platform.system()}-{platform.machine()}".lower(),
        geno_model=__version__,
        numpy=np.__version__,
        torch=str(torch.__version__),
        transformers=transformers.__version__,
    )


def scores_of(rows: pl.DataFrame, genome: Genome, config: ReleaseConfig, dtype: str) -> Iterator[Score]:
    """The receipts of the rows without a reason, in their order, with those output columns that the rows have.

    rows: of `Scorer.score_alleles`, or of `to_alleles` (then a row that no window holds is left out, and outputs are
    empty). dtype: number type of the encoder's weights. The bucket is told with its class of edits. Windows are hashed
    once.
    """
    kept = rows.filter(pl.col("reason").is_null()).drop("window_start_bp", strict=False).with_row_index("_row")
    windows, _ = place(
        kept.drop("_row"), genome, config.window_policy, config.contract.window_bp, config.contract.stride_bp
    )
    start = pl.col("window_start_bp")
    spans = windows.group_by("_row").agg(start.min(), (start.max() + config.contract.window_bp).alias("window_end_bp"))
    kept = kept.join(spans, on="_row", how="inner", maintain_order="left")
    if "bucket_id" in kept.columns:
        classes = pl.when(pl.col("n_calibration") > 0).then(edit_class(kept["edit_type"])).otherwise(pl.lit(ANY_EDIT))
        kept = kept.with_columns(pl.concat_str(classes, "bucket_id", separator=":").alias("bucket_id"))
    outputs = kept.select(name for name in OUTPUT_FIELDS if name in kept.columns)
    keys = kept.select(pl.col("record") + 1, pl.col("alt_index") + 1).iter_rows()
    commitments = input_commitments(kept, genome, config, dtype)
    filled = outputs.iter_rows(named=True) if outputs.width else ({} for _ in range(kept.height))
    for (record, allele), commitment, output in zip(keys, commitments, filled, strict=True):
        present = {name: value for name, value in output.items() if value is not None}
        yield Score.of(record, allele, commitment, present)


def input_commitments(rows: pl.DataFrame, genome: Genome, config: ReleaseConfig, dtype: str) -> list[str]:
    """The commitment to the input of each row: columns contig, pos, ref, alt, window_start_bp, window_end_bp."""
    settings = {
        "layer": config.contract.layer,
        "pooling": config.contract.pooling,
        "radius_tokens": config.contract.radius_tokens,
        "dtype": dtype,
        "window_policy": config.window_policy,
    }
    bases = {span: genome.sha256(*span) for span in rows.select(_SPAN).unique().iter_rows()}
    return [
        _sha256(settings | edit | {"window_sha256": bases[edit["contig"], edit["window_start_bp"], end]})
        for edit, end in zip(rows.select(_EDIT).iter_rows(named=True), rows["window_end_bp"], strict=True)
    ]


def reference_sha256(genome: Genome) -> str:
    """SHA-256 of the names and lengths of a genome's contigs; bases are committed to window by window."""
    return _sha256(genome.contigs)


def vcf_sha256(vcf: Path | str) -> str | None:
    """SHA-256 of a VCF's bytes as they lie on the disk; None for standard input and pipes."""
    return file_sha256(Path(vcf)) if str(vcf) != STDIN and Path(vcf).is_file() else None


def _sha256(value: object) -> str:
    return hashlib.sha256(canonical_json(value)).hexdigest()
