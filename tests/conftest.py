"""Settings of every test."""

from __future__ import annotations

import os

import pytest


@pytest.fixture(scope="session", autouse=True)
def _no_flush_to_the_disk() -> None:
    """Nobody cuts the power while tests run, and on a busy disk each flush takes tens of milliseconds."""
    os.fsync = lambda fd: None
