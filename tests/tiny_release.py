"""A whole model release made of random numbers, and inputs for it, small enough for tests.

The encoder is a random Llama of width 32, the model has random weights, the calibration random surprises: what comes
out means nothing, but every file, check and number goes the way of a real release.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import polars as pl
import torch

from data_contracts import CalibrationScores
from data_contracts.columns import POPULATIONS
from geno_model.genomics.context import Context, gc_terciles
from geno_model.genomics.genome import Genome
from geno_model.predictor.world_model import WorldModel, model_config
from geno_model.release.config import ReleaseConfig, WindowPolicy, write_config
from geno_model.release.manifest import write_manifest
from geno_model.scoring.calibration import calibrate, write_calibration
from geno_model.scoring.known_pathogenic import PATHOGENIC
from geno_model.scoring.scorer import CALIBRATION
from tests.unit.encoders import tiny_encoder

LENGTHS = {"chr1": 12_000, "chr2": 2_000, "chr3": 4_000}  # chr2 is shorter than a window of 3,072 bp
N_SPAN = (500, 1_500)  # of chr3: every window there has more than 5 % N


@dataclass(frozen=True)
class TinyRelease:
    """Paths of a release and of the FASTA that it was built with."""

    model_dir: Path
    fasta: Path
    cache: Path
    model_id: str

    def genome(self) -> Genome:
        """The FASTA's genome."""
        return Genome.open(self.fasta, cache_dir=self.cache)


def write_fasta(path: Path, seed: int = 5, contigs: dict[str, int] | None = None) -> Path:
    """A FASTA of random bases; chr3 has N in `N_SPAN`."""
    rng = np.random.default_rng(seed)
    text = []
    for contig, length in (contigs or LENGTHS).items():
        bases = np.frombuffer(b"ACGT", dtype=np.uint8)[rng.integers(0, 4, length)].copy()
        if contig == "chr3":
            bases[slice(*N_SPAN)] = ord("N")
        text.append(f">{contig}\n{bases.tobytes().decode()}\n")
    path.write_text("".join(text))
    return path


def random_model(sixmers: torch.Tensor) -> WorldModel:
    """A world model with random weights, that predicts more than "no change"."""
    torch.manual_seed(1)
    model = WorldModel(model_config("demo", sixmers.shape[1], "locus"), sixmers)
    torch.nn.init.normal_(model.predictor.out[-1].get_parameter("weight"), std=0.1)
    return model.eval()


def random_calibration_scores(n_rows: int = 2_500, seed: int = 2) -> pl.DataFrame:
    """Calibration scores of random numbers, all of region class `other` without repeats, as in a run without genes."""
    rng = np.random.default_rng(seed)
    schema = CalibrationScores.empty().schema
    frame = pl.DataFrame(
        {
            "contig": ["chr1"] * n_rows,
            "pos": np.arange(1, n_rows + 1),
            "ref": ["A"] * n_rows,
            "alt": ["C"] * n_rows,
            "edit_type": [1 if row % 25 == 0 else 0 for row in range(n_rows)],
            "region_class": ["other"] * n_rows,
            "gc": rng.normal(0.5, 0.02, n_rows),
            "repeat_class": ["none"] * n_rows,
            "surprise_raw": rng.random(n_rows),
            "displacement": rng.random(n_rows),
            **{f"af_{name}": rng.random(n_rows) if name == "afr" else [None] * n_rows for name in POPULATIONS},
        }
    )
    return frame.cast(schema)


def pathogenic(genome: Genome) -> pl.DataFrame:
    """What the release's ClinVar calls pathogenic: the first allele of `every_kind`."""
    contig, pos, ref, alt, _ = every_kind(genome)[0]
    return pl.DataFrame({"contig": [f"chr{contig}"], "pos": [pos], "ref": [ref], "alt": [alt]})


