"""Writing the demo inputs as the ordinary files that the pipeline reads.

Belongs here: FASTA, GTF, RepeatMasker, BED and VCF text; compression and indexes; the whole set in one call.
Does not belong here: anything that draws a random number.

BGZF carries no time stamp: equal settings give equal bytes. A caller that may be killed gives a folder of
`geno_model.files.replacing_folder`.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import polars as pl
import pysam
from numpy.typing import NDArray

from geno_pipeline.demo.benchmarks import Drawn, brca1_like, brca2_like, traitgym_like
from geno_pipeline.demo.clinvar import make_clinvar
from geno_pipeline.demo.config import DemoConfig
from geno_pipeline.demo.effects import find_effects
from geno_pipeline.demo.genes import Gene, Intervals, Transcript
from geno_pipeline.demo.genome import ContigGenome, make_genome
from geno_pipeline.demo.population import simulate_population
from geno_pipeline.demo.records import (
    CLINVAR_HEADER,
    CORE,
    GNOMAD_HEADER,
    PHASED_HEADER,
    SAMPLE_HEADER,
    SV_HEADER,
    clinvar_records,
    population_records,
    sample_records,
)
from geno_pipeline.demo.sequence import LETTERS

FILE_DATE = "2026-01-01"
_LINE_BP = 60
_NOTICE = "##synthetic=Made-up genome, people and labels. Not human data; of no medical meaning."
_FIRST_CLINVAR_ID = 100_001
_FILES = {
    "reference": "reference.fa.gz",
    "genes": "genes.gtf.gz",
    "repeats": "repeats.out.gz",
    "duplications": "segdups.bed.gz",
    "gnomad": "gnomad.vcf.gz",
    "phased": "phased.vcf.gz",
    "clinvar": "clinvar.vcf.gz",
    "sample": "sample.vcf.gz",
    "brca1": "brca1.csv",
    "brca2": "brca2.parquet",
    "traitgym": "traitgym.parquet",
}


@dataclass(frozen=True, slots=True)
class DemoInputs:
    """Paths of the files written, and what is in them.

    `reference` has .fai and .gzi beside it, `genes` and the VCFs a .tbi. `repeats` is a RepeatMasker .out file;
    `duplications` a BED (contig, start, end, "segmental_dup"). `brca1`, `brca2` and `traitgym` are benchmark tables in
    three published layouts. `summary` counts genes, variants and labels.
    """

    reference: Path
    genes: Path
    repeats: Path
    duplications: Path
    gnomad: Path
    phased: Path
    clinvar: Path
    sample: Path
    brca1: Path
    brca2: Path
    traitgym: Path
    summary: dict[str, float]


def write_demo_inputs(folder: Path, config: DemoConfig) -> DemoInputs:
    """Make the whole demo and write its files into `folder` (made if missing; files of the same name are replaced).

    Equal `config` gives equal bytes. About 10 s for the default 3 Mbp.

    Raises:
        DemoConfigError: the settings leave no room for a gene.
        OSError: the folder cannot be written.
    """
    folder.mkdir(parents=True, exist_ok=True)
    contigs = make_genome(config)
    drawn = [(contig, find_effects(contig)) for contig in contigs]
    tables, summary = _make_tables(drawn, config)
    names = [f"demo{number:03d}" for number in range(1, config.n_samples + 1)]
    _write_bgzip(folder / _FILES["reference"], (_fasta(contig) for contig in contigs))
    pysam.faidx(str(folder / _FILES["reference"]))  # pyright: ignore[reportAttributeAccessIssue]
    _write_bgzip(folder / _FILES["genes"], _gtf(contigs))
    pysam.tabix_index(str(folder / _FILES["genes"]), preset="gff", force=True)
    _write_bgzip(folder / _FILES["repeats"], _repeat_masker(contigs))
    _write_bgzip(folder / _FILES["duplications"], map(_bed, contigs))
    headers = {
        "gnomad": ((*GNOMAD_HEADER, *SV_HEADER), []),
        "phased": ((*PHASED_HEADER, *SV_HEADER), names),
        "clinvar": (CLINVAR_HEADER, []),
        "sample": ((*SAMPLE_HEADER, *SV_HEADER), names[:1]),
    }
    for name, (lines, people) in headers.items():
        _write_vcf(folder / _FILES[name], pl.concat(tables[name]), _header(contigs, lines, people))
    _write_benchmarks(folder, drawn, config)
    return DemoInputs(**{field: folder / name for field, name in _FILES.items()}, summary=summary)


def _make_tables(drawn: Sequence[Drawn], config: DemoConfig) -> tuple[dict[str, list[pl.DataFrame]], dict[str, float]]:
    """Records of every VCF by contig, and the counts of the summary."""
    tables: dict[str, list[pl.DataFrame]] = {name: [] for name in ("gnomad", "phased", "clinvar", "sample")}
    labels: list[pl.DataFrame] = []
    alleles: list[pl.DataFrame] = []
    contigs = tuple(contig for contig, _ in drawn)
    scored = contigs[-config.sample_contigs :]
    scored_bp = sum(contig.codes.size for contig in scored)
    for contig, effects in drawn:
        people = simulate_population(contig, effects, config)
        labelled = make_clinvar(contig, effects, people, config)
        records = population_records(contig, people, config)
        first_id = _FIRST_CLINVAR_ID + sum(frame.height for frame in tables["clinvar"])
        tables["gnomad"].append(records.sites)
        tables["phased"].append(records.phased)
        tables["clinvar"].append(clinvar_records(labelled, contig, first_id, config))
        if contig in scored:
            share = contig.codes.size / scored_bp
            tables["sample"].append(sample_records(contig, effects, people, labelled, share, config))
        labels.append(labelled.select("label"))
        alleles.append(people.alleles.select("ref", "alt", "ac"))
    return tables, _summary(contigs, pl.concat(alleles), pl.concat(labels), 2 * config.n_samples)


def _write_benchmarks(folder: Path, drawn: Sequence[Drawn], config: DemoConfig) -> None:
    """The three tables, the first with lines before its header, as supplements have them."""
    notice = "SYNTHETIC saturation screen of a made-up gene\nNot human data; of no medical meaning\n"
    screen = brca1_like(drawn, config).write_csv(null_value="", float_precision=4)
    (folder / _FILES["brca1"]).write_text(notice + screen.replace(",NaN,", ",NA,"))
    for name, table in (("brca2", brca2_like(drawn, config)), ("traitgym", traitgym_like(drawn, config))):
        table.write_parquet(folder / _FILES[name], compression="zstd", statistics=False)


def _summary(
    contigs: tuple[ContigGenome, ...], alleles: pl.DataFrame, labels: pl.DataFrame, n_haplotypes: int
) -> dict[str, float]:
    """Counts for metadata: bases, genes, coding fraction, alleles common (AF >= 1 %) and rare, labels by class."""
    bases = sum(contig.codes.size for contig in contigs)
    common = int((alleles["ac"] >= 0.01 * n_haplotypes).sum())
    indels = alleles.filter(pl.col("ref").str.len_bytes() != pl.col("alt").str.len_bytes()).height
    counted = dict(labels["label"].value_counts().sort("label").iter_rows())
    return {
        "bases": bases,
        "genes": sum(len(contig.genes) for contig in contigs),
        "coding_fraction": sum(contig.coding_fraction * contig.codes.size for contig in contigs) / bases,
        "masked_fraction": sum(int(contig.masked.sum()) for contig in contigs) / bases,
        "common_alleles": common,
        "rare_alleles": alleles.height - common,
        "indel_share": indels / max(1, alleles.height),
        **{f"clinvar_{label}": count for label, count in counted.items()},
    }


def _write_bgzip(path: Path, texts: Iterable[bytes]) -> None:
    """Write byte strings one after another as BGZF."""
    with pysam.BGZFile(str(path), "wb", index=None) as handle:
        for text in texts:
            handle.write(text)


def _fasta(contig: ContigGenome) -> bytes:
    """One FASTA record, 60 bases a line, repeats in lower case."""
    letters = LETTERS[contig.codes] + np.where(contig.masked, np.uint8(32), np.uint8(0))
    whole = letters.size // _LINE_BP * _LINE_BP
    rows = np.full((whole // _LINE_BP, _LINE_BP + 1), ord("\n"), dtype=np.uint8)
    rows[:, :_LINE_BP] = letters[:whole].reshape(-1, _LINE_BP)
    rest = letters[whole:].tobytes()
    return b">%s synthetic demo\n" % contig.name.encode() + rows.tobytes() + (rest + b"\n" if rest else b"")


def _phases(cds: Intervals, strand: str) -> NDArray[np.int64]:
    """GTF frame of each CDS interval (genomic order): bases before the first whole codon, read in sense direction."""
    sizes = (cds[:, 1] - cds[:, 0])[:: 1 if strand == "+" else -1]
    phases = -np.r_[0, np.cumsum(sizes)[:-1]] % 3
    return phases[:: 1 if strand == "+" else -1]


def _transcript_rows(gene: Gene, transcript: Transcript, number: int) -> list[tuple[str, int, int, str, str]]:
    """(feature, start_bp, end_bp, frame, attributes); as in Ensembl's GTF, CDS leaves the stop codon out."""
    exons = transcript.exons
    named = (
        f'gene_id "DEMOG{gene.number:05d}"; transcript_id "DEMOT{gene.number:05d}.{number}"; gene_name "{gene.name}"; '
        f'gene_biotype "{gene.biotype}"; transcript_biotype "{gene.biotype}";'
    )
    rows = [("transcript", int(exons[0, 0]), int(exons[-1, 1]), ".", named)]
    for order, (start, end) in enumerate(exons if gene.strand == "+" else exons[::-1], start=1):
        rows.append(("exon", int(start), int(end), ".", f'{named} exon_number "{order}";'))
    if transcript.coding is None:
        return rows
    low, high = transcript.coding
    forward = gene.strand == "+"
    start_codon, stop_codon = ((low, low + 3), (high - 3, high)) if forward else ((high - 3, high), (low, low + 3))
    translated = Transcript(exons, (low, high - 3) if forward else (low + 3, high)).cds()
    for (start, end), phase in zip(translated, _phases(translated, gene.strand), strict=True):
        rows.append(("CDS", int(start), int(end), str(phase), named))
    rows.append(("start_codon", *start_codon, "0", named))
    rows.append(("stop_codon", *stop_codon, "0", named))
    left, right = ("five_prime_utr", "three_prime_utr") if forward else ("three_prime_utr", "five_prime_utr")
    for feature, span in ((left, (int(exons[0, 0]), low)), (right, (high, int(exons[-1, 1])))):
        rows += [(feature, int(a), int(b), ".", named) for a, b in Transcript(exons, span).cds()]
    return rows


