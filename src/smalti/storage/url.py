"""Files behind URLs, through fsspec, which is imported when the first URL is met.

Credentials come from where each protocol's package looks for them (environment, configuration files), never from
smalti. Errors name the URL without what may be secret in it, and do not drag the library's own error along, which
names all of it.
"""

import io
import re
import urllib.parse
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Literal

from smalti.errors import MissingDependencyError, SmaltiError, SourceError
from smalti.storage.location import redacted

__all__ = ["list_remote", "open_remote", "reading_remote", "remote_kind", "remote_size"]

_NO_RANGES = (
    "the server gives no ranges of bytes; download the file first, or put simplecache:: in front of the address"
)
_BLOCK_BYTES = 4 << 20  # of one request; large enough that its delay does not count
_BLOCKS_KEPT = 4
_SECRET_PARTS = re.compile(r"[a-z][a-z0-9+.-]+://[^\s'\"<>()]+", re.IGNORECASE)


def remote_kind(url: str) -> Literal["file", "folder"] | None:
    """What is at a URL; None if nothing is. A web server does not tell: there a folder ends with a slash."""
    with reading_remote(url):
        files, path = _filesystem(url)
        if _is_http(files):
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
        files, path = _filesystem(url)
        size = files.info(path).get("size")
    if size is None:
        raise SourceError(f"{redacted(url)}: the server does not say how long the file is; download it first")
    return int(size)


def open_remote(url: str) -> io.RawIOBase | io.BytesIO:
    """A file to read and to seek in, which keeps at most four blocks of 4 MiB."""
    options: dict[str, Any] = {"block_size": _BLOCK_BYTES, "cache_type": "blockcache"}
    with reading_remote(url):
        files, path = _filesystem(url)
        if _is_http(files):
            info = files.info(path)
            if info["size"] == 0:  # fsspec takes it for a stream of unknown length
                return io.BytesIO()
            if info["size"] is None or not info.get("partial", True):
                raise SourceError(f"{redacted(url)}: {_NO_RANGES}")
            options["size"] = info["size"]  # else it is asked for again
            # Of a server that packs what it sends and gives no ranges, fsspec would take the whole for a range.
            options["headers"] = {**files.kwargs.get("headers", {}), "Accept-Encoding": "identity"}
        file = files.open(path, "rb", cache_options={"maxblocks": _BLOCKS_KEPT}, **options)
    return _RemoteFile(url, file, files)


def list_remote(root: str) -> Iterator[tuple[str, int]]:
    """As `smalti.storage.location.list_files`: every file under a URL, in order; one folder at a time is held."""
    with reading_remote(root):
        files, path = _filesystem(root)
        files.invalidate_cache()  # an earlier listing may be old
    return _listed(files, path.rstrip("/") + "/", "", root)


@contextmanager
def reading_remote(url: str) -> Iterator[None]:
    """Turn whatever a protocol's package raises into a SourceError of one line without credentials."""
    try:
        yield
    except SmaltiError:
        raise
    except ImportError as error:
        raise _missing(url, error) from None
    except Exception as error:  # noqa: BLE001 (each package has errors of its own, which share no other root)
        # `from None`, because a printed cause would show the whole URL.
        raise SourceError(f"{redacted(url)}: {_reason(url, error)}") from None


class _RemoteFile(io.RawIOBase):
    """A file of fsspec whose errors are SourceErrors; `read` returns all that was asked for, or up to the end."""

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


def _filesystem(url: str) -> tuple[Any, str]:
    try:
        from fsspec.core import url_to_fs  # type: ignore[import-untyped, unused-ignore]  # noqa: PLC0415 (optional)
    except ImportError as error:
        raise MissingDependencyError.of("a URL", "fsspec", "remote") from error
    files, path = url_to_fs(url)
    return files, str(path)


def _is_http(files: Any) -> bool:
    protocols = files.protocol if isinstance(files.protocol, tuple) else (files.protocol,)
    return "http" in protocols or "https" in protocols


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
    if _is_http(files):
        path = urllib.parse.unquote(re.split(r"[?#]", path, maxsplit=1)[0])
    return path.strip("/")


def _missing(url: str, error: ImportError) -> MissingDependencyError:
    scheme = url.partition("://")[0].rpartition("::")[2].lower()
    if scheme in ("s3", "s3a"):
        return MissingDependencyError.of("s3://", "s3fs", "s3")
    if scheme in ("http", "https"):
        return MissingDependencyError.of(f"{scheme}://", "aiohttp", "remote")
    return MissingDependencyError(f"{scheme}:// needs a package that is not installed: {str(error).splitlines()[0]}")


def _reason(url: str, error: BaseException) -> str:
    """What went wrong, in one line, and what to do."""
    if isinstance(error, FileNotFoundError) and error.__cause__ is not None:
        error = error.__cause__  # what fsspec calls a missing file may be a server that does not answer
    status = getattr(error, "status", None)
    if isinstance(error, FileNotFoundError) or status in (404, 410):
        return "no such file; check the address"
    if isinstance(error, PermissionError) or status in (401, 403):
        return "access was refused; check the address and your credentials"
    if isinstance(error, IsADirectoryError):
        return "is a folder; name a file"
    if isinstance(error, ValueError) and "range requests" in str(error):  # fsspec's, when it asks for a second block
        return _NO_RANGES
    lines = str(error).splitlines() or [""]
    text = _SECRET_PARTS.sub(lambda match: redacted(match.group()), lines[0])
    for secret in _secrets(url):
        text = text.replace(secret, "…")
    return f"cannot be read: {type(error).__name__}{': ' if text else ''}{text}; check the address and the network"


def _secrets(url: str) -> Iterator[str]:
    """The parts of a URL that `shown` leaves out."""
    for link in url.split("::"):
        rest = link.partition("://")[2]
        user = rest.partition("/")[0].rpartition("@")[0]
        yield from (part for part in (user, *re.split(r"[?#]", rest)[1:]) if part)
        password = user.partition(":")[2]
        if password:
            yield password
