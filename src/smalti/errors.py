"""The errors smalti raises, in one tree, each with the exit code that the command line gives it.

Every message is one line: the file, if there is one, then what went wrong, and what to do. This is the lowest layer;
it imports nothing of smalti.

    SmaltiError(ValueError)            1
    ├── UsageError                     2   arguments that make no sense
    │   └── ImageIndexError            2   an index beyond the images of an archive (also an IndexError)
    ├── SourceError                    1   images that cannot be read, or are not what the operation needs
    │   └── DownloadError              1   no mirror of a named set answered
    ├── ModelError                     1   a model file that cannot be read, or does not fit the images
    ├── MissingDependencyError         1   an optional part of smalti is not installed
    ├── NotAnArchiveError              1   a file that is not a smalti archive
    ├── DamagedArchiveError            4   an archive whose bytes have changed since it was written
    ├── UnsupportedArchiveError        5   a version or a required feature that this release does not know
    ├── OutputError                    1   an output that cannot be written
    │   └── OutputExistsError          6   an output that would be overwritten
    └── LimitExceededError             7   a file that asks for more than the caller allows
"""

from os import PathLike

__all__ = [
    "DamagedArchiveError",
    "DownloadError",
    "ImageIndexError",
    "LimitExceededError",
    "MissingDependencyError",
    "ModelError",
    "NotAnArchiveError",
    "OutputError",
    "OutputExistsError",
    "SmaltiError",
    "SourceError",
    "UnsupportedArchiveError",
    "UsageError",
]


class SmaltiError(ValueError):
    """Root of every error that smalti raises on purpose. As text it is `message`, after `path` if there is one.

    message : one line
    path : the file that the error is about, as it may be printed; None if the message names it, or if there is none
    """

    exit_code = 1

    def __init__(self, message: str = "", *, path: str | PathLike[str] | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.path = path

    def __str__(self) -> str:
        return self.message if self.path is None else f"{self.path}: {self.message}"


class UsageError(SmaltiError):
    """Arguments that make no sense: a bad range, options that exclude each other."""

    exit_code = 2


class ImageIndexError(UsageError, IndexError):
    """An index beyond the images of an archive. It is also an IndexError, so that plain iteration ends as it should."""


class SourceError(SmaltiError):
    """Images that cannot be read, or whose shape or dtype is not what the operation needs."""


class DownloadError(SourceError):
    """No mirror of a named set of images answered with the right bytes."""


class ModelError(SmaltiError):
    """A model file that cannot be read, or a model that does not fit the images."""


class MissingDependencyError(SmaltiError):
    """An optional part of smalti is not installed; the message names the install command."""

    @classmethod
    def of(cls, what: str, module: str | None, extra: str) -> "MissingDependencyError":
        """Make the error for `what` that needs `module`, which the extra `extra` installs."""
        return cls(f'{what} needs {module}, which is not installed; pip install "smalti[{extra}]"')


class NotAnArchiveError(SmaltiError):
    """A file that is not a smalti archive at all."""


class DamagedArchiveError(SmaltiError):
    """An archive whose bytes have changed since it was written."""

    exit_code = 4


class UnsupportedArchiveError(SmaltiError):
    """An archive of a format version, or with a required feature, that this release does not know."""

    exit_code = 5


class OutputError(SmaltiError):
    """An output that cannot be written: no such folder, no permission, no space."""


class OutputExistsError(OutputError):
    """An output that exists already and may not be overwritten."""

    exit_code = 6


class LimitExceededError(SmaltiError):
    """A file that asks for more memory than the caller allows."""

    exit_code = 7
