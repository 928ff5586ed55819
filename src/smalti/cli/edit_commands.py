"""`smalti merge`, `smalti append`, `smalti drop` and `smalti relabel`.

`smalti repair`.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import typer
from numpy.typing import NDArray

from smalti.archive.collection.collection import Collection
from smalti.archive.edit.edit import append_archive, drop_images, merge_archives, relabel
from smalti.archive.open import is_archive, open_images
from smalti.archive.read.reader import Archive
from smalti.archive.read.selection import resolve
from smalti.archive.recovery.repair import RepairReport, repair_archive
from smalti.cli.console import Console
from smalti.cli.interruption import needing
from smalti.cli.observer import CommandObserver
from smalti.cli.options import (
    ArchivePath,
    Debug,
    Device,
    EditedPath,
    Force,
    Json,
    MaxMse,
    NoLabels,
    OutPath,
    Quiet,
    Source,
    Strict,
    Threads,
    default_threads,
    report_skipped,
)
from smalti.cli.ranks import ALONE_ADVICE, refuse_several
from smalti.cli.summary import info_json, short_summary
from smalti.errors import DamagedArchiveError, SourceError, UsageError
from smalti.storage.atomic import refuse_input
from smalti.storage.locking import locked

__all__ = ["append_command", "drop_command", "merge_command", "relabel_command", "repair_command"]


def merge_command(
    archives: Annotated[list[Path], typer.Argument(metavar="ARCHIVE...", help="Archives, in the order of the result.")],
    output: OutPath,
    force: Force = False,
    json: Json = False,
    quiet: Quiet = False,
    debug: Debug = False,
) -> None:
    """Put archives together in one file; no image is encoded again, and a model that several have is stored once.

    If OUT ends with .smalti-manifest, it becomes a list of the archives, which stay where they are.
    """
    refuse_several("smalti merge", ALONE_ADVICE)
    console = Console(json=json, quiet=quiet)
    refuse_input(output, archives)  # smalti append changes an archive in place
    merge_archives(archives, output, overwrite=force)
    _tell(output, console)


def append_command(
    archive: ArchivePath,
    source: Source,
    model: Annotated[
        Path | None,
        typer.Option("--model", metavar="MODEL", help="A file from smalti fit; not needed if SOURCE is an archive."),
    ] = None,
    max_mse: MaxMse = None,
    no_labels: NoLabels = False,
    strict: Strict = False,
    device: Device = "cpu",
    json: Json = False,
    quiet: Quiet = False,
    threads: Threads = None,
    debug: Debug = False,
) -> None:
    """Add the images of SOURCE to ARCHIVE, behind those that are there, which are copied as they are.

    With the model that the archive was made with, no second model is stored. SOURCE may be another archive.
    """
    refuse_several("smalti append", ALONE_ADVICE)
    console = Console(json=json, quiet=quiet)
    if is_archive(source):
        append_archive(archive, source)
        _tell(archive, console)
        return
    if model is None:
        raise UsageError(
            f"{source}: give --model, a file from smalti fit; or smalti compress it first, and append that archive"
        )
    with needing("compressing", "train"):
        from smalti.codec.compress import append_images  # noqa: PLC0415 (torch is slow to import)
        from smalti.codec.request import FitRequest, PackOptions  # noqa: PLC0415 (torch is slow to import)
    options = PackOptions(not no_labels, max_mse, strict=strict, threads=threads)
    with CommandObserver(console) as observer:
        report = append_images(archive, source, model, FitRequest(device=device), options, observer)
    _tell(archive, console)
    report_skipped(report.skipped, console)


def drop_command(
    archive: ArchivePath,
    images: Annotated[
        list[str],
        typer.Argument(metavar="IMAGE...", help="Numbers from 0, or names, of images. After --, -1 is the last."),
    ],
    output: EditedPath = None,
    force: Force = False,
    json: Json = False,
    quiet: Quiet = False,
    threads: Threads = None,
    debug: Debug = False,
) -> None:
    """Remove images from ARCHIVE; the others decode to the same pixels as before, and nothing of those is left."""
    refuse_several("smalti drop", ALONE_ADVICE)
    console = Console(json=json, quiet=quiet)
    with locked(output or archive):
        with open_images(archive) as opened:
            numbers = _numbers(images, len(opened), opened.names, archive)
        drop_images(archive, numbers, output, overwrite=force, threads=default_threads(threads))
    _tell(output or archive, console)


def relabel_command(
    archive: ArchivePath,
    changes: Annotated[
        list[str] | None,
        typer.Argument(metavar="[IMAGE=LABEL]...", help="Numbers or names of images, and their new labels."),
    ] = None,
    labels: Annotated[
        Path | None,
        typer.Option(
            "--labels",
            metavar="FILE",
            help="Labels of all images: a .npy of integers, or a text file with a number or a class name a line.",
            show_default=False,
        ),
    ] = None,
    output: EditedPath = None,
    force: Force = False,
    json: Json = False,
    quiet: Quiet = False,
    debug: Debug = False,
) -> None:
    """Give images of ARCHIVE other labels: numbers, or names of classes, of which there may be new ones."""
    refuse_several("smalti relabel", ALONE_ADVICE)
    console = Console(json=json, quiet=quiet)
    if output is not None and labels is not None:
        refuse_input(output, [labels])
    if (labels is None) == (not changes):
        raise UsageError("give either IMAGE=LABEL, once or more, or --labels FILE")
    with locked(output or archive):
        with open_images(archive) as opened:
            classes = _Classes(opened.class_names)
            new = _changed(opened, archive, classes, changes or []) if labels is None else classes.read(labels)
        relabel(archive, output, labels=new, class_names=classes.names, overwrite=force)
    _tell(output or archive, console)


def _changed(
    opened: Archive | Collection, archive: Path, classes: "_Classes", changes: list[str]
) -> NDArray[np.integer]:
    """The labels of all images, with some of them changed."""
    if opened.labels is None:
        raise UsageError(f"{archive}: has no labels; give those of all images with --labels FILE")
    new = opened.labels.copy()
    images, wanted = zip(*map(_split, changes), strict=True)
    numbers = _numbers(list(images), len(opened), opened.names, archive)
    new[numbers] = [classes.number(label) for label in wanted]
    return new


class _Classes:
    """Labels as people write them: numbers, or names of classes, which get the next number if they are new."""

    def __init__(self, names: tuple[str, ...] | None) -> None:
        self.names = None if names is None else list(names)

    def number(self, label: str) -> int:
        """What a word stands for: a class of that name, else the number that it is, else a new class."""
        if self.names is not None and label in self.names:
            return self.names.index(label)
        try:
            return int(label)
        except ValueError:
            self.names = [*(self.names or ()), label]
            return len(self.names) - 1

    def read(self, path: Path) -> NDArray[np.integer]:
        """The labels of a file; SourceError if it cannot be read."""
        try:
            if path.suffix == ".npy":
                loaded: NDArray[np.integer] = np.load(path, allow_pickle=False)
                return loaded
            lines = path.read_text("utf-8").splitlines()
        except (OSError, ValueError) as error:
            raise SourceError(f"{path}: cannot be read as labels: {error}") from error
        return np.array([self.number(line.strip()) for line in lines], np.int64)


def _split(change: str) -> tuple[str, str]:
    image, equals, label = change.rpartition("=")
    if not equals or not image or not label:
        raise UsageError(f"{change!r} is not IMAGE=LABEL, such as 17=3")
    return image, label


def _numbers(images: list[str], count: int, names: Sequence[str | None] | None, archive: Path) -> NDArray[np.int64]:
    """The numbers of images that are given by number or by name."""
    places = {name: number for number, name in enumerate(names or ())}
    numbers = []
    for image in images:
        if image in places:
            numbers.append(places[image])
            continue
        try:
            numbers.append(int(image))
        except ValueError as error:
            known = "; its images have no names" if names is None else ""
            raise UsageError(f"{archive}: has no image called {image!r}{known}; smalti info tells how many") from error
    return resolve(numbers, count)[0]


def _tell(path: Path, console: Console) -> None:
    with open_images(path) as opened:
        info = opened.info()
    console.result({"archive": str(path), **info_json(info)}, short_summary(path, info))


_SHOWN = 5


def repair_command(
    archive: ArchivePath,
    output: OutPath,
    partial: Annotated[
        bool, typer.Option("--partial", help="Write a file even if something stays lost; readers serve the rest.")
    ] = False,
    force: Force = False,
    json: Json = False,
    quiet: Quiet = False,
    debug: Debug = False,
) -> None:
    """Write a sound file from a damaged ARCHIVE: the bytes that were written at first, if nothing stays lost.

    What is lost is made again from copies in the file and from recovery sections (smalti compress --recovery). If
    something stays lost, it is named, the exit code is 4, and nothing is written without --partial. OUT may be
    ARCHIVE itself, with -f.
    """
    refuse_several("smalti repair", ALONE_ADVICE)
    console = Console(json=json, quiet=quiet)
    report = repair_archive(archive, output, overwrite=force, partial=partial)
    console.result(_plain(archive, output, report), _text(archive, output, report))
    if report.recovery_lost and report.written:
        console.warn(f"{output}: its recovery sections were all lost, so it has none")
    if not report.ok:
        console.warn(_lost_line(archive, output, report))
        raise typer.Exit(DamagedArchiveError.exit_code)


def _plain(archive: Path, output: Path, report: RepairReport) -> dict[str, Any]:
    return {
        "archive": str(archive),
        "output": str(output),
        "ok": report.ok,
        "written": report.written,
        "repaired": list(report.repaired),
        "lost": list(report.lost),
        "lost_images": [{"first": first, "last": last} for first, last in report.lost_images],
        "images": report.images,
        "images_lost": report.images_lost,
        "recovery_lost": report.recovery_lost,
    }


def _text(archive: Path, output: Path, report: RepairReport) -> str:
    mended = f"repaired {_some(report.repaired)}" if report.repaired else "nothing could be repaired"
    if not report.ok:
        return f"{output}: {mended}" if report.written else f"{archive}: damaged"
    if not report.repaired:
        return f"{output}: equal to {archive}, which is sound"
    return f"{output}: {mended}; all {report.images:,} images are there"


def _lost_line(archive: Path, output: Path, report: RepairReport) -> str:
    images = (
        f"{report.images_lost:,} of {report.images:,} images are lost" if report.images_lost else "no image is lost"
    )
    runs = [f"{first} to {last}" if first < last else str(first) for first, last in report.lost_images]
    numbers = f" ({_some(runs)})" if runs and report.images_lost < report.images else ""
    rest = f"{output} holds the rest" if report.written else "nothing was written: --partial writes the rest"
    return f"{archive}: cannot be made whole: {_some(report.lost)} lost; {images}{numbers}; {rest}"


def _some(things: tuple[str, ...] | list[str]) -> str:
    more = f" and {len(things) - _SHOWN:,} more" if len(things) > _SHOWN else ""
    return f"{', '.join(things[:_SHOWN])}{more}"
