"""Receipts held against the files that they are about: which part differs, and where (spec 5, "Receipts").

Belongs here: every comparison, in one order, and the code of each part. Does not: the format (`release.receipt`),
options and printing (`geno_model.cli.verify`).

The concept: first a receipts file is held against itself. One that was changed proves nothing about anything else, so
the comparisons with release, input and output follow only for a whole one. Receipts and alleles both come in the order
of the VCF, so that two streams are merged and memory does not grow with either.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, fields
from enum import IntEnum
from pathlib import Path

import numpy as np
import polars as pl
from numpy.typing import NDArray

from geno_model.genomics.alleles import to_alleles
from geno_model.genomics.build_check import checked_chunks
from geno_model.genomics.errors import InputError, WrongBuildError
from geno_model.genomics.genome import Genome
from geno_model.genomics.vcf_reader import CHUNK_BYTES, read_vcf_chunks
from geno_model.release.config import ReleaseConfig, read_config
from geno_model.release.manifest import MANIFEST, ReleaseError, file_sha256, verify_release
from geno_model.release.receipt import ReceiptError, Run, Score, Seal, SealError, read_receipts, read_scores
from geno_model.scoring.calibration import percentile, read_calibration
from geno_model.scoring.device import tolerances_of
from geno_model.scoring.receipts import reference_sha256, scores_of, vcf_sha256
from geno_model.scoring.scorer import CALIBRATION, Scorer
from geno_model.scoring.surprise import Heads

SHOWN = 10  # differences of one part told in words; the others are counted


class Part(IntEnum):
    """What can differ, by exit code."""

    MODEL = 10
    CALIBRATION = 11
    RECEIPT = 12
    INPUT = 13
    OUTPUT = 14
    RERUN = 15


_NO_RERUN_WITH = (Part.CALIBRATION, Part.MODEL, Part.INPUT)  # other numbers would say nothing then
_FIRST_TO_LAST = (Part.CALIBRATION, Part.MODEL, Part.RECEIPT, Part.INPUT, Part.OUTPUT, Part.RERUN)


@dataclass
class Verdict:
    """What a verification found.

    n_scores: receipts read; n_inputs: those whose input was recomputed; n_rerun: those scored again; largest: the
    largest absolute difference of a rerun by name of the number.
    """

    n_scores: int = 0
    n_inputs: int = 0
    n_rerun: int = 0
    largest: dict[str, float] = field(default_factory=dict)
    _messages: dict[Part, list[str]] = field(default_factory=dict)
    _counts: dict[Part, int] = field(default_factory=dict)

    def add(self, part: Part, message: str) -> None:
        """Note a difference."""
        self._counts[part] = self._counts.get(part, 0) + 1
        if self._counts[part] <= SHOWN:
            self._messages.setdefault(part, []).append(message)

    def differs(self, part: Part) -> bool:
        """Whether a difference of that part was found."""
        return part in self._counts

    @property
    def code(self) -> int:
        """0 if all agrees, else the code of the first part that differs: calibration first, then by number."""
        return next((int(part) for part in _FIRST_TO_LAST if part in self._counts), 0)

    @property
    def lines(self) -> list[str]:
        """Every difference in words, the first part first."""
        told = []
        for part in _FIRST_TO_LAST:
            told += [f"{part.name.lower()} differs: {message}" for message in self._messages.get(part, [])]
            if (n_more := self._counts.get(part, 0) - SHOWN) > 0:
                told.append(f"{part.name.lower()} differs: {n_more:,} more differences like these")
        return told


@dataclass(frozen=True, slots=True)
class Inputs:
    """What was scored: a VCF and the reference that it was read with."""

    vcf: Path
    fasta: Path


def verify(
    receipt: Path,
    model_dir: Path,
    *,
    output: Path | None = None,
    inputs: Inputs | None = None,
    rerun: bool = False,
    encoder_dir: Path | None = None,
    chunk_bytes: int = CHUNK_BYTES,
    progress: Callable[[int], None] | None = None,
) -> Verdict:
    """Hold receipts against a release and, where given, the scored file and the inputs; `rerun` scores those again.

    A rerun's numbers may differ by `device.tolerances_of`, because another machine or version gives other last bits.
    Percentiles follow exactly from a receipt's own raw surprise.
    progress: told now and then how many receipts are done. Raises InputError or OSError for what cannot be read at all.
    """
    if not (model_dir / MANIFEST).is_file():
        raise ReleaseError(f"no model release at {model_dir}: it holds no {MANIFEST}; give the folder of the model")
    verdict, tell = Verdict(), progress or (lambda n_done: None)
    held = _check_receipts(receipt, verdict)
    if held is None:
        _check_release(model_dir, verdict)
        return verdict
    run, seal = held
    config = _compare_release(model_dir, run, verdict)
    if config and not verdict.code:
        _recompute_percentiles(receipt, model_dir, config, run, verdict, tell)
    if output is not None:
        _compare_output(output, seal, verdict)
    if inputs is not None and config:
        genome = Genome.open(inputs.fasta)
        if _compare_files(inputs, genome, run, verdict):
            may_rerun = rerun and not any(map(verdict.differs, _NO_RERUN_WITH))
            scorer = _same_scorer(model_dir, genome, encoder_dir, run) if may_rerun else None
            alleles = _input_scores(inputs.vcf, genome, config, run, scorer, chunk_bytes, tell)
            tolerances = tolerances_of(scorer.encoder, scorer.model) if scorer else {}
            _compare_inputs(alleles, read_scores(receipt), run, inputs, tolerances, verdict)
    return verdict


def _same_scorer(model_dir: Path, genome: Genome, encoder_dir: Path | None, run: Run) -> Scorer:
    """A scorer that is asked for what the run was asked for."""
    wanted = run.heads.split("+")
    heads = Heads(**{each.name: each.name in wanted for each in fields(Heads)})
    return Scorer.from_release(model_dir, genome, encoder_dir, heads=heads, population=run.population)


def _check_receipts(receipt: Path, verdict: Verdict) -> tuple[Run, Seal] | None:
    """Run and seal of a file that agrees with itself."""
    run = seal = None
    try:
        for number, part in read_receipts(receipt):
            if isinstance(part, Run):
                run = part
            elif isinstance(part, Seal):
                seal = part
            else:
                verdict.n_scores += 1
                _check_output(part, number, receipt, verdict)
    except SealError as error:
        if not verdict.differs(Part.OUTPUT):  # a seal that is broken by an output says nothing more
            verdict.add(Part.RECEIPT, str(error))
    except ReceiptError as error:
        verdict.add(Part.RECEIPT, str(error))
    return (run, seal) if run and seal and not verdict.code else None


def _check_output(score: Score, number: int, receipt: Path, verdict: Verdict) -> None:
    fresh = Score.of(*score.key, score.input_commitment, score.output)
    if fresh.output_commitment != score.output_commitment:
        verdict.add(
            Part.OUTPUT,
            f"{receipt}: line {number}: commitment {score.output_commitment[:12]} is not that of its output, "
            f"{fresh.output_commitment[:12]}; use the file that geno-score wrote",
        )


def _check_release(model_dir: Path, verdict: Verdict) -> None:
    try:
        verify_release(model_dir)
    except InputError as error:
        verdict.add(Part.MODEL, str(error))


def _compare_release(model_dir: Path, run: Run, verdict: Verdict) -> ReleaseConfig | None:
    """The settings of a release, if its states are those of the receipts, so that inputs can be compared."""
    calibration = model_dir / CALIBRATION
    found = file_sha256(calibration) if calibration.is_file() else "none"
    if is_other := found != run.calibration_sha256:
        verdict.add(
            Part.CALIBRATION,
            f"{calibration} has SHA-256 {found[:12]}, the receipts say {run.calibration_sha256[:12]}; copy the release "
            "again, or give the one that made the scores",
        )
    model_id = config = None
    try:
        model_id = verify_release(model_dir, except_for=(CALIBRATION,) if is_other else ())
    except InputError as error:
        verdict.add(Part.MODEL, str(error))
    try:
        config = read_config(model_dir)
    except InputError as error:
        verdict.add(Part.MODEL, str(error))
    if model_id and config:
        _compare_identity(model_dir, model_id, config, run, verdict)
    return config if config and config.contract.digest == run.state_contract else None


def _compare_identity(model_dir: Path, model_id: str, config: ReleaseConfig, run: Run, verdict: Verdict) -> None:
    contract = config.contract
    compared = (
        ("model id", model_id, run.model_id),
        ("encoder", contract.encoder_hash, run.encoder_hash),
        ("state contract", contract.digest, run.state_contract),
        ("number type of the encoder", contract.dtype, run.runtime.dtype),
        ("window policy", config.window_policy, run.window_policy),
    )
    for what, expected, told in compared:
        if expected != told:
            verdict.add(
                Part.MODEL,
                f"{what} of {model_dir} is {expected[:12]}, of the receipts {told[:12]}; give the release that made "
                "the scores",
            )


def _recompute_percentiles(
    receipt: Path, model_dir: Path, config: ReleaseConfig, run: Run, verdict: Verdict, tell: Callable[[int], None]
) -> None:
    """Each percentile must be what the calibration gives for the receipt's own raw surprise."""
    table = read_calibration(model_dir / CALIBRATION, config.contract, config.gc_edges, config.window_policy)
    mine = table.filter(pl.col("population") == run.population)
    keys = mine.select(pl.concat_str("edit_class", "bucket_id", separator=":")).to_series()
    grids = {key: grid.to_numpy() for key, grid in zip(keys, mine["grid"], strict=True)}
    for n_done, (number, score) in enumerate(read_scores(receipt)):
        if n_done % 1_000 == 0:
            tell(n_done)
        if "surprise" not in score.output or "surprise_raw" not in score.output:
            continue
        expected = _percentile(score, grids)
        if expected != score.output["surprise"]:
            verdict.add(
                Part.RERUN,
                f"{receipt}: line {number}: surprise is {score.output['surprise']}, the calibration gives {expected} "
                "for its raw surprise; the receipt was not made by geno-score: score the VCF again",
            )


