"""Files and folders that are replaced: whole or not at all, however a process ends."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from geno_model import files
from geno_model.files import replacing_file, replacing_folder, sweep

LEFTOVERS = ".*.geno-tmp"


def test_a_file_appears_when_the_block_ends_and_keeps_its_suffixes(tmp_path: Path):
    path = tmp_path / "new" / "out.vcf.gz"
    with replacing_file(path) as temporary:
        assert temporary.name == "out.vcf.gz" and not path.exists()
        temporary.write_text("whole")
    assert path.read_text() == "whole"
    assert [found.name for found in path.parent.iterdir()] == ["out.vcf.gz"]


def test_a_new_file_can_be_read_by_those_who_may_read_the_folder(tmp_path: Path):
    with replacing_file(tmp_path / "a") as temporary:
        temporary.touch()
    (tmp_path / "b").touch()
    assert (tmp_path / "a").stat().st_mode == (tmp_path / "b").stat().st_mode


@pytest.mark.parametrize("replacing", [replacing_file, replacing_folder])
def test_an_error_leaves_the_old_one_and_nothing_else(tmp_path: Path, replacing):
    path = tmp_path / "thing"
    if replacing is replacing_file:
        path.write_text("old")
    else:
        path.mkdir()
        (path / "old").touch()
    with pytest.raises(RuntimeError), replacing(path) as temporary:
        if replacing is replacing_file:
            temporary.write_text("half")
        raise RuntimeError
    assert path.read_text() == "old" if path.is_file() else (path / "old").exists()
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize("can_exchange", [True, False])
def test_a_folder_replaces_a_full_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, can_exchange: bool):
    if not can_exchange:  # as on a network file system
        monkeypatch.setattr(files, "_exchange", lambda first, second: False)
    for content in ("old", "new"):
        with replacing_folder(tmp_path / "folder") as temporary:
            (temporary / "deep").mkdir()
            (temporary / "deep" / content).touch()
    assert [found.name for found in (tmp_path / "folder").rglob("*")] == ["deep", "new"]
    assert not list(tmp_path.glob(LEFTOVERS))


_KILLED_AT = """
import os, signal, sys
from pathlib import Path
from geno_model import files
folder, at, can_exchange = Path(sys.argv[1]), int(sys.argv[2]), sys.argv[3] == "True"
if not can_exchange:
    files._exchange = lambda first, second: False
calls = 0
def watched(function):
    def call(*args, **kwargs):
        global calls
        if calls == at:
            os.kill(os.getpid(), signal.SIGKILL)
        calls += 1
        return function(*args, **kwargs)
    return call
for name in ("_flush", "_exchange", "_remove", "lock"):
    setattr(files, name, watched(getattr(files, name)))
os.replace = watched(os.replace)
with files.replacing_folder(folder) as temporary:
    (temporary / "a").write_text("new")
    (temporary / "b").write_text("new")
print(calls)
"""


@pytest.mark.parametrize("can_exchange", [True, False])
def test_killed_before_any_of_its_steps_a_replacement_leaves_one_whole_folder(tmp_path: Path, can_exchange: bool):
    path = tmp_path / "checkpoint"

    def run(at: int) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-c", _KILLED_AT, str(path), str(at), str(can_exchange)]
        return subprocess.run(command, capture_output=True, text=True, cwd=Path(__file__).parents[2])

    at, seen = 0, set()
    while True:
        with replacing_folder(path) as temporary:
            for name in ("a", "b"):
                (temporary / name).write_text("old")
        done = run(at)
        if can_exchange:  # at every moment; without, the next to write here puts it back
            assert path.is_dir()
        sweep(tmp_path)
        assert [found.name for found in tmp_path.iterdir()] == ["checkpoint"]
        contents = {(path / name).read_text() for name in ("a", "b")}
        assert len(contents) == 1
        seen |= contents
        if done.returncode == 0:
            break
        assert done.returncode == -signal.SIGKILL, done.stderr
        at += 1
    assert seen == {"old", "new"} and at >= 6


def test_what_a_killed_process_left_is_removed_by_the_next_writer(tmp_path: Path):
    script = (
        "import sys, os, signal; from pathlib import Path; from geno_model.files import replacing_file\n"
        "with replacing_file(Path(sys.argv[1])) as t:\n t.write_text('half'); os.kill(os.getpid(), signal.SIGKILL)"
    )
    subprocess.run([sys.executable, "-c", script, str(tmp_path / "r.jsonl")], cwd=Path(__file__).parents[2])
    assert len(list(tmp_path.glob(LEFTOVERS))) == 1
    with replacing_file(tmp_path / "another") as temporary:
        temporary.touch()
    assert [found.name for found in tmp_path.iterdir()] == ["another"]


def test_what_another_process_is_writing_is_left_alone(tmp_path: Path):
    with replacing_file(tmp_path / "slow") as slow:
        slow.write_text("slow")
        with replacing_file(tmp_path / "fast") as fast:
            fast.write_text("fast")
        sweep(tmp_path)
    assert (tmp_path / "slow").read_text() == "slow"


def test_a_folder_that_may_not_be_written_to_is_told_at_once(tmp_path: Path):
    (tmp_path / "file").touch()
    with pytest.raises(OSError), replacing_file(tmp_path / "file" / "below"):
        pytest.fail("the block was entered")


def test_files_are_flushed_before_they_are_renamed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    steps: list[str] = []
    replace, fsync = os.replace, os.fsync
    monkeypatch.setattr(os, "replace", lambda a, b: (steps.append("rename"), replace(a, b)))
    monkeypatch.setattr(os, "fsync", lambda handle: (steps.append("fsync"), fsync(handle)))
    with replacing_file(tmp_path / "a") as temporary:
        temporary.write_text("x")
    assert steps == ["fsync", "rename", "fsync"]
