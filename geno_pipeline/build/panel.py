"""Genotypes of a phased panel, VCF or BCF, as arrays (spec 3).

Belongs here: records with the allele on each chromosome copy, and refusing files that have no such thing.
Does not belong here: judging alleles (`variants`), what lies together on a copy (`phased`).

Concept: htslib decodes genotypes (`cyvcf2`), one array a record. It reads a BCF itself. Lines of a VCF come from the
project's own reader, some megabytes at a time as a file with a header of our own. For htslib passes over an empty line,
a surplus column and a position that is no number; `cyvcf2` dies of a malformed record on a contig that no header names;
and neither of them knows the leading phase of VCF 4.4 (`|0|1`).

    genotype   0|1    .|1     1/1    0/1      1             0|1|1
    copies     0, 1   -1, 1   1, 1   -1, -1   1, no second  -1, -1
"""

from __future__ import annotations

import re
import tempfile
from collections.abc import Iterator
from itertools import islice
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
_META = '##fileformat=VCFv4.2\n##FORMAT=<ID=GT,Number=1,Type=String,Description="Genotype">\n'
_COLUMNS = "#CHROM\tPOS\tID\tREF\tALT\tQUAL\tFILTER\tINFO\tFORMAT\t"
_PLACE = re.compile(rb"([^\s,<>\"]+)\t\d{1,9}\t")  # of more digits, htslib gives back another number
_SCHEMA = {"chrom": pl.String, "pos": pl.Int64, "ref": pl.String, "alt": pl.String, "filter": pl.String}
_Record = tuple[str, int, str, str, str]


class GenotypeError(InputError):
    """Genotypes that cannot be read."""


