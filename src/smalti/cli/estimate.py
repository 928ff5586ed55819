"""`smalti estimate`."""

import time
from typing import TYPE_CHECKING, Any

from smalti.bench.mosaics import peer_bytes_per_image
from smalti.cli.console import Console
from smalti.cli.extras import needing
from smalti.cli.options import Debug, Json, Profile, ProfileOption, Quiet, Source, TargetMse, Threads, default_threads
from smalti.cli.sources import open_for, report_skipped
from smalti.errors import MissingDependencyError, UsageError

if TYPE_CHECKING:
    from smalti.codec.estimating import Comparison, Sample

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
    with needing("estimating", "train"):
        import torch  # noqa: PLC0415 (slow to import)

        from smalti.codec.estimating import Comparison, draw_sample, estimate  # noqa: PLC0415
    torch.set_num_threads(default_threads(threads))
    mse = _error_asked(profile, target_mse)
    images = open_for(source, console)
    sample = draw_sample(images)
    if target_mse is None:
        mse = sample.scale.true_mse(mse)  # what profiles aim at is of the collection's own range
    found = estimate(sample, mse)
    compared = Comparison(found, _peers(sample, mse, console))
    console.result(_plain(compared, time.monotonic() - started), _text(source, compared))
    report_skipped(images.skipped, console)


def _error_asked(profile: Profile | None, target_mse: float | None) -> float:
    from smalti.training.pyramid.pyramid_settings import DEFAULT_MSE  # noqa: PLC0415
    from smalti.training.pyramid.trade_off import Goal  # noqa: PLC0415

    if profile is Profile.PAPER:
        raise UsageError("the profile paper cannot be estimated: take --profile compact or fine")
    mse = DEFAULT_MSE[(profile or Profile.COMPACT).value] if target_mse is None else target_mse
    Goal(mse=mse)  # refuses what cannot be met
    return mse


def _peers(sample: "Sample", mse: float, console: Console) -> dict[str, int]:
    """Return what classical codecs need for all images; nothing, and a line that says why, if they cannot be run."""
    try:
        with console.progress("classical codecs") as progress:
            needed = peer_bytes_per_image(sample.pixels, mse, progress)
    except (MissingDependencyError, UsageError) as error:
        console.warn(f"not compared: {error}")
        return {}
    return {name: round(each * sample.images) for name, each in needed.items()}


def _plain(compared: "Comparison", seconds: float) -> dict[str, Any]:
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


def _text(source: str, compared: "Comparison") -> str:
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
