"""A whole VCF through a release, in chunks (spec 5, "geno-score").

Belongs here: the loop over chunks, the checks that stop a run before it costs anything, and what became of every
allele. Does not: options, progress bars and exit codes (`geno_model.cli`), the work on one chunk (`scorer`, `vcf_io`).

The concept: everything that can be known to be wrong is found before the first allele is scored. A file is therefore
read twice: once to see that it is whole and how many alleles it has, which costs seconds, and once to score.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import nullcontext
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import polars as pl

from geno_model import __version__
from geno_model.genomics.alleles import RETAINED, account, to_alleles
from geno_model.genomics.build_check import checked_chunks
from geno_model.genomics.genome import CONTIGS_SHOWN, Genome
from geno_model.genomics.vcf_reader import VcfChunk, read_vcf_chunks
from geno_model.scoring.errors import NothingScoredError, OutputError
from geno_model.scoring.known_pathogenic import NONE_KNOWN, KnownPathogenic, known_alleles
from geno_model.scoring.parts import Parts, kept_parts, records_key
from geno_model.scoring.receipts import STDIN, receipt_output
from geno_model.scoring.regions import Regions
from geno_model.scoring.report import ReportData, write_report
from geno_model.scoring.scorer import Scorer
from geno_model.scoring.surprise import BATCH_EDITS
from geno_model.scoring.vcf_index import index_paths
from geno_model.scoring.vcf_io import UNSORTED, RecordOrder, output_suffix, score_output

UNSORTED_NOTE = (
    f"{UNSORTED}: alleles far apart in the file share no window, which is slower; bcftools sort puts them in order"
)
ACCOUNTING_SOURCE = "scored_vcf"
TEXT_BYTES = 2 << 20  # of VCF held at once
CHUNK_RECORDS = 4_096  # a minute or two of work on a CPU: what a killed run loses at most


@dataclass(frozen=True, slots=True)
class InputSize:
    """Records and alternate alleles of a VCF; contigs: as its records name them, in their order."""

    n_records: int
    n_alleles: int
    contigs: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class ScoreSummary:
    """What a run did.

    accounting: rows of data_contracts.variant_accounting; they sum to n_alleles. n_low_confidence: of the scored ones.
    pathogenic: alleles that the release's ClinVar calls P or LP. notes: what the user should know about the run.
    """

    n_records: int
    n_alleles: int
    n_low_confidence: int
    pathogenic: KnownPathogenic
    accounting: pl.DataFrame
    notes: tuple[str, ...]

    @property
    def n_scored(self) -> int:
        """Alleles with a score."""
        return _n_scored(self.accounting)

    @property
    def reasons(self) -> dict[str, int]:
        """Excluded alleles by reason, the most frequent first."""
        return _by_reason(self.accounting)


def check_paths(inputs: Sequence[Path | str], output: Path, others: Sequence[Path] = ()) -> None:
    """Refuse an output that names no format, and outputs that are an input or each other. Raises `OutputError`."""
    taken = {Path(given).resolve(): "an input" for given in inputs if str(given) != STDIN}
    indices = index_paths(output) if output_suffix(output) == ".vcf.gz" else []
    for path in (output, *indices, *others):
        if what := taken.get(path.resolve()):
            raise OutputError(f"output {path} is also {what}, which it would replace; name another output")
        taken[path.resolve()] = "another output"


def measure(vcf: Path | str, genome: Genome, regions: Regions | None = None) -> InputSize:
    """Read a VCF once: its size (in the regions), if it is whole, well formed, not empty and of the genome's build.

    Raises InputError for a file that is missing, truncated or malformed, WrongBuildError, and NothingScoredError for
    one without records (in the regions).
    """
    n_records = n_alleles = 0
    contigs: dict[str, None] = {}
    for chunk in checked_chunks(read_vcf_chunks(vcf, chunk_bytes=TEXT_BYTES, n_columns=8), genome, _name(vcf)):
        lines = regions.filter(chunk.lines) if regions else chunk.lines
        n_records += lines.height
        n_alleles += lines.height + int(lines["alt"].str.count_matches(",", literal=True).sum())
        contigs |= dict.fromkeys(lines["chrom"].unique(maintain_order=True))
    _require_records(n_records, vcf, regions)
    return InputSize(n_records, n_alleles, tuple(contigs))


def score_vcf(
    vcf: Path | str,
    scorer: Scorer,
    output: Path,
    *,
    pass_only: bool = False,
    regions: Regions | None = None,
    contigs: Sequence[str] = (),
    batch_edits: int = BATCH_EDITS,
    chunk_bytes: int = TEXT_BYTES,
    chunk_records: int = CHUNK_RECORDS,
    resume: bool | None = None,
    report: Path | None = None,
    receipt: Path | None = None,
    progress: Callable[[int], None] | None = None,
) -> ScoreSummary:
    """Score every allele of a VCF ("-": standard input) and write `output`, whose suffix decides the format.

    pass_only: alleles of records whose FILTER is neither PASS nor `.` are excluded as `filtered`.
    regions: records outside them are left out of the output, and not counted. contigs: of the records, where `measure`
    has found them, for the header of a VCF; else those of the first chunk.
    chunk_bytes, chunk_records: what is held in memory, and scored together, at once; alleles of a chunk share windows.
    resume: True continues with what an interrupted run has done (`parts`), False discards it, None refuses to choose.
    report: an HTML page about the run. receipt: where to write receipts of the scores (`receipts`).
    progress: told the number of alleles done, once before the first and then window by window. A file's records are
    kept in their order. Raises what `measure` raises, OutputError, ResumeError, and NothingScoredError when not one
    allele could be scored; no output is left then.
    """
    tally = _Tally()
    order = RecordOrder()
    told = ReportData(scorer.genome.contigs) if report else None
    identity = _identity(vcf, scorer, pass_only, regions, batch_edits, chunk_bytes, chunk_records)
    keep = nullcontext(None) if is_stream(vcf) else kept_parts(output, identity, resume=resume)
    with (
        receipt_output(
            receipt, scorer, vcf, output, pass_only=pass_only, is_restricted=regions is not None
        ) as receipts,
        keep as parts,
        score_output(output, scorer.model_id, scorer.heads, order, scorer.genome, contigs) as writer,
    ):
        for number, chunk in enumerate(_chunks(vcf, chunk_bytes, chunk_records, regions, scorer.genome)):
            tell = _offset(progress, tally.n_alleles)
            tell(0)
            scores = _chunk_scores(chunk, number, scorer, parts, pass_only, batch_edits, tell)
            order.see(chunk.lines)
            writer.write(chunk, scores)
            known = known_alleles(scores, chunk.lines)
            tally.add(chunk.lines.height, scores, known)
            if told:
                told.add(scores, known)
            if receipts:
                receipts.write(scores)
            tell(scores.height)
        _require_records(tally.n_records, vcf, regions)
        summary = tally.summary()
        _require_scores(summary, vcf, scorer.genome)
        n_reused = parts.n_reused if parts else 0
    if report and told:
        write_report(report, told, _facts(vcf, scorer), is_synthetic=scorer.config.is_synthetic)
    unknown = unknown_contigs(summary.accounting, scorer.genome)
    unsorted = None if order.is_sorted else UNSORTED_NOTE
    resumed = f"{n_reused:,} of {number + 1:,} chunks were done before" if resume else None
    notes = (unknown, unsorted, writer.note, resumed, scorer.genome.pop_plink_note())
    return replace(summary, notes=tuple(note for note in notes if note))


def _chunk_scores(
    chunk: VcfChunk,
    number: int,
    scorer: Scorer,
    parts: Parts | None,
    pass_only: bool,
    batch_edits: int,
    tell: Callable[[int], None],
) -> pl.DataFrame:
    """Scores of a chunk's alleles, from the parts of the resumed run if they are there."""
    key = records_key(chunk.lines)
    scores = parts.read(number, key) if parts else None
    if scores is None:
        alleles = to_alleles(chunk.lines, scorer.genome, pass_only=pass_only)
        scores = scorer.score_alleles(alleles, batch_edits=batch_edits, progress=tell)
        if parts:
            parts.write(number, key, scores)
    return scores


