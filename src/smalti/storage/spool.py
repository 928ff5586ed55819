"""Temporary data of a run: beside its output, where there is room for as much, and gone when the run ends.

The system's temporary folder is often small or in memory. So what grows with the input is spooled to the folder of
the output. A spool file has no name: it vanishes when it is closed, by a kill too. A spool folder has a hidden name,
`.NAME.*.spool`, and a lock that says that its run lives. The next run that writes the same NAME removes those of the
dead. Where no output is known, in the system's temporary folder, they are called `smalti-*.spool`.
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
from smalti.storage.atomic import writing

if sys.platform != "win32":
    import fcntl

__all__ = ["spool_file", "spool_folder"]

_HEX_DIGITS = 12


@contextmanager
def spool_folder(beside: Path | None) -> Iterator[Path]:
    """A temporary folder, which is removed with all that is in it at the end of the `with` block.

    beside : the output, a file or a folder that need not exist; the temporary folder lies in the same folder. None
        takes the system's temporary folder

    Removes folders that killed runs with the same output left. Raises OutputError if the folder cannot be made; put
    `writing` around writes to plain files in it.
    """
    where, start = _place(beside)
    with _writing(beside):
        _remove_stale(where, start)
        folder, lock = _make_locked(where, start)
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)  # the next run removes what cannot be removed now
        if lock is not None:
            os.close(lock)


def spool_file(beside: Path | None) -> BinaryIO:
    """A nameless temporary file to write and read, which vanishes when it is closed or its process ends.

    beside : as for `spool_folder`

    Raises OutputError if the file cannot be made. Its writes raise OutputError too, with advice, if the disk is full.
    Closing it drops what is in it and raises nothing.
    """
    where, _ = _place(beside)
    with _writing(beside), tempfile.TemporaryFile(dir=where, prefix=".smalti-", buffering=0) as file:
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
    """Closing does not fail on a full disk: nobody reads again what was not written."""

    def close(self) -> None:
        with suppress(OutputError):
            super().close()


def _place(beside: Path | None) -> tuple[Path, str]:
    """The folder for temporary data, and how the names of spool folders begin there."""
    if beside is None:
        return Path(tempfile.gettempdir()), "smalti-"
    target = Path(os.path.realpath(beside))  # a link's target is what is written
    return target.parent, f".{os.fsencode(target.name)[:200].decode(errors='ignore')}."


@contextmanager
def _writing(beside: Path | None) -> Iterator[None]:
    """Turn the system's refusals to write temporary data into an OutputError of one line."""
    if beside is not None:
        with writing(beside):
            yield
        return
    try:
        yield
    except OSError as error:
        raise OutputError(
            f"{tempfile.gettempdir()}: temporary data cannot be written: {error.strerror or error}; make room, or set "
            "TMPDIR to another folder"
        ) from error


def _make_locked(where: Path, start: str) -> tuple[Path, int | None]:
    """A new folder for this user alone, and the open lock on it (None where folders cannot be locked)."""
    while True:
        folder = where / f"{start}{secrets.token_hex(_HEX_DIGITS // 2)}.spool"
        folder.mkdir(mode=0o700)
        if sys.platform == "win32":
            return folder, None
        try:
            lock = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)
        except FileNotFoundError:  # taken for a dead one, between its making and its lock
            continue
        with suppress(OSError):  # a system without locks never finds a folder abandoned
            fcntl.flock(lock, fcntl.LOCK_EX)
        if folder.exists():
            return folder, lock
        os.close(lock)


def _remove_stale(where: Path, start: str) -> None:
    """Remove folders of killed runs: those that nobody holds a lock on."""
    if sys.platform == "win32":
        return
    pattern = re.compile(re.escape(start) + rf"[0-9a-f]{{{_HEX_DIGITS}}}\.spool")
    stale: list[Path] = []
    with suppress(OSError), os.scandir(where) as entries:  # a folder may be writable and not readable
        stale += [Path(entry.path) for entry in entries if pattern.fullmatch(entry.name)]
    for folder in stale:
        with suppress(OSError):  # in use, gone by now, or another user's
            _remove_unlocked(folder)


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
