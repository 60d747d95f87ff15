"""What the place of a window does to a score: its phase, and the end at which an indel is cut or padded.

    .venv/bin/python benchmarks/state_studies.py --model-dir data/demo/model_release --fasta F --contig chr21 [--json F]

Phase: tokens are six bases, so where a window begins (modulo 6) decides where in its token an edit falls, and how the
DNA around it is cut into tokens. The same SNVs are scored in six windows whose starts differ by 0..5 bp.
Side: the same indels, edited windows brought back to their length at the right end, or at the end opposite the locus
(the seeds' rule). The state's change is ||enc(edited) - enc(reference)||, sigma the percentile of a release.
Noise: what the encodings of one window differ by in each number type, beside what an SNV does.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
from pathlib import Path
from typing import get_args

import numpy as np
import polars as pl
from numpy.typing import NDArray
from rich.console import Console
from rich.table import Table
from scipy.stats import spearmanr

from geno_model.encoder.carbon import CarbonStateEncoder
from geno_model.encoder.noise import measure_noise
from geno_model.encoder.shared_prefix import encode_window
from geno_model.encoder.state_contract import Dtype
from geno_model.genomics.edits import EditType, RelEdit
from geno_model.genomics.genome import Genome
from geno_model.genomics.samplers import indel, uniform_snv
from geno_model.predictor.world_model import WorldModel, model_batch
from geno_model.scoring.calibration import percentile
from geno_model.scoring.scorer import Scorer

PHASES = 6
SNVS_A_WINDOW, INDELS_A_WINDOW = 10, 12
NOISE_WINDOWS = 8
CORE = (2_048, 10_240)  # where a window of the grid is the most central one
Scores = tuple[NDArray[np.float64], NDArray[np.float64]]  # change of the state, surprise, (n,) each


def known_starts(genome: Genome, contig: str, window_bp: int, n: int, rng: np.random.Generator) -> list[int]:
    """Starts of n random windows, with room for six phases, that hold no unknown base."""
    starts: list[int] = []
    for start in rng.permutation(np.arange(0, genome.contigs[contig] - window_bp - PHASES, 1_024)).tolist():
        if not (genome.window(contig, start, start + window_bp + PHASES) == ord("N")).any():
            starts.append(start)
        if len(starts) == n:
            break
    return starts


def rel_edits(drawn: pl.DataFrame, shift: int = 0) -> list[RelEdit]:
    """Edits of a window that begins `shift` bp later than the one they were drawn in."""
    return [
        RelEdit(at - shift, EditType.of_lengths(len(ref), len(alt)), ref, alt) for at, ref, alt in drawn.iter_rows()
    ]


def scores(encoder: CarbonStateEncoder, model: WorldModel, window: np.ndarray, edits: list[RelEdit]) -> Scores:
    """Change of the state and raw surprise of edits of one window, each alone."""
    chains, tokens = [[edit] for edit in edits], np.array([edit.rel_pos // 6 for edit in edits])
    encoded = encode_window(encoder, window, chains, tokens)
    predicted = model.predict(model_batch(encoded, chains, tokens))[:, 0]
    change = (encoded.targets - encoded.reference).norm(dim=1)
    return change.double().numpy(), (predicted - encoded.targets).norm(dim=1).double().numpy()


def phase_study(
    scorer: Scorer, contig: str, starts: list[int], rng: np.random.Generator
) -> tuple[pl.DataFrame, list[tuple[str, float]]]:
    """Changes by the base's place in its token, and how far scores move over the phases."""
    changes, surprises, places = [], [], []
    window_bp = scorer.encoder.contract.window_bp
    for start in starts:
        wide = scorer.genome.window(contig, start, start + window_bp + PHASES)
        drawn = uniform_snv(wide[:window_bp], SNVS_A_WINDOW, rng, span=CORE)
        of_phase = [
            scores(scorer.encoder, scorer.model, wide[phase : phase + window_bp], rel_edits(drawn, phase))
            for phase in range(PHASES)
        ]
        changes.append(np.stack([change for change, _ in of_phase], axis=1))
        surprises.append(np.stack([surprise for _, surprise in of_phase], axis=1))
        places.append((drawn["rel_pos"].to_numpy()[:, None] - np.arange(PHASES)) % PHASES)
    change, surprise, place = (np.concatenate(parts) for parts in (changes, surprises, places))
    grid = np.quantile(surprise[:, 0], np.linspace(0, 1, 1_001))
    sigma = percentile(surprise.ravel(), grid).reshape(surprise.shape)
    ratio = np.exp(np.ptp(np.log(change), axis=1))
    by_place = (
        pl.DataFrame({"base of the token": place.ravel(), "change": change.ravel(), "surprise": surprise.ravel()})
        .group_by("base of the token").agg(pl.len().alias("n"), pl.col("change", "surprise").median())
        .sort("base of the token")
    )  # fmt: skip
    averaged = surprise.mean(axis=1)
    halves = surprise[:, ::2].mean(axis=1), surprise[:, 1::2].mean(axis=1)
    return by_place, [
        ("SNVs", len(change)),
        ("change of the state: largest over smallest phase, median SNV", float(np.median(ratio))),
        ("change: rank correlation of two phases, mean", mean_rank_correlation(change)),
        ("surprise: rank correlation of two phases, mean", mean_rank_correlation(surprise)),
        ("sigma: standard deviation over the phases, median SNV", float(np.median(sigma.std(axis=1, ddof=1)))),
        ("sigma: largest less smallest phase, median SNV", float(np.median(np.ptp(sigma, axis=1)))),
        ("sigma: the same, 90 % of SNVs below", float(np.quantile(np.ptp(sigma, axis=1), 0.9))),
        ("surprise: rank correlation of one phase and the mean of six", rank_correlation(surprise[:, 0], averaged)),
        ("surprise: rank correlation of the means of three and the other three phases", rank_correlation(*halves)),
    ]  # fmt: skip


