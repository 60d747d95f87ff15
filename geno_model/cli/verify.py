"""`geno-verify`: do receipts, model, inputs and outputs still belong together? (spec 5, "Receipts").

Belongs here: options and what is printed on stderr. Does not: any comparison (`geno_model.scoring.verify`).

    geno-verify R.jsonl --model-dir MODEL [--output OUT.vcf.gz] [--vcf IN.vcf.gz --fasta REF.fa [--rerun]]

Exit codes, each for one part, the first of them when several differ: 0 all that was compared agrees; 11 the release's
calibration; 10 the release (a file, or another model); 12 the receipts (cut off, changed, another format); 13 the VCF
or a base of the FASTA; 14 an output (in a receipt, or the output file); 15 a number that comes out otherwise when it is
computed again. Also 1: something cannot be read; 2: usage; 4: something tried to reach the network.
A receipt is a checksum: it shows that nothing changed, not who made it.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from geno_model.cli import UsageError, one_line_errors
from geno_model.offline import no_network

if TYPE_CHECKING:
    from geno_model.scoring.verify import Verdict

PROGRAM = "geno-verify"

app = typer.Typer(add_completion=False, pretty_exceptions_enable=False)


@app.command()
def verify(
    receipt: Annotated[Path, typer.Argument(help="File of receipts that geno-score --receipt wrote.")],
    model_dir: Annotated[Path, typer.Option(help="Folder of the model release that made the scores.")],
    output: Annotated[Path | None, typer.Option(help="The scored file, compared as a whole.")] = None,
    vcf: Annotated[Path | None, typer.Option(help="The VCF that was scored; needs --fasta.")] = None,
    fasta: Annotated[Path | None, typer.Option(help="The reference that was scored with; needs --vcf.")] = None,
    rerun: Annotated[
        bool, typer.Option("--rerun", help="Score the VCF again and compare the numbers; needs --vcf and --fasta.")
    ] = False,
    encoder_dir: Annotated[
        Path | None, typer.Option(help="For --rerun: the encoder; else $GENO_ENCODER_DIR, else MODEL_DIR/encoder.")
    ] = None,
    quiet: Annotated[bool, typer.Option("--quiet", help="Say nothing when all agrees.")] = False,
) -> None:
    """Say which of receipts, model, calibration, inputs and outputs changed since the scores were made.

    Exit codes: 0 all agrees; 10 model, 11 calibration, 12 receipts, 13 input, 14 output, 15 computed again differs;
    1 failure, 2 usage, 4 network attempt.
    """
    with one_line_errors(PROGRAM), no_network() as guard:
        if (vcf is None) != (fasta is None):
            raise UsageError("--vcf and --fasta belong together: give both, or neither")
        if vcf is None and rerun:
            raise UsageError("--rerun scores again, for which it needs --vcf and --fasta")
        if str(vcf) == "-":
            raise UsageError("--vcf must be a file: standard input cannot be read twice")
        from geno_model.progress import shown  # here, so that --help does not wait for PyTorch
        from geno_model.scoring import verify as verification

        inputs = verification.Inputs(vcf, fasta) if vcf and fasta else None
        with shown(_say, quiet=quiet) as work:
            work.begin("comparing", None, "receipts")

            def tell(n_done: int) -> None:
                guard.check()
                work.at(n_done)

            verdict = verification.verify(
                receipt, model_dir, output=output, inputs=inputs, rerun=rerun, encoder_dir=encoder_dir, progress=tell
            )
        guard.check()
        for line in verdict.lines:
            _say(line)
        if rerun and not verdict.n_rerun:
            _say("nothing was scored again, because of the differences above")
        if not quiet and not verdict.code:
            _say(_agreement(verdict, output, inputs is not None))
        if not quiet and verdict.n_rerun:
            _say(_rerun(verdict))
    if verdict.code:
        raise SystemExit(verdict.code)


def main() -> None:
    """Entry point of the console script."""
    app()


def _agreement(verdict: Verdict, output: Path | None, has_inputs: bool) -> str:
    """What agrees and what was not looked at."""
    agree = ["model", "calibration"]
    left = []
    (left if output is None else agree).append("output file" if output else "output file (--output)")
    (agree if has_inputs else left).append("inputs" if has_inputs else "inputs (--vcf, --fasta)")
    if not verdict.n_rerun:
        left.append("the numbers (--rerun)")
    not_compared = f"; not compared: {', '.join(left)}" if left else ""
    return f"{verdict.n_scores:,} receipts agree with {', '.join(agree)}{not_compared}"


def _rerun(verdict: Verdict) -> str:
    largest = ", ".join(f"{value:.2g} of {name}" for name, value in sorted(verdict.largest.items()))
    return f"scored {verdict.n_rerun:,} of {verdict.n_scores:,} again; largest difference: {largest or 'none'}"


def _say(line: str) -> None:
    print(f"{PROGRAM}: {' '.join(line.split())}", file=sys.stderr)


if __name__ == "__main__":
    main()
