"""The root of every error that a user's own input can cause.

Belongs here: the base class, so that each command line can catch one type and print one line, and an error that several
packages share. Other specific errors live beside the code that raises them. Does not: errors of our own making (those
stay plain exceptions, with a traceback).
"""

from __future__ import annotations


class InputError(ValueError):
    """A file, option or value from outside is wrong.

    The message says what was found, what was expected, where, and what to do, in one or two lines.
    """


class WrongBuildError(InputError):
    """A file and the FASTA are probably of different genome builds."""
