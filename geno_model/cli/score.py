"""`geno-score`: a VCF and a FASTA in, every allele with a score or a reason out (spec 5).

Belongs here: options, progress and the summary on stderr. Does not: any of the work (`geno_model.scoring`).

    geno-score --model-dir MODEL --vcf IN.vcf.gz --fasta REF.fa --output OUT.vcf.gz
    geno-score --model-dir MODEL --variant chr17:43071077:C:T --fasta REF.fa

Exit codes: 0 ok; 1 failure; 2 usage; 3 nothing could be scored (no records, or each allele excluded: no output is
left); 4 something tried to reach the network; 130 interrupted; 141 nobody reads the output any more. Any of 1, 3, 4
and 130 is one line on stderr. The research line and the advice on known pathogenic alleles are told with --quiet, too.
"""

from __future__ import annotations

import json
import signal
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from geno_model.cli import UsageError, one_line_errors
from geno_model.offline import Guard, no_network
from geno_model.scoring.errors import NothingScoredError, VariantTextError

if TYPE_CHECKING:
    from geno_model.genomics.genome import Genome
    from geno_model.scoring.score_vcf import ScoreSummary
    from geno_model.scoring.scorer import Scorer

PROGRAM = "geno-score"

app = typer.Typer(add_completion=False, pretty_exceptions_enable=False)


class Head(StrEnum):
    """Which of the model's scores."""

    both = "both"
    surprise = "surprise"
    displacement = "displacement"


class Device(StrEnum):
    """Where encoder and model run."""

    auto = "auto"
    cpu = "cpu"
    cuda = "cuda"
    mps = "mps"


@app.command()
def score(
    model_dir: Annotated[Path, typer.Option(help="Folder of a model release (it holds manifest.json).")],
    fasta: Annotated[Path, typer.Option(help="Reference of the VCF's build, plain or bgzip FASTA.")],
    vcf: Annotated[str | None, typer.Option(help="VCF (plain, gzip, bgzip) or BCF; - is standard input.")] = None,
    variant: Annotated[
        str | None,
        typer.Option(help="One variant instead of a VCF: chr21:300001:A:C, chr21-300001-A-C, a VCF line; prints JSON."),
    ] = None,
    output: Annotated[
        Path | None, typer.Option(help="Ends in .vcf, .vcf.gz, .tsv, .parquet or .jsonl: the format.")
    ] = None,
    encoder_dir: Annotated[
        Path | None, typer.Option(help="The encoder's folder; else $GENO_ENCODER_DIR, else MODEL_DIR/encoder.")
    ] = None,
    head: Annotated[Head, typer.Option(help="Scores; displacement alone runs no edited window.")] = Head.both,
    delta_loglik: Annotated[
        bool,
        typer.Option(
            "--delta-loglik", help="Add log p of the edited DNA less that of the reference: below 0, less likely."
        ),
    ] = False,
    population: Annotated[
        str, typer.Option(help="Percentiles among what is common in: all, or afr, amr, eas, nfe, ... if released.")
    ] = "all",
    regions: Annotated[
        list[str] | None, typer.Option(help="contig:first-last, 1-based, both included; may be given several times.")
    ] = None,
    regions_file: Annotated[Path | None, typer.Option(help="BED of regions, 0-based half-open.")] = None,
    pass_only: Annotated[
        bool, typer.Option("--pass-only", help="Leave out records whose FILTER is neither PASS nor missing.")
    ] = False,
    report: Annotated[Path | None, typer.Option(help="Write a page about the run, one HTML file.")] = None,
    receipt: Annotated[Path | None, typer.Option(help="Write a receipt for each score, for geno-verify.")] = None,
    resume: Annotated[
        bool | None, typer.Option("--resume/--restart", help="Continue an interrupted or killed run, or begin it anew.")
    ] = None,
    device: Annotated[Device, typer.Option(help="auto is cuda, else mps (untested), else cpu.")] = Device.auto,
    threads: Annotated[int | None, typer.Option(min=1, help="Windows scored at once; default all cores.")] = None,
    batch_size: Annotated[
        int,
        typer.Option(
            min=1, help="Alleles that go through the model at once; another number may change the last digits."
        ),
    ] = 16,
    quiet: Annotated[
        bool, typer.Option("--quiet", help="No progress and no summary; errors and advice are still told.")
    ] = False,
) -> None:
    """Score the variants of a VCF on this machine alone. Research tool, not a clinical diagnostic.

    Every alternate allele gets a score or the reason why it has none; records keep their order.
    """
    with one_line_errors(PROGRAM), no_network() as guard:
        how = _Loading(model_dir, fasta, encoder_dir, device.value, threads, head, delta_loglik, population)
        if (vcf is None) == (variant is None):
            raise UsageError("give either --vcf or --variant")
        if variant is not None:
            if output or regions or regions_file or report or receipt or resume is not None or pass_only:
                raise UsageError("--variant prints JSON; --output and the options of a VCF do not go with it")
            _score_variant(variant, how, quiet)
            return
        if vcf is None or output is None:
            raise UsageError("--vcf needs --output, whose suffix decides the format")
        if resume and vcf == "-":
            raise UsageError("--resume needs a file: standard input cannot be read again")
        paths = _Paths(vcf, fasta, output, regions_file, report, receipt)
        _score_file(paths, how, guard, regions or [], pass_only, resume, batch_size, quiet)


