"""`smalti estimate`."""

import time
from typing import TYPE_CHECKING, Any

from smalti import front
from smalti.cli.console import Console
from smalti.cli.observer import CommandObserver
from smalti.cli.options import Debug, Json, ProfileOption, Quiet, Source, TargetMse, Threads, report_skipped

if TYPE_CHECKING:
    from smalti.codec.estimate import CodecComparison

__all__ = ["estimate_command"]


def estimate_command(
    source: Source,
    profile: ProfileOption = None,
    target_mse: TargetMse = None,
    json: Json = False,
    quiet: Quiet = False,
    threads: Threads = None,
    debug: Debug = False,
) -> None:
    """Foretell what SOURCE would come to, from a sample and without a fit, and whether a classical codec does better.

    It is about what smalti compress SOURCE --profile compact would come to, without labels and names. With
    smalti[study], JPEG XL, AVIF and WebP are run on the sample at the same mean squared error.
    """
    console, started = Console(json=json, quiet=quiet), time.monotonic()
    name = None if profile is None else profile.value
    with CommandObserver(console) as observer:
        report = front.estimate(
            source,
            profile=name,
            target_mse=target_mse,
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
    found, best = compared.estimate, compared.best_peer
    return {
        "images": found.images,
        "raw_bytes": found.raw_bytes,
        "target_mse": found.target_mse,
        "predicted_bytes": {"low": found.low_bytes, "likely": found.likely_bytes, "high": found.high_bytes},
        "predicted_ratio": round(found.ratio, 2),
        "model_bytes": found.model_bytes,
        "bits_per_image": round(found.bits_per_image, 1),
        "in_reach": found.in_reach,
        "peers": dict(compared.peers),
        "best_peer": best,
        "break_even_images": None if best is None else found.break_even_images(compared.peers[best]),
        "verdict": compared.verdict,
        "sentence": compared.sentence(),
        "seconds": round(seconds, 1),
    }


def _text(source: str, compared: "CodecComparison") -> str:
    found, best = compared.estimate, compared.best_peer
    lines = [
        f"{source}: {found.images:,} images, {found.raw_bytes:,} bytes raw, "
        f"at a mean squared error of {found.target_mse:g}",
        f"smalti: about {found.likely_bytes:,} bytes ({found.low_bytes:,} to {found.high_bytes:,}), "
        f"{found.ratio:,.1f} times smaller than raw; {found.model_bytes / found.likely_bytes:.0%} of it is the model",
    ]
    ordered = sorted(compared.peers.items(), key=lambda peer: peer[1])
    lines += [f"{name}: {needed:,} bytes, as one large image" for name, needed in ordered]
    if best is not None:
        even = found.break_even_images(compared.peers[best])
        lines.append("break-even: never" if even is None else f"break-even: {best} is smaller below {even:,} images")
    return "\n".join([*lines, compared.sentence()])
