"""Haplotypes as `bcftools consensus` writes them, beside ours: an oracle for reading, normalising and applying edits.

Belongs here: blocks of the reference, what each haplotype of a phased VCF carries in them, both sequences of each, and
how many agree. Does not: which blocks or samples a test takes (`tests/integration`), normalisation alone (`norm`).

The concept: the tool gets the records as the file spells them (only those of which we keep an allele, and of their
columns only the position, the alleles and the genotype), one sample at a time, and writes every block of the reference
as that sample's first or second haplotype has it. We read the file with the product's reader, normalise its alleles,
parse its genotypes and apply what a haplotype carries as edits. Both must give the same bases.

    grid        0         1000        2000
    records        --   --   ----    --        a record, as given or as normalised, may lie across a border
    blocks      |--------------|-------|       so the border moves right until none does

Bases come to the tool through `pysam.FastaFile`, to us through `Genome`. The tool is the bcftools that pysam brings;
its dispatcher is not safe in threads. Columns `pos` are 1-based; blocks are 0-based, half-open.
"""

from __future__ import annotations

import gzip
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import polars as pl
import pysam
import pysam.bcftools
from numpy.typing import NDArray

from geno_model.genomics.alleles import to_alleles
from geno_model.genomics.edits import EditSpec, OverlappingEditsError, RelEdit, apply_edits, apply_edits_array
from geno_model.genomics.genome import Genome
from geno_model.genomics.vcf_reader import read_vcf_chunks
from geno_pipeline.build.holdouts import BLOCK_BP
from geno_pipeline.build.panel import panel_chunks
from tests.shared_data import SHARED, shared_genome

WINDOW_BP = 12_288
_SKIPPED = re.compile(r"The site (\S+):(\d+) overlaps")


@dataclass(frozen=True, slots=True)
class Difference:
    """Where the two disagree: sample (0-based column), haplotype 1 or 2, and the block, 0-based half-open."""

    sample: int
    haplotype: int
    contig: str
    start_bp: int
    end_bp: int


@dataclass(slots=True)
class Comparison:
    """Counts of (haplotype, block) pairs; each pair is in exactly one of them.

    n_edited: compared, the haplotype carries at least one allele there. n_unedited: compared, it carries none.
    n_overlapping: left out, two of its alleles replace the same base. n_excluded: left out, it carries an allele that
    we do not keep, of a record of which we keep another. n_skipped: left out, our edits do not overlap, but the tool
    says that the records do (as the file spells them) and leaves one of them out. n_crossing: left out, left alignment
    moved an allele over another that the same haplotype carries: each allele alone stays what it was, the two together
    do not (the tool takes them where the file has them).
    n_alleles: alleles carried in the edited pairs, all told. differences: pairs that were compared and differ.
    """

    n_edited: int = 0
    n_unedited: int = 0
    n_overlapping: int = 0
    n_excluded: int = 0
    n_skipped: int = 0
    n_crossing: int = 0
    n_alleles: int = 0
    differences: list[Difference] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class PhasedFile:
    """A phased VCF as we read it.

    alleles: those that are kept, one row each, in the order of contig and position: columns of `to_alleles` and
    `allele_number` (1, 2, ... in the record). called: (records, 2 * samples), allele numbers, see `panel_chunks`.
    kept: (records, 100), whether allele number j of a record is kept, or is the reference (0).
    """

    vcf: Path
    fasta: Path
    genome: Genome
    alleles: pl.DataFrame
    called: NDArray[np.int16]
    kept: NDArray[np.bool_]


@dataclass(frozen=True, slots=True)
class Block:
    """A span of the reference, 0-based half-open, and the rows of `PhasedFile.alleles` and the records inside it."""

    contig: str
    vcf_chrom: str
    start_bp: int
    end_bp: int
    rows: NDArray[np.int64]
    records: NDArray[np.int64]

    @property
    def region(self) -> str:
        """Name as samtools writes it, 1-based and closed, with the VCF's name of the contig."""
        return f"{self.vcf_chrom}:{self.start_bp + 1}-{self.end_bp}"


def read_phased(vcf: Path, fasta: Path, genome: Genome) -> PhasedFile:
    """Read a phased VCF with the product's own reader. An allele that an earlier record gave already is left out."""
    chunks = list(read_vcf_chunks(vcf))
    lines = pl.concat([chunk.lines for chunk in chunks])
    judged = to_alleles(lines, genome, pass_only=True, mark_duplicates=True)
    called = np.concatenate([chunk.lines["called"].to_numpy() for chunk in panel_chunks(vcf)])
    alleles = judged.filter(pl.col("reason").is_null()).with_columns(allele_number=pl.col("alt_index") + 1)
    kept = np.zeros((lines.height, 100), dtype=np.bool_)
    kept[:, 0] = True
    kept[alleles["record"].to_numpy(), alleles["allele_number"].to_numpy()] = True
    return PhasedFile(vcf, fasta, genome, alleles.sort("contig", "pos", "ref", "alt"), called, kept)


