"""Small inputs for the tests of geno_pipeline.build: a genome of known bases, and tables from tuples."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import polars as pl

from data_contracts import ClinvarVariants, GnomadVariants, PhasedHaplotypes
from geno_model.genomics.genome import Genome

WINDOW_BP, STRIDE_BP = 12_288, 8_192
SHARES = {"gnomad": 0.4, "synthetic_snv": 0.3, "synthetic_indel": 0.2, "clinvar": 0.1}


def make_genome(folder: Path, lengths: dict[str, int], *, n_spans: dict[str, tuple[int, int]] | None = None) -> Genome:
    """Random ACGT contigs of the given lengths, with N in the given spans."""
    rng = np.random.default_rng(5)
    text = []
    for contig, length in lengths.items():
        bases = np.frombuffer(b"ACGT", dtype=np.uint8)[rng.integers(0, 4, length)].copy()
        start, end = (n_spans or {}).get(contig, (0, 0))
        bases[start:end] = ord("N")
        text.append(f">{contig}\n{bases.tobytes().decode()}\n")
    (folder / "ref.fa").write_text("".join(text))
    return Genome.open(folder / "ref.fa", cache_dir=folder / "cache")


#               1234567890
REPEATED = "ACGTACGTAC" * 300
VCF_HEADER = "##fileformat=VCFv4.2\n#CHROM\tPOS\tID\tREF\tALT\tQUAL\tFILTER\tINFO"


def repeated_genome(folder: Path) -> Genome:
    """Contigs `chr1` and `chr2`, both REPEATED."""
    (folder / "ref.fa").write_text(f">chr1\n{REPEATED}\n>chr2\n{REPEATED}\n")
    return Genome.open(folder / "ref.fa", cache_dir=folder / "cache")


def write_vcf(folder: Path, records: list[str], header: str = VCF_HEADER, name: str = "in.vcf") -> Path:
    """A VCF of records whose columns are parted by blanks."""
    path = folder / name
    path.write_text("\n".join([header, *(record.replace(" ", "\t") for record in records)]) + "\n")
    return path


def base(genome: Genome, contig: str, pos: int) -> str:
    """The reference base at a 1-based position."""
    return chr(genome.bases(contig)[pos - 1])


def other(letter: str) -> str:
    """A base that is not this one."""
    return "ACGT"[("ACGT".index(letter) + 1) % 4]


def snvs(genome: Genome, contig: str, positions: list[int]) -> list[tuple[str, int, str, str]]:
    """An SNV at each 1-based position."""
    return [(contig, pos, base(genome, contig, pos), other(base(genome, contig, pos))) for pos in positions]


def gnomad(alleles: list[tuple[str, int, str, str]], af: float = 0.2) -> pl.DataFrame:
    """GnomadVariants of SNVs with one frequency, and none by population."""
    schema = GnomadVariants.empty().schema
    n_unknown = len(schema) - 6
    return pl.DataFrame([(*a, 0, af, *[None] * n_unknown) for a in alleles], schema=schema, orient="row")


def clinvar(alleles: list[tuple[str, int, str, str]], clnsig: str = "P", gene: str | None = "G") -> pl.DataFrame:
    """ClinvarVariants of SNVs with one significance and gene."""
    rows = [(*a, 0, clnsig, 1, True, "missense_variant", gene) for a in alleles]
    return pl.DataFrame(rows, schema=ClinvarVariants.empty().schema, orient="row")


def haplotype(alleles: list[tuple[str, int, str, str]], n_carriers: int = 1) -> pl.DataFrame:
    """One PhasedHaplotypes row of the given edits."""
    edits = [{"pos": pos, "ref": ref, "alt": alt} for _, pos, ref, alt in alleles]
    last = edits[-1]
    row = (alleles[0][0], edits[0]["pos"] - 1, last["pos"] - 1 + len(last["ref"]), len(edits), edits, n_carriers)
    return pl.DataFrame([row], schema=PhasedHaplotypes.empty().schema, orient="row")
