"""An archive beside other codecs file by file, at its own quality: measured on an even sample, in some seconds.

Beside AVIF and JPEG XL; if nothing is lost, beside the lossless codecs of `lossless_peers`.

The sample is drawn while images are packed (`Sample`), and decoded from the archive afterwards. What a codec takes for
all images is what it takes for the sample, by pixels. Each codec runs at its faster effort; AVIF is tuned for PSNR.
Without an archive, `bytes_of_peers` measures them at an error that is asked for, on a sample from `sample_of`.
"""

import math
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from smalti.images.batch import Pixels
from smalti.images.quality import image_errors
from smalti.images.source import RandomAccessSource, SizedSource
from smalti.peers.curves import Curve, first_reaching
from smalti.peers.lossless_peers import LosslessPeer, lossless_peers
from smalti.peers.peer_codecs import Peer, installed_peers

__all__ = [
    "MOST_SECONDS",
    "PeerComparison",
    "Sample",
    "bytes_of_peers",
    "compare_with_peers",
    "lossless_bytes",
    "sample_of",
]

MOST_PIXELS = 2_000_000
MOST_IMAGES = 300
FEW_PIXELS, FEW_IMAGES = 200_000, 30
"""A part of the sample, on which the settings next to the quality are looked for."""

MOST_SECONDS = 20.0
"""About how long all codecs together may take."""

_READ_IMAGES = 256

Window = tuple[slice, slice]


class Sample:
    """Images that are evenly spread over a source, or the middle of each if they are large.

    sizes : H and W of all entries, int64 [n, 2]
    wanted : the numbers of the images to draw
    numbers : of the images that were drawn, in the order of the archive
    originals : their pixels [H, W, C], cut to their windows
    pixels : of all images that were seen, H x W each
    """

    def __init__(
        self, sizes: NDArray[np.int64], most_pixels: int = MOST_PIXELS, most_images: int = MOST_IMAGES
    ) -> None:
        self._largest = most_pixels // 4
        uniform = len(sizes) and sizes.strides[0] == 0  # one row for all, as sources of one shape have it
        areas = np.minimum((sizes[:1] if uniform else sizes).prod(1), self._largest)
        count = max(1, min(len(sizes), most_images, int(most_pixels / max(1.0, float(areas.mean())))))
        self.wanted = np.unique(np.linspace(0, max(0, len(sizes) - 1), count).round().astype(np.int64))
        self.numbers: list[int] = []
        self.originals: list[Pixels] = []
        self.pixels = 0
        self._seen = 0

    def add(self, pixels: Pixels) -> None:
        """Look at the next images [n, H, W, C], and keep those that are wanted."""
        first, last = np.searchsorted(self.wanted, [self._seen, self._seen + len(pixels)])
        for number in self.wanted[first:last].tolist():
            self.keep(number, pixels[number - self._seen])
        self._seen += len(pixels)
        self.pixels += len(pixels) * math.prod(pixels.shape[1:3])

    def keep(self, number: int, image: Pixels) -> None:
        """Take an image [H, W, C] into the sample, cut to its window."""
        self.numbers.append(number)
        self.originals.append(image[self.window(*image.shape[:2])].copy())

    def window(self, height: int, width: int) -> Window:
        """The part of an image that is compared: its middle, of a quarter of the sample at most."""
        if height * width <= self._largest:
            return slice(0, height), slice(0, width)
        side = math.isqrt(self._largest)
        rows, columns = min(height, side), min(width, side)
        top, left = (height - rows) // 2, (width - columns) // 2
        return slice(top, top + rows), slice(left, left + columns)


def sample_of(source: SizedSource) -> Sample:
    """Draw a sample of a source. If it has random access, no other image is decoded."""
    sample = Sample(source.sizes)
    if not isinstance(source, RandomAccessSource):
        for batch in source.batches(_READ_IMAGES):
            sample.add(batch.pixels)
        return sample
    for batch in source.batches_at(sample.wanted, _READ_IMAGES):
        for image in batch.pixels:
            sample.keep(int(sample.wanted[len(sample.numbers)]), image)
    sample.pixels = int(source.sizes.prod(axis=1).sum())
    return sample


