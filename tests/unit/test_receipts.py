"""The format of receipts: exact bytes, and every way in which a file is no whole receipts file."""

from __future__ import annotations

import hashlib
import json
from dataclasses import replace
from pathlib import Path

import pytest

from geno_model.release.receipt import (
    ReceiptError,
    Run,
    Runtime,
    Score,
    Seal,
    SealError,
    output_commitment,
    read_receipts,
    run_line,
    score_line,
    seal_line,
)

RUN = Run(
    model_id="1" * 64,
    calibration_sha256="2" * 64,
    encoder_hash="3" * 64,
    state_contract="4" * 64,
    window_policy="most_central",
    vcf_sha256="5" * 64,
    reference_sha256="6" * 64,
    heads="surprise+displacement",
    population="all",
    pass_only=False,
    is_restricted=False,
    runtime=Runtime("cpu", "float32", "sdpa", 2, "linux-x86_64", "0.1.0", "2.4.0", "2.13.0", "5.20.0"),
)
SCORES = [
    Score.of(1, 1, "7" * 64, {"surprise": 0.5, "surprise_raw": 0.25, "displacement": 0.125, "bucket_id": "other|1"}),
    Score.of(1, 3, "8" * 64, {"displacement": 1e-07}),
    Score.of(2, 1, "9" * 64, {"displacement": 0.0}),
]


def sealed(lines: list[bytes], seal: Seal | None = None) -> bytes:
    above = b"".join(lines)
    return above + seal_line(seal or Seal(len(lines) - 1, "a" * 64), above)


def whole() -> bytes:
    return sealed([run_line(RUN), *(score_line(RUN, score) for score in SCORES)])


def read(path: Path, content: bytes) -> list[Run | Score | Seal]:
    path.write_bytes(content)
    return [part for _, part in read_receipts(path)]


def test_a_receipt_is_these_very_bytes() -> None:
    """The whole line of one score and the seal, made here with nothing but json and hashlib."""
    output = '{"bucket_id":"other|1","displacement":0.125,"surprise":0.5,"surprise_raw":0.25}'
    runtime = (
        '{"attention":"sdpa","device":"cpu","dtype":"float32","geno_model":"0.1.0","numpy":"2.4.0",'
        '"platform":"linux-x86_64","threads":2,"torch":"2.13.0","transformers":"5.20.0"}'
    )
    expected = (
        f'{{"allele":1,"calibration_sha256":"{"2" * 64}","input_commitment":"{"7" * 64}","kind":"score",'
        f'"model_id":"{"1" * 64}","output":{output},'
        f'"output_commitment":"{hashlib.sha256(output.encode()).hexdigest()}",'
        f'"provenance":{{"kind":"checksum_only"}},"record":1,"runtime":{runtime},"schema_version":1}}\n'
    )
    assert score_line(RUN, SCORES[0]).decode() == expected
    first = (
        f'{{"calibration_sha256":"{"2" * 64}","encoder_hash":"{"3" * 64}",'
        f'"input":{{"reference_sha256":"{"6" * 64}","vcf_sha256":"{"5" * 64}"}},"kind":"run","model_id":"{"1" * 64}",'
        f'"options":{{"heads":"surprise+displacement","is_restricted":false,"pass_only":false,"population":"all"}},'
        f'"provenance":{{"kind":"checksum_only"}},"runtime":{runtime},'
        f'"schema_version":1,"state_contract":"{"4" * 64}","window_policy":"most_central"}}\n'
    )
    assert run_line(RUN).decode() == first
    above = (first + expected).encode()
    without = f'{{"kind":"seal","n_scores":1,"output_sha256":"{"a" * 64}"}}'
    digest = hashlib.sha256(above + without.encode()).hexdigest()
    last = f'{{"kind":"seal","n_scores":1,"output_sha256":"{"a" * 64}","sha256":"{digest}"}}\n'
    assert seal_line(Seal(1, "a" * 64), above).decode() == last


