"""ClinVar as a table: what laboratories said of each allele (spec 3).

Belongs here: which of ClinVar's words, of any year, mean what; the date of a release.
Does not belong here: reading VCF text and alleles (`variants`), consequences of our own (`geno_model.genomics`).

Concept: a value of CLNSIG is a set of words. Those that are none of the five (drug_response, risk_factor, ...) say
nothing about harm and are passed over; what is left either points one way or counts as OTHER.
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
from geno_model.genomics.vcf_reader import info_field, read_vcf_chunks
from geno_pipeline.build.variants import Ledger, allele_chunks, in_contig_order

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
    # until 2017; 1, 6, 7 and 255 are other words
    "5": 1,
    "4": 2,
    "2": 4,
    "3": 8,
    "0": 16,
}
SIGNIFICANCE = {1: "P", 1 + 2: "P", 2: "LP", 4: "B", 4 + 8: "B", 8: "LB", 16: "VUS"}


def ingest_clinvar(
    path: Path, genome: Genome, contigs: Collection[str], *, source: str = "clinvar"
) -> tuple[pl.DataFrame, pl.DataFrame]:
    """ClinVar alleles with significance, stars, consequence and gene; see `clinvar_facts`.

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
        facts = chunk.lines.select("record", *clinvar_facts())
        found = ledger.count(alleles.join(facts, on="record", how="left", maintain_order="left"))
        kept.append(found.select(ClinvarVariants.empty().columns))
    table = ledger.move_duplicates(pl.concat([ClinvarVariants.empty(), *kept]))
    return in_contig_order(table, contigs), ledger.table()


def clinvar_facts() -> list[pl.Expr]:
    """Columns clnsig, stars, is_coding, consequence and gene from a column `info`.

    - CLNSIG: see `significance`.
    - Stars: GOLD_STARS where the file has it, else from CLNREVSTAT, of several values the highest.
    - MC: the most severe term; coding when ANY term lies in a coding sequence.
    - Gene: the first symbol of GENEINFO.
    """
    review = info_field("info", "CLNREVSTAT").str.split("|")
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
    return [
        significance(info_field("info", "CLNSIG")).alias("clnsig"),
        pl.coalesce(gold, stars, pl.lit(0, pl.Int8)).alias("stars"),
        terms.list.eval(pl.element().is_in(list(CODING))).list.any().alias("is_coding"),
        terms.list.get(severity.list.arg_min()).alias("consequence"),
        gene.alias("gene"),
    ]


def significance(clnsig: pl.Expr) -> pl.Expr:
    """P, LP, B, LB, VUS or OTHER from the text of CLNSIG, of any year.

    Its words stand between `|`, `,` and `/`. Those that are none of the five are passed over. Words that all point to
    harm are P if one of them is P, else LP; those that all point to none are B or LB likewise. Words on both sides,
    uncertain beside certain, anything that begins with `Conflicting`, and no word of the five are OTHER.
    """
    word = pl.element().str.replace_all(" ", "_").str.strip_chars("_").str.replace("^conflicting.*", "conflicting")
    words = clnsig.str.to_lowercase().str.replace_all("[,/]", "|").str.split("|")
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
