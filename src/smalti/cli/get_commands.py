"""`smalti get` and `smalti decompress`: write images of an archive to files."""

from pathlib import Path
from typing import Annotated

import typer

from smalti.archive.open import open_images
from smalti.cli.console import Console
from smalti.cli.options import ArchiveLocation, Debug, Force, Json, OutPath, Quiet, Threads
from smalti.cli.summary import missing_json, missing_line, missing_text, warn_of_damage
from smalti.errors import DamagedArchiveError, UsageError
from smalti.exchange import extract
from smalti.threads import default_threads

__all__ = ["decompress_command", "get_command"]

SkipDamaged = Annotated[
    bool, typer.Option("--skip-damaged", help="Write what can be read of a damaged archive, and list what is missing.")
]


def decompress_command(
    archive: ArchiveLocation,
    output: OutPath,
    skip_damaged: SkipDamaged = False,
    force: Force = False,
    json: Json = False,
    quiet: Quiet = False,
    threads: Threads = None,
    debug: Debug = False,
) -> None:
    """Write all images of ARCHIVE to files.

    OUT is .npy, IDX (-idx3-ubyte, also .gz), .tif, .nii (also .gz), .fits, .tar (also .gz, .zst), .parquet, .mds (a
    folder of shards), or else a folder of PNG files. Labels, names, class names and further fields are written too.

    With --skip-damaged the exit code is 4 if anything is missing.
    """
    _extract(archive, output, None, skip_damaged, force, Console(json=json, quiet=quiet), threads)


def get_command(
    archive: ArchiveLocation,
    indices: Annotated[
        list[int], typer.Argument(metavar="INDEX", help="Numbers of images, from 0. After --, -1 is the last.")
    ],
    output: OutPath,
    rows: Annotated[
        str | None,
        typer.Option(metavar="A:B", help="Only rows A to B - 1 of each image; A and B may be left out."),
    ] = None,
    columns: Annotated[str | None, typer.Option(metavar="C:D", help="Only columns C to D - 1 of each image.")] = None,
    skip_damaged: SkipDamaged = False,
    force: Force = False,
    json: Json = False,
    quiet: Quiet = False,
    threads: Threads = None,
    debug: Debug = False,
) -> None:
    """Write some images of ARCHIVE to a folder or a file, as decompress does; only their blocks are decoded.

    With --skip-damaged the exit code is 4 if anything is missing.
    """
    region = None if rows is None and columns is None else (_span(rows, "rows"), _span(columns, "columns"))
    _extract(archive, output, indices, skip_damaged, force, Console(json=json, quiet=quiet), threads, region)


def _span(text: str | None, option: str) -> slice:
    """Read A:B, A:, :B or nothing. UsageError for anything else."""
    start, colon, stop = (":" if text is None else text).partition(":")
    try:
        if colon:
            return slice(int(start) if start else None, int(stop) if stop else None)
    except ValueError:
        pass
    raise UsageError(f"--{option} {text} is not A:B, such as 0:512")


def _extract(
    archive: str,
    output: Path,
    indices: list[int] | None,
    skip_damaged: bool,
    force: bool,
    console: Console,
    threads: int | None,
    region: tuple[slice, slice] | None = None,
) -> None:
    with open_images(archive, threads=default_threads(threads)) as opened:
        warn_of_damage(opened, console)
        with console.progress("decompress") as progress:
            result = extract(
                opened, output, indices, overwrite=force, skip_damaged=skip_damaged, region=region, progress=progress
            )
    plain = {"output": str(output), "images": result.images}
    plain |= missing_json(result) if skip_damaged else {}
    console.result(plain, f"{output}: {result.images:,} images{missing_text(result)}")
    if not result.whole:
        console.warn(missing_line(opened.path, result))
        raise typer.Exit(DamagedArchiveError.exit_code)
