"""What a person is told while something runs: counts, a rate that is true, and a sign of life."""

from __future__ import annotations

import time

import pytest

from geno_model import progress
from geno_model.progress import Pace, Ticker, count_in, now_and_then


class Clock:
    """Seconds that a test sets."""

    def __init__(self) -> None:
        self.now = 1_000.0

    def monotonic(self) -> float:
        return self.now


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    monkeypatch.setattr(progress, "time", clock)
    return clock


def test_rate_and_time_left(clock: Clock):
    pace = Pace(5_000, "alleles")
    for n_done in (0, 100, 200):
        pace.see(n_done)
        clock.now += 10
    # 200 alleles in the 30 seconds since the first report; 4,800 are left
    assert str(pace) == "200 of 5,000 alleles, 6.7/s, 12 min left"


def test_the_first_report_has_no_rate(clock: Clock):
    pace = Pace(200, "steps")
    clock.now += 9
    pace.see(1)
    assert str(pace) == "1 of 200 steps, 9 s"  # not 29,585,115/s, 0 s left


def test_what_an_earlier_run_did_is_no_part_of_the_rate(clock: Clock):
    pace = Pace(1_000, "steps")
    pace.see(900)
    clock.now += 10
    pace.see(910)
    assert str(pace) == "910 of 1,000 steps, 1.0/s, 90 s left"


def test_the_rate_is_that_of_the_last_minute(clock: Clock):
    pace = Pace(None, "rows")
    pace.see(0)
    for second in range(1, 301):
        clock.now += 1
        pace.see(10_000 + second)
    assert pace.per_second is not None and pace.per_second == pytest.approx(1.0, abs=0.05)


def test_a_step_that_hangs_is_seen_to(clock: Clock):
    pace = Pace(140, "steps")
    pace.see(0)
    clock.now += 300
    assert str(pace) == "0 of 140 steps, 300 s"


def test_long_times_are_told_in_minutes_and_hours(clock: Clock):
    pace = Pace(1_000, "steps")
    pace.see(0)
    clock.now += 1_000
    pace.see(10)
    assert str(pace) == "10 of 1,000 steps, 100 s each, 27.5 h left"


def test_a_count_is_recognised_in_what_was_said(clock: Clock):
    pace = Pace(5_000, "alleles")
    pace.see(1_200)
    assert count_in(str(pace)) == (1_200, 5_000, "alleles")
    assert count_in(str(Pace(None, ""))) is None


def test_lines_come_now_and_then_and_at_the_end(clock: Clock):
    said: list[str] = []
    tell = now_and_then(said.append, 10, "steps", every_s=5)
    for n_done in range(11):
        tell(n_done)
        clock.now += 1
    assert [line.split()[0] for line in said] == ["0", "5", "10"]


def test_a_ticker_speaks_while_the_work_is_silent():
    said: list[str] = []
    with Ticker(said.append, every_s=0.01) as ticker:
        ticker.begin("reading the VCF")
        while len(said) < 2:
            time.sleep(0.01)
        ticker.begin("scoring", 7, "alleles")
        ticker.at(3)
        seen = len(said)
        while len(said) < seen + 2:
            time.sleep(0.01)
    n_said = len(said)
    assert said[0] == "reading the VCF: 0 s"
    assert said[-1].startswith("scoring: 3 of 7 alleles")
    time.sleep(0.05)
    assert len(said) == n_said  # its thread has ended