@dataclass(frozen=True)
class PeerComparison:
    """What codecs take for the images of an archive, file by file, at its quality.

    archive_bytes : of the whole archive
    psnr : of the archive on the sample, in dB, of the mean error; infinite if it has none
    sample_images, sample_pixels : of the sample
    bytes : estimated for all images, by codec; empty if none could be measured
    """

    archive_bytes: int
    psnr: float
    sample_images: int
    sample_pixels: int
    bytes: Mapping[str, int] = field(default_factory=dict)

    @property
    def smaller(self) -> tuple[str, ...]:
        """The codecs that take fewer bytes than the archive, the smallest first."""
        return tuple(name for name in self._by_size if self.bytes[name] < self.archive_bytes)

    @property
    def _by_size(self) -> tuple[str, ...]:
        return tuple(sorted(self.bytes, key=lambda name: self.bytes[name]))

    def to_json(self) -> dict[str, Any]:
        """Return a plain dictionary; the PSNR is None if there is no error."""
        psnr = round(self.psnr, 3) if math.isfinite(self.psnr) else None
        return {**asdict(self), "psnr": psnr, "bytes": dict(self.bytes), "smaller": list(self.smaller)}

    def sentence(self) -> str:
        """Return the comparison in one line: a warning if a codec is smaller."""
        if not self.bytes:
            return "not compared with other codecs: pip install 'smalti[study]' installs them"
        names = self.smaller or self._by_size
        taken = " and ".join(
            f"{name} about {self.bytes[name]:,} ({self.bytes[name] / self.archive_bytes:.2f} of it)" for name in names
        )
        said = "the archive is larger than other files of these images" if self.smaller else "smaller than other files"
        sample = f"a sample of {self.sample_images:,} image{'' if self.sample_images == 1 else 's'}"
        same = f"at the same {self.psnr:.2f} dB" if math.isfinite(self.psnr) else "without loss"
        return f"{said}: it has {self.archive_bytes:,} bytes, {same} {taken}, by {sample}"


def compare_with_peers(
    parts: Sequence[tuple[Sample, Sequence[Pixels]]],
    archive_bytes: int,
    progress: Callable[[int, int], None] = lambda done, total: None,
    most_seconds: float = MOST_SECONDS,
) -> PeerComparison:
    """Measure the codecs that are installed.

    parts : for each number of channels and dtype, the sample and what the archive decodes it to
    archive_bytes : of all parts together

    A codec that misses the quality, or has no time for any of the sample, is left out.
    """
    parts = [part for part in parts if part[0].originals]
    asked = [(sample, _mse(sample.originals, decoded)) for sample, decoded in parts]
    sizes = bytes_of_peers(asked, progress, most_seconds)
    errors = [error for sample, decoded in parts for error in _errors(sample.originals, decoded)]
    mse = float(np.mean(errors)) if errors else 0.0
    return PeerComparison(
        archive_bytes,
        -10 * math.log10(mse) if mse > 0 else math.inf,
        len(errors),
        sum(math.prod(image.shape[:2]) for sample, _ in parts for image in sample.originals),
        sizes,
    )


def bytes_of_peers(
    parts: Sequence[tuple[Sample, float]],
    progress: Callable[[int, int], None] = lambda done, total: None,
    most_seconds: float = MOST_SECONDS,
) -> dict[str, int]:
    """Return what each installed codec takes for all images, file by file.

    parts : for each number of channels and dtype, a sample with images and the mean squared error of `image_errors`

    A codec that misses the quality, or has no time for any of a sample, is left out.
    """
    if parts and not any(mse for _, mse in parts):
        return lossless_bytes([sample for sample, _ in parts], 0, progress, most_seconds)
    peers = [_peers_for(sample.originals[0]) for sample, _ in parts]
    names = [name for name in (peers[0] if peers else {}) if all(name in each for each in peers)]
    sizes: dict[str, int] = {}
    steps = len(names) * len(parts)
    progress(0, max(1, steps))
    for number, name in enumerate(names):
        needed = 0.0
        for place, (sample, mse) in enumerate(parts):
            if math.isfinite(needed):
                share = _need(peers[place][name], sample.originals, mse, most_seconds / steps)
                needed += share * sample.pixels
            progress(number * len(parts) + place + 1, steps)
        if math.isfinite(needed):
            sizes[name] = round(needed)
    return sizes


