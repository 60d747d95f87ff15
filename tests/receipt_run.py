"""A scored VCF with its receipts, and what tests do to them: shared by the tests of receipts and of geno-verify."""

from __future__ import annotations

import hashlib
import json
import shutil
from pathlib import Path
from typing import Any

from typer.testing import CliRunner

from geno_model.cli.verify import app
from geno_model.release.manifest import canonical_json
from geno_model.scoring.score_vcf import score_vcf
from geno_model.scoring.scorer import Scorer
from tests.tiny_release import TinyRelease, every_kind, vcf_text

N_SCORED = 10


def score_once(release: TinyRelease, folder: Path, scorer: Scorer | None = None) -> Path:
    """A folder with in.vcf, out.vcf and receipts r.jsonl, of which tests change copies."""
    folder.mkdir()
    (folder / "in.vcf").write_text(vcf_text(every_kind(release.genome())))
    scorer = scorer or Scorer.from_release(release.model_dir, release.genome())
    score_vcf(folder / "in.vcf", scorer, folder / "out.vcf", receipt=folder / "r.jsonl")
    return folder


def working_copy(scored: Path, release: TinyRelease, folder: Path) -> Path:
    """A copy of `score_once` with a copy of the release and of its FASTA, release/ and ref.fa."""
    shutil.copytree(scored, folder)
    shutil.copytree(release.model_dir, folder / "release")
    shutil.copy(release.fasta, folder / "ref.fa")
    return folder


def check(work: Path, *options: str, files: str = "") -> tuple[int, list[str]]:
    """Exit code and lines of stderr. files: "o" adds --output, "i" the inputs, "r" a rerun."""
    arguments = [str(work / "r.jsonl"), "--model-dir", str(work / "release"), *options]
    arguments += ["--output", str(work / "out.vcf")] if "o" in files else []
    arguments += ["--vcf", str(work / "in.vcf"), "--fasta", str(work / "ref.fa")] if "i" in files else []
    result = CliRunner().invoke(app, [*arguments, *(["--rerun"] if "r" in files else [])])
    assert result.stdout == ""
    assert all(line.startswith("geno-verify: ") for line in result.stderr.splitlines()), result.output
    return result.exit_code, result.stderr.splitlines()


def flip(path: Path, place: int) -> None:
    """Change one byte."""
    content = bytearray(path.read_bytes())
    content[place] ^= 1
    path.write_bytes(content)


def receipts(work: Path) -> list[dict[str, Any]]:
    """The lines of the receipts file."""
    return [json.loads(line) for line in (work / "r.jsonl").read_text().splitlines()]


def reseal(work: Path, lines: list[dict[str, Any]]) -> None:
    """Write changed lines as a forger would, who follows the format."""
    for line in lines:
        if "output" in line:
            line["output_commitment"] = hashlib.sha256(canonical_json(line["output"])).hexdigest()
    above = b"".join(canonical_json(line) + b"\n" for line in lines[:-1])
    seal = {name: value for name, value in lines[-1].items() if name != "sha256"} | {"n_scores": len(lines) - 2}
    seal["sha256"] = hashlib.sha256(above + canonical_json(seal)).hexdigest()
    (work / "r.jsonl").write_bytes(above + canonical_json(seal) + b"\n")
