"""`geno-release`: what has to do with the files of models and encoders (spec 2, 8).

Belongs here: options, progress and the last words on stderr. Does not: any of the work (`geno_model.release`).

    geno-release fetch-encoder --to FOLDER

Exit codes: 0 ok; 1 failure; 2 usage. A failure is one line on stderr. `fetch-encoder` is the one command of the project
that opens a network connection.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated

import typer

from geno_model.cli import one_line_errors
from geno_model.pipes import quiet_when_unread

PROGRAM = "geno-release"
_LINE_EVERY_S = 10.0

app = typer.Typer(add_completion=False, pretty_exceptions_enable=False, no_args_is_help=True)


@app.callback()
def release() -> None:
    """Files of models and encoders. Research tool, not a clinical diagnostic."""


@app.command()
def fetch_encoder(
    to: Annotated[Path, typer.Option(help="Folder to make; must not exist, or hold this very encoder.")],
    repo: Annotated[str | None, typer.Option(help="Repository on the hub; default Carbon-500M.")] = None,
    revision: Annotated[str | None, typer.Option(help="Commit, 40 digits; default the pinned one.")] = None,
    endpoint: Annotated[str | None, typer.Option(help="Address of another hub.")] = None,
    quiet: Annotated[bool, typer.Option("--quiet", help="No progress and no summary; errors are still told.")] = False,
) -> None:
    """Download an encoder's weights, config and tokenizer, verified; a broken download is resumed."""
    with one_line_errors(PROGRAM):
        from geno_model.release import fetch

        if repo is not None and revision is None:
            raise fetch.FetchError("--repo needs --revision: the pinned revision is one of Carbon-500M")
        with _progress(quiet) as report:
            fetched = fetch.fetch_encoder(
                to, repo or fetch.CARBON_REPO, revision or fetch.CARBON_REVISION, endpoint=endpoint, progress=report
            )
        if not quiet:
            came = f"{fetched.n_fetched_bytes / 1e6:,.1f} MB fetched" if fetched.n_fetched_bytes else "already there"
            _say(f"{fetched.repo_id} at {fetched.revision[:12]}: {fetched.n_bytes / 1e6:,.1f} MB in {to} ({came})")
            _say(f"use it with --encoder-dir {to}, or set GENO_ENCODER_DIR; check it with: sha256sum -c SHA256SUMS")


def main() -> None:
    """Entry point of the console script."""
    with quiet_when_unread():
        app()


@contextmanager
def _progress(quiet: bool) -> Iterator[Callable[[str, int, int], None]]:
    """Something to call with (file, bytes there, bytes in all): a bar on a terminal, else a plain line now and then."""
    if quiet:
        yield lambda name, n_done, n_total: None
    elif not sys.stderr.isatty():
        yield _PlainProgress()
    else:
        from rich.console import Console
        from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TimeRemainingColumn

        columns = (TextColumn("{task.description}"), BarColumn(), DownloadColumn(), TimeRemainingColumn())
        with Progress(*columns, console=Console(stderr=True), transient=True) as bar:
            task = bar.add_task("", total=None)
            yield lambda name, n_done, n_total: bar.update(task, description=name, completed=n_done, total=n_total)


class _PlainProgress:
    """Lines such as `geno-release: model.safetensors: 120 of 1,010 MB`, at most one every ten seconds."""

    def __init__(self) -> None:
        self._told = time.monotonic()

    def __call__(self, name: str, n_done: int, n_total: int) -> None:
        if time.monotonic() - self._told >= _LINE_EVERY_S:
            self._told = time.monotonic()
            _say(f"{name}: {n_done / 1e6:,.0f} of {n_total / 1e6:,.0f} MB")


def _say(line: str) -> None:
    print(f"{PROGRAM}: {line}", file=sys.stderr)


if __name__ == "__main__":
    main()
