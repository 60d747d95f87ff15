"""The format of receipts: what ran on what and what came out, by checksums (spec 5, "Receipts").

Belongs here: the lines of a receipts file, written and read, and the commitments over outputs. Does not: where the
values come from (`geno_model.scoring.receipts`), comparing them with files (`geno_model.scoring.verify`).

The concept: a file of JSON lines in canonical JSON, so that a value has one text and every byte of a line counts:

    {"kind":"run",...}      what ran: model, calibration, encoder, versions, and on which VCF and reference
    {"kind":"score",...}    for each scored allele, in the order of the VCF; enough by itself to say what made a number
    {"kind":"seal",...}     number of scores, SHA-256 of the output file, SHA-256 of everything above and of this line

The SHA-256 of a seal is over all bytes above it, followed by the canonical JSON of the seal without that field.
No base, contig, position, sample or file name is in it, but hashes of them are: somebody who has the reference can
guess an edit and see whether its hash fits. A commitment is no cipher, so a receipt deserves the care that the VCF has.
It is a checksum, not a signature (`provenance.kind`): it shows that nothing changed, not who made it.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from functools import cache
from pathlib import Path
from types import UnionType
from typing import Any, get_args, get_origin, get_type_hints

from geno_model.genomics.errors import InputError
from geno_model.release.manifest import canonical_json

SCHEMA_VERSION = 1
OUTPUT_NUMBERS = ("surprise", "surprise_raw", "displacement", "delta_loglik")
OUTPUT_FIELDS = (*OUTPUT_NUMBERS, "bucket_id")
PROVENANCE = {"kind": "checksum_only"}

_LONGEST_LINE = 1 << 16  # bytes; a line has about a thousand
_HIGHEST_COUNT = 1 << 53
_HEX = re.compile("[0-9a-f]{64}")
_AGAIN = "it was changed or damaged: use the file that geno-score wrote"


class ReceiptError(InputError):
    """A file is no whole, unchanged receipts file."""


class SealError(ReceiptError):
    """All lines can be read, but they are not those that were sealed."""


@dataclass(frozen=True, slots=True)
class Runtime:
    """What computed the scores: device and number type of the encoder's weights, its attention, threads, versions."""

    device: str
    dtype: str
    attention: str
    threads: int
    platform: str
    geno_model: str
    numpy: str
    torch: str
    transformers: str


@dataclass(frozen=True, slots=True)
class Run:
    """What all scores of a file share.

    Hashes are SHA-256. state_contract: digest of the encoder's; vcf_sha256: of the file's bytes, None for a stream;
    reference_sha256: of the names and lengths of the contigs. Asked for were: heads, names of scores with + between
    them; percentiles among a population; records that passed (pass_only); regions of the VCF alone (is_restricted).
    """

    model_id: str
    calibration_sha256: str
    encoder_hash: str
    state_contract: str
    window_policy: str
    vcf_sha256: str | None
    reference_sha256: str
    heads: str
    population: str
    pass_only: bool
    is_restricted: bool
    runtime: Runtime


@dataclass(frozen=True, slots=True)
class Score:
    """One scored allele. record and allele count from 1 (allele: place in the ALT column); output: of OUTPUT_FIELDS."""

    record: int
    allele: int
    input_commitment: str
    output: dict[str, float | str]
    output_commitment: str

    @classmethod
    def of(cls, record: int, allele: int, input_commitment: str, output: dict[str, float | str]) -> Score:
        """A score with the commitment to its output."""
        return cls(record, allele, input_commitment, output, output_commitment(output))

    @property
    def key(self) -> tuple[int, int]:
        """Where in the VCF: ascending in a file."""
        return self.record, self.allele


@dataclass(frozen=True, slots=True)
class Seal:
    """The end of a file: number of score lines and SHA-256 of the scored output file."""

    n_scores: int
    output_sha256: str


def output_commitment(output: dict[str, float | str]) -> str:
    """SHA-256 of the canonical JSON of an output."""
    return hashlib.sha256(canonical_json(output)).hexdigest()


def run_line(run: Run) -> bytes:
    """The first line of a file."""
    values = asdict(run)
    given = {"vcf_sha256": values.pop("vcf_sha256"), "reference_sha256": values.pop("reference_sha256")}
    options = {name: values.pop(name) for name in ("heads", "population", "pass_only", "is_restricted")}
    shared = {"kind": "run", "schema_version": SCHEMA_VERSION, "provenance": PROVENANCE}
    return canonical_json(values | shared | {"input": given, "options": options}) + b"\n"


def score_line(run: Run, score: Score) -> bytes:
    """The line of one scored allele, which repeats what of the run it takes to say what made the number."""
    shared = {
        "kind": "score",
        "schema_version": SCHEMA_VERSION,
        "model_id": run.model_id,
        "calibration_sha256": run.calibration_sha256,
        "runtime": asdict(run.runtime),
        "provenance": PROVENANCE,
    }
    return canonical_json(asdict(score) | shared) + b"\n"


def seal_line(seal: Seal, above: bytes | hashlib._Hash) -> bytes:
    """The last line. above: all bytes of the file so far, or the SHA-256 that was fed with them."""
    digest = hashlib.sha256(above) if isinstance(above, bytes) else above.copy()
    values = {"kind": "seal", **asdict(seal)}
    digest.update(canonical_json(values))
    return canonical_json(values | {"sha256": digest.hexdigest()}) + b"\n"


