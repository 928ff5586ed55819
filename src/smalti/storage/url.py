"""Files and folders behind URLs: what is there, how large, open, listed; see `smalti.storage.location`.

There are two ways to read a file, because filesystems differ in what they check:
- Web servers are read through `ranges`, as archives are. It checks that each answer is the range that was asked for,
  and of the file that was opened, and it repeats what failed in passing. What fsspec has for web servers does none of
  this.
- All others are read through the open file that fsspec gives. That of S3 asks for the opened version with each range
  and repeats what failed. One within another file (`zip://`) can be read in a stream alone: to ask it for ranges would
  unpack the file from its start for each.
Both make one request for each block of 4 MiB.
"""

import io
import re
import urllib.parse
from collections.abc import Iterator
from typing import Any, Literal

from smalti.errors import SourceError
from smalti.storage.address import redacted
from smalti.storage.filesystem import filesystem_of, is_web, reading_remote
from smalti.storage.ranges.remote_file import BLOCK_BYTES, BLOCKS_KEPT, RemoteFile, SeekableFile

__all__ = ["list_remote", "open_remote", "remote_kind", "remote_size"]


def remote_kind(url: str) -> Literal["file", "folder"] | None:
    """What is at a URL; None if nothing is. A web server does not tell: there a folder ends with a slash."""
    with reading_remote(url):
        files, path = filesystem_of(url)
        if is_web(files):
            if path.endswith("/"):
                return "folder"
            return "file" if _web_info(files, path) is not None else None
        try:
            info = files.info(path)
        except FileNotFoundError:
            return None
        return "folder" if info["type"] == "directory" else "file"


def remote_size(url: str) -> int:
    """Length in bytes; SourceError if there is  or the server does not say."""
    with reading_remote(url):
        files, path = filesystem_of(url)
        size = files.info(path).get("size")
    if size is None:
        raise SourceError(f"{redacted(url)}: the server does not say how long the file is; download it first")
    return int(size)


def open_remote(url: str) -> io.RawIOBase:
    """A file to read and to seek in, which keeps at most four blocks of 4 MiB."""
    files, path = filesystem_of(url)
    if is_web(files):
        return SeekableFile(RemoteFile(url, strict=True))
    with reading_remote(url):
        kept = {"maxblocks": BLOCKS_KEPT}
        file = files.open(path, "rb", block_size=BLOCK_BYTES, cache_type="blockcache", cache_options=kept)
    return _FsspecFile(url, file, files)


def list_remote(root: str) -> Iterator[tuple[str, int]]:
    """As `smalti.storage.location.list_files`: every file under a URL, in order; one folder at a time is held."""
    with reading_remote(root):
        files, path = filesystem_of(root)
        files.invalidate_cache()  # an earlier listing may be old
    return _listed(files, path.rstrip("/") + "/", "", root)


class _FsspecFile(io.RawIOBase):
    """An open file of fsspec whose errors are SourceErrors; `read` returns all that was asked for, or up to the end."""

    def __init__(self, url: str, file: Any, files: Any) -> None:
        super().__init__()
        self._files = files  # a file system within a file (zip://) closes that one when it is dropped
        self.name = redacted(url)
        self._url = url
        self._file = file

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def tell(self) -> int:
        return int(self._file.tell())

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        with reading_remote(self._url):
            return int(self._file.seek(offset, whence))

    def read(self, size: int | None = -1) -> bytes:
        with reading_remote(self._url):
            return bytes(self._file.read(-1 if size is None else size))

    def readall(self) -> bytes:
        return self.read()

    def readinto(self, buffer: Any) -> int:
        view = memoryview(buffer).cast("B")
        data = self.read(len(view))
        view[: len(data)] = data
        return len(data)

    def close(self) -> None:
        if not self.closed:
            self._file.close()
        super().close()


def _web_info(files: Any, path: str) -> Any:
    """What a web server says of a file, None for 404. (fsspec calls every failure a missing file.)"""
    try:
        return files.info(path)
    except FileNotFoundError as error:
        if error.__cause__ is None or getattr(error.__cause__, "status", None) in (404, 410):
            return None
        raise


def _listed(files: Any, root: str, prefix: str, url: str) -> Iterator[tuple[str, int]]:
    with reading_remote(url):
        entries = files.ls(root + prefix, detail=True)
    folder, found = _bare(files, root + prefix), dict[str, Any]()
    for entry in entries:
        path = _bare(files, str(entry["name"]))
        if not path.startswith(
            folder + "/" if folder else ""
        ):  # a web page may link to anywhere, and a bucket lists its folders themselves
            continue
        name = path.removeprefix(folder).strip("/")
        if name in (".", "..") or "/" in name:
            raise SourceError(f"{redacted(url)}: lists {prefix + name!r}, which is no name of a file; rename it there")
        if name:
            found[name] = entry
    for name in sorted(found):
        if found[name]["type"] == "directory":
            yield from _listed(files, root, f"{prefix}{name}/", url)
        else:
            yield prefix + name, int(found[name]["size"] or 0)


def _bare(files: Any, path: str) -> str:
    """A path as it compares: file systems differ in slashes at the ends, web pages in how they quote."""
    if is_web(files):
        path = urllib.parse.unquote(re.split(r"[?#]", path, maxsplit=1)[0])
    return path.strip("/")
