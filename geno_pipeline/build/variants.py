"""Reading variant files into tables, every allele accounted for (spec 1, 3).

Belongs here: population sites (gnomAD or the like), ClinVar, phased genotypes: which INFO fields mean what.
Does not belong here: reading VCF text and normalising alleles (`geno_model.genomics`), holdouts, windows.

Concept: a file is streamed in chunks; of each chunk the alleles that are kept are put aside and all are counted. So
retained plus excluded equals the number of alleles in the file, whatever happened to them. An allele that an earlier
record of the same source gave already is a `duplicate`; the first one counts.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator
from pathlib import Path

import numpy as np
import polars as pl
from numpy.typing import NDArray

from data_contracts import ClinvarVariants, GnomadVariants, PhasedHaplotypes, VariantAccounting
from data_contracts.variant_accounting import RETAINED
from geno_model.genomics.alleles import account, to_alleles, wrong_build_message
from geno_model.genomics.errors import InputError
from geno_model.genomics.genome import Genome
from geno_model.genomics.vcf_reader import info_field, read_vcf_chunks
from geno_pipeline.build.holdouts import BLOCK_BP
from geno_pipeline.build.phased import combinations, genotypes

KEY = ["contig", "pos", "ref", "alt"]
MIN_AF = 0.01

# ClinVar's own words in MC, most severe first. A term that is not listed counts as the least severe.
SEVERITY = (
    "stop_gained",
    "frameshift_variant",
    "splice_acceptor_variant",
    "splice_donor_variant",
    "stop_lost",
    "start_lost",
    "initiator_codon_variant",
    "inframe_insertion",
    "inframe_deletion",
    "inframe_indel",
    "inframe_variant",
    "missense_variant",
    "synonymous_variant",
    "no_sequence_alteration",
    "5_prime_UTR_variant",
    "3_prime_UTR_variant",
    "non-coding_transcript_variant",
    "intron_variant",
    "genic_upstream_transcript_variant",
    "genic_downstream_transcript_variant",
    "2KB_upstream_variant",
    "500B_downstream_variant",
)
CODING = frozenset(SEVERITY) & {
    "stop_gained",
    "frameshift_variant",
    "stop_lost",
    "start_lost",
    "initiator_codon_variant",
    "inframe_insertion",
    "inframe_deletion",
    "inframe_indel",
    "inframe_variant",
    "missense_variant",
    "synonymous_variant",
}
# Spellings of ClinVar (the second is a misprint of theirs) that Sequence Ontology writes otherwise.
SPELLINGS = {"nonsense": "stop_gained", "initiatior_codon_variant": "initiator_codon_variant"}

STARS = {
    "practice_guideline": 4,
    "reviewed_by_expert_panel": 3,
    "criteria_provided,_multiple_submitters,_no_conflicts": 2,
    "criteria_provided,_multiple_submitters": 2,
    "criteria_provided,_single_submitter": 1,
    "criteria_provided,_conflicting_interpretations": 1,
    "criteria_provided,_conflicting_classifications": 1,
}
SIGNIFICANCE = {
    "pathogenic": "P",
    "likely_pathogenic": "LP",
    "benign": "B",
    "likely_benign": "LB",
    "uncertain_significance": "VUS",
}


def ingest_gnomad(
    paths: Iterable[Path],
    genome: Genome,
    contigs: Collection[str],
    *,
    an_where_af_missing: int | None = None,
    min_af: float = MIN_AF,
    source: str = "gnomad",
) -> tuple[pl.DataFrame, pl.DataFrame]:
    """Common alleles of population site files.

    The frequency of an allele is its value in INFO `AF`; without AF, `AC / AN`; without AN, `AC / an_where_af_missing`.
    An allele without any of these, that nobody carries, or that is rarer than `min_af`, counts as `low_af`.

    Args:
        paths: VCF files, whole or one a chromosome.
        contigs: names in the FASTA; an allele elsewhere counts as `contig_unknown`.
        an_where_af_missing: number of chromosomes in the panel behind a site file that has AC alone.

    Returns:
        GnomadVariants frame (order: `contigs`, pos, ref, alt) and VariantAccounting frame.

    Raises:
        InputError: a file is missing, damaged, no VCF, or of another build than the FASTA.
    """
    kept, ledger = [], Ledger(source)
    for path in paths:
        for lines, alleles in _allele_chunks(path, genome, contigs):
            af = _allele_frequencies(lines, alleles, an_where_af_missing)
            is_rare = (af.is_null() | af.is_nan() | (af <= 0) | (af < min_af)) & alleles["reason"].is_null()
            judged = alleles.with_columns(
                af=af.cast(pl.Float32),
                reason=pl.when(is_rare).then(pl.lit("low_af")).otherwise(pl.col("reason")),
            )
            kept.append(ledger.count(judged).select(*KEY, "edit_type", "af"))
    return _table(GnomadVariants.empty(), kept, ledger, contigs), ledger.table()


def ingest_clinvar(
    path: Path, genome: Genome, contigs: Collection[str], *, source: str = "clinvar"
) -> tuple[pl.DataFrame, pl.DataFrame]:
    """ClinVar alleles with significance, stars, consequence and gene.

    - CLNSIG: of several values (`|` or `,`) the first counts, so `Pathogenic|risk_factor` is P. An aggregate of two is
      the stronger: `Pathogenic/Likely_pathogenic` is P, `Benign/Likely_benign` is B. Conflicting reports, and whatever
      is none of the five, are OTHER.
    - Stars: GOLD_STARS where the file has it, else from CLNREVSTAT.
    - MC: the most severe term; coding when ANY term lies in a coding sequence.
    - Gene: the first symbol of GENEINFO.

    Returns and raises as `ingest_gnomad`.
    """
    kept, ledger = [], Ledger(source)
    for lines, alleles in _allele_chunks(path, genome, contigs):
        facts = lines.select("record", *clinvar_facts())
        found = ledger.count(alleles.join(facts, on="record", how="left", maintain_order="left"))
        kept.append(found.select(ClinvarVariants.empty().columns))
    return _table(ClinvarVariants.empty(), kept, ledger, contigs), ledger.table()


def clinvar_facts() -> list[pl.Expr]:
    """Columns clnsig, stars, is_coding, consequence and gene from a column `info`."""
    significance = info_field("info", "CLNSIG").str.to_lowercase().str.split_exact("|", 0).struct.field("field_0")
    first = significance.str.extract(r"^([^,/]*)", 1)
    stars = info_field("info", "CLNREVSTAT").replace_strict(STARS, default=0, return_dtype=pl.Int8)
    terms = (
        info_field("info", "MC")
        .str.split(",")
        .list.eval(pl.element().str.extract(r"^(?:[^|]*\|)?(.*)$", 1).replace(SPELLINGS))
    )
    rank = {term: index for index, term in enumerate(SEVERITY)}
    severity = terms.list.eval(pl.element().replace_strict(rank, default=len(rank), return_dtype=pl.Int64))
    gene = info_field("info", "GENEINFO").str.extract(r"^([^:|]+)", 1)
    return [
        first.replace_strict(SIGNIFICANCE, default="OTHER", return_dtype=pl.String).fill_null("OTHER").alias("clnsig"),
        pl.coalesce(info_field("info", "GOLD_STARS").cast(pl.Int8, strict=False), stars, pl.lit(0, pl.Int8)).alias(
            "stars"
        ),
        terms.list.eval(pl.element().is_in(list(CODING))).list.any().alias("is_coding"),
        terms.list.get(severity.list.arg_min()).alias("consequence"),
        gene.alias("gene"),
    ]


def ingest_phased(
    path: Path, genome: Genome, contigs: Collection[str], block_bp: int = BLOCK_BP, *, source: str = "phased"
) -> tuple[pl.DataFrame, pl.DataFrame]:
    """Combinations of alleles that lie together on one haplotype within a cell of a `block_bp` grid.

    A genotype that is missing or not phased (`/`) counts as reference. See `phased.combinations` for what is a row.
    Memory holds the cells around the end of the file read so far, not the file.

    Returns:
        PhasedHaplotypes frame (order: `contigs`, start_bp, end_bp) and VariantAccounting frame.

    Raises:
        InputError: as `ingest_gnomad`; or records that are not in the order of position, or without genotypes.
    """
    ledger, blocks = Ledger(source), _OpenBlocks(block_bp, str(path))
    found = []
    for lines, alleles in _allele_chunks(path, genome, contigs, genotypes=True):
        called = genotypes(lines["rest"], str(path)) if lines.height else np.empty((0, 0), dtype=np.int8)
        kept = ledger.count(alleles)
        row = kept["record"].to_numpy() - (lines["record"][0] if lines.height else 0)
        carried = called[row] == (kept["alt_number"].to_numpy()[:, None])
        found += blocks.add(kept.select(*KEY, "vcf_pos", "vcf_ref"), carried, ledger)
    found += blocks.close(ledger)
    rows = pl.concat([PhasedHaplotypes.empty(), *found])
    return _in_order(rows.sort("start_bp", "end_bp", "edits"), contigs), ledger.table()


class Ledger:
    """Counts of alleles by contig and reason."""

    def __init__(self, source: str) -> None:
        self._source = source
        self._parts: list[pl.DataFrame] = []

    def count(self, alleles: pl.DataFrame) -> pl.DataFrame:
        """Count all alleles by their `reason`, and return those that are retained."""
        self._parts.append(account(alleles, self._source))
        return alleles.filter(pl.col("reason").is_null())

    def move_duplicates(self, alleles: pl.DataFrame) -> pl.DataFrame:
        """The retained alleles without those that are there already; these are counted as `duplicate` instead.

        Sorted by KEY, in which equal rows are neighbours; the first of them as they came stays.
        """
        ordered = alleles.sort(KEY, maintain_order=True)
        is_first = ordered.select(
            pl.any_horizontal(pl.col(name).ne_missing(pl.col(name).shift(1)) for name in KEY).alias("is_first")
        )["is_first"]
        if not is_first.all():
            again = ordered.filter(~is_first).group_by("contig").agg(n_alleles=pl.len().cast(pl.Int64))
            line = again.select(
                source=pl.lit(self._source), contig="contig", reason=pl.lit(RETAINED), n_alleles=-pl.col("n_alleles")
            )
            self._parts += [line, line.with_columns(reason=pl.lit("duplicate"), n_alleles=-pl.col("n_alleles"))]
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


class _OpenBlocks:
    """Alleles of the grid cells that later records may still add to."""

    def __init__(self, block_bp: int, path: str) -> None:
        self._block_bp, self._path = block_bp, path
        self._alleles: list[pl.DataFrame] = []
        self._carried: list[NDArray[np.bool_]] = []
        self._last: dict[str, int] = {}  # position of each contig's last record, as the VCF has it

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
        for (contig,), rows in alleles.group_by("contig", maintain_order=True):
            before = self._last.get(str(contig), 0)
            if rows["vcf_pos"][0] < before or not rows["vcf_pos"].is_sorted():
                raise InputError(
                    f"{self._path}: records of {contig} are not in the order of position; sort the file: bcftools sort"
                )
            self._last[str(contig)] = rows["vcf_pos"][-1]

    def _combine(self, alleles: pl.DataFrame, carried: NDArray[np.bool_], ledger: Ledger) -> list[pl.DataFrame]:
        once = ledger.move_duplicates(alleles.with_row_index("row"))
        return [combinations(once.drop("row"), carried[once["row"].to_numpy()], self._block_bp)]


def _allele_chunks(
    path: Path, genome: Genome, contigs: Collection[str], *, genotypes: bool = False
) -> Iterator[tuple[pl.DataFrame, pl.DataFrame]]:
    """Records and their alleles, chunk by chunk; `alt_number` counts a record's ALT alleles from 1, as genotypes do."""
    is_checked = False
    for chunk in read_vcf_chunks(path, n_columns=None if genotypes else 8):
        alleles = to_alleles(chunk.lines, genome, contigs=set(contigs), pass_only=True, mark_duplicates=False)
        if not is_checked and (message := wrong_build_message(alleles)):
            raise InputError(f"{path}: {message}")
        is_checked = True
        yield chunk.lines, alleles.with_columns(alt_number=pl.col("alt_index") + 1)


