"""Genotypes of a phased panel, VCF or BCF, as arrays (spec 3).

Belongs here: records with the allele on each chromosome copy, and refusing files that have no such thing.
Does not belong here: judging alleles (`variants`), what lies together on a copy (`phased`).

Concept: htslib decodes genotypes (`cyvcf2`), one array a record. It reads a BCF itself. Lines of a VCF come from the
project's own reader, some megabytes at a time as a file with a header of our own, because htslib passes over an empty
line, a surplus column or a position that is no number, and cannot read the leading phase of VCF 4.4 (`|0|1`).

    genotype   0|1    .|1     1/1    0/1      1             0|1|1
    copies     0, 1   -1, 1   1, 1   -1, -1   1, no second  -1, -1
"""

from __future__ import annotations

import re
import tempfile
from collections.abc import Iterator
from itertools import count, islice
from pathlib import Path

import numpy as np
import polars as pl
from cyvcf2 import VCF
from cyvcf2.cyvcf2 import Variant, set_htslib_log_level
from numpy.typing import NDArray

from geno_model.genomics.bcf import BCF_MAGIC
from geno_model.genomics.errors import InputError
from geno_model.genomics.text_input import open_bytes
from geno_model.genomics.vcf_reader import FIXED_COLUMNS, VcfChunk, plain_blocks

UNKNOWN, ABSENT = -1, -2  # allele numbers: not told for this copy; there is no such copy
_BATCH_GENOTYPES = 1 << 21
_SILENT, _WARNINGS = 0, 3  # log levels of htslib
_N_BEFORE_SAMPLES = len(FIXED_COLUMNS) + 1
_HEADER = (
    '##fileformat=VCFv4.2\n##FORMAT=<ID=GT,Number=1,Type=String,Description="Genotype">\n'
    "#CHROM\tPOS\tID\tREF\tALT\tQUAL\tFILTER\tINFO\tFORMAT\t"
)
_SCHEMA = {"chrom": pl.String, "pos": pl.Int64, "ref": pl.String, "alt": pl.String, "filter": pl.String}
_Record = tuple[str, int, str, str, str]


class GenotypeError(InputError):
    """Genotypes that cannot be read."""


def panel_chunks(path: Path) -> Iterator[VcfChunk]:
    """The records of a phased panel and the allele on each chromosome copy.

    `lines` has record, chrom, pos (1-based), ref, alt, filter (PASS also for `.`), and called: (2 * samples,) i16, the
    allele number of both copies of each sample, 0 for the reference, UNKNOWN or ABSENT. A copy is known where the
    genotype is phased (`|`), or both alleles are the same, or there is one allele only, the copy being the first then.
    It is unknown where the genotype is missing, has more than two alleles, or the record has no GT.

    Raises InputError as `read_vcf_chunks` does; GenotypeError for no samples, records with other than one genotype a
    sample, genotypes that htslib cannot read, and an allele number without an allele.
    """
    set_htslib_log_level(_SILENT)  # what it says goes to standard error, names of contigs and all
    try:
        with open_bytes(path, "VCF") as stream:
            if stream.peek(len(BCF_MAGIC)).startswith(BCF_MAGIC):
                yield from _batches(str(path), str(path), 0, None)
                return
            header, blocks = plain_blocks(stream, str(path))
            n_samples, n_records = header[-1].count("\t") + 1 - _N_BEFORE_SAMPLES, 0
            own_header = (_HEADER + "\t".join(map(str, range(n_samples))) + "\n").encode()
            has_leading_phase = re.match(r"##fileformat=VCFv4\.([4-9]|\d\d)", header[0])
            for block in blocks:
                n_here = _n_records(block, n_samples, n_records, str(path))
                with tempfile.NamedTemporaryFile(suffix=".vcf") as file:
                    file.write(own_header + (_without_leading_phase(block) if has_leading_phase else block))
                    file.flush()
                    for chunk in _batches(file.name, str(path), n_records, n_here):
                        yield VcfChunk(header, chunk.lines)
                n_records += n_here
    finally:
        set_htslib_log_level(_WARNINGS)


def _without_leading_phase(block: bytes) -> bytes:
    """The same lines with `|0|1` as `0|1`. A copy whose leading `/` contradicts what follows (`/0|1`) is not phased."""
    return re.sub(rb"\t[|/](?=[0-9.])", b"\t", re.sub(rb"\t/([0-9.]+)\|", rb"\t\1/", block))


