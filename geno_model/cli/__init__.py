"""Command lines: options, progress and exit codes around the functions of the packages below (spec 5).

Belongs here: what all commands share, which is how an error becomes one line and an exit code. Does not: any work.
Modules here import nothing heavy at the top, so that `--help` is quick.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from enum import IntEnum

from geno_model.genomics.errors import InputError
from geno_model.importing.errors import NothingWrittenError
from geno_model.offline import NetworkAttemptError
from geno_model.pipes import quiet_when_unread
from geno_model.scoring.errors import NothingScoredError


class ExitCode(IntEnum):
    """Exit codes of all commands."""

    OK = 0
    FAILURE = 1
    USAGE = 2
    NOTHING_DONE = 3
    NETWORK_ATTEMPT = 4
    INTERRUPTED = 130  # 128 + SIGINT, as shells have it


class UsageError(InputError):
    """Options that contradict each other or that no file can satisfy."""


@contextmanager
def one_line_errors(program: str) -> Iterator[None]:
    """Turn every error that the outside world can cause into ONE line on stderr and the exit code that goes with it.

    An error of our own making passes through with its traceback.
    """
    try:
        with quiet_when_unread():
            yield
    except NetworkAttemptError as error:
        _leave(program, error, ExitCode.NETWORK_ATTEMPT)
    except UsageError as error:
        _leave(program, error, ExitCode.USAGE)
    except (NothingScoredError, NothingWrittenError) as error:
        _leave(program, error, ExitCode.NOTHING_DONE)
    except InputError as error:
        _leave(program, error, ExitCode.FAILURE)
    except KeyboardInterrupt as error:
        _leave(program, "; ".join(["interrupted", *map(str, error.args)]), ExitCode.INTERRUPTED)
    except OSError as error:
        where = f": {error.filename}" if error.filename else ""
        reason = error.strerror or str(error) or type(error).__name__
        _leave(program, f"{reason}{where}; check that file, its folder and the free space there", ExitCode.FAILURE)


def _leave(program: str, message: object, code: ExitCode) -> None:
    print(f"{program}: {' '.join(str(message).split())}", file=sys.stderr)
    raise SystemExit(int(code))
