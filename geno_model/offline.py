"""Local only: a guard that stops this process from reaching the network (spec 5, "Local only").

Belongs here: the guard and the settings that tell the Hugging Face libraries to stay offline. Does not: anything that
downloads; such commands never enter the guard.

The concept: Python reports every connection, name lookup and new program to audit hooks, whichever library asks, in any
thread. While the guard is on, the hook refuses them. A forked child keeps the hook; another PROGRAM would not, so
starting one is refused too (`multiprocessing` reports none, so its way of doing so is reported by us). What it does NOT
see: sockets that a compiled library opens on its own, be it called through ctypes, and connections that were open
before. None is given the chance: every path that a user names is opened by Python, so that a URL is a file that does
not exist.
"""

from __future__ import annotations

import os
import socket
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

_NETWORK_EVENTS = frozenset(
    f"socket.{name}"
    for name in ("connect", "sendto", "sendmsg", "getaddrinfo", "gethostbyname", "gethostbyaddr", "getnameinfo")
)
_FORK_EXEC = "geno_lewm.fork_exec"
_PROGRAM_EVENTS = frozenset(
    ("subprocess.Popen", "os.system", "os.exec", "os.posix_spawn", "os.spawn", "pty.spawn", _FORK_EXEC)
)
_OFFLINE_ENVIRONMENT = {
    "HF_HUB_OFFLINE": "1",
    "TRANSFORMERS_OFFLINE": "1",
    "HF_HUB_DISABLE_TELEMETRY": "1",
    "DO_NOT_TRACK": "1",
}


class NetworkAttemptError(BaseException):
    """Something tried to reach the network, or to start a program that could, while the guard was on.

    Not an `Exception`: a library that shrugs off a failed connection must not be able to shrug off this one.
    """


class Guard:
    """What the hook has refused since the guard went on: names of audit events, never their arguments."""

    def __init__(self) -> None:
        self.attempts: list[str] = []

    def check(self) -> None:
        """Raise `NetworkAttemptError` if anything was refused, be it in another thread or swallowed on the way up."""
        if self.attempts:
            raise NetworkAttemptError(_message(self.attempts[0]))


_guards: list[Guard] = []
_is_installed = False


@contextmanager
def no_network() -> Iterator[Guard]:
    """Refuse every way to the network inside the `with`; enter it before the Hugging Face libraries are imported.

    Raises `NetworkAttemptError` where the attempt is made and, if it was swallowed or happened in a thread, at the end.
    """
    global _is_installed
    os.environ.update(_OFFLINE_ENVIRONMENT)
    if not _is_installed:  # an audit hook can never be taken away, so it is added once and does nothing without a guard
        sys.addaudithook(_hook)
        _report_fork_exec()
        _is_installed = True
    guard = Guard()
    _guards.append(guard)
    try:
        yield guard
        guard.check()
    finally:
        _guards.remove(guard)


def _report_fork_exec() -> None:
    """Make the function with which `multiprocessing` starts programs an audit event, as `subprocess` is one."""
    if sys.platform == "win32":
        return
    import _posixsubprocess

    fork_exec = _posixsubprocess.fork_exec

    def reported(*arguments: Any) -> int:
        sys.audit(_FORK_EXEC)
        return fork_exec(*arguments)

    setattr(_posixsubprocess, "fork_exec", reported)  # noqa: B010


def _hook(event: str, arguments: tuple[Any, ...]) -> None:
    if not _guards or (event not in _NETWORK_EVENTS and event not in _PROGRAM_EVENTS):
        return
    is_socket = bool(arguments) and isinstance(arguments[0], socket.socket)
    if is_socket and arguments[0].family == getattr(socket, "AF_UNIX", None):
        return  # a file of this machine, not the network
    for guard in _guards:
        guard.attempts.append(event)
    raise NetworkAttemptError(_message(event))


def _message(event: str) -> str:
    did = "start another program" if event in _PROGRAM_EVENTS else "reach the network"
    return f"something in this process tried to {did} ({event}) and was stopped; this command works on local files only"