def build_release(folder: Path, policy: WindowPolicy = "most_central", given: Path | None = None) -> TinyRelease:
    """Write FASTA and release (with its encoder) below `folder`. given: a FASTA to use; nothing is pathogenic then."""
    folder.mkdir(parents=True, exist_ok=True)
    fasta, cache = given or write_fasta(folder / "ref.fa"), folder / "cache"
    genome = Genome.open(fasta, cache_dir=cache)
    model_dir = folder / "release"
    model_dir.mkdir()
    encoder = tiny_encoder(model_dir / "encoder")
    random_model(encoder.sixmer_embeddings()).save(model_dir)
    scores = random_calibration_scores()
    edges = gc_terciles(scores["gc"].to_numpy())
    Context.build(None, None, genome, edges).save(model_dir / "context")
    config = ReleaseConfig(encoder.contract, edges, policy)
    write_calibration(calibrate(scores, edges), model_dir / CALIBRATION, encoder.contract, edges, policy)
    if given is None:
        pathogenic(genome).write_parquet(model_dir / PATHOGENIC)
    write_config(model_dir, config, {"profile": "test"})
    return TinyRelease(model_dir, fasta, cache, write_manifest(model_dir))


VCF_HEADER = (
    "##fileformat=VCFv4.2\n"
    '##INFO=<ID=AC,Number=A,Type=Integer,Description="count">\n'
    '##INFO=<ID=DB,Number=0,Type=Flag,Description="flag">\n'
    '##FORMAT=<ID=GT,Number=1,Type=String,Description="genotype">\n'
    "##contig=<ID=1>\n##contig=<ID=2>\n##contig=<ID=3>\n##contig=<ID=nowhere>\n"
    "#CHROM\tPOS\tID\tREF\tALT\tQUAL\tFILTER\tINFO\tFORMAT\tsample-x\n"
)


def every_kind(genome: Genome) -> list[tuple[str, int, str, str, list[str]]]:
    """Records of every kind as (chrom, pos, ref, alt, status of each ALT), in the order of their position."""

    def ref(pos: int, length: int = 1, contig: str = "chr1") -> str:
        return genome.window(contig, pos - 1, pos - 1 + length).tobytes().decode()

    def other(letter: str, step: int = 1) -> str:
        return "ACGT"[("ACGT".index(letter) + step) % 4]

    r = {pos: ref(pos) for pos in (600, 2_000, 3_500, 3_600, 4_100, 4_300, 4_400, 11_400)}
    return [
        ("1", 600, r[600], other(r[600]), ["scored"]),
        ("1", 2_000, r[2_000], f"{other(r[2_000])},*,{other(r[2_000], 2)}", ["scored", "spanning_deletion", "scored"]),
        ("1", 3_000, ref(3_000, 2), "".join(map(other, ref(3_000, 2))), ["scored"]),
        ("1", 3_100, ref(3_100, 4), ref(3_100), ["scored"]),
        ("1", 3_200, ref(3_200), ref(3_200) + "ACGTA", ["scored"]),
        ("1", 3_300, ref(3_300), "<DEL>", ["symbolic"]),
        ("1", 3_400, ref(3_400), ref(3_400) + "[2:100[", ["breakend"]),
        ("1", 3_500, r[3_500], "N", ["ambiguous_base"]),
        ("1", 3_600, r[3_600], ".", ["no_alt"]),
        ("1", 4_100, other(r[4_100]), r[4_100], ["ref_mismatch"]),
        ("1", 4_200, ref(4_200, 30), ref(4_200), ["too_long"]),
        ("1", 4_300, r[4_300], other(r[4_300]).lower(), ["scored"]),
        ("1", 4_400, r[4_400], other(r[4_400]), ["scored"]),
        ("1", 4_400, r[4_400], other(r[4_400]), ["scored"]),  # the same again is scored again
        ("1", 11_400, r[11_400], other(r[11_400]), ["scored"]),
        ("1", 20_000, "A", "C", ["out_of_range"]),
        ("2", 50, ref(50, 1, "chr2"), other(ref(50, 1, "chr2")), ["out_of_range"]),
        ("3", 2_000, ref(2_000, 1, "chr3"), other(ref(2_000, 1, "chr3")), ["out_of_range"]),
        ("nowhere", 5, "A", "C", ["contig_unknown"]),
    ]


