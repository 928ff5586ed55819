"""smalti: learned compression for collections of images.

>>> import smalti
>>> smalti.compress(images, "out.smalti")       # uint8 [N, H, W] or [N, H, W, C], or any SOURCE
>>> with smalti.open("out.smalti") as archive:  # no torch imported
...     archive[3], archive[10:20], archive.labels
"""

from os import PathLike
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from smalti.archive import Archive, ArchiveInfo, Limits
from smalti.archive import open_archive as open  # noqa: A004 (the name users expect)
from smalti.errors import (
    DamagedArchiveError,
    DownloadError,
    ImageIndexError,
    LimitExceededError,
    MissingDependencyError,
    ModelError,
    NotAnArchiveError,
    OutputError,
    OutputExistsError,
    SmaltiError,
    SourceError,
    UnsupportedArchiveError,
    UsageError,
)
from smalti.files import check_output
from smalti.version import __version__

if TYPE_CHECKING:
    from smalti.codec import CompressReport

__all__ = [
    "Archive",
    "ArchiveInfo",
    "DamagedArchiveError",
    "DownloadError",
    "ImageIndexError",
    "LimitExceededError",
    "Limits",
    "MissingDependencyError",
    "ModelError",
    "NotAnArchiveError",
    "OutputError",
    "OutputExistsError",
    "SmaltiError",
    "SourceError",
    "UnsupportedArchiveError",
    "UsageError",
    "__version__",
    "compress",
    "open",
]


def compress(
    images: NDArray[np.uint8] | str | Path,
    out: str | PathLike[str],
    *,
    model: str | PathLike[str] | None = None,
    profile: str = "paper",
    codebook_size: int | None = None,
    epochs: int | None = None,
    seed: int | None = None,
    labels: NDArray[np.integer] | None = None,
    overwrite: bool = False,
) -> "CompressReport":
    """Write images to the archive `out`, with a model from a file or one fitted on the images themselves.

    images : uint8 [N, H, W] or [N, H, W, C] with C from 1 to 4, or any SOURCE that the command line takes
    model : a file from `smalti fit`; with it, profile, codebook_size, epochs and seed must be left alone
    labels : integers [N], for an array

    Needs the extra `smalti[train]`. Raises what reading the source, fitting and writing raise: all SmaltiError.
    """
    from smalti.images import open_source  # noqa: PLC0415 (keeps `import smalti` fast)

    try:
        from smalti.codec import compress_source, fit_source  # noqa: PLC0415 (torch)
        from smalti.training import Model, profile_settings  # noqa: PLC0415
    except ModuleNotFoundError as error:
        raise MissingDependencyError.of("compressing", error.name, "train") from error

    source = open_source(images, labels=labels)
    target = Path(out)
    if model is not None:
        if (codebook_size, epochs, seed) != (None, None, None) or profile != "paper":
            raise UsageError("a model brings its own profile, codebook size, epochs and seed: give it or them")
        return compress_source(source, target, Model.load(Path(model)), overwrite=overwrite)
    check_output(target, overwrite)
    settings = profile_settings(profile, codebook_size=codebook_size, epochs=epochs, seed=seed)
    return compress_source(source, target, fit_source(source, settings), overwrite=overwrite)
