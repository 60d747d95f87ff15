"""Files and folders that are replaced: whole or not at all, however a process ends."""

from __future__ import annotations

import errno
import fcntl
import os
from itertools import count
from pathlib import Path

import pytest

from geno_model import files
from geno_model.files import remove_folder, replacing_file, replacing_folder, sweep
from tests.killing import killed_before

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


@pytest.mark.parametrize("can_exchange", [True, False])
def test_killed_before_any_of_its_steps_a_replacement_leaves_one_whole_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, can_exchange: bool
):
    if not can_exchange:
        monkeypatch.setattr(files, "_exchange", lambda first, second: False)
    path, seen = tmp_path / "checkpoint", set()

    def write(text: str) -> None:
        with replacing_folder(path) as temporary:
            for name in ("a", "b"):
                (temporary / name).write_text(text)

    for step in count():
        write("old")
        is_killed = killed_before(step, lambda: write("new"))
        if can_exchange:  # at every moment; without, the next to write here puts it back
            assert path.is_dir()
        sweep(tmp_path)
        assert [found.name for found in tmp_path.iterdir()] == ["checkpoint"]
        contents = {(path / name).read_text() for name in ("a", "b")}
        assert len(contents) == 1
        seen |= contents
        if not is_killed:
            break
    assert seen == {"old", "new"} and step >= 15


def test_killed_before_any_of_its_steps_a_removal_leaves_the_whole_folder_or_nothing(tmp_path: Path):
    path, seen = tmp_path / "partial", set()
    for step in count():
        path.mkdir(exist_ok=True)
        for name in ("a", "b"):
            (path / name).touch()
        is_killed = killed_before(step, lambda: remove_folder(path))
        sweep(tmp_path)
        left = [found.name for found in tmp_path.rglob("*")]
        assert sorted(left) in ([], ["a", "b", "partial"])
        seen.add(len(left))
        if not is_killed:
            break
    assert seen == {0, 3} and not left
    remove_folder(path)  # where there is none, nothing is done


def test_a_link_to_a_folder_is_replaced_and_what_it_leads_to_is_left(tmp_path: Path):
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "elsewhere" / "a").touch()
    (tmp_path / "link").symlink_to("elsewhere")
    with replacing_folder(tmp_path / "link") as temporary:
        (temporary / "b").touch()
    left = sorted(found.relative_to(tmp_path).as_posix() for found in tmp_path.rglob("*"))
    assert left == ["elsewhere", "elsewhere/a", "link", "link/b"]


def test_of_two_who_make_the_same_folder_the_first_can_be_kept(tmp_path: Path):
    with replacing_folder(tmp_path / "cache", overwrite=False) as slow:
        (slow / "slow").touch()
        with replacing_folder(tmp_path / "cache", overwrite=False) as fast:
            (fast / "fast").touch()
    assert [found.name for found in tmp_path.rglob("*")] == ["cache", "fast"]


def test_what_a_killed_process_left_is_removed_by_the_next_writer(tmp_path: Path):
    def write(name: str) -> None:
        with replacing_file(tmp_path / name) as temporary:
            temporary.write_text("half")

    assert killed_before(4, lambda: write("r.jsonl"))
    assert [found.name for found in tmp_path.rglob("r.jsonl")] and len(list(tmp_path.glob(LEFTOVERS))) == 1
    write("another")
    assert [found.name for found in tmp_path.iterdir()] == ["another"]


def test_what_another_process_is_writing_is_left_alone(tmp_path: Path):
    with replacing_file(tmp_path / "slow") as slow:
        slow.write_text("slow")
        with replacing_file(tmp_path / "fast") as fast:
            fast.write_text("fast")
        sweep(tmp_path)
    assert (tmp_path / "slow").read_text() == "slow"


def test_where_a_file_system_has_no_locks_files_are_written_and_nothing_is_swept(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    def refuse(handle: int, how: int) -> None:
        raise OSError(errno.ENOSYS, "Function not implemented")

    monkeypatch.setattr(fcntl, "flock", refuse)
    with replacing_file(tmp_path / "slow") as slow:
        slow.write_text("slow")
        with replacing_file(tmp_path / "fast") as fast:
            fast.write_text("fast")
    assert sorted(found.name for found in tmp_path.iterdir()) == ["fast", "slow"]


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
