"""A file that appears whole or not at all."""

import os
import secrets
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import BinaryIO

from smalti.errors import OutputError, OutputExistsError

__all__ = ["atomic_output", "check_output", "told_as_output_error"]


def check_output(path: Path, overwrite: bool) -> None:
    """Raise OutputExistsError or OutputError if `path` cannot become a file; touches nothing."""
    if path.exists() and not path.is_file():
        raise OutputError(f"{path}: is a folder or a device; name a file")
    if not overwrite and os.path.lexists(path):
        raise OutputExistsError(f"{path}: exists already; choose another name, or allow overwriting it (-f)")
    if not path.parent.is_dir():
        raise OutputError(f"{path}: the folder {path.parent} does not exist; make it first")
    if not os.access(path.parent, os.W_OK | os.X_OK):
        raise OutputError(f"{path}: no permission to write in the folder {path.parent}")


@contextmanager
def told_as_output_error(path: Path) -> Iterator[None]:
    """Turn an OSError within into an OutputError of one line about `path`."""
    try:
        yield
    except OSError as error:
        raise OutputError(f"{path}: cannot be written ({error.strerror or error}); nothing was left behind") from error


@contextmanager
def atomic_output(path: Path, overwrite: bool) -> Iterator[BinaryIO]:
    """A new file that becomes `path` when the block ends well, and is removed when it does not.

    It is written in the folder of `path` under a hidden name, synced, renamed, and the folder is synced, so that
    a kill or a power cut at any moment leaves the old file or none under `path`.
    """
    temporary = path.parent / f".{path.name}.{os.getpid()}-{secrets.token_hex(4)}.tmp"
    with told_as_output_error(path):
        try:
            with temporary.open("xb") as file:
                yield file
                file.flush()
                os.fsync(file.fileno())
            check_output(path, overwrite)  # again: the work may have taken hours
            temporary.replace(path)
        except BaseException:
            with suppress(OSError):
                temporary.unlink(missing_ok=True)
            raise
        _sync_folder(path.parent)


def _sync_folder(folder: Path) -> None:
    with suppress(OSError):  # some systems cannot open or sync a folder; the rename stands all the same
        descriptor = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
