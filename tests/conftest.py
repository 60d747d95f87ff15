"""Settings of every test, and what many of them start from."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import pytest

from tests.tiny_pipeline import made_once

MEMORY = Path("/dev/shm")
ROOM_BYTES = 12 << 30


def pytest_configure() -> None:
    """Temporary folders lie in memory where there is room: Dagster's history waits for the disk at every event."""
    if MEMORY.is_dir() and shutil.disk_usage(MEMORY).free > ROOM_BYTES:
        os.environ.setdefault("PYTEST_DEBUG_TEMPROOT", str(MEMORY))


@pytest.fixture(scope="session", autouse=True)
def _no_flush_to_the_disk() -> None:
    """Nobody cuts the power while tests run, and on a busy disk each flush takes tens of milliseconds."""
    os.fsync = lambda fd: None


@pytest.fixture(scope="session")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A profile whose jobs build_dataset and train_model have run, from nothing. Not to be changed: see `copied`."""
    return made_once(tmp_path_factory.getbasetemp(), "trained", ("build_dataset", "train_model"))


@pytest.fixture(scope="session")
def evaluated(tmp_path_factory: pytest.TempPathFactory, trained: Path) -> Path:
    """A copy of `trained` with a report. Not to be changed: see `copied`."""
    return made_once(tmp_path_factory.getbasetemp(), "evaluated", ("evaluate",), trained)
