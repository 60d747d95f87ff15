"""ClinVar as a table: what laboratories said of each allele (spec 3).

Belongs here: which of ClinVar's words, of any year, mean what; the date of a release.
Does not belong here: reading VCF text and alleles (`variants`), consequences of our own (`geno_model.genomics`).

Concept: a value of CLNSIG is a set of words. Those that are none of the five (drug_response, risk_factor, ...) say
nothing about harm and are passed over; what is left either points one way or counts as OTHER. Words of risk and low
penetrance (since 2022) do say something of harm, but less than pathogenic: with or without it they are OTHER.

Until 2017 a record has labels of several alleles, CLNALLE says of which; they part at commas, several of one at `|`:

    ALT=A,C  CLNALLE=2,1  CLNSIG=5,2|3      C is pathogenic, A benign
"""

from __future__ import annotations

import datetime
import re
from collections.abc import Collection
from pathlib import Path

import polars as pl

from data_contracts import ClinvarVariants
from geno_model.genomics.errors import InputError
from geno_model.genomics.genome import Genome
from geno_model.genomics.vcf_reader import contradicts, info_field, read_vcf_chunks
from geno_pipeline.build.variants import CONTRADICTORY, KEY, Ledger, allele_chunks, in_contig_order

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
    # until 2017
    "prof": 4,
    "guideline": 4,
    "exp": 3,
    "mult": 2,
    "single": 1,
    "conf": 1,
}
# Each word of CLNSIG that says something of harm is a number of its own, so that their sum tells which there are.
WORDS = {
    "pathogenic": 1,
    "likely_pathogenic": 2,
    "benign": 4,
    "likely_benign": 8,
    "uncertain_significance": 16,
    "conflicting": 32,
    "low_penetrance": 64,
    "likely_risk_allele": 64,
    "established_risk_allele": 64,
    "uncertain_risk_allele": 128,
    # until 2017; 1, 6, 7 and 255 are other words
    "5": 1,
    "4": 2,
    "2": 4,
    "3": 8,
    "0": 16,
}
SIGNIFICANCE = {1: "P", 1 + 2: "P", 2: "LP", 4: "B", 4 + 8: "B", 8: "LB", 16: "VUS", 16 + 128: "VUS"}
ONE_WAY = {"P": "P", "LP,P": "P", "LP": "LP", "B": "B", "B,LB": "B", "LB": "LB", "VUS": "VUS"}
"""What the labels of several records of one allele, in order, are together; all others are OTHER."""
_FIELDS = ("CLNSIG", "CLNREVSTAT", "GOLD_STARS", "MC", "GENEINFO", "CLNALLE")
_OF_ALLELE = ("CLNSIG", "CLNREVSTAT")  # of these each allele has its own


def ingest_clinvar(
    path: Path, genome: Genome, contigs: Collection[str], *, source: str = "clinvar"
) -> tuple[pl.DataFrame, pl.DataFrame]:
    """ClinVar alleles with significance, stars, consequence and gene; see `clinvar_facts`.

    Of an allele that stands in several records the one with the most stars counts. Several of as many stars that do not
    point one way make it OTHER, and the others of them `contradictory`, not `duplicate`. So is an allele whose record
    gives one of the fields read two values.

    Args:
        path: VCF of any year and build, sorted or not; no index is needed.
        contigs: names in the FASTA; an allele elsewhere counts as `contig_unknown`.

    Returns:
        ClinvarVariants frame (order: `contigs`, pos, ref, alt) and VariantAccounting frame.

    Raises:
        InputError: the file is missing, damaged, no VCF, or of another build than the FASTA.
    """
    kept, ledger = [], Ledger(source)
    for chunk, alleles in allele_chunks(read_vcf_chunks(path, n_columns=8), genome, contigs, str(path)):
        info = chunk.lines.select("record", "info", n_alts=pl.col("alt").str.count_matches(",", literal=True) + 1)
        judged = alleles.join(info, on="record", how="left", maintain_order="left")
        is_contradictory = contradicts(judged["info"], _FIELDS) & judged["reason"].is_null()
        reason = pl.when(is_contradictory).then(pl.lit(CONTRADICTORY)).otherwise("reason").alias("reason")
        found = clinvar_facts(ledger.count(judged.with_columns(reason)))
        kept.append(found.select(ClinvarVariants.empty().columns))
    table = _most_stars_first(pl.concat([ClinvarVariants.empty(), *kept]))
    labels = _labels_of_several(table)
    once = ledger.move_duplicates(table)
    repeats = table.filter(~pl.struct(KEY).is_first_distinct()).join(labels.filter("contradicts"), on=KEY, how="semi")
    ledger.move(repeats, CONTRADICTORY, before="duplicate")
    labelled = once.join(labels, on=KEY, how="left", maintain_order="left")
    labelled = labelled.with_columns(clnsig=pl.coalesce("label", "clnsig")).select(table.columns)
    return in_contig_order(labelled, contigs), ledger.table()


def _most_stars_first(table: pl.DataFrame) -> pl.DataFrame:
    """In an order that does not follow from the file's, so that what is first of equal alleles does not either."""
    order = ["clnsig", "is_coding", "consequence", "gene"]
    return table.sort("stars", *order, descending=[True, *[False] * len(order)], nulls_last=True)


def _labels_of_several(table: pl.DataFrame) -> pl.DataFrame:
    """Of each allele in several rows: KEY, label, and whether those with the most stars contradict each other."""
    several = table.filter(pl.struct(KEY).is_duplicated())
    best = several.filter(pl.col("stars") == pl.col("stars").max().over(KEY))
    words = best.group_by(KEY).agg(words=pl.col("clnsig").unique().sort().str.join(","))
    label = pl.col("words").replace_strict(ONE_WAY, default="OTHER", return_dtype=pl.String)
    return words.select(*KEY, label=label, contradicts=(label == "OTHER") & (pl.col("words") != "OTHER"))


