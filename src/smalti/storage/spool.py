"""Temporary data of a run: beside the output, where there is room for as much, and removed when the run ends.

The system's temporary folder is often small or in memory, so data that grows with the input goes to the folder of the
output. A spool file has no name: it vanishes when it is closed or its process is killed. A spool folder has a hidden
name, `.NAME.*.spool`, and a lock that says that its run lives; the next run that writes the same NAME removes the
folders of dead runs. If no output is known, spool folders are `smalti-*.spool` in the system's temporary folder.

Layer: within `storage`, above `atomic`.
"""

import io
import os
import re
import secrets
import shutil
import stat
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, BinaryIO

from smalti.errors import OutputError
from smalti.storage.atomic import hidden_prefix, remove_stale_entries, writing

if sys.platform != "win32":
    import fcntl

__all__ = ["spool_file", "spool_folder"]

_HEX_DIGITS = 12


@contextmanager
def spool_folder(beside: Path | None) -> Iterator[Path]:
    """A temporary folder, which is removed with its content at the end of the `with` block.

    beside : the output, a file or a folder that need not exist; the temporary folder is made in the same folder. None
        uses the system's temporary folder

    Removes the folders that killed runs with the same output have left. Raises OutputError if the folder cannot be
    made. Put `writing` around writes to files in it.
    """
    parent, prefix = _parent_and_prefix(beside)
    with _writing(beside):
        _remove_stale(parent, prefix)
        folder, lock = _make_locked(parent, prefix)
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)  # the next run removes what cannot be removed now
        if lock is not None:
            os.close(lock)


def spool_file(beside: Path | None) -> BinaryIO:
    """A nameless temporary file to write and read. It vanishes when it is closed or its process ends.

    beside : as for `spool_folder`

    Raises OutputError if the file cannot be made. Its writes raise OutputError too, with advice, if the disk is full.
    Closing it drops its content and raises nothing.
    """
    parent, _ = _parent_and_prefix(beside)
    with _writing(beside), tempfile.TemporaryFile(dir=parent, prefix=".smalti-", buffering=0) as file:
        return _SpoolFile(_RawSpool(os.dup(file.fileno()), beside))


class _RawSpool(io.FileIO):
    """An open temporary file whose writes raise OutputError."""

    def __init__(self, descriptor: int, beside: Path | None) -> None:
        super().__init__(descriptor, "r+b")
        self._beside = beside

    def write(self, data: Any) -> int:
        with _writing(self._beside):
            return super().write(data)

    def truncate(self, size: int | None = None) -> int:
        with _writing(self._beside):
            return super().truncate(size)


class _SpoolFile(io.BufferedRandom):
    """A spool file whose closing does not fail on a full disk: nobody will read the missing bytes."""

    def close(self) -> None:
        with suppress(OutputError):
            super().close()


def _parent_and_prefix(beside: Path | None) -> tuple[Path, str]:
    """The folder for temporary data, and the prefix of the names of spool folders in it."""
    if beside is None:
        return Path(tempfile.gettempdir()), "smalti-"
    target = Path(os.path.realpath(beside))  # the output replaces the target of a link
    return target.parent, hidden_prefix(target)


@contextmanager
def _writing(beside: Path | None) -> Iterator[None]:
    """Turn an OSError of writing temporary data into an OutputError of one line with advice."""
    if beside is not None:
        with writing(beside):
            yield
        return
    try:
        yield
    except OSError as error:
        reason = error.strerror or str(error)
        line = f"temporary data cannot be written: {reason}; make room, or set TMPDIR to another folder"
        raise OutputError(line, path=tempfile.gettempdir()) from error


def _make_locked(parent: Path, prefix: str) -> tuple[Path, int | None]:
    """A new folder for this user alone, and the descriptor that locks it (None where folders cannot be locked)."""
    while True:
        folder = parent / f"{prefix}{secrets.token_hex(_HEX_DIGITS // 2)}.spool"
        folder.mkdir(mode=0o700)
        if sys.platform == "win32":
            return folder, None
        try:
            lock = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)
        except FileNotFoundError:  # another process took it for stale before it was locked
            continue
        with suppress(OSError):  # without locks no folder ever counts as stale
            fcntl.flock(lock, fcntl.LOCK_EX)
        if folder.exists():
            return folder, lock
        os.close(lock)


def _remove_stale(parent: Path, prefix: str) -> None:
    """Remove the folders of killed runs: those that are not locked."""
    pattern = re.compile(re.escape(prefix) + rf"[0-9a-f]{{{_HEX_DIGITS}}}\.spool")
    remove_stale_entries(parent, pattern, _remove_unlocked)


def _remove_unlocked(folder: Path) -> None:
    if sys.platform == "win32":
        return
    if not stat.S_ISDIR(folder.lstat().st_mode):
        return
    lock = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        shutil.rmtree(folder)
    finally:
        os.close(lock)