def blocks(phased: PhasedFile, block_bp: int) -> list[Block]:
    """The cells of a grid that hold a kept allele, borders moved right until no record lies across one."""
    found = []
    end = pl.col("pos") - 1 + pl.col("ref").str.len_bytes().cast(pl.Int64)
    vcf_end = pl.col("vcf_pos") - 1 + pl.col("vcf_ref").str.len_bytes().cast(pl.Int64)
    spans = phased.alleles.with_row_index("row").with_columns(
        start_bp=pl.min_horizontal("pos", "vcf_pos") - 1, end_bp=pl.max_horizontal(end, vcf_end)
    )
    for (contig, vcf_chrom), rows in spans.group_by("contig", "vcf_chrom", maintain_order=True):
        starts, ends = rows["start_bp"].to_numpy(), rows["end_bp"].to_numpy()
        borders = _borders(starts, ends, block_bp, phased.genome.contigs[str(contig)])
        cell = np.searchsorted(borders, starts, side="right") - 1
        for index in np.unique(cell):
            inside = rows.filter(pl.Series(cell == index))
            span = int(borders[index]), int(borders[index + 1])
            numbers = inside["row"].to_numpy().astype(np.int64), inside["record"].unique().sort().to_numpy()
            found.append(Block(str(contig), str(vcf_chrom), *span, *numbers))
    return found


def _borders(starts: NDArray[np.int64], ends: NDArray[np.int64], block_bp: int, length: int) -> NDArray[np.int64]:
    """Borders of the grid around the spans, 0-based, each moved right to where no span [start, end) lies across it."""
    first, last = starts.min() // block_bp * block_bp, ends.max() + block_bp
    borders = np.minimum(np.arange(first, last + 1, block_bp), length)
    for index, border in enumerate(borders):
        while (across := (starts < border) & (border < ends)).any():
            border = ends[across].max()
        borders[index] = border
    return np.unique(borders)


class Ours:
    """Our sequence of a block for the alleles that a haplotype carries there."""

    def __init__(self, phased: PhasedFile, block: Block) -> None:
        """carried: (alleles, 2 * samples). is_excluded: (2 * samples,), whether it carries an allele not kept."""
        rows = phased.alleles[block.rows]
        self._window = phased.genome.window(block.contig, block.start_bp, block.end_bp)
        self._text = self._window.tobytes().decode("ascii")
        self._edits: list[RelEdit] = [
            EditSpec(*fields).relative_to(block.start_bp, block.end_bp)
            for fields in rows.select("contig", "pos", "ref", "alt").iter_rows()
        ]
        self._crosses = _crosses(rows)
        self.carried = phased.called[rows["record"].to_numpy()] == rows["allele_number"].to_numpy()[:, None]
        called = phased.called[block.records]
        is_kept = np.take_along_axis(phased.kept[block.records], np.maximum(called, 0).astype(np.int64), axis=1)
        self.is_excluded: NDArray[np.bool_] = np.asarray(~is_kept.all(axis=0))

    def is_crossing(self, haplotype: int) -> bool:
        """Whether the haplotype carries an allele that was moved left over another that it carries."""
        bits = self.carried[:, haplotype]
        return bool(self._crosses[np.ix_(bits, bits)].any())

    def sequence(self, haplotype: int) -> str | None:
        """The bases of haplotype column `haplotype` (2 * sample + 0 or 1); None where its alleles overlap.

        Raises ValueError where the two forms of `apply_edits` disagree.
        """
        edits = [self._edits[row] for row in np.flatnonzero(self.carried[:, haplotype])]
        if not edits:
            return self._text
        try:
            edited = apply_edits_array(self._window, edits).tobytes().decode("ascii")
        except OverlappingEditsError:
            return None
        if apply_edits(self._text, edits) != edited:
            raise ValueError(f"apply_edits and apply_edits_array differ for {len(edits)} edits")
        return edited


def _crosses(rows: pl.DataFrame) -> NDArray[np.bool_]:
    """(n, n): allele i stands further left than in the file, and allele j touches what lies between, ends included."""
    pos, vcf_pos = rows["pos"].to_numpy(), rows["vcf_pos"].to_numpy()
    end = pos + rows["ref"].str.len_bytes().cast(pl.Int64).to_numpy()
    vcf_end = vcf_pos + rows["vcf_ref"].str.len_bytes().cast(pl.Int64).to_numpy()
    low, high = np.minimum(pos, vcf_pos), np.maximum(end, vcf_end)
    touches = (low[None, :] < high[:, None]) & (low[:, None] < high[None, :])
    return (pos < vcf_pos)[:, None] & touches & ~np.eye(len(pos), dtype=np.bool_)