def _gtf(contigs: tuple[ContigGenome, ...]) -> Iterable[bytes]:
    """GTF lines, sorted by start within a contig; 1-based, closed."""
    yield b"#!genome-build synthetic-demo\n#!synthetic not human data\n"
    for contig in contigs:
        rows: list[tuple[int, str]] = []
        for gene in contig.genes:
            start, end = gene.span
            gene_text = f'gene_id "DEMOG{gene.number:05d}"; gene_name "{gene.name}"; gene_biotype "{gene.biotype}";'
            listed = [("gene", start, end, ".", gene_text)]
            for number, transcript in enumerate(gene.transcripts, start=1):
                listed += _transcript_rows(gene, transcript, number)
            for feature, low, high, frame, text in listed:
                line = f"{contig.name}\tdemo\t{feature}\t{low + 1}\t{high}\t.\t{gene.strand}\t{frame}\t{text}\n"
                rows.append((low, line))
        yield "".join(line for _, line in sorted(rows, key=lambda row: row[0])).encode()


def _repeat_masker(contigs: tuple[ContigGenome, ...]) -> Iterable[bytes]:
    """RepeatMasker .out: three header lines, then 15 columns separated by blanks; 1-based, closed."""
    yield (
        b"   SW   perc perc perc  query     position in query              matching       repeat            "
        b"position in repeat\nscore   div. del. ins.  sequence  begin  end          (left)   repeat         "
        b"class/family     begin  end    (left)      ID\n\n"
    )
    number = 0
    for contig in contigs:
        lines: list[str] = []
        for row in contig.repeats.iter_rows(named=True):
            number += 1
            size = row["end_bp"] - row["start_bp"]
            score = int(size * max(1.0, 9.0 - 0.25 * row["divergence"]))
            first, last, left = row["consensus_start"], row["consensus_end"], row["consensus_left"]
            forward = row["strand"] == "+"
            behind, rest = f"({contig.codes.size - row['end_bp']})", f"({left})"
            where = f"{first:>6} {last:>6} {rest:>6}" if forward else f"{rest:>6} {last:>6} {first:>6}"
            lines.append(
                f"{score:>6} {row['divergence']:>5.1f} {row['divergence'] / 20:>4.1f} {row['divergence'] / 20:>4.1f}  "
                f"{contig.name:<8} {row['start_bp'] + 1:>9} {row['end_bp']:>9} "
                f"{behind:>11} {'+' if forward else 'C'} "
                f"{row['name']:<14} {row['family']:<16} {where} {number:>6}\n"
            )
        yield "".join(lines).encode()


