"""`smalti merge`, `append`, `drop` and `relabel`: change archives without encoding images again."""

from pathlib import Path
from typing import Annotated

import typer

from smalti.archive.edit.edit import append_archive, merge_archives
from smalti.archive.open import is_archive, open_images
from smalti.cli.command_observer import CommandObserver
from smalti.cli.console import Console
from smalti.cli.interruption import needing
from smalti.cli.options import (
    ArchivePath,
    Debug,
    Device,
    EditedPath,
    Effort,
    Force,
    Json,
    MaxMse,
    NoLabels,
    OutPath,
    Psnr,
    Quiet,
    Source,
    Strict,
    TargetMse,
    TargetSsim,
    Threads,
    model_option,
    report_skipped,
)
from smalti.cli.ranks import ALONE_ADVICE, refuse_several
from smalti.cli.summary import info_json, short_summary
from smalti.errors import UsageError
from smalti.front.from_archives import drop, relabel
from smalti.storage.atomic import refuse_input

__all__ = ["append_command", "drop_command", "merge_command", "relabel_command"]


def merge_command(
    archives: Annotated[list[Path], typer.Argument(metavar="ARCHIVE...", help="Archives, in the order of the result.")],
    output: OutPath,
    force: Force = False,
    json: Json = False,
    quiet: Quiet = False,
    debug: Debug = False,
) -> None:
    """Join archives in one file; no image is encoded again, and a model that several share is stored once.

    If OUT ends with .smalti-manifest, it becomes a list of the archives, which stay where they are.
    """
    refuse_several("smalti merge", ALONE_ADVICE)
    console = Console(json=json, quiet=quiet)
    refuse_input(output, archives)  # smalti append changes an archive in place
    merge_archives(archives, output, overwrite=force)
    _print_summary(output, console)


def append_command(
    archive: ArchivePath,
    source: Source,
    model: Annotated[Path | None, model_option("; not needed if SOURCE is an archive")] = None,
    psnr: Psnr = None,
    target_mse: TargetMse = None,
    target_ssim: TargetSsim = None,
    effort: Effort = None,
    max_mse: MaxMse = None,
    no_labels: NoLabels = False,
    strict: Strict = False,
    device: Device = "cpu",
    json: Json = False,
    quiet: Quiet = False,
    threads: Threads = None,
    debug: Debug = False,
) -> None:
    """Add the images of SOURCE at the end of ARCHIVE; the images it has are copied unchanged.

    No second model is stored if the archive was made with the same one. SOURCE may be another archive.
    """
    refuse_several("smalti append", ALONE_ADVICE)
    console = Console(json=json, quiet=quiet)
    asked = (psnr, target_mse, target_ssim, effort)
    if is_archive(source):
        if any(value is not None for value in asked):
            raise UsageError(
                f"{source}: is an archive, whose images are not encoded again: leave target and effort out"
            )
        append_archive(archive, source)
        _print_summary(archive, console)
        return
    if model is None:
        raise UsageError(
            f"{source}: give --model, a file from smalti fit; or smalti compress it first, and append that archive"
        )
    with needing("compressing", "train"):
        from smalti.codec import FitRequest, PackOptions, append_images  # noqa: PLC0415 (torch is slow to import)
    options = PackOptions(not no_labels, max_mse, strict=strict, threads=threads)
    request = FitRequest(target_mse=target_mse, target_ssim=target_ssim, effort=effort, device=device, psnr=psnr)
    with CommandObserver(console) as observer:
        report = append_images(archive, source, model, request, options, observer)
    _print_summary(archive, console)
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
    """Remove images from ARCHIVE completely; the others decode to the same pixels as before."""
    refuse_several("smalti drop", ALONE_ADVICE)
    console = Console(json=json, quiet=quiet)
    drop(archive, images, output, overwrite=force, threads=threads)
    _print_summary(output or archive, console)


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
            help="Labels of all images: a .npy of integers, or a text file with a number or a class name on each line.",
            show_default=False,
        ),
    ] = None,
    output: EditedPath = None,
    force: Force = False,
    json: Json = False,
    quiet: Quiet = False,
    debug: Debug = False,
) -> None:
    """Change labels of images in ARCHIVE, to numbers or to names of classes, which may be new."""
    refuse_several("smalti relabel", ALONE_ADVICE)
    console = Console(json=json, quiet=quiet)
    if output is not None and labels is not None:
        refuse_input(output, [labels])
    if (labels is None) == (not changes):
        raise UsageError("give either IMAGE=LABEL, once or more, or --labels FILE")
    new = None if labels is not None else dict(map(_split, changes or []))
    relabel(archive, output, labels=labels, changes=new, overwrite=force)
    _print_summary(output or archive, console)


def _split(change: str) -> tuple[str, str]:
    image, equals, label = change.rpartition("=")
    if not equals or not image or not label:
        raise UsageError(f"{change!r} is not IMAGE=LABEL, such as 17=3")
    return image, label


def _print_summary(path: Path, console: Console) -> None:
    with open_images(path) as opened:
        info = opened.info()
    console.result({"archive": str(path), **info_json(info)}, short_summary(path, info))