def _allele_frequencies(lines: pl.DataFrame, alleles: pl.DataFrame, an_where_af_missing: int | None) -> pl.Series:
    """Frequency of each allele (f64), null where the record does not tell. AC and AN are read only where AF lacks."""

    def of_alleles(some: pl.DataFrame) -> pl.Series:
        return some["record"] - (lines["record"][0] if lines.height else 0)  # row of each allele in `lines`

    def values(key: str, some: pl.DataFrame) -> pl.Series:
        return lines.select(info_field("info", key)).to_series().gather(of_alleles(some))

    def own(key: str, some: pl.DataFrame) -> pl.Series:
        place = pl.lit(some["alt_index"])
        own = pl.lit(values(key, some)).str.split(",").list.get(place, null_on_oob=True)
        return pl.select(own.cast(pl.Float64, strict=False)).to_series()

    af = own("AF", alleles)
    if af.has_nulls():
        untold = alleles.filter(af.is_null())
        number = pl.lit(values("AN", untold)).cast(pl.Float64, strict=False)
        n_chromosomes = pl.coalesce(number, pl.lit(an_where_af_missing, dtype=pl.Float64))
        by_count = pl.select(pl.when(n_chromosomes > 0).then(pl.lit(own("AC", untold)) / n_chromosomes)).to_series()
        af = af.scatter(af.is_null().arg_true(), by_count)
    return af.clip(upper_bound=1.0).alias("af")


def _table(empty: pl.DataFrame, parts: list[pl.DataFrame], ledger: Ledger, contigs: Collection[str]) -> pl.DataFrame:
    """All kept alleles as one table, each once."""
    frame = pl.concat([empty, *(part.select(empty.columns).cast(empty.schema) for part in parts)])
    return _in_order(ledger.move_duplicates(frame), contigs)


def _in_order(frame: pl.DataFrame, contigs: Collection[str]) -> pl.DataFrame:
    """The rows by the order of `contigs`, otherwise as they were."""
    rank = pl.col("contig").replace_strict(
        list(contigs), list(range(len(contigs))), default=None, return_dtype=pl.Int64
    )
    return frame.sort(rank, maintain_order=True)
