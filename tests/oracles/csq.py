"""Codon consequences against `bcftools csq`, the one that pysam brings along.

Belongs here: the files that csq wants, its run, its terms as our classes, the kinds of alleles that it does not judge
or judges by another rule, and the comparison of the rest. Does not: region and repeat look-ups (`overlap`).
`pos` is 1-based (VCF), spans are 0-based half-open.

What is compared: the most severe of coding_nonsense, splice, coding_missense, coding_synonymous, else "none". Both
sides see only transcripts with a coding sequence, because csq knows splice sites of those alone. `EXCLUDED` lists what
is left out, with the reason; the rows left out are counted whether or not they differ.
"""

from __future__ import annotations

import gzip
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import polars as pl
import pysam.bcftools

from geno_model.genomics.annotation_io import read_genes
from geno_model.genomics.context import Context
from geno_model.genomics.genome import Genome
from geno_pipeline.demo import DemoConfig, write_demo_inputs
from tests.oracles.annotation_alleles import (
    KEY,
    annotated,
    possible_snvs,
    random_changes,
    retained_alleles,
    with_spans,
)
from tests.shared_data import SHARED, shared_genome
from tests.unit.demo_settings import SMALL

CLASSES = ("coding_nonsense", "splice", "coding_missense", "coding_synonymous")
FLANK_BP = 5
_TERMS = {
    "coding_nonsense": ("frameshift", "stop_gained", "start_lost"),
    "splice": ("splice_acceptor", "splice_donor"),
    # feature_*: an unequal replacement in frame, which csq gives no name of its own.
    "coding_missense": (
        "missense",
        "inframe_deletion",
        "inframe_insertion",
        "inframe_altering",
        "stop_lost",
        "feature_truncation",
        "feature_elongation",
    ),
    "coding_synonymous": ("synonymous", "stop_retained", "start_retained"),
}
_RANK = {term: CLASSES.index(name) for name, terms in _TERMS.items() for term in terms}
_CHANGE = re.compile(r"\|(\d+)([A-Z*?]+)>(\d+)([A-Z*?]+)(?:\||$)")  # amino acids before and after

EXCLUDED = {
    # Ours: an indel that leaves its segment, or lies between two, is judged by the splice site or UTR there, as VEP
    # does, and an MNV base by base. csq counts the bases that are left (frameshift), says coding_sequence, calls an
    # insertion at an exon's first base coding, and of an MNV reports stop_lost, start_lost or the splice site unread.
    "crosses_border": "an indel or MNV over a border of a coding segment, or an insertion at one",
    # csq does not look into the next exon for the rest of the codon, and takes the first base of a replacement for an
    # anchor on the other side of the border. Deletions that shift the frame there are compared.
    "beside_border": "an in-frame deletion or any unequal replacement that ends at a border of a coding segment",
    # csq takes that base for the anchor and forgets that it changes too: of AAT GTC CAG it reads GTCC>T as AAT CAG,
    # which is AAT TAG.
    "no_anchor": "an unequal replacement of, or by, one base that keeps the frame or, says csq, loses the stop",
    # Ours: an unknown amino acid is missense. csq: X to X is synonymous; of a codon whose N lies at an exon's end it
    # even names an amino acid; of one that is incomplete it says nothing.
    "unknown_codon": "an SNV or MNV in a codon with N in it, or in one that the transcript's end cuts short",
    # Ours: the start is lost when the first codon no longer reads M, read where the VCF puts the indel. csq says lost
    # for A TGC TG..., and retained where a shift to the other side of a repeat would spare it.
    "start_codon_indel": "an indel of which csq says start_retained, or start_lost with M still first",
    # csq says stop_retained alone, whatever else the MNV changes: S* to T* is missense.
    "stop_retained_mnv": "an MNV over a stop codon that stays one, and over the codon before it",
}
"""Kinds of alleles that are not compared; see `_kinds` for the exact rules."""


@dataclass(frozen=True, slots=True)
class CsqComparison:
    """n: alleles compared. differing: those whose class differs: contig, pos, ref, alt, ours, theirs, csq (its text).

    excluded: number of alleles left out by kind (an allele of several kinds counts as the first of `EXCLUDED`).
    excluded_differing: how many of them differ.
    """

    n: int
    differing: pl.DataFrame
    excluded: dict[str, int]
    excluded_differing: dict[str, int]


