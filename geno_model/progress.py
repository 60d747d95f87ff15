"""How far a long piece of work is, told so that nothing that takes longer than ten seconds is silent.

Belongs here: the words for a count, a rate and the time left; a line now and then; a bar. Does not: the work.

Concept: the work says how much of it is done (`at`), often or seldom. A thread says so every ten seconds, whether or
not the work has said anything since, so that one slow step is seen to be slow.
"""

from __future__ import annotations

import re
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Protocol

from rich.console import Console

EVERY_S = 10.0
_COUNT = re.compile(r"^([\d,]+) of ([\d,]+) (\w+)(?:,|$)")
_LOOK_BACK_S = 60.0


class Work(Protocol):
    """Who shows how far a piece of work is."""

    def begin(self, what: str, n_total: int | None = None, unit: str = "") -> None:
        """A new piece of work, such as `scoring`, of so many `alleles`; None where the number is not known."""
        ...

    def at(self, n_done: int) -> None:
        """So much of it is done."""
        ...


class Pace:
    """What is done of a piece of work, how fast it went in the last minute, and how long the rest takes at that rate.

    The first report is where the count starts: what an earlier run has done, or the time that a first step took to
    warm up, is no part of the rate.
    """

    def __init__(self, n_total: int | None, unit: str) -> None:
        """n_total: None where nobody knows. unit: in the plural, `alleles`; nothing is counted without one."""
        self.n_total, self.unit = n_total, unit
        self._began = time.monotonic()
        self._seen: deque[tuple[float, int]] = deque()

    def see(self, n_done: int) -> None:
        """So much is done by now."""
        now = time.monotonic()
        self._seen.append((now, n_done))
        while len(self._seen) > 2 and self._seen[1][0] < now - _LOOK_BACK_S:
            self._seen.popleft()

    @property
    def per_second(self) -> float | None:
        """The rate of the last minute; None until there are two reports."""
        if len(self._seen) < 2:
            return None
        (first_at, n_first), (_, n_last) = self._seen[0], self._seen[-1]
        return (n_last - n_first) / max(time.monotonic() - first_at, 1e-9)

    def __str__(self) -> str:
        """Such as `1,200 of 5,000 alleles, 35.1/s, 108 s left` or `3 of 140 steps, 9 s each, 21 min left`; without
        what is not known."""
        if not self.unit or not self._seen:
            return _duration(time.monotonic() - self._began)
        n_done, rate = self._seen[-1][1], self.per_second
        parts = [f"{n_done:,} {self.unit}" if self.n_total is None else f"{n_done:,} of {self.n_total:,} {self.unit}"]
        if rate:
            parts.append(f"{rate:,.1f}/s" if rate >= 0.2 else f"{_duration(1 / rate)} each")
        if rate and self.n_total is not None:
            parts.append(f"{_duration((self.n_total - n_done) / rate)} left")
        else:
            parts.append(_duration(time.monotonic() - self._began))
        return ", ".join(parts)


class Ticker:
    """Plain lines: every ten seconds what is being done and how far it is. To be used in a `with`."""

    def __init__(self, say: Callable[[str], None], every_s: float = EVERY_S) -> None:
        self._say, self._every_s = say, every_s
        self._what, self._pace = "", Pace(None, "")
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._tick, name="progress", daemon=True)

    def begin(self, what: str, n_total: int | None = None, unit: str = "") -> None:
        """See `Work`."""
        self._what, self._pace = what, Pace(n_total, unit)

    def at(self, n_done: int) -> None:
        """See `Work`."""
        self._pace.see(n_done)

    def __enter__(self) -> Ticker:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        self._thread.join()

    def _tick(self) -> None:
        while not self._over.wait(self._every_s):
            if self._what:
                self._say(f"{self._what}: {self._pace}")


class _Silence:
    """Shows nothing."""

    def begin(self, what: str, n_total: int | None = None, unit: str = "") -> None:
        """See `Work`."""

    def at(self, n_done: int) -> None:
        """See `Work`."""


class _Bar:
    """A bar on a terminal."""

    def __init__(self, screen: Console) -> None:
        from rich.progress import BarColumn, Progress, SpinnerColumn, TextColumn

        columns = (SpinnerColumn(), TextColumn("{task.description}"), BarColumn(30), TextColumn("{task.fields[pace]}"))
        self.bars = Progress(*columns, console=screen, transient=True)
        self._task, self._pace = self.bars.add_task("starting", total=None, pace=""), Pace(None, "")

    def begin(self, what: str, n_total: int | None = None, unit: str = "") -> None:
        """See `Work`."""
        self._pace = Pace(n_total, unit)
        self.bars.update(self._task, description=what, total=n_total, completed=0, pace="")

    def at(self, n_done: int) -> None:
        """See `Work`."""
        self._pace.see(n_done)
        self.bars.update(self._task, completed=n_done, pace=str(self._pace))


@contextmanager
def shown(say: Callable[[str], None], screen: Console | None = None, *, quiet: bool = False) -> Iterator[Work]:
    """Progress: a bar where `screen` (standard error unless given) is a terminal, else a plain line every ten seconds;
    nothing if `quiet`."""
    screen = screen or Console(stderr=True)
    if quiet:
        yield _Silence()
    elif screen.is_terminal:
        bar = _Bar(screen)
        with bar.bars:
            yield bar
    else:
        with Ticker(say) as ticker:
            yield ticker


def now_and_then(say: Callable[[str], None], n_total: int, unit: str, every_s: float) -> Callable[[int], None]:
    """Something to call with what is done: says a line at once, at most every so many seconds, and at the end."""
    pace, said = Pace(n_total, unit), float("-inf")

    def tell(n_done: int) -> None:
        nonlocal said
        pace.see(n_done)
        if time.monotonic() - said >= every_s or n_done == n_total:
            said = time.monotonic()
            say(str(pace))

    return tell


def count_in(text: str) -> tuple[int, int, str] | None:
    """Done, total and unit of what `str(Pace)` begins with; None for another text."""
    found = _COUNT.match(text)
    if found is None:
        return None
    return int(found[1].replace(",", "")), int(found[2].replace(",", "")), found[3]


def _duration(seconds: float) -> str:
    if seconds < 600:
        return f"{seconds:,.0f} s"
    return f"{seconds / 60:,.0f} min" if seconds < 3 * 3600 else f"{seconds / 3600:,.1f} h"
