"""Damaged VCFs through the real reading and scoring: `python -m tests.fuzz_vcf --n 10000 --seed 0`.

Belongs here: running mutants (`tests.fuzz_mutations`) and checking what must hold whatever the input was. Does not:
one named fault and its message (`tests/integration/test_bad_input.py`).

What must hold for each mutant: the only errors are `InputError`, of one line; after an error nothing is left; a file
that the slow reader (`tests.fuzz_reader`) refuses is never scored, and one that it reads is refused only for having
nothing to score; every ALT allele is in the output once, as it was written; a VCF keeps every column but INFO to the
byte; an allele that is scored agrees with the FASTA and has the same score wherever it occurs; nothing but our own
message reaches standard error.
"""

from __future__ import annotations

import argparse
import csv
import json
import os
import shutil
import sys
import tempfile
import time
import traceback
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import polars as pl
import pysam

from geno_model.genomics.errors import InputError, WrongBuildError
from geno_model.genomics.genome import Genome
from geno_model.scoring.errors import NothingScoredError
from geno_model.scoring.score_vcf import measure, score_vcf
from geno_model.scoring.scorer import Scorer
from geno_model.scoring.vcf_io import SUFFIXES
from tests.fuzz_mutations import mutant
from tests.fuzz_reader import Record, UnreadableError, read_bcf, read_vcf, unpack
from tests.tiny_release import build_release

CHUNK_BYTES = (1 << 20, 1 << 20, 300, 1)
_TOLERANCE = 1e-4
_OWN = ("GLM_SIGMA=", "GLM_RAW=", "GLM_DISP=", "GLM_CONF=", "GLM_BUCKET=", "GLM_STATUS=")

AlleleKey = tuple[str, int, str, str]


class ViolationError(AssertionError):
    """Something that must hold did not."""


@dataclass
class Tally:
    """What became of the mutants."""

    outcomes: Counter[str] = field(default_factory=Counter)
    n_alleles: int = 0
    n_scored: int = 0
    violations: list[str] = field(default_factory=list)


@dataclass
class Fuzzer:
    """A tiny release and the scores seen so far."""

    scorer: Scorer
    folder: Path
    seen: dict[AlleleKey, float] = field(default_factory=dict)

    @classmethod
    def make(cls, folder: Path) -> Fuzzer:
        release = build_release(folder / "release")
        return cls(Scorer.from_release(release.model_dir, release.genome()), folder)

    def run(self, numbers: range, seed: int) -> Tally:
        """Try the mutants of these numbers; nothing is raised."""
        tally = Tally()
        for number in numbers:
            done: list[str] = []
            try:
                outcome = self.one(number, seed, tally, done)
            except ViolationError as error:
                outcome = "VIOLATION"
                tally.violations.append(f"--seed {seed} --only {number} ({', '.join(done)}): {error}")
            except BaseException as error:
                if isinstance(error, KeyboardInterrupt):
                    raise
                outcome = "VIOLATION"
                where = traceback.format_exception(error)[-3:]
                tally.violations.append(f"--seed {seed} --only {number} ({', '.join(done)}): {' '.join(where)}")
            tally.outcomes[outcome] += 1
        return tally

    def one(self, number: int, seed: int, tally: Tally, done: list[str]) -> str:
        """One mutant; the kind of outcome. Raises ViolationError."""
        rng = np.random.default_rng([seed, number])
        data, names = mutant(rng, self.scorer.genome)
        done += names
        vcf, out = self.folder / "in.vcf", self.folder / "out"
        shutil.rmtree(out, ignore_errors=True)
        vcf.write_bytes(data)
        out.mkdir()
        output = out / f"scored{SUFFIXES[number % len(SUFFIXES)]}"
        chunk_bytes = int(rng.choice(CHUNK_BYTES))
        expected = expected_records(data)
        with quiet_stderr(self.folder / "stderr") as noise:
            error = self._score(vcf, output, chunk_bytes, tally, expected, data)
        left = sorted(path.name for path in out.iterdir())
        require(not noise(), f"standard error got {noise()[:200]!r}")
        if error is None:
            return "ok"
        require(not left, f"after {error!r} there is {left}")
        message = str(error)
        require(len(message.splitlines()) == 1 and bool(message.strip()), f"no one line: {message!r}")
        is_nothing = isinstance(error, (NothingScoredError, WrongBuildError))
        is_bcf = "bcf" in names  # the slow reader looks at the alleles of a BCF only
        require(is_nothing or is_bcf or expected is None, f"a readable file was refused: {message}")
        return outcome_of(error)

    def _score(
        self, vcf: Path, output: Path, chunk_bytes: int, tally: Tally, expected: list[Record] | None, data: bytes
    ) -> InputError | None:
        try:
            size = measure(vcf, self.scorer.genome)
            summary = score_vcf(vcf, self.scorer, output, chunk_bytes=chunk_bytes)
        except InputError as error:
            return error
        if expected is None:
            raise ViolationError("a file that cannot be read rightly was scored")
        n_alleles = sum(len(record.alts) for record in expected)
        counts = (size.n_records, size.n_alleles, summary.n_records, summary.n_alleles)
        due = (len(expected), n_alleles, len(expected), n_alleles)
        require(counts == due, f"counted {counts}, there are {due}")
        rows = read_table(output) if not output.name.endswith((".vcf", ".vcf.gz")) else None
        if rows is None:
            given, written = unpack(data), unpack(output.read_bytes())
            is_bcf = given[:4] == b"BCF\2"
            n_scored = check_vcf(written, expected, is_bcf=is_bcf)
            if not is_bcf:
                check_header(given, written)
            check_readable(given, written, self.folder / "plain.vcf")
        else:
            n_scored = check_table(rows, expected, self.scorer.genome, self.seen)
        require(n_scored == summary.n_scored, f"{summary.n_scored} scored, {n_scored} in the output")
        tally.n_alleles += n_alleles
        tally.n_scored += n_scored
        return None


