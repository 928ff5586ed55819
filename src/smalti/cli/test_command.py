"""`smalti test`: whether an archive is sound, and how good its images are."""

from typing import Annotated, Any

import typer

from smalti.archive.report import Level
from smalti.cli.command_observer import CommandObserver
from smalti.cli.console import Console
from smalti.cli.options import ArchiveLocation, Debug, Force, Json, Page, Quiet, Threads, report_skipped
from smalti.cli.summary import damage_line, info_json, quality_json, short_summary, verify_json
from smalti.errors import DamagedArchiveError, UsageError
from smalti.exchange import Comparison
from smalti.front.from_archives import test

__all__ = ["test_command"]


def test_command(
    archive: ArchiveLocation,
    against: Annotated[
        str | None,
        typer.Option("--against", metavar="SOURCE", help="The original images, to measure the quality."),
    ] = None,
    quick: Annotated[bool, typer.Option("--quick", help="Check the index and the head of every section only.")] = False,
    full: Annotated[
        bool, typer.Option("--full", help="Also decode every image and check its pixels against stored checksums.")
    ] = False,
    page: Page = None,
    force: Force = False,
    json: Json = False,
    quiet: Quiet = False,
    threads: Threads = None,
    debug: Debug = False,
) -> None:
    """Check every checksum of ARCHIVE and decode every token; with --against, measure the quality of its images too.

    With --page as well, write a page with originals, decoded images and the worst ten.
    """
    if quick and (full or against is not None):
        raise UsageError("--quick decodes nothing: give it alone")
    level: Level = "quick" if quick else "pixels" if full else "tokens"
    console = Console(json=json, quiet=quiet)
    with CommandObserver(console) as observer:
        report = test(
            archive,
            against=against,
            level=level,
            page=page,
            overwrite=force,
            threads=threads,
            progress=observer.progress,
            report=console.say,
        )
    plain: dict[str, Any] = {
        "archive": str(report.path),
        **info_json(report.info),
        **verify_json(report.integrity),
    }
    if not report.integrity.ok:
        console.result(plain, "damaged")
        console.warn(damage_line(report.path, report.integrity, report.info.recovery_bytes > 0))
        raise typer.Exit(DamagedArchiveError.exit_code)
    summary = short_summary(report.path, report.info)
    if report.comparison is None:
        console.result(plain, f"{summary}\n{_CHECKED[level]}")
        return
    plain |= {**quality_json(report.comparison), "pixels_sha256": report.comparison.pixels_sha256}
    console.result(plain, f"{summary}\n{_quality(report.comparison)}")
    report_skipped(report.skipped, console)


_CHECKED: dict[Level, str] = {
    "quick": "ok: the index and the head of every section hold; nothing else was checked",
    "tokens": "ok: every checksum holds, every token decodes",
    "pixels": "ok: every checksum holds, every image decodes to the pixels that were written",
}


def _quality(comparison: Comparison) -> str:
    quality = comparison.quality
    ssim = "" if quality.ssim_mean is None else f", SSIM {quality.ssim_mean:.4f}"
    psnr = "" if quality.psnr_db is None else f", PSNR {quality.psnr_db:.2f} dB"
    if quality.seen is not None and quality.seen.psnr_db is not None:
        psnr += f", {quality.seen.psnr_db:.2f} dB over what is seen"
    if quality.range_psnr_db is not None:
        psnr += f", {quality.range_psnr_db:.2f} dB of the range that the pixels fill"
    columns = {True: "equal", False: "DIFFERENT", None: "absent"}
    return (
        f"ok: every checksum holds; MSE {quality.mse_mean:.5f} (worst image {quality.mse_max:.5f}){ssim}{psnr}; "
        f"labels {columns[comparison.labels_equal]}, names {columns[comparison.names_equal]}"
    )