def compare_with_csq(
    annotation: Path, fasta: Path, alleles: pl.DataFrame, genome: Genome, folder: Path
) -> CsqComparison:
    """Compare the classes of alleles under the genes of a GFF3 (Ensembl's) or GTF (the demo's).

    fasta: indexed, what `genome` was made of. alleles: contig, pos, ref, alt, that fit the reference. folder: scratch.
    """
    genes = read_genes(annotation, genome)
    coding = genes.filter(pl.col("feature") == "CDS")
    genes = genes.filter(pl.col("transcript_id").is_in(coding["transcript_id"].unique().implode()))
    texts = run_csq(write_gff3(annotation, genome, folder / "csq.gff3"), fasta, alleles, genome, folder)
    found = annotated(Context.build(genes, None, genome), alleles)
    region = pl.col("region_class")
    found = found.with_columns(
        pl.when(region.is_in(CLASSES)).then(region).otherwise(pl.lit("none")).alias("ours"),
        pl.Series("theirs", [class_of(text) for text in texts]),
        pl.Series("csq", texts, dtype=pl.String),
    ).select(*KEY, "ours", "theirs", "csq")
    found = found.with_columns(_excluded(found, coding, genome))
    differs = pl.col("ours") != pl.col("theirs")
    kept = found.filter(pl.col("excluded").is_null())
    counts = {name: found.filter(pl.col("excluded") == name) for name in EXCLUDED}
    return CsqComparison(
        kept.height,
        kept.filter(differs).drop("excluded"),
        {name: rows.height for name, rows in counts.items()},
        {name: rows.filter(differs).height for name, rows in counts.items()},
    )


def class_of(text: str) -> str:
    """Our class of a BCSQ value, the most severe over its transcripts; "none" when nothing coding or splice is hit."""
    ranks = [
        _RANK[term]
        for part in text.split(",")
        for term in part.split("|")[0].split("&")
        # Of a change outside codons it says feature_* too, but then it names no amino acids.
        if term in _RANK and not (term.startswith("feature") and not _CHANGE.search(part))
    ]
    rank = min(ranks, default=None)
    return "none" if rank is None else CLASSES[rank]


def run_csq(gff3: Path, fasta: Path, alleles: pl.DataFrame, genome: Genome, folder: Path) -> list[str]:
    """BCSQ of each allele on its own (no haplotypes), "" where csq has nothing to say; in the order of the rows."""
    vcf, out = folder / "csq.vcf", folder / "csq.out.vcf"
    rank = {name: number for number, name in enumerate(genome.contigs)}
    ordered = alleles.select(KEY).with_row_index("row").sort(pl.col("contig").replace_strict(rank), "pos", "row")
    with vcf.open("w") as file:
        contigs = "".join(f"##contig=<ID={name},length={length}>\n" for name, length in genome.contigs.items())
        file.write(f"##fileformat=VCFv4.2\n{contigs}#CHROM\tPOS\tID\tREF\tALT\tQUAL\tFILTER\tINFO\n")
        for row, contig, pos, ref, alt in ordered.iter_rows():
            file.write(f"{contig}\t{pos}\t{row}\t{ref}\t{alt}\t.\t.\t.\n")
    options = ("--local-csq", "-p", "a", "-f", str(fasta), "-g", str(gff3), "-Ov", "-o", str(out), str(vcf))
    pysam.bcftools.csq(*options, catch_stdout=False)  # pyright: ignore[reportAttributeAccessIssue]
    texts = [""] * alleles.height
    with out.open() as file:
        for line in file:
            if line[0] != "#":
                fields = line.rstrip("\n").split("\t", 8)
                value = re.search(r"(?:^|;)BCSQ=([^;]*)", fields[7])
                texts[int(fields[2])] = value[1] if value else ""
    return texts


def write_gff3(annotation: Path, genome: Genome, path: Path) -> Path:
    """A GFF3 as csq reads it: the FASTA's contig names, one parent a line. annotation: GFF3 of Ensembl, or a GTF."""
    with gzip.open(annotation, "rt") as file:
        rows = [line.rstrip("\n").split("\t") for line in file if line[0] != "#"]
    rows = [[name, *row[1:]] for row in rows if (name := genome.resolve(row[0])) is not None]
    is_gff3 = "=" in rows[0][8].split(";")[0]
    lines = _one_parent_each(rows) if is_gff3 else _gtf_as_gff3(rows)
    path.write_text("##gff-version 3\n" + "".join("\t".join(row) + "\n" for row in lines))
    return path


