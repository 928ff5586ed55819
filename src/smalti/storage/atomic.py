"""Files that appear whole or not at all: written where nobody sees them, synced, then named.

On Linux a file has no name until it is whole, so that a kill at any moment leaves nothing behind. The system cannot
replace a file by a nameless one in one step, so for that the new file has a hidden name, `.NAME.*.partial`, for an
instant. Where nameless files are unknown, it has that name from the start. A lock on the file says that its writer
lives; the next writer of the same NAME removes the hidden files of dead writers.

`refuse_input` keeps an output from replacing a file that is being read. `sync_files_below` writes a whole folder to
the disk before the folder takes its name. Every layer that writes outputs does it through this module.

Layer: within `storage`, above `errors` alone.
"""

import ctypes
import errno
import os
import re
import secrets
import shutil
import stat
import sys
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from functools import cache
from os import PathLike
from pathlib import Path
from typing import BinaryIO

from smalti.errors import OutputError, OutputExistsError, UsageError

__all__ = [
    "FileIdentity",
    "atomic_file",
    "check_output",
    "hidden_prefix",
    "identity_of",
    "partial_path",
    "refuse_existing",
    "refuse_input",
    "remove_stale_entries",
    "sync_files_below",
    "sync_folder",
    "writing",
]


if sys.platform != "win32":
    import fcntl


_ADVICE = {
    errno.ENOSPC: "make room or choose another place",
    errno.EDQUOT: "make room or choose another place",
    errno.EFBIG: "allow larger files (ulimit -f) or choose another place",
    errno.EROFS: "choose a place that can be written",
    errno.EACCES: "choose a place that can be written",
    errno.EPERM: "choose a place that can be written",
    errno.ENOENT: "make the folder first",
    errno.ENOTDIR: "choose another place",
    errno.EEXIST: "two names collide",
    errno.ENAMETOOLONG: "choose a shorter name",
}
_NO_NAMELESS_FILES = {errno.EOPNOTSUPP, errno.EISDIR, errno.EINVAL}


@contextmanager
def atomic_file(path: Path, *, overwrite: bool = False) -> Iterator[BinaryIO]:
    """A new binary file that takes its name at the end of the `with` block, unless the block raises.

    A new file gets the permissions that `open` gives (0666 less the umask). A file that replaces another takes over
    its permissions and, where the system allows it, its owner and group. A link is followed: its target is replaced.

    Raises OutputExistsError if `path` exists, or appears meanwhile, and `overwrite` is not set; OutputError if the
    system refuses to open, sync or rename. Errors of the block pass through: put `writing` around its writes.
    """
    path = Path(os.path.realpath(path))
    with writing(path):
        refuse_existing(path, overwrite)
        _remove_stale(path)
        draft = _Draft(path)
    try:
        yield draft.file
        with writing(path):
            draft.place(overwrite)
    finally:
        draft.drop()
    sync_folder(path.parent)


def check_output(path: Path, overwrite: bool = False) -> None:
    """Raise OutputExistsError or OutputError if `path` cannot become a file; for before long work, changes nothing."""
    with writing(path):
        if path.exists() and not path.is_file():
            raise OutputError("is a folder or a device; name a file", path=path)
        refuse_existing(path, overwrite)
    if not path.parent.is_dir():
        raise OutputError(f"the folder {path.parent} does not exist; make it first", path=path)
    if not os.access(path.parent, os.W_OK | os.X_OK, effective_ids=os.access in os.supports_effective_ids):
        raise OutputError(f"no permission to write in the folder {path.parent}; choose another place", path=path)


def partial_path(path: Path) -> Path:
    """A new hidden name beside `path`, for a file or folder that is not whole yet."""
    return path.with_name(f"{hidden_prefix(path)}{secrets.token_hex(6)}.partial")


def refuse_existing(path: Path, overwrite: bool) -> None:
    """Raise OutputExistsError if `path` exists, unless it is a file that may be overwritten."""
    if path.is_dir():
        raise OutputExistsError("is a folder; name a file, or a place where there is none", path=path)
    if not overwrite and os.path.lexists(path):
        raise OutputExistsError("exists already; choose another name, or overwrite it (-f)", path=path)
    if path.exists() and not path.is_file():  # a rename would replace /dev/null itself
        raise OutputError("is a device or a pipe; name a file", path=path)