def _percentile(score: Score, grids: dict[str, NDArray[np.float64]]) -> float | None:
    grid = grids.get(str(score.output.get("bucket_id")))
    raw = np.array([score.output["surprise_raw"]], dtype=np.float64)
    return None if grid is None else float(percentile(raw, grid)[0])


def _compare_output(output: Path, seal: Seal, verdict: Verdict) -> None:
    if (found := file_sha256(output)) != seal.output_sha256:
        verdict.add(
            Part.OUTPUT,
            f"{output} has SHA-256 {found[:12]}, the receipts' seal says {seal.output_sha256[:12]}; use the file that "
            "was written with these receipts",
        )


def _compare_files(inputs: Inputs, genome: Genome, run: Run, verdict: Verdict) -> bool:
    """Whether the reference has the right contigs, so that alleles can be compared."""
    if run.vcf_sha256 and (found := vcf_sha256(inputs.vcf) or "none") != run.vcf_sha256:
        verdict.add(
            Part.INPUT,
            f"{inputs.vcf} has SHA-256 {found[:12]}, the receipts say {run.vcf_sha256[:12]}; give the file that was "
            "scored, packed in the same way",
        )
    if (found := reference_sha256(genome)) != run.reference_sha256:
        verdict.add(
            Part.INPUT,
            f"contigs of {inputs.fasta} have SHA-256 {found[:12]}, the receipts say {run.reference_sha256[:12]}; give "
            "the FASTA that was scored with",
        )
        return False
    return True