@dataclass(slots=True)
class _Tally:
    """Counts of a run, chunk by chunk."""

    n_records: int = 0
    n_alleles: int = 0
    n_low_confidence: int = 0
    pathogenic: KnownPathogenic = NONE_KNOWN
    accounting: pl.DataFrame | None = None

    def add(self, n_records: int, scores: pl.DataFrame, known: pl.DataFrame) -> None:
        self.n_records += n_records
        self.n_alleles += scores.height
        self.n_low_confidence += int(scores["low_confidence"].sum())
        self.pathogenic += KnownPathogenic.count(known)
        part = account(scores, ACCOUNTING_SOURCE)
        both = part if self.accounting is None else pl.concat([self.accounting, part])
        key = ["source", "contig", "reason"]
        self.accounting = both.group_by(key).agg(pl.col("n_alleles").sum()).sort(key)

    def summary(self) -> ScoreSummary:
        assert self.accounting is not None  # there is a record
        return ScoreSummary(self.n_records, self.n_alleles, self.n_low_confidence, self.pathogenic, self.accounting, ())


def _chunks(
    vcf: Path | str, chunk_bytes: int, chunk_records: int, regions: Regions | None, genome: Genome
) -> Iterator[VcfChunk]:
    """Chunks of at most so many bytes and so many records, of the regions alone; at least one, so that there is a
    header. Raises WrongBuildError before a chunk that does not fit is given out, or at the end."""
    is_first = True
    for chunk in checked_chunks(read_vcf_chunks(vcf, chunk_bytes=chunk_bytes), genome, _name(vcf)):
        lines = regions.filter(chunk.lines) if regions else chunk.lines
        if lines.height or is_first:
            for part in [lines] if lines.is_empty() else lines.iter_slices(chunk_records):
                yield VcfChunk(chunk.header, part, chunk.encoding)
        is_first = False


