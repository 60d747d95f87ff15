"""What the readers of variant files share: every allele accounted for (spec 1, 3).

Belongs here: a file as chunks of alleles, the ledger of what became of them, the table that comes of it.
Does not belong here: which INFO fields mean what (`gnomad`, `clinvar`), genotypes (`panel`), and reading VCF text and
normalising alleles (`geno_model.genomics`).

Concept: a file is streamed in chunks; of each chunk the alleles that are kept are put aside and all are counted. So
retained plus excluded equals the number of alleles in the file, whatever happened to them. An allele that an earlier
record of the same source gave already is a `duplicate`; the first one counts.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator

import polars as pl

from data_contracts import VariantAccounting
from data_contracts.variant_accounting import RETAINED
from geno_model.genomics.alleles import account, to_alleles
from geno_model.genomics.build_check import checked_chunks
from geno_model.genomics.genome import Genome
from geno_model.genomics.vcf_reader import VcfChunk

KEY = ["contig", "pos", "ref", "alt"]
CONTRADICTORY = "contradictory"  # see `OF_THE_PIPELINE`


class Ledger:
    """Counts of alleles by contig and reason."""

    def __init__(self, source: str) -> None:
        self._source = source
        self._parts: list[pl.DataFrame] = []

    def count(self, alleles: pl.DataFrame) -> pl.DataFrame:
        """Count all alleles by their `reason`, and return those that are retained."""
        self._parts.append(account(alleles, self._source))
        return alleles.filter(pl.col("reason").is_null())

    def move(self, alleles: pl.DataFrame, reason: str, before: str = RETAINED) -> None:
        """Count alleles that were counted under `before` under `reason` instead."""
        moved = alleles.group_by("contig").agg(n_alleles=pl.len().cast(pl.Int64))
        line = moved.select(source=pl.lit(self._source), contig="contig", reason=pl.lit(reason), n_alleles="n_alleles")
        self._parts += [line, line.with_columns(reason=pl.lit(before), n_alleles=-pl.col("n_alleles"))]

    def move_duplicates(self, alleles: pl.DataFrame) -> pl.DataFrame:
        """The retained alleles without those that are there already; these are counted as `duplicate` instead.

        Sorted by KEY, in which equal rows are neighbours; the first of them as they came stays.
        """
        ordered = alleles.sort(KEY, maintain_order=True)
        is_first = ordered.select(
            pl.any_horizontal(pl.col(name).ne_missing(pl.col(name).shift(1)) for name in KEY).alias("is_first")
        )["is_first"]
        if not is_first.all():
            self.move(ordered.filter(~is_first), "duplicate")
        return ordered.filter(is_first)

    def table(self) -> pl.DataFrame:
        """VariantAccounting frame in the order of contig and reason."""
        parts = [part.select(VariantAccounting.empty().columns).cast({"n_alleles": pl.Int64}) for part in self._parts]
        total = (
            pl.concat([VariantAccounting.empty(), *parts])
            .group_by("source", "contig", "reason")
            .agg(pl.col("n_alleles").sum())
        )
        return total.filter(pl.col("n_alleles") > 0).sort("source", "contig", "reason")


def allele_chunks(
    chunks: Iterable[VcfChunk], genome: Genome, contigs: Collection[str], name: str
) -> Iterator[tuple[VcfChunk, pl.DataFrame]]:
    """A file's records and their alleles, chunk by chunk, in the order of the file.

    name: of the file, for messages.
    Raises WrongBuildError, also at the end, for a file of another build; and what reading the chunks raises.
    """
    for chunk in checked_chunks(chunks, genome, name):
        yield chunk, to_alleles(chunk.lines, genome, contigs=set(contigs), pass_only=True, mark_duplicates=False)


def record_rows(lines: pl.DataFrame, alleles: pl.DataFrame) -> pl.Series:
    """The row of each allele's record in the `lines` of its chunk."""
    return alleles["record"] - (lines["record"][0] if lines.height else 0)


def in_contig_order(frame: pl.DataFrame, contigs: Collection[str]) -> pl.DataFrame:
    """The rows by the order of `contigs`, otherwise as they were."""
    rank = pl.col("contig").replace_strict(
        list(contigs), list(range(len(contigs))), default=None, return_dtype=pl.Int64
    )
    return frame.sort(rank, maintain_order=True)
