"""The steps of the data set, one process each: seconds, CPU seconds and peak memory, and the whole genome on paper.

    .venv/bin/python benchmarks/dataset.py [--records 3000000] [--json FILE]

A contig of 100 Mbp, 3 million population sites and a third of them, ClinVar, phased genotypes, genes and repeats, all
made on the spot; `--records` makes all of it smaller, at the same density. Files are in the page cache. Peak memory is
`ru_maxrss` of a process that does one step, above what it was after the imports; pages of the mapped genome count.
"""

from __future__ import annotations

import argparse
import json
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path

import polars as pl
from dataset_inputs import N_GNOMAD, N_SAMPLES, write_all
from inputs import CONTIG
from measuring import machine
from rich.console import Console
from rich.table import Table

from data_contracts.columns import CLINVAR, GNOMAD, SYNTHETIC_INDEL, SYNTHETIC_SNV
from geno_model.genomics.annotation_io import read_genes
from geno_model.genomics.genome import Genome
from geno_model.genomics.repeats_io import read_repeats
from geno_pipeline.build import accounting, edit_mix, holdouts, leakage, regions, rows, validation, windows
from geno_pipeline.build.clinvar import ingest_clinvar
from geno_pipeline.build.gnomad import ingest_gnomad
from geno_pipeline.build.phased import ingest_phased

SEED = 1
SHARES = {GNOMAD: 0.4, SYNTHETIC_SNV: 0.3, SYNTHETIC_INDEL: 0.2, CLINVAR: 0.1}
MIX = {"seed": SEED, "calibration_fraction": 0.3}
HELD = ("holdout_chr", "holdout_clinvar", "holdout_haplotypes", "gene_annotation")
EDITS_PER_WINDOW = 8
# What a run over GRCh38 with gnomAD v4 genomes, ClinVar and the 1000 Genomes at 30x has of each unit.
WHOLE_GENOME = {
    "Mbp": 3_100,
    "genome": 1,
    "gene features": 3_400_000,
    "repeats": 5_500_000,
    "gnomAD alleles": 760_000_000,
    "common alleles": 38_000_000,
    "ClinVar alleles": 3_000_000,
    "genotypes": 70_000_000 * 3_202,
    "phased records": 70_000_000,
    "training rows": 3_100_000_000 // 8_192 * EDITS_PER_WINDOW,
}
Made = tuple[float, dict[str, pl.DataFrame]]  # how many units the step worked on, and its tables


@dataclass(frozen=True)
class Data:
    """The files of a data set, and the tables that steps have made of them."""

    folder: Path

    def file(self, name: str) -> Path:
        """An input file."""
        return self.folder / name

    def genome(self) -> Genome:
        """The reference, from its cache folder if it is there."""
        return Genome.open(self.file("reference.fa"), cache_dir=self.folder / "cache")

    def table(self, name: str) -> pl.DataFrame:
        """What an earlier step made."""
        return pl.read_parquet(self.folder / f"{name}.parquet")

    def tables(self, *names: str) -> list[pl.DataFrame]:
        """Several of them."""
        return [self.table(name) for name in names]


@dataclass(frozen=True)
class Step:
    """A step and the unit that its work grows with. is_whole: it counts in the total for the whole genome."""

    run: Callable[[Data], Made]
    unit: str
    is_whole: bool = True


@dataclass(frozen=True)
class Measured:
    """One step in one process. base_mib: memory after the imports; peak_mib: what came on top."""

    step: str
    unit: str
    n: float
    seconds: float
    cpu_seconds: float
    per_cpu_second: float
    base_mib: float
    peak_mib: float


def genome(data: Data) -> Made:
    """Genome.open."""
    return sum(data.genome().contigs.values()) / 1e6, {}


def genes(data: Data) -> Made:
    """Genes."""
    table = read_genes(data.file("genes.gtf"), data.genome())
    return table.height, {"gene_annotation": table}


def repeats(data: Data) -> Made:
    """Repeats."""
    table = read_repeats(data.file("repeats.out"), data.genome())
    return table.height, {"repeat_annotation": table}


def gnomad(data: Data, part: str = "") -> Made:
    """Population sites; all alleles count, not only those that are kept."""
    table, ledger = ingest_gnomad([data.file(f"gnomad{part}.vcf.gz")], data.genome(), [CONTIG])
    return int(ledger["n_alleles"].sum()), {f"gnomad_variants{part}": table}


def clinvar(data: Data, part: str = "") -> Made:
    """ClinVar."""
    table, ledger = ingest_clinvar(data.file(f"clinvar{part}.vcf.gz"), data.genome(), [CONTIG])
    return int(ledger["n_alleles"].sum()), {f"clinvar_variants{part}": table}