def panel_chunks(path: Path) -> Iterator[VcfChunk]:
    """The records of a phased panel and the allele on each chromosome copy.

    `lines` has record, chrom, pos (1-based), ref, alt, filter (PASS also for `.`), and called: (2 * samples,) i16, the
    allele number of both copies of each sample, 0 for the reference, UNKNOWN or ABSENT. A copy is known where the
    genotype is phased (`|`), or both alleles are the same, or there is one allele only, the copy being the first then.
    It is unknown where the genotype is missing, has more than two alleles, or FORMAT does not begin with GT.

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
            has_leading_phase = re.match(r"##fileformat=VCFv4\.([4-9]|\d\d)", header[0])
            for block in blocks:
                names = _contigs(block, n_samples, n_records, str(path))
                with tempfile.NamedTemporaryFile(suffix=".vcf") as file:
                    file.write(_own_header(names, n_samples))
                    file.write(_without_leading_phase(block) if has_leading_phase else block)
                    file.flush()
                    for chunk in _batches(file.name, str(path), n_records, len(names)):
                        yield VcfChunk(header, chunk.lines)
                n_records += len(names)
    finally:
        set_htslib_log_level(_WARNINGS)


def _without_leading_phase(block: bytes) -> bytes:
    """The same lines with `|0|1` as `0|1`. A copy whose leading `/` contradicts what follows (`/0|1`) is not phased."""
    return re.sub(rb"\t[|/](?=[0-9.])", b"\t", re.sub(rb"\t/([0-9.]+)\|", rb"\t\1/", block))


def _own_header(names: list[bytes], n_samples: int) -> bytes:
    """A header that names the contigs, and as many samples as there are by their numbers."""
    contigs = b"".join(b"##contig=<ID=%b>\n" % name for name in dict.fromkeys(names))
    samples = "\t".join(map(str, range(n_samples)))
    return _META.encode() + contigs + f"{_COLUMNS}{samples}\n".encode()


def _contigs(block: bytes, n_samples: int, first_record: int, name: str) -> list[bytes]:
    """Name of the contig on each line. Raises GenotypeError for one without a place, or a genotype of each sample."""
    text = np.frombuffer(block, dtype=np.uint8)
    ends = np.flatnonzero(text == ord("\n"))
    if n_samples <= 0 or np.count_nonzero(text == ord("\t")) != (n_samples + _N_BEFORE_SAMPLES - 1) * len(ends):
        found = np.array([line.count(b"\t") for line in block.split(b"\n")[:-1]]) + 1 - _N_BEFORE_SAMPLES
        row = int(((found != n_samples) | (found <= 0)).argmax())
        raise GenotypeError(
            f"{name}: record {first_record + row + 1} (the first is 1) has {_samples(int(found[row]))}, the header "
            f"names {_samples(n_samples)}; expected one phased genotype a sample; give a VCF of phased genotypes"
        )
    places = [_PLACE.match(block, start) for start in [0, *(ends[:-1] + 1).tolist()]]
    if None in places:
        row = places.index(None)
        raise GenotypeError(
            f"{name}: record {first_record + row + 1} (the first is 1) is malformed, expected the name of a contig as "
            "CHROM and a whole number as POS; correct or remove it"
        )
    return [place[1] for place in places if place]


def _samples(n: int) -> str:
    return "no samples" if n <= 0 else f"{n:,} sample{'' if n == 1 else 's'}"


def _batches(file: str, name: str, first_record: int, n_expected: int | None) -> Iterator[VcfChunk]:
    """The records of a file that htslib reads. n_expected: how many there are, where that is known."""
    try:
        vcf = VCF(file)
    except Exception:  # cyvcf2 raises nothing narrower
        raise InputError(f"{name}: htslib cannot read its header; copy or make it again") from None
    header, n_samples, at = vcf.raw_header.splitlines(), len(vcf.samples), first_record
    variants, size = iter(vcf), max(1, _BATCH_GENOTYPES // max(n_samples, 1))
    while (chunk := _batch(variants, size, n_samples, at, name)).height:
        yield VcfChunk(header, chunk)
        at += chunk.height
    if n_expected is not None and at - first_record != n_expected:
        raise GenotypeError(
            f"{name}: htslib finds {at:,} records, expected {first_record + n_expected:,}; correct the file"
        )


def _batch(variants: Iterator[Variant], size: int, n_samples: int, at: int, name: str) -> pl.DataFrame:
    """The next `size` records, fewer at the end."""
    records: list[_Record] = []
    called = np.empty((size, n_samples, 2), dtype=np.int16)
    try:
        for variant in islice(variants, size):
            _decode(variant, called[len(records)])
            alt = ",".join(variant.ALT) or "."
            records.append((variant.CHROM, variant.POS, variant.REF, alt, variant.FILTER or "PASS"))
    except Exception:  # cyvcf2 raises nothing narrower
        raise GenotypeError(
            f"{name}: record {at + len(records) + 1} (the first is 1) is malformed or damaged, expected eight columns, "
            "FORMAT and a genotype of each sample that htslib can read; correct or remove it, or copy the file again"
        ) from None
    if records and not n_samples:
        raise GenotypeError(f"{name}: found no samples, expected phased genotypes; give a VCF of phased genotypes")
    lines = pl.DataFrame(records, schema=_SCHEMA, orient="row").with_row_index("record", at).cast({"record": pl.Int64})
    if not records:
        return lines
    copies = called[: len(records)].reshape(len(records), -1)
    _require_alleles(copies, lines, name)
    return lines.with_columns(pl.Series("called", copies))


def _decode(variant: Variant, copies: NDArray[np.int16]) -> None:
    """Fill (samples, 2) with the allele number of each copy, see `panel_chunks`. Raises Exception if htslib cannot."""
    copies[:] = UNKNOWN
    if not len(copies) or variant.FORMAT[0] != "GT":  # htslib ends the process where a later GT is in no sample
        return
    found = variant.genotype.array(fill=ABSENT)  # (samples, most alleles + 1); the last column: phased or not
    if found.shape[1] == 2:
        found = np.insert(found, 1, ABSENT, axis=1)
    copies[:] = found[:, :2]
    is_phased = found[:, -1] == 1
    if not is_phased.all():
        copies[~is_phased & (copies[:, 0] != copies[:, 1]) & (copies[:, 1] != ABSENT)] = UNKNOWN
    if found.shape[1] > 3:
        copies[(found[:, 2:-1] != ABSENT).any(axis=1)] = UNKNOWN


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
