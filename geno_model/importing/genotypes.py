"""What becomes of each row of an export beside a reference genome (spec 5).

Belongs here: chromosome names, kinds of genotype, strand, duplicates, and the one outcome of each row. Does not: the
export's text layout, whether the build fits, where one copy is expected (`ploidy`), VCF.

The concept: alleles are codes A 0, C 1, G 2, T 3, the complement of x is 3 - x, and all rows are judged at once.
Each row gets the first of these outcomes that holds:

    malformed              columns missing or too many, a genotype or (on a known contig) a position that is none
    no_call                no allele, or one of two, was called (-- 00 0 - A-)
    indel_code             I or D: the export does not say which bases
    contig_unknown         the FASTA has no such contig; a mitochondrial one of another length than 16,569 bp
    out_of_range           position 0, or beyond the contig's end
    ambiguous_reference    the FASTA has N there
    duplicate              an earlier row of the same position said the same
    conflicting_duplicate  rows of the same position disagree: none of them is used
    ref_mismatch           neither allele is the reference base, on either strand: a third allele
    hom_ref                all copies are the reference base
    written                one or two alternates

Strand: of a genotype of two alleles that are no complements of each other, exactly one strand's reading can hold any
given base; of one allele, at most one. These rows vote. The file is read on the strand with more votes, on plus where
fewer than `ENOUGH` rows vote, since all vendors say that they write plus. A row of two
different alleles that fits the other strand alone is flipped on its own. A/T and C/G pairs, which fit both or neither,
and one allele twice, which proves nothing alone, are read on the file's strand. When a person names the strand, nothing
is flipped on its own, and two alternates in one row are a record with both (1/2).
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Literal

import numpy as np
import polars as pl
from numpy.typing import NDArray

from geno_model.genomics.build_check import Misfit, SiteCounts
from geno_model.genomics.builds import MT_LENGTH_BP, plain_name
from geno_model.genomics.genome import Genome
from geno_model.importing.ploidy import CalledPlaces, Sex, single_copies

OUTCOMES = (
    "written", "hom_ref", "no_call", "indel_code", "duplicate", "conflicting_duplicate", "contig_unknown",
    "out_of_range", "ambiguous_reference", "ref_mismatch", "malformed",
)  # fmt: skip
"""Every row has exactly one."""

Strand = Literal["auto", "plus", "minus"]

ENOUGH = 20
"""Called genotypes beside known bases, from which on strand and build are told."""
# A stretch is longer than that of a VCF, since genotypes hold no REF: of the right build one in eight has two copies of
# the alternate, and more in a row where a person has the rarer form of an inversion (17q21.31, some 400 markers long).
# Of another build two in three do not fit.
_STRETCH_ROWS = 1_000
_CONTIG_ROWS = 100
_CODE = {name: np.uint8(index) for index, name in enumerate(OUTCOMES)}
_VENDOR_CONTIGS = {"XY": "X", "PAR": "X"}  # 23 to 26 are known to the genome
_PAR_NAMES = ("25", "XY", "PAR")
_UNKNOWN = 4
_BASE_CODES = np.full(256, _UNKNOWN, dtype=np.uint8)
_BASE_CODES[np.frombuffer(b"ACGT", dtype=np.uint8)] = np.arange(4, dtype=np.uint8)

_Codes = NDArray[np.uint8]


@dataclass(frozen=True, slots=True)
class Fit:
    """How the called genotypes lie beside the reference.

    n_compared: genotypes of bases at places where the FASTA has a base. n_plus, n_minus: of these, how many hold the
    reference base as written, and after complement; A/T and C/G pairs can do both. is_minus: the strand taken.
    """

    n_compared: int
    n_plus: int
    n_minus: int
    n_either: int
    is_minus: bool

    @property
    def n_fit(self) -> int:
        """How many hold the reference base on the strand taken."""
        return self.n_minus if self.is_minus else self.n_plus


@dataclass(frozen=True, slots=True)
class Judged:
    """The rows of an export, judged.

    outcome: index in `OUTCOMES` of each row. sites: rows whose outcome is written or hom_ref, sorted as the FASTA is:
    row i64 (0-based in the export), contig, pos i64 (1-based), ref, first and second (codes; second is first where
    there is one copy), is_haploid. n_flipped: how many of `sites` were complemented. notes: about copies. misfit: a
    stretch or a contig of which most genotypes do not hold the reference base, on the strand taken.
    """

    outcome: _Codes
    sites: pl.DataFrame
    fit: Fit
    n_flipped: int
    n_other_mt: int
    notes: list[str]
    misfit: Misfit | None

    def counts(self) -> dict[str, int]:
        """Number of rows with each outcome, in the order of `OUTCOMES`, zeros included."""
        counts = np.bincount(self.outcome, minlength=len(OUTCOMES))
        return {name: int(count) for name, count in zip(OUTCOMES, counts, strict=True)}


@dataclass(frozen=True, slots=True)
class _Placed:
    """Rows with called bases at a place where the FASTA has a base, sorted as the FASTA is; all arrays (n,).

    row: index in the export. contig: index among the FASTA's. pos: 1-based. ref, first, second: codes.
    """

    row: NDArray[np.int64]
    contig: NDArray[np.int64]
    pos: NDArray[np.int64]
    ref: _Codes
    first: _Codes
    second: _Codes
    is_haploid: NDArray[np.bool_]


def judge(
    rows: pl.DataFrame, genome: Genome, strand: Strand = "auto", sex: Sex = "auto", build: str | None = None
) -> Judged:
    """The outcome of every row. rows: `Export.rows`. build: of its positions, where it is known."""
    contig, is_other_mt = _contigs(rows["chrom"], genome)
    outcome, placed = _place(rows, contig, genome)
    is_said_par = rows["chrom"].str.to_uppercase().str.strip_prefix("CHR").is_in(_PAR_NAMES).fill_null(False).to_numpy()
    places = CalledPlaces(placed.contig, placed.pos, placed.first != placed.second, is_said_par[placed.row])
    is_single, notes = single_copies(places, list(genome.contigs), build, sex)
    placed = replace(placed, is_haploid=placed.is_haploid | is_single)
    fit = _fit(placed, strand)
    flips = _flips(placed, fit.is_minus, strand)
    first = np.where(flips, 3 - placed.first, placed.first)
    second = np.where(flips, 3 - placed.second, placed.second)
    verdict = _repeats(placed, first, second)
    is_single = verdict == _CODE["written"]
    verdict[is_single] = _verdict(first, second, placed.ref, strand)[is_single]
    outcome[placed.row] = verdict
    is_site = np.isin(verdict, (_CODE["written"], _CODE["hom_ref"]))
    columns = {
        "row": placed.row, "contig": np.array([*genome.contigs, ""])[placed.contig], "pos": placed.pos,
        "ref": placed.ref, "first": first, "second": second, "is_haploid": placed.is_haploid,
    }  # fmt: skip
    sites = pl.DataFrame({name: column[is_site] for name, column in columns.items()})
    n_flipped = int((flips & (first + second != 3) & is_site).sum())  # 3: a pair of complements, which stays the same
    n_other_mt = int((is_other_mt & (outcome == _CODE["contig_unknown"])).sum())
    misfit = _misfit(placed, fit.is_minus, genome)
    return Judged(outcome, sites, fit, n_flipped, n_other_mt, notes, misfit)


def _contigs(chroms: pl.Series, genome: Genome) -> tuple[NDArray[np.int64], NDArray[np.bool_]]:
    """Index of each row's contig in the FASTA, -1 where it has none; which rows lie on an MT of another length."""
    order = {name: index for index, name in enumerate(genome.contigs)}
    names = chroms.unique().drop_nulls().to_list()
    found: list[int] = []
    is_other_mt: list[bool] = []
    for name in names:
        code = _VENDOR_CONTIGS.get(plain_name(name.upper()), str(name))
        contig, namesake = genome.resolve(name) or genome.resolve(code), genome.namesake(code)
        is_mt = namesake is not None and plain_name(namesake) == "MT"
        is_other_mt.append(is_mt and genome.contigs[str(namesake)] != MT_LENGTH_BP)
        found.append(-1 if contig is None or is_other_mt[-1] else order[contig])
    table = pl.DataFrame(
        {"chrom": names, "contig": found, "is_other_mt": is_other_mt},
        schema={"chrom": pl.String, "contig": pl.Int64, "is_other_mt": pl.Boolean},
    )
    joined = chroms.alias("chrom").to_frame().join(table, on="chrom", how="left", maintain_order="left")
    return joined["contig"].fill_null(-1).to_numpy(), joined["is_other_mt"].fill_null(False).to_numpy()


