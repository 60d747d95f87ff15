"""`geno-import`: a genotype export of a consumer test and a FASTA in, a VCF for geno-score out (spec 5).

Belongs here: options and the summary on stderr. Does not: any of the work (`geno_model.importing`).

    geno-import EXPORT.txt --fasta REF.fa --output OUT.vcf.gz

Exit codes: 0 ok; 1 failure; 2 usage; 3 nothing could be written (no rows, or none that gives a record: no output is
left); 4 something tried to reach the network. Any of 1, 3 and 4 is one line on stderr.
"""

from __future__ import annotations

import signal
import sys
import time
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from geno_model.cli import UsageError, one_line_errors
from geno_model.offline import no_network

if TYPE_CHECKING:
    from geno_model.importing.import_export import ImportSummary

PROGRAM = "geno-import"
_OUTCOMES_IN_WORDS = {
    "written": "with one or two alternates",
    "hom_ref": "homozygous reference, no records without --all-sites",
    "no_call": "without a call",
    "indel_code": "insertions or deletions by code (I, D), which name no bases",
    "duplicate": "repeats of an earlier row",
    "conflicting_duplicate": "of positions whose rows disagree",
    "contig_unknown": "on a contig that the FASTA lacks",
    "out_of_range": "beyond the end of their contig",
    "ambiguous_reference": "where the FASTA has N",
    "ref_mismatch": "without the reference base on either strand",
    "malformed": "malformed",
}

app = typer.Typer(add_completion=False, pretty_exceptions_enable=False)


class StrandOption(StrEnum):
    """Choices of --strand."""

    AUTO = "auto"
    PLUS = "plus"
    MINUS = "minus"


class SexOption(StrEnum):
    """Choices of --sex."""

    AUTO = "auto"
    MALE = "male"
    FEMALE = "female"


@app.command()
def import_genotypes(
    export: Annotated[str, typer.Argument(help="Export (text, gzip or zip); - is standard input.")],
    fasta: Annotated[Path, typer.Option(help="Reference of the export's build, plain or bgzip FASTA.")],
    output: Annotated[Path, typer.Option(help="Ends in .vcf or .vcf.gz (bgzip, with an index).")],
    sample: Annotated[
        str | None, typer.Option(help="Of an export of several samples: which one, by its id or its number from 1.")
    ] = None,
    sample_name: Annotated[str, typer.Option(help="Name of the sample's column in the VCF.")] = "SAMPLE",
    all_sites: Annotated[
        bool, typer.Option("--all-sites", help="Write homozygous reference sites too, with ALT . and GT 0/0.")
    ] = False,
    strand: Annotated[
        StrandOption,
        typer.Option(help="Strand of the genotypes: told from the bases, or known; auto also flips single rows."),
    ] = StrandOption.AUTO,
    sex: Annotated[
        SexOption,
        typer.Option(
            help="Whether X has one copy (GT 1) outside its pseudo-autosomal regions: told from the calls on X and Y "
            "where these are clear, or known."
        ),
    ] = SexOption.AUTO,
    quiet: Annotated[bool, typer.Option("--quiet", help="No summary; errors are still told.")] = False,
) -> None:
    """Turn an export of 23andMe, AncestryDNA, MyHeritage, FamilyTreeDNA or Illumina into a VCF, on this machine alone.

    Research tool, not a clinical diagnostic. The reference bases come from the FASTA; every row of the export is
    written or counted under one reason.
    """
    with one_line_errors(PROGRAM), no_network() as guard:
        from geno_model.genomics.genome import Genome  # here, so that --help does not wait for polars
        from geno_model.importing.import_export import check_paths, import_export
        from geno_model.importing.vcf_output import is_sample_name
        from geno_model.progress import shown
        from geno_model.scoring.errors import OutputError
        from geno_model.scoring.vcf_io import require_writable

        started = time.monotonic()
        if not is_sample_name(sample_name):
            raise UsageError(
                "--sample-name must be one line of printable characters, without a tab or a blank at an end"
            )
        try:
            check_paths(export, fasta, output)
        except OutputError as error:
            raise UsageError(str(error)) from None
        require_writable(output)
        with shown(_say, quiet=quiet) as work:
            work.begin("opening the reference (its first time takes longer)")
            genome = Genome.open(fasta)
            work.begin("importing")
            summary = import_export(
                export,
                genome,
                output,
                sample=sample,
                sample_name=sample_name,
                strand=strand.value,
                sex=sex.value,
                all_sites=all_sites,
                before=guard.check,
            )
        if not quiet:
            _print_summary(summary, output, time.monotonic() - started)


def main() -> None:
    """Entry point of the console script."""
    signal.signal(signal.SIGTERM, _stop)  # so that a killed run clears its temporary file away
    app()


def _stop(signum: int, _frame: object) -> None:
    raise SystemExit(128 + signum)


def _print_summary(summary: ImportSummary, output: Path, seconds: float) -> None:
    fit = summary.fit
    _say(f"{summary.n_rows:,} rows read ({summary.layout}) in {seconds:,.0f} s")
    _say(
        f"{fit.n_fit:,} of {fit.n_compared:,} called genotypes hold the base of the FASTA, read on the "
        f"{'minus' if fit.is_minus else 'plus'} strand; {summary.n_flipped:,} strand_flipped"
    )
    for name, count in summary.outcomes.items():
        if count:
            _say(f"{count:>9,} {name}: {_OUTCOMES_IN_WORDS[name]}")
    for note in summary.notes:
        _say(note)
    _say(f"wrote {output}: {summary.n_records:,} records")
    _say("research tool, not a clinical diagnostic")


def _say(line: str) -> None:
    print(f"{PROGRAM}: {line}", file=sys.stderr)


if __name__ == "__main__":
    main()
