"""Phased genotypes as distinct combinations of alleles (spec 3, `holdout-haplotypes`).

Belongs here: reading `|` genotypes of all samples at once, and the combinations that lie together on one haplotype.
Does not belong here: judging alleles (`variants`), choosing what is held out (`holdouts`).

Concept: a record's samples are one text. All samples of a chunk are parsed together as one array of bytes: where a
sample begins is where a tab ends, and the genotype is its first field. What a haplotype carries in one cell of a
1,000 bp grid is a column of bits; equal columns are one combination, counted. No sample's name or number is kept.

    sample   0|1:0.98:...        haplotype      0  1  2  3  4  5
             ^ ^                 allele A       .  x  x  .  x  .
             first, second       allele B       .  x  .  .  x  .      -> {A, B} carried by 2, {A} by 1 (no combination)
"""

from __future__ import annotations

from collections.abc import Collection
from pathlib import Path

import numpy as np
import polars as pl
from numpy.typing import NDArray

from data_contracts import PhasedHaplotypes
from geno_model.genomics.errors import InputError
from geno_model.genomics.genome import Genome
from geno_pipeline.build.holdouts import BLOCK_BP
from geno_pipeline.build.variants import KEY, Ledger, allele_chunks, in_contig_order, record_rows

MAX_EDITS = 8
MISSING = np.int8(-1)

_TAB, _COLON, _BAR, _ZERO, _NINE = (ord(char) for char in "\t:|09")


class GenotypeError(InputError):
    """Genotypes that cannot be read."""


def ingest_phased(
    path: Path, genome: Genome, contigs: Collection[str], block_bp: int = BLOCK_BP, *, source: str = "phased"
) -> tuple[pl.DataFrame, pl.DataFrame]:
    """Combinations of alleles that lie together on one haplotype within a cell of a `block_bp` grid.

    A genotype that is missing, not phased (`/`) or of one allele only counts as reference; of one that is half missing
    (`.|1`) the copy that is known counts. See `combinations` for what is a row. Memory holds the cells around the end
    of the file read so far, not the file.

    Args:
        path: VCF in the order of position, contig after contig; no index is needed.
        contigs: names in the FASTA; an allele elsewhere counts as `contig_unknown`.
        block_bp: size of a grid cell.

    Returns:
        PhasedHaplotypes frame (order: `contigs`, start_bp, end_bp) and VariantAccounting frame.

    Raises:
        InputError: the file is missing, damaged, no VCF, or of another build than the FASTA; or its records are not in
            the order of position, or without genotypes.
    """
    ledger, blocks = Ledger(source), _OpenBlocks(block_bp, str(path))
    found = []
    for chunk, alleles in allele_chunks(path, genome, contigs, n_columns=None):
        called = genotypes(chunk.lines["rest"], str(path)) if chunk.lines.height else np.empty((0, 0), dtype=np.int8)
        kept = ledger.count(alleles)
        carried = called[record_rows(chunk.lines, kept).to_numpy()] == kept["alt_index"].to_numpy()[:, None] + 1
        found += blocks.add(kept.select(*KEY, "vcf_pos", "vcf_ref"), carried, ledger)
    found += blocks.close(ledger)
    rows = pl.concat([PhasedHaplotypes.empty(), *found])
    return in_contig_order(rows.sort("start_bp", "end_bp", "edits"), contigs), ledger.table()


