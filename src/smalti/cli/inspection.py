"""`smalti info` and `smalti test`."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated, Any

import typer

from smalti.archive.collection.collection import Collection
from smalti.archive.open import open_images
from smalti.archive.read.reader import Archive
from smalti.archive.report import Level
from smalti.cli.console import Console
from smalti.cli.damage import damage_line, warn_of_damage
from smalti.cli.options import ArchivePlace, Debug, Json, Quiet, Threads, default_threads
from smalti.cli.sources import open_for, open_groups_for, report_skipped
from smalti.cli.summary import info_json, info_text, quality_json, short_summary, verify_json
from smalti.errors import DamagedArchiveError, UsageError
from smalti.exchange import Comparison, compare

if TYPE_CHECKING:
    from smalti.images.source import ImageSource

__all__ = ["info_command", "test_command"]


def info_command(
    archive: ArchivePlace, json: Json = False, quiet: Quiet = False, threads: Threads = None, debug: Debug = False
) -> None:
    """Show what is inside ARCHIVE, byte by byte; no image is decoded."""
    console = Console(json=json, quiet=quiet)
    with open_images(archive) as opened:
        info, path = opened.info(), opened.path
        warn_of_damage(opened, console)
    console.result({"archive": str(path), **info_json(info)}, info_text(path, info))


def test_command(
    archive: ArchivePlace,
    against: Annotated[
        str | None,
        typer.Option("--against", metavar="SOURCE", help="The original images, to measure quality against."),
    ] = None,
    quick: Annotated[bool, typer.Option("--quick", help="Check the index and the head of every section only.")] = False,
    full: Annotated[
        bool, typer.Option("--full", help="Also decode every image and check its pixels against stored checksums.")
    ] = False,
    json: Json = False,
    quiet: Quiet = False,
    threads: Threads = None,
    debug: Debug = False,
) -> None:
    """Check every checksum of ARCHIVE and decode every token; with --against also measure the quality of its images."""
    if quick and (full or against is not None):
        raise UsageError("--quick decodes nothing: give it alone")
    level: Level = "quick" if quick else "pixels" if full else "tokens"
    console = Console(json=json, quiet=quiet)
    with open_images(archive, threads=default_threads(threads)) as opened:
        with console.progress("test") as progress:
            info, report = opened.info(), opened.verify(level, progress)
        path = opened.path
        plain: dict[str, Any] = {"archive": str(path), **info_json(info), **verify_json(report)}
        if not report.ok:
            console.result(plain, "damaged")
            console.warn(damage_line(path, report, info.recovery_bytes > 0))
            raise typer.Exit(DamagedArchiveError.exit_code)
        sources = None if against is None else _originals(opened, against, console)
        if sources is None:
            console.result(plain, f"{short_summary(path, info)}\n{_CHECKED[level]}")
            return
        with console.progress("compare") as progress:
            comparison = compare(opened, sources, progress)
    plain |= {**quality_json(comparison), "pixels_sha256": comparison.pixels_sha256}
    if report.stored_sha256 not in (None, comparison.pixels_sha256):  # a collection has none of all its pixels
        raise DamagedArchiveError(f"{path}: its pixels are not those that were written: wrong SHA-256")
    console.result(plain, f"{short_summary(path, info)}\n{_quality(comparison)}")
    report_skipped([file for source in sources for file in source.skipped], console)


def _originals(opened: Archive | Collection, against: str, console: Console) -> "Sequence[ImageSource]":
    """The images to compare with: of a collection those of every shape."""
    if isinstance(opened, Collection):
        return open_groups_for(against, console, strict=False)
    return [open_for(against, console)]


_CHECKED: dict[Level, str] = {
    "quick": "ok: the index and the head of every section hold; nothing else was checked",
    "tokens": "ok: every checksum holds, every token decodes",
    "pixels": "ok: every checksum holds, every image decodes to the pixels that were written",
}


def _quality(comparison: Comparison) -> str:
    quality = comparison.quality
    ssim = "" if quality.ssim_mean is None else f", SSIM {quality.ssim_mean:.4f}"
    psnr = "" if quality.psnr_db is None else f", PSNR {quality.psnr_db:.2f} dB"
    columns = {True: "equal", False: "DIFFERENT", None: "absent"}
    return (
        f"ok: every checksum holds; MSE {quality.mse_mean:.5f} (worst image {quality.mse_max:.5f}){ssim}{psnr}; "
        f"labels {columns[comparison.labels_equal]}, names {columns[comparison.names_equal]}"
    )
