"""`smalti info` and `smalti test`."""

from pathlib import Path
from typing import Annotated, Any

import typer

from smalti.archive import Comparison, VerifyReport, compare, open_archive, pixels_sha256
from smalti.cli.console import Console
from smalti.cli.options import ArchivePath, Debug, Json, Quiet, Threads, default_threads
from smalti.cli.sources import open_for, report_skipped
from smalti.cli.summary import info_json, info_text, quality_json, short_summary, verify_json
from smalti.errors import DamagedArchiveError

__all__ = ["info_command", "test_command"]


def info_command(
    archive: ArchivePath, json: Json = False, quiet: Quiet = False, threads: Threads = None, debug: Debug = False
) -> None:
    """Show what is inside ARCHIVE, byte by byte; no image is decoded."""
    with open_archive(archive) as opened:
        info = opened.info()
    Console(json=json, quiet=quiet).result({"archive": str(archive), **info_json(info)}, info_text(archive, info))


def test_command(
    archive: ArchivePath,
    against: Annotated[
        str | None,
        typer.Option("--against", metavar="SOURCE", help="The original images, to measure quality against."),
    ] = None,
    json: Json = False,
    quiet: Quiet = False,
    threads: Threads = None,
    debug: Debug = False,
) -> None:
    """Check every byte of ARCHIVE; with --against also measure the quality of its images."""
    console = Console(json=json, quiet=quiet)
    with open_archive(archive, threads=default_threads(threads)) as opened:
        info, report = opened.info(), opened.verify()
        plain: dict[str, Any] = {"archive": str(archive), **info_json(info), **verify_json(report)}
        if not report.ok:
            console.result(plain, "damaged")
            console.warn(_damage(archive, report))
            raise typer.Exit(DamagedArchiveError.exit_code)
        source = None if against is None else open_for(against, console)
        if source is None:
            with console.progress("decode") as progress:
                plain["pixels_sha256"] = pixels_sha256(opened, progress)
            console.result(plain, f"{short_summary(archive, info)}\nok: every checksum holds, every image decodes")
            return
        with console.progress("compare") as progress:
            comparison = compare(opened, source, progress)
    plain |= {**quality_json(comparison), "pixels_sha256": comparison.pixels_sha256}
    console.result(plain, f"{short_summary(archive, info)}\n{_quality(comparison)}")
    report_skipped(source, console)


def _damage(archive: Path, report: VerifyReport) -> str:
    blocks = [
        f"block {block.block} (images {block.first_image} to {block.first_image + block.images - 1})"
        for block in report.damaged_blocks
    ]
    shown = [*report.damaged_sections, *blocks]
    more = f" and {len(shown) - 5} more" if len(shown) > 5 else ""
    return (
        f"{archive}: damaged: {'; '.join(shown[:5])}{more}; {report.damaged_images:,} images cannot be read; "
        "get the file again from where it came"
    )


def _quality(comparison: Comparison) -> str:
    quality = comparison.quality
    ssim = "" if quality.ssim_mean is None else f", SSIM {quality.ssim_mean:.4f}"
    psnr = "" if quality.psnr_db is None else f", PSNR {quality.psnr_db:.2f} dB"
    columns = {True: "equal", False: "DIFFERENT", None: "absent"}
    return (
        f"ok: every checksum holds; MSE {quality.mse_mean:.5f} (worst image {quality.mse_max:.5f}){ssim}{psnr}; "
        f"labels {columns[comparison.labels_equal]}, names {columns[comparison.names_equal]}"
    )
