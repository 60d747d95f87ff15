"""Receipts as a person makes and verifies them: every change of one byte has its own exit code."""

from __future__ import annotations

import hashlib
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
import torch
from typer.testing import CliRunner

from geno_model.cli.score import app as score_app
from geno_model.cli.verify import app as verify_app
from geno_model.release.manifest import canonical_json, write_manifest
from geno_model.scoring.receipts import runtime_of
from geno_model.scoring.score_vcf import score_vcf
from geno_model.scoring.scorer import Scorer
from geno_model.scoring.verify import Inputs, verify
from tests.tiny_release import TinyRelease, build_release, every_kind, random_model, vcf_text

N_SCORED = 10


@pytest.fixture(scope="session")
def release(tmp_path_factory: pytest.TempPathFactory) -> TinyRelease:
    return build_release(tmp_path_factory.mktemp("tiny_receipts"))


@pytest.fixture(scope="session")
def scored(release: TinyRelease, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with in.vcf, out.vcf and receipts r.jsonl; tests change copies of it."""
    folder = tmp_path_factory.mktemp("scored")
    (folder / "in.vcf").write_text(vcf_text(every_kind(release.genome())))
    scorer = Scorer.from_release(release.model_dir, release.genome())
    score_vcf(folder / "in.vcf", scorer, folder / "out.vcf", receipt=folder / "r.jsonl")
    assert {path.name for path in folder.iterdir()} == {"in.vcf", "out.vcf", "r.jsonl"}
    return folder


@pytest.fixture
def work(scored: Path, release: TinyRelease, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A copy of `scored` with a copy of the release and of its FASTA."""
    monkeypatch.setenv("GENO_CACHE", str(tmp_path / "cache"))
    monkeypatch.delenv("GENO_ENCODER_DIR", raising=False)
    shutil.copytree(scored, tmp_path / "work")
    shutil.copytree(release.model_dir, tmp_path / "work" / "release")
    shutil.copy(release.fasta, tmp_path / "work" / "ref.fa")
    return tmp_path / "work"


def check(work: Path, *options: str, files: str = "") -> tuple[int, list[str]]:
    """Exit code and lines of stderr. files: "o" adds --output, "i" the inputs, "r" a rerun."""
    arguments = [str(work / "r.jsonl"), "--model-dir", str(work / "release"), *options]
    arguments += ["--output", str(work / "out.vcf")] if "o" in files else []
    arguments += ["--vcf", str(work / "in.vcf"), "--fasta", str(work / "ref.fa")] if "i" in files else []
    result = CliRunner().invoke(verify_app, [*arguments, *(["--rerun"] if "r" in files else [])])
    assert result.stdout == ""
    assert all(line.startswith("geno-verify: ") for line in result.stderr.splitlines()), result.output
    return result.exit_code, result.stderr.splitlines()


def flip(path: Path, place: int) -> None:
    """Change one byte."""
    content = bytearray(path.read_bytes())
    content[place] ^= 1
    path.write_bytes(content)


def receipts(work: Path) -> list[dict[str, Any]]:
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


@pytest.mark.parametrize("files", ["", "o", "i", "oi", "oir"])
def test_an_unchanged_run_agrees(work: Path, files: str) -> None:
    code, lines = check(work, files=files)
    assert code == 0, lines
    assert f"{N_SCORED} receipts agree with model, calibration" in lines[0]
    assert ("not compared" not in lines[0]) == (files == "oir")
    assert ("--output" in lines[0]) == ("o" not in files) and ("--vcf" in lines[0]) == ("i" not in files)
    assert ("scored 10 of 10 again; largest difference: 0 of displacement" in lines[-1]) == ("r" in files)
    assert check(work, "--quiet", files=files) == (0, [])


def test_one_byte_of_the_model(work: Path) -> None:
    flip(work / "release" / "predictor.safetensors", -1)
    code, lines = check(work, files="oir")
    assert code == 10 and "model differs" in lines[0] and "predictor.safetensors" in lines[0]
    assert "nothing was scored again" in lines[1] and len(lines) == 2


@pytest.mark.parametrize("name", ["config.json", "manifest.json", "SHA256SUMS", "context/context.json"])
def test_one_byte_of_another_file_of_the_release(work: Path, name: str) -> None:
    flip(work / "release" / name, 40 if name == "manifest.json" else -5)
    assert check(work)[0] == 10


@pytest.mark.parametrize("place", [-1, 8, 2_000])
def test_one_byte_of_the_calibration(work: Path, place: int) -> None:
    flip(work / "release" / "calibration.parquet", place)
    code, lines = check(work, files="oi")
    assert code == 11 and len(lines) == 1 and "calibration differs" in lines[0] and "calibration.parquet" in lines[0]
    (work / "release" / "calibration.parquet").unlink()
    assert check(work)[0] == 11


@pytest.mark.parametrize(
    ("line", "field"),
    [
        (0, "model_id"), (0, "calibration_sha256"), (0, "vcf_sha256"), (0, "threads"), (0, "kind"),
        (1, "model_id"), (1, "record"), (1, "input_commitment"), (5, "schema_version"), (5, "torch"),
        (-1, "n_scores"), (-1, "output_sha256"), (-1, "sha256"), (-1, "kind"),
    ],
)  # fmt: skip
def test_one_byte_of_the_receipts(work: Path, line: int, field: str) -> None:
    lines = (work / "r.jsonl").read_bytes().splitlines(keepends=True)
    place = lines[line].index(f'"{field}":'.encode()) + len(field) + 5
    for offset in (-3, -1):  # the quote behind the name, and the value
        changed = bytearray(lines[line])
        changed[place + offset] ^= 1
        (work / "r.jsonl").write_bytes(b"".join([*lines[:line], changed, *(lines[line + 1 :] if line != -1 else [])]))
        code, told = check(work, files="oir")
        assert code == 12, told
        assert told[0].startswith("geno-verify: receipt differs: ") and "r.jsonl" in told[0]


def test_receipts_that_were_cut_off_or_lack_a_line(work: Path) -> None:
    content = (work / "r.jsonl").read_bytes()
    lines = content.splitlines(keepends=True)
    for changed in (content[:-1], content[:-100], b"".join(lines[:-1]), b"".join([*lines[:3], *lines[4:]]), b""):
        (work / "r.jsonl").write_bytes(changed)
        code, told = check(work)
        assert code == 12, told


def test_one_byte_of_the_vcf(work: Path) -> None:
    """In a field that decides no score, in an ALT, and where a position ends, so that the file cannot be read."""
    content = (work / "in.vcf").read_text()
    record = next(line for line in content.splitlines() if line.startswith("1\t100\t"))
    chrom, pos, name, ref, alt, rest = record.split("\t", 5)
    other = next(base for base in "ACGT" if base not in (ref, alt))
    for changed, n_lines in (
        (f"{chrom}\t{pos}\tx{name[1:]}\t{ref}\t{alt}\t{rest}", 1),
        (f"{chrom}\t{pos}\t{name}\t{ref}\t{other}\t{rest}", 2),
        (f"{chrom}\t{pos} {name}\t{ref}\t{alt}\t{rest}", 2),
    ):
        (work / "in.vcf").write_text(content.replace(record, changed))
        code, lines = check(work, files="oi")
        assert code == 13 and len(lines) == n_lines and "in.vcf has SHA-256" in lines[0], lines
    (work / "in.vcf").write_text(content.replace("\tid0\t", "\tid9\t"))
    assert check(work, files="ir")[0] == 13
    assert check(work, files="o")[0] == 0


@pytest.mark.parametrize("pos", [100, 101, 4_400])
def test_one_base_of_the_fasta(work: Path, pos: int) -> None:
    """Beside an allele, and under one, which then has another reference base and no score."""
    content = (work / "ref.fa").read_text()
    place = content.index("\n") + pos
    base = "ACGT"[("ACGT".index(content[place]) + 1) % 4]
    (work / "ref.fa").write_text(content[:place] + base + content[place + 1 :])
    code, lines = check(work, files="ir")
    assert code == 13 and all("input differs" in line for line in lines[:-1]), lines
    n_same = N_SCORED - len(lines[:-1])  # those in the windows without that base
    assert f"scored {n_same} of 10 again; largest difference: 0 of displacement" in lines[-1]


def test_another_reference(work: Path) -> None:
    (work / "ref.fa").write_text((work / "ref.fa").read_text() + "ACGT\n")
    code, lines = check(work, files="ir")
    assert code == 13 and "contigs of" in lines[0]


def test_one_byte_of_the_output_file(work: Path) -> None:
    flip(work / "out.vcf", -2)
    code, lines = check(work, files="oi")
    assert code == 14 and len(lines) == 1 and "out.vcf has SHA-256" in lines[0]
    assert check(work, files="i")[0] == 0


def test_an_output_in_a_receipt(work: Path) -> None:
    content = (work / "r.jsonl").read_bytes()
    for name in (b"surprise", b"surprise_raw", b"displacement"):
        place = re.search(rb'"%s":\d\.\d' % name, content)
        assert place
        changed = bytearray(content)
        changed[place.end() - 1] ^= 1
        (work / "r.jsonl").write_bytes(changed)
        code, lines = check(work, files="o")
        assert code == 14 and len(lines) == 1 and "line 2: commitment" in lines[0], lines


def test_a_forged_percentile_and_a_forged_raw_value(work: Path) -> None:
    """Commitments and seal are right: the calibration tells the one, only a rerun tells the other."""
    lines = receipts(work)
    lines[1]["output"]["surprise"] /= 2
    reseal(work, lines)
    code, told = check(work)
    assert code == 15 and "the calibration gives" in told[0]
    lines[1]["output"]["surprise"] *= 2
    lines[1]["output"]["displacement"] += 0.01
    reseal(work, lines)
    assert check(work, files="oi")[0] == 0
    code, told = check(work, files="oir")
    assert code == 15 and "line 2 (record 1, ALT 1): displacement is" in told[0], told
    assert "largest difference: 0.01 of displacement" in told[-1]


def test_a_receipt_too_few_or_too_many(work: Path) -> None:
    lines = receipts(work)
    reseal(work, [*lines[:3], *lines[4:]])
    code, told = check(work, files="i")
    assert code == 13 and "has no receipt" in told[0] and len(told) == 1
    extra = lines[-2] | {"record": 99}
    reseal(work, [*lines[:-1], extra, lines[-1]])
    code, told = check(work, files="i")
    assert code == 13 and "line 12 is of record 99, ALT 1" in told[0] and len(told) == 1


def test_another_model_whose_manifest_is_right(work: Path, release: TinyRelease) -> None:
    scorer = Scorer.from_release(release.model_dir, release.genome())
    other = random_model(scorer.encoder.sixmer_embeddings())
    torch.nn.init.normal_(other.predictor.out[-1].get_parameter("weight"), std=0.3)
    other.save(work / "release")
    model_id = write_manifest(work / "release")
    code, told = check(work, files="oi")
    assert code == 10 and len(told) == 1 and model_id[:12] in told[0] and release.model_id[:12] in told[0]
    reseal(work, [line | ({"model_id": model_id} if "model_id" in line else {}) for line in receipts(work)])
    assert check(work, files="oi")[0] == 0
    code, told = check(work, files="oir")
    assert code == 15 and "scored again it is" in told[0]


def test_several_differences_are_all_told_and_the_first_decides(work: Path) -> None:
    flip(work / "out.vcf", -2)
    flip(work / "in.vcf", -2)
    flip(work / "release" / "calibration.parquet", 100)
    flip(work / "release" / "predictor.safetensors", -1)
    code, told = check(work, files="oi")
    assert code == 11
    assert [line.split()[1] for line in told] == ["calibration", "model", "input", "output"]


def test_many_differences_are_counted(work: Path) -> None:
    lines = receipts(work)
    lines += [lines[-2] | {"record": 100 + number} for number in range(30)]
    reseal(work, [*lines[:11], *lines[12:], lines[11]])
    told = check(work, files="i")[1]
    assert len(told) == 11 and "20 more differences like these" in told[-1]


def test_usage_and_what_cannot_be_read(work: Path) -> None:
    arguments = [str(work / "r.jsonl"), "--model-dir", str(work / "release")]
    for wrong in (["--rerun"], ["--vcf", "x"], ["--fasta", "x"], ["--vcf", "-", "--fasta", "x"]):
        result = CliRunner().invoke(verify_app, [*arguments, *wrong])
        assert result.exit_code == 2 and len(result.stderr.splitlines()) == 1, result.output
    assert CliRunner().invoke(verify_app, arguments[:1]).exit_code == 2
    for place, wrong in ((0, "absent"), (2, str(work))):
        changed = [*arguments[:place], wrong, *arguments[place + 1 :]]
        result = CliRunner().invoke(verify_app, changed)
        assert result.exit_code == 1 and len(result.stderr.splitlines()) == 1, result.output
    assert check(work, "--output", str(work / "absent"))[0] == 1
    code = "import sys, geno_model.cli.verify; sys.exit('torch' in sys.modules or 'polars' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code]).returncode == 0


def test_a_network_attempt_ends_the_verification(work: Path, tmp_path: Path) -> None:
    (tmp_path / "code").mkdir()
    (tmp_path / "code" / "sitecustomize.py").write_text(
        "import socket, threading, time\n"
        "def phone_home():\n"
        "    while True:\n"
        "        try:\n            socket.getaddrinfo('localhost', 80)\n"
        "        except BaseException:\n            return\n"
        "        time.sleep(0.01)\n"
        "threading.Thread(target=phone_home, daemon=True).start()\n"
    )
    command = [
        sys.executable,
        "-m",
        "geno_model.cli.verify",
        str(work / "r.jsonl"),
        "--model-dir",
        str(work / "release"),
    ]
    environment = os.environ | {"PYTHONPATH": f"{tmp_path / 'code'}:{os.getcwd()}"}
    result = subprocess.run(command, capture_output=True, env=environment, timeout=120)
    assert result.returncode == 4 and len(result.stderr.splitlines()) == 1, result.stderr


# What is in receipts.


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
    kinds = [status for *_, statuses in every_kind_of(work) for status in [statuses]]
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
    from geno_model.genomics.genome import Genome

    return every_kind(Genome.open(work / "ref.fa"))


def test_an_input_commitment_is_what_the_page_says(work: Path) -> None:
    """Record 1 by hand: an SNV at chr1:100, in the first window of 3,072 bp."""
    contig = (work / "ref.fa").read_text().split("\n")[1]
    record = every_kind_of(work)[0]
    commitment = {
        "contig": "chr1", "pos": 100, "ref": record[2], "alt": record[3], "window_start_bp": 0,
        "window_sha256": hashlib.sha256(contig[:3_072].encode()).hexdigest(),
        "layer": -1, "pooling": "centered_mean", "radius_tokens": 16, "dtype": "float32",
        "window_policy": "most_central",
    }  # fmt: skip
    text = json.dumps(commitment, sort_keys=True, separators=(",", ":"))
    assert receipts(work)[1]["input_commitment"] == hashlib.sha256(text.encode()).hexdigest()


def test_two_runs_and_smaller_chunks_give_the_same_bytes(release: TinyRelease, scored: Path, tmp_path: Path) -> None:
    scorer = Scorer.from_release(release.model_dir, release.genome())
    score_vcf(scored / "in.vcf", scorer, tmp_path / "out.vcf", receipt=tmp_path / "again")
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
    assert told.torch == torch.__version__ and told.threads == torch.get_num_threads()
    torch.set_num_threads(told.threads + 1)
    try:
        assert runtime_of(scorer).threads == told.threads + 1
    finally:
        torch.set_num_threads(told.threads)
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
    assert CliRunner().invoke(score_app, list(map(str, arguments))).exit_code == 0
    code, told = check(work, files="oir")
    assert code == 0 and "scored 9 of 9 again" in told[-1]


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
        result = CliRunner().invoke(score_app, list(map(str, options)))
        assert result.exit_code == 2 and "is also an input or the output" in result.stderr
    for other, reason in (("release", "is a folder"), ("absent/r", "cannot be written")):
        options = [*arguments, "--output", work / "new.vcf", "--receipt", work / other]
        result = CliRunner().invoke(score_app, list(map(str, options)))
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