def require(holds: bool, message: str) -> None:
    if not holds:
        raise ViolationError(message)


def expected_records(data: bytes) -> list[Record] | None:
    """What the slow reader finds, None where it refuses the file."""
    try:
        text = unpack(data)
        return read_bcf(text) if text[:4] == b"BCF\2" else read_vcf(text)
    except UnreadableError:
        return None


def outcome_of(error: InputError) -> str:
    """A short name of an error, without the parts that differ between files."""
    message = str(error)
    for words in ("no VCF", "malformed", "truncated", "damaged", "BAM", "#CHROM"):
        if words in message:
            return f"{type(error).__name__}: {words}"
    return type(error).__name__


@contextmanager
def quiet_stderr(path: Path) -> Iterator:
    """Send what is written to file descriptor 2, also by C code, into a file; gives a function that reads it."""
    sys.stderr.flush()
    saved = os.dup(2)
    with path.open("wb") as file:
        os.dup2(file.fileno(), 2)
        try:
            yield path.read_bytes
        finally:
            os.dup2(saved, 2)
            os.close(saved)


def read_table(path: Path) -> list[dict]:
    """Rows of a table output, read by something else than what wrote them where there is such a thing."""
    if path.suffix == ".parquet":
        return pl.read_parquet(path).to_dicts()
    if path.suffix == ".jsonl":
        return [json.loads(line) for line in path.read_bytes().decode().removesuffix("\n").split("\n")]
    csv.field_size_limit(1 << 30)
    with path.open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader((line for line in file if not line.startswith("##")), delimiter="\t"))


def spellings(raw: bytes) -> set[str]:
    """The text of some bytes: as UTF-8, and as Latin-1 where the file is not UTF-8 throughout."""
    try:
        return {raw.decode(), raw.decode("latin-1")}
    except UnicodeDecodeError:
        return {raw.decode("latin-1")}


def check_table(rows: list[dict], expected: list[Record], genome: Genome, seen: dict[AlleleKey, float]) -> int:
    """Every allele once, in order, as it was written, scored only where the FASTA agrees; how many have a score."""
    due = [(number, record, alt) for number, record in enumerate(expected, 1) for alt in record.alts]
    require(len(rows) == len(due), f"{len(rows)} rows for {len(due)} alleles")
    n_scored = 0
    for row, (number, record, alt) in zip(rows, due, strict=True):
        found = (int(row["record"]), row["pos"] if record.columns[1] is None else str(row["pos"]).encode())
        require(found == (number, record.columns[1]), f"row {found} is not record {number}")
        is_same = row["ref"] in spellings(record.columns[3]) and row["alt"] in spellings(alt)
        is_same &= not record.columns[0] or row["chrom"] in spellings(record.columns[0])
        require(is_same, f"record {number}: {row['chrom']!r} {row['ref']!r} {row['alt']!r}"[:300])
        if row["status"] != "scored":
            require(bool(row["reason"]) and row["surprise"] in (None, ""), f"record {number} has no reason: {row}")
            continue
        n_scored += 1
        require_reference(genome, row["chrom"], int(row["pos"]), row["ref"])
        key = (row["norm_contig"], int(row["norm_pos"]), row["norm_ref"], row["norm_alt"])
        raw = float(row["surprise_raw"])
        require(0 <= float(row["surprise"]) <= 1, f"percentile {row['surprise']}")
        require(abs(seen.setdefault(key, raw) - raw) < _TOLERANCE, f"{key} has {raw}, had {seen[key]}")
    return n_scored


