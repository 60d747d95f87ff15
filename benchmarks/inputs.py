"""Made-up inputs of a size that matters: a contig of 100 Mbp and a site file like gnomAD's.

Belongs here: what the benchmarks of genomics and of the data set read. Does not: measuring.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import polars as pl
import pysam

from geno_model.genomics.genome import Genome
from geno_model.genomics.samplers import indel, mnv, uniform_snv

CONTIG = "chr1"
CONTIG_BP = 100_000_000
LINE_BP = 100
POPULATIONS = ("afr", "amr", "eas", "nfe", "sas")
_BLOCK = 500_000  # bp from which edits are drawn at once


def write_fasta(path: Path, rng: np.random.Generator, length_bp: int = CONTIG_BP) -> Path:
    """One contig of random bases in lines of 100, every tenth stretch of 5,000 bp a repeat of two letters."""
    bases = np.frombuffer(b"ACGT", dtype=np.uint8)[rng.integers(0, 4, length_bp, dtype=np.uint8)]
    bases = bases.reshape(-1, 5_000)
    bases[::10] = np.resize(np.frombuffer(b"CA", dtype=np.uint8), 5_000)  # where indels shift far
    lines = np.pad(bases.reshape(-1, LINE_BP), ((0, 0), (0, 1)), constant_values=ord("\n"))
    path.write_bytes(f">{CONTIG}\n".encode() + lines.tobytes())
    return path


def write_vcf(path: Path, genome: Genome, n_records: int, rng: np.random.Generator) -> Path:
    """A bgzip VCF of sorted sites: 88 % SNVs, 10 % indels, 2 % MNVs, one in twenty filtered, nine INFO fields.

    One record in fifty has two ALT alleles.
    """
    length = genome.contigs[CONTIG]
    n_blocks = length // _BLOCK
    counts = np.diff(np.linspace(0, n_records, n_blocks + 1).astype(int))
    with pysam.BGZFile(str(path), "wb", index=None) as file:
        file.write(_header(length).encode())  # pyright: ignore[reportAttributeAccessIssue]
        for block, n in enumerate(counts.tolist()):
            start = block * _BLOCK
            window = genome.window(CONTIG, start, start + _BLOCK)
            n_indels, n_mnvs = n // 10, n // 50
            drawn = [
                uniform_snv(window, n - n_indels - n_mnvs, rng),
                indel(window, n_indels, rng),
                mnv(window, n_mnvs, rng),
            ]
            file.write(_lines(pl.concat(drawn).sort("rel_pos", "ref", "alt"), start, rng).encode())  # pyright: ignore[reportAttributeAccessIssue]
    pysam.tabix_index(str(path), preset="vcf", force=True)
    return path


def _header(length: int) -> str:
    counts = "".join(
        f'##INFO=<ID={key},Number={n},Type=Integer,Description="count">\n' for key, n in (("AC", "A"), ("AN", "1"))
    )
    shares = "".join(
        f'##INFO=<ID={key},Number=A,Type=Float,Description="frequency">\n'
        for key in ("AF", *(f"AF_{p}" for p in POPULATIONS))
    )
    return (
        f'##fileformat=VCFv4.2\n##contig=<ID={CONTIG},length={length}>\n##FILTER=<ID=AC0,Description="none">\n'
        f'{counts}{shares}##INFO=<ID=vep,Number=.,Type=String,Description="consequence">\n'
        "#CHROM\tPOS\tID\tREF\tALT\tQUAL\tFILTER\tINFO\n"
    )


def _lines(edits: pl.DataFrame, start_bp: int, rng: np.random.Generator) -> str:
    n = edits.height
    share = pl.lit(pl.Series(rng.random(n) ** 3)).round_sig_figs(6)
    is_double = (
        (pl.int_range(n) % 50 == 49) & (pl.col("ref").str.len_bytes() == 1) & (pl.col("alt").str.len_bytes() == 1)
    )

    def per_allele(value: pl.Expr) -> pl.Expr:
        text = value.cast(pl.String)
        return pl.when(is_double).then(pl.concat_str(text, pl.lit(","), text)).otherwise(text)

    inserted = pl.concat_str("alt", pl.lit(","), "ref", pl.lit("TT"))
    fields = [pl.lit("AC="), per_allele((share * 152_000).cast(pl.Int64)), pl.lit(";AN=152000")]
    for key in ("AF", *(f"AF_{population}" for population in POPULATIONS)):
        fields += [pl.lit(f";{key}="), per_allele(share)]
    fields += [pl.lit(";vep=missense_variant|GENE"), (pl.int_range(n) % 1_000).cast(pl.String)]
    return edits.select(
        pl.lit(CONTIG), pl.col("rel_pos") + start_bp + 1,
        pl.concat_str(pl.lit("rs"), pl.col("rel_pos") + start_bp).alias("id"),
        "ref", pl.when(is_double).then(inserted).otherwise("alt").alias("alt"), pl.lit(".").alias("qual"),
        pl.when(pl.int_range(n) % 20 == 0).then(pl.lit("AC0")).otherwise(pl.lit("PASS")).alias("filter"),
        pl.concat_str(fields).alias("info"),
    ).write_csv(separator="\t", include_header=False, quote_style="never")  # fmt: skip
