"""The errors that smalti raises, in one tree, each with its exit code on the command line.

Every message is one line that says what went wrong, where, and what to do. Imports nothing of smalti. Layer: the
lowest.

    SmaltiError(ValueError)            1
    ├── UsageError                     2   impossible or contradictory arguments
    │   └── ImageIndexError            2   an index beyond the images of an archive (also an IndexError)
    ├── SourceError                    1   images that cannot be read, or do not suit the operation
    │   └── DownloadError              1   no mirror of a named set answered
    ├── ModelError                     1   a model file that cannot be read, or does not fit the images
    ├── MissingDependencyError         1   an optional part of smalti is not installed
    ├── NotAnArchiveError              1   a file that is no smalti archive
    ├── DamagedArchiveError            4   an archive whose bytes have changed since it was written
    ├── UnsupportedArchiveError        5   a version or a required feature that is newer than this release
    ├── OutputError                    1   an output that cannot be written
    │   └── OutputExistsError          6   an output that would be overwritten
    └── LimitExceededError             7   a file that needs more than the caller allows
"""

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
    """Root of every error that smalti raises on purpose."""

    exit_code = 1


class UsageError(SmaltiError):
    """Impossible or contradictory arguments: a value out of range, options that exclude each other."""

    exit_code = 2


class ImageIndexError(UsageError, IndexError):
    """An index beyond the images of an archive; also an IndexError, which ends plain iteration."""


class SourceError(SmaltiError):
    """Images that cannot be read, or whose shape or dtype does not suit the operation."""


class DownloadError(SourceError):
    """No mirror of a named set of images answered with the right bytes."""


class ModelError(SmaltiError):
    """A model file that cannot be read, or a model that does not fit the images."""


class MissingDependencyError(SmaltiError):
    """An optional part of smalti is not installed; the message names the install command."""

    @classmethod
    def of(cls, work: str, module: str | None, extra: str) -> "MissingDependencyError":
        """Return the error for `work` that needs `module`, which the extra `extra` installs."""
        return cls(f'{work} needs {module}, which is not installed; pip install "smalti[{extra}]"')


class NotAnArchiveError(SmaltiError):
    """A file that is no smalti archive at all."""


class DamagedArchiveError(SmaltiError):
    """An archive whose bytes have changed since it was written."""

    exit_code = 4


class UnsupportedArchiveError(SmaltiError):
    """An archive with a format version or a required feature that this release does not know."""

    exit_code = 5


class OutputError(SmaltiError):
    """An output that cannot be written: no such folder, no permission, no space."""


class OutputExistsError(OutputError):
    """An output that exists already and may not be overwritten."""

    exit_code = 6


class LimitExceededError(SmaltiError):
    """A file that needs more memory than the caller allows."""

    exit_code = 7
