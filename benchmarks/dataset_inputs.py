"""Made-up files of a whole data set: a contig, population sites, ClinVar, phased genotypes, genes and repeats.

Belongs here: what `benchmarks/dataset.py` reads, the same bytes for the same size. Does not: measuring.

Densities are those of the human genome and its files, so a smaller `share` makes a shorter contig, not a sparser one.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import polars as pl
import pysam
from inputs import CONTIG, LINE_BP
from numpy.typing import NDArray

from geno_model.genomics.texts import from_matrix, from_ragged

CONTIG_BP = 100_000_000
N_GNOMAD, N_CLINVAR, N_PHASED, N_SAMPLES = 3_000_000, 100_000, 20_000, 200
N_GENES, N_REPEATS = 2_000, 100_000
LONG_INFO_BYTES, N_LONG = 6_000, 100_000
COMMON_SHARE = 0.05  # of the alleles of population sites have a frequency of 1 % or more
POPULATIONS = ("afr", "eas", "nfe")
AN = 152_000
_ROWS = 50_000  # records that are written at once
_MAX_BP = 16
_FOUNDERS, _FOUNDER_BP, _BP_PER_PHASED = 16, 50_000, 44
_BASES = np.frombuffer(b"ACGT", dtype=np.uint8)
_N = np.uint8(ord("N"))
_HEADER = "##fileformat=VCFv4.2\n##contig=<ID={},length={}>\n{}#CHROM\tPOS\tID\tREF\tALT\tQUAL\tFILTER\tINFO{}\n"
_INFO = '##INFO=<ID={},Number=.,Type=String,Description="made up">\n'
_SPEECH = ("Pathogenic", "Likely_pathogenic", "Benign", "Likely_benign", "Uncertain_significance", "not_provided")
_MC = (
    "SO:0001583|missense_variant",
    "SO:0001819|synonymous_variant",
    "SO:0001587|nonsense",
    "SO:0001627|intron_variant",
)


def write_all(folder: Path, share: float) -> None:
    """All files of a data set of `share` times the full size: the sites also a third of them, and with long INFO."""
    bases = write_fasta(folder / "reference.fa", int(CONTIG_BP * share) // LINE_BP * LINE_BP)
    for name, part in (("", 1.0), ("_third", 1 / 3)):
        write_gnomad(folder / f"gnomad{name}.vcf.gz", bases, int(N_GNOMAD * share * part))
        write_clinvar(folder / f"clinvar{name}.vcf.gz", bases, int(N_CLINVAR * share * part), int(N_GENES * share))
        write_phased(folder / f"phased{name}.vcf.gz", bases, int(N_PHASED * share * part))
    write_gnomad(folder / "gnomad_long.vcf.gz", bases, int(N_LONG * share), LONG_INFO_BYTES)
    write_genes(folder / "genes.gtf", len(bases), int(N_GENES * share))
    write_repeats(folder / "repeats.out", len(bases), int(N_REPEATS * share))


def write_fasta(path: Path, length_bp: int) -> NDArray[np.uint8]:
    """Write a contig with 41 % GC, a tenth of it in lower case, four runs of N that are 1 %; returns upper case."""
    rng = np.random.default_rng(1)
    bases = np.repeat(_BASES, (75, 53, 52, 76))[rng.integers(0, 256, length_bp, dtype=np.uint8)]
    for start in (0, length_bp // 3, length_bp // 2, length_bp * 9 // 10):
        bases[start : start + length_bp // 400] = _N
    lower = bases.reshape(-1, LINE_BP).copy()
    lower[::10] |= 32
    lines = np.pad(lower, ((0, 0), (0, 1)), constant_values=ord("\n"))
    path.write_bytes(f">{CONTIG}\n".encode() + lines.tobytes())
    return bases


def write_gnomad(path: Path, bases: NDArray[np.uint8], n: int, info_bytes: int = 0) -> None:
    """Population sites, 15 % filtered, 2 % with two ALT alleles; `info_bytes` of further fields in each INFO."""
    rng = np.random.default_rng([2, n])
    pos = _positions(bases, n, rng)
    filler = pl.Series(_filler(info_bytes, rng))

    def rows(part: slice) -> pl.DataFrame:
        sites = _sites(bases, pos[part], rng)
        n_here = sites.height
        is_double = (rng.random(n_here) < 0.02) & (sites["ref"].str.len_bytes() == 1).to_numpy()
        ac = [_counts(n_here, rng), _counts(n_here, rng)]
        per_allele = {"AC": ac, "AF": [count / AN for count in ac]}
        per_allele |= {
            f"AF_{who}": [np.minimum(count * rng.uniform(0, 2, n_here) / AN, 1) for count in ac] for who in POPULATIONS
        }
        info = [pl.lit(f"AN={AN}"), *(_of_alleles(key, values, is_double) for key, values in per_allele.items())]
        if info_bytes:
            info.insert(4, pl.lit(filler.gather(rng.integers(0, len(filler), n_here))))
        alt = pl.when(pl.lit(is_double)).then(pl.concat_str("alt", pl.lit(","), "ref", pl.lit("TT"))).otherwise("alt")
        passed = pl.when(pl.lit(rng.random(n_here) < 0.15)).then(pl.lit("AS_VQSR")).otherwise(pl.lit("PASS"))
        names = pl.concat_str(pl.lit("rs"), "pos")
        return sites.select("pos", names, "ref", alt, filter=passed, info=pl.concat_str(info, separator=";"))

    _write_vcf(path, len(bases), ["AC", "AN", "AF", *(f"AF_{who}" for who in POPULATIONS)], n, rows)


def write_clinvar(path: Path, bases: NDArray[np.uint8], n: int, n_genes: int) -> None:
    """ClinVar: alleles in genes, with ten fields in INFO."""
    rng = np.random.default_rng([3, n])
    starts = gene_starts(len(bases), n_genes)
    pos = np.unique(starts[rng.integers(0, n_genes, 2 * n)] + rng.integers(0, GENE_BP, 2 * n))
    pos = _without_n(bases, pos)
    pos = np.sort(rng.permutation(pos)[:n])

    def rows(part: slice) -> pl.DataFrame:
        sites = _sites(bases, pos[part], rng)
        gene = np.searchsorted(starts, sites["pos"].to_numpy() - 1, side="right")
        speech, mc = (
            pl.lit(pl.Series(words).gather(rng.integers(0, len(words), sites.height))) for words in (_SPEECH, _MC)
        )
        info = pl.format(
            "ALLELEID={};CLNDISDB=MedGen:C0000001,MONDO:0000001|MedGen:CN169374;CLNDN=Made_up_condition|not_provided;"
            "CLNHGVS=NC_000001.11:g.{}del;CLNREVSTAT=criteria_provided,_single_submitter;CLNSIG={};"
            "CLNVC=single_nucleotide_variant;CLNVCSO=SO:0001483;GENEINFO=GENE{}:1;MC={};ORIGIN=1",
            "pos", "pos", speech, pl.lit(gene), mc,
        )  # fmt: skip
        return sites.select(
            "pos", pl.col("pos").cast(pl.String).alias("id"), "ref", "alt", filter=pl.lit("."), info=info
        )

    _write_vcf(path, len(bases), ["ALLELEID", "CLNSIG", "CLNREVSTAT", "GENEINFO", "MC"], len(pos), rows)


def write_phased(path: Path, bases: NDArray[np.uint8], n: int) -> None:
    """Phased genotypes, one record in 44 bp: haplotypes are pieces of 16 founders, and 85 % of the alleles are rare."""
    rng = np.random.default_rng([4, n])
    at = len(bases) // 5
    pos = at + np.sort(rng.choice(n * _BP_PER_PHASED, n, replace=False))
    founder_of = rng.integers(0, _FOUNDERS, (n * _BP_PER_PHASED // _FOUNDER_BP + 1, 2 * N_SAMPLES))
    frequency = np.where(rng.random(n) < 0.85, 0.0, rng.random(n) ** 2)
    founders = rng.random((n, _FOUNDERS)) < frequency[:, None]
    samples = "\tFORMAT\t" + "\t".join(f"S{number}" for number in range(N_SAMPLES))

    def rows(part: slice) -> pl.DataFrame:
        sites = _sites(bases, pos[part], rng)
        carried = np.take_along_axis(founders[part], founder_of[(pos[part] - at) // _FOUNDER_BP], axis=1)
        carried[np.arange(len(carried)), rng.integers(0, 2 * N_SAMPLES, len(carried))] = True
        text = np.full((len(carried), N_SAMPLES, 4), ord("|"), dtype=np.uint8)
        text[:, :, [0, 2]] = carried.reshape(-1, N_SAMPLES, 2) + ord("0")
        text[:, :, 3] = ord("\t")
        flat = text.reshape(len(carried), -1)[:, :-1]
        rest = from_ragged(
            "rest", flat.ravel(), np.arange(len(flat)) * flat.shape[1], np.full(len(flat), flat.shape[1])
        )
        return sites.select(
            "pos",
            id=pl.lit("."),
            ref="ref",
            alt="alt",
            filter=pl.lit("PASS"),
            info=pl.lit("NS=200"),
            format=pl.lit("GT"),
            rest=rest,
        )

    _write_vcf(path, len(bases), ["NS"], n, rows, samples)


GENE_BP, _EXON_BP, _EXONS = 28_000, 151, 8


def gene_starts(length_bp: int, n: int) -> NDArray[np.int64]:
    """0-based starts of n genes of GENE_BP, evenly spread."""
    return np.linspace(length_bp // 50, length_bp - length_bp // 50 - GENE_BP, n).astype(np.int64)


def write_genes(path: Path, length_bp: int, n: int) -> None:
    """A GTF of n genes of one transcript, eight exons and as many coding parts."""
    starts = gene_starts(length_bp, n)
    exons = starts[:, None] + np.arange(_EXONS) * ((GENE_BP - _EXON_BP) // (_EXONS - 1))
    whole = pl.DataFrame({"start": starts + 1, "end": starts + GENE_BP, "gene": np.arange(1, n + 1)})
    part = pl.DataFrame(
        {"start": exons.ravel() + 1, "end": exons.ravel() + _EXON_BP, "gene": np.repeat(np.arange(1, n + 1), _EXONS)}
    )
    kinds = [
        whole.with_columns(feature=pl.lit("transcript")),
        *(part.with_columns(feature=pl.lit(kind)) for kind in ("exon", "CDS")),
    ]
    name = pl.format(
        'gene_id "GENE{}"; transcript_id "T{}"; gene_name "GENE{}"; transcript_biotype "protein_coding";',
        "gene",
        "gene",
        "gene",
    )
    table = pl.concat(kinds).sort("gene", maintain_order=True)
    strand = pl.when(pl.col("gene") % 2 == 0).then(pl.lit("+")).otherwise(pl.lit("-"))
    columns = {
        "contig": pl.lit(CONTIG), "source": pl.lit("made_up"), "feature": "feature", "start": "start", "end": "end",
        "score": pl.lit("."), "strand": strand, "phase": pl.lit("0"), "attributes": name,
    }  # fmt: skip
    table.select(**columns).write_csv(path, separator="\t", include_header=False, quote_style="never")


def write_repeats(path: Path, length_bp: int, n: int) -> None:
    """A RepeatMasker .out of n repeats of 300 bp."""
    start = np.linspace(1, length_bp - 300, n).astype(np.int64)
    kind = pl.Series([" AluSx SINE/Alu ", " L1PA2 LINE/L1 ", " (AC)n Simple_repeat ", " A-rich Low_complexity "])
    line = pl.format(
        "  463 1.3 0.6 1.7 {} {} {} (0) +{}1 300 0 1",
        pl.lit(CONTIG),
        pl.lit(pl.Series(start)),
        pl.lit(pl.Series(start + 299)),
        pl.lit(kind.gather(np.arange(n) % len(kind))),
    )
    head = "   SW perc perc perc query position\nscore div. del. ins. sequence begin end\n\n"
    path.write_text(head + pl.select(line).write_csv(include_header=False, quote_style="never"))


def _positions(bases: NDArray[np.uint8], n: int, rng: np.random.Generator) -> NDArray[np.int64]:
    """n 0-based positions in order, from which 16 bp hold no N."""
    pos = _without_n(bases, np.unique(rng.integers(0, len(bases) - _MAX_BP, n + n // 10 + 100)))
    return np.sort(rng.permutation(pos)[:n])


def _without_n(bases: NDArray[np.uint8], pos: NDArray[np.int64]) -> NDArray[np.int64]:
    n_before = np.concatenate([[0], np.cumsum(bases == _N, dtype=np.int64)])
    return pos[n_before[pos + _MAX_BP] == n_before[pos]]


def _sites(bases: NDArray[np.uint8], pos: NDArray[np.int64], rng: np.random.Generator) -> pl.DataFrame:
    """pos (1-based), ref and alt: 92 % SNVs, 4 % insertions and 4 % deletions of 1 to 15 bp."""
    n, kind = len(pos), rng.random(len(pos))
    size = np.minimum(rng.geometric(0.4, n), _MAX_BP - 1)
    ref_length, alt_length = np.where(kind < 0.04, 1 + size, 1), np.where((kind >= 0.04) & (kind < 0.08), 1 + size, 1)
    ref = bases[pos[:, None] + np.arange(_MAX_BP)]
    alt = _BASES[rng.integers(0, 4, (n, _MAX_BP), dtype=np.uint8)]
    other = _BASES[(np.searchsorted(_BASES, ref[:, 0]) + rng.integers(1, 4, n)) % 4]
    alt[:, 0] = np.where(kind < 0.08, ref[:, 0], other)
    return pl.DataFrame(
        {"pos": pos + 1, "ref": from_matrix("ref", ref, ref_length), "alt": from_matrix("alt", alt, alt_length)}
    )


def _counts(n: int, rng: np.random.Generator) -> NDArray[np.int64]:
    """Allele counts: 5 % of 1 % or more, 7 % from 0.1 % to 1 %, the others below, most of them seen once or twice."""
    kind, u = rng.random(n), rng.random(n)
    low = np.where(kind < COMMON_SHARE, -2.0, np.where(kind < 0.12, -3.0, np.log10(1 / AN)))
    high = np.where(kind < COMMON_SHARE, -0.01, np.where(kind < 0.12, -2.0, -3.0))
    skew = np.where(kind < 0.12, u, u**3)
    return np.ceil(AN * 10 ** (low + (high - low) * skew)).astype(np.int64)


def _of_alleles(key: str, values: list[NDArray], is_double: NDArray[np.bool_]) -> pl.Expr:
    """KEY=value, or KEY=value,value where a record has two alleles."""
    one, two = (pl.lit(pl.Series(part)).round_sig_figs(6).cast(pl.String) for part in values)
    text = pl.when(pl.lit(is_double)).then(pl.concat_str(one, pl.lit(","), two)).otherwise(one)
    return pl.concat_str(pl.lit(f"{key}="), text)


def _filler(n_bytes: int, rng: np.random.Generator) -> list[str]:
    """64 texts like the fields of single groups that gnomAD has hundreds of."""
    fields = [f"{kind}_group{number}={{}}" for number in range(n_bytes // 40) for kind in ("nhomalt", "AF_raw")]
    pool = rng.integers(0, AN, (64, len(fields)))
    return [";".join(fields).format(*(int(x) if x % 4 == 0 else 0 for x in line)) for line in pool]


def _write_vcf(
    path: Path, length_bp: int, fields: list[str], n: int, rows: Callable[[slice], pl.DataFrame], samples: str = ""
) -> None:
    """A bgzip VCF, some thousand records at once. rows: POS to INFO without QUAL, and what comes after."""
    header = _HEADER.format(CONTIG, length_bp, "".join(map(_INFO.format, fields)), samples)
    with pysam.BGZFile(str(path), "wb", index=None) as file:
        file.write(header.encode())  # pyright: ignore[reportAttributeAccessIssue]
        for start in range(0, n, _ROWS):
            frame = rows(slice(start, min(start + _ROWS, n)))
            names = frame.columns
            whole = frame.select(pl.lit(CONTIG).alias("chrom"), *names[:4], pl.lit(".").alias("qual"), *names[4:])
            file.write(whole.write_csv(separator="\t", include_header=False, quote_style="never").encode())  # pyright: ignore[reportAttributeAccessIssue]
