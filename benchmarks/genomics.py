"""Rates of the genomics code beside named alternatives, on inputs made on the spot.

    .venv/bin/pip install -e '.[bench]' -c constraints.txt          numba, which nothing else needs
    .venv/bin/python benchmarks/genomics.py [--records 1000000] [--json FILE]

Windows of 12,288 bp of a contig of 100 Mbp; a VCF of a million records with nine INFO fields; edits and alleles drawn
at random with a fixed seed.
"""

from __future__ import annotations

import argparse
import resource
import tempfile
from collections.abc import Callable
from pathlib import Path

import bioframe
import numba  # pyright: ignore[reportMissingImports]
import numpy as np
import polars as pl
import pysam
import pysam.bcftools
from cyvcf2 import VCF  # pyright: ignore[reportMissingImports]
from inputs import CONTIG, write_fasta, write_vcf
from measuring import Rate, compare, print_rates

from geno_model.genomics.alleles import account, to_alleles
from geno_model.genomics.context import Context
from geno_model.genomics.edits import EditType, RelEdit, apply_edits_array
from geno_model.genomics.genome import Genome, most_central
from geno_model.genomics.samplers import indel, mnv, uniform_snv
from geno_model.genomics.texts import to_matrix
from geno_model.genomics.tokens import SIXMER_OFFSET, edited_sixmer_ids, sixmer_ids
from geno_model.genomics.vcf_reader import read_vcf_chunks, record_chunks
from geno_pipeline.build.gnomad import ingest_gnomad

WINDOW_BP, STRIDE_BP = 12_288, 8_192
POOL_TOKENS = 257  # the token of the edit and 256 to its right
Bases = np.ndarray


def windows(genome: Genome, fasta: Path, rng: np.random.Generator) -> list[Rate]:
    """Random windows: how fast they can be had, and had as a text of their own."""
    starts = rng.integers(0, genome.contigs[CONTIG] - WINDOW_BP, 20_000).tolist()

    def as_views() -> int:
        for start in starts:
            genome.window(CONTIG, start, start + WINDOW_BP)
        return len(starts)

    def as_copies() -> int:
        for start in starts:
            genome.window(CONTIG, start, start + WINDOW_BP).tobytes()
        return len(starts)

    def fetched() -> int:
        with pysam.FastaFile(str(fasta)) as file:
            for start in starts:
                file.fetch(CONTIG, start, start + WINDOW_BP)
        return len(starts)

    return compare("windows", {"view": as_views, "view, copied": as_copies, "pysam fetch": fetched})


def resident_mib() -> float:
    """Memory that this process holds now, mapped files included (Linux)."""
    n_pages = int(Path("/proc/self/statm").read_text().split()[1])
    return n_pages * resource.getpagesize() / 2**20


def growth_of_a_pass(genome: Genome) -> float:
    """MiB that the process grows by, at most, while every window of the contig is read."""
    before, most = resident_mib(), 0.0
    for number, start in enumerate(range(0, genome.contigs[CONTIG] - WINDOW_BP, 8_192)):
        genome.window(CONTIG, start, start + WINDOW_BP).sum()
        if number % 500 == 0:
            most = max(most, resident_mib())
    return round(most - before, 1)


def tokens(genome: Genome, rng: np.random.Generator) -> list[Rate]:
    """Six-mer ids of windows: ours, a table look-up for each base in numpy, and a compiled loop."""
    starts = rng.integers(0, genome.contigs[CONTIG] - WINDOW_BP, 2_048).tolist()
    one_by_one = [genome.window(CONTIG, start, start + WINDOW_BP).copy() for start in starts]
    codes = np.full(256, 4**6, dtype=np.int32)
    codes[list(b"ATCG")] = range(4)
    compiled = compiled_tokeniser(codes)

    def looked_up(bases: Bases) -> Bases:
        each = codes[bases].reshape(-1, 6)
        index = (each << np.arange(10, -2, -2)).sum(axis=1)
        return np.where(index < 4**6, index + SIXMER_OFFSET, 2)

    def all_by(way: Callable[[Bases], Bases]) -> Callable[[], int]:
        return lambda: len([way(window) for window in one_by_one])

    assert (sixmer_ids(one_by_one[0]) == looked_up(one_by_one[0])).all()
    assert (sixmer_ids(one_by_one[0]) == compiled(one_by_one[0])).all()
    batch = np.stack(one_by_one[:64])

    def in_batches() -> int:
        for _ in range(32):
            sixmer_ids(batch)
        return 32 * len(batch)

    ways = {
        "sixmer_ids": all_by(sixmer_ids),
        "sixmer_ids, 64 at once": in_batches,
        "numpy look-up": all_by(looked_up),
        "numba loop": all_by(compiled),
    }
    return compare("tokenised windows", ways)