def _input_scores(
    vcf: Path,
    genome: Genome,
    config: ReleaseConfig,
    run: Run,
    scorer: Scorer | None,
    chunk_bytes: int,
    tell: Callable[[int], None],
) -> Iterator[Score]:
    """The receipts that a VCF gives, with outputs if there is a scorer."""
    n_alleles = 0
    for chunk in checked_chunks(read_vcf_chunks(vcf, chunk_bytes=chunk_bytes, n_columns=8), genome, str(vcf)):
        rows = to_alleles(chunk.lines, genome, pass_only=run.pass_only)
        if scorer:
            rows = scorer.score_alleles(rows, progress=lambda n_done, before=n_alleles: tell(before + n_done))
        n_alleles += rows.height
        tell(n_alleles)
        yield from scores_of(rows, genome, config, run.runtime.dtype)


def _compare_inputs(
    alleles: Iterator[Score],
    receipts: Iterator[tuple[int, Score]],
    run: Run,
    inputs: Inputs,
    tolerances: Mapping[str, float],
    verdict: Verdict,
) -> None:
    try:
        for number, told, found in _merged(receipts, alleles):
            if told is None and run.is_restricted:
                continue  # regions were asked for, and the receipts do not say which
            if told is None or found is None:
                verdict.add(Part.INPUT, _unpaired(number, told or found, inputs))
            elif told.input_commitment != found.input_commitment:
                verdict.add(
                    Part.INPUT,
                    f"line {number} ({_place(told)}) has input commitment {told.input_commitment[:12]}, "
                    f"{inputs.vcf} and {inputs.fasta} give {found.input_commitment[:12]}; the edit or a base of its "
                    "window changed: give the files that were scored",
                )
            else:
                verdict.n_inputs += 1
                if found.output:
                    _compare_rerun(number, told, found, tolerances, verdict)
    except InputError as error:
        # What was scored was of the FASTA's build, so that a file of another one is another file.
        if not (verdict.differs(Part.INPUT) or isinstance(error, WrongBuildError)):
            raise
        verdict.add(Part.INPUT, str(error))


