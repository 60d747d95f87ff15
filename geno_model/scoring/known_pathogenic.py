"""Alleles that the release's ClinVar calls pathogenic or likely so, and what a person is told about them (spec 5).

Belongs here: which alleles they are, whether a genotype carries them, the advice. Does not: scores, which do not depend
on it.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import polars as pl

from geno_model.genomics.build_check import BuildCheck
from geno_model.genomics.genome import Genome

PATHOGENIC = "clinvar_pathogenic.parquet"
_KEY = ("contig", "pos", "ref", "alt")
_COLUMN = "clinvar_pathogenic"
IS_CARRIED = "is_carried"


class KnownPathogenicWarning(UserWarning):
    """A variant that a program asks about is pathogenic or likely so in ClinVar."""


@dataclass(frozen=True, slots=True)
class KnownPathogenic:
    """How many known P/LP alleles a sample carries, and of how many that is unknown, for want of genotypes."""

    n_carried: int = 0
    n_unknown: int = 0

    @classmethod
    def count(cls, known: pl.DataFrame) -> KnownPathogenic:
        """Of rows of `known_alleles`."""
        return cls(int(known[IS_CARRIED].sum()), known[IS_CARRIED].null_count())

    def __add__(self, other: KnownPathogenic) -> KnownPathogenic:
        return KnownPathogenic(self.n_carried + other.n_carried, self.n_unknown + other.n_unknown)

    def advice(self, *, is_synthetic: bool) -> list[str]:
        """What a person should be told, a sentence for each of the two counts that is not 0.

        is_synthetic: whether the release's ClinVar is made up (`ReleaseConfig.is_synthetic`); no advice follows then.
        """
        source = "pathogenic or likely so in the ClinVar of the model's data, whatever the score"
        made_up = "; that ClinVar is SYNTHETIC, made up: this says nothing about a person"
        told = []
        if n := self.n_carried:
            advice = made_up if is_synthetic else ": talk to a genetic counsellor"
            told.append(f"{_alleles(n)} that a genotype carries {_are(n)} {source}{advice}")
        if n := self.n_unknown:
            advice = made_up if is_synthetic else ": anyone who does should talk to a genetic counsellor"
            told.append(
                f"{_alleles(n)} {_are(n)} {source}; without genotypes it is unknown whether anybody carries "
                f"{'it' if n == 1 else 'them'}{advice}"
            )
        return told


NONE_KNOWN = KnownPathogenic()


def known_alleles(scores: pl.DataFrame, lines: pl.DataFrame | None = None) -> pl.DataFrame:
    """The P/LP alleles among rows of `Scorer.score_alleles`, without those that no genotype carries.

    Adds is_carried: true, or null where there are no genotypes. lines: the records (a `VcfChunk.lines`), if there are.
    """
    known = scores.filter(_COLUMN)
    if lines is None or known.is_empty():
        return known.with_columns(pl.lit(None, dtype=pl.Boolean).alias(IS_CARRIED))
    samples = known.join(lines.select("record", "rest"), on="record", how="left", maintain_order="left")
    # A genotype such as 0/1, 1|0, 1 or ./1, whatever follows it.
    carries = pl.format(r"\t(?:[^:\t]*[/|])?{}(?:[/|:\t]|$)", pl.col("alt_index") + 1)
    has_genotypes = pl.col("rest").str.contains(r"^GT[:\t]").fill_null(False)
    is_carried = pl.when(has_genotypes).then(pl.col("rest").str.contains(carries)).alias(IS_CARRIED)
    return samples.with_columns(is_carried).drop("rest").filter(pl.col(IS_CARRIED).fill_null(True))


def read_pathogenic(model_dir: Path, genome: Genome) -> pl.DataFrame:
    """Alleles (contig, pos, ref, alt) that the release's ClinVar calls P or LP, contigs as this genome names them.

    They are also the proof that FASTA and release are of one build, without which context and percentiles would be of
    other places. Raises WrongBuildError.
    """
    path = model_dir / PATHOGENIC
    if not path.is_file():
        return pl.DataFrame(schema={name: pl.Int64 if name == "pos" else pl.String for name in _KEY})
    known = pl.read_parquet(path)
    check = BuildCheck(genome, f"what the release's ClinVar knows ({path})")
    check.see(known.rename({"contig": "chrom"}))
    check.finish()
    names = {name: resolved for name in known["contig"].unique() if (resolved := genome.resolve(name)) is not None}
    here = known.filter(pl.col("contig").is_in(list(names))).with_columns(pl.col("contig").replace(names))
    return here.unique(_KEY, maintain_order=True)


def marked(alleles: pl.DataFrame, pathogenic: pl.DataFrame) -> pl.DataFrame:
    """The same rows with a column `clinvar_pathogenic`: whether `read_pathogenic` has the allele.

    Null throughout where the release knows of none.
    """
    if pathogenic.is_empty():
        return alleles.with_columns(pl.lit(None, dtype=pl.Boolean).alias(_COLUMN))
    known = pathogenic.select(*_KEY, pl.lit(True).alias(_COLUMN))
    rows = alleles.join(known, on=_KEY, how="left", maintain_order="left")
    return rows.with_columns(pl.col(_COLUMN).fill_null(False))


def _alleles(n: int) -> str:
    return f"{n:,} allele{'' if n == 1 else 's'}"


def _are(n: int) -> str:
    return "is" if n == 1 else "are"