def phased(data: Data, part: str = "") -> Made:
    """Phased genotypes."""
    table, ledger = ingest_phased(data.file(f"phased{part}.vcf.gz"), data.genome(), [CONTIG])
    n = int(ledger["n_alleles"].sum())
    return n * N_SAMPLES, {f"phased_haplotypes{part}": table, f"phased_records{part}": pl.DataFrame({"n": n})}


def count(data: Data, source: str, per_allele: int = 1) -> Made:
    """The second count of the alleles of a file."""
    return accounting.count_alleles([data.file(f"{source}.vcf.gz")]) * per_allele, {}


def reference_windows(data: Data) -> Made:
    """Windows; the last tenth of the contig is held out."""
    reference = data.genome()
    length = reference.contigs[CONTIG]
    held = holdouts.holdout_chr([], [(CONTIG, length * 9 // 10, length)], reference.contigs)
    table, _ = windows.reference_windows(reference, CONTIG, 12_288, 8_192, 0.05, held)
    return length / 1e6, {"holdout_chr": held, "reference_windows": table}


def holdout_clinvar(data: Data) -> Made:
    """A fifth of the genes."""
    known, held = data.tables("clinvar_variants", "holdout_chr")
    return known.height, {"holdout_clinvar": holdouts.holdout_clinvar(known, 0.2, SEED, held)}


def holdout_haplotypes(data: Data) -> Made:
    """A fifth of the blocks."""
    blocks, held = data.tables("phased_haplotypes", "holdout_chr")
    table = holdouts.holdout_haplotypes(blocks, 0.2, SEED, held)
    return data.table("phased_records")["n"][0], {"holdout_haplotypes": table}


def holdout_regions(data: Data) -> Made:
    """All spans that the holdouts block."""
    held, alleles, blocks, known = data.tables(*HELD)
    table = regions.holdout_regions(held, alleles, blocks, known, data.genome())
    return data.table("phased_records")["n"][0], {"holdout_regions": table}


def plan(data: Data) -> Made:
    """The edit mix."""
    grid, common, known, blocked = data.tables(
        "reference_windows", "gnomad_variants", "clinvar_variants", "holdout_regions"
    )
    table = edit_mix.plan(grid, common, known, blocked, edits_per_window=EDITS_PER_WINDOW, shares=SHARES, **MIX)
    return common.height, {"edit_mix": table}


def training_rows(data: Data) -> Made:
    """Training rows of the contig."""
    mix, grid, common, known = data.tables("edit_mix", "reference_windows", "gnomad_variants", "clinvar_variants")
    blocks, blocked = data.tables("phased_haplotypes", "holdout_regions")
    made = rows.training_rows(mix, grid, common, known, blocks, data.genome(), CONTIG, blocked, **MIX)
    return made.height, {"training_edits": made}


def leaked(data: Data) -> Made:
    """The proof that no training row touches a holdout."""
    held, alleles, blocks, known = data.tables(*HELD)
    made = data.table("training_edits")
    found = leakage.leakage(made, leakage.Holdouts(held, alleles, blocks, known, data.genome()))
    assert found["n_rows"].sum() == 0
    return made.height, {}


def validation_rows(data: Data) -> Made:
    """Validation rows of the contig."""
    grid, common, alleles, blocks = data.tables(
        "reference_windows", "gnomad_variants", "holdout_clinvar", "holdout_haplotypes"
    )
    reference = data.genome()
    made = validation.validation_rows(
        grid, common, alleles, blocks, reference, CONTIG, data.table("holdout_regions"),
        seed=SEED, shares=SHARES, singles_per_window=4, chains_per_k=200,
    )  # fmt: skip
    return reference.contigs[CONTIG] / 1e6, {"validation_edits": made}


STEPS = {
    "Genome.open, cold": Step(genome, "Mbp"),
    "Genome.open, warm": Step(lambda data: (1, genome(data)[1]), "genome"),
    "read_genes": Step(genes, "gene features"),
    "read_repeats": Step(repeats, "repeats"),
    "ingest_gnomad, a third": Step(lambda data: gnomad(data, "_third"), "gnomAD alleles", is_whole=False),
    "ingest_gnomad": Step(gnomad, "gnomAD alleles"),
    "ingest_gnomad, 6 kB a record": Step(lambda data: gnomad(data, "_long"), "gnomAD alleles", is_whole=False),
    "ingest_clinvar, a third": Step(lambda data: clinvar(data, "_third"), "ClinVar alleles", is_whole=False),
    "ingest_clinvar": Step(clinvar, "ClinVar alleles"),
    "ingest_phased, a third": Step(lambda data: phased(data, "_third"), "genotypes", is_whole=False),
    "ingest_phased": Step(phased, "genotypes"),
    "count_alleles, gnomAD, a third": Step(lambda data: count(data, "gnomad_third"), "gnomAD alleles", is_whole=False),
    "count_alleles, gnomAD": Step(lambda data: count(data, "gnomad"), "gnomAD alleles"),
    "count_alleles, gnomAD, 6 kB a record": Step(
        lambda data: count(data, "gnomad_long"), "gnomAD alleles", is_whole=False
    ),
    "count_alleles, ClinVar": Step(lambda data: count(data, "clinvar"), "ClinVar alleles"),
    "count_alleles, phased": Step(lambda data: count(data, "phased", N_SAMPLES), "genotypes"),
    "reference_windows": Step(reference_windows, "Mbp"),
    "holdout_clinvar": Step(holdout_clinvar, "ClinVar alleles"),
    "holdout_haplotypes": Step(holdout_haplotypes, "phased records"),
    "holdout_regions": Step(holdout_regions, "phased records"),
    "edit_mix.plan": Step(plan, "common alleles"),
    "training_rows": Step(training_rows, "training rows"),
    "leakage": Step(leaked, "training rows"),
    "validation_rows": Step(validation_rows, "Mbp"),
}  # fmt: skip
THIRD, LONG = ", a third", ", 6 kB a record"


def measure(name: str, folder: Path) -> Measured:
    """Run one step in this process."""
    step, base = STEPS[name], _peak_mib()
    wall, cpu = time.perf_counter(), time.process_time()
    n, tables = step.run(Data(folder))
    cpu_seconds, seconds = time.process_time() - cpu, time.perf_counter() - wall
    peak = _peak_mib() - base
    for table, frame in tables.items():
        frame.write_parquet(folder / f"{table}.parquet")
    return Measured(name, step.unit, n, seconds, cpu_seconds, n / cpu_seconds, base, peak)


def _peak_mib() -> float:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024  # KiB on Linux


def measure_all(share: float) -> list[Measured]:
    """Each step in a process of its own, over files that one more process made."""
    with tempfile.TemporaryDirectory() as folder:

        def call(*options: str) -> str:
            command = [sys.executable, __file__, "--folder", folder, *options]
            return subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout

        call("--make", str(share))
        return [Measured(**json.loads(call("--step", name))) for name in STEPS]


def growth(measured: list[Measured]) -> dict[str, float]:
    """Peak memory of each variant step over that for a third of its file."""
    peak = {one.step: one.peak_mib for one in measured}
    return {name: round(peak[name] / peak[f"{name}{THIRD}"], 2) for name in STEPS if f"{name}{THIRD}" in peak}


def on_paper(measured: list[Measured]) -> dict[str, float]:
    """CPU hours of each step over the whole genome, from the rates; in the second total LONG steps stand in."""
    hours = {one.step: WHOLE_GENOME[one.unit] / one.per_cpu_second / 3600 for one in measured}
    whole = {name: hours[name] for name, step in STEPS.items() if step.is_whole}
    long = {name: hours.get(f"{name}{LONG}", cpu) for name, cpu in whole.items()}
    alike = {name: hours[name] for name in hours if name.endswith(LONG)}
    return {**whole, "total": sum(whole.values()), **alike, f"total{LONG}": sum(long.values())}


def print_all(measured: list[Measured], path: Path | None) -> None:
    """Table, ratios and hours on standard output, and as JSON in a file if one is named."""
    table = Table(title=machine())
    for column in ("step", "of", "n", "seconds", "CPU s", "n per CPU s", "MiB at start", "MiB above"):
        table.add_column(column, justify="left" if column in ("step", "of") else "right")
    for one in measured:
        numbers = (one.n, one.seconds, one.cpu_seconds, one.per_cpu_second, one.base_mib, one.peak_mib)
        shown = (f"{value:,.0f}" if value >= 100 else f"{value:.3g}" for value in numbers)
        table.add_row(one.step, one.unit, *shown)
    console = Console(width=max(Console().width, 140))
    console.print(table)
    ratios, hours = growth(measured), on_paper(measured)
    for name, ratio in ratios.items():
        console.print(f"peak memory, whole file / a third: {name} {ratio:.2f}")
    units = {one.step: one.unit for one in measured}
    for name, cpu in hours.items():
        what = f" ({WHOLE_GENOME[units[name]]:,} {units[name]})" if name in units else ""
        console.print(f"on paper: {name}{what} {cpu:,.3g} CPU h", highlight=False)
    if path:
        report = {
            "machine": machine(),
            "steps": [asdict(one) for one in measured],
            "growth": ratios,
            "CPU_hours": hours,
        }
        path.write_text(json.dumps(report, indent=1) + "\n")


def main() -> None:
    """Measure everything, or (in a process of its own) make the files or run one step."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--records", type=int, default=N_GNOMAD)
    parser.add_argument("--json", type=Path, default=None)
    for own in ("--folder", "--make", "--step"):
        parser.add_argument(own, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.make:
        write_all(Path(arguments.folder), float(arguments.make))
    elif arguments.step:
        print(json.dumps(asdict(measure(arguments.step, Path(arguments.folder)))))
    else:
        print_all(measure_all(arguments.records / N_GNOMAD), arguments.json)


if __name__ == "__main__":
    main()
