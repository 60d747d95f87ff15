"""`python -m geno_pipeline`: the command line of the pipeline. What it does is in `geno_pipeline.run` and `.ui`."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from geno_model.pipes import quiet_when_unread
from geno_pipeline.config import DEFAULT_PROFILE, ProfileError
from geno_pipeline.run import INTERRUPTED, RESUMES, run
from geno_pipeline.ui import serve


def main(argv: list[str] | None = None) -> int:
    """Parse the command line and run. Exit codes: 0 done, 1 an asset or a check failed, 2 usage or profile,
    130 interrupted."""
    parser = argparse.ArgumentParser(prog="python -m geno_pipeline", description="Build, train, evaluate, release.")
    commands = parser.add_subparsers(dest="command", required=True)
    command = commands.add_parser("run", help="make what is out of date of a job, over all contigs of a profile")
    pages = commands.add_parser("ui", help="show in the browser what the runs of a profile have made")
    for each in (command, pages):
        each.add_argument(
            "--profile", help=f"bundled name or YAML file (default: $GENO_PROFILE, else {DEFAULT_PROFILE})"
        )
        each.add_argument("--data", type=Path, help="folder of the input files (default: $GENO_DATA)")
    pages.add_argument("--port", type=int, default=3000, help="where the pages are served (default: %(default)s)")
    command.add_argument("--again", action="store_true", help="make all assets of the job, up to date or not")
    command.add_argument("--job", default="everything", help="job to run (default: %(default)s)")
    arguments = parser.parse_args(argv)
    try:
        if arguments.command == "ui":
            return serve(arguments.profile, arguments.data, arguments.port)
        return run(arguments.profile, arguments.data, arguments.job, again=arguments.again)
    except ProfileError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:  # while no asset was being made
        print(f"interrupted; what was made is kept. {RESUMES}", file=sys.stderr)
        return INTERRUPTED


if __name__ == "__main__":
    with quiet_when_unread():
        sys.exit(main())