def possible_coding_alleles(genes: pl.DataFrame, genome: Genome, n_random: int, step: int = 1) -> pl.DataFrame:
    """Every SNV in the coding segments and 5 bp on either side (step: of every step-th base), and n_random changes."""
    parts = []
    for (contig,), rows in genes.filter(pl.col("feature") == "CDS").group_by("contig", maintain_order=True):
        bases = genome.bases(str(contig))
        segments = rows.select("start_bp", "end_bp").unique().iter_rows()
        places = {place for start, end in segments for place in range(start - FLANK_BP, end + FLANK_BP)}
        known = sorted(place for place in places if 0 < place < len(bases) and bases[place] != ord("N"))
        if known:
            parts += [possible_snvs(str(contig), known[::step], genome)]
            parts += [random_changes(str(contig), known, genome, n_random)]
    return pl.concat(parts).unique().sort(KEY)


def demo_files(folder: Path, config: DemoConfig = SMALL) -> tuple[Path, Path, Genome]:
    """Annotation, FASTA and genome of a demo written into the folder."""
    inputs = write_demo_inputs(folder / "demo", config)
    return inputs.genes, inputs.reference, Genome.open(inputs.reference, folder / "cache")


def run_all(folder: Path) -> list[tuple[str, int, int]]:
    """(name, alleles compared, differences) over all that there is; folder: scratch."""
    genome, data = shared_genome("grch38"), SHARED / "grch38"
    annotation, fasta = data / "chr21_genes.gff3.gz", data / "reference.fa.gz"
    real = retained_alleles(data / "chr21_dbsnp_gnomad_1kg.vcf.gz", genome)
    possible = possible_coding_alleles(read_genes(annotation, genome), genome, 200_000)
    demo_annotation, demo_fasta, demo = demo_files(folder)
    demo_possible = possible_coding_alleles(read_genes(demo_annotation, demo), demo, 50_000)
    results = {
        "codons, chr21 variants": compare_with_csq(annotation, fasta, real, genome, folder),
        "codons, possible alleles of chr21": compare_with_csq(annotation, fasta, possible, genome, folder),
        "codons, demo": compare_with_csq(demo_annotation, demo_fasta, demo_possible, demo, folder),
    }
    return [(name, found.n, found.differing.height) for name, found in results.items()]


def _excluded(found: pl.DataFrame, coding: pl.DataFrame, genome: Genome) -> pl.Series:
    """The first kind of `EXCLUDED` that each allele is of, null for none. found: alleles with csq; coding: CDS rows."""
    borders, unknown = {}, {}
    for (name,), rows in coding.group_by("contig"):
        borders[name] = np.unique(np.concatenate([rows["start_bp"], rows["end_bp"]]))
        unknown[name] = _half_known_codons(rows, genome)
    kinds: list[str | None] = []
    columns = ("contig", "start_bp", "end_bp", _alt_length(), "csq")
    for contig, start, end, alt_length, text in with_spans(found).select(*columns).iter_rows():
        of_contig = borders.get(contig, np.empty(0, dtype=np.int64))
        first, last = np.searchsorted(of_contig, start), np.searchsorted(of_contig, end, side="right")
        near = of_contig[first:last].tolist()
        kinds.append(next(_kinds(start, end, alt_length, near, unknown.get(contig, set()), text), None))
    return pl.Series("excluded", kinds, dtype=pl.String)


def _half_known_codons(coding: pl.DataFrame, genome: Genome) -> set[int]:
    """0-based places of one contig whose codon, in some transcript, has an N in it or is cut short by its end."""
    is_n = genome.bases(coding["contig"][0]) == ord("N")
    found: set[int] = set()
    for _, rows in coding.sort("start_bp").group_by("transcript_id", "strand", maintain_order=True):
        places = np.concatenate([np.arange(*span) for span in rows.select("start_bp", "end_bp").iter_rows()])
        places, phase = (places, rows["phase"][0]) if rows["strand"][0] == "+" else (places[::-1], rows["phase"][-1])
        n_whole = (len(places) - phase) // 3 * 3
        found |= set(np.concatenate([places[:phase], places[phase + n_whole :]]).tolist())
        codons = places[phase : phase + n_whole].reshape(-1, 3)
        n_unknown = is_n[codons].sum(axis=1)
        found |= set(codons[(n_unknown > 0) & (n_unknown < 3)].ravel().tolist())
    return found