@dataclass(frozen=True)
class _Paths:
    """Files of a run."""

    vcf: str
    fasta: Path
    output: Path
    regions_file: Path | None
    report: Path | None
    receipt: Path | None

    def check(self) -> None:
        """Refuse what cannot be written before anything costs time."""
        from geno_model.scoring.errors import OutputError
        from geno_model.scoring.score_vcf import check_paths
        from geno_model.scoring.vcf_io import require_writable

        inputs = [self.vcf, self.fasta, *([self.regions_file] if self.regions_file else [])]
        others = [path for path in (self.report, self.receipt) if path]
        try:
            check_paths(inputs, self.output, others)
        except OutputError as error:
            raise UsageError(str(error)) from None
        for path in (self.output, *others):
            require_writable(path)


@dataclass(frozen=True)
class _Loading:
    """How a release is loaded."""

    model_dir: Path
    fasta: Path
    encoder_dir: Path | None
    device: str
    threads: int | None
    head: Head
    delta_loglik: bool
    population: str

    def scorer(self, genome: Genome) -> Scorer:
        """The release at work."""
        from geno_model.scoring.scorer import Scorer  # here, so that --help does not wait for PyTorch
        from geno_model.scoring.surprise import Heads

        return Scorer.from_release(
            self.model_dir,
            genome,
            self.encoder_dir,
            device=self.device,
            heads=Heads(self.head != Head.displacement, self.head != Head.surprise, self.delta_loglik),
            population=self.population,
            n_threads=self.threads,
        )


def _score_variant(variant: str, how: _Loading, quiet: bool) -> None:
    """Print one JSON object for each alternate allele; exit code 3 if none of them has a score."""
    from geno_model.genomics.genome import Genome
    from geno_model.scoring.calibration import percentile_in_words
    from geno_model.scoring.explain import explain
    from geno_model.scoring.known_pathogenic import KnownPathogenic, known_alleles
    from geno_model.scoring.variant_text import variant_lines
    from geno_model.scoring.vcf_header import RESEARCH_NOTICE
    from geno_model.scoring.vcf_io import SCORED, allele_table, with_few_digits

    try:
        lines = variant_lines([variant])
    except VariantTextError as error:
        raise UsageError(str(error)) from None
    scorer = how.scorer(Genome.open(how.fasta))
    scores = scorer.score_lines(lines)
    rows = with_few_digits(allele_table(scores).drop("record")).to_dicts()
    why = [explain(row, scorer.genome) for row in rows]
    for row, explanation in zip(rows, why, strict=True):
        if row["status"] != SCORED:
            row = {name: value for name, value in row.items() if value is not None} | {"explanation": explanation}
        told = {"model_id": scorer.model_id, "notice": RESEARCH_NOTICE}
        print(json.dumps({"variant": variant.strip()} | row | told, indent=2))
    if not quiet:
        for surprise, n in scores.select("surprise", "n_calibration").drop_nulls().iter_rows():
            if (words := percentile_in_words(surprise, n))[0] in "<>":
                _say(f"a surprise of {surprise:.4g} among {n:,} calibration variants should be read as {words}")
        _say_synthetic(scorer)
    known = KnownPathogenic.count(known_alleles(scores))
    for sentence in known.advice(is_synthetic=scorer.config.is_synthetic):
        _say(sentence)
    if all(row["status"] != SCORED for row in rows):
        reasons = "; ".join(dict.fromkeys(f"{row['reason']}: {text}" for row, text in zip(rows, why, strict=True)))
        raise NothingScoredError(f"the variant {variant.strip()} could not be scored: {reasons}")


