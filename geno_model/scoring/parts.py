"""What a run has scored so far, so that a killed one can be gone on with (`geno-score --resume`, spec 5).

Belongs here: the folder of parts beside an output, whose run it is, and which parts still hold. Does not: scoring.

The concept: beside `out.vcf.gz` lies `.out.vcf.gz.parts/` while a run lasts: `run.json` says what decides a score, and
each chunk of the input is a Parquet file of its scores, with a SHA-256 of the records that they are of. A run that
goes on reads those files instead of scoring, and writes the output anew from the first record, so the result is the
same to the byte. The folder is locked by the run that has it, and removed when the output is complete or the input
turned out to be bad; only a run that was interrupted or killed leaves it.
"""

from __future__ import annotations

import fcntl
import hashlib
import json
import os
import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import polars as pl

from geno_model.genomics.errors import InputError
from geno_model.release.manifest import canonical_json

_KEY = "geno_lewm_records"
_RUN = "run.json"


class ResumeError(InputError):
    """A run that cannot be gone on with, or one that another process has."""


class Parts:
    """Scores of the chunks that are done. Make one with `kept_parts`."""

    def __init__(self, folder: Path) -> None:
        """folder: also where the output may be written until it is whole."""
        self.folder = folder
        self.n_reused = 0

    def read(self, number: int, key: str) -> pl.DataFrame | None:
        """Scores of chunk `number` if they are there, and of these very records; else None."""
        path = self._path(number)
        try:
            found = pl.read_parquet_metadata(path).get(_KEY)
            scores = pl.read_parquet(path) if found == key else None
        except (OSError, pl.exceptions.PolarsError):
            return None  # not there, or cut off by the kill: scored again
        if scores is None:
            raise ResumeError(
                f"the input is not the one of the run that {self.folder} is of: its records differ; "
                "run again without --resume"
            )
        self.n_reused += 1
        return scores

    def write(self, number: int, key: str, scores: pl.DataFrame) -> None:
        """Keep the scores of a chunk."""
        path = self._path(number)
        temporary = path.with_name(f".{path.name}.tmp")
        scores.write_parquet(temporary, metadata={_KEY: key})
        os.replace(temporary, path)

    def _path(self, number: int) -> Path:
        return self.folder / f"{number:08d}.parquet"


def parts_folder(output: Path) -> Path:
    """Where the parts of an output lie."""
    return output.with_name(f".{output.name}.parts")


def records_key(lines: pl.DataFrame) -> str:
    """SHA-256 of what decides the scores of these records."""
    text = lines.select(pl.concat_str("chrom", "pos", "ref", "alt", "filter", separator="\t").str.join("\n")).item()
    return hashlib.sha256((text or "").encode()).hexdigest()


@contextmanager
def kept_parts(output: Path, identity: Mapping[str, Any], *, resume: bool) -> Iterator[Parts]:
    """The parts of a run, kept only if it is interrupted or killed, or its disk is full.

    identity: plain values that decide a score. resume: go on with the parts that are there.
    Raises `ResumeError` where they are of a run with another identity, naming what differs, and where a run that goes
    on at this moment has them.
    """
    folder = parts_folder(output)
    folder.mkdir(exist_ok=True)
    lock = os.open(folder, os.O_RDONLY)
    try:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            raise ResumeError(f"another run is writing {output} at this moment; name another output") from None
        try:
            _prepare(folder, json.loads(canonical_json(dict(identity))), resume)
            yield Parts(folder)
        except BaseException as error:
            is_hopeless = isinstance(error, InputError) and not isinstance(error, ResumeError)
            if is_hopeless or not any(folder.glob("*.parquet")):
                shutil.rmtree(folder)
            raise
        shutil.rmtree(folder)
    finally:
        os.close(lock)


def _prepare(folder: Path, identity: dict[str, Any], resume: bool) -> None:
    path = folder / _RUN
    if resume and path.is_file():
        try:
            found = json.loads(path.read_bytes())
        except ValueError:
            found = {}
        if differing := sorted(name for name in identity | found if identity.get(name) != found.get(name)):
            raise ResumeError(
                f"{folder} is of another run ({', '.join(differing)} differ), so its scores cannot be gone on with; "
                "run again as before, or without --resume"
            )
        for half_written in folder.glob("*.tmp*"):
            half_written.unlink()
        return
    for old in folder.iterdir():
        old.unlink()
    path.write_bytes(canonical_json(identity))
