"""Files and folders that appear whole or not at all, wherever this project writes one.

Belongs here: replacing a file or a folder in one step, and removing what a killed process left of its attempt. Does not
belong here: what is written.

Concept: what is being written lies under its own name in a hidden work folder beside its final place,
`.<name>.<random>.geno-tmp/`, in which its process has locked a file (`flock`). It is flushed to the disk and then
renamed; a folder that is there already is exchanged with the new one in a single system call, so that at no moment is
there neither. A lock ends with its process, whichever way that ends: the next writer in the same place removes every
work folder that nobody has locked. Process ids play no part, so that a repeated one stops nobody.
"""

from __future__ import annotations

import ctypes
import errno
import fcntl
import os
import shutil
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

_SUFFIX = ".geno-tmp"
_LOCK = ".lock"
_OLD = ".old"  # in a work folder: what was replaced, where a file system cannot exchange two folders
_AT_FDCWD, _RENAME_EXCHANGE, _RENAME_SWAP = -100, 2, 2  # <fcntl.h>, <linux/fs.h>, <stdio.h> of macOS


@contextmanager
def replacing_file(path: Path) -> Iterator[Path]:
    """Give a path to write to; the file takes the place of `path` when the block ends without an error.

    The temporary file has the same name in another folder, so its suffixes are those of `path`. Folders above `path`
    are made. What else the block writes beside the temporary file is removed with it.
    Raises OSError where the folder of `path` cannot be written to, at once.
    """
    with _work_folder(path) as folder:
        temporary = folder / path.name
        yield temporary
        _flush(temporary)
        os.replace(temporary, path)
        _flush(path.parent)


@contextmanager
def replacing_folder(path: Path, *, overwrite: bool = True) -> Iterator[Path]:
    """Give an empty folder to fill; it takes the place of the folder `path` when the block ends without an error.

    Folders above `path` are made. overwrite: False keeps a folder that another process has put there meanwhile.
    Raises OSError where they cannot be written to, at once.
    """
    with _work_folder(path) as folder:
        temporary = folder / path.name
        temporary.mkdir()
        yield temporary
        for found in [*temporary.rglob("*"), temporary]:
            _flush(found)
        try:
            os.replace(temporary, path)
        except OSError as error:
            if error.errno not in (errno.ENOTEMPTY, errno.EEXIST) and not path.is_symlink():
                raise
            if overwrite and not _exchange(temporary, path):
                os.replace(path, folder / _OLD)  # killed here: `sweep` puts it back
                os.replace(temporary, path)
        _flush(path.parent)


def remove_folder(path: Path) -> None:
    """Remove a folder, if it is there, in one step: a process that is killed meanwhile leaves all of it or nothing."""
    if path.exists():
        with _work_folder(path) as folder, suppress(FileNotFoundError):  # another process was faster
            os.replace(path, folder / path.name)


def sweep(folder: Path) -> None:
    """Remove from `folder` what killed processes left of files and folders that they were writing there."""
    for found in folder.glob(f".*{_SUFFIX}"):
        with suppress(OSError):  # another process was faster, or it is not ours to remove
            if (handle := lock(found, surely=True)) is not None:
                _remove(found, handle)


def lock(folder: Path, *, surely: bool = False) -> int | None:
    """A handle, to be closed, that keeps a folder locked; None where another process has it or has removed it.

    It is a file in the folder that is locked: a lock of the folder itself would not reach the other machines of a
    network file system. Where the file system has no locks, the handle locks nothing; surely: None there, too.
    """
    path = folder / _LOCK
    try:
        handle = os.open(path, os.O_RDWR | os.O_CREAT, 0o600)
    except FileNotFoundError:
        return None
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        is_ours = os.path.samestat(os.fstat(handle), path.stat())
    except (BlockingIOError, FileNotFoundError):
        is_ours = False
    except OSError:
        is_ours = not surely
    if not is_ours:
        os.close(handle)
    return handle if is_ours else None


@contextmanager
def _work_folder(path: Path) -> Iterator[Path]:
    path.parent.mkdir(parents=True, exist_ok=True)
    sweep(path.parent)
    handle = None
    while handle is None:  # a sweep of another process can come between the next two lines
        folder = Path(tempfile.mkdtemp(prefix=f".{path.name}.", suffix=_SUFFIX, dir=path.parent))
        handle = lock(folder)
    try:
        yield folder
    finally:
        _remove(folder, handle)


def _remove(folder: Path, handle: int) -> None:
    """Remove a locked work folder; what was moved into it and has no successor goes back to its place."""
    final = folder.with_name(folder.name.removesuffix(_SUFFIX).rpartition(".")[0][1:])
    if (folder / _OLD).exists() and not final.exists():
        os.replace(folder / _OLD, final)
    shutil.rmtree(folder, ignore_errors=True)
    os.close(handle)
    with suppress(OSError):  # a network file system keeps an open file, and so its folder, until it is closed
        folder.rmdir()


def _flush(path: Path) -> None:
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def _exchange(first: Path, second: Path) -> bool:
    """Exchange the names of two folders in one step; False where the system or the file system cannot."""
    libc = ctypes.CDLL(None, use_errno=True)
    names = os.fsencode(first), os.fsencode(second)
    with suppress(AttributeError):  # a C library without the call
        if sys.platform == "darwin":
            return libc.renamex_np(*names, _RENAME_SWAP) == 0
        return libc.renameat2(_AT_FDCWD, names[0], _AT_FDCWD, names[1], _RENAME_EXCHANGE) == 0
    return False
