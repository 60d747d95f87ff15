"""Every allele that was read is accounted for: the counts of all sources against the files themselves (spec 1).

Belongs here: putting together what reading each source counted, and comparing it with the input files.
Does not belong here: why an allele is left out (`geno_model.genomics.alleles`, `variants`).

Concept: the alleles of a file are counted a second time by a way that knows nothing of reasons: the number of entries
in its ALT column. So retained plus excluded equals read is a finding, not a definition.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from pathlib import Path

import polars as pl

from data_contracts import VariantAccounting
from geno_model.genomics.errors import InputError
from geno_model.genomics.vcf_reader import read_vcf_chunks

ELSEWHERE = "elsewhere"  # part of the contigs that the profile leaves out


class AccountingError(InputError):
    """Alleles of an input that are counted in no line, or in two."""


def parts_by_contig(
    accounting: pl.DataFrame, made: Collection[str], planned: Collection[str]
) -> dict[str, pl.DataFrame]:
    """The counts of one reading of a source, by the part that they are stored in.

    Args:
        accounting: VariantAccounting frame of all alleles in the source's files.
        made: contigs that this reading kept alleles of; each is a part, also when nothing lies on it.
        planned: all contigs of the profile.

    Returns:
        One frame for each contig in `made`, and one named `elsewhere` for contigs that are not planned. Lines of a
        contig that is planned but not made now are left out: its own reading counts them.
    """
    parts = {contig: accounting.filter(pl.col("contig") == contig) for contig in made}
    return parts | {ELSEWHERE: accounting.filter(~pl.col("contig").is_in(list(planned)))}


def count_alleles(paths: Iterable[Path]) -> int:
    """Number of alternate alleles in VCF files: entries of ALT, and 1 for a record without any."""
    chunks = (chunk.lines["alt"] for path in paths for chunk in read_vcf_chunks(path, n_columns=8))
    return sum(int((alt.str.count_matches(",", literal=True) + 1).sum()) for alt in chunks)


def require_all_counted(accounting: pl.DataFrame, n_read: Mapping[str, int]) -> None:
    """Compare the counts with the number of alleles in each source's files.

    Args:
        accounting: VariantAccounting frame of all sources.
        n_read: alleles in the files of each source.

    Raises:
        AccountingError: a source of which retained plus excluded is not the number read.
    """
    counted = dict(accounting.group_by("source").agg(pl.col("n_alleles").sum()).iter_rows())
    wrong = [
        f"{source}: {counted.get(source, 0):,} alleles are accounted for, its files hold {n:,}"
        for source, n in n_read.items()
        if counted.get(source, 0) != n
    ]
    if wrong:
        raise AccountingError(f"{'; '.join(wrong)}. If a file has changed, make the variants of all contigs again.")


def in_order(parts: Iterable[pl.DataFrame]) -> pl.DataFrame:
    """All parts as one VariantAccounting frame, in the order of source, contig and reason."""
    return pl.concat([VariantAccounting.empty(), *parts]).sort("source", "contig", "reason")
