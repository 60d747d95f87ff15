"""`geno-score` at three densities beside the plain way; time to the first score; memory as the input grows.

    .venv/bin/python benchmarks/score.py --model-dir data/demo/model_release --fasta REF.fa.gz --contig chr22 [--json F]
    .venv/bin/python benchmarks/score.py --memory [--json F]

Densities: a genome has a variant in 600 bp, an exome a few in each exon, a saturation screen all three SNVs of each
base of 300. Ours is `Scorer.score_alleles`, the very call of `geno-score`. Plain: reference and edited window of every
allele in full, with the same weights in the same run, on a sample; the predictor is left out of it. Both have one
thread, so that tokens and CPU seconds are whole. Tokens are counted by the encoder.
Memory: peak resident memory of `geno-score` as a process, on a release of random numbers with a small encoder, so that
a million alleles take minutes; what is held does not depend on the encoder.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import polars as pl
import torch
from inputs import CONTIG
from inputs import write_fasta as write_large_fasta
from measuring import Rate, compare, print_rates

from geno_model.genomics.alleles import to_alleles
from geno_model.genomics.edits import EditType, RelEdit, apply_edits_array
from geno_model.genomics.genome import Genome, most_central
from geno_model.genomics.samplers import uniform_snv
from geno_model.scoring.scorer import Scorer, variant_lines

GENOME_GAP_BP, EXON_GAP_BP, EXON_BP, VARIANTS_AN_EXON = 600, 9_000, 170, 2
SCREEN_BP = 300
N_PLAIN = 24
MEMORY_SIZES = (10_000, 100_000, 1_000_000)


def drawn(genome: Genome, contig: str, spans: list[tuple[int, int, int]], rng: np.random.Generator) -> pl.DataFrame:
    """SNVs (contig, pos, ref, alt), so many in each span (start_bp, end_bp, n)."""
    parts = []
    for start, end, n in spans:
        snvs = uniform_snv(genome.window(contig, start, end), n, rng)
        parts.append(snvs.with_columns((pl.col("rel_pos") + start + 1).alias("pos")))
    columns = [pl.lit(contig).alias("contig"), "pos", "ref", "alt"]
    return pl.concat(parts).select(columns).unique(["pos", "alt"]).sort("pos", "alt")


def screen(genome: Genome, contig: str, start: int) -> pl.DataFrame:
    """All three SNVs of each base of a span."""
    bases = genome.window(contig, start, start + SCREEN_BP).tobytes().decode()
    rows = [(contig, start + i + 1, ref, alt) for i, ref in enumerate(bases) for alt in "ACGT" if alt != ref != "N"]
    return pl.DataFrame(rows, schema=["contig", "pos", "ref", "alt"], orient="row")


def cases(genome: Genome, contig: str, rng: np.random.Generator) -> dict[str, pl.DataFrame]:
    """Variants of each density, all in the middle of the contig."""
    middle = genome.contigs[contig] // 2
    span = 24 * 8_192
    exons = [(at, at + EXON_BP, VARIANTS_AN_EXON) for at in range(middle, middle + 2 * span, EXON_GAP_BP)]
    return {
        "genome, 1 in 600 bp": drawn(genome, contig, [(middle, middle + span, span // GENOME_GAP_BP)], rng),
        "exome, 2 an exon": drawn(genome, contig, exons, rng),
        "saturation, 3 a base": screen(genome, contig, middle),
    }


def plain(scorer: Scorer, variants: pl.DataFrame, rng: np.random.Generator) -> tuple[int, int]:
    """Encode a sample one by one, nothing shared; returns how many, and the encoder's tokens."""
    contract, encoder = scorer.encoder.contract, scorer.encoder
    sample = variants.sample(min(N_PLAIN, variants.height), seed=int(rng.integers(1 << 30)))
    before = encoder.n_tokens_run
    for contig, pos, ref, alt in sample.iter_rows():
        length = scorer.genome.contigs[contig]
        start = int(most_central(np.array([pos - 1]), length, contract.window_bp, contract.stride_bp)[0])
        window = scorer.genome.window(contig, start, start + contract.window_bp)
        edit = RelEdit(pos - 1 - start, EditType.SNV, ref, alt)
        both = np.stack([window, apply_edits_array(window, [edit])])
        encoder.encode_batch(both, [edit.rel_pos, edit.rel_pos])
    return sample.height, encoder.n_tokens_run - before


