"""`geno-score` opens no socket, seen from outside the process: also what compiled libraries do is counted here."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.integration.test_geno_score import options
from tests.tiny_release import build_release, every_kind, vcf_text

CALLS = re.compile(r"\b(?:socket|connect|sendto|sendmsg|sendmmsg|bind|listen|accept4?)\(.*")


def traced(command: list[str], log: Path) -> list[str]:
    """The calls for sockets of a command and of all that it starts, but those to this machine's own files.

    glibc asks a name service for users, not hosts, at `/var/run/nscd/socket` (AF_UNIX), when asked who runs it.
    """
    result = subprocess.run(
        ["strace", "-f", "-qq", "-e", "trace=network", "-o", str(log), *command], capture_output=True, timeout=300
    )
    if b"ptrace" in result.stderr and b"not permitted" in result.stderr:
        pytest.skip("strace may not trace processes here")
    assert result.returncode == 0, result.stderr
    return [call for call in CALLS.findall(log.read_text()) if "AF_UNIX" not in call]


@pytest.mark.slow
@pytest.mark.skipif(not shutil.which("strace"), reason="needs strace to see system calls")
def test_scoring_opens_no_socket(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    release = build_release(tmp_path / "tiny")
    monkeypatch.setenv("GENO_CACHE", str(release.cache))
    monkeypatch.delenv("GENO_ENCODER_DIR", raising=False)
    vcf, output = tmp_path / "in.vcf", tmp_path / "out.vcf.gz"
    vcf.write_text(vcf_text(every_kind(release.genome())))
    control = "import socket; socket.socket(socket.AF_INET)"
    assert len(traced([sys.executable, "-c", control], tmp_path / "control.log")) == 1
    command = [sys.executable, "-m", "geno_model.cli.score", *options(release, vcf, output)]
    assert traced(command, tmp_path / "score.log") == []
    assert os.path.getsize(output) > 0
