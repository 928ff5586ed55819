"""From what a user names (a set, a path, an array) to a source of images."""

import difflib
from collections.abc import Callable
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from smalti.errors import SourceError, UsageError
from smalti.images.arrays import ArraySource, NpySource
from smalti.images.folder import FolderSource
from smalti.images.idx import IdxSource
from smalti.images.listing import IMAGE_SUFFIXES
from smalti.images.named import open_named
from smalti.images.sets import SET_NAMES
from smalti.images.source import ImageSource

__all__ = ["open_source"]

_KINDS = "a folder of image files, .npy, IDX (-idx3-ubyte, also .gz)"


def open_source(
    spec: str | Path | NDArray[np.uint8],
    *,
    labels: NDArray[np.integer] | None = None,
    report: Callable[[str], None] | None = None,
) -> ImageSource:
    """Open images by the name of a set, by a path, or as an array.

    spec : a name of `SET_NAMES` (before any path of that name; write `./mnist` for a folder called mnist); a path
        to a folder of image files, a `.npy` or an IDX file; or uint8 [N, H, W] or [N, H, W, C], C from 1 to 4
    labels : integers [N] for an array; files carry their own
    report : takes a line of text for each step of a download; None sends it to the logger "smalti"

    Raises SourceError if there are no such images, DownloadError if a set can be had from nowhere.
    """
    if isinstance(spec, np.ndarray):
        return ArraySource(spec, labels)
    if not isinstance(spec, str | Path):
        raise UsageError(f"images are a path, a name or a NumPy array, not {type(spec).__name__}; use np.asarray")
    if labels is not None:
        raise UsageError(f"{spec}: labels are given for arrays only; files carry their own")
    if isinstance(spec, str) and spec in SET_NAMES:
        return open_named(spec, report)
    return _open_path(Path(spec), str(spec))


def _open_path(path: Path, spec: str) -> ImageSource:
    try:
        if not spec or not path.exists():  # an empty name would be the present folder
            raise SourceError(_nowhere(spec))
        if path.is_dir():
            return FolderSource(path)
    except OSError as error:  # forbidden, or too long for a path
        raise SourceError(f"{spec[:80]}: cannot be read: {error.strerror or error}") from error
    if not path.is_file():
        raise SourceError(f"{path}: is neither a file nor a folder; give {_KINDS}")
    suffix = path.suffix.lower()
    if suffix == ".npy":
        return NpySource(path)
    if suffix in IMAGE_SUFFIXES:
        raise SourceError(f"{path}: is one image; give the folder that holds the images")
    if suffix == ".smalti":
        raise SourceError(f"{path}: is an archive, not images; decompress it first")
    if suffix in (".npz", ".tar", ".parquet", ".zip"):
        raise SourceError(f"{path}: {suffix} files cannot be read yet; give {_KINDS}")
    return IdxSource(path)


def _nowhere(spec: str) -> str:
    close = difflib.get_close_matches(spec.lower(), SET_NAMES, n=1)
    hint = f"did you mean {close[0]}?" if close else f"give {_KINDS}, or one of {', '.join(SET_NAMES)}"
    shown = spec if spec.isprintable() and spec else repr(spec)
    return f"{shown}: no such file or folder; {hint}"