def rank_correlation(first: NDArray[np.float64], second: NDArray[np.float64]) -> float:
    """Spearman correlation."""
    return float(np.asarray(spearmanr(first, second))[0])


def mean_rank_correlation(values: NDArray[np.float64]) -> float:
    """Mean Spearman correlation of all pairs of columns."""
    matrix = np.asarray(spearmanr(values)[0])
    return float(matrix[np.triu_indices(values.shape[1], 1)].mean())


def side_study(scorer: Scorer, contig: str, starts: list[int], rng: np.random.Generator) -> pl.DataFrame:
    """Median change of the state by the half in which an indel lies, whether it keeps the frame, and the rule."""
    rows = []
    contract = scorer.encoder.contract
    for start in starts:
        window = scorer.genome.window(contig, start, start + contract.window_bp)
        edits = rel_edits(indel(window, INDELS_A_WINDOW, rng, span=CORE, length_weights=np.ones(15)))
        for rule in ("right", "opposite"):
            encoder = CarbonStateEncoder(
                scorer.encoder.model, scorer.encoder.dna_offset, dataclasses.replace(contract, fit_side=rule)
            )
            change, surprise = scores(encoder, scorer.model, window, edits)
            rows += [
                {
                    "rule": rule,
                    "half": "right" if 2 * edit.rel_pos > contract.window_bp else "left",
                    "frame": "kept" if (len(edit.alt_bases) - len(edit.ref_bases)) % 6 == 0 else "shifted",
                    "change": float(change[row]),
                    "surprise": float(surprise[row]),
                }
                for row, edit in enumerate(edits)
            ]
    keys = ["half", "frame", "rule"]
    table = pl.DataFrame(rows).group_by(keys).agg(pl.len().alias("n"), pl.col("change", "surprise").median())
    return table.sort(keys, descending=[False, False, True])


def noise_study(scorer: Scorer, folder: Path, contig: str, starts: list[int]) -> pl.DataFrame:
    """The noise floor of the release's encoder in every number type."""
    contract = scorer.encoder.contract
    windows = np.stack([scorer.genome.window(contig, start, start + contract.window_bp) for start in starts])
    settings = {name: value for name, value in contract.to_dict().items() if name != "encoder_hash"}
    rows = []
    for dtype in get_args(Dtype):
        noise = measure_noise(CarbonStateEncoder.load(folder, settings | {"dtype": dtype}), windows)
        rows.append({"dtype": dtype, "floor": noise.floor, "SNV": noise.signal, "share": noise.share})
    return pl.DataFrame(rows)


def print_frame(title: str, frame: pl.DataFrame, console: Console) -> None:
    """A frame as a table, numbers with three digits."""
    table = Table(*frame.columns, title=title)
    for row in frame.iter_rows():
        table.add_row(*(f"{value:.3g}" if isinstance(value, float) else str(value) for value in row))
    console.print(table)


def main() -> None:
    """Run the studies on one release and one contig, and print their tables."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--model-dir", type=Path, required=True)
    parser.add_argument("--fasta", type=Path, required=True)
    parser.add_argument("--contig", required=True, help="as the FASTA names it")
    parser.add_argument("--windows", type=int, default=60)
    parser.add_argument("--json", type=Path, default=None)
    arguments = parser.parse_args()
    rng, genome, console = np.random.default_rng(0), Genome.open(arguments.fasta), Console(width=110)
    scorer = Scorer.from_release(arguments.model_dir, genome)
    starts = known_starts(genome, arguments.contig, scorer.encoder.contract.window_bp, arguments.windows, rng)
    by_place, moves = phase_study(scorer, arguments.contig, starts, rng)
    sides = side_study(scorer, arguments.contig, starts, rng)
    print_frame("Median SNV by the base's place in its token", by_place, console)
    print_frame("Over six phases", pl.DataFrame(moves, schema=["what", "value"], orient="row"), console)
    print_frame("Indels by the end that is cut or padded", sides, console)
    noise = noise_study(scorer, arguments.model_dir / "encoder", arguments.contig, starts[:NOISE_WINDOWS])
    print_frame("Noise floor", noise, console)
    if arguments.json:
        report = {
            "noise": noise.to_dicts(),
            "by_place": by_place.to_dicts(),
            "over_phases": dict(moves),
            "sides": sides.to_dicts(),
        }
        arguments.json.write_text(json.dumps(report, indent=1) + "\n")


if __name__ == "__main__":
    main()