def _place(rows: pl.DataFrame, contig: NDArray[np.int64], genome: Genome) -> tuple[_Codes, _Placed]:
    """The outcomes that need no genotype beside another: all of them but those of the rows that are placed."""
    genotype, text = rows["genotype"], rows["pos"].fill_null("")
    whole = text.str.extract(r"^0*(\d{1,18})$", 1).cast(pl.Int64)
    pos = whole.fill_null(0).to_numpy()
    lengths = np.array([*genome.contigs.values(), 0], dtype=np.int64)
    is_understood = genotype.str.contains(r"^[-0N?.ACGTDI]{0,2}$").fill_null(False) & ~rows["is_ragged"]
    reasons = (  # the last that holds wins
        ("out_of_range", (pos < 1) | (pos > lengths[contig])),
        ("contig_unknown", contig < 0),
        ("indel_code", genotype.str.contains(r"[DI]").fill_null(False).to_numpy()),
        ("no_call", genotype.str.contains(r"[-0N?.]|^$").fill_null(False).to_numpy()),
        ("malformed", ~is_understood.to_numpy() | ((contig >= 0) & whole.is_null().to_numpy())),
    )
    outcome = np.full(rows.height, _CODE["written"], dtype=np.uint8)
    for reason, holds in reasons:
        outcome[holds] = _CODE[reason]
    row = np.flatnonzero(outcome == _CODE["written"])
    row = row[np.lexsort((row, pos[row], contig[row]))]
    ref = _reference(genome, contig[row], pos[row])
    outcome[row[ref == _UNKNOWN]] = _CODE["ambiguous_reference"]
    row, ref = row[ref < _UNKNOWN], ref[ref < _UNKNOWN]
    return outcome, _Placed(row, contig[row], pos[row], ref, *_alleles(genotype.gather(row)))


