"""Alleles as `bcftools norm` trims and left-aligns them, beside ours: an oracle for normalisation.

Belongs here: running the tool over alleles, and over every record of a VCF; which real and made-up files there are.
Does not: whole haplotypes (`consensus`), alleles worked by hand (`tests/unit/test_alleles.py`).

The concept: every allele of a file that consists of bases and lies on a contig of the FASTA goes to the tool, one to a
record, as the file spells it. The tool leaves out those that do not match the reference, and those alone we must call
`ref_mismatch`. Of the others those that are longer than 16 bp as the tool writes them are the ones that we must call
`too_long`, and the rest must stand at the tool's position with the tool's alleles.

The tool is the bcftools that pysam brings; its dispatcher is not safe in threads. Columns `pos` are 1-based.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import polars as pl
import pysam.bcftools

from geno_model.genomics.alleles import to_alleles
from geno_model.genomics.edits import V1_MAX_LEN
from geno_model.genomics.genome import Genome
from geno_model.genomics.vcf_reader import read_vcf_chunks
from geno_pipeline.config import load_profile
from geno_pipeline.demo import DemoConfig, DemoInputs, write_demo_inputs
from tests.shared_data import REAL_VCFS, SHARED, shared_genome

DEMO_FILES = ("gnomad", "phased", "clinvar", "sample")


@dataclass(frozen=True, slots=True)
class NormResult:
    """What the comparison of one file gave.

    n_records: in the file. n_alleles: in the file. n_asked: alleles that the tool was asked about; the others have no
    bases to align (symbolic, `*`, breakends, N) or no place in the FASTA. n_retained: those of them that we keep.
    n_moved: those kept that stand elsewhere than in the file.
    differences: every allele on which the two disagree: contig, vcf_pos, vcf_ref, vcf_alt, reason, pos, ref, alt
    (ours), tool_pos, tool_ref, tool_alt (null where it left the allele out).
    """

    n_records: int
    n_alleles: int
    n_asked: int
    n_retained: int
    n_moved: int
    differences: pl.DataFrame


def bcftools_norm(
    frame: pl.DataFrame, genome: Genome, fasta: Path, folder: Path, *, leave_out_mismatches: bool = False
) -> pl.DataFrame:
    """contig, pos, ref, alt of each row after `bcftools norm -f`, in the order of the rows.

    frame: contig (the FASTA's name), pos, ref, alt. folder: for temporary files. leave_out_mismatches: a row whose ref
    is not what the FASTA has gives nulls instead of an error (SamtoolsError).
    """
    contigs = "".join(f"##contig=<ID={name},length={length}>\n" for name, length in genome.contigs.items())
    header = f"##fileformat=VCFv4.2\n{contigs}#CHROM\tPOS\tID\tREF\tALT\tQUAL\tFILTER\tINFO\n"
    dot = pl.lit(".")
    number = pl.int_range(pl.len(), dtype=pl.Int64).alias("id")
    body = frame.select("contig", "pos", number, "ref", "alt", dot.alias("q"), dot.alias("f"), dot.alias("i"))
    given, made = folder / "in.vcf", folder / "out.vcf"
    given.write_text(header + body.write_csv(separator="\t", include_header=False, quote_style="never"))
    check = "x" if leave_out_mismatches else "e"
    pysam.bcftools.norm(  # pyright: ignore[reportAttributeAccessIssue]
        "-f", str(fasta), "-c", check, "-o", str(made), str(given), catch_stdout=False
    )
    lines = pl.concat([chunk.lines for chunk in read_vcf_chunks(made)])
    normalised = lines.select(pl.col("id").cast(pl.Int64), pl.col("chrom").alias("contig"), "pos", "ref", "alt")
    if normalised["id"].is_duplicated().any():
        raise ValueError(f"{made}: bcftools norm wrote a record twice; expected each of {frame.height} at most once")
    asked = frame.select(number)
    return asked.join(normalised, on="id", how="left", maintain_order="left").drop("id")


def compare_file(vcf: Path, fasta: Path, genome: Genome, folder: Path) -> NormResult:
    """Compare every allele of a VCF. folder: for temporary files."""
    chunks = [chunk.lines for chunk in read_vcf_chunks(vcf, n_columns=8)]
    alleles = pl.concat([to_alleles(lines, genome) for lines in chunks])
    asked = alleles.filter(pl.col("reason").is_null() | pl.col("reason").is_in(["too_long", "ref_mismatch"]))
    as_given = asked.select("contig", pos="vcf_pos", ref="vcf_ref", alt="vcf_alt")
    theirs = bcftools_norm(as_given, genome, fasta, folder, leave_out_mismatches=True)
    both = asked.with_columns(
        theirs["pos"].alias("tool_pos"), theirs["ref"].alias("tool_ref"), theirs["alt"].alias("tool_alt")
    )
    longest = pl.max_horizontal(pl.col("tool_ref").str.len_bytes(), pl.col("tool_alt").str.len_bytes())
    is_same = (
        pl.when(pl.col("tool_pos").is_null()).then(pl.col("reason").eq_missing("ref_mismatch"))
        .when(longest > V1_MAX_LEN).then(pl.col("reason").eq_missing("too_long"))
        .otherwise(
            pl.col("reason").is_null()
            & (pl.col("pos") == pl.col("tool_pos"))
            & (pl.col("ref") == pl.col("tool_ref"))
            & (pl.col("alt") == pl.col("tool_alt"))
        )
    )  # fmt: skip
    columns = ["contig", "vcf_pos", "vcf_ref", "vcf_alt", "reason", "pos", "ref", "alt"]
    differences = both.filter(~is_same).select(*columns, "tool_pos", "tool_ref", "tool_alt")
    retained = asked.filter(pl.col("reason").is_null())
    n_moved = retained.filter(pl.col("pos") != pl.col("vcf_pos")).height
    n_records = sum(lines.height for lines in chunks)
    return NormResult(n_records, alleles.height, asked.height, retained.height, n_moved, differences)


def compare_real(name: str, folder: Path) -> NormResult:
    """Compare one of `REAL_VCFS`. folder: for temporary files."""
    build = name.split("/")[0]
    return compare_file(SHARED / f"{name}.vcf.gz", SHARED / build / "reference.fa.gz", shared_genome(build), folder)


def compare_demo(inputs: DemoInputs, name: str, folder: Path) -> NormResult:
    """Compare one of `DEMO_FILES` of a demo that is written already. folder: for temporary files."""
    genome = Genome.open(inputs.reference, cache_dir=folder)
    return compare_file(inputs.reference.parent / f"{name}.vcf.gz", inputs.reference, genome, folder)


def full_demo(folder: Path) -> DemoInputs:
    """The inputs of the profile `demo`, as the asset `demo_inputs` writes them, in `folder`."""
    profile = load_profile("demo")
    if profile.demo is None:
        raise ValueError("the profile demo has no section `demo`; expected one, it is synthetic")
    config = DemoConfig(seed=profile.seed, contigs=profile.demo.contigs, n_samples=profile.demo.n_samples)
    return write_demo_inputs(folder, config)


def run_all(folder: Path) -> list[tuple[str, int, int]]:
    """(name, alleles compared, differences) over every record of all real files and of the full demo.

    folder: for temporary files, made if missing.
    """
    folder.mkdir(parents=True, exist_ok=True)
    found = [(name, compare_real(name, folder)) for name in REAL_VCFS]
    inputs = full_demo(folder / "demo_inputs")
    found += [(f"demo/{name}", compare_demo(inputs, name, folder)) for name in DEMO_FILES]
    return [(name, result.n_asked, result.differences.height) for name, result in found]
