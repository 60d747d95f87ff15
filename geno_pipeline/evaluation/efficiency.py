"""What a score costs: seconds, memory and tokens, for one variant and for batches (spec 6, efficiency).

Belongs here: measuring. Does not: making it fast (`geno_model.scoring`), comparing with other ways (`benchmarks/`).

Concept: what is measured runs in processes of its own with one thread, so that cold is cold (interpreter, imports,
loading, first score), a process for each start. One more process makes the rest, the small batches first, so that the
most memory it has had so far is what the largest of them needs:

    python -m geno_pipeline.evaluation.efficiency REQUEST.json     prints one line of JSON

Variants of a batch are neighbours along the genome, as in a VCF. Region classes are not looked up: what gene models
cost is not in the figures.
"""

from __future__ import annotations

import json
import os
import platform
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import polars as pl

from data_contracts.efficiency import BATCH, COLD, WARM, Efficiency

COLD_STARTS = 3


class EfficiencyError(RuntimeError):
    """A measurement that came to nothing."""


@dataclass(frozen=True, slots=True)
class Subject:
    """What is measured: folders of the encoder, its identity (state contract), the checkpoint and the training states;
    the reference with the folder of its cache; the window policy."""

    encoder: Path
    identity: Path
    checkpoint: Path
    states: Path
    fasta: Path
    cache_dir: Path
    policy: str


def efficiency(
    subject: Subject, alleles: pl.DataFrame, *, batches: Sequence[int] = (1, 8, 64, 256), repeats: int = 3
) -> pl.DataFrame:
    """Table `Efficiency`: one variant cold and warm, then the batches that `alleles` are enough for.

    alleles: contig, pos (1-based), ref, alt, edit_type. Raises `EfficiencyError` where a measurement fails.
    """
    ordered = alleles.select("contig", "pos", "ref", "alt", "edit_type").sort("contig", "pos", "ref", "alt")

    sizes = [n for n in batches if n <= ordered.height]
    runs = [(WARM, 1), *((BATCH, n) for n in sorted(sizes))]
    cold = [_process(subject, ordered, [1], 0) for _ in range(COLD_STARTS)]
    rows = [_row(COLD, 1, [seconds for _, seconds in cold], cold[0][0][0])]
    found, _ = _process(subject, ordered, [n for _, n in runs], repeats)
    rows += [_row(what, n, one["calls_s"], one) for (what, n), one in zip(runs, found, strict=True)]
    return pl.DataFrame(rows, schema=Efficiency.empty().schema)


def machine() -> dict[str, str]:
    """Processor, cores, memory and versions that the figures are of."""
    import numpy
    import torch
    import transformers

    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30
    return {
        "processor": _processor(),
        "cores": str(os.cpu_count()),
        "memory": f"{memory:.0f} GiB",
        "system": f"{platform.system()} {platform.machine()}",
        "Python": platform.python_version(),
        "torch": torch.__version__,
        "transformers": transformers.__version__,
        "numpy": numpy.__version__,
    }


def _processor() -> str:
    path = Path("/proc/cpuinfo")
    lines = path.read_text().splitlines() if path.is_file() else []
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.processor() or "unknown processor"


def _row(what: str, n: int, seconds: Sequence[float], found: dict[str, Any]) -> dict[str, object]:
    median = statistics.median(seconds)
    return {
        "what": what,
        "n_variants": n,
        "n_repeats": len(seconds),
        "median_s": median,
        "low_s": min(seconds),
        "high_s": max(seconds),
        "variants_per_s": n / median,
        "tokens_per_variant": found["tokens"] / n,
        "peak_memory_mib": found["peak_memory_mib"],
        "n_threads": 1,
    }


def _process(
    subject: Subject, ordered: pl.DataFrame, sizes: Sequence[int], repeats: int
) -> tuple[list[dict[str, Any]], float]:
    """One process that scores so many neighbours each: what it printed, and its own seconds from start to end."""
    paths = {name: str(value) for name, value in asdict(subject).items()}
    alleles = [ordered.slice((ordered.height - n) // 2, n).to_dicts() for n in sizes]
    with tempfile.TemporaryDirectory() as folder:
        request = Path(folder) / "request.json"
        request.write_text(json.dumps({"subject": paths, "alleles": alleles, "repeats": repeats}))
        begun = time.perf_counter()
        done = subprocess.run(
            [sys.executable, "-m", "geno_pipeline.evaluation.efficiency", str(request)],
            env=os.environ | {"OMP_NUM_THREADS": "1"},
            capture_output=True,
            text=True,
            check=False,
        )
        seconds = time.perf_counter() - begun
    if done.returncode != 0:
        last = (done.stderr.strip().splitlines() or ["it said nothing"])[-1]
        raise EfficiencyError(f"scoring {max(sizes)} variants in a process of its own failed: {last}")
    return json.loads(done.stdout.splitlines()[-1]), seconds


def _main(request: Path) -> None:
    """The measured process: load, score once, then each batch `repeats` times by the clock."""
    from geno_model.encoder.carbon import load_encoder
    from geno_model.encoder.pool_shift import load_sixmer_states
    from geno_model.encoder.state_contract import StateContract
    from geno_model.genomics.context import Context
    from geno_model.genomics.genome import Genome
    from geno_model.predictor.world_model import WorldModel
    from geno_model.scoring.surprise import score_raw, window_threads
    from geno_model.training.state_store import read_sixmers

    asked = json.loads(request.read_text())
    subject = asked["subject"]
    identity = Path(subject["identity"])
    contract = StateContract.from_dict(json.loads((identity / "contract.json").read_text()))
    encoder = load_encoder(Path(subject["encoder"]), contract)
    if contract.context == "pool":
        load_sixmer_states(identity, encoder)
    model = WorldModel.load(Path(subject["checkpoint"]), read_sixmers(Path(subject["states"])))
    genome = Genome.open(Path(subject["fasta"]), cache_dir=Path(subject["cache_dir"]))
    context = Context.build(None, None, genome)
    found = []
    with window_threads(1) as threads:
        for number, alleles in enumerate(map(pl.DataFrame, asked["alleles"])):
            seconds, tokens, n_before_the_clock = [], 0, int(number == 0)  # the first call is the slow one
            for _ in range(asked["repeats"] + n_before_the_clock):
                before, begun = encoder.n_tokens_run, time.perf_counter()
                score_raw(alleles, genome, encoder, model, context, policy=subject["policy"], pool=threads)
                seconds.append(time.perf_counter() - begun)
                tokens = encoder.n_tokens_run - before
            calls = seconds[n_before_the_clock:]
            found.append({"calls_s": calls, "tokens": tokens, "peak_memory_mib": _peak_memory_mib()})
    print(json.dumps(found))


def _peak_memory_mib() -> float:
    """Most resident memory of this process so far."""
    status = Path("/proc/self/status")
    if status.is_file():  # getrusage on Linux begins with what the parent had when it forked
        line = next(line for line in status.read_text().splitlines() if line.startswith("VmHWM"))
        return int(line.split()[1]) / 2**10
    unit = 2**20 if sys.platform == "darwin" else 2**10  # macOS counts bytes
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / unit


if __name__ == "__main__":
    _main(Path(sys.argv[1]))
