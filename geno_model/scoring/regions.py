"""Parts of the genome that a run is restricted to: `--regions` and `--regions-file` (spec 5).

Belongs here: reading regions, and which records of a VCF touch them. Does not: reading the VCF.

    chr1:1,000-2,000   1-based, both ends included, as bcftools has it; chr1:1000 is one base, chr1 the whole contig
    BED                0-based, half-open, tab-separated; further columns are ignored

A record belongs to the regions if a base of its REF does. Contigs may be spelled as the FASTA or the VCF spells them.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import polars as pl
from numpy.typing import NDArray

from geno_model.genomics.errors import InputError
from geno_model.genomics.genome import Genome

_REGION = re.compile(r"^(?P<contig>\S+?)(?::(?P<first>[\d,]+)(?:-(?P<last>[\d,]+)?)?)?$")


class RegionError(InputError):
    """A text or a file that says no region of this genome."""


class Regions:
    """United spans (0-based, half-open) on the contigs of a genome."""

    def __init__(self, spans: pl.DataFrame, genome: Genome) -> None:
        """spans: contig (the genome's names), start_bp, end_bp; in any order, overlaps allowed."""
        self._genome = genome
        self._spans: dict[str, tuple[NDArray[np.int64], NDArray[np.int64]]] = {}
        for (contig,), rows in spans.sort("start_bp").group_by("contig"):
            start, end = rows["start_bp"].to_numpy(), np.maximum.accumulate(rows["end_bp"].to_numpy())
            is_first = np.append(True, start[1:] > end[:-1])
            self._spans[str(contig)] = start[is_first], end[np.append(is_first[1:], True)]

    @classmethod
    def read(cls, texts: Sequence[str], bed: Path | None, genome: Genome) -> Regions | None:
        """The union of all regions of texts and of a BED file; None where neither is given.

        Raises `RegionError` for a text or line that is no region, and for a contig that the FASTA lacks.
        """
        rows = [_parse(text, genome) for text in texts]
        if bed is not None:
            rows += _read_bed(bed, genome)
        if not texts and bed is None:
            return None
        if not rows:
            raise RegionError(f"{bed} holds no regions; expected lines of contig, start and end")
        return cls(
            pl.DataFrame(rows, schema={"contig": pl.String, "start_bp": pl.Int64, "end_bp": pl.Int64}, orient="row"),
            genome,
        )

    def filter(self, lines: pl.DataFrame) -> pl.DataFrame:
        """The records (`VcfChunk.lines`) that touch the regions, in their order."""
        is_in = np.zeros(lines.height, dtype=bool)
        numbered = lines.select("chrom", "pos", pl.col("ref").str.len_bytes().alias("n_bases")).with_row_index("_row")
        for (chrom,), rows in numbered.group_by("chrom"):
            spans = self._spans.get(self._genome.resolve(str(chrom)) or "")
            if spans is not None:
                begin = rows["pos"].to_numpy() - 1
                end = begin + np.maximum(rows["n_bases"].to_numpy().astype(np.int64), 1)
                nearest = np.searchsorted(spans[1], begin, side="right")  # the first span that ends behind `begin`
                is_in[rows["_row"].to_numpy()] = np.append(spans[0], np.iinfo(np.int64).max)[nearest] < end
        return lines.filter(pl.Series(is_in))

    @property
    def identity(self) -> list[list[object]]:
        """The spans as plain values, in order."""
        return [
            [contig, *map(int, span)]
            for contig in sorted(self._spans)
            for span in zip(*self._spans[contig], strict=True)
        ]


def _parse(text: str, genome: Genome) -> tuple[str, int, int]:
    found = _REGION.match(text.strip())
    whole = genome.resolve(text.strip())  # names such as HLA-A*01:01 hold a colon
    if whole is not None:
        return whole, 0, genome.contigs[whole]
    if found is None or found["first"] is None or not found["first"].strip(","):
        raise RegionError(
            f"region {text!r} is none of this FASTA; expected contig, contig:position or contig:first-last"
        )
    contig = _contig(found["contig"], genome, f"region {text!r}")
    first = int(found["first"].replace(",", ""))
    is_open = text.strip().endswith("-")
    last = int(found["last"].replace(",", "")) if found["last"] else genome.contigs[contig] if is_open else first
    if not 1 <= first <= last:
        raise RegionError(
            f"region {text!r}: expected 1 <= first <= last, found {first} and {last} (positions are 1-based)"
        )
    return contig, first - 1, last


def _read_bed(bed: Path, genome: Genome) -> list[tuple[str, int, int]]:
    try:
        lines = bed.read_text(encoding="utf-8").splitlines()
    except FileNotFoundError:
        raise RegionError(f"regions file not found: {bed}; check the path") from None
    except (OSError, UnicodeDecodeError) as error:
        raise RegionError(
            f"regions file {bed} cannot be read as text ({error}); give a BED file, not compressed"
        ) from None
    rows = []
    for number, line in enumerate(lines, start=1):
        if not line.strip() or line.startswith(("#", "track", "browser")):
            continue
        fields = line.split("\t") if "\t" in line else line.split()
        where = f"{bed}, line {number}"
        if len(fields) < 3 or not (fields[1].isdigit() and fields[2].isdigit()) or int(fields[1]) >= int(fields[2]):
            raise RegionError(
                f"{where} is no line of a BED; expected contig, start and a larger end, 0-based half-open"
            )
        rows.append((_contig(fields[0], genome, where), int(fields[1]), int(fields[2])))
    return rows


def _contig(name: str, genome: Genome, where: str) -> str:
    if (found := genome.resolve(name)) is None:
        raise RegionError(f"{where}: {genome.fasta} has no contig {name}; it has {genome.contigs_in_words}")
    return found