def genotypes(rest: pl.Series, source: str) -> NDArray[np.int8]:
    """Allele numbers of all haplotypes.

    Args:
        rest: FORMAT and samples of each record as one tab-separated text.
        source: the file's name, for errors.

    Returns:
        (records, 2 * samples): 0 reference, 1 first ALT, ...; -1 where the genotype is missing, unphased, of one allele
        only, or of an allele beyond the 99th. A record whose FORMAT does not begin with GT has -1 throughout.

    Raises:
        GenotypeError: no samples, or records with different numbers of samples.
    """
    n_tabs = rest.str.count_matches("\t", literal=True).fill_null(0).to_numpy()
    if rest.len() and (n_tabs.min() != n_tabs.max() or n_tabs[0] == 0):
        found = "no samples" if n_tabs.min() == 0 else f"{n_tabs.min()} to {n_tabs.max()} samples a record"
        raise GenotypeError(f"{source}: found {found}, expected one genotype a sample; give a VCF of phased genotypes")
    n_samples = int(n_tabs[0]) if rest.len() else 0
    # Three tabs at the end: the parser may look that far beyond the last sample.
    text = np.frombuffer(("\t".join(rest.fill_null("")) + "\t\t\t\t\t").encode(), dtype=np.uint8)
    tabs = np.flatnonzero(text == _TAB)[: rest.len() * (n_samples + 1)].reshape(rest.len(), n_samples + 1)
    start = tabs[:, :n_samples] + 1  # the tab after FORMAT, after sample 1, ..., then the one that joins two records
    first, bar = _number(text, start)
    second, end = _number(text, bar + 1)
    is_phased = (text[bar] == _BAR) & ((text[end] == _COLON) | (text[end] == _TAB))
    has_genotype = rest.str.contains(r"^GT(?:[:\t])").fill_null(False).to_numpy()
    called = np.stack([first, second], axis=-1).reshape(rest.len(), 2 * n_samples)
    return np.where(np.repeat(is_phased, 2, axis=1) & has_genotype[:, None], called, MISSING)


def _number(text: NDArray[np.uint8], start: NDArray[np.int64]) -> tuple[NDArray[np.int8], NDArray[np.int64]]:
    """Numbers of one or two digits at `start` (-1 where there is none), and where the text goes on after them."""
    units, tens = text[start], text[start + 1]
    is_number = (units >= _ZERO) & (units <= _NINE)
    is_two = is_number & (tens >= _ZERO) & (tens <= _NINE)
    value = np.where(is_two, (units.astype(np.int16) - _ZERO) * 10 + tens - _ZERO, units.astype(np.int16) - _ZERO)
    return np.where(is_number, value, MISSING).astype(np.int8), start + 1 + is_two


def combinations(alleles: pl.DataFrame, carried: NDArray[np.bool_], block_bp: int) -> pl.DataFrame:
    """Distinct combinations of two or more alleles that one haplotype carries in one cell of the grid.

    Args:
        alleles: contig, pos (1-based), ref, alt, and vcf_pos and vcf_ref as the file has them.
        carried: (alleles, haplotypes), which haplotype carries which allele.
        block_bp: size of a grid cell; an allele belongs to the cell of its first reference base.

    Returns:
        PhasedHaplotypes frame. A haplotype with more than eight alleles in a cell counts for its first eight. A
        combination of which two alleles overlap cannot be carried on one strand of DNA and is left out. So is one in
        which left alignment moved an allele over another: each alone is what the file says, the two together are not.
    """
    ordered = alleles.with_columns(cell=(pl.col("pos") - 1) // block_bp).with_row_index("source")
    ordered = ordered.sort("contig", "pos", "ref", "alt").with_row_index("allele")
    bits = carried[ordered["source"].to_numpy()]
    runs = ordered.select(pl.struct("contig", "cell").rle_id().alias("block"))["block"].to_numpy()
    bounds = np.concatenate([np.flatnonzero(np.diff(runs, prepend=-1)), [len(runs)]])
    parts = [_members(bits[a:b], a) for a, b in zip(bounds[:-1], bounds[1:], strict=True) if b - a >= 2]
    if not parts:
        return PhasedHaplotypes.empty()
    n_before = np.cumsum([0, *(len(counts) for _, _, counts in parts)])
    members = pl.DataFrame(
        {
            "combination": np.concatenate([part[0] + n for part, n in zip(parts, n_before[:-1], strict=True)]),
            "allele": np.concatenate([part[1] for part in parts]),
        }
    )
    counts = pl.DataFrame({"n": np.concatenate([part[2] for part in parts])}).with_row_index("combination")
    return _as_rows(members, counts, ordered)


def _members(bits: NDArray[np.bool_], first: int) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.int64]]:
    """Of one cell: (combination, allele) pairs in the order of the alleles, and the carriers of each combination."""
    rank = np.cumsum(bits, axis=0)
    bits = bits & (rank <= MAX_EDITS)
    several = bits[:, rank[-1] >= 2]
    packed = np.ascontiguousarray(np.packbits(several, axis=0).T)
    keys = packed.view(np.dtype((np.void, packed.shape[1]))).ravel()
    _, where, counts = np.unique(keys, return_index=True, return_counts=True)
    combination, allele = np.nonzero(several[:, where].T)
    return combination.astype(np.int64), allele.astype(np.int64) + first, counts.astype(np.int64)