def clinvar_facts(alleles: pl.DataFrame) -> pl.DataFrame:
    """The alleles with columns clnsig, stars, is_coding, consequence and gene.

    alleles: info (of the record), alt_index (0-based, in the record's ALT), n_alts (in the record).

    - CLNSIG: see `significance`. Where CLNALLE says which allele each label is of, that of this one; OTHER where there
      is none, and where a record of several alleles does not say it.
    - Stars: GOLD_STARS where the file has it, else from CLNREVSTAT, of several values the highest.
    - MC: the most severe term; coding when ANY term lies in a coding sequence.
    - Gene: the first symbol of GENEINFO.
    """
    alleles = _own_labels(alleles)
    review = pl.col("CLNREVSTAT").str.split("|")
    stars = review.list.eval(pl.element().replace_strict(STARS, default=0, return_dtype=pl.Int8)).list.max()
    terms = (
        info_field("info", "MC")
        .str.split(",")
        .list.eval(pl.element().str.extract(r"^(?:[^|]*\|)?(.*)$", 1).replace(SPELLINGS))
    )
    rank = {term: index for index, term in enumerate(SEVERITY)}
    severity = terms.list.eval(pl.element().replace_strict(rank, default=len(rank), return_dtype=pl.Int64))
    gene = info_field("info", "GENEINFO").str.extract(r"^([^:|]+)", 1)
    gold = info_field("info", "GOLD_STARS").cast(pl.Int8, strict=False)
    return alleles.with_columns(
        significance(pl.col("CLNSIG")).alias("clnsig"),
        pl.coalesce(gold, stars, pl.lit(0, pl.Int8)).alias("stars"),
        terms.list.eval(pl.element().is_in(list(CODING))).list.any().alias("is_coding"),
        terms.list.get(severity.list.arg_min()).alias("consequence"),
        gene.alias("gene"),
    )


def _own_labels(alleles: pl.DataFrame) -> pl.DataFrame:
    """The alleles with the text of CLNSIG and CLNREVSTAT that is their own; null where none is."""
    texts = alleles.with_row_index("row").with_columns(info_field("info", name).alias(name) for name in _FIELDS)
    is_told = pl.col("CLNALLE").is_not_null()
    listed = (
        texts.filter(is_told)
        .select("row", "alt_index", pl.col("CLNALLE", *_OF_ALLELE).str.split(","))
        .with_columns(place=pl.int_ranges(0, pl.col("CLNALLE").list.len()))
        .explode("CLNALLE", "place")
        .filter(pl.col("CLNALLE").str.strip_chars(" ").cast(pl.Int64, strict=False) == pl.col("alt_index") + 1)
        .with_columns(pl.col(name).list.get(pl.col("place"), null_on_oob=True) for name in _OF_ALLELE)
        .group_by("row")
        .agg(pl.col(name).drop_nulls().str.join("|") for name in _OF_ALLELE)
    )
    is_alone = ~is_told & (pl.col("n_alts") == 1)
    own = texts.join(listed, on="row", how="left", suffix="_own", maintain_order="left")
    return own.with_columns(
        pl.when(is_alone).then(name).otherwise(f"{name}_own").alias(name) for name in _OF_ALLELE
    ).drop("row")


def significance(clnsig: pl.Expr) -> pl.Expr:
    """P, LP, B, LB, VUS or OTHER from the text of CLNSIG, of any year.

    Its words stand between `|`, `,` and `/`. Those that are none of the five are passed over. Words that all point to
    harm are P if one of them is P, else LP; those that all point to none are B or LB likewise. Words on both sides,
    uncertain beside certain, anything that begins with `Conflicting`, a risk allele or low penetrance, and no word of
    the five are OTHER.
    """
    word = pl.element().str.replace_all(" ", "_").str.strip_chars("_").str.replace("^conflicting.*", "conflicting")
    words = clnsig.str.to_lowercase().str.replace_all("[,/&]", "|").str.split("|")
    found = words.list.eval(word.replace_strict(WORDS, default=0, return_dtype=pl.Int64)).list.unique().list.sum()
    return found.replace_strict(SIGNIFICANCE, default="OTHER", return_dtype=pl.String).fill_null("OTHER")


def release_date(path: Path) -> datetime.date | None:
    """The day of a release, from `##fileDate=` (YYYY-MM-DD or YYYYMMDD) in the header; None where it says none.

    Raises:
        InputError: the file is missing, damaged or no VCF.
    """
    header = next(read_vcf_chunks(path, chunk_bytes=1 << 16, n_columns=8)).header
    for line in header:
        if found := re.match(r"##fileDate=\"?(\d{4})-?(\d{2})-?(\d{2})\b", line, re.IGNORECASE):
            try:
                return datetime.date(*(int(part) for part in found.groups()))
            except ValueError:  # no such day
                return None
    return None


def require_not_older(found: datetime.date | None, before: datetime.date | None, path: Path) -> None:
    """Refuse a ClinVar release that is older than the one used before; a date that is not known refuses nothing.

    Args:
        found: date of the release that is given now.
        before: date of the release that was used last.
        path: file that records `before`.

    Raises:
        InputError: `found` is before `before`.
    """
    if found is not None and before is not None and found < before:
        raise InputError(
            f"the ClinVar file is the release of {found}, expected one not older than that of {before}, which was used "
            f"before ({path}); give the newer file, or remove {path} to go back to the earlier release"
        )