def read_receipts(path: Path) -> Iterator[tuple[int, Run | Score | Seal]]:
    """The lines of a receipts file with their numbers (from 1), one in memory at a time; the last is the seal.

    A score whose output does not fit its own commitment is given like the others, for the caller to see.
    Raises `ReceiptError` at the first line that is not what the format says, `SealError` at a seal that does not fit.
    """
    digest, run, last, n_scores = hashlib.sha256(), None, (0, 0), 0
    with path.open("rb") as file:
        for number, line in enumerate(iter(lambda: file.readline(_LONGEST_LINE), b""), start=1):
            values = _values(line, number, path)
            if run is None:
                run = _run(values, line)
                part: Run | Score | Seal | None = run
            elif values["kind"] == "seal":
                seal = _seal(values, number, path)
                _require_seal(seal, line, digest, n_scores, path)
                if file.read(1):
                    raise ReceiptError(f"{path}: line {number + 1} follows the seal, which is the end; {_AGAIN}")
                yield number, seal
                return
            else:
                part = _score(values, line, run)
                n_scores += 1
                if part and part.key <= last:
                    raise ReceiptError(f"{path}: line {number} is out of the VCF's order or there twice; {_AGAIN}")
                last = part.key if part else last
            if part is None:
                raise ReceiptError(f"{path}: line {number} is not what a receipt says; {_AGAIN}")
            digest.update(line)
            yield number, part
    raise ReceiptError(f"{path}: no seal at its end, so it was cut off; use the whole file that geno-score wrote")


def read_scores(path: Path) -> Iterator[tuple[int, Score]]:
    """The scores of a file with the numbers of their lines. Raises as `read_receipts` does."""
    return ((number, part) for number, part in read_receipts(path) if isinstance(part, Score))


def _values(line: bytes, number: int, path: Path) -> dict[str, Any]:
    """A whole line as an object with a kind, of this schema."""
    where = f"{path}: line {number}"
    if not line.endswith(b"\n"):
        raise ReceiptError(f"{where} is cut off or too long; use the whole file that geno-score wrote")
    try:
        values = json.loads(line)
        kind, version = values["kind"], values.get("schema_version", SCHEMA_VERSION)
    except (ValueError, TypeError, KeyError, AttributeError, RecursionError):
        raise ReceiptError(f"{where} is no JSON object of a receipt; {_AGAIN}") from None
    if kind not in (("run",) if number == 1 else ("score", "seal")):
        raise ReceiptError(f"{where} has the kind {str(kind)[:20]!r}, expected run first, then score or seal; {_AGAIN}")
    if version != SCHEMA_VERSION:
        raise ReceiptError(
            f"{where} has schema version {str(version)[:20]}, this program reads {SCHEMA_VERSION}; use the version of "
            "geno-verify that belongs to it, or the unchanged file"
        )
    return values


def _run(values: dict[str, Any], line: bytes) -> Run | None:
    """The run, if `line` is just what the format makes of it."""
    try:
        flat = values | values["input"] | values["options"]
        runtime = _typed(Runtime, values["runtime"])
        run = _typed(Run, flat | {"runtime": runtime})
    except (KeyError, TypeError):
        return None
    digests = (run.model_id, run.calibration_sha256, run.reference_sha256, run.vcf_sha256 or "0" * 64)
    return run if all(map(_HEX.fullmatch, digests)) and run_line(run) == line else None


def _score(values: dict[str, Any], line: bytes, run: Run) -> Score | None:
    """The score, if `line` is just what the format makes of it, or if output and commitment contradict each other."""
    try:
        score = _typed(Score, values)
        contradicts = output_commitment(score.output) != score.output_commitment
    except (KeyError, TypeError, ValueError):
        return None
    is_placed = 1 <= score.record < _HIGHEST_COUNT and 1 <= score.allele < _HIGHEST_COUNT
    types = {name: float if name in OUTPUT_NUMBERS else str for name in OUTPUT_FIELDS}
    is_known = all(type(value) is types.get(name) for name, value in score.output.items())
    is_exact = is_known and _HEX.fullmatch(score.input_commitment) and score_line(run, score) == line
    return score if is_placed and (contradicts or is_exact) else None


def _seal(values: dict[str, Any], number: int, path: Path) -> Seal:
    try:
        return _typed(Seal, values)
    except (KeyError, TypeError):
        raise ReceiptError(f"{path}: line {number} is no seal; {_AGAIN}") from None


def _require_seal(seal: Seal, line: bytes, digest: hashlib._Hash, n_scores: int, path: Path) -> None:
    if seal.n_scores != n_scores:
        raise SealError(f"{path}: the seal is of {seal.n_scores:,} scores, the file holds {n_scores:,}; {_AGAIN}")
    expected = seal_line(seal, digest)
    if line != expected:
        found = str(json.loads(line).get("sha256"))[:12]
        raise SealError(
            f"{path}: the seal has SHA-256 {found}, the lines give {json.loads(expected)['sha256'][:12]}; {_AGAIN}"
        )


def _typed(kind: Any, values: dict[str, Any]) -> Any:
    """A dataclass from the values that bear its fields' names, if each has exactly its type; KeyError, TypeError."""
    given = {name: values[name] for name in _types(kind)}
    for name, allowed in _types(kind).items():
        if type(given[name]) not in allowed:
            raise TypeError(f"{name} is a {type(given[name]).__name__}")
    return kind(**given)


@cache
def _types(kind: Any) -> dict[str, tuple[type, ...]]:
    """The types that each field of a dataclass may have: `dict[str, float]` is dict, `str | None` either."""
    hints = get_type_hints(kind)
    return {
        name: get_args(hint) if isinstance(hint, UnionType) else (get_origin(hint) or hint,)
        for name, hint in hints.items()
    }
