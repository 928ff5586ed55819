"""`smalti compress`, `smalti decompress` and `smalti get`."""

from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer

from smalti.archive import extract, open_archive
from smalti.cli.console import Console
from smalti.cli.extras import needing
from smalti.cli.fitting import checkpoint_path, fit_with_progress
from smalti.cli.options import (
    ArchivePath,
    Codes,
    Debug,
    Device,
    Epochs,
    Force,
    Json,
    OutPath,
    Profile,
    ProfileOption,
    Quiet,
    Resume,
    Seed,
    Source,
    Threads,
    default_threads,
)
from smalti.cli.sources import open_for, report_skipped
from smalti.cli.summary import info_json, larger_than_raw, short_summary
from smalti.errors import UsageError
from smalti.files import check_output

__all__ = ["compress_command", "decompress_command", "get_command"]


def compress_command(
    source: Source,
    output: OutPath,
    model: Annotated[
        Path | None,
        typer.Option("--model", metavar="MODEL", help="A file from smalti fit [default: fit one on SOURCE]."),
    ] = None,
    profile: ProfileOption = None,
    codebook_size: Codes = None,
    epochs: Epochs = None,
    seed: Seed = None,
    no_labels: Annotated[bool, typer.Option("--no-labels", help="Leave labels out of the archive.")] = False,
    device: Device = "cpu",
    resume: Resume = False,
    force: Force = False,
    json: Json = False,
    quiet: Quiet = False,
    threads: Threads = None,
    debug: Debug = False,
) -> None:
    """Pack the images of SOURCE in one self-contained .smalti file.

    Without --model, a model is fitted on SOURCE first. Files that cannot be read are passed over and listed; the
    exit code is then 3.
    """
    console = Console(json=json, quiet=quiet)
    check_output(output, force)
    if model is not None and any(value is not None for value in (profile, codebook_size, epochs, seed)):
        raise UsageError("a model brings its own profile, codebook size, epochs and seed: give --model or them")
    with needing("compressing", "train"):
        from smalti.codec import compress_source  # noqa: PLC0415 (torch is slow to import)
        from smalti.training import Model, choose_device, profile_settings  # noqa: PLC0415
    if model is not None:
        fitted = Model.load(model, choose_device(device))
        images = open_for(source, console)
    else:
        settings = profile_settings(
            (profile or Profile.PAPER).value, codebook_size=codebook_size, epochs=epochs, seed=seed
        )
        images = open_for(source, console)
        fitted = fit_with_progress(images, settings, console, output, device=device, resume=resume, threads=threads)
    import torch  # noqa: PLC0415

    torch.set_num_threads(default_threads(threads))
    with console.progress("compress") as progress:
        report = compress_source(images, output, fitted, labels=not no_labels, overwrite=force, progress=progress)
    if model is None:
        checkpoint_path(output).unlink(missing_ok=True)
    plain = {"archive": str(output), **info_json(report.info), "skipped": [asdict(file) for file in report.skipped]}
    console.result(plain, short_summary(output, report.info))
    larger = larger_than_raw(report.info)
    if larger is not None:
        console.warn(larger)
    report_skipped(images, console)


def decompress_command(
    archive: ArchivePath,
    output: OutPath,
    force: Force = False,
    json: Json = False,
    quiet: Quiet = False,
    threads: Threads = None,
    debug: Debug = False,
) -> None:
    """Write all images of ARCHIVE to a folder of PNG files, a .npy file or an IDX file (-idx3-ubyte, also .gz)."""
    console = Console(json=json, quiet=quiet)
    with open_archive(archive, threads=default_threads(threads)) as opened, console.progress("decompress") as progress:
        count = extract(opened, output, overwrite=force, progress=progress)
    console.result({"output": str(output), "images": count}, f"{output}: {count:,} images")


def get_command(
    archive: ArchivePath,
    indices: Annotated[
        list[int], typer.Argument(metavar="INDEX", help="Numbers of images, from 0. After --, -1 is the last.")
    ],
    output: OutPath,
    force: Force = False,
    json: Json = False,
    quiet: Quiet = False,
    threads: Threads = None,
    debug: Debug = False,
) -> None:
    """Write some images of ARCHIVE to a folder; only the blocks that hold them are decoded."""
    console = Console(json=json, quiet=quiet)
    with open_archive(archive, threads=default_threads(threads)) as opened:
        count = extract(opened, output, indices, overwrite=force)
    console.result({"output": str(output), "images": count}, f"{output}: {count:,} images")
