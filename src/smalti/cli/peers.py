"""What classical codecs need for a sample of images at a given error, if the extra `smalti[study]` is installed."""

import math
from collections.abc import Callable
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from smalti.cli.extras import needing
from smalti.errors import UsageError
from smalti.images.batch import Pixels

if TYPE_CHECKING:
    from smalti.bench.peers import Peer

__all__ = ["peer_bytes_per_image"]

FAMILIES = ("JPEG XL", "AVIF", "WebP")
FINER = {"JPEG XL": (1.5, 0.7, 0.3, 0.1), "AVIF": (70.0, 85.0, 95.0), "WebP": (90.0, 95.0, 100.0)}
"""Settings beyond the bench's, for images on which those miss the error."""

MOST_PIXELS = 2_000_000


def peer_bytes_per_image(sample: Pixels, mse: float, progress: Callable[[int, int], None]) -> dict[str, float]:
    """Return the bytes that an image takes with each codec at a mean squared error, as tiles of one large image.

    sample : [n, H, W, C], C of 1 or 3. Codecs that miss the error are left out. Raises MissingDependencyError, and
    UsageError for images that the codecs do not take.
    """
    if sample.dtype != np.uint8:
        raise UsageError("the classical codecs are measured on images of 8 bits, and these have 16")
    eight_bits = sample.astype(np.uint8, copy=False)
    with needing("comparing with classical codecs", "study"):
        from smalti.bench.peers import peers_for  # noqa: PLC0415 (codecs are slow to import)
    step = math.ceil(sample[..., 0].size / MOST_PIXELS)
    peers = [peer for peer in peers_for(sample.shape[3]) if peer.codec in FAMILIES]
    needed = {}
    for number, peer in enumerate(peers):
        found = _need(peer, eight_bits[::step], mse)
        progress(number + 1, len(peers))
        if found is not None:
            needed[peer.name] = found
    return needed


def _need(peer: "Peer", images: NDArray[np.uint8], mse: float) -> float | None:
    """Go from coarse to fine until the error is met, and return the bytes of an image between the last two settings."""
    from smalti.study.baselines.classical import make_mosaic  # noqa: PLC0415
    from smalti.study.baselines.matching import RatePoint, at_matched  # noqa: PLC0415

    mosaic = make_mosaic(images if images.shape[3] > 1 else images[..., 0])
    area = mosaic.size / images.size  # black tiles that fill the mosaic up are free of error
    points: list[RatePoint] = []
    for setting in (*peer.ladder, *FINER[peer.codec]):
        data = peer.encode(mosaic, setting)
        error = (peer.decode(data).astype(np.float32) - mosaic) / 255
        found = area * float(np.square(error, dtype=np.float64).mean())
        points.append(RatePoint(setting, len(data) / len(images), found, math.nan))
        if found <= mse:
            break
    matched = at_matched(tuple(points), mse=mse)
    return None if matched is None else matched.bytes_per_image
