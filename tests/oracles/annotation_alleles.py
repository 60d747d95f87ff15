"""Alleles and annotation that the oracles of `overlap` and `csq` look at.

Belongs here: the retained alleles of a VCF, alleles made up around given places, what an allele changes (written once
more, plainly), and our own answer. Does not: an oracle's answer or any comparison.
`pos` is 1-based (VCF), everything else is 0-based half-open.
"""

from __future__ import annotations

import os
from collections.abc import Iterable
from pathlib import Path

import numpy as np
import polars as pl

from geno_model.genomics.alleles import left_align, to_alleles
from geno_model.genomics.context import Context
from geno_model.genomics.genome import Genome
from geno_model.genomics.vcf_reader import read_vcf_chunks

KEY = ["contig", "pos", "ref", "alt"]
LONGEST_CHANGE_BP = 6
_BASES = np.array(list("ACGT"))


def retained_alleles(vcf: Path, genome: Genome) -> pl.DataFrame:
    """contig, pos, ref, alt of the alleles of a VCF that the pipeline keeps, each once, sorted."""
    parts = [to_alleles(chunk.lines, genome) for chunk in read_vcf_chunks(vcf, n_columns=8)]
    alleles = pl.concat(parts).filter(pl.col("reason").is_null()).select(KEY)
    return alleles.unique().sort(KEY)


def possible_snvs(contig: str, places: Iterable[int], genome: Genome) -> pl.DataFrame:
    """All three SNVs at each 0-based place whose base is known."""
    bases = genome.bases(contig)
    rows = []
    for place in sorted(set(places)):
        ref = chr(bases[place])
        rows += [(contig, place + 1, ref, alt) for alt in "ACGT" if alt != ref and ref != "N"]
    return _frame(rows).sort(KEY)


def random_changes(contig: str, places: Iterable[int], genome: Genome, n: int, seed: int = 0) -> pl.DataFrame:
    """At most n insertions, deletions, MNVs and unequal replacements of 1 to 6 bp at the 0-based places, left-aligned.

    Those that meet an unknown base or change nothing are left out, and of equal ones all but one.
    """
    bases, rng, choices = genome.bases(contig), np.random.default_rng(seed), np.array(sorted(set(places)))
    rows = []
    for place in rng.choice(choices, n).tolist():
        replaced, new = int(rng.integers(1, LONGEST_CHANGE_BP + 1)), int(rng.integers(1, LONGEST_CHANGE_BP + 1))
        inserted = "".join(rng.choice(_BASES, new))
        kind = rng.integers(4)
        start, end = (place, place + (new if kind == 2 else replaced)) if kind >= 2 else (place - 1, place)
        end += replaced if kind == 1 else 0
        ref = bases[start:end].tobytes().decode()
        rows.append((contig, start + 1, ref, (ref + inserted, ref[0], inserted, inserted)[kind]))
    changes = _frame(rows).filter(~pl.col("ref").str.contains("N") & (pl.col("ref") != pl.col("alt")))
    return left_align(changes, genome).select(KEY).unique().sort(KEY)


def alleles_at(contig: str, places: Iterable[int], length: int) -> pl.DataFrame:
    """Around each 0-based place: SNVs, insertions and deletions of 1 to 4 bp whose bases are invented.

    For look-ups of places alone, which never read the reference. length: of the contig; what leaves it is left out.
    """
    rows = []
    for start in sorted({place + shift for place in places for shift in (-2, -1, 0, 1, 2)}):
        rows += [(contig, start + 1, "A", "C"), (contig, start, "A", "AC")]
        rows += [(contig, start, "A" + "C" * n, "A") for n in (1, 2, 4)]
    alleles = _frame(rows)
    is_inside = (pl.col("pos") > 0) & (pl.col("pos") + pl.col("ref").str.len_bytes() - 1 <= length)
    return alleles.filter(is_inside).unique().sort(KEY)


def changed_span(pos: int, ref: str, alt: str) -> tuple[int, int]:
    """0-based half-open span that an allele changes, shared bases trimmed, left end first; empty: an insertion."""
    left = len(os.path.commonprefix([ref, alt]))
    right = len(os.path.commonprefix([ref[left:][::-1], alt[left:][::-1]]))
    return pos - 1 + left, pos - 1 + len(ref) - right


def with_spans(alleles: pl.DataFrame) -> pl.DataFrame:
    """The alleles with start_bp, end_bp of what they change."""
    spans = [changed_span(*row) for row in alleles.select("pos", "ref", "alt").iter_rows()]
    start, end = ([span[side] for span in spans] for side in (0, 1))
    return alleles.with_columns(pl.Series("start_bp", start, dtype=pl.Int64), pl.Series("end_bp", end, dtype=pl.Int64))


def annotated(context: Context, alleles: pl.DataFrame) -> pl.DataFrame:
    """The alleles with our region_class and repeat_class; the window is one base, its GC is not looked at."""
    windows = alleles.with_columns((pl.col("pos") - 1).alias("window_start_bp"), pl.col("pos").alias("window_end_bp"))
    return context.annotate(windows).drop("window_start_bp", "window_end_bp", "gc")


def _frame(rows: list[tuple[str, int, str, str]]) -> pl.DataFrame:
    schema = {"contig": pl.String, "pos": pl.Int64, "ref": pl.String, "alt": pl.String}
    return pl.DataFrame(rows, schema=schema, orient="row")
