"""Compress or append the images that a user names: open them, load the model, pack.

The work itself is in `pack` and `fit`. Layer: part of `codec`.
"""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from itertools import chain
from pathlib import Path
from typing import Any, cast

from numpy.typing import ArrayLike

from smalti.archive.edit.edit import append_archive
from smalti.codec.choice import ImageFacts, is_small
from smalti.codec.error_bound import SMALL_BOUND, largest_error_within
from smalti.codec.fit import decide
from smalti.codec.pack import CompressReport, pack, pack_any_size
from smalti.codec.request import FitRequest, PackOptions
from smalti.images.batch import Pixels
from smalti.images.signs import unsigned
from smalti.images.source import SizedSource, refuse_skipped
from smalti.sources.local_files import local_files
from smalti.sources.open import open_images_of
from smalti.sources.tables.dataset_object import DatasetObject
from smalti.storage.atomic import check_output, refuse_input
from smalti.storage.locking import locked
from smalti.storage.spool import spool_folder
from smalti.training.kinds import load_model, takes_any_size
from smalti.training.observer import Observer, SilentObserver
from smalti.training.paper.fit_grid import choose_device
from smalti.training.training_kind import AnySource, FittedModel, SizedModel

__all__ = ["append_images", "compress_images"]


def compress_images(
    images: str | Path | Pixels | DatasetObject,
    out: Path,
    model: Path | None = None,
    request: FitRequest | None = None,
    options: PackOptions | None = None,
    observer: Observer | None = None,
    *,
    labels: ArrayLike | None = None,
    storage_options: Mapping[str, Any] | None = None,
    resumable: bool = True,
) -> CompressReport:
    """Write images to the archive `out`. The rest is as for `pack`.

    images, labels, storage_options : as `open_groups` takes them
    model : a file from `smalti fit`; None fits one on the images

    Raises what opening, loading and packing raise, and UsageError if `out` is one of the inputs.
    """
    request, options, observer = request or FitRequest(), options or PackOptions(), observer or SilentObserver()
    check_output(out, options.overwrite)
    refuse_input(out, chain([] if model is None else [model], local_files(images)))
    request.check_for(model)
    given = None if model is None else load_model(model, choose_device(request.device))
    opened = open_images_of(
        images, labels=labels, report=observer.on_message, storage_options=storage_options, spool_beside=out
    )
    for line in opened.found_lines():
        observer.on_message(line)
    compare = options.compare and (request.is_auto if given is None else takes_any_size(given))
    if given is None:
        if options.max_mse is not None and request.is_auto and not request.has_goal:
            request, options = _bounded(request, options, [unsigned(one) for one in opened.any_size()], observer)
        if options.max_mse is not None:
            request, compare = request.without_choice(), False
        if request.is_auto:
            request = decide(request, opened.any_size(), observer)
        compare = compare or (options.compare and request.kind.any_size)
    if takes_any_size(given) if given is not None else request.kind.any_size:
        sized = opened.any_size()
        _check_strict(images, sized, options)
        taker = cast(SizedModel | None, given)
        report = pack_any_size(sized, out, taker, request, options, observer, resumable=resumable, compare=compare)
        return replace(report, found=opened.found)
    groups = opened.groups()
    _check_strict(images, groups, options)
    shaped = cast(FittedModel | None, given)
    report = pack(groups, out, shaped, request, options, observer, resumable=resumable, compare=compare)
    return replace(report, found=opened.found)


def _bounded(
    request: FitRequest, options: PackOptions, sources: Sequence[SizedSource], observer: Observer
) -> tuple[FitRequest, PackOptions]:
    """Return the request and options for an error bound: those of `lossless` where it is smaller, or alone can."""
    bound = options.max_mse or 0.0
    if bound > SMALL_BOUND and is_small(ImageFacts.of(sources)):
        return request, options
    error = largest_error_within(sources, bound, observer) if bound else 0
    if error:
        observer.on_message(f"profile lossless: each sample within {error}, so that no image is above {bound:g}")
    return replace(request, max_error=error), replace(options, max_mse=None)


def _check_strict(images: object, sources: Sequence[AnySource], options: PackOptions) -> None:
    """Raise SourceError if files would be skipped that must not be."""
    if options.strict:
        description = images if isinstance(images, str | Path) else sources[0].description
        refuse_skipped(str(description), [file for source in sources for file in source.skipped])


def append_images(
    archive: Path,
    images: str | Path | Pixels | DatasetObject,
    model: Path,
    request: FitRequest | None = None,
    options: PackOptions | None = None,
    observer: Observer | None = None,
) -> CompressReport:
    """Pack images with a model, and add them at the end of `archive`, in place. Returns the report on the added images.

    Raises what `compress_images` and `append_archive` raise.
    """
    refuse_input(archive, chain([model], local_files(images)))
    with locked(archive), spool_folder(archive) as folder:  # locked before the long work
        added = folder / "added.smalti"
        options = replace(options or PackOptions(), compare=False)  # these images are not all of the archive
        report = compress_images(images, added, model, request, options, observer, resumable=False)
        append_archive(archive, added)
    return report