def _bed(contig: ContigGenome) -> bytes:
    """Tandem segmental duplications as BED, 0-based half-open."""
    return "".join(f"{contig.name}\t{start}\t{end}\tsegmental_dup\n" for start, end in contig.duplications).encode()


def _header(contigs: tuple[ContigGenome, ...], lines: Iterable[str], people: list[str]) -> str:
    """VCF header; says that it is synthetic in the source, the reference and a line of its own."""
    columns = "#CHROM\tPOS\tID\tREF\tALT\tQUAL\tFILTER\tINFO" + ("\tFORMAT\t" + "\t".join(people) if people else "")
    top = ("##fileformat=VCFv4.2", f"##fileDate={FILE_DATE}", "##source=synthetic-demo", "##reference=synthetic-demo")
    lengths = (f"##contig=<ID={contig.name},length={contig.codes.size}>" for contig in contigs)
    passed = '##FILTER=<ID=PASS,Description="All filters passed">'
    return "\n".join((*top, _NOTICE, passed, *lengths, *lines, columns)) + "\n"


def _write_vcf(path: Path, records: pl.DataFrame, header: str) -> None:
    """Write records (columns CORE and, with people, format and genotypes) as bgzip with a tabix index."""
    chosen = [name for name in (*CORE, "format", "genotypes") if name in records.columns]
    body = records.select(pl.concat_str([pl.col(name).cast(pl.String) for name in chosen], separator="\t"))
    text = "\n".join(body.to_series()) + "\n" if records.height else ""
    _write_bgzip(path, (header.encode(), text.encode()))
    pysam.tabix_index(str(path), preset="vcf", force=True)
