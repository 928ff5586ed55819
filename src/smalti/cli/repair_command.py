"""`smalti repair`: write a sound file from a damaged archive, and list what stays lost."""

from pathlib import Path
from typing import Annotated, Any

import typer

from smalti.archive.recovery.repair import RepairReport, repair_archive
from smalti.cli.console import Console
from smalti.cli.options import ArchivePath, Debug, Force, Json, OutPath, Quiet
from smalti.cli.ranks import ALONE_ADVICE, refuse_several
from smalti.errors import DamagedArchiveError

__all__ = ["repair_command"]

_SHOWN = 5


def repair_command(
    archive: ArchivePath,
    output: OutPath,
    partial: Annotated[
        bool, typer.Option("--partial", help="Write a file even if something stays lost; readers read the rest.")
    ] = False,
    force: Force = False,
    json: Json = False,
    quiet: Quiet = False,
    debug: Debug = False,
) -> None:
    """Write a sound file from a damaged ARCHIVE: the original bytes, unless something stays lost.

    Lost bytes are restored from copies in the file and from recovery sections (smalti compress --recovery). Parts that
    stay lost are listed, the exit code is then 4, and nothing is written without --partial. OUT may be ARCHIVE itself,
    with -f.
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
    repaired = f"repaired {_some(report.repaired)}" if report.repaired else "nothing could be repaired"
    if not report.ok:
        return f"{output}: {repaired}" if report.written else f"{archive}: damaged"
    if not report.repaired:
        return f"{output}: equal to {archive}, which is sound"
    return f"{output}: {repaired}; all {report.images:,} images are there"


def _lost_line(archive: Path, output: Path, report: RepairReport) -> str:
    images = (
        f"{report.images_lost:,} of {report.images:,} images are lost" if report.images_lost else "no image is lost"
    )
    runs = [f"{first} to {last}" if first < last else str(first) for first, last in report.lost_images]
    numbers = f" ({_some(runs)})" if runs and report.images_lost < report.images else ""
    rest = f"{output} holds the rest" if report.written else "nothing was written: --partial writes the rest"
    return f"{archive}: cannot be made whole: {_some(report.lost)} lost; {images}{numbers}; {rest}"


def _some(parts: tuple[str, ...] | list[str]) -> str:
    more = f" and {len(parts) - _SHOWN:,} more" if len(parts) > _SHOWN else ""
    return f"{', '.join(parts[:_SHOWN])}{more}"