def vcf_text(records: list[tuple[str, int, str, str, list[str]]], header: str = VCF_HEADER) -> str:
    """A VCF with an INFO field, FORMAT and a sample."""
    lines = [f"{c}\t{p}\tid{i}\t{r}\t{a}\t.\tPASS\tAC=1;DB\tGT\t0|1" for i, (c, p, r, a, _) in enumerate(records)]
    return header + "".join(f"{line}\n" for line in lines)


def every_reason(genome: Genome) -> tuple[str, dict[str, int]]:
    """A VCF with each reason of spec 1 for leaving an allele out, and how often each is due (retained included)."""

    def ref(pos: int, length: int = 1) -> str:
        return genome.window("chr1", pos - 1, pos - 1 + length).tobytes().decode()

    def other(pos: int, step: int = 1) -> str:
        return "ACGT"[("ACGT".index(ref(pos)) + step) % 4]

    records = [
        ("1", 2_000, ref(2_000), other(2_000), "PASS", "0.2", ["retained"]),
        ("chr1", 2_000, ref(2_000), other(2_000), "PASS", "0.2", ["duplicate"]),
        ("1", 2_100, ref(2_100), f"{other(2_100)},*,<DEL>,{other(2_100, 2)}", ".", "0.2,0.1,0.1,0.3",
         ["retained", "spanning_deletion", "symbolic", "retained"]),
        ("1", 2_200, ref(2_200), other(2_200), "PASS", "0.0001", ["low_af"]),
        ("1", 2_300, ref(2_300), other(2_300), "q10", "0.2", ["filtered"]),
        ("1", 2_400, ref(2_400), ref(2_400) + "[2:100[", "PASS", "0.2", ["breakend"]),
        ("1", 2_500, ref(2_500), "R", "PASS", "0.2", ["ambiguous_base"]),
        ("1", 2_600, ref(2_600), ".", "PASS", ".", ["no_alt"]),
        ("1", 2_700, other(2_700), other(2_700, 2), "PASS", "0.2", ["ref_mismatch"]),
        ("1", 2_800, ref(2_800, 40), ref(2_800), "PASS", "0.2", ["too_long"]),
        ("1", 2_900, ref(2_900), "<NON_REF>", "PASS", "0.2", ["symbolic"]),
        ("1", 20_000, "A", "C", "PASS", "0.2", ["out_of_range"]),
        ("1", 0, "A", "C", "PASS", "0.2", ["out_of_range"]),
        ("chrUn_7", 100, "A", "C", "PASS", "0.2", ["contig_unknown"]),
    ]  # fmt: skip
    lines = [
        f"{chrom}\t{pos}\t.\t{ref_}\t{alt}\t.\t{status}\tAF={af};NUMBERED={number}\n"
        for number, (chrom, pos, ref_, alt, status, af, _) in enumerate(records)
    ]
    reasons = [reason for *_, due in records for reason in due]
    header = (
        "##fileformat=VCFv4.2\n##FILTER=<ID=q10,Description=low>\n"
        '##INFO=<ID=AF,Number=A,Type=Float,Description="frequency">\n'
        '##INFO=<ID=END,Number=1,Type=Integer,Description="end">\n'  # pysam writes it for <DEL>
        '##INFO=<ID=NUMBERED,Number=1,Type=Integer,Description="number">\n'
        "##contig=<ID=1>\n##contig=<ID=chr1>\n##contig=<ID=chrUn_7>\n#CHROM\tPOS\tID\tREF\tALT\tQUAL\tFILTER\tINFO\n"
    )
    return header + "".join(lines), {reason: reasons.count(reason) for reason in sorted(set(reasons))}