def _reference(genome: Genome, contig: NDArray[np.int64], pos: NDArray[np.int64]) -> _Codes:
    """Codes of the FASTA's bases at sorted places."""
    names = list(genome.contigs)
    pieces = [np.empty(0, dtype=np.uint8)]
    for index in np.unique(contig):
        first, end = np.searchsorted(contig, [index, index + 1])
        pieces.append(_BASE_CODES[genome.bases(names[index])[pos[first:end] - 1]])
    return np.concatenate(pieces)


def _alleles(genotype: pl.Series) -> tuple[_Codes, _Codes, NDArray[np.bool_]]:
    """Codes of the one or two letters of each genotype; the first twice where there is one copy."""
    is_haploid = (genotype.str.len_bytes() == 1).to_numpy()
    letters = np.frombuffer((genotype + genotype).str.slice(0, 2).str.join("").item().encode(), dtype=np.uint8)
    codes = _BASE_CODES[letters].reshape(-1, 2)
    return codes[:, 0].copy(), codes[:, 1].copy(), is_haploid


def _fits(placed: _Placed) -> tuple[NDArray[np.bool_], NDArray[np.bool_]]:
    """Whether each genotype holds the reference base as written, and after complement."""
    as_written = (placed.first == placed.ref) | (placed.second == placed.ref)
    return as_written, (3 - placed.first == placed.ref) | (3 - placed.second == placed.ref)


def _fit(placed: _Placed, strand: Strand) -> Fit:
    plus, minus = _fits(placed)
    n_plus, n_minus = int(plus.sum()), int(minus.sum())  # pairs of complements are in both or in neither
    n_compared = len(placed.row)
    is_minus = n_compared >= ENOUGH and n_minus > n_plus if strand == "auto" else strand == "minus"
    return Fit(n_compared, n_plus, n_minus, int((plus | minus).sum()), is_minus)


def _misfit(placed: _Placed, is_minus: bool, genome: Genome) -> Misfit | None:
    """The first stretch or contig of which most genotypes do not hold the reference base."""
    is_wrong = ~_fits(placed)[int(is_minus)]
    counts, names = SiteCounts(_STRETCH_ROWS, _CONTIG_ROWS), list(genome.contigs)
    for index in np.unique(placed.contig):
        here = placed.contig == index
        if misfit := counts.add(names[index], placed.pos[here], is_wrong[here]):
            return misfit
    return counts.at_end()


def _flips(placed: _Placed, is_minus: bool, strand: Strand) -> NDArray[np.bool_]:
    """Which genotypes are complemented."""
    plus, minus = _fits(placed)
    ours, other = (minus, plus) if is_minus else (plus, minus)
    is_alone = (placed.first != placed.second) & ~ours & other & (strand == "auto")
    return is_alone ^ is_minus


def _repeats(placed: _Placed, first: _Codes, second: _Codes) -> _Codes:
    """duplicate, conflicting_duplicate, or written for a row that is neither; the order of alleles is none."""
    n_rows = len(first)
    verdict = np.full(n_rows, _CODE["written"], dtype=np.uint8)
    if not n_rows:
        return verdict
    is_new = np.ones(n_rows, dtype=np.bool_)
    is_new[1:] = (placed.contig[1:] != placed.contig[:-1]) | (placed.pos[1:] != placed.pos[:-1])
    starts = np.flatnonzero(is_new)
    genotype = np.minimum(first, second) * 8 + np.maximum(first, second) + placed.is_haploid * np.uint8(4)
    disagree = np.minimum.reduceat(genotype, starts) != np.maximum.reduceat(genotype, starts)
    verdict[~is_new] = _CODE["duplicate"]
    verdict[np.repeat(disagree, np.diff(np.append(starts, n_rows)))] = _CODE["conflicting_duplicate"]
    return verdict


def _verdict(first: _Codes, second: _Codes, ref: _Codes, strand: Strand) -> _Codes:
    is_hom_ref = (first == ref) & (second == ref)
    is_third = (first != second) & (first != ref) & (second != ref) & (strand == "auto")
    written = np.where(is_hom_ref, _CODE["hom_ref"], _CODE["written"])
    return np.where(is_third, _CODE["ref_mismatch"], written)
