"""Files and folders behind URLs: what is there, how large, open, listed. `smalti.storage.location` calls these.

There are two ways to read a file, because filesystems differ in what they check:
- Web servers are read through `ranges`, as archives are. It checks that each answer is the requested range, and that
  it comes from the file that was opened. It repeats requests that fail in passing. fsspec's own reader of web servers
  does none of this.
- All others are read through the open file that fsspec gives. For S3, it requests the opened version with each range
  and repeats what failed. A file within another file (`zip://`) can only be read as a stream: each request for a range
  would unpack the file from its start.
Both make one request for each block of 4 MiB.

Layer: within `storage`, above `ranges`.
"""

import io
import re
import urllib.parse
from collections.abc import Iterator
from typing import Any, Literal

from smalti.errors import SourceError
from smalti.storage.address import redacted
from smalti.storage.filesystem import filesystem_of, is_web, reading_remote
from smalti.storage.ranges.remote_file import BLOCK_BYTES, MAX_CACHED_BLOCKS, ReadOnlyFile, RemoteFile, SeekableFile

__all__ = ["list_remote", "open_remote", "remote_kind", "remote_size"]


def remote_kind(url: str) -> Literal["file", "folder"] | None:
    """Whether a URL is a file or a folder; None if it does not exist. On a web server, a folder ends with a slash."""
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
    """Length in bytes; SourceError if there is no such file or the server does not say."""
    with reading_remote(url):
        files, path = filesystem_of(url)
        size = files.info(path).get("size")
    if size is None:
        raise SourceError("the server does not say how long the file is; download it first", path=redacted(url))
    return int(size)


def open_remote(url: str) -> ReadOnlyFile:
    """A file to read and to seek in. At most four blocks of 4 MiB are cached."""
    files, path = filesystem_of(url)
    if is_web(files):
        return SeekableFile(RemoteFile(url, strict=True))
    with reading_remote(url):
        cache = {"maxblocks": MAX_CACHED_BLOCKS}
        file = files.open(path, "rb", block_size=BLOCK_BYTES, cache_type="blockcache", cache_options=cache)
    return _FsspecFile(url, file, files)


def list_remote(root: str) -> Iterator[tuple[str, int]]:
    """Every file below a URL, as `smalti.storage.location.list_files` yields them."""
    with reading_remote(root):
        files, path = filesystem_of(root)
        files.invalidate_cache()  # an earlier listing may be out of date
    return _listed(files, path.rstrip("/") + "/", "", root)


class _FsspecFile(ReadOnlyFile):
    """An open file of fsspec whose errors are SourceErrors. `read` is never short before the end of the file."""

    def __init__(self, url: str, file: Any, files: Any) -> None:
        super().__init__()
        self._files = files  # keeps it alive: a filesystem within a file (zip://) closes that file when it is dropped
        self.name = redacted(url)
        self._url = url
        self._file = file

    def tell(self) -> int:
        return int(self._file.tell())

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        with reading_remote(self._url):
            return int(self._file.seek(offset, whence))

    def read(self, size: int | None = -1) -> bytes:
        with reading_remote(self._url):
            return bytes(self._file.read(-1 if size is None else size))

    def close(self) -> None:
        if not self.closed:
            self._file.close()
        super().close()


def _web_info(files: Any, path: str) -> Any:
    """A web server's facts about a file, None for 404. (fsspec reports every failure as a missing file.)"""
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
        # a web page may link to anywhere, and a bucket lists its folders among their own entries
        if not path.startswith(folder + "/" if folder else ""):
            continue
        name = path.removeprefix(folder).strip("/")
        if name in (".", "..") or "/" in name:
            line = f"lists {prefix + name!r}, which is no name of a file; rename it there"
            raise SourceError(line, path=redacted(url))
        if name:
            found[name] = entry
    for name in sorted(found):
        if found[name]["type"] == "directory":
            yield from _listed(files, root, f"{prefix}{name}/", url)
        else:
            yield prefix + name, int(found[name]["size"] or 0)


def _bare(files: Any, path: str) -> str:
    """A path in a form that compares: filesystems differ in slashes at the ends, web pages in their quoting."""
    if is_web(files):
        path = urllib.parse.unquote(re.split(r"[?#]", path, maxsplit=1)[0])
    return path.strip("/")
