"""The VCF of an import (spec 5).

Belongs here: header, records as text, and the rule that the file appears whole, read back and counted, or not at all.
Does not: which rows become records (`genotypes`).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import numpy as np
import polars as pl
import pysam

from geno_model.files import replacing_file
from geno_model.genomics.builds import build_of
from geno_model.genomics.genome import Genome
from geno_model.importing.genotypes import Judged
from geno_model.scoring.bgzip import BgzipFile
from geno_model.scoring.errors import OutputError
from geno_model.scoring.vcf_header import RESEARCH_NOTICE
from geno_model.scoring.vcf_index import make_index, remove_indices

SUFFIXES = (".vcf", ".vcf.gz")
_LINES_AT_ONCE = 100_000
_BASES = ("A", "C", "G", "T")


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


def write_vcf(
    path: Path, header: Sequence[str], lines: pl.Series, contigs: Mapping[str, int], before: Callable[[], None]
) -> str | None:
    """Write, read back and only then rename; on any error nothing of the output is left.

    contigs: of the FASTA, name to length in bp. before: called just before the file gets its name, may raise. Returns
    why no index was made, if none was.
    """
    is_packed = path.suffix == ".gz"
    with replacing_file(path) as temporary:
        _write(temporary, header, lines, compress=is_packed)
        _read_back(temporary, lines.len())
        before()
        if is_packed:
            remove_indices(path)
    return make_index(path, contigs) if is_packed else None


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
