"""Read, check and change archives. Needs no PyTorch, and fits nothing. Layer: part of `front`."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from os import PathLike
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import numpy as np
from numpy.typing import ArrayLike

from smalti.archive.collection.collection import Collection
from smalti.archive.collection.collection_info import CollectionInfo
from smalti.archive.edit.edit import drop_images
from smalti.archive.edit.edit import relabel as relabel_archive
from smalti.archive.edit.labels import ClassNumbers, changed_labels, image_numbers, read_labels
from smalti.archive.format.column import ColumnValues
from smalti.archive.format.limits import Limits
from smalti.archive.open import open_images
from smalti.archive.read.reader import Archive
from smalti.archive.read.selection import Selection
from smalti.archive.recovery.repair import RepairReport, repair_archive
from smalti.archive.report import ArchiveInfo, Level, VerifyReport
from smalti.errors import DamagedArchiveError, UsageError
from smalti.exchange import Comparison, Extracted, compare
from smalti.exchange import extract as extract_images
from smalti.front.arguments import Images, PathText, Progress, progress_of
from smalti.images.batch import Scalar, SkippedFile
from smalti.storage.locking import locked
from smalti.threads import default_threads

if TYPE_CHECKING:
    from smalti.images.source import ImageSource

__all__ = ["TestReport", "drop", "extract", "relabel", "repair", "test"]


def extract(
    archive: PathText,
    out: PathText,
    indices: Sequence[int] | None = None,
    *,
    skip_damaged: bool = False,
    overwrite: bool = False,
    threads: int | None = None,
    progress: Progress | None = None,
) -> Extracted:
    """Write images of an archive to files, with their labels, names, class names and fields.

    archive : a path or URL of an archive, a collection or a manifest
    out : .npy, .tif, .nii (also .gz), .fits, IDX (-idx3-ubyte, also .gz), .tar (also .gz, .zst), .parquet, .mds, or
        else a folder of PNG files
    indices : which images, in this order; None for all. A negative index counts from the end
    skip_damaged : write what can be read of a damaged archive; the report lists what is missing
    threads, progress : as for `compress`; the stage is "decompress"

    Raises ImageIndexError, DamagedArchiveError, UsageError if `out` is the archive itself, OutputError.
    """
    with open_images(archive, threads=default_threads(threads)) as opened:
        return extract_images(
            opened,
            Path(out),
            indices,
            overwrite=overwrite,
            skip_damaged=skip_damaged,
            progress=progress_of("decompress", progress),
        )


@dataclass(frozen=True)
class TestReport:
    """The result of a check of an archive.

    integrity : `ok` says whether every checksum holds
    damage : faults that were found and overcome when the archive was opened
    comparison : with the originals, if they were given and the archive is sound
    skipped : files of the originals that could not be read
    """

    __test__ = False  # no test of pytest

    path: Path | str
    info: ArchiveInfo | CollectionInfo
    integrity: VerifyReport
    damage: tuple[str, ...]
    comparison: Comparison | None = None
    skipped: tuple[SkippedFile, ...] = ()


def test(
    archive: PathText,
    *,
    against: "Images | None" = None,
    level: Level = "tokens",
    page: PathText | None = None,
    overwrite: bool = False,
    threads: int | None = None,
    progress: Progress | None = None,
    report: Callable[[str], None] | None = None,
) -> TestReport:
    """Check the checksums of an archive, and measure its quality if the originals are given.

    archive : a path or URL of an archive, a collection or a manifest
    against : the original images, as `compress` takes them
    level : "quick" checks the index and heads, "tokens" also decodes every token, "pixels" also every image
    page : an HTML file to write, with `against`: originals, decoded images, differences, the worst ten, a histogram
    overwrite : whether that file may exist
    threads, progress : as for `compress`; the stages are "test" and "compare"
    report : called with a line for each step of a download; None sends it to the logger "smalti"

    The report lists damage. Raises DamagedArchiveError if the pixels are not those that were written, and what opening
    raises.
    """
    if level == "quick" and against is not None:
        raise UsageError("--quick decodes nothing: give it alone")
    if page is not None:
        if against is None:
            raise UsageError("--page shows images beside their originals: give them with --against")
        from smalti.bench.pictures_page import check_page  # noqa: PLC0415 (image files are slow to import)

        check_page(Path(page), Path(archive), overwrite)
    with open_images(archive, threads=default_threads(threads)) as opened:
        info, integrity = opened.info(), opened.verify(level, progress_of("test", progress))
        damage, path = tuple(opened.damage), opened.path
        if against is None or not integrity.ok:
            return TestReport(path, info, integrity, damage)
        sources = _originals(opened, against, report)
        watch = progress_of("compare", progress)
        if page is None:
            comparison = compare(opened, sources, watch)
        else:
            from smalti.bench.pictures_page import compare_on_page  # noqa: PLC0415 (image files are slow to import)

            comparison = compare_on_page(opened, sources, Path(page), watch, overwrite)
    if integrity.stored_sha256 not in (None, comparison.pixels_sha256):  # a collection has none of all its pixels
        raise DamagedArchiveError(f"{path}: its pixels are not those that were written: wrong SHA-256")
    skipped = tuple(file for source in sources for file in source.skipped)
    return TestReport(path, info, integrity, damage, comparison, skipped)


test.__test__ = False  # type: ignore[attr-defined]  # no test of pytest, wherever it is imported


def repair(archive: PathText, out: PathText, *, partial: bool = False, overwrite: bool = False) -> RepairReport:
    """Write a sound file from a damaged archive: the original bytes, unless something stays lost.

    out : may be the archive itself, with `overwrite`
    partial : write a file even if something stays lost

    Raises NotAnArchiveError, UnsupportedArchiveError, OutputError, OutputExistsError.
    """
    return repair_archive(Path(archive), Path(out), overwrite=overwrite, partial=partial)


def drop(
    path: PathText,
    selection: Selection | str | Sequence[int | str],
    out: PathText | None = None,
    *,
    overwrite: bool = False,
    threads: int | None = None,
    limits: Limits | None = None,
) -> int:
    """Write an archive or a collection without some images, and return the number of images left.

    selection : a number, numbers, a slice, a mask, the name of an image, or a list of numbers and names
    out : where to write; None replaces `path`
    threads : how many to use; None for all cores

    Raises ImageIndexError, UsageError for an unknown name or if no image would be left, DamagedArchiveError,
    OutputExistsError, OutputError (also if another process is changing the file that is to be replaced).
    """
    if isinstance(selection, str):
        selection = [selection]
    with locked(out or path):
        if isinstance(selection, Sequence) and any(isinstance(image, str) for image in selection):
            with open_images(path, limits) as opened:
                selection = image_numbers(opened, selection)
        chosen = cast(Selection, selection)
        threads = default_threads(threads)
        return drop_images(path, chosen, out, overwrite=overwrite, threads=threads, limits=limits)


def relabel(
    path: PathText,
    out: PathText | None = None,
    *,
    labels: "ArrayLike | PathText | None" = None,
    changes: Mapping[Any, int | str] | None = None,
    class_names: Sequence[str] | None = None,
    names: Sequence[str] | None = None,
    fields: Mapping[str, ColumnValues | Sequence[Scalar | None] | None] | None = None,
    overwrite: bool = False,
    limits: Limits | None = None,
) -> None:
    """Give the images of an archive or a collection other labels, names or fields; pixels are not touched.

    out : where to write; None replaces `path`
    labels : of all images: integers [N], class names [N], or a file (a .npy of integers, or a
        text file with a number or a class name on each line). A class name that is new gets the next number
    changes : instead, the new labels of some images, by number or name, such as {17: "cat"}
    class_names : the name of each label 0, 1, ...
    names : N relative paths
    fields : columns of N values to add or to replace; None drops the column

    What is not given stays. Raises UsageError if a column does not fit or an image is unknown, SourceError for a file
    that cannot be read, DamagedArchiveError, OutputExistsError, OutputError (also if another process is changing the
    file that is to be replaced).
    """
    if labels is not None and changes is not None:
        raise UsageError("give either the labels of all images, or changes")
    if isinstance(labels, str | PathLike):
        labels = read_labels(labels)
    with locked(out or path):
        if changes is not None or _has_words(labels):
            with open_images(path, limits) as opened:
                classes = ClassNumbers(opened.class_names if class_names is None else class_names)
                if changes is None:
                    labels = classes.numbers(np.asarray(labels).tolist())
                else:
                    labels = changed_labels(opened, changes, classes)
            class_names = classes.names
        relabel_archive(
            path,
            out,
            labels=None if labels is None else np.asarray(labels),
            class_names=class_names,
            names=names,
            fields=fields,
            overwrite=overwrite,
            limits=limits,
        )


def _has_words(labels: "ArrayLike | None") -> bool:
    return labels is not None and np.asarray(labels).dtype.kind == "U"


def _originals(
    opened: Archive | Collection, against: Images, report: Callable[[str], None] | None
) -> "Sequence[ImageSource]":
    """Return the images to compare with; for a collection or images of any sizes, those of every shape."""
    from smalti.sources.open import open_groups, open_source  # noqa: PLC0415 (image files and downloads, slow to import)

    if isinstance(opened, Collection) or opened.any_size:
        return open_groups(against, report=report)
    return [open_source(against, report=report)]
