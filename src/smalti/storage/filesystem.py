"""The filesystem of a URL, from fsspec, which is imported when the first URL is used.

Credentials come from storage options, or from wherever the package of a protocol looks for them (environment,
configuration files). Errors name the URL without its secret parts. They do not carry the package's own error along,
because that one names the whole URL.

Layer: within `storage`, above `address`.
"""

import re
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from smalti.errors import MissingDependencyError, SmaltiError, SourceError
from smalti.storage.address import options_of, redacted, secrets_of

__all__ = ["NO_RANGES", "filesystem_of", "is_web", "reading_remote"]

NO_RANGES = "the server gives no ranges of bytes; download the file first, or put simplecache:: in front of the address"
_URL_IN_TEXT = re.compile(r"[a-z][a-z0-9+.-]+://[^\s'\"<>()]+", re.IGNORECASE)


def filesystem_of(url: str) -> tuple[Any, str]:
    """The filesystem of a URL, with its storage options, and the path of the file in it. No request is made yet.

    Raises SourceError, or MissingDependencyError if the scheme needs a package that is not installed.
    """
    with reading_remote(url):
        try:
            from fsspec.core import url_to_fs  # type: ignore[import-untyped, unused-ignore]  # noqa: PLC0415 (optional)
        except ModuleNotFoundError as error:
            extra = "s3" if url.lower().startswith("s3") else "remote"
            raise MissingDependencyError.of("a URL", error.name, extra) from error
        files, path = url_to_fs(str(url), **options_of(url))
        return files, str(path)


def is_web(files: Any) -> bool:
    """Whether a filesystem reads from web servers."""
    kind = type(files)  # a caching filesystem claims the __class__ of the one that it caches
    protocols = kind.protocol if isinstance(kind.protocol, tuple) else (kind.protocol,)
    return "https" in protocols


@contextmanager
def reading_remote(url: str) -> Iterator[None]:
    """Turn any error of a protocol's package into a SourceError of one line without credentials."""
    try:
        yield
    except SmaltiError:
        raise
    except ImportError as error:
        raise _missing(url, error) from None
    except Exception as error:  # noqa: BLE001 (each package has errors of its own, without another common root)
        # `from None`, because a printed cause would show the whole URL
        raise SourceError(_reason(url, error), path=redacted(url)) from None


def _missing(url: str, error: ImportError) -> MissingDependencyError:
    scheme = url.partition("://")[0].rpartition("::")[2].lower()
    if scheme in ("s3", "s3a"):
        return MissingDependencyError.of("s3://", "s3fs", "s3")
    if scheme in ("http", "https"):
        return MissingDependencyError.of(f"{scheme}://", "aiohttp", "remote")
    return MissingDependencyError(f"{scheme}:// needs a package that is not installed: {str(error).splitlines()[0]}")


def _reason(url: str, error: BaseException) -> str:
    """In one line, what went wrong and what to do."""
    if isinstance(error, FileNotFoundError) and error.__cause__ is not None:
        error = error.__cause__  # fsspec reports a missing file even if the server does not answer
    status = getattr(error, "status", None)
    if isinstance(error, FileNotFoundError) or status in (404, 410):
        return "no such file; check the address"
    if isinstance(error, PermissionError) or status in (401, 403):
        return "access was refused; check the address and your credentials"
    if isinstance(error, IsADirectoryError):
        return "is a folder; name a file"
    if isinstance(error, ValueError) and "range requests" in str(error):  # fsspec's own, on its second request
        return NO_RANGES
    lines = str(error).splitlines() or [""]
    text = _URL_IN_TEXT.sub(lambda match: redacted(match.group()), lines[0])
    for secret in secrets_of(url):
        text = text.replace(secret, "…")
    return f"cannot be read: {type(error).__name__}{': ' if text else ''}{text}; check the address and the network"
