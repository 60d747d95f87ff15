"""A whole VCF through a release, in chunks (spec 5, "geno-score").

Belongs here: the loop over chunks, the checks that stop a run before it costs anything, and what became of every
allele. Does not: options, progress bars and exit codes (`geno_model.cli`), the work on one chunk (`scorer`, `vcf_io`).

The concept: everything that can be known to be wrong is found before the first allele is scored. A file is therefore
read twice: once to see that it is whole and how many alleles it has, which costs seconds, and once to score.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import polars as pl

from geno_model.genomics.alleles import RETAINED, account, to_alleles, wrong_build_message
from geno_model.genomics.genome import Genome
from geno_model.genomics.vcf_reader import CHUNK_BYTES, read_vcf_chunks
from geno_model.scoring.errors import NothingScoredError, OutputError, WrongBuildError
from geno_model.scoring.receipts import STDIN, receipt_output, require_own_name
from geno_model.scoring.scorer import Scorer
from geno_model.scoring.surprise import BATCH_EDITS
from geno_model.scoring.vcf_io import output_suffix, score_output

ACCOUNTING_SOURCE = "scored_vcf"


@dataclass(frozen=True, slots=True)
class InputSize:
    """Records and alternate alleles of a VCF."""

    n_records: int
    n_alleles: int


@dataclass(frozen=True, slots=True)
class ScoreSummary:
    """What a run did.

    accounting: rows of data_contracts.variant_accounting; they sum to n_alleles. n_low_confidence: of the scored ones.
    note: what the user should know about the output, or None.
    """

    n_records: int
    n_alleles: int
    n_low_confidence: int
    accounting: pl.DataFrame
    note: str | None

    @property
    def n_scored(self) -> int:
        """Alleles with a score."""
        return _n_scored(self.accounting)

    @property
    def reasons(self) -> dict[str, int]:
        """Excluded alleles by reason, the most frequent first."""
        return _by_reason(self.accounting)


def check_paths(vcf: Path | str, fasta: Path, output: Path, receipt: Path | None = None) -> None:
    """Refuse an output that names no format, or an output or receipt that is another of the files: `OutputError`."""
    output_suffix(output)
    require_own_name(receipt, vcf, fasta, output)
    for given in (vcf, fasta):
        if str(given) != STDIN and Path(given).resolve() == output.resolve():
            raise OutputError(f"output {output} is also an input, which it would replace; name another output")


def measure(vcf: Path | str, genome: Genome) -> InputSize:
    """Read a VCF once: its size, if it is whole, well formed, not empty and of the genome's build.

    Raises InputError for a file that is missing, truncated or malformed, WrongBuildError, and NothingScoredError for
    one without records.
    """
    n_records = n_alleles = 0
    for chunk in read_vcf_chunks(vcf, n_columns=8):
        if n_records == 0:
            _require_build(to_alleles(chunk.lines, genome), chunk.header, vcf, genome)
        n_records += chunk.lines.height
        n_alleles += chunk.lines.height + int(chunk.lines["alt"].str.count_matches(",", literal=True).sum())
    _require_records(n_records, vcf)
    return InputSize(n_records, n_alleles)


def score_vcf(
    vcf: Path | str,
    scorer: Scorer,
    output: Path,
    *,
    pass_only: bool = False,
    receipt: Path | None = None,
    batch_edits: int = BATCH_EDITS,
    chunk_bytes: int = CHUNK_BYTES,
    progress: Callable[[int], None] | None = None,
) -> ScoreSummary:
    """Score every allele of a VCF ("-": standard input) and write `output`, whose suffix decides the format.

    pass_only: alleles of records whose FILTER is neither PASS nor `.` are excluded as `filtered`.
    receipt: where to write receipts of the scores, if anywhere (`receipts`).
    chunk_bytes: VCF text held in memory at once; windows are shared by the alleles of a chunk.
    progress: told the number of alleles done, once before the first and then window by window. A file's records are
    kept in their order. Raises what `measure` raises, OutputError, and NothingScoredError when not one allele could be
    scored; no output is left then.
    """
    parts: list[pl.DataFrame] = []
    n_records = n_alleles = n_low = 0
    with (
        receipt_output(receipt, scorer, vcf, output, pass_only=pass_only) as receipts,
        score_output(output, scorer.model_id) as writer,
    ):
        for chunk in read_vcf_chunks(vcf, chunk_bytes=chunk_bytes):
            alleles = to_alleles(chunk.lines, scorer.genome, pass_only=pass_only)
            if n_records == 0:
                _require_build(alleles, chunk.header, vcf, scorer.genome)
            tell = _offset(progress, n_alleles)
            tell(0)
            scores = scorer.score(alleles, batch_edits=batch_edits, progress=tell)
            writer.write(chunk, scores)
            if receipts:
                receipts.write(scores)
            n_records += chunk.lines.height
            n_alleles += scores.height
            n_low += int(scores["low_confidence"].sum())
            parts.append(account(scores, ACCOUNTING_SOURCE))
            tell(scores.height)
        _require_records(n_records, vcf)
        accounting = pl.concat(parts).group_by("source", "contig", "reason").agg(pl.col("n_alleles").sum())
        accounting = accounting.sort("source", "contig", "reason")
        if not _n_scored(accounting):
            reasons = ", ".join(f"{count} {reason}" for reason, count in _by_reason(accounting).items())
            raise NothingScoredError(
                f"nothing could be scored: {n_alleles} alleles of {n_records} records read from {_name(vcf)}, "
                f"excluded: {reasons}; check that the VCF and {scorer.genome.fasta} belong together. "
                "No output was written"
            )
    return ScoreSummary(n_records, n_alleles, n_low, accounting, writer.note)


def _offset(progress: Callable[[int], None] | None, n_before: int) -> Callable[[int], None]:
    def tell(n_done: int) -> None:
        if progress:
            progress(n_before + n_done)

    return tell


def _require_build(alleles: pl.DataFrame, header: list[str], vcf: Path | str, genome: Genome) -> None:
    if message := wrong_build_message(alleles, genome, header):
        raise WrongBuildError(f"{_name(vcf)} does not fit {genome.fasta}: {message}")


def _require_records(n_records: int, vcf: Path | str) -> None:
    if not n_records:
        raise NothingScoredError(
            f"nothing could be scored: {_name(vcf)} has no records after its header; give a VCF with variants. "
            "No output was written"
        )


def _n_scored(accounting: pl.DataFrame) -> int:
    return int(accounting.filter(pl.col("reason") == RETAINED)["n_alleles"].sum())


def _by_reason(accounting: pl.DataFrame) -> dict[str, int]:
    counts = accounting.filter(pl.col("reason") != RETAINED).group_by("reason").agg(pl.col("n_alleles").sum())
    return dict(counts.sort(["n_alleles", "reason"], descending=[True, False]).iter_rows())


def _name(vcf: Path | str) -> str:
    return "standard input" if str(vcf) == STDIN else str(vcf)
