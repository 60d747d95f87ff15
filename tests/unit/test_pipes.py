"""`| head`: a command whose reader has left ends without a word."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

ENVIRONMENT = {name: value for name, value in os.environ.items() if name != "PYTHONUNBUFFERED"}


def run_unread(code: str, stream: str) -> tuple[int, bytes]:
    """Exit code of a program whose stdout or stderr is a pipe without a reader, and what the other one got."""
    reader, writer = os.pipe()
    os.close(reader)
    other = "stderr" if stream == "stdout" else "stdout"
    streams = {stream: writer, other: subprocess.PIPE}
    command = [sys.executable, "-c", code]
    with subprocess.Popen(command, env=ENVIRONMENT, stdout=streams["stdout"], stderr=streams["stderr"]) as process:
        os.close(writer)
        stdout, stderr = process.communicate()
    return process.returncode, stderr if stream == "stdout" else stdout


ERRORS = "import sys\nfrom geno_model.cli import one_line_errors\nwith one_line_errors('geno-x'):\n    "
OUTSIDE = "from geno_model.pipes import quiet_when_unread\nwith quiet_when_unread():\n    "


@pytest.mark.parametrize(
    ("code", "stream"),
    [
        (ERRORS + "print('{}')", "stdout"),
        (ERRORS + "print('{}' * 100_000)", "stdout"),
        (ERRORS + "print('a line', file=sys.stderr)", "stderr"),
        (OUTSIDE + "print('{}')", "stdout"),
        (OUTSIDE + "print('{}'); raise SystemExit(3)", "stdout"),
    ],
)
def test_nobody_reads(code: str, stream: str) -> None:
    assert run_unread(code, stream) == (141, b"")


@pytest.mark.parametrize("name", ["score", "verify", "importer", "release"])
def test_nobody_reads_the_help(name: str) -> None:
    code = f"import sys; sys.argv[1:] = ['--help']; import geno_model.cli.{name} as cli; cli.main()"
    returncode, told = run_unread(code, "stdout")
    assert returncode in (1, 141) and told == b""  # 1 is what click gives


def test_somebody_reads() -> None:
    done = subprocess.run([sys.executable, "-c", ERRORS + "print('{}')"], capture_output=True, env=ENVIRONMENT)
    assert (done.returncode, done.stdout, done.stderr) == (0, b"{}\n", b"")