def _score_file(
    paths: _Paths,
    how: _Loading,
    guard: Guard,
    regions: list[str],
    pass_only: bool,
    resume: bool | None,
    batch_size: int,
    quiet: bool,
) -> None:
    from geno_model.genomics.genome import Genome
    from geno_model.progress import shown
    from geno_model.scoring.regions import Regions
    from geno_model.scoring.score_vcf import is_stream, measure, score_vcf

    started = time.monotonic()
    paths.check()
    with shown(_say, quiet=quiet) as work:
        work.begin("opening the reference (its first time takes longer)")
        genome = Genome.open(paths.fasta)
        within = Regions.read(regions, paths.regions_file, genome)
        work.begin("reading the VCF")
        size = None if is_stream(paths.vcf) else measure(paths.vcf, genome, within)
        work.begin("loading the model")
        scorer = how.scorer(genome)
        work.begin("scoring", size.n_alleles if size else None, "alleles")

        def tell(n_done: int) -> None:
            guard.check()
            work.at(n_done)

        with _told_how_to_go_on(paths.output):
            summary = score_vcf(
                paths.vcf,
                scorer,
                paths.output,
                pass_only=pass_only,
                regions=within,
                contigs=size.contigs if size else (),
                batch_edits=batch_size,
                resume=resume,
                report=paths.report,
                receipt=paths.receipt,
                progress=tell,
            )
    if not quiet:
        _print_summary(summary, time.monotonic() - started)
        _say_synthetic(scorer)
    for sentence in summary.pathogenic.advice(is_synthetic=scorer.config.is_synthetic):
        _say(sentence)
    if not quiet:
        for path in (paths.output, paths.report, paths.receipt):
            if path:
                _say(f"wrote {path} with model {scorer.model_id[:12]}")
    _say("research tool, not a clinical diagnostic")


@contextmanager
def _told_how_to_go_on(output: Path) -> Iterator[None]:
    """Say in the last line of an interrupted run what it has kept."""
    from geno_model.scoring.parts import parts_folder

    try:
        yield
    except KeyboardInterrupt:
        kept = parts_folder(output).is_dir()
        raise KeyboardInterrupt(*["what is done is kept: --resume continues it"] * kept) from None


def main() -> None:
    """Entry point of the console script."""
    signal.signal(signal.SIGTERM, _stop)  # so that a killed run clears its temporary file away
    app()


def _stop(signum: int, _frame: object) -> None:
    raise SystemExit(128 + signum)


def _print_summary(summary: ScoreSummary, seconds: float) -> None:
    reasons = ", ".join(f"{count:,} {reason}" for reason, count in summary.reasons.items())
    n_excluded = summary.n_alleles - summary.n_scored
    _say(
        f"{summary.n_alleles:,} alleles of {summary.n_records:,} records read, {summary.n_scored:,} scored, "
        f"{n_excluded:,} excluded{f' ({reasons})' if reasons else ''}, in {seconds:,.0f} s"
    )
    if summary.n_low_confidence:
        _say(
            f"{summary.n_low_confidence:,} scores have low confidence (below 0.1): fewer than 100 calibration variants"
        )
    for note in summary.notes:
        _say(note)


def _say_synthetic(scorer: Scorer) -> None:
    if scorer.config.is_synthetic:
        _say(f"the model's data are {scorer.config.data}: nothing here says anything about a person")


def _say(line: str) -> None:
    print(f"{PROGRAM}: {line}", file=sys.stderr)


if __name__ == "__main__":
    main()
