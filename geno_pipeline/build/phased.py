"""Phased genotypes as distinct combinations of alleles (spec 3, `holdout-haplotypes`).

Belongs here: the combinations of alleles that lie together on one chromosome copy.
Does not belong here: reading genotypes (`panel`), judging alleles (`variants`), choosing what is held out (`holdouts`).

Concept: what the copies carry in one cell of a 1,000 bp grid is a matrix of bits, a row an allele and a column a copy.
Equal columns are counted once. A combination holds all that the panel has on its copy from its first allele to its
last; so a row of `breaks` parts it wherever a copy is not known or carries an allele that is not kept, and one of more
than eight alleles is cut at its widest gap. No sample's name or number is kept.

    genotypes  0|1  1|0  .|1          copy        0  1  2  3  4  5
    allele A                          A           .  x  x  .  .  x
    B, too long (here S2: 1|0)        break       .  .  x  .  x  .
    allele C                          C           .  x  x  .  x  x     -> {A, C} on two copies; copy 2 has B between
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
from geno_pipeline.build.panel import ABSENT, panel_chunks
from geno_pipeline.build.variants import KEY, Ledger, allele_chunks, in_contig_order, record_rows

MAX_EDITS = 8
_FEWEST_EDITS = 2
_RUN = ["copy", "run"]  # of `_as_rows`: distinct columns of bits, and the parts of each between breaks


def ingest_phased(
    path: Path, genome: Genome, contigs: Collection[str], block_bp: int = BLOCK_BP, *, source: str = "phased"
) -> tuple[pl.DataFrame, pl.DataFrame]:
    """Combinations of alleles that lie together on one chromosome copy within a cell of a `block_bp` grid.

    Which copies are known is said in `panel_chunks`; see `combinations` for what is a row. A sample that has one copy
    here and two there (the border of a pseudo-autosomal region) has no combination across: nobody knows which of the
    two goes on. Memory holds the cells around the end of the file read so far, not the file.

    Args:
        path: VCF or BCF in the order of position, contig after contig; no index is needed.
        contigs: names in the FASTA; an allele elsewhere counts as `contig_unknown`.
        block_bp: size of a grid cell.

    Returns:
        PhasedHaplotypes frame (order: `contigs`, start_bp, end_bp) and VariantAccounting frame.

    Raises:
        InputError: the file is missing, damaged, no VCF, or of another build than the FASTA; its records are not in
            the order of position; or its genotypes cannot be read.
    """
    ledger, blocks = Ledger(source), _OpenBlocks(block_bp, str(path))
    found: list[pl.DataFrame] = []
    had_one = None
    for chunk, alleles in allele_chunks(panel_chunks(path), genome, contigs, str(path)):
        called = chunk.lines["called"].to_numpy()
        is_broken, had_one = _breaks(called, record_rows(chunk.lines, alleles), alleles, had_one)
        ledger.count(alleles)
        judged = alleles.with_columns(record_rows(chunk.lines, alleles).alias("row"))
        found += blocks.add(*_rows_of_bits(judged.filter(pl.col("contig").is_in(contigs)), called, is_broken), ledger)
    found += blocks.close(ledger)
    rows = pl.concat([PhasedHaplotypes.empty(), *found])
    return in_contig_order(rows.sort("start_bp", "end_bp", "edits"), contigs), ledger.table()


def _breaks(
    called: NDArray[np.int16], rows: pl.Series, alleles: pl.DataFrame, had_one: NDArray[np.bool_] | None
) -> tuple[NDArray[np.bool_], NDArray[np.bool_]]:
    """(records, copies): at which records it is unknown what a copy is or goes on as; and who has one copy at the last.

    rows: the record of each allele. had_one: (samples,), who had one copy at the record before.
    """
    is_told = (called == 0) | (called == ABSENT)
    is_plain = (alleles["reason"].is_null() | (alleles["reason"] == "no_alt")).to_numpy()
    place, row = alleles["alt_index"].to_numpy(), rows.to_numpy()
    for number in range(place.max(initial=-1) + 1):
        here = row[is_plain & (place == number)]
        is_told[here] |= called[here] == number + 1
    has_one = called[:, 1::2] == ABSENT
    before = np.concatenate([has_one[:1] if had_one is None else had_one[None], has_one[:-1]])
    return ~is_told | np.repeat(has_one != before, 2, axis=1), has_one[-1]


def _rows_of_bits(
    alleles: pl.DataFrame, called: NDArray[np.int16], is_broken: NDArray[np.bool_]
) -> tuple[pl.DataFrame, NDArray[np.bool_]]:
    """What `combinations` takes: the kept alleles, then the breaks.

    alleles: as `to_alleles` gives them, kept or not, and row (of `called`). A break stands where its record does, and
    where alleles of it were aligned to.
    """
    kept = alleles.filter(pl.col("reason").is_null())
    places = pl.concat([alleles.select("row", "contig", pos="vcf_pos"), kept.select("row", "contig", "pos")])
    breaks = places.unique(maintain_order=True).filter(pl.col("row").is_in(np.flatnonzero(is_broken.any(axis=1))))
    rows = pl.concat(
        [
            kept.select(*KEY, "vcf_pos", "vcf_ref", is_break=pl.lit(False)),
            breaks.select(
                "contig", "pos", ref=pl.lit(""), alt=pl.lit(""), vcf_pos="pos", vcf_ref=pl.lit(""), is_break=True
            ),
        ]
    )
    carried = called[kept["row"].to_numpy()] == kept["alt_index"].to_numpy()[:, None] + 1
    return rows, np.concatenate([carried, is_broken[breaks["row"].to_numpy()]])


def combinations(alleles: pl.DataFrame, carried: NDArray[np.bool_], block_bp: int) -> pl.DataFrame:
    """Distinct combinations of two to eight alleles that one copy carries together in one cell of the grid.

    A combination is all that a copy carries from the first of these alleles to the last. What a copy carries in a cell
    is parted at its breaks; a part of more than eight alleles is cut at its widest gap, of two the first, so that two
    alleles or more stay on either side, and again until each has eight at most.

    Args:
        alleles: contig, pos (1-based), ref, alt, and vcf_pos and vcf_ref as the file has them; is_break: the row is no
            allele, and its bits tell on which copies nothing before it goes together with what is after it.
        carried: (alleles, copies), which copy carries which allele.
        block_bp: size of a grid cell; an allele belongs to the cell of its first reference base.

    Returns:
        PhasedHaplotypes frame. A part in which two alleles overlap cannot be carried on one strand of DNA and is left
        out. So is one in which left alignment moved an allele over another: each alone is what the file says, the two
        together are not.
    """
    ordered = alleles.with_columns(cell=(pl.col("pos") - 1) // block_bp).with_row_index("source")
    ordered = ordered.sort("contig", "pos", ~pl.col("is_break"), "ref", "alt").with_row_index("allele")
    bits = carried[ordered["source"].to_numpy()]
    runs = ordered.select(pl.struct("contig", "cell").rle_id().alias("block"))["block"].to_numpy()
    bounds = np.concatenate([np.flatnonzero(np.diff(runs, prepend=-1)), [len(runs)]])
    parts = [_members(bits[a:b], a) for a, b in zip(bounds[:-1], bounds[1:], strict=True) if b - a >= _FEWEST_EDITS]
    if not parts:
        return PhasedHaplotypes.empty()
    n_before = np.cumsum([0, *(len(counts) for _, _, counts in parts)])
    members = pl.DataFrame(
        {
            "copy": np.concatenate([part[0] + n for part, n in zip(parts, n_before[:-1], strict=True)]),
            "allele": np.concatenate([part[1] for part in parts]),
        }
    )
    counts = pl.DataFrame({"n": np.concatenate([part[2] for part in parts])}).with_row_index("copy")
    return _as_rows(members, counts, ordered)


def _members(bits: NDArray[np.bool_], first: int) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.int64]]:
    """Of one cell: (copy, row) pairs in the order of the rows, and how many copies are alike in all of the cell."""
    several = bits[:, bits.sum(axis=0) >= _FEWEST_EDITS]
    packed = np.ascontiguousarray(np.packbits(several, axis=0).T)
    keys = packed.view(np.dtype((np.void, packed.shape[1]))).ravel()
    _, where, counts = np.unique(keys, return_index=True, return_counts=True)
    copy, row = np.nonzero(several[:, where].T)
    return copy.astype(np.int64), row.astype(np.int64) + first, counts.astype(np.int64)


def _as_rows(members: pl.DataFrame, counts: pl.DataFrame, alleles: pl.DataFrame) -> pl.DataFrame:
    """One row a combination, from (copy, row) pairs and the number of copies that are alike."""
    after = pl.col("pos") + pl.col("ref").str.len_bytes().cast(pl.Int64)
    vcf_after = pl.col("vcf_pos") + pl.col("vcf_ref").str.len_bytes().cast(pl.Int64)
    reach = pl.when(pl.col("pos") < pl.col("vcf_pos")).then(pl.max_horizontal(after, vcf_after)).otherwise(after)
    facts = alleles.select("allele", "contig", "pos", "ref", "alt", "is_break", after=after, reach=reach)
    carried = (
        members.with_columns(pl.col("allele").cast(pl.UInt32))
        .join(facts, on="allele", maintain_order="left")
        .with_columns(run=pl.col("is_break").cum_sum().over("copy"))
        .filter(~pl.col("is_break"))
        .with_columns(gap=pl.col("pos") - pl.col("reach").cum_max().shift(1).over(_RUN))
        .filter(~(pl.col("gap") < 0).any().over(_RUN))
    )
    part = _cut(carried.select(pl.struct(_RUN).rle_id())["copy"].to_numpy(), carried["gap"].fill_null(0).to_numpy())
    edit = pl.struct("pos", "ref", "alt")
    combined = (
        carried.with_columns(pl.Series("part", part))
        .group_by("part", maintain_order=True)
        .agg(
            pl.col("copy", "contig").first(),
            start_bp=pl.col("pos").first() - 1,
            end_bp=pl.col("after").max() - 1,
            k=pl.len().cast(pl.Int64),
            edits=edit,
            key=pl.col("allele").cast(pl.String).str.join(","),
        )
        .filter(pl.col("k") >= _FEWEST_EDITS)
        .join(counts.select(pl.col("copy").cast(pl.Int64), "n"), on="copy", maintain_order="left")
        .group_by("key", maintain_order=True)
        .agg(pl.col("contig", "start_bp", "end_bp", "k", "edits").first(), n_carriers=pl.col("n").sum())
    )
    return combined.select(PhasedHaplotypes.empty().columns).sort("contig", "start_bp", "end_bp", "edits")


def _cut(run: NDArray[np.unsignedinteger], gap: NDArray[np.int64]) -> NDArray[np.int64]:
    """Numbers of runs, in order, after those of more than MAX_EDITS members are cut at their widest gap.

    Args:
        run: (members,) number of each one's run, in order. gap: bp of each one from the member before it in the run.
    """
    while run.size:
        starts = np.flatnonzero(np.diff(run.astype(np.int64), prepend=-1))
        sizes = np.diff(starts, append=len(run))
        if sizes.max() <= MAX_EDITS:
            break
        size, place = np.repeat(sizes, sizes), np.arange(len(run)) - np.repeat(starts, sizes)
        is_open = (size > MAX_EDITS) & (place >= _FEWEST_EDITS) & (place <= size - _FEWEST_EDITS)
        width = np.where(is_open, gap, -1)
        is_widest = is_open & (width == np.repeat(np.maximum.reduceat(width, starts), sizes))
        rank = np.cumsum(is_widest)
        is_first = is_widest & (rank - np.repeat(rank[starts] - is_widest[starts], sizes) == 1)
        is_first[starts] = True
        run = np.cumsum(is_first)
    return run.astype(np.int64)


class _OpenBlocks:
    """Alleles and breaks of the grid cells that later records may still add to."""

    def __init__(self, block_bp: int, path: str) -> None:
        self._block_bp, self._path = block_bp, path
        self._rows: list[pl.DataFrame] = []
        self._bits: list[NDArray[np.bool_]] = []
        self._last: dict[str, int] = {}  # position of each contig's last record, as the VCF has it
        self._contig: str | None = None  # of the last record

    def add(self, rows: pl.DataFrame, bits: NDArray[np.bool_], ledger: Ledger) -> list[pl.DataFrame]:
        """Take rows in and return the combinations of all cells that are complete now."""
        self._rows.append(rows)
        self._bits.append(bits)
        if rows.is_empty():
            return []
        alleles = rows.filter(~pl.col("is_break"))
        self._require_order(alleles)
        last = rows if alleles.is_empty() else alleles
        contig, pos = last["contig"][-1], last["pos"][-1]
        # Left-alignment may move later alleles back, so one cell more than the last one stays open.
        open_from = ((pos - 1) // self._block_bp - 1) * self._block_bp + 1
        whole, bits = pl.concat(self._rows), np.concatenate(self._bits)
        is_open = (whole["contig"] == contig) & (whole["pos"] >= open_from)
        self._rows, self._bits = [whole.filter(is_open)], [bits[is_open.to_numpy()]]
        return self._combine(whole.filter(~is_open), bits[~is_open.to_numpy()], ledger)

    def close(self, ledger: Ledger) -> list[pl.DataFrame]:
        """Combinations of the cells that were still open."""
        return self._combine(pl.concat(self._rows), np.concatenate(self._bits), ledger) if self._rows else []

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

    def _combine(self, rows: pl.DataFrame, bits: NDArray[np.bool_], ledger: Ledger) -> list[pl.DataFrame]:
        numbered = rows.with_row_index("row")
        once = ledger.move_duplicates(numbered.filter(~pl.col("is_break")))
        both = pl.concat([once, numbered.filter("is_break")])
        return [combinations(both.drop("row"), bits[both["row"].to_numpy()], self._block_bp)]
