"""`geno-score`: a VCF and a FASTA in, every allele with a score or a reason out (spec 5).

Belongs here: options, progress and the summary on stderr. Does not: any of the work (`geno_model.scoring`).

    geno-score --model-dir MODEL --vcf IN.vcf.gz --fasta REF.fa --output OUT.vcf.gz

Exit codes: 0 ok; 1 failure; 2 usage; 3 nothing could be scored (no records, or each allele excluded: no output is
left); 4 something tried to reach the network. Any of 1, 3 and 4 is one line on stderr.
"""

from __future__ import annotations

import signal
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from geno_model.cli import UsageError, one_line_errors
from geno_model.offline import no_network

if TYPE_CHECKING:
    from geno_model.scoring.score_vcf import ScoreSummary

PROGRAM = "geno-score"
_LINE_EVERY_S = 10.0

app = typer.Typer(add_completion=False, pretty_exceptions_enable=False)


@app.command()
def score(
    model_dir: Annotated[Path, typer.Option(help="Folder of a model release (it holds manifest.json).")],
    vcf: Annotated[str, typer.Option(help="VCF (plain, gzip, bgzip) or BCF to score; - is standard input.")],
    fasta: Annotated[Path, typer.Option(help="Reference of the VCF's build, plain or bgzip FASTA.")],
    output: Annotated[Path, typer.Option(help="Ends in .vcf, .vcf.gz, .tsv, .parquet or .jsonl: the format.")],
    encoder_dir: Annotated[
        Path | None, typer.Option(help="The encoder's folder; else $GENO_ENCODER_DIR, else MODEL_DIR/encoder.")
    ] = None,
    pass_only: Annotated[
        bool, typer.Option("--pass-only", help="Leave out records whose FILTER is neither PASS nor missing.")
    ] = False,
    batch_size: Annotated[int, typer.Option(min=1, help="Alleles that go through the model at once.")] = 64,
    receipt: Annotated[
        Path | None, typer.Option(help="Where to write receipts of the scores (JSON lines), for geno-verify.")
    ] = None,
    quiet: Annotated[bool, typer.Option("--quiet", help="No progress and no summary; errors are still told.")] = False,
) -> None:
    """Score the variants of a VCF on this machine alone. Research tool, not a clinical diagnostic.

    Every alternate allele gets a score or the reason why it has none; records keep their order.
    """
    with one_line_errors(PROGRAM), no_network() as guard:
        from geno_model.genomics.genome import Genome  # here, so that --help does not wait for PyTorch
        from geno_model.scoring.errors import OutputError
        from geno_model.scoring.score_vcf import STDIN, check_paths, measure, score_vcf
        from geno_model.scoring.scorer import Scorer
        from geno_model.scoring.vcf_io import require_writable

        started = time.monotonic()
        try:
            check_paths(vcf, fasta, output, receipt)
        except OutputError as error:
            raise UsageError(str(error)) from None
        require_writable(output)
        genome = Genome.open(fasta)
        is_stream = vcf == STDIN or Path(vcf).is_fifo()  # can be read once only, so its length is not known
        n_alleles = None if is_stream else measure(vcf, genome).n_alleles
        scorer = Scorer.from_release(model_dir, genome, encoder_dir)
        with _progress(n_alleles, quiet) as report:

            def tell(n_done: int) -> None:
                guard.check()
                report(n_done)

            summary = score_vcf(
                vcf, scorer, output, pass_only=pass_only, receipt=receipt, batch_edits=batch_size, progress=tell
            )
        if not quiet:
            _print_summary(summary, scorer.model_id, output, time.monotonic() - started)


def main() -> None:
    """Entry point of the console script."""
    signal.signal(signal.SIGTERM, _stop)  # so that a killed run clears its temporary file away
    app()


def _stop(signum: int, _frame: object) -> None:
    raise SystemExit(128 + signum)


@contextmanager
def _progress(n_total: int | None, quiet: bool) -> Iterator[Callable[[int], None]]:
    """Something to call with the number of alleles done: a bar on a terminal, else a plain line now and then."""
    if quiet:
        yield lambda n_done: None
    elif not sys.stderr.isatty():
        yield _PlainProgress(n_total)
    else:
        from rich.console import Console
        from rich.progress import BarColumn, MofNCompleteColumn, Progress, TaskID, TextColumn, TimeRemainingColumn

        rate_column = TextColumn("{task.fields[rate]}")
        columns = (
            TextColumn("{task.description}"),
            BarColumn(),
            MofNCompleteColumn(),
            rate_column,
            TimeRemainingColumn(),
        )
        with Progress(*columns, console=Console(stderr=True), transient=True) as bar:
            task: TaskID = bar.add_task("scoring", total=n_total, rate="")
            started = time.monotonic()

            def update(n_done: int) -> None:
                rate = n_done / max(time.monotonic() - started, 1e-9)
                bar.update(task, completed=n_done, rate=f"{rate:,.1f} alleles/s")

            yield update


class _PlainProgress:
    """Lines such as `geno-score: 1,200 of 5,000 alleles, 35.1/s, 108 s left`, at most one every ten seconds."""

    def __init__(self, n_total: int | None) -> None:
        self._n_total = n_total
        self._started = self._told = time.monotonic()

    def __call__(self, n_done: int) -> None:
        now = time.monotonic()
        if now - self._told < _LINE_EVERY_S:
            return
        self._told = now
        rate = n_done / (now - self._started)
        line = f"{n_done:,} alleles, {rate:,.1f}/s"
        if self._n_total is not None:
            left = (self._n_total - n_done) / rate if rate else float("inf")
            line = f"{n_done:,} of {self._n_total:,} alleles, {rate:,.1f}/s, {left:,.0f} s left"
        _say(line)


def _print_summary(summary: ScoreSummary, model_id: str, output: Path, seconds: float) -> None:
    reasons = ", ".join(f"{count:,} {reason}" for reason, count in summary.reasons.items())
    n_excluded = summary.n_alleles - summary.n_scored
    _say(
        f"{summary.n_alleles:,} alleles of {summary.n_records:,} records read, {summary.n_scored:,} scored, "
        f"{n_excluded:,} excluded{f' ({reasons})' if reasons else ''}, in {seconds:,.0f} s"
    )
    if summary.n_low_confidence:
        _say(f"{summary.n_low_confidence:,} scores have low confidence: fewer than 100 calibration variants")
    if summary.note:
        _say(summary.note)
    _say(f"wrote {output} with model {model_id[:12]}")
    _say("research tool, not a clinical diagnostic")


def _say(line: str) -> None:
    print(f"{PROGRAM}: {line}", file=sys.stderr)


if __name__ == "__main__":
    main()