def sync_folder(folder: Path) -> None:
    """Make the renames in a folder survive a loss of power, where the system can."""
    with suppress(OSError):  # Windows and some network file systems cannot open or sync a folder
        descriptor = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


@contextmanager
def writing(path: Path) -> Iterator[None]:
    """Turn an OSError of writing `path` into an OutputError of one line with advice."""
    try:
        yield
    except OSError as error:
        reason = error.strerror or str(error)
        advice = _ADVICE.get(error.errno or 0, "check the disk and try again")
        raise OutputError(f"cannot be written: {reason}; {advice}", path=path) from error


class _Draft:
    """A file that will become `path`. Until then it is locked, and nameless where the system can, else hidden."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._name: Path | None = None
        self.file = _open_nameless(path.parent) or self._open_hidden()

    def place(self, overwrite: bool) -> None:
        """Sync the file and give it its name."""
        if overwrite:
            _copy_permissions(self.file.fileno(), self._path)
        self.file.flush()
        os.fsync(self.file.fileno())
        if (self._name is None or not overwrite) and self._link_at_path(overwrite):
            return
        if not self._name_hidden():
            self._copy_under_hidden_name()
            self.place(overwrite)
            return
        assert self._name is not None
        if sys.platform == "win32":
            self.file.close()  # Windows renames no open file; elsewhere the lock is held to the end
        os.replace(self._name, self._path)  # noqa: PTH105 (known to be atomic)
        self._name = None

    def drop(self) -> None:
        """Close the file, and remove its hidden name if it still has one."""
        with suppress(OSError):  # a full disk fails here again, which must not hide the first error
            self.file.close()
        if self._name is not None:
            with suppress(OSError):
                self._name.unlink()

    def _link(self, target: Path) -> None:
        if self._name is not None:
            os.link(self._name, target)
            return
        descriptor = self.file.fileno()
        # src_dir_fd has no effect on an absolute source, but only with it does Python pass on follow_symlinks
        os.link(f"/proc/self/fd/{descriptor}", target, src_dir_fd=descriptor, follow_symlinks=True)

    def _link_at_path(self, overwrite: bool) -> bool:
        """Name the file by a link. Unlike a rename, it does not replace a file that appeared meanwhile."""
        try:
            self._link(self._path)
            return True
        except FileExistsError as error:
            if not overwrite:
                line = "came into being meanwhile; choose another name (or -f)"
                raise OutputExistsError(line, path=self._path) from error
        except OSError:  # a file system without links, or a system that gives nameless files no name
            refuse_existing(self._path, overwrite)
        return False

    def _name_hidden(self) -> bool:
        """Give a nameless file its hidden name; False if the system refuses."""
        if self._name is None:
            name = partial_path(self._path)
            try:
                self._link(name)
            except OSError:
                return False
            self._name = name
        return True

    def _copy_under_hidden_name(self) -> None:
        nameless, self.file = self.file, self._open_hidden()
        with nameless:
            nameless.seek(0)
            shutil.copyfileobj(nameless, self.file, 1 << 20)

    def _open_hidden(self) -> BinaryIO:
        while True:
            self._name = partial_path(self._path)
            file = self._name.open("x+b")
            _lock(file.fileno())
            if os.fstat(file.fileno()).st_nlink:  # else another process took it for stale before it was locked
                return file
            file.close()


def _open_nameless(folder: Path) -> BinaryIO | None:
    """A file without a name in `folder`, which vanishes when its process ends; None where the system has none."""
    if sys.platform != "linux":
        return None
    try:
        descriptor = os.open(folder, os.O_TMPFILE | os.O_RDWR, 0o666)
    except OSError as error:
        if error.errno in _NO_NAMELESS_FILES:
            return None
        raise
    _lock(descriptor)
    return os.fdopen(descriptor, "w+b")


def _copy_permissions(descriptor: int, path: Path) -> None:
    """Give an open file the permissions of the file at `path`, if there is one, and its owner where that is allowed."""
    if sys.platform == "win32" or not path.exists():
        return
    old, new = path.stat(), os.fstat(descriptor)
    if (old.st_uid, old.st_gid) != (new.st_uid, new.st_gid):
        with suppress(PermissionError):  # then the file of another user becomes ours, as with any rename
            os.fchown(descriptor, old.st_uid, old.st_gid)
    os.fchmod(descriptor, stat.S_IMODE(old.st_mode) & 0o777)


def hidden_prefix(path: Path) -> str:
    """The prefix of hidden names beside `path`: its own name after a dot, cut so that the whole stays a valid name."""
    return f".{os.fsencode(path.name)[:200].decode(errors='ignore')}."


def _lock(descriptor: int) -> None:
    """Lock an open file until it is closed or its process is killed. Without locks no file ever counts as stale."""
    if sys.platform != "win32":
        with suppress(OSError):
            fcntl.flock(descriptor, fcntl.LOCK_EX)


def _remove_stale(path: Path) -> None:
    """Remove the hidden files of killed writers of `path`: those that are not locked."""
    pattern = re.compile(re.escape(hidden_prefix(path)) + r"[0-9a-f]{12}\.partial")
    remove_stale_entries(path.parent, pattern, _remove_unlocked)


def remove_stale_entries(folder: Path, pattern: re.Pattern[str], remove_unlocked: Callable[[Path], None]) -> None:
    """Call `remove_unlocked` for each entry of a folder whose name matches; it raises OSError for a locked one."""
    stale: list[Path] = []
    with suppress(OSError), os.scandir(folder) as entries:  # a folder may be writable but not readable
        stale += [Path(entry.path) for entry in entries if pattern.fullmatch(entry.name)]
    for path in stale:
        with suppress(OSError):  # in use, gone by now, or another user's
            remove_unlocked(path)


def _remove_unlocked(partial: Path) -> None:
    if sys.platform == "win32":
        return
    if not stat.S_ISREG(partial.lstat().st_mode):
        return
    descriptor = os.open(partial, os.O_RDWR | os.O_NOFOLLOW)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        partial.unlink()
    finally:
        os.close(descriptor)


FileIdentity = tuple[int, int]
"""Device and inode, which all names of one file share."""


def identity_of(path: str | PathLike[str]) -> FileIdentity | None:
    """The identity of the file at `path`, links followed; None if there is no such file."""
    try:
        found = os.stat(path)  # noqa: PTH116 (a path may be text)
    except (OSError, ValueError):  # absent, forbidden, or no valid path: then no output replaces it either
        return None
    return found.st_dev, found.st_ino


def refuse_input(output: str | PathLike[str], inputs: Iterable[str | PathLike[str]]) -> None:
    """Raise UsageError if `output` is one of the input files, by any of its names. Nothing is opened.

    inputs : examined only if `output` exists
    """
    target = identity_of(output)
    if target is None:
        return
    for path in inputs:
        if identity_of(path) == target:
            raise UsageError("is one of the files that are read; name another output", path=os.fspath(output))


def sync_files_below(folder: Path) -> None:
    """Write `folder` and all files and folders below it to the disk. OSError if the system cannot.

    On Linux this is one call for the file system that holds the folder, because one call for each of many thousand
    small files takes minutes. Other file systems are not synced. Elsewhere it is one call for each file and folder.
    """
    sync_file_system = _syncfs()
    if sync_file_system is not None:
        _with_descriptor(folder, sync_file_system)
        return
    for root, _, names in os.walk(folder, topdown=False):
        for name in names:
            _with_descriptor(Path(root) / name, os.fsync)
        if sys.platform != "win32":  # which cannot open a folder
            _with_descriptor(Path(root), os.fsync)


def _with_descriptor(path: Path, sync: Callable[[int], None]) -> None:
    # Windows syncs only files that are open for writing
    descriptor = os.open(path, os.O_RDWR if sys.platform == "win32" else os.O_RDONLY)
    try:
        sync(descriptor)
    finally:
        os.close(descriptor)


@cache
def _syncfs() -> Callable[[int], None] | None:
    """Linux's system call `syncfs`, which Python lacks; None where there is none."""
    if sys.platform != "linux":
        return None
    try:
        call = ctypes.CDLL(None, use_errno=True).syncfs
    except (AttributeError, OSError):
        return None

    def syncfs(descriptor: int) -> None:
        if call(descriptor) != 0:
            number = ctypes.get_errno()
            raise OSError(number, os.strerror(number))

    return syncfs
