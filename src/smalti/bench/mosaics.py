"""A codec's rate and distortion on images as mosaics: its best case, in which no image can be read alone.

Images are tiles of large images, so that header costs vanish. One mosaic has at most 10,000 tiles and 4,096 pixels a
side (and one tile at least). Of larger sets 10,000 images are taken, evenly spread: what a codec needs for an image
does not depend on how many there are.
"""

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from smalti.bench.peers import Peer
from smalti.bench.results import PeerCurve
from smalti.errors import SourceError
from smalti.images.quality import QualityMeter
from smalti.study.baselines.classical import cut_mosaic, make_mosaic
from smalti.study.baselines.matching import RatePoint

__all__ = ["MOST_IMAGES", "images_per_mosaic", "measure_peer", "spread"]

MOST_TILES = 10_000
MOST_SIDE = 4096
MOST_IMAGES = 10_000


def images_per_mosaic(height: int, width: int) -> int:
    """How many images of this size a mosaic has at most."""
    across = max(1, MOST_SIDE // max(height, width))
    return min(MOST_TILES, across * across)


def spread(images: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """All images [N, ...], or 10,000 of them, evenly spread."""
    if len(images) <= MOST_IMAGES:
        return images
    return images[np.linspace(0, len(images) - 1, MOST_IMAGES).round().astype(np.int64)]


def measure_peer(peer: Peer, images: NDArray[np.uint8]) -> PeerCurve:
    """Return a codec's curve on uint8 images [N, H, W, C], C of 1 or 3; memory grows with one mosaic alone."""
    some = spread(images)
    points = tuple(_measure(peer, some, setting) for setting in peer.ladder)
    return PeerCurve(peer.codec, peer.name, peer.library, peer.settings, peer.ladder, points)


def _measure(peer: Peer, images: NDArray[np.uint8], setting: float) -> RatePoint:
    meter, total_bytes = QualityMeter(), 0
    for tiles in _parts(images):
        mosaic = make_mosaic(tiles if tiles.shape[3] > 1 else tiles[..., 0])
        data = peer.encode(mosaic, setting)
        total_bytes += len(data)
        decoded = peer.decode(data)
        if decoded.shape != mosaic.shape:
            raise SourceError(f"{peer.name} gives {decoded.shape} for {mosaic.shape}: check the installed imagecodecs")
        meter.add(tiles, cut_mosaic(decoded.reshape(*mosaic.shape[:2], tiles.shape[3]), tiles.shape))
    quality = meter.result()
    if quality.ssim_mean is None:
        raise SourceError(f"SSIM cannot be measured: {quality.ssim_absent}")
    return RatePoint(setting, total_bytes / len(images), quality.mse_mean, quality.ssim_mean)


def _parts(images: NDArray[np.uint8]) -> Iterator[NDArray[np.uint8]]:
    step = images_per_mosaic(*images.shape[1:3])
    for start in range(0, len(images), step):
        yield images[start : start + step]
