"""What a run has scored so far, so that a killed one can be resumed (`geno-score --resume`, spec 5).

Belongs here: the folder of parts beside an output, whose run it is, and which parts still hold. Does not: scoring.

The concept: beside `out.vcf.gz` lies `.out.vcf.gz.parts/` while a run lasts: `run.json` says what decides a score, and
each chunk of the input is a Parquet file of its scores, with a SHA-256 of the records that they are of. A resumed run
reads those files instead of scoring, and writes the output anew from the first record, so the result is the same to the
byte. The folder is locked by the run that has it, and removed when the output is complete. Hours of work may lie in it:
a run that finds one stops, unless it was told to continue or to discard it.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import polars as pl

from geno_model.files import lock, remove_folder, replacing_file
from geno_model.genomics.errors import InputError, WrongBuildError
from geno_model.release.manifest import canonical_json
from geno_model.scoring.errors import NothingScoredError

_KEY = "geno_lewm_records"
_RUN = "run.json"


class ResumeError(InputError):
    """A run that cannot be resumed, that is resumed or discarded only when told so, or that another process has."""


class Parts:
    """Scores of the chunks that are done. Make one with `kept_parts`."""

    def __init__(self, folder: Path) -> None:
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
                "give that input, or discard its scores with --restart"
            )
        self.n_reused += 1
        return scores

    def write(self, number: int, key: str, scores: pl.DataFrame) -> None:
        """Keep the scores of a chunk."""
        with replacing_file(self._path(number)) as temporary:
            scores.write_parquet(temporary, metadata={_KEY: key})

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
def kept_parts(output: Path, identity: Mapping[str, Any], *, resume: bool | None) -> Iterator[Parts]:
    """The parts of a run; they stay where it does not reach its end, unless nothing could be scored.

    identity: plain values that decide a score. resume: True continues with the parts that an interrupted run left,
    False discards them.
    Raises `ResumeError` where there are such parts and resume is None, or they are of a run with another identity,
    naming what differs; and where another run has them at this moment.
    """
    folder = parts_folder(output)
    folder.mkdir(exist_ok=True)
    handle = lock(folder)
    if handle is None:
        raise ResumeError(f"another run is writing {output} at this moment; name another output")
    try:
        _prepare(folder, json.loads(canonical_json(dict(identity))), resume)
        yield Parts(folder)
    except BaseException as error:
        if isinstance(error, NothingScoredError | WrongBuildError) or not _files(folder):
            remove_folder(folder)
        raise
    else:
        remove_folder(folder)
    finally:
        os.close(handle)


def _prepare(folder: Path, identity: dict[str, Any], resume: bool | None) -> None:
    path, files = folder / _RUN, _files(folder)
    if not files or resume is False:
        for file in files:
            file.unlink()
        with replacing_file(path) as temporary:
            temporary.write_bytes(canonical_json(identity))
        return
    try:
        found = json.loads(path.read_bytes())
    except (OSError, ValueError):
        found = {}
    told = f"{folder} holds {len(files):,} chunks of"
    if differing := sorted(name for name in identity | found if identity.get(name) != found.get(name)):
        raise ResumeError(
            f"{told} another run ({', '.join(differing)} differ), which was interrupted; finish that run with "
            "--resume, discard them with --restart, or name another output"
        )
    if resume is None:
        raise ResumeError(
            f"{told} this run, which was interrupted; continue it with --resume, or discard them with --restart"
        )


def _files(folder: Path) -> list[Path]:
    """The parts that are there."""
    return list(folder.glob("*.parquet"))