def lossless_bytes(
    samples: Sequence[Sample],
    max_error: int = 0,
    progress: Callable[[int, int], None] = lambda done, total: None,
    most_seconds: float = MOST_SECONDS,
) -> dict[str, int]:
    """Return what each installed lossless codec takes for all images, file by file. max_error : JPEG-LS may use it

    A codec that has no time for any of a sample is left out; one that has time for a part is measured on that.
    """
    peers = [
        {peer.name: peer for peer in lossless_peers(first.shape[2], first.dtype, max_error)}
        for first in (sample.originals[0] for sample in samples)
    ]
    names = [name for name in (peers[0] if peers else {}) if all(name in each for each in peers)]
    sizes: dict[str, int] = {}
    for number, name in enumerate(names):
        progress(number, len(names))
        shares = [
            _lossless_share(own[name], sample.originals, most_seconds / len(names) / len(samples))
            for own, sample in zip(peers, samples, strict=True)
        ]
        sizes[name] = round(sum(share * sample.pixels for share, sample in zip(shares, samples, strict=True)))
    progress(len(names), max(1, len(names)))
    return sizes


def _lossless_share(peer: LosslessPeer, images: Sequence[Pixels], seconds: float) -> float:
    """Return the bytes of a pixel, of as many images as there is time for, evenly spread; at least one."""
    ends, needed, pixels = time.monotonic() + seconds, 0, 0
    for number in np.random.default_rng(0).permutation(len(images)).tolist():
        needed += len(peer.encode(images[number]))
        pixels += math.prod(images[number].shape[:2])
        if time.monotonic() > ends:
            break
    return needed / pixels


def _peers_for(image: Pixels) -> dict[str, Peer]:
    """The codecs by family: of two variants of AVIF, that which is tuned for PSNR."""
    return {peer.name.partition(",")[0]: peer for peer in installed_peers(image.shape[2], image.dtype)}


def _errors(originals: Sequence[Pixels], decoded: Sequence[Pixels]) -> list[float]:
    return [float(image_errors(one[None], other[None])[0]) for one, other in zip(originals, decoded, strict=True)]


def _mse(originals: Sequence[Pixels], decoded: Sequence[Pixels]) -> float:
    return float(np.mean(_errors(originals, decoded)))


class _OutOfTimeError(Exception):
    """A codec took too long."""


def _need(peer: Peer, images: Sequence[Pixels], mse: float, seconds: float) -> float:
    """Return the bytes of a pixel at a mean squared error, infinite if it is out of reach.

    A part of the images finds the setting first; if time runs out, what it takes stands for all.
    """
    ends = time.monotonic() + seconds

    def watch(line: str) -> None:
        if time.monotonic() > ends:
            raise _OutOfTimeError

    found = math.inf
    start: int | None = None
    for some in (_few(images), images):
        curve = Curve(peer, peer.efforts[0], some, "files", watch)
        try:
            need, start = curve.need(mse, first_reaching(curve, mse) if start is None else start)
        except _OutOfTimeError:
            break
        if need.bytes is None:
            return math.inf
        found = need.bytes / sum(math.prod(image.shape[:2]) for image in some)
    return found


def _few(images: Sequence[Pixels]) -> Sequence[Pixels]:
    """Some of the images, evenly spread."""
    mean = sum(math.prod(image.shape[:2]) for image in images) / len(images)
    count = max(1, min(len(images), FEW_IMAGES, int(FEW_PIXELS / mean)))
    return [images[number] for number in np.linspace(0, len(images) - 1, count).round().astype(int)]
