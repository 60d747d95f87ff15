"""The VCF of an import (spec 5).

Belongs here: header, records as text, and the rule that the file appears whole, read back and counted, or not at all.
Does not: which rows become records (`genotypes`).
"""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import polars as pl
import pysam

from geno_model.genomics.builds import build_of
from geno_model.genomics.genome import Genome
from geno_model.importing.genotypes import Judged
from geno_model.scoring.bgzip import BgzipFile
from geno_model.scoring.errors import OutputError
from geno_model.scoring.vcf_io import RESEARCH_NOTICE

SUFFIXES = (".vcf", ".vcf.gz")
_TABIX_REACH_BP = 1 << 29
_LINES_AT_ONCE = 100_000
_BASES = ("A", "C", "G", "T")


def output_suffix(path: Path) -> str:
    """`.vcf` or `.vcf.gz`. Raises `OutputError` for any other name."""
    for suffix in SUFFIXES:
        if path.name.endswith(suffix) and path.name != suffix:
            return suffix
    raise OutputError(f"output {path} has no suffix that names a format; expected one of {', '.join(SUFFIXES)}")


def vcf_header(genome: Genome, sample: str) -> list[str]:
    """Header lines of VCF 4.3, the FASTA's contigs with lengths and, where it is a known one, its build."""
    build = build_of(genome.contigs)
    assembly = f",assembly={build}" if build else ""
    return [
        "##fileformat=VCFv4.3",
        "##source=geno-import",
        f"##geno_import_notice={RESEARCH_NOTICE}",
        f"##reference={build or genome.fasta.name}",
        *(f"##contig=<ID={name},length={length}{assembly}>" for name, length in genome.contigs.items()),
        '##FORMAT=<ID=GT,Number=1,Type=String,Description="Genotype">',
        "\t".join(("#CHROM", "POS", "ID", "REF", "ALT", "QUAL", "FILTER", "INFO", "FORMAT", sample)),
    ]


def vcf_lines(judged: Judged, ids: pl.Series, *, all_sites: bool) -> pl.Series:
    """Records as text, sorted as the FASTA is.

    ids: the marker name of each row of the export. One that VCF does not allow, or that an earlier record has, is `.`.
    all_sites: homozygous reference sites too, with ALT `.`.
    """
    sites = judged.sites
    if not all_sites:
        sites = sites.filter((pl.col("first") != pl.col("ref")) | (pl.col("second") != pl.col("ref")))
    ref, first, second = (sites[name].to_numpy() for name in ("ref", "first", "second"))
    low, high = np.minimum(first, second), np.maximum(first, second)
    is_two = (low != ref) & (high != ref) & (low != high)
    only = np.where(low != ref, low, high)  # the reference base itself at a reference site
    alt = pl.Series(_letters(only)) + pl.Series(np.where(is_two, np.char.add(",", _letters(high)), ""))
    alleles = np.stack([(first != ref) * 1, (second != ref) * 1])
    alleles = np.where(is_two, [[1], [2]], np.sort(alleles, axis=0)).astype(str)
    genotype = np.where(sites["is_haploid"], alleles[0], np.char.add(np.char.add(alleles[0], "/"), alleles[1]))
    name = ids.gather(sites["row"])
    is_good = name.str.contains(r"^[A-Za-z0-9_.:\-]+$").fill_null(False) & name.is_first_distinct()
    columns = sites.select(
        pl.col("contig"),
        pl.col("pos").cast(pl.String),
        pl.when(is_good).then(name).otherwise(pl.lit(".")).alias("id"),
        pl.Series("ref", _letters(ref)),
        pl.when(pl.Series((first == ref) & (second == ref))).then(pl.lit(".")).otherwise(alt).alias("alt"),
        pl.lit(".\t.\t.\tGT").alias("fixed"),
        pl.Series("genotype", genotype),
    )
    return columns.select(pl.concat_str(pl.all(), separator="\t").alias("line"))["line"]


def write_vcf(path: Path, header: Sequence[str], lines: pl.Series, before: Callable[[], None]) -> str | None:
    """Write, read back and only then rename; on any error nothing of the output is left.

    before: called just before the file gets its name, may raise. Returns why no index was made, if none was.
    """
    suffix = output_suffix(path)
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp{suffix}")
    index = Path(f"{temporary}.tbi")
    note = None
    try:
        _write(temporary, header, lines, compress=suffix == ".vcf.gz")
        _read_back(temporary, lines.len())
        if suffix == ".vcf.gz":
            note = _beyond_tabix(lines)
            if note is None:
                pysam.tabix_index(str(temporary), preset="vcf", force=True)
        before()
        os.replace(temporary, path)
        if index.exists():
            os.replace(index, f"{path}.tbi")
        elif suffix == ".vcf.gz":  # an index of an older file of that name would lie
            Path(f"{path}.tbi").unlink(missing_ok=True)
    finally:
        temporary.unlink(missing_ok=True)
        index.unlink(missing_ok=True)
    return note


def is_sample_name(name: str) -> bool:
    """Whether a text can head a VCF column: one line, no tab, not empty, no blank at an end."""
    return bool(name) and name == name.strip() and name.isprintable()


def _letters(codes: np.ndarray) -> np.ndarray:
    return np.array(_BASES)[codes]


def _write(path: Path, header: Sequence[str], lines: pl.Series, *, compress: bool) -> None:
    file = BgzipFile(path) if compress else path.open("wb")
    try:
        file.write(("\n".join(header) + "\n").encode())
        for part in lines.to_frame().iter_slices(_LINES_AT_ONCE):
            file.write(("\n".join(part.to_series().to_list()) + "\n").encode())
    finally:
        file.close()


def _read_back(path: Path, n_expected: int) -> None:
    """Raise `OutputError` unless htslib finds the records that were written."""
    verbosity = pysam.set_verbosity(0)
    try:
        with pysam.VariantFile(str(path)) as records:
            n_found = sum(1 for _ in records)
    except (OSError, ValueError):
        n_found = 0
    finally:
        pysam.set_verbosity(verbosity)
    if n_found != n_expected:
        raise OutputError(
            f"the output read back as {n_found} of {n_expected} records and was removed; check the free space of its "
            "folder and run again"
        )


def _beyond_tabix(lines: pl.Series) -> str | None:
    last = lines.str.extract(r"^[^\t]+\t(\d+)", 1).cast(pl.Int64).max()
    if isinstance(last, int) and last >= _TABIX_REACH_BP:
        return "no tabix index was made: positions beyond 536,870,911 need a CSI index: bcftools index -c"
    return None