def _merged(
    receipts: Iterator[tuple[int, Score]], alleles: Iterator[Score]
) -> Iterator[tuple[int, Score | None, Score | None]]:
    """(line, receipt, allele) of each place in the VCF that either of the two has, in order; line 0 without a receipt.

    Both ascend.
    """
    number, told = next(receipts, (0, None))
    found = next(alleles, None)
    while told or found:
        if told is None or (found and found.key < told.key):
            yield 0, None, found
            found = next(alleles, None)
            continue
        is_pair = found is not None and found.key == told.key
        yield number, told, found if is_pair else None
        number, told = next(receipts, (0, None))
        found = next(alleles, None) if is_pair else found


def _unpaired(number: int, score: Score | None, inputs: Inputs) -> str:
    place = _place(score) if score else ""
    files = f"{inputs.vcf} and {inputs.fasta}"
    if number:
        return f"line {number} is of {place}, which {files} do not let be scored; give the files that were scored"
    return f"{place} of {files} is to be scored and has no receipt; give the files that were scored"


def _place(score: Score) -> str:
    return f"record {score.record:,}, ALT {score.allele:,}"


def _compare_rerun(number: int, told: Score, found: Score, tolerances: Mapping[str, float], verdict: Verdict) -> None:
    """Numbers within the tolerances, the bucket exactly."""
    verdict.n_rerun += 1
    for name, allowed in tolerances.items():
        if name not in told.output and name not in found.output:
            continue
        was, now = (float(score.output.get(name, math.nan)) for score in (told, found))
        verdict.largest[name] = max(verdict.largest.get(name, 0.0), abs(now - was))
        if not abs(_comparable(name, now) - _comparable(name, was)) <= allowed:
            unit = "nats" if name == "delta_loglik" else "a distance of states"
            verdict.add(
                Part.RERUN,
                f"line {number} ({_place(told)}): {name} is {was:.7g}, scored again it is {now:.7g}, allowed is a "
                f"difference of {allowed:.2g} ({unit}); another machine does not explain that: score the VCF again",
            )
    if told.output.get("bucket_id") != found.output.get("bucket_id") and "bucket_id" in told.output:
        verdict.add(
            Part.RERUN,
            f"line {number} ({_place(told)}): bucket is {told.output['bucket_id']}, scored again it is "
            f"{found.output.get('bucket_id')}; score the VCF again",
        )


def _comparable(name: str, number: float) -> float:
    """A displacement as the distance of unit states that it stands for; other numbers as they are."""
    return math.copysign(math.sqrt(2 * abs(number)), number) if name == "displacement" else number