def _n_records(block: bytes, n_samples: int, first_record: int, name: str) -> int:
    """Number of lines. Raises GenotypeError for the first one without a genotype of each sample."""
    n_records, text = block.count(b"\n"), np.frombuffer(block, dtype=np.uint8)
    if n_samples > 0 and np.count_nonzero(text == ord("\t")) == (n_samples + _N_BEFORE_SAMPLES - 1) * n_records:
        return n_records
    found = np.array([line.count(b"\t") for line in block.split(b"\n")[:-1]]) + 1 - _N_BEFORE_SAMPLES
    row = int(((found != n_samples) | (found <= 0)).argmax())
    raise GenotypeError(
        f"{name}: record {first_record + row + 1} (the first is 1) has {_samples(int(found[row]))}, the header names "
        f"{_samples(n_samples)}; expected one phased genotype a sample; give a VCF of phased genotypes"
    )


def _samples(n: int) -> str:
    return "no samples" if n <= 0 else f"{n:,} sample{'' if n == 1 else 's'}"


def _batches(file: str, name: str, first_record: int, n_expected: int | None) -> Iterator[VcfChunk]:
    """The records of a file that htslib reads. n_expected: how many there are, where that is known."""
    at = first_record
    try:
        vcf = VCF(file)
        header, n_samples = vcf.raw_header.splitlines(), len(vcf.samples)
        variants = iter(vcf)
        size = max(1, _BATCH_GENOTYPES // max(n_samples, 1))
        while (chunk := _batch(variants, size, n_samples, at, name)).height:
            yield VcfChunk(header, chunk)
            at += chunk.height
    except InputError:
        raise
    except Exception as error:  # cyvcf2 raises nothing narrower
        raise GenotypeError(
            f"{name}: htslib cannot read what follows record {at:,}: it is malformed or damaged ({error}); correct it, "
            "or make or copy the file again"
        ) from None
    if n_expected is not None and at - first_record != n_expected:
        raise GenotypeError(
            f"{name}: htslib finds {at:,} records, expected {first_record + n_expected:,}; correct the file"
        )


def _batch(variants: Iterator[Variant], size: int, n_samples: int, at: int, name: str) -> pl.DataFrame:
    """The next `size` records, fewer at the end."""
    records: list[_Record] = []
    called = np.empty((size, 2 * n_samples), dtype=np.int16)
    for row, variant in zip(count(), islice(variants, size), strict=False):
        if not n_samples:
            raise GenotypeError(f"{name}: found no samples, expected phased genotypes; give a VCF of phased genotypes")
        called[row] = _copies(variant, 2 * n_samples, at + row, name)
        alt = ",".join(variant.ALT) or "."
        records.append((variant.CHROM, variant.POS, variant.REF, alt, variant.FILTER or "PASS"))
    lines = pl.DataFrame(records, schema=_SCHEMA, orient="row").with_row_index("record", at).cast({"record": pl.Int64})
    if not records:
        return lines
    _require_alleles(called[: len(records)], lines, name)
    return lines.with_columns(pl.Series("called", called[: len(records)]))


def _copies(variant: Variant, n_copies: int, record: int, name: str) -> NDArray[np.int16]:
    """(copies,): the allele number of each, see `panel_chunks`."""
    fields = variant.FORMAT or []
    if fields and "GT" not in fields:
        return np.full(n_copies, UNKNOWN, dtype=np.int16)
    try:
        found = variant.genotype.array(fill=ABSENT)  # (samples, most alleles + 1); the last column: phased or not
    except Exception:  # cyvcf2 raises nothing narrower
        raise GenotypeError(
            f"{name}: record {record + 1} (the first is 1) has no genotypes that htslib can read; correct or remove it"
        ) from None
    if found.shape[1] == 2:
        found = np.insert(found, 1, ABSENT, axis=1)
    copies, is_phased = found[:, :2].copy(), found[:, -1] == 1
    if not is_phased.all():
        copies[~is_phased & (copies[:, 0] != copies[:, 1]) & (copies[:, 1] != ABSENT)] = UNKNOWN
    if found.shape[1] > 3:
        copies[(found[:, 2:-1] != ABSENT).any(axis=1)] = UNKNOWN
    return copies.ravel()


def _require_alleles(called: NDArray[np.int16], lines: pl.DataFrame, name: str) -> None:
    """Raise GenotypeError for an allele number that the record has no allele of."""
    most = (lines["alt"].str.count_matches(",", literal=True) + 1).to_numpy()
    is_bad = (called.max(axis=1) > most) | (called.min(axis=1) < ABSENT)
    if is_bad.any():
        row = int(is_bad.argmax())
        raise GenotypeError(
            f"{name}: record {lines['record'][row] + 1} (the first is 1) has a genotype of an allele that is not "
            f"there, expected 0 to {most[row]}; correct or remove it"
        )