def compiled_tokeniser(codes: Bases) -> Callable[[Bases], Bases]:
    """Six-mer ids by a loop over tokens that numba compiles."""

    @numba.njit
    def tokenise(bases: Bases) -> Bases:
        ids = np.empty(len(bases) // 6, dtype=np.int32)
        for token in range(len(ids)):
            at = 6 * token
            index = (
                (codes[bases[at]] << 10) + (codes[bases[at + 1]] << 8) + (codes[bases[at + 2]] << 6)
                + (codes[bases[at + 3]] << 4) + (codes[bases[at + 4]] << 2) + codes[bases[at + 5]]
            )  # fmt: skip
            ids[token] = index + 3 if index < 4096 else 2
        return ids

    return tokenise


def edited_windows(genome: Genome, rng: np.random.Generator) -> list[Rate]:
    """Tokens from the edit to the end of its pool, for 13 edits of each of 200 windows, a third of them indels."""
    columns: list[tuple[Bases, tuple[Bases, Bases, Bases, Bases]]] = []
    objects: list[tuple[Bases, list[RelEdit]]] = []
    for start in rng.integers(0, genome.contigs[CONTIG] - WINDOW_BP, 200).tolist():
        window = genome.window(CONTIG, start, start + WINDOW_BP)
        drawn = [uniform_snv(window, 9, rng, span=(2_048, 10_240)), indel(window, 4, rng, span=(2_048, 10_240))]
        edits = pl.concat(drawn)
        rel_pos, ref_length = edits["rel_pos"].to_numpy(), edits["ref"].str.len_bytes().to_numpy().astype(np.int64)
        columns.append((window, (rel_pos, ref_length, *to_matrix(edits["alt"]))))
        types = [EditType.of_lengths(len(ref), len(alt)) for _, ref, alt in edits.iter_rows()]
        objects.append(
            (
                window,
                [RelEdit(at, kind, ref, alt) for kind, (at, ref, alt) in zip(types, edits.iter_rows(), strict=True)],
            )
        )
    n_edits = sum(len(edits) for _, edits in objects)

    def only_what_changes() -> int:
        for window, edits in columns:
            edited_sixmer_ids(window, *edits, POOL_TOKENS)
        return n_edits

    def whole_windows() -> int:
        for window, edits in objects:
            for edit in edits:
                first = edit.rel_pos // 6
                sixmer_ids(apply_edits_array(window, [edit]))[first : first + POOL_TOKENS]
        return n_edits

    return compare("edited windows", {"edited_sixmer_ids": only_what_changes, "apply, tokenise whole": whole_windows})


def ingest(genome: Genome, fasta: Path, vcf: Path, n_records: int) -> list[Rate]:
    """A whole VCF. Ours normalises and accounts for every allele; bcftools query and cyvcf2 only extract fields."""

    def ours() -> int:
        table, ledger = ingest_gnomad([vcf], genome, [CONTIG])
        assert table.height == ledger.filter(pl.col("reason") == "retained")["n_alleles"].sum()
        return n_records

    def alleles_only() -> int:
        for chunk in read_vcf_chunks(vcf, n_columns=8):
            account(to_alleles(chunk.lines, genome, pass_only=True), "vcf")
        return n_records

    def by_record() -> int:
        with pysam.VariantFile(str(vcf)) as file:
            for chunk in record_chunks(file, file.header, n_columns=8):
                account(to_alleles(chunk.lines, genome, pass_only=True), "vcf")
        return n_records

    def bcftools_query() -> int:
        fields = "%CHROM\t%POS\t%REF\t%ALT\t%FILTER\t%INFO/AF\n"
        pysam.bcftools.query("-f", fields, "-o", f"{vcf}.txt", str(vcf), catch_stdout=False)
        return n_records

    def bcftools_norm() -> int:
        options = ("-f", str(fasta), "-m", "-any", "-o", f"{vcf}.norm.vcf")
        pysam.bcftools.norm(*options, str(vcf), catch_stdout=False)
        return n_records

    def cyvcf2() -> int:
        rows = [(v.CHROM, v.POS, v.REF, v.ALT, v.FILTER, v.INFO.get("AF")) for v in VCF(str(vcf))]
        return len(rows)

    ways = {
        "ingest_gnomad": ours,
        "alleles and accounting": alleles_only,
        "the same by pysam record": by_record,
        "bcftools query": bcftools_query,
        "bcftools norm": bcftools_norm,
        "cyvcf2 loop": cyvcf2,
    }
    return compare("VCF records", ways, rounds=2, warm_up=False)


def sampled_edits(genome: Genome, rng: np.random.Generator) -> list[Rate]:
    """Synthetic edits, 1,000 a call and a window's worth of 8 a call, beside a loop that tries again on N."""
    window = genome.window(CONTIG, 1_000_000, 1_000_000 + WINDOW_BP)
    text = window.tobytes().decode()

    def repeated(n_calls: int, n_edits: int) -> Callable[[], int]:
        def draw() -> int:
            for _ in range(n_calls):
                for sampler in (uniform_snv, indel, mnv):
                    sampler(window, n_edits, rng)
            return 3 * n_calls * n_edits

        return draw

    def one_at_a_time() -> int:
        drawn = []
        while len(drawn) < 30_000:
            at = int(rng.integers(64, len(text) - 64))
            if (ref := text[at]) != "N":
                drawn.append((at, ref, "ACGT".replace(ref, "")[int(rng.integers(3))]))
        return len(drawn)

    ways = {"1,000 a call": repeated(100, 1_000), "8 a call": repeated(100, 8), "loop, SNVs only": one_at_a_time}
    return compare("sampled edits", ways)


def annotated(genome: Genome, vcf: Path, rng: np.random.Generator) -> list[Rate]:
    """Region, GC and repeat class of 100,000 alleles, beside the overlaps with exons and repeats alone in bioframe."""
    starts = np.sort(rng.integers(10_000, genome.contigs[CONTIG] - 60_000, 2_000))
    genes, repeats = made_up_annotation(starts)
    context = Context.build(genes, repeats, genome)
    chunk = next(read_vcf_chunks(vcf, chunk_bytes=22 << 20, n_columns=8))
    alleles = to_alleles(chunk.lines, genome).filter(pl.col("reason").is_null()).head(100_000)
    window = most_central(alleles["pos"].to_numpy() - 1, genome.contigs[CONTIG], WINDOW_BP, STRIDE_BP)
    alleles = alleles.with_columns(window_start_bp=window, window_end_bp=window + WINDOW_BP)
    spans = alleles.select(
        chrom="contig", start=pl.col("pos") - 1, end=pl.col("pos") - 1 + pl.col("ref").str.len_bytes().cast(pl.Int64)
    ).to_pandas()
    tables = [
        frame.select(chrom="contig", start="start_bp", end="end_bp").to_pandas()
        for frame in (genes.filter(pl.col("feature") == "exon"), repeats)
    ]

    def ours() -> int:
        return context.annotate(alleles).height

    def overlaps() -> int:
        for table in tables:
            bioframe.overlap(spans, table, how="inner", return_index=True)
        return len(spans)

    return compare(
        "annotated alleles", {"Context.annotate, codons and GC too": ours, "bioframe overlap, two tables": overlaps}
    )


def made_up_annotation(starts: np.ndarray) -> tuple[pl.DataFrame, pl.DataFrame]:
    """Genes of four exons of 150 bp, all coding, and as many repeats of 300 bp beside them."""
    exons = pl.DataFrame(
        {
            "start_bp": (starts[:, None] + np.arange(4) * 2_000).ravel(),
            "transcript_id": np.repeat([f"t{i}" for i in range(len(starts))], 4),
        }
    ).with_columns(
        pl.lit(CONTIG).alias("contig"), (pl.col("start_bp") + 150).alias("end_bp"), pl.lit("+").alias("strand"),
        pl.lit("exon").alias("feature"), pl.col("transcript_id").alias("gene"),
        pl.lit("protein_coding").alias("biotype"), pl.lit(None, pl.Int64).alias("phase"),
    )  # fmt: skip
    spans = exons.group_by("transcript_id", maintain_order=True).agg(
        pl.col("start_bp").min(), pl.exclude("start_bp", "end_bp").first(), pl.col("end_bp").max()
    )
    genes = pl.concat(
        [
            exons,
            exons.with_columns(feature=pl.lit("CDS"), phase=pl.lit(0, pl.Int64)),
            spans.with_columns(feature=pl.lit("transcript")).select(exons.columns),
        ]
    )
    repeats = pl.DataFrame(
        {"contig": CONTIG, "start_bp": starts + 9_000, "end_bp": starts + 9_300, "repeat_class": "transposon"}
    )
    return genes, repeats


def main() -> None:
    """Make the inputs, run everything and print the table."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--records", type=int, default=1_000_000)
    parser.add_argument("--json", type=Path, default=None)
    arguments = parser.parse_args()
    rng = np.random.default_rng(0)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        fasta = write_fasta(folder / "reference.fa", rng)
        genome = Genome.open(fasta, cache_dir=folder)
        vcf = write_vcf(folder / "sites.vcf.gz", genome, arguments.records, rng)
        rates = [
            *windows(genome, fasta, rng),
            *tokens(genome, rng),
            *edited_windows(genome, rng),
            *ingest(genome, fasta, vcf, arguments.records),
            *sampled_edits(genome, rng),
            *annotated(genome, vcf, rng),
        ]
        growth = growth_of_a_pass(genome)
        print_rates(rates, arguments.json, vcf_bytes=vcf.stat().st_size, MiB_more_while_reading_all_windows=growth)


if __name__ == "__main__":
    main()