class Tool:
    """`bcftools consensus` over the blocks of a file, one sample and haplotype at a time."""

    def __init__(self, phased: PhasedFile, parts: Sequence[Block], folder: Path) -> None:
        """folder: for temporary files."""
        self._folder = folder
        self._fasta = folder / "blocks.fa"
        self._header, self._records, self._calls = _plain_records(phased)
        with pysam.FastaFile(str(phased.fasta)) as reference, self._fasta.open("w") as out:
            for block in parts:
                out.write(f">{block.region}\n{reference.fetch(block.contig, block.start_bp, block.end_bp).upper()}\n")

    def sequences(self, sample: int) -> Iterator[tuple[dict[str, str], set[tuple[str, int]]]]:
        """For haplotype 1 and then 2: bases by region, and (contig, pos) of the records that the tool left out."""
        vcf, out = self._folder / "sample.vcf", self._folder / "out.fa"
        body = "".join(map("{}\t{}\n".format, self._records, self._calls[:, sample].astype(str)))
        vcf.write_text(self._header + body)
        packed = pysam.tabix_index(str(vcf), preset="vcf", force=True)
        for which in "12":
            pysam.bcftools.consensus(  # pyright: ignore[reportAttributeAccessIssue]
                "-f", str(self._fasta), "-H", which, "-s", "s", "-o", str(out), packed, catch_stdout=False
            )
            said = str(pysam.bcftools.consensus.get_messages())  # pyright: ignore[reportAttributeAccessIssue]
            texts = (part.partition("\n") for part in out.read_text().split(">")[1:])
            bases = {name: lines.replace("\n", "") for name, _, lines in texts}
            yield bases, {(chrom, int(pos)) for chrom, pos in _SKIPPED.findall(said)}


def _plain_records(phased: PhasedFile) -> tuple[str, list[str], NDArray[np.bytes_]]:
    """A header for one sample `s`; the records of which an allele is kept, up to FORMAT; their genotypes, all samples.

    Read line by line with plain Python, not with the code under test. Genotypes are text as in the file, (n, samples).
    """
    wanted = set(phased.alleles["record"].to_list())
    contigs, records, calls = [], [], []
    number = -1
    with gzip.open(phased.vcf, "rt") as stream:
        for line in stream:
            if line.startswith("#"):
                continue
            number += 1
            if number not in wanted:
                continue
            fields = line.rstrip("\n").split("\t")
            chrom, pos, _, ref, alt = fields[:5]
            if chrom not in contigs:
                contigs.append(chrom)
            records.append(f"{chrom}\t{pos}\t.\t{ref}\t{alt}\t.\t.\t.\tGT")
            calls.append(np.array([value.split(":", 1)[0] for value in fields[9:]], dtype="S7"))
    names = "".join(f"##contig=<ID={name}>\n" for name in contigs)
    columns = "#CHROM\tPOS\tID\tREF\tALT\tQUAL\tFILTER\tINFO\tFORMAT\ts\n"
    genotype = '##FORMAT=<ID=GT,Number=1,Type=String,Description="Genotype">\n'
    return f"##fileformat=VCFv4.2\n{names}{genotype}{columns}", records, np.stack(calls)


def compare(phased: PhasedFile, parts: Sequence[Block], samples: Sequence[int], folder: Path) -> Comparison:
    """Compare both haplotypes of the samples (0-based columns) in all blocks. folder: for temporary files."""
    result = Comparison()
    ours = [Ours(phased, block) for block in parts]
    tool = Tool(phased, parts, folder)
    for sample in samples:
        for haplotype, (theirs, skipped) in enumerate(tool.sequences(sample), start=1):
            for block, own in zip(parts, ours, strict=True):
                at = Difference(sample, haplotype, block.contig, block.start_bp, block.end_bp)
                is_skipped = any(
                    chrom == block.vcf_chrom and block.start_bp < pos <= block.end_bp for chrom, pos in skipped
                )
                _judge(result, own, at, theirs[block.region], is_skipped)
    return result


def _judge(result: Comparison, own: Ours, at: Difference, theirs: str, is_skipped: bool) -> None:
    """Count one haplotype in one block. is_skipped: whether the tool left a record of it out."""
    column = 2 * at.sample + at.haplotype - 1
    if own.is_excluded[column]:
        result.n_excluded += 1
        return
    bases = own.sequence(column)
    if bases is None:
        result.n_overlapping += 1
    elif is_skipped:
        result.n_skipped += 1
    elif own.is_crossing(column):
        result.n_crossing += 1
    else:
        n_carried = int(own.carried[:, column].sum())
        result.n_edited += n_carried > 0
        result.n_unedited += n_carried == 0
        result.n_alleles += n_carried
        if bases != theirs:
            result.differences.append(at)


def real_file(build: str) -> PhasedFile:
    """The real phased VCF of a build, `grch37` or `grch38`."""
    return read_phased(SHARED / build / "kg_phased.vcf.gz", SHARED / build / "reference.fa.gz", shared_genome(build))


def run_all(folder: Path) -> list[tuple[str, int, int]]:
    """(name, haplotype blocks with at least one edit compared, differences) over all samples of both real files.

    folder: for temporary files, made if missing.
    """
    folder.mkdir(parents=True, exist_ok=True)
    rows = []
    for build in ("grch37", "grch38"):
        phased = real_file(build)
        for block_bp in (BLOCK_BP, WINDOW_BP):
            result = compare(phased, blocks(phased, block_bp), range(phased.called.shape[1] // 2), folder)
            rows.append((f"{build}/kg_phased, blocks of {block_bp} bp", result.n_edited, len(result.differences)))
    return rows
