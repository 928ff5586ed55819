"""smalti: learned compression for collections of images.

>>> import smalti
>>> smalti.compress(images, "out.smalti")       # uint8 [N, H, W] or [N, H, W, C], or any SOURCE
>>> with smalti.open("out.smalti") as archive:  # no torch imported
...     archive[3], archive[10:20], archive.labels

What reads archives, and NumPy with it, is imported when it is first asked for: so that the command line is awake,
and hears a Ctrl-C, before anything slow begins.
"""

from importlib import import_module
from typing import TYPE_CHECKING

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
from smalti.version import __version__

if TYPE_CHECKING:
    from collections.abc import Mapping
    from os import PathLike
    from pathlib import Path
    from typing import Any

    import numpy as np
    from numpy.typing import NDArray

    from smalti.archive.collection.collection import Collection
    from smalti.archive.collection.collection_info import CollectionInfo
    from smalti.archive.edit.edit import append_archive as append
    from smalti.archive.edit.edit import drop_images as drop
    from smalti.archive.edit.edit import merge_archives as merge
    from smalti.archive.edit.edit import relabel
    from smalti.archive.format.limits import Limits
    from smalti.archive.open import open_images as open  # noqa: A004 (the name users expect)
    from smalti.archive.read.reader import Archive
    from smalti.archive.report import ArchiveInfo
    from smalti.codec.packing import CompressReport
    from smalti.images.batch import Pixels
    from smalti.sources.tables.dataset_object import DatasetObject

__all__ = [
    "Archive",
    "ArchiveInfo",
    "Collection",
    "CollectionInfo",
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
    "append",
    "compress",
    "drop",
    "merge",
    "open",
    "relabel",
]

_OF_ARCHIVE = {name: name for name in ("Archive", "ArchiveInfo", "Collection", "CollectionInfo", "Limits")}
_OF_ARCHIVE |= {"open": "open_images", "merge": "merge_archives", "append": "append_archive"}
_OF_ARCHIVE |= {"drop": "drop_images", "relabel": "relabel"}


def __getattr__(name: str) -> object:
    if name not in _OF_ARCHIVE:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    found: object = getattr(import_module("smalti.archive"), _OF_ARCHIVE[name])
    globals()[name] = found  # so that it is asked for once
    return found


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})


def compress(
    images: "Pixels | DatasetObject | str | Path",
    out: "str | PathLike[str]",
    *,
    model: "str | PathLike[str] | None" = None,
    profile: str | None = None,
    codebook_size: int | None = None,
    epochs: int | None = None,
    seed: int | None = None,
    target_mse: float | None = None,
    target_ssim: float | None = None,
    target_bytes: int | None = None,
    effort: int | None = None,
    adapt: bool = False,
    labels: "NDArray[np.integer] | None" = None,
    max_mse: float | None = None,
    recovery: str | None = None,
    strict: bool = False,
    overwrite: bool = False,
    storage_options: "Mapping[str, Any] | None" = None,
) -> "CompressReport":
    """Write images to the archive `out`, with a model from a file or one fitted on the images themselves.

    images : uint8 or uint16 [N, H, W] or [N, H, W, C] with C from 1 to 4, a dataset of Hugging Face `datasets`, or any
        SOURCE that the command line takes; images of several shapes become a collection
    model : a file from `smalti fit`; with it, profile, codebook_size, epochs and seed must be left alone
    profile : "paper", the study's network; "compact", the fewest bytes; "fine", more quality. None is "paper", or
        "compact" if there is a target or an effort
    target_mse, target_ssim, target_bytes : what the collection is to come to, one of them at most; see docs/rate.md
    effort : 0 to 9, the time for "compact" and "fine"
    adapt : whether the archive's copy of a given model may learn from these images
    labels : integers [N], for an array
    max_mse : what every image must decode within (mean squared error of pixels scaled to 0..1); 0 is lossless
    strict : whether a file that cannot be read is an error, and not passed over
    recovery : "m/n" adds data that repair up to m lost blocks in every n; needs the extra `smalti[recovery]`
    storage_options : what fsspec needs to reach images behind a URL, as for `smalti.open`

    Needs the extra `smalti[train]`. Raises what reading the source, fitting and writing raise: all SmaltiError.
    """
    from pathlib import Path  # noqa: PLC0415 (these keep `import smalti` fast)

    from smalti.archive.recovery.parity import RecoverySpec  # noqa: PLC0415
    from smalti.sources.open import open_groups  # noqa: PLC0415
    from smalti.storage.atomic import check_output  # noqa: PLC0415

    try:
        from smalti.codec.compressing import compress_images  # noqa: PLC0415 (torch)
        from smalti.codec.wanted import Wanted  # noqa: PLC0415 (torch)
    except ModuleNotFoundError as error:
        raise MissingDependencyError.of("compressing", error.name, "train") from error

    wanted = Wanted(profile, codebook_size, epochs, seed, target_mse, target_ssim, target_bytes, effort, adapt)
    if model is not None and (profile, codebook_size, epochs, seed) != (None, None, None, None):
        raise UsageError("a model brings its own profile, codebook size, epochs and seed: give it or them")
    target = Path(out)
    if model is None:
        check_output(target, overwrite)
    return compress_images(
        open_groups(images, labels=labels, storage_options=storage_options, spool_beside=target),
        target,
        wanted,
        None if model is None else Path(model),
        max_mse=max_mse,
        recovery=None if recovery is None else RecoverySpec.parse(recovery),
        strict=strict,
        overwrite=overwrite,
    )
