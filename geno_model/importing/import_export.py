"""An export and a FASTA to a VCF (spec 5).

Belongs here: the order of the steps, the check that both are of one build, and the figures for a person. Does not: any
step itself, options.

The concept of the build check: of the called genotypes, the share that holds the FASTA's base at its position. It is
above 0.8 for the right build and about a third for a wrong one, so the line is drawn at `FIT_SHARE`; below
`ENOUGH` genotypes only what the file says of itself can be compared. Where the bases fit, they win over a header. Then
each contig and stretch is judged, as those of a VCF are (`genomics.build_check`).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import polars as pl

from geno_model.genomics.builds import MARKER_NAMES, MT_LENGTH_BP, build_of, build_of_markers, build_of_prose
from geno_model.genomics.genome import Genome
from geno_model.importing.errors import ExportBuildError, NothingWrittenError
from geno_model.importing.export_reader import Export, read_export
from geno_model.importing.genotypes import ENOUGH, Fit, Judged, Strand, judge
from geno_model.importing.ploidy import Sex
from geno_model.importing.vcf_output import SUFFIXES, vcf_header, vcf_lines, write_vcf
from geno_model.scoring.errors import OutputError
from geno_model.scoring.vcf_index import index_paths
from geno_model.scoring.vcf_io import output_suffix

STDIN = "-"
FIT_SHARE = 0.6
_MIXED_SHARE = 0.8


@dataclass(frozen=True, slots=True)
class ImportSummary:
    """What an import did.

    layout: of the export, in words. outcomes: rows by outcome, zeros included; they sum to n_rows. n_records: of the
    VCF. notes: what a person should know besides.
    """

    layout: str
    n_rows: int
    n_records: int
    outcomes: dict[str, int]
    n_flipped: int
    fit: Fit
    notes: list[str]


def check_paths(export: Path | str, fasta: Path, output: Path) -> None:
    """Refuse an output that is no VCF or that, or whose index, is one of the inputs. Raises `OutputError`."""
    made = [output, *(index_paths(output) if output_suffix(output, SUFFIXES) == ".vcf.gz" else [])]
    given = [fasta] if str(export) == STDIN else [Path(export), fasta]
    if any(_is_same(path, other) for path in given for other in made):
        raise OutputError(f"output {output} is also an input, which it would replace; name another output")


def import_export(
    path: Path | str,
    genome: Genome,
    output: Path,
    *,
    sample: str | None = None,
    sample_name: str = "SAMPLE",
    strand: Strand = "auto",
    sex: Sex = "auto",
    all_sites: bool = False,
    before: Callable[[], None] = lambda: None,
) -> ImportSummary:
    """Write the VCF of an export.

    sample: which one of several samples, by its id or its number (`read_export`). sample_name: heads the VCF's column.
    before: called just before the output appears, may raise.
    Raises InputError for what cannot be read, ExportBuildError, and NothingWrittenError where no row gives a record.
    """
    export = read_export(path, sample)
    claimed, build = _claimed_build(export), build_of(genome.contigs)
    judged = judge(export.rows, genome, strand, sex, build or (claimed[0] if claimed else None))
    notes = _require_build(judged.fit, claimed, build, strand) + judged.notes
    if judged.misfit:
        raise ExportBuildError(
            f"{judged.misfit} do not hold the base that the FASTA has there, though most of the export does: that part "
            "is probably of another genome build, or of the other strand; export it anew, use the FASTA of its build"
        )
    if plink_note := genome.pop_plink_note():
        notes.append(plink_note)
    lines = vcf_lines(judged, export.rows["id"], all_sites=all_sites)
    outcomes = judged.counts()
    if lines.is_empty():
        raise NothingWrittenError(
            f"none of {export.rows.height:,} rows gives a record ({in_words(outcomes)}); {_advice(outcomes)}"
        )
    if judged.n_other_mt:
        notes.append(_other_mt(judged, genome))
    note = write_vcf(output, vcf_header(genome, sample_name), lines, genome.contigs, before)
    if note:
        notes.append(note)
    return ImportSummary(export.layout, export.rows.height, lines.len(), outcomes, judged.n_flipped, judged.fit, notes)


def in_words(outcomes: dict[str, int]) -> str:
    """Outcomes that occurred, such as `3 written, 1 no_call`."""
    return ", ".join(f"{count:,} {name}" for name, count in outcomes.items() if count)


def _is_same(path: Path, other: Path) -> bool:
    return path.resolve() == other.resolve() or (path.exists() and other.exists() and path.samefile(other))


def _claimed_build(export: Export) -> tuple[str, str] | None:
    """The build that an export is of by its own account, and by which account."""
    if said := build_of_prose(export.header):
        return said, "its header says"
    known = export.rows.select("id", pl.col("pos").cast(pl.Int64, strict=False))
    known = known.filter(pl.col("id").is_in(list(MARKER_NAMES)) & pl.col("pos").is_not_null())
    if found := build_of_markers(known.iter_rows()):
        return found, "positions of well-known markers in it are of"
    return None


def _require_build(fit: Fit, claimed: tuple[str, str] | None, ours: str | None, strand: Strand) -> list[str]:
    """Raise ExportBuildError unless the genotypes fit the FASTA; what to tell a person where they do."""
    other = claimed[0] if claimed and ours and claimed[0] != ours else None
    count = f"{fit.n_fit:,} of {fit.n_compared:,} called genotypes hold the base that the FASTA has there"
    if fit.n_compared >= ENOUGH and fit.n_fit >= FIT_SHARE * fit.n_compared:
        if other and claimed:
            return [f"{claimed[1]} {other}, but {count}, which is {ours}: taken as {ours}"]
        return []
    if fit.n_compared < ENOUGH and not other:
        return [f"the build could not be checked: only {fit.n_compared} called genotypes lie on known bases"]
    of_fasta = f"the FASTA is {ours} by its contig lengths" if ours else "the FASTA is of a build unknown here"
    of_export = f"{claimed[1]} {claimed[0]}" if claimed else "the export does not say its build"
    other_strand = fit.n_plus if fit.is_minus else fit.n_minus
    if strand != "auto" and other_strand >= FIT_SHARE * fit.n_compared:
        advice = f"{other_strand:,} do on the other strand: use --strand auto"
        raise ExportBuildError(f"only {count} on the {strand} strand; {advice}")
    if not other and fit.n_either >= _MIXED_SHARE * fit.n_compared:
        raise ExportBuildError(
            f"only {count} on one strand, and {fit.n_either:,} on one or the other: the export mixes strands, which "
            "cannot be told apart; export it on the plus (forward) strand"
        )
    wanted = claimed[0] if claimed and claimed[0] != ours else "the build of the export (most are GRCh37)"
    raise ExportBuildError(
        f"only {count}: the export is probably of another genome build; {of_export}; {of_fasta}; use the FASTA of "
        f"{wanted}; positions are not lifted over"
    )


def _advice(outcomes: dict[str, int]) -> str:
    if outcomes["hom_ref"]:
        return "all that could be used is homozygous reference: --all-sites writes it"
    return "check that the FASTA holds the chromosomes of the export, and that the export holds called genotypes"


def _other_mt(judged: Judged, genome: Genome) -> str:
    name = genome.namesake("MT") or "MT"
    return (
        f"{judged.n_other_mt:,} rows of the mitochondrion are contig_unknown: {name} of the FASTA has "
        f"{genome.contigs[name]:,} bases, not the {MT_LENGTH_BP:,} of the reference that exports use (hg19's chrM is "
        "another, Yoruba, sequence)"
    )