def _as_rows(members: pl.DataFrame, counts: pl.DataFrame, alleles: pl.DataFrame) -> pl.DataFrame:
    """One row a combination, from its (combination, allele) pairs."""
    after = pl.col("pos") + pl.col("ref").str.len_bytes().cast(pl.Int64)
    vcf_after = pl.col("vcf_pos") + pl.col("vcf_ref").str.len_bytes().cast(pl.Int64)
    reach = pl.when(pl.col("pos") < pl.col("vcf_pos")).then(pl.max_horizontal(after, vcf_after)).otherwise(after)
    previous = pl.col("reach").cum_max().shift(1).over("combination")
    edit = pl.struct("pos", "ref", "alt")
    rows = (
        members.with_columns(pl.col("allele").cast(pl.UInt32))
        .join(
            alleles.select("allele", "contig", "pos", "ref", "alt", after=after, reach=reach),
            on="allele",
            maintain_order="left",
        )
        .with_columns(overlaps=(pl.col("pos") < previous).fill_null(False))
        .group_by("combination", maintain_order=True)
        .agg(
            pl.col("contig").first(),
            start_bp=pl.col("pos").first() - 1,
            end_bp=pl.col("after").max() - 1,
            k=pl.len().cast(pl.Int64),
            edits=edit,
            overlaps=pl.col("overlaps").any(),
        )
        .join(
            counts.select(pl.col("combination").cast(pl.Int64), n_carriers="n"), on="combination", maintain_order="left"
        )
        .filter(~pl.col("overlaps"))
    )
    return rows.select(PhasedHaplotypes.empty().columns).sort("contig", "start_bp", "end_bp", "edits")


class _OpenBlocks:
    """Alleles of the grid cells that later records may still add to."""

    def __init__(self, block_bp: int, path: str) -> None:
        self._block_bp, self._path = block_bp, path
        self._alleles: list[pl.DataFrame] = []
        self._carried: list[NDArray[np.bool_]] = []
        self._last: dict[str, int] = {}  # position of each contig's last record, as the VCF has it
        self._contig: str | None = None  # of the last record

    def add(self, alleles: pl.DataFrame, carried: NDArray[np.bool_], ledger: Ledger) -> list[pl.DataFrame]:
        """Take alleles in and return the combinations of all cells that are complete now."""
        if alleles.height == 0:
            return []
        self._require_order(alleles)
        self._alleles.append(alleles)
        self._carried.append(carried)
        contig, pos = alleles["contig"][-1], alleles["pos"][-1]
        # Left-alignment may move later alleles back, so one cell more than the last one stays open.
        open_from = ((pos - 1) // self._block_bp - 1) * self._block_bp + 1
        whole, bits = pl.concat(self._alleles), np.concatenate(self._carried)
        is_open = (whole["contig"] == contig) & (whole["pos"] >= open_from)
        self._alleles, self._carried = [whole.filter(is_open)], [bits[is_open.to_numpy()]]
        return self._combine(whole.filter(~is_open), bits[~is_open.to_numpy()], ledger)

    def close(self, ledger: Ledger) -> list[pl.DataFrame]:
        """Combinations of the cells that were still open."""
        if not self._alleles:
            return []
        return self._combine(pl.concat(self._alleles), np.concatenate(self._carried), ledger)

    def _require_order(self, alleles: pl.DataFrame) -> None:
        """Raise InputError unless the records go on where the last ones ended, contig after contig."""
        runs = alleles.with_columns(run=pl.col("contig").rle_id())
        for (_, contig), rows in runs.group_by("run", "contig", maintain_order=True):
            is_back = contig in self._last and contig != self._contig
            if is_back or rows["vcf_pos"][0] < self._last.get(str(contig), 0) or not rows["vcf_pos"].is_sorted():
                raise InputError(
                    f"{self._path}: records of {contig} are not in the order of position; sort the file: bcftools sort"
                )
            self._contig, self._last[str(contig)] = str(contig), rows["vcf_pos"][-1]

    def _combine(self, alleles: pl.DataFrame, carried: NDArray[np.bool_], ledger: Ledger) -> list[pl.DataFrame]:
        once = ledger.move_duplicates(alleles.with_row_index("row"))
        return [combinations(once.drop("row"), carried[once["row"].to_numpy()], self._block_bp)]
