"""Whether a file of variants is of the FASTA's genome, judged while it is read (spec 1, 5).

Belongs here: the one check that every reader of variants uses, and its sentence for a person. Does not: what the names
and lengths of builds are (`builds`), the reason why a single allele is left out (`alleles`).

The concept: a file is refused for the first of these, and only contigs on which it has records count, since a header
often lists others.

    names     NC_000021.8 is chromosome 21 of GRCh37, whatever else fits
    lengths   the header's ##contig has another length than the FASTA's contig
    bases     REF is not what the FASTA has: in a stretch, on a contig, or in the whole file

Bases are compared site by site. A site is a position and a REF: a record with forty ALTs says one thing, and so do ten
records of one allele. Symbols (<DEL>), whose REF some callers make up, and N, in REF or FASTA, say nothing: that is
neither a match nor a mismatch.

A stretch is `STRETCH_SITES` sites of one contig that follow each other in the file. Builds differ by insertions: where
none has come yet they are the same (the first 200 kb of chromosome 1 of GRCh37 and GRCh38; JAK2 on chromosome 9), so a
whole file can look right for long, and right in sum. It is counted in sites, not in bp, since an exome has one site
where a genome has a hundred. In a stretch of another build some 70 of 100 sites do not fit. In one of the right build
none do, save in files whose REF is the commoner allele (PLINK), where it is 15 to 25; 100 sites with more than half are
out of reach of those, in any of a genome's 50,000 stretches. Contigs and files are judged at the end, from `FEW_SITES`
on; fewer say too little, for by chance a quarter of the bases fits anywhere.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import numpy as np
import polars as pl
from numpy.typing import NDArray

from geno_model.genomics.builds import Accession, accession, build_of, build_of_header, header_lengths, plain_name
from geno_model.genomics.errors import WrongBuildError
from geno_model.genomics.genome import Genome
from geno_model.genomics.normalise import Alleles, agrees_with_reference
from geno_model.genomics.vcf_reader import VcfChunk

STRETCH_SITES = 100
FEW_SITES = 20

Bools = NDArray[np.bool_]
Ints = NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class Misfit:
    """More than half of some sites do not fit. where: words such as `on chr1 from 0.24 Mb on`, or empty."""

    n_wrong: int
    n_sites: int
    where: str

    def __str__(self) -> str:
        return f"{self.n_wrong:,} of {self.n_sites:,} sites{self.where and ' '}{self.where}"


@dataclass(slots=True)
class _Count:
    """Sites of one contig, and of its stretch that is not full yet."""

    n_sites: int = 0
    n_wrong: int = 0
    n_open: int = 0
    n_open_wrong: int = 0
    open_pos: int = 0


class SiteCounts:
    """Running counts of sites that fit and do not, by contig and by stretch; memory holds one count a contig."""

    def __init__(self, stretch_sites: int = STRETCH_SITES, few_sites: int = FEW_SITES) -> None:
        """stretch_sites: that make a stretch; few_sites: from which on a contig and the whole are judged."""
        self._stretch_sites, self._few_sites = stretch_sites, few_sites
        self._contigs: dict[str, _Count] = {}

    @property
    def n_sites(self) -> int:
        """Sites compared so far."""
        return sum(count.n_sites for count in self._contigs.values())

    def add(self, contig: str, pos: Ints, is_wrong: Bools) -> Misfit | None:
        """Take in sites (n,) of a contig in their order in the file; the first full stretch that does not fit, if any.

        pos: 1-based, for words only.
        """
        count = self._contigs.setdefault(contig, _Count())
        stretch = (count.n_open + np.arange(len(is_wrong))) // self._stretch_sites
        n_wrong = np.bincount(stretch, is_wrong, int(stretch[-1]) + 1 if len(stretch) else 1).astype(np.int64)
        n_wrong[0] += count.n_open_wrong
        is_first = np.diff(stretch, prepend=-1 if count.n_open == 0 else 0) > 0
        starts = [*([count.open_pos] if count.n_open else []), *pos[is_first].tolist()]
        count.n_sites += len(is_wrong)
        count.n_wrong += int(is_wrong.sum())
        n_full, count.n_open = divmod(count.n_open + len(is_wrong), self._stretch_sites)
        count.n_open_wrong = int(n_wrong[n_full]) if count.n_open else 0
        count.open_pos = starts[n_full] if count.n_open else 0
        bad = np.flatnonzero(2 * n_wrong[:n_full] > self._stretch_sites)
        if not bad.size:
            return None
        return Misfit(int(n_wrong[bad[0]]), self._stretch_sites, _from(contig, starts[bad[0]]))

    def at_end(self) -> Misfit | None:
        """The first contig, or rest of half a stretch or more, or the whole, that does not fit."""
        found = [(count.n_wrong, count.n_sites, f"on {contig}") for contig, count in self._contigs.items()]
        rests = [
            (count.n_open_wrong, count.n_open, _from(contig, count.open_pos))
            for contig, count in self._contigs.items()
            if 2 * count.n_open >= self._stretch_sites
        ]
        whole = (sum(n_wrong for n_wrong, _, _ in found), self.n_sites, "")
        judged = (whole, *found, *rests)
        return next((Misfit(*row) for row in judged if row[1] >= self._few_sites and 2 * row[0] > row[1]), None)


class BuildCheck:
    """One file of variants held against one FASTA: `see` all its records, then `finish`."""

    def __init__(
        self, genome: Genome, name: str, header: Iterable[str] = (), *, published: str = "", few_sites: int = FEW_SITES
    ) -> None:
        """name: of the file, for messages. header: of the VCF. published: the build of a table that has no header."""
        header = list(header)
        self._genome, self._name, self._lengths = genome, name, header_lengths(header)
        self._theirs = published or build_of_header(header)
        self._says = "as published, it is of" if published else "its header says"
        self._counts = SiteCounts(few_sites=few_sites)
        self._seen: set[str] = set()
        self._n_records = 0

    def see(self, lines: pl.DataFrame) -> None:
        """Judge more records: columns chrom, pos (1-based), ref, alt as in `VcfChunk.lines`. Raises WrongBuildError."""
        self._n_records += lines.height
        names = set(lines["chrom"].unique())
        for chrom in sorted(names - self._seen):
            self._require_contig(chrom)
        self._seen |= names
        for contig, sites in self._sites(lines, names):
            alleles = Alleles.of(sites["pos"], sites["ref"], sites["ref"])
            is_same, has_n = agrees_with_reference(alleles, self._genome.bases(contig))
            if misfit := self._counts.add(contig, sites["pos"].to_numpy()[~has_n], ~is_same[~has_n]):
                raise self._error(misfit)

    def finish(self) -> None:
        """Judge contigs and the file as a whole. Raises WrongBuildError."""
        if misfit := self._counts.at_end():
            raise self._error(misfit)

    def _sites(self, lines: pl.DataFrame, names: set[str]) -> Iterator[tuple[str, pl.DataFrame]]:
        """Sites inside each of the FASTA's contigs, in the file's order."""
        resolved = {name: contig for name in names if (contig := self._genome.resolve(name)) is not None}
        sites = (
            lines.lazy()
            .filter(
                pl.col("chrom").is_in(list(resolved))
                & pl.col("ref").str.contains("^[ACGTacgt]+$")
                & pl.col("alt").str.contains("(^|,)[ACGTacgt]+(,|$)")
            )
            .select(pl.col("chrom").replace(resolved).alias("contig"), "pos", pl.col("ref").str.to_uppercase())
            .unique(maintain_order=True)
            .collect()
        )
        for (contig,), rows in sites.group_by("contig", maintain_order=True):
            end = pl.col("pos") - 1 + pl.col("ref").str.len_bytes().cast(pl.Int64)
            is_inside = (pl.col("pos") >= 1) & (pl.col("pos") <= self._genome.contigs[str(contig)])
            inside = rows.filter(is_inside).filter(end <= self._genome.contigs[str(contig)])  # the sum could overflow
            yield str(contig), inside

    def _require_contig(self, chrom: str) -> None:
        if message := name_contradiction(chrom, self._genome):
            raise WrongBuildError(f"{self._name} does not fit {self._genome.fasta}: {message}; {_advice(chrom)}")
        contig, length = self._genome.resolve(chrom), self._lengths.get(chrom)
        if contig is not None and length is not None and length != self._genome.contigs[contig]:
            raise WrongBuildError(
                f"{self._name} does not fit {self._genome.fasta}: its header says that {_sized(chrom, length)}, but "
                f"{_sized(contig, self._genome.contigs[contig])} in the FASTA; {_advice(chrom)}"
            )

    def _error(self, misfit: Misfit) -> WrongBuildError:
        ours = build_of(self._genome.contigs)
        is_of = f"the FASTA is {ours} by its contig lengths, " if ours else ""
        if self._theirs and self._theirs != ours:
            advice = (
                f"{self._says} {self._theirs}; use the FASTA of {self._theirs}, or a file of "
                f"{ours or 'the build of the FASTA'}"
            )
        elif self._theirs:
            advice = f"{self._says} so, too: were its positions lifted over wrongly, or REF and ALT exchanged?"
        else:
            advice = "nothing says which; use the FASTA of the build that its positions are of"
        return WrongBuildError(
            f"{self._name} does not fit {self._genome.fasta}: {misfit} have another REF than the bases of the FASTA "
            f"(after {self._n_records:,} records): it is probably of another genome build; {is_of}{advice}"
        )


def checked_chunks(chunks: Iterable[VcfChunk], genome: Genome, name: str) -> Iterator[VcfChunk]:
    """The chunks of a VCF, each judged before it is given out, and all of them at the end. Raises WrongBuildError."""
    check = None
    for chunk in chunks:
        check = check or BuildCheck(genome, name, chunk.header)
        check.see(chunk.lines)
        yield chunk
    if check:
        check.finish()


def name_contradiction(chrom: str, genome: Genome) -> str | None:
    """Why a contig's name is that of another build than the FASTA, in words; None where it is not."""
    namesake = genome.namesake(chrom)
    if namesake is None or genome.resolve(chrom) is not None:
        return None
    known = accession(chrom) or Accession("MT", None, None)
    is_mt = known.chromosome == "MT"
    what = "the mitochondrion" if is_mt else f"chromosome {known.chromosome}"
    of_build = f" of {known.build}" if known.build else "" if is_mt else " of a build that is not known here"
    other = " that is called MT today, 16,569 bp (rCRS)" if is_mt and known.length_bp is None else ""
    length = f" ({known.length_bp:,} bp)" if known.length_bp else other
    return f"{chrom} is {what}{of_build}{length}, but {_sized(namesake, genome.contigs[namesake])} in the FASTA"


def _sized(contig: str, length_bp: int) -> str:
    build = build_of({contig: length_bp})
    return f"{contig} has {length_bp:,} bp{f' ({build})' if build else ''}"


def _advice(chrom: str) -> str:
    if plain_name(chrom) == "MT":
        return f"use a FASTA with that mitochondrion, or leave its records out (bcftools view -t ^{chrom})"
    return "use the FASTA that the file was made with, or a file of the FASTA's build"


def _from(contig: str, pos: int) -> str:
    return f"on {contig} from {pos / 1e6:.2f} Mb on"