def _alt_length() -> pl.Expr:
    """Length of the alternate bases that are left once those shared with the reference are trimmed."""
    change = pl.col("alt").str.len_bytes().cast(pl.Int64) - pl.col("ref").str.len_bytes().cast(pl.Int64)
    return (pl.col("end_bp") - pl.col("start_bp") + change).alias("alt_length")


def _kinds(start: int, end: int, alt_length: int, borders: list[int], unknown: set[int], text: str) -> Iterator[str]:
    """Kinds of `EXCLUDED` of an allele.

    borders: those of coding segments in [start, end]; unknown: places in codons with N; text: its BCSQ.
    """
    replaced = end - start
    is_substitution, is_in_frame = replaced == alt_length, (alt_length - replaced) % 3 == 0
    # Of each transcript: its terms, and the amino acids before and after from which place on.
    parts = [(part.split("|")[0], change) for part in text.split(",") if (change := _CHANGE.search(part))]
    if any(start < border < end or start == end for border in borders):
        yield "crosses_border"
    if borders and not is_substitution and (alt_length or is_in_frame):
        yield "beside_border"
    if min(replaced, alt_length) == 1 and replaced != alt_length and (is_in_frame or "stop_lost" in text):
        yield "no_anchor"
    if is_substitution and not unknown.isdisjoint(range(start, end)):
        yield "unknown_codon"
    keeps_start = any("start_lost" in terms and at[1] == "1" and at[4].startswith("M") for terms, at in parts)
    if not is_substitution and ("start_retained" in text or keeps_start):
        yield "start_codon_indel"
    only_retained = (at for terms, at in parts if "stop_retained" in terms and "stop_gained" not in terms)
    if is_substitution and any(at[2] != at[4] for at in only_retained):
        yield "stop_retained_mnv"


def _one_parent_each(rows: list[list[str]]) -> Iterator[list[str]]:
    """GFF3 rows; one of several parents becomes several rows, of which csq would else see none."""
    for row in rows:
        parent = re.search(r"Parent=([^;]*)", row[8])
        for name in parent[1].split(",") if parent else [""]:
            yield [*row[:8], row[8].replace(parent[0], f"Parent={name}") if parent else row[8]]


def _gtf_as_gff3(rows: list[list[str]]) -> Iterator[list[str]]:
    """GTF rows as Ensembl's GFF3: the stop codon becomes part of the coding sequence, phases are counted anew.

    Coding sequences must be complete at the 5' end (the demo's are).
    """
    coding: dict[str, set[int]] = {}
    of_transcript: dict[str, list[str]] = {}
    for row in rows:
        names = dict(re.findall(r'(\w+) "([^"]*)"', row[8]))
        label = f"Name={names['gene_name']};biotype={names['gene_biotype']}"
        gene, transcript = f"gene:{names['gene_id']}", f"transcript:{names.get('transcript_id')}"
        if row[2] == "gene":
            yield [*row[:8], f"ID={gene};{label}"]
        elif row[2] == "transcript":
            of_transcript[transcript] = row
            yield [*row[:8], f"ID={transcript};Parent={gene};{label}"]
        elif row[2] == "exon":
            yield [*row[:8], f"Parent={transcript}"]
        elif row[2] in ("CDS", "stop_codon"):
            coding.setdefault(transcript, set()).update(range(int(row[3]), int(row[4]) + 1))
    for transcript, places in coding.items():
        row = of_transcript[transcript]
        done = 0
        ordered = sorted(places, reverse=row[6] == "-")
        begins = [i for i, place in enumerate(ordered) if i == 0 or abs(place - ordered[i - 1]) > 1]
        for begin, end in zip(begins, [*begins[1:], len(ordered)], strict=True):
            low, high = sorted((ordered[begin], ordered[end - 1]))
            yield [*row[:2], "CDS", str(low), str(high), ".", row[6], str(-done % 3), f"Parent={transcript}"]
            done += end - begin
