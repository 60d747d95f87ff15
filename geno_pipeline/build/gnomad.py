"""Population sites (gnomAD or the like) as a table of common alleles (spec 3).

Belongs here: which alleles are common, and what several files (exomes and genomes) say of one allele together.
Does not belong here: the spellings of frequencies in INFO (`gnomad_fields`), reading and counting alleles (`variants`).

Concept: an allele is one row, in however many files it stands. A joined frequency is (sum of AC) / (sum of AN), which
is never above the highest of the files. So one pass keeps what is common in any file; only where contigs stand in
more than one file a second pass looks up those alleles among the rare ones of the other files. Memory holds alleles
that are common somewhere, never the rare ones.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterable, Iterator
from dataclasses import dataclass, field
from itertools import chain
from pathlib import Path

import polars as pl

from data_contracts import GnomadVariants
from data_contracts.columns import POPULATIONS
from data_contracts.variant_accounting import RETAINED
from geno_model.genomics.errors import InputError
from geno_model.genomics.genome import Genome
from geno_model.genomics.vcf_reader import VcfChunk, read_vcf_chunks
from geno_pipeline.build.gnomad_fields import BOTH_FILTERED, COUNTS, PART_OF_FILTER, Fields
from geno_pipeline.build.variants import CONTRADICTORY, KEY, Ledger, allele_chunks, in_contig_order, record_rows

MIN_AF = 0.01
FIELDS_SHOWN = 8
_MOST_PARTS = 32  # small frames that are kept apart; each costs memory of its own


def ingest_gnomad(
    paths: Iterable[Path],
    genome: Genome,
    contigs: Collection[str],
    *,
    an_where_af_missing: int | None = None,
    min_af: float = MIN_AF,
    source: str = "gnomad",
) -> tuple[pl.DataFrame, pl.DataFrame]:
    """Common alleles of population site files, with their frequency overall and in nine populations.

    The frequency of an allele is its value in INFO `AF` or `AF_joint`; else `AC / AN`; else what the five populations
    of the 1000 Genomes give; else `AC / an_where_af_missing`. See `gnomad_fields` for all spellings. An allele without
    any of these, that nobody carries, or that is rarer than `min_af`, counts as `low_af`.

    An allele that stands in several files has the frequency (sum of AC) / (sum of AN) if all of them give both, else
    that of the first file; each population likewise. The allele counts once as retained (`low_af` if it is too rare
    now), in another file as `duplicate`, or `low_af` where it is rare.

    Only records that passed FILTER take part. In a joint file of exomes and genomes, where one of the two failed, what
    the other says counts (`retained_exomes`, `retained_genomes`); an allele that is not in the other is `filtered`, one
    that failed in both `both_filtered`. An allele is `contradictory` whose record gives a field that is needed two
    values: neither can be believed.

    Args:
        paths: VCF files, whole or one a chromosome, of exomes, genomes or both, sorted or not; no index is needed.
        contigs: names in the FASTA; an allele elsewhere counts as `contig_unknown`.
        an_where_af_missing: number of chromosomes in the panel behind a site file that has AC alone.

    Returns:
        GnomadVariants frame (order: `contigs`, pos, ref, alt) and VariantAccounting frame.

    Raises:
        InputError: a file is missing, damaged, no VCF, of another build than the FASTA, or tells no frequency at all.
    """
    ledger = Ledger(source)
    files = [_File(path, genome, an_where_af_missing) for path in paths]
    has_several = len(files) > 1
    common = [file.common(contigs, min_af, ledger, counts=has_several) for file in files]
    columns = _no_alleles(counts=False).columns
    alleles = ledger.move_duplicates(pl.concat([_no_alleles(counts=has_several), *common])).select(columns)
    shared = [contig for contig, n in Counter(contig for file in files for contig in file.contigs).items() if n > 1]
    if shared:
        joined = _joined(_copies(files, common, shared)).select(columns)
        is_rare = _is_rare(min_af)
        ledger.move(joined.filter(is_rare), "low_af")
        alleles = pl.concat([alleles.filter(~pl.col("contig").is_in(shared)), joined.filter(~is_rare)]).sort(KEY)
    for part in PART_OF_FILTER.values():
        ledger.move(alleles.filter(pl.col("part") == part), f"{RETAINED}_{part}")
    return in_contig_order(alleles.drop("part").cast({"af": pl.Float32}), contigs), ledger.table()


def frequencies_of(
    wanted: pl.DataFrame, paths: Iterable[Path], genome: Genome, *, an_where_af_missing: int | None = None
) -> pl.DataFrame:
    """Frequencies, rare ones too, of the alleles `wanted` (KEY): KEY, af and those of nine populations, in no order.

    Of an allele that stands in several files the first one's count. Files are streamed; see `ingest_gnomad`.
    """
    contigs = wanted["contig"].unique().to_list()
    found = [_File(path, genome, an_where_af_missing).find(wanted, contigs) for path in paths]
    columns = [name for name in GnomadVariants.empty().columns if name != "edit_type"]
    all_found = pl.concat([_no_alleles(counts=True), *found]).filter(pl.col("af").is_finite())
    return all_found.unique(KEY, keep="first", maintain_order=True).select(columns).cast({"af": pl.Float32})


@dataclass
class _File:
    """A site file; `contigs` are those on which the first pass found alleles that can be judged."""

    path: Path
    genome: Genome
    an_where_af_missing: int | None
    contigs: set[str] = field(default_factory=set)

    def common(self, contigs: Collection[str], min_af: float, ledger: Ledger, *, counts: bool) -> pl.DataFrame:
        """Alleles that are common in this file; all are counted, the common ones as retained."""
        found, fields, has_alleles, has_frequency = [_no_alleles(counts=counts)], None, False, False
        for fields, alleles in self._chunks(contigs):
            ledger.count(alleles.filter(pl.col("reason").is_not_null()))
            judged = self._judged(fields, alleles.filter(pl.col("reason").is_null()), min_af)
            found.append(_facts(fields, ledger.count(judged), counts=counts))
            if len(found) > _MOST_PARTS:
                found = [pl.concat(found, rechunk=True)]
            self.contigs |= set(judged["contig"].unique())
            has_alleles = has_alleles or alleles.height > 0
            has_frequency = (
                has_frequency
                or judged["af"].is_not_null().any()
                or self._with_frequency(fields, alleles)["af"].is_not_null().any()
            )
        if fields and has_alleles and not has_frequency:
            raise _no_frequency(self.path, fields)
        return pl.concat(found)

    def find(self, wanted: pl.DataFrame, contigs: Collection[str]) -> pl.DataFrame:
        """Those of the alleles `wanted` (KEY) that this file has, each once."""
        by_contig = {str(contig): keys for (contig,), keys in wanted.group_by("contig")}
        found = [_no_alleles(counts=True)]
        for fields, alleles in self._chunks(contigs) if by_contig else ():
            passed = alleles.filter(pl.col("reason").is_null())
            here = passed.join(_nearby(by_contig, passed), on=KEY, how="semi", maintain_order="left")
            believed = here.filter(~fields.contradict(here, fields.spellings))
            found.append(_facts(fields, self._with_frequency(fields, believed), counts=True))
        return pl.concat(found).unique(KEY, keep="first", maintain_order=True)

    def _chunks(self, contigs: Collection[str]) -> Iterator[tuple[Fields, pl.DataFrame]]:
        """Alleles with info and place, as `Fields` asks for them; of a joint file first those that did not fail."""
        chunks = read_vcf_chunks(self.path, n_columns=8)
        first = next(chunks)
        fields = Fields.of(first)
        parts = {filter_: part for filter_, part in PART_OF_FILTER.items() if fields.is_joint()}
        told = (VcfChunk(chunk.header, _passed_in_part(chunk.lines, parts)) for chunk in chain([first], chunks))
        for chunk, alleles in allele_chunks(told, self.genome, contigs, str(self.path)):
            of_record = chunk.lines.select("info", "part", "filter")[record_rows(chunk.lines, alleles)]
            failed_both = (pl.col("reason") == "filtered") & pl.col("filter").is_in(BOTH_FILTERED) & bool(parts)
            reason = pl.when(failed_both).then(pl.lit("both_filtered")).otherwise("reason").alias("reason")
            alleles = alleles.hstack(of_record).with_columns(reason, place="alt_index").drop("filter")
            yield fields, alleles.filter(pl.col("part").is_null()).drop("part")
            for part in parts.values():
                if (rows := alleles.filter(pl.col("part") == part).drop("part")).height:
                    yield fields.of_part(part), rows

    def _judged(self, fields: Fields, alleles: pl.DataFrame, min_af: float) -> pl.DataFrame:
        """The alleles with frequency and reason: null for those that are common."""
        alleles = self._with_frequency(fields, alleles)
        overall = ["af", "ac", "an"]
        is_contradictory = fields.contradict(alleles, overall)
        # Fields of populations are read of common alleles alone.
        common = (~is_contradictory & ~alleles.select(_is_rare(min_af)).to_series()).arg_true()
        rest = [name for name in fields.spellings if name not in overall]
        is_contradictory = is_contradictory.scatter(common, fields.contradict(alleles[common], rest))
        untold = pl.col("af").is_null() & (fields.part is not None)
        return alleles.with_columns(
            reason=pl.when(is_contradictory).then(pl.lit(CONTRADICTORY))
            .when(untold).then(pl.lit("filtered"))  # the part that passed does not have it
            .when(_is_rare(min_af)).then(pl.lit("low_af"))
        )  # fmt: skip

    def _with_frequency(self, fields: Fields, alleles: pl.DataFrame) -> pl.DataFrame:
        return alleles.with_columns(fields.frequency(alleles, None if fields.part else self.an_where_af_missing))


def _passed_in_part(lines: pl.DataFrame, parts: dict[str, str]) -> pl.DataFrame:
    """The records with the part of the file that they passed in alone, if any, and then without that FILTER."""
    part = pl.col("filter").replace_strict(parts, default=None, return_dtype=pl.String)
    return lines.with_columns(part=part).with_columns(
        filter=pl.when(pl.col("part").is_null()).then("filter").otherwise(pl.lit("PASS"))
    )


def _is_rare(min_af: float) -> pl.Expr:
    af = pl.col("af")
    return af.is_null() | af.is_nan() | (af <= 0) | (af < min_af)


def _facts(fields: Fields, alleles: pl.DataFrame, *, counts: bool) -> pl.DataFrame:
    """What is kept of an allele: KEY, edit_type, af (f64), the columns of `Fields.details`, part."""
    part = pl.lit(fields.part, dtype=pl.String).alias("part")
    return alleles.select(*KEY, "edit_type", "af", *fields.details(counts=counts), part)


def _no_alleles(*, counts: bool) -> pl.DataFrame:
    """`_facts` of no allele."""
    schema = {**GnomadVariants.empty().schema, "af": pl.Float64()}
    return pl.DataFrame(schema=schema | (dict.fromkeys(COUNTS, pl.Int32()) if counts else {}) | {"part": pl.String()})


def _nearby(by_contig: dict[str, pl.DataFrame], alleles: pl.DataFrame) -> pl.DataFrame:
    """Keys in the span of the alleles, so that few are compared with a chunk."""
    parts = [keys.clear() for keys in by_contig.values()]
    for (contig,), rows in alleles.group_by("contig"):
        if (keys := by_contig.get(str(contig))) is not None:
            pos = rows["pos"].sort()
            parts.append(keys.filter(pl.col("pos").is_between(pos[0], pos[-1])))
    return pl.concat(parts)


def _copies(files: list[_File], common: list[pl.DataFrame], shared: list[str]) -> pl.DataFrame:
    """All that the files say of alleles on `shared` contigs that are common in one of them, file after file."""
    is_shared = pl.col("contig").is_in(shared)
    own = [part.filter(is_shared).unique(KEY, keep="first", maintain_order=True) for part in common]
    wanted = pl.concat(own).select(KEY).unique()
    parts = []
    for file, part in zip(files, own, strict=True):
        elsewhere = wanted.filter(pl.col("contig").is_in(list(file.contigs))).join(part, on=KEY, how="anti")
        parts += [part, file.find(elsewhere, shared)]
    return pl.concat(parts)


def _joined(copies: pl.DataFrame) -> pl.DataFrame:
    """One row an allele from its copies in several files, with joined frequencies."""

    def frequency(part: str) -> pl.Expr:
        ac, an, af = pl.col(f"ac{part}"), pl.col(f"an{part}"), pl.col(f"af{part}")
        n_carried, n_all = ac.cast(pl.Float64).sum(), an.cast(pl.Float64).sum()
        has_counts = (pl.len() > 1) & ac.is_not_null().all() & an.is_not_null().all() & (n_all > 0)
        joined = pl.when(has_counts).then((n_carried / n_all).clip(0.0, 1.0)).otherwise(af.drop_nulls().first())
        return joined.cast(pl.Float32 if part else pl.Float64).alias(f"af{part}")

    parts = ["", *(f"_{name}" for name in POPULATIONS)]
    return copies.group_by(KEY, maintain_order=True).agg(
        pl.col("edit_type", "part").first(), *(frequency(part) for part in parts)
    )


def _no_frequency(path: Path, fields: Fields) -> InputError:
    names = ", ".join(fields.known[:FIELDS_SHOWN]) + (", ..." if len(fields.known) > FIELDS_SHOWN else "")
    return InputError(
        f"{path}: no allele has a frequency; expected AF, or AC and AN, in INFO, found {names or 'no fields'}; give a "
        "sites file with AF or AC and AN, or, for one with AC alone, set inputs.an_where_af_missing in the profile to "
        "the number of chromosomes in its panel"
    )