def _identity(
    vcf: Path | str,
    scorer: Scorer,
    pass_only: bool,
    regions: Regions | None,
    batch_edits: int,
    chunk_bytes: int,
    chunk_records: int,
) -> dict[str, Any]:
    """What decides the scores of a run, besides the records themselves."""
    return {
        "program": __version__,
        "model": scorer.model_id,
        "heads": asdict(scorer.heads),
        "population": scorer.percentiles.population,
        "device": scorer.encoder.device.type,
        "reference": [scorer.genome.fasta.stat().st_size, scorer.genome.fasta.stat().st_mtime_ns],
        "input": str(vcf),
        "pass_only": pass_only,
        "regions": regions.identity if regions else None,
        "batch_size": batch_edits,
        "chunk": [chunk_bytes, chunk_records],
    }


def _facts(vcf: Path | str, scorer: Scorer) -> dict[str, str]:
    """What the report says of model, calibration and input."""
    contract = scorer.config.contract
    return {
        "input": _name(vcf),
        "reference": str(scorer.genome.fasta),
        "model": scorer.model_id,
        "made from": scorer.config.data or "the release does not say",
        "encoder": contract.encoder_hash,
        "windows": f"{contract.window_bp:,} bp, {scorer.config.window_policy}",
        "percentiles among": f"variants that are common in the population '{scorer.percentiles.population}'",
        "device": str(scorer.encoder.device),
        "program": f"geno-score {__version__}",
    }


def is_stream(vcf: Path | str) -> bool:
    """Whether the input can be read once only."""
    return str(vcf) == STDIN or Path(vcf).is_fifo()


def _offset(progress: Callable[[int], None] | None, n_before: int) -> Callable[[int], None]:
    def tell(n_done: int) -> None:
        if progress:
            progress(n_before + n_done)

    return tell


def _require_records(n_records: int, vcf: Path | str, regions: Regions | None) -> None:
    if not n_records:
        where = "in the regions" if regions else "after its header"
        raise NothingScoredError(
            f"nothing could be scored: {_name(vcf)} has no records {where}; give a VCF with variants. "
            "No output was written"
        )


def _require_scores(summary: ScoreSummary, vcf: Path | str, genome: Genome) -> None:
    if not summary.n_scored:
        reasons = ", ".join(f"{count} {reason}" for reason, count in summary.reasons.items())
        unknown = unknown_contigs(summary.accounting, genome)
        raise NothingScoredError(
            f"nothing could be scored: {summary.n_alleles} alleles of {summary.n_records} records read from "
            f"{_name(vcf)}, excluded: {reasons}{'; ' if unknown else ''}{unknown or ''}; check that the VCF and "
            f"{genome.fasta} belong together. No output was written"
        )


def unknown_contigs(accounting: pl.DataFrame, genome: Genome) -> str | None:
    """Contigs of the VCF that the FASTA lacks, in words: the five with the most alleles, and how many are on others."""
    unknown = accounting.filter(pl.col("reason") == "contig_unknown").sort(
        ["n_alleles", "contig"], descending=[True, False]
    )
    if unknown.is_empty():
        return None
    shown, others = unknown.head(CONTIGS_SHOWN), unknown.slice(CONTIGS_SHOWN)
    named = [f"{contig} ({n:,})" for contig, n in shown.select("contig", "n_alleles").iter_rows()]
    if others.height:
        named.append(f"{others.height:,} more contigs ({others['n_alleles'].sum():,})")
    return f"alleles on contigs that the FASTA lacks: {', '.join(named)}; it has {genome.contigs_in_words}"


def _n_scored(accounting: pl.DataFrame) -> int:
    return int(accounting.filter(pl.col("reason") == RETAINED)["n_alleles"].sum())


def _by_reason(accounting: pl.DataFrame) -> dict[str, int]:
    counts = accounting.filter(pl.col("reason") != RETAINED).group_by("reason").agg(pl.col("n_alleles").sum())
    return dict(counts.sort(["n_alleles", "reason"], descending=[True, False]).iter_rows())


def _name(vcf: Path | str) -> str:
    return "standard input" if str(vcf) == STDIN else str(vcf)