def require_reference(genome: Genome, chrom: str, pos: int, ref: str) -> None:
    """Raise unless the FASTA has REF at its place, by the plainest rule."""
    contig = genome.resolve(chrom)
    require(contig is not None and 1 <= pos <= genome.contigs[contig], f"{chrom}:{pos} is not in the FASTA")
    assert contig is not None
    bases = genome.bases(contig)[pos - 1 : pos - 1 + len(ref)].tobytes().decode()
    require(bases == ref.upper(), f"{chrom}:{pos} is scored, REF {ref} is not {bases}")


def check_header(given: bytes, written: bytes) -> None:
    """Every header line is there still, as UTF-8, in its order but for `##fileformat` first and `#` comments last.

    Lines of contigs that had none may be added.
    """

    def foreign(text: bytes) -> list[set[str]]:
        lines = [line for line in text.split(b"\n") if line.startswith(b"#")]
        kept = [line for line in lines if b"geno_lewm_" not in line and not line.startswith(b"##INFO=<ID=GLM_")]
        kept.sort(key=lambda line: not line.startswith(b"##"))
        return [spellings(line.rstrip()) for line in kept if not line.startswith(b"##fileformat")]

    before, after = foreign(given), foreign(written)
    after = [line for line in after if line in before or not any(text.startswith("##contig=") for text in line)]
    is_same = len(before) == len(after) and all(a & b for a, b in zip(before, after, strict=True))
    require(is_same, f"header changed: {after} from {before}"[:600])


def check_vcf(text: bytes, expected: list[Record], *, is_bcf: bool) -> int:
    """Every record in its order with all columns but INFO unchanged; how many alleles have a score."""
    lines = [line for line in text.removesuffix(b"\n").split(b"\n") if not line.startswith(b"#")]
    require(len(lines) == len(expected), f"{len(lines)} records in the output, {len(expected)} in the input")
    n_scored = 0
    for line, record in zip(lines, expected, strict=True):
        columns, given = line.split(b"\t"), record.columns
        if is_bcf:
            require([columns[1], *columns[3:5]] == [given[1], *given[3:5]], f"BCF record changed: {line[:200]!r}")
        else:
            rest = [] if given[8:] == [b""] else given[8:]  # one tab too many at the end of a line is left out
            require(columns[:7] == given[:7], f"columns changed: {columns[:7]} from {given[:7]}"[:400])
            require(columns[8:] == rest, f"samples changed: {columns[8:]} from {rest}"[:400])
            require(foreign_info(columns[7]) == foreign_info(given[7]), f"INFO changed: {columns[7]!r}"[:400])
        (status,) = [value for value in columns[7].split(b";") if value.startswith(b"GLM_STATUS=")]
        statuses = status.removeprefix(b"GLM_STATUS=").split(b",")
        require(len(statuses) == len(record.alts), f"{len(statuses)} statuses for {len(record.alts)} alleles")
        n_scored += statuses.count(b"scored")
    return n_scored


def foreign_info(info: bytes) -> list[bytes]:
    """The entries of INFO that are not ours, without empty ones at its end."""
    own = tuple(name.encode() for name in _OWN)
    kept = [entry for entry in info.split(b";") if entry != b"." and not entry.startswith(own)]
    while kept and not kept[-1]:
        kept.pop()
    return kept


def n_htslib_reads(data: bytes, path: Path) -> int | None:
    """Records that htslib reads in a plain file of these bytes, None where it refuses it."""
    path.write_bytes(data)
    try:
        with pysam.VariantFile(str(path)) as file:
            return sum(1 for _ in file)
    except (OSError, ValueError, UnicodeDecodeError):
        return None


def check_readable(given: bytes, output: bytes, path: Path) -> None:
    """What htslib could read before it can read after."""
    verbosity = pysam.set_verbosity(0)
    try:
        before = n_htslib_reads(given, path)
        after = None if before is None else n_htslib_reads(output, path)
    finally:
        pysam.set_verbosity(verbosity)
    require(before == after, f"htslib read {before} records of the input and {after} of the output")


def main() -> int:
    """Run, print the table, 1 where something did not hold."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--n", type=int, default=10_000)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--first", type=int, default=0, help="number of the first mutant")
    parser.add_argument("--only", type=int, help="this mutant alone")
    options = parser.parse_args()
    numbers = range(options.first, options.first + options.n)
    if options.only is not None:
        numbers = range(options.only, options.only + 1)
    started = time.monotonic()
    with tempfile.TemporaryDirectory() as folder:
        tally = Fuzzer.make(Path(folder)).run(numbers, options.seed)
    for outcome, count in tally.outcomes.most_common():
        print(f"{count:>8,}  {outcome}")
    print(f"{tally.n_alleles:,} alleles counted in the files that were read, {tally.n_scored:,} of them scored")
    print(f"{len(numbers):,} mutants of seed {options.seed} in {time.monotonic() - started:,.0f} s")
    for violation in tally.violations:
        print(f"VIOLATION {violation[:1_500]}")
    return 1 if tally.violations else 0


if __name__ == "__main__":
    raise SystemExit(main())
