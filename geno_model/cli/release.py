"""`geno-release`: what has to do with the files of models and encoders (spec 2, 8).

Belongs here: options, progress and the last words on stderr. Does not: any of the work (`geno_model.release`).

    geno-release fetch-encoder --to FOLDER

Exit codes: 0 ok; 1 failure; 2 usage. A failure is one line on stderr. `fetch-encoder` is the one command of the project
that opens a network connection.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer

from geno_model.cli import one_line_errors

PROGRAM = "geno-release"

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
        from geno_model.progress import shown
        from geno_model.release import fetch

        if repo is not None and revision is None:
            raise fetch.FetchError("--repo needs --revision: the pinned revision is one of Carbon-500M")
        with shown(_say, quiet=quiet) as work:
            file_now = ""

            def report(name: str, n_done_bytes: int, n_bytes: int) -> None:
                nonlocal file_now
                if name != file_now:
                    file_now = name
                    work.begin(name, n_bytes // 10**6, "MB")
                work.at(n_done_bytes // 10**6)

            fetched = fetch.fetch_encoder(
                to, repo or fetch.CARBON_REPO, revision or fetch.CARBON_REVISION, endpoint=endpoint, progress=report
            )
        if not quiet:
            came = f"{fetched.n_fetched_bytes / 1e6:,.1f} MB fetched" if fetched.n_fetched_bytes else "already there"
            _say(f"{fetched.repo_id} at {fetched.revision[:12]}: {fetched.n_bytes / 1e6:,.1f} MB in {to} ({came})")
            _say(f"use it with --encoder-dir {to}, or set GENO_ENCODER_DIR; check it with: sha256sum -c SHA256SUMS")


def main() -> None:
    """Entry point of the console script."""
    app()


def _say(line: str) -> None:
    print(f"{PROGRAM}: {line}", file=sys.stderr)


if __name__ == "__main__":
    main()
