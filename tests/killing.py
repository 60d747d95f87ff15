"""A process that is killed before any one of its steps on the disk, for tests of what it leaves."""

from __future__ import annotations

import os
import signal
import traceback
from collections.abc import Callable
from itertools import count

from geno_model import files

_STEPS = ((os, ("mkdir", "fsync", "replace", "unlink", "rmdir")), (files, ("lock", "_exchange")))


def killed_before(step: int, action: Callable[[], object]) -> bool:
    """Run `action` in a fork that gets SIGKILL before its step number `step`; False if it has no so many and ended.

    The fork has one thread: no polars and no parallel torch in `action`.
    """
    child = os.fork()
    if child == 0:
        _run(step, action)
    _, status = os.waitpid(child, 0)
    assert os.WIFSIGNALED(status) or os.waitstatus_to_exitcode(status) == 0
    return os.WIFSIGNALED(status)


def _run(step: int, action: Callable[[], object]) -> None:
    number = count()

    def watched(function: Callable[..., object]) -> Callable[..., object]:
        def call(*args: object, **kwargs: object) -> object:
            if next(number) == step:
                os.kill(os.getpid(), signal.SIGKILL)
            return function(*args, **kwargs)

        return call

    try:
        for module, names in _STEPS:
            for name in names:
                setattr(module, name, watched(getattr(module, name)))
        action()
    except BaseException:
        traceback.print_exc()
        os._exit(1)
    os._exit(0)
