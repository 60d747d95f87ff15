"""Receipts as `geno-score` writes them: what is in them, what is not, and that none is left half-made."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch
from typer.testing import CliRunner

from geno_model.cli.score import app
from geno_model.genomics.genome import Genome
from geno_model.scoring.receipts import runtime_of
from geno_model.scoring.score_vcf import score_vcf
from geno_model.scoring.scorer import Scorer
from geno_model.scoring.verify import Inputs, Part, verify
from tests.receipt_run import N_SCORED, check, receipts, score_once, working_copy
from tests.tiny_release import TinyRelease, build_release, every_kind, vcf_text


@pytest.fixture(scope="module")
def release(tmp_path_factory: pytest.TempPathFactory) -> TinyRelease:
    return build_release(tmp_path_factory.mktemp("tiny"))


@pytest.fixture(scope="module")
def scored(release: TinyRelease, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return score_once(release, tmp_path_factory.mktemp("scored") / "run")


@pytest.fixture
def work(scored: Path, release: TinyRelease, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("GENO_CACHE", str(tmp_path / "cache"))
    monkeypatch.delenv("GENO_ENCODER_DIR", raising=False)
    return working_copy(scored, release, tmp_path / "work")


def test_receipts_hold_no_allele_position_contig_or_sample(work: Path) -> None:
    text = (work / "r.jsonl").read_text()
    without_hashes = re.sub('"[0-9a-f]{64}"', '""', text)
    assert not re.search(r"chr\d|sample|in\.vcf|out\.vcf|ref\.fa|\"pos\"|\"[ACGT]+\"", without_hashes)
    assert not re.search(r"\b(3000|4400|11999)\b", without_hashes)
    allowed = {
        "kind", "schema_version", "provenance", "model_id", "calibration_sha256", "runtime", "record", "allele",
        "input_commitment", "output", "output_commitment",
    }  # fmt: skip
    assert all(set(line) == allowed for line in receipts(work)[1:-1])


def test_a_receipt_stands_for_each_score_and_for_nothing_else(work: Path) -> None:
    lines = receipts(work)
    kinds = [statuses for *_, statuses in every_kind_of(work)]
    expected = [
        (record, allele)
        for record, statuses in enumerate(kinds, start=1)
        for allele, status in enumerate(statuses, start=1)
        if status == "scored"
    ]
    assert [(line["record"], line["allele"]) for line in lines[1:-1]] == expected
    assert lines[-1]["output_sha256"] == hashlib.sha256((work / "out.vcf").read_bytes()).hexdigest()
    assert lines[0]["input"]["vcf_sha256"] == hashlib.sha256((work / "in.vcf").read_bytes()).hexdigest()
    # The same edit in the same window twice: the same input, the same output.
    same = [line for line in lines[1:-1] if line["record"] in (13, 14)]
    assert same[0]["input_commitment"] == same[1]["input_commitment"] and same[0]["output"] == same[1]["output"]


def every_kind_of(work: Path) -> list[tuple[str, int, str, str, list[str]]]:
    return every_kind(Genome.open(work / "ref.fa"))


def test_an_input_commitment_is_what_the_page_says(work: Path) -> None:
    """Record 1 by hand: an SNV of chr1 in the first window of 3,072 bp."""
    contig = (work / "ref.fa").read_text().split("\n")[1]
    record = every_kind_of(work)[0]
    commitment = {
        "contig": "chr1", "pos": record[1], "ref": record[2], "alt": record[3], "window_start_bp": 0,
        "window_sha256": hashlib.sha256(contig[:3_072].encode()).hexdigest(),
        "layer": -1, "pooling": "centered_mean", "radius_tokens": 16, "dtype": "float32",
        "window_policy": "most_central",
    }  # fmt: skip
    text = json.dumps(commitment, sort_keys=True, separators=(",", ":"))
    assert receipts(work)[1]["input_commitment"] == hashlib.sha256(text.encode()).hexdigest()


def test_two_runs_and_smaller_chunks_give_the_same_bytes(release: TinyRelease, scored: Path, tmp_path: Path) -> None:
    scorer = Scorer.from_release(release.model_dir, release.genome())
    score_vcf(scored / "in.vcf", scorer, tmp_path / "out.vcf", receipt=tmp_path / "again")
    assert {path.name for path in scored.iterdir()} == {"in.vcf", "out.vcf", "r.jsonl"}
    assert (tmp_path / "again").read_bytes() == (scored / "r.jsonl").read_bytes()
    score_vcf(scored / "in.vcf", scorer, tmp_path / "out.vcf", receipt=tmp_path / "chunks", chunk_bytes=150)
    inputs = Inputs(scored / "in.vcf", release.fasta)
    for chunk_bytes in (150, 1 << 20):
        verdict = verify(
            tmp_path / "chunks", release.model_dir, inputs=inputs, rerun=True, chunk_bytes=chunk_bytes,
            output=tmp_path / "out.vcf",
        )  # fmt: skip
        assert (verdict.code, verdict.n_scores, verdict.n_inputs, verdict.n_rerun) == (0, *[N_SCORED] * 3)


def test_the_runtime_is_that_of_the_objects(release: TinyRelease) -> None:
    scorer = Scorer.from_release(release.model_dir, release.genome())
    told = runtime_of(scorer)
    assert (told.device, told.dtype, told.attention) == ("cpu", "float32", "sdpa")
    assert told.torch == torch.__version__ and told.threads == scorer.n_threads
    assert runtime_of(dataclasses.replace(scorer, n_threads=7)).threads == 7
    scorer.encoder.model.set_attn_implementation("eager")
    assert runtime_of(scorer).attention == "eager"
    scorer.encoder.model.to(torch.bfloat16)  # pyright: ignore[reportArgumentType]
    assert scorer.encoder.contract.dtype == "float32" and runtime_of(scorer).dtype == "bfloat16"


def test_an_encoder_that_ran_in_another_number_type_is_named(release: TinyRelease, work: Path) -> None:
    scorer = Scorer.from_release(release.model_dir, release.genome())
    scorer.encoder.model.to(torch.float64)  # pyright: ignore[reportArgumentType]
    score_vcf(work / "in.vcf", scorer, work / "out.vcf", receipt=work / "r.jsonl")
    code, told = check(work)
    assert code == 10 and "number type of the encoder" in told[0] and "float64" in told[0]


def test_options_that_decide_what_is_scored_are_kept(release: TinyRelease, work: Path) -> None:
    content = (work / "in.vcf").read_text().replace("PASS\tAC=1;DB\tGT\t0|1", "q10\tAC=1;DB\tGT\t0|1", 1)
    (work / "in.vcf").write_text(content)
    arguments = ["--model-dir", work / "release", "--vcf", work / "in.vcf", "--fasta", work / "ref.fa"]
    arguments += ["--output", work / "out.vcf", "--receipt", work / "r.jsonl", "--pass-only", "--quiet"]
    assert CliRunner().invoke(app, list(map(str, arguments))).exit_code == 0
    code, told = check(work, files="oir")
    assert code == 0 and "scored 9 of 9 again" in told[-1]


@pytest.mark.parametrize(
    ("more", "n"),
    [
        (("--head", "displacement"), 10),
        (("--head", "surprise", "--delta-loglik"), 10),
        (("--population", "afr"), 10),
        (("--regions", "1:1-3200"), 6),
    ],
)
def test_a_rerun_asks_for_what_the_run_was_asked_for(work: Path, more: tuple[str, ...], n: int) -> None:
    arguments = ["--model-dir", work / "release", "--vcf", work / "in.vcf", "--fasta", work / "ref.fa"]
    arguments += ["--output", work / "out.vcf", "--receipt", work / "r.jsonl", "--quiet", *more]
    result = CliRunner().invoke(app, list(map(str, arguments)))
    assert result.exit_code == 0, result.output
    code, told = check(work, files="oir")
    assert code == 0 and f"scored {n} of {n} again" in told[-1], told


def test_a_policy_of_several_windows_commits_to_all_of_them(tmp_path: Path) -> None:
    """The phases of a window are six: a base that only the last of them holds is part of the input."""
    release = build_release(tmp_path / "made", "mean_of_phases")
    vcf = tmp_path / "in.vcf"
    vcf.write_text(vcf_text(every_kind(release.genome())[:1]))
    scorer = Scorer.from_release(release.model_dir, release.genome())
    score_vcf(vcf, scorer, tmp_path / "out.tsv", receipt=tmp_path / "r.jsonl")
    assert verify(tmp_path / "r.jsonl", release.model_dir, inputs=Inputs(vcf, release.fasta), rerun=True).code == 0
    text = release.fasta.read_text()
    at = text.index("\n") + 1 + 3_072 + 4  # 0-based 3,076: in the phases that begin at 5 alone
    (tmp_path / "other.fa").write_text(text[:at] + ("A" if text[at] != "A" else "C") + text[at + 1 :])
    changed = Inputs(vcf, tmp_path / "other.fa")
    assert verify(tmp_path / "r.jsonl", release.model_dir, inputs=changed).code == Part.INPUT


def test_a_stream_has_no_hash_and_its_alleles_are_compared(release: TinyRelease, work: Path) -> None:
    (work / "r.jsonl").unlink()
    command = [sys.executable, "-m", "geno_model.cli.score", "--model-dir", str(work / "release"), "--vcf", "-"]
    command += ["--fasta", str(work / "ref.fa"), "--output", str(work / "out.vcf"), "--receipt", str(work / "r.jsonl")]
    subprocess.run(command, input=(work / "in.vcf").read_bytes(), check=True, capture_output=True, timeout=120)
    assert receipts(work)[0]["input"]["vcf_sha256"] is None
    assert check(work, files="oi")[0] == 0


# Nothing half-made.


def test_a_receipt_that_would_replace_another_file_is_refused(work: Path) -> None:
    before = {path: path.read_bytes() for path in work.iterdir() if path.is_file()}
    arguments = ["--model-dir", work / "release", "--vcf", work / "in.vcf", "--fasta", work / "ref.fa"]
    for other in ("in.vcf", "ref.fa", "out.vcf"):
        options = [*arguments, "--output", work / "out.vcf", "--receipt", work / other]
        result = CliRunner().invoke(app, list(map(str, options)))
        assert result.exit_code == 2 and "name another output" in result.stderr
    for other, reason in (("release", "is a folder"), ("absent/r", "cannot be written")):
        options = [*arguments, "--output", work / "new.vcf", "--receipt", work / other]
        result = CliRunner().invoke(app, list(map(str, options)))
        assert result.exit_code == 1 and reason in result.stderr and len(result.stderr.splitlines()) == 1
    assert {path: path.read_bytes() for path in work.iterdir() if path.is_file()} == before


def test_a_killed_run_leaves_no_receipt(work: Path) -> None:
    (work / "made").mkdir()
    command = [sys.executable, "-m", "geno_model.cli.score", "--model-dir", work / "release", "--vcf", "-"]
    command += ["--fasta", work / "ref.fa", "--output", work / "made" / "o.vcf", "--receipt", work / "made" / "r"]
    with subprocess.Popen(list(map(str, command)), stdin=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        assert process.stdin is not None
        process.stdin.write((work / "in.vcf").read_bytes())  # and never closed, so that the run waits for more
        process.stdin.flush()
        deadline = time.monotonic() + 60
        while not any(path.name.startswith(".r.") for path in (work / "made").iterdir()):
            assert time.monotonic() < deadline
            time.sleep(0.1)
        process.terminate()
        process.communicate(timeout=30)
    assert process.returncode == 128 + signal.SIGTERM
    assert not list((work / "made").iterdir())


def test_a_run_that_fails_or_whose_vcf_changes_leaves_no_receipt(release: TinyRelease, work: Path) -> None:
    scorer = Scorer.from_release(release.model_dir, release.genome())
    (work / "r.jsonl").unlink()
    (work / "empty.vcf").write_text(vcf_text([("9", 5, "A", "C", [])]))
    with pytest.raises(ValueError, match="nothing could be scored"):
        score_vcf(work / "empty.vcf", scorer, work / "out.vcf", receipt=work / "r.jsonl")

    def meddle(n_done: int) -> None:
        with (work / "in.vcf").open("a") as file:
            file.write("\n")

    with pytest.raises(ValueError, match="changed while it was scored"):
        score_vcf(work / "in.vcf", scorer, work / "out.vcf", receipt=work / "r.jsonl", progress=meddle)
    assert not [path for path in work.iterdir() if path.name.startswith((".", "r."))]


def test_the_calibration_hash_is_of_the_very_file_that_was_read(release: TinyRelease) -> None:
    scorer = Scorer.from_release(release.model_dir, release.genome())
    content = (release.model_dir / "calibration.parquet").read_bytes()
    assert scorer.calibration_sha256 == hashlib.sha256(content).hexdigest()
