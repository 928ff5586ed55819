"""`smalti estimate`: print the estimated size of an archive, and that of classical codecs."""

import time
from importlib import import_module
from typing import TYPE_CHECKING, Annotated, Any

import typer

from smalti.cli.command_observer import CommandObserver
from smalti.cli.console import Console
from smalti.cli.interruption import needing
from smalti.cli.options import (
    Debug,
    Effort,
    Json,
    Lossless,
    MaxError,
    Psnr,
    Quiet,
    Source,
    TargetMse,
    Threads,
    largest_error,
    report_skipped,
)
from smalti.front.from_images import estimate

if TYPE_CHECKING:
    from smalti.codec.estimate import CodecComparison

__all__ = ["estimate_command"]


def estimate_command(
    source: Source,
    profile: Annotated[
        str | None,
        typer.Option(
            metavar="NAME",
            help="auto, photo, lossless, compact or fine [default: auto, which chooses as smalti compress does].",
            show_default=False,
        ),
    ] = None,
    psnr: Psnr = None,
    target_mse: TargetMse = None,
    lossless: Lossless = False,
    max_error: MaxError = None,
    effort: Effort = None,
    json: Json = False,
    quiet: Quiet = False,
    threads: Threads = None,
    debug: Debug = False,
) -> None:
    """Estimate the size of the archive that smalti compress SOURCE would write with the same options, without a fit.

    A sample is looked at. Labels and names are not counted. AVIF and JPEG XL encode the sample at the same mean squared
    error: file by file if the profile is photo, else as one large image. With --lossless JPEG XL, WebP and PNG encode
    it without loss.
    """
    console, started = Console(json=json, quiet=quiet), time.monotonic()
    with needing("estimating", "train"):
        import_module("smalti.codec.foretelling")  # torch is slow to import: Ctrl-C waits for its end
    with CommandObserver(console) as observer:
        report = estimate(
            source,
            profile=profile,
            psnr=psnr,
            target_mse=target_mse,
            max_error=largest_error(lossless, max_error),
            effort=effort,
            threads=threads,
            progress=observer.progress,
            report=console.say,
        )
    if report.not_compared is not None:
        console.warn(f"not compared: {report.not_compared}")
    compared = report.comparison
    console.result(_plain(compared, time.monotonic() - started), _text(source, compared))
    report_skipped(report.skipped, console)


def _plain(compared: "CodecComparison", seconds: float) -> dict[str, Any]:
    found, best = compared.estimate, compared.best_baseline
    return {
        "profile": found.profile,
        "why": found.why,
        "images": found.images,
        "raw_bytes": found.raw_bytes,
        "target_mse": found.target_mse,
        "predicted_bytes": {"low": found.low_bytes, "likely": found.likely_bytes, "high": found.high_bytes},
        "predicted_ratio": round(found.ratio, 2),
        "model_bytes": found.model_bytes,
        "bits_per_image": round(found.bits_per_image, 1),
        "in_reach": found.in_reach,
        "peers": dict(compared.baselines),
        "best_peer": best,
        "break_even_images": None if best is None else found.break_even_images(compared.baselines[best]),
        "verdict": compared.verdict,
        "sentence": compared.sentence(),
        "seconds": round(seconds, 1),
    }


def _text(source: str, compared: "CodecComparison") -> str:
    found, best = compared.estimate, compared.best_baseline
    way = "file by file" if compared.by_file else "as one large image"
    lines = [
        f"profile {found.profile}: {found.why}",
        f"{source}: {found.images:,} images, {found.raw_bytes:,} bytes raw, "
        + (f"at a mean squared error of {found.target_mse:g}" if found.target_mse else "every sample kept"),
        f"smalti: about {found.likely_bytes:,} bytes ({found.low_bytes:,} to {found.high_bytes:,}), "
        f"{found.ratio:,.1f} times smaller than raw; {found.model_bytes / found.likely_bytes:.0%} of it is the model",
    ]
    ordered = sorted(compared.baselines.items(), key=lambda baseline: baseline[1])
    lines += [f"{name}: {needed:,} bytes, {way}" for name, needed in ordered]
    if best is not None and not compared.by_file:
        even = found.break_even_images(compared.baselines[best])
        lines.append("break-even: never" if even is None else f"break-even: {best} is smaller below {even:,} images")
    return "\n".join([*lines, compared.sentence()])