def test_what_was_written_is_read(tmp_path: Path) -> None:
    assert read(tmp_path / "r", whole()) == [RUN, *SCORES, Seal(3, "a" * 64)]
    of_stream = replace(RUN, vcf_sha256=None, pass_only=True)
    assert read(tmp_path / "r", sealed([run_line(of_stream)])) == [of_stream, Seal(0, "a" * 64)]


def test_every_changed_byte_is_seen(tmp_path: Path) -> None:
    content = sealed([run_line(RUN), score_line(RUN, SCORES[0])])
    for place in range(len(content)):
        changed = bytearray(content)
        changed[place] ^= 1
        with pytest.raises(ReceiptError):
            read(tmp_path / "r", bytes(changed))


def test_a_changed_output_is_given_so_that_the_reader_can_name_it(tmp_path: Path) -> None:
    path, seen = tmp_path / "r", []
    for changed in (b"0.6", b"0.0", b"1.5"):
        path.write_bytes(whole().replace(b'"surprise":0.5', b'"surprise":' + changed))
        with pytest.raises(SealError, match="the lines give"):
            for _, part in read_receipts(path):
                seen.append(part)
    scores = [part for part in seen if isinstance(part, Score) and part.key == SCORES[0].key]
    assert [score.output["surprise"] for score in scores] == [0.6, 0.0, 1.5]
    assert all(output_commitment(score.output) != score.output_commitment for score in scores)


def test_a_file_that_was_cut_off(tmp_path: Path) -> None:
    content = whole()
    for end in [*range(0, len(content), 50), len(content) - 1]:
        with pytest.raises(ReceiptError, match="cut off"):
            read(tmp_path / "r", content[:end])


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "no seal"),
        (b"[" * 60_000 + b"\n", "line 1 is no JSON object"),
        (b"x" * 100_000 + b"\n", "line 1 is cut off or too long"),
        (b"[1]\n", "line 1 is no JSON object"),
        (score_line(RUN, SCORES[0]), "line 1 has the kind 'score', expected run first"),
        (run_line(RUN) * 2, "line 2 has the kind 'run'"),
        (run_line(RUN).replace(b'_version":1', b'_version":2'), "schema version 2, this program reads 1"),
        (run_line(RUN).replace(b'"threads":2', b'"threads":true'), "line 1 is not what a receipt says"),
        (run_line(RUN).replace(b'"threads":2', b'"threads": 2'), "line 1 is not what a receipt says"),
        (run_line(RUN).replace(b"checksum_only", b"signed"), "line 1 is not what a receipt says"),
        (sealed([run_line(RUN), score_line(RUN, SCORES[1]), score_line(RUN, SCORES[0])]), "line 3 is out of the VCF's"),
        (sealed([run_line(RUN), score_line(RUN, SCORES[1]), score_line(RUN, SCORES[1])]), "there twice"),
        (sealed([run_line(RUN), score_line(replace(RUN, model_id="0" * 64), SCORES[0])]), "line 2 is not what"),
        (sealed([run_line(RUN), score_line(RUN, Score.of(0, 1, "7" * 64, {}))]), "line 2 is not what"),
        (sealed([run_line(RUN), score_line(RUN, Score.of(1, 1, "7" * 64, {"contig": "chr1"}))]), "line 2 is not what"),
        (sealed([run_line(RUN), score_line(RUN, Score.of(1, 1, "chr1:7", {}))]), "line 2 is not what"),
        (sealed([run_line(RUN)], Seal(7, "a" * 64)), "the seal is of 7 scores, the file holds 0"),
        (whole() + b"\n", "line 6 follows the seal"),
    ],
)  # fmt: skip
def test_what_is_no_receipts_file(tmp_path: Path, content: bytes, message: str) -> None:
    with pytest.raises(ReceiptError, match=message):
        read(tmp_path / "r", content)


def test_numbers_that_json_does_not_know_are_refused(tmp_path: Path) -> None:
    line = score_line(RUN, SCORES[2]).replace(b'"displacement":0.0', b'"displacement":NaN')
    assert json.loads(line)["output"]["displacement"] != 0
    with pytest.raises(ReceiptError, match="line 2 is not what"):
        read(tmp_path / "r", sealed([run_line(RUN), line]))
