"""`geno-verify`: every change of one byte, of whatever part, is named and has the exit code of its part."""

from __future__ import annotations

import dataclasses
import os
import re
import statistics
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from typer.testing import CliRunner

from geno_model.cli.verify import app
from geno_model.release.manifest import write_manifest
from geno_model.scoring.score_vcf import score_vcf
from geno_model.scoring.scorer import Scorer
from geno_model.scoring.surprise import Heads
from tests.receipt_run import N_SCORED, check, flip, receipts, reseal, score_once, working_copy
from tests.tiny_release import TinyRelease, build_release, random_model
from tests.unit.test_device import off_by, outputs_changed

ALL_HEADS = Heads(delta_loglik=True)


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
    record = next(line for line in content.splitlines() if line.startswith("1\t") and "\tid0\t" in line)
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


@pytest.mark.parametrize("pos", [600, 601, 4_400])
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
    code, lines = check(work, files="oir")  # which is no reason not to look at the numbers
    assert code == 14 and "scored 10 of 10 again; largest difference: 0 of displacement" in lines[-1]
    assert check(work, files="i")[0] == 0


def test_another_model_named_on_top_of_a_table(work: Path, release: TinyRelease) -> None:
    scorer = Scorer.from_release(release.model_dir, release.genome())
    table = work / "out.tsv"
    score_vcf(work / "in.vcf", scorer, table, receipt=work / "r.jsonl")
    assert check(work, "--output", str(table))[0] == 0
    table.write_text(table.read_text().replace(release.model_id, "0" * 64, 1))
    code, lines = check(work, "--output", str(table))
    assert code == 14 and "out.tsv has SHA-256" in lines[0]


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


@pytest.fixture(scope="module")
def careful(tmp_path_factory: pytest.TempPathFactory) -> TinyRelease:
    """A release whose model predicts little, as a trained one does: its displacements are some 0.00003."""
    release = build_release(tmp_path_factory.mktemp("careful"))
    model = random_model(Scorer.from_release(release.model_dir, release.genome()).encoder.sixmer_embeddings())
    model.predictor.out[-1].get_parameter("weight").data *= 3e-3
    model.save(release.model_dir)
    return dataclasses.replace(release, model_id=write_manifest(release.model_dir))


@pytest.fixture(scope="module")
def scored_by_all_heads(careful: TinyRelease, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("all_heads") / "run"
    return score_once(careful, folder, Scorer.from_release(careful.model_dir, careful.genome(), heads=ALL_HEADS))


def typical(lines: list[dict[str, Any]], name: str) -> float:
    """The median size of a number in receipts that are mostly of SNVs."""
    return statistics.median(abs(line["output"][name]) for line in lines[1:-1])


@pytest.mark.parametrize("share", [0.5, 0.1, -0.1])
def test_numbers_altered_by_a_part_of_what_an_snv_has(
    scored_by_all_heads: Path, careful: TinyRelease, tmp_path: Path, share: float
) -> None:
    """0.00001 + 0.1 % was tolerated: a tenth of a surprise of the demo, and of a displacement of this release."""
    work = working_copy(scored_by_all_heads, careful, tmp_path / "work")
    lines = receipts(work)
    altered = dict(zip(("surprise_raw", "displacement", "delta_loglik"), lines[3:6], strict=True))
    for name, line in altered.items():
        line["output"][name] += share * typical(lines, name)
        line["output"].pop("surprise")  # of which the calibration would tell
    reseal(work, lines)
    code, told = check(work, files="ir")
    assert code == 15 and len(told) == 4, told
    for line, (name, of) in zip(told, altered.items(), strict=False):
        assert f"{name} is {of['output'][name]:.7g}, scored again it is" in line
        assert "allowed is a difference of" in line


def test_a_number_that_was_taken_out(scored_by_all_heads: Path, careful: TinyRelease, tmp_path: Path) -> None:
    work = working_copy(scored_by_all_heads, careful, tmp_path / "work")
    lines = receipts(work)
    lines[3]["output"].pop("delta_loglik")
    reseal(work, lines)
    code, told = check(work, files="ir")
    assert code == 15 and "delta_loglik is nan" in told[0]


@pytest.mark.parametrize(("share", "code"), [(1e-7, 0), (1e-3, 15)])
def test_last_bits_may_differ_and_digits_may_not(release: TinyRelease, tmp_path: Path, share: float, code: int) -> None:
    """Receipts from a machine whose float32 rounds elsewhere, and from one that is off by a thousandth."""
    scorer = Scorer.from_release(release.model_dir, release.genome(), heads=ALL_HEADS, n_threads=1)
    llama: Any = scorer.encoder.model.model
    with outputs_changed([layer.mlp for layer in llama.layers], off_by(share)):
        score_once(release, tmp_path / "scored", scorer)
    work = working_copy(tmp_path / "scored", release, tmp_path / "work")
    found, told = check(work, files="oir")
    assert found == code, told
    assert "largest difference: 0 of" not in told[-1]


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
        result = CliRunner().invoke(app, [*arguments, *wrong])
        assert result.exit_code == 2 and len(result.stderr.splitlines()) == 1, result.output
    assert CliRunner().invoke(app, arguments[:1]).exit_code == 2
    for place, wrong in ((0, "absent"), (2, str(work))):
        changed = [*arguments[:place], wrong, *arguments[place + 1 :]]
        result = CliRunner().invoke(app, changed)
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
