"""How a command ends whose output nobody reads any longer, as after `| head`.

Belongs here: that alone, for every command of the project. Does not: other errors (`cli`).
"""

from __future__ import annotations

import io
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress

UNREAD = 141
"""Exit code: 128 + SIGPIPE, as shells have it for a program that the signal ends."""


@contextmanager
def quiet_when_unread() -> Iterator[None]:
    """End without a word, exit code `UNREAD`, where standard output or error is a pipe that nobody reads any more.

    What is printed inside has reached the pipe when this ends, so that nothing is left to fail at the exit of Python.
    """
    try:
        try:
            yield
        finally:
            sys.stdout.flush()
    except BrokenPipeError:
        nowhere = os.open(os.devnull, os.O_WRONLY)
        for stream in (sys.stdout, sys.stderr):
            with suppress(io.UnsupportedOperation):  # no file: of a program that calls us
                os.dup2(nowhere, stream.fileno())
        raise SystemExit(UNREAD) from None