def densities(model_dir: Path, fasta: Path, contig: str) -> tuple[list[Rate], dict[str, str]]:
    """Rates and tokens of each density."""
    genome, rng = Genome.open(fasta), np.random.default_rng(0)
    torch.set_num_threads(1)
    scorer = Scorer.from_release(model_dir, genome, n_threads=1)
    rates, facts = [], {}
    for name, variants in cases(genome, contig, rng).items():
        alleles = to_alleles(variant_lines(variants), genome)
        n_tokens: dict[str, float] = {}

        def ours(alleles: pl.DataFrame = alleles, n_tokens: dict[str, float] = n_tokens) -> int:
            before = scorer.encoder.n_tokens_run
            n_scored = int(scorer.score_alleles(alleles)["reason"].null_count())
            n_tokens["ours"] = (scorer.encoder.n_tokens_run - before) / n_scored
            return n_scored

        def naive(variants: pl.DataFrame = variants, n_tokens: dict[str, float] = n_tokens) -> int:
            n, tokens = plain(scorer, variants, np.random.default_rng(1))
            n_tokens["plain"] = tokens / n
            return n

        rates += compare(name, {"geno-score": ours, "both windows in full": naive}, rounds=2)
        facts[f"tokens a variant, {name}"] = f"{n_tokens['ours']:,.0f}, plain {n_tokens['plain']:,.0f}"
    return rates, facts


def command(model_dir: Path, fasta: Path, *more: str) -> list[str]:
    """A call of geno-score."""
    return [sys.executable, "-m", "geno_model.cli.score", "--model-dir", str(model_dir), "--fasta", str(fasta), *more]


def seconds(arguments: list[str], n: int = 3) -> float:
    """The shortest of n runs."""
    best = float("inf")
    for _ in range(n):
        started = time.perf_counter()
        subprocess.run(arguments, check=True, capture_output=True)
        best = min(best, time.perf_counter() - started)
    return best


def first_score(model_dir: Path, fasta: Path, contig: str) -> dict[str, str]:
    """Time from the command to the score of one variant, and of `--help`."""
    genome = Genome.open(fasta)
    pos = genome.contigs[contig] // 2
    ref = chr(genome.bases(contig)[pos - 1])
    variant = f"{contig}:{pos}:{ref}:{'A' if ref != 'A' else 'C'}"
    return {
        "time to the first score": f"{seconds(command(model_dir, fasta, '--variant', variant)):.2f} s",
        "geno-score --help": f"{seconds([sys.executable, '-m', 'geno_model.cli.score', '--help']):.2f} s",
    }


def memory() -> dict[str, str]:
    """Peak memory of runs of 10 k, 100 k and 1 M alleles."""
    sys.path.insert(0, str(Path(__file__).parents[1]))
    from tests.tiny_release import build_release

    facts = {}
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        release = build_release(folder / "release")
        fasta = write_large_fasta(folder / "ref.fa", np.random.default_rng(3), 20_000_000)
        genome = Genome.open(fasta, cache_dir=folder / "cache")
        for n in MEMORY_SIZES:
            vcf = write_dense(folder / "in.vcf", genome, n)
            arguments = command(
                release.model_dir, fasta, "--vcf", str(vcf), "--output", str(folder / "out.tsv"), "--quiet"
            )
            started = time.perf_counter()
            process = subprocess.Popen(arguments, env=os.environ | {"GENO_CACHE": str(folder / "cache")})
            _, status, usage = os.wait4(process.pid, 0)
            if status:
                raise SystemExit(f"geno-score failed on {n} alleles")
            took = time.perf_counter() - started
            facts[f"peak memory, {n:,} alleles"] = f"{usage.ru_maxrss / 1024:,.0f} MiB, {took:,.0f} s"
    return facts


def write_dense(path: Path, genome: Genome, n: int) -> Path:
    """A VCF of n SNVs, three at each base of the contig's first n / 3."""
    n_bases = -(-n // 3)
    bases = pl.Series("ref", genome.window(CONTIG, 5_000, 5_000 + n_bases).tobytes().decode()).str.split("").explode()
    refs = pl.DataFrame({"pos": np.arange(5_001, 5_001 + n_bases), "ref": bases.filter(bases != "")})
    rows = refs.join(pl.DataFrame({"alt": list("ACGT")}), how="cross").filter(pl.col("ref") != pl.col("alt")).head(n)
    lines = rows.select(
        pl.lit(CONTIG).alias("contig"),
        "pos",
        pl.lit(".").alias("id"),
        "ref",
        "alt",
        *(pl.lit(".").alias(name) for name in ("qual", "filter", "info")),
    )
    header = f"##fileformat=VCFv4.2\n##contig=<ID={CONTIG}>\n#CHROM\tPOS\tID\tREF\tALT\tQUAL\tFILTER\tINFO\n"
    path.write_text(header + lines.write_csv(separator="\t", include_header=False))
    return path


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--model-dir", type=Path)
    parser.add_argument("--fasta", type=Path)
    parser.add_argument("--contig", help="as the FASTA names it")
    parser.add_argument("--memory", action="store_true", help="memory instead of speed")
    parser.add_argument("--json", type=Path, default=None)
    arguments = parser.parse_args()
    if arguments.memory:
        print_rates([], arguments.json, **memory())
        return
    if not (arguments.model_dir and arguments.fasta and arguments.contig):
        parser.error("--model-dir, --fasta and --contig are needed, or --memory")
    rates, facts = densities(arguments.model_dir, arguments.fasta, arguments.contig)
    facts |= first_score(arguments.model_dir, arguments.fasta, arguments.contig)
    print_rates(rates, arguments.json, **facts)


if __name__ == "__main__":
    main()
