"""Estimate the size of an archive with `compact` or `fine` from a sample of its images, before a long fit.

Nothing is fitted. `foretelling` chooses the profile, and estimates `photo`. The bits of tokens follow from the rate
bound of the sample: the rate of a linear codec, and the share of it that a learned codec needs, which falls where
values are clipped at black and white, and where images are near copies of each other. An image is a vector of its
pixels, or of the pixels of its tiles if images are large or few. The size of the model is that of the network that a
fit would choose. The caller measures classical codecs on the same sample; this module does not know them. Layer: part
of `codec`.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from smalti.codec.choice import COMPACT
from smalti.errors import SourceError
from smalti.images.batch import Pixels
from smalti.images.source import ImageSource, RandomAccessSource
from smalti.training.common.scaling import EIGHT_BITS, PixelScale
from smalti.training.pyramid.build import choose_shape, learned_share

__all__ = [
    "CodecComparison",
    "Estimate",
    "ImageSample",
    "RateBound",
    "Verdict",
    "draw_sample",
    "estimate",
    "rate_bound",
]

Verdict = Literal["smalti", "equal", "peer"]

SAMPLE_IMAGES = 2_000
READ_BATCH = 1_024

MOST_VALUES = 1_024
VECTORS_PER_VALUE = 2
"""Most values of a vector, and fewest vectors for each value, so that a covariance is known; else images are tiled."""

MOST_VECTORS = 16_000
NEIGHBOURS_AMONG = 2_000
CLIPPED_WITHIN = 2
"""Largest distance from black or white at which a value counts as clipped, in 255ths of the range."""

SEED = 0


@dataclass(frozen=True)
class RateBound:
    """The rate bound of an image, on average.

    linear_bits : the rate of Gaussian vectors of the same covariance at the target error
    components : number of principal components that leave no more than that error, if they are stored exactly
    closeness : bits by which images are nearer to their neighbours than such Gaussian vectors are, as a share of
        `linear_bits`; 0 for noise, .4 for handwritten digits
    clipped : share of the values that are black or white (or nearly), where a decoder may overshoot at no cost
    """

    linear_bits: float
    components: float
    closeness: float
    clipped: float


def rate_bound(sample: Pixels, mse: float, scale: PixelScale = EIGHT_BITS) -> RateBound:
    """Return the rate bound of images [n, H, W, C] at a mean squared error of values in [0, 1], as `scale` has them.

    The rate is by reverse water-filling (Cover & Thomas 2006, 10.3.3). Closeness compares the distances to nearest
    neighbours with those of Gaussian vectors, as estimators of entropy do (Kozachenko & Leonenko 1987), no finer than
    the target error.
    """
    margin = CLIPPED_WITHIN * (scale.high - scale.low) / 255
    clipped = float(((sample <= scale.low + margin) | (sample >= scale.high - margin)).mean())
    vectors, per_image = _vectors(sample, scale)
    mean = vectors.mean(0)
    spectrum, axes = np.linalg.eigh((vectors - mean).T @ (vectors - mean) / max(1, len(vectors) - 1))
    spectrum = spectrum.clip(0)
    allowed = mse * vectors.shape[1]
    components = len(spectrum) - int(np.searchsorted(np.cumsum(spectrum), allowed, side="right"))
    level = _water_level(spectrum, allowed)
    active = spectrum > level
    if not active.any():
        return RateBound(0.0, 0.0, 0.0, clipped)
    bits = float(0.5 * np.log2(spectrum[active] / level).sum())
    seen = (vectors[:NEIGHBOURS_AMONG] - mean) @ axes[:, active]
    gaussian = np.random.default_rng(SEED).normal(size=seen.shape) * np.sqrt(spectrum[active])
    saved = _neighbour_bits(gaussian, level) - _neighbour_bits(seen, level)
    return RateBound(bits * per_image, components * per_image, saved / bits, clipped)


def _vectors(sample: Pixels, scale: PixelScale) -> tuple[NDArray[np.float64], float]:
    """Return the vectors [m, d] in a random order, and how many of them make an image."""
    count, height, width, channels = sample.shape
    for tiles_a_side in range(1, max(height, width) + 1):
        rows, columns = max(1, height // tiles_a_side), max(1, width // tiles_a_side)
        down, across = height // rows, width // columns
        values = rows * columns * channels
        if values <= MOST_VALUES and count * down * across >= VECTORS_PER_VALUE * values:
            break
    tiles = sample[:, : down * rows, : across * columns].reshape(count, down, rows, across, columns, channels)
    flat = tiles.transpose(0, 1, 3, 2, 4, 5).reshape(count * down * across, -1)
    order = np.random.default_rng(SEED).permutation(len(flat))[:MOST_VECTORS]
    values = (flat[order].astype(np.float64) - scale.low) / (scale.high - scale.low)
    return values, height * width / (rows * columns)


def _water_level(spectrum: NDArray[np.float64], distortion: float) -> float:
    """Return the water level at which the total distortion is as given; no component has more than its variance."""
    low, high = 1e-12, max(1e-12, float(spectrum.max()))
    for _ in range(60):
        level = math.sqrt(low * high)
        if float(np.minimum(spectrum, level).sum()) > distortion:
            high = level
        else:
            low = level
    return low


def _neighbour_bits(vectors: NDArray[np.float64], level: float) -> float:
    """Return the mean log2 distance to the nearest neighbour, times the dimensions: the entropy, up to a constant."""
    count, dimensions = vectors.shape
    squares = np.square(vectors).sum(1)
    nearest = np.zeros(count)
    for start in range(0, count, 500):
        part = slice(start, min(start + 500, count))
        far = squares[part, None] + squares - 2 * vectors[part] @ vectors.T
        far[np.arange(len(far)), np.arange(part.start, part.stop)] = np.inf if count > 1 else 0.0
        nearest[part] = far.min(1).clip(0)
    return float(0.5 * dimensions * np.log2(nearest + dimensions * level).mean())


UNLEARNED_SHARE = 1.1
"""Bits of a learned codec, as a share of those of the best linear one, where only the covariance can be learned."""

CLIPPING_EXPONENT = 0.66
"""The share falls with this power of the share of values that are not clipped. Four archives (results/rate/archives)
set these two numbers: a share of .31 for MNIST at both of two errors (13% of its values are not clipped), of .70 for
Fashion-MNIST (48%), and of 1.02 for CIFAR-10 (97%)."""

USUAL_CLOSENESS = 0.5
"""The four archives do not exceed this closeness. Above it images are near copies, and the bits fall in proportion to
1 - closeness. A guess: no such collection has been packed."""

LEAST_SHARE = 0.1
LEARNING_IMAGES = 300
"""From this many images a fit learns about half of what it would learn from very many."""

BITS_PER_WEIGHT = 4.0
PRIOR_SHARE = 0.02
"""Bytes of codes and priors, as a share of the bytes of tokens."""

OTHER_BYTES = 3_000
LOW, HIGH = 0.7, 1.4
"""Range of the outcome around the likely size; a guess, until long fits of several collections are known."""

EQUAL = 1.15
"""Sizes with a smaller ratio are called about equal."""


@dataclass(frozen=True)
class ImageSample:
    """Some images of a collection.

    pixels : uint8 or uint16 [n, H, W, C], drawn evenly
    images : the number of images of the whole collection
    """

    pixels: Pixels
    images: int

    @property
    def scale(self) -> PixelScale:
        """The pixel range that a network maps to [0, 1]."""
        return PixelScale.of(self.pixels)

    @property
    def raw_bytes(self) -> int:
        """Bytes of all pixels of the collection."""
        return self.images * self.pixels.itemsize * math.prod(self.pixels.shape[1:])


def draw_sample(source: ImageSource) -> ImageSample:
    """Return at most 2,000 images of a source, drawn evenly; SourceError if none of them can be read.

    If the source has random access, no other entry is decoded, and the sample gives the share of entries that can be
    read. Else one pass decodes all and stores the sample alone.
    """
    entries = len(source)
    chosen = np.linspace(0, max(0, entries - 1), min(entries, SAMPLE_IMAGES)).astype(np.int64)
    if isinstance(source, RandomAccessSource):
        parts: list[NDArray[Any]] = [batch.pixels for batch in source.batches_at(chosen, READ_BATCH)]
        readable = sum(map(len, parts)) / max(1, len(chosen))
        images = round(entries * readable)
    else:
        parts, images = _in_one_pass(source, chosen)
    if not images:
        raise SourceError(f"{source.description} holds no readable image; name a folder, .npy or IDX with images")
    return ImageSample(np.concatenate(parts), images)


def _in_one_pass(source: ImageSource, chosen: NDArray[np.int64]) -> tuple[list[NDArray[Any]], int]:
    """Return the pixels of the chosen images, and the number of images that can be read."""
    parts: list[NDArray[Any]] = []
    seen = 0
    for batch in source.batches(READ_BATCH):
        parts.append(batch.pixels[chosen[(chosen >= seen) & (chosen < seen + len(batch))] - seen])
        seen += len(batch)
    return parts, seen


@dataclass(frozen=True)
class Estimate:
    """The estimated size of an archive at a mean squared error, without labels and names.

    bits_per_image : of tokens
    model_bytes : of decoder, codes, priors and everything else that is stored once
    in_reach : whether the network can reach the error at all; None if that is no question, as for `photo`
    profile : what would be fitted; why : in one line, why this one
    low, high : the size in a good and in a bad case, as shares of the likely one
    """

    images: int
    raw_bytes: int
    target_mse: float
    bits_per_image: float
    model_bytes: int
    in_reach: bool | None
    profile: str = COMPACT
    why: str = "as asked"
    low: float = LOW
    high: float = HIGH

    @property
    def likely_bytes(self) -> int:
        """The most likely size of the archive."""
        return self.model_bytes + math.ceil(self.images * self.bits_per_image / 8)

    @property
    def low_bytes(self) -> int:
        """The size in a good case."""
        return round(self.low * self.likely_bytes)

    @property
    def high_bytes(self) -> int:
        """The size in a bad case."""
        return round(self.high * self.likely_bytes)

    @property
    def ratio(self) -> float:
        """Raw bytes divided by the likely bytes."""
        return self.raw_bytes / self.likely_bytes

    def break_even_images(self, baseline_bytes: int) -> int | None:
        """Return the number of images from which an archive with this model is smaller than a codec; None if never.

        baseline_bytes : bytes of the codec for the whole collection

        None also for `photo`, whose model is smaller if images are fewer.
        """
        if self.in_reach is None:
            return None
        saved = baseline_bytes / self.images - self.bits_per_image / 8
        return math.ceil(self.model_bytes / saved) if saved > 0 else None


def estimate(sample: ImageSample, mse: float) -> Estimate:
    """Estimate a collection at a mean squared error of pixels scaled to 0..1 (by 1/255 or 1/65535)."""
    bound = rate_bound(sample.pixels, sample.scale.unit_mse(mse), sample.scale)
    share = _share(bound, sample.images)
    height, width, channels = sample.pixels.shape[1:]
    shape = choose_shape(
        (height, width, channels), sample.images, max(1.0, learned_share(channels) * bound.linear_bits)
    )
    latents = sum(each * positions for each, positions in zip(shape.latents, shape.positions, strict=True))
    bits = share * bound.linear_bits
    model = BITS_PER_WEIGHT / 8 * shape.weights + PRIOR_SHARE * sample.images * bits / 8 + OTHER_BYTES
    in_reach = min(1.0, share) * bound.components <= latents
    return Estimate(sample.images, sample.raw_bytes, mse, bits, round(model), in_reach)


def _share(bound: RateBound, images: int) -> float:
    """Return the bits of a learned codec, as a share of those of the best linear one."""
    copies = min(1.0, (1 - bound.closeness) / (1 - USUAL_CLOSENESS))
    of_many = float(max(LEAST_SHARE, UNLEARNED_SHARE * (1 - bound.clipped) ** CLIPPING_EXPONENT * copies))
    missing = LEARNING_IMAGES / (LEARNING_IMAGES + images)
    return of_many + max(0.0, UNLEARNED_SHARE - of_many) * missing


@dataclass(frozen=True)
class CodecComparison:
    """An estimate, and the bytes that classical codecs need.

    baselines : for the collection at the same error
    by_file : whether each image is a file of its own; else all are one large image
    """

    estimate: Estimate
    baselines: Mapping[str, int]
    by_file: bool = False

    @property
    def best_baseline(self) -> str | None:
        """The codec with the fewest bytes; None if none was measured."""
        return min(self.baselines, key=lambda name: (self.baselines[name], name), default=None)

    @property
    def gain(self) -> float | None:
        """Bytes of the best codec divided by those of the archive; None without codecs."""
        best = self.best_baseline
        return None if best is None else self.baselines[best] / self.estimate.likely_bytes

    @property
    def verdict(self) -> Verdict | None:
        """The better choice ("peer" is the best codec); None if that is unknown without codecs."""
        if self.estimate.in_reach is False or self.estimate.ratio <= 1:
            return "peer"
        gain = self.gain
        if gain is None:
            return None
        if gain > EQUAL:
            return "smalti"
        return "equal" if gain >= 1 / EQUAL else "peer"

    def sentence(self) -> str:
        """Return the verdict in words."""
        best, gain = self.best_baseline or "a classical codec", self.gain
        if self.estimate.in_reach is False:
            return f"{best} would serve better: these images share too little for smalti to reach this error"
        if self.estimate.ratio <= 1:
            return f"{best} would serve better: smalti would be larger than the raw images"
        if gain is None:
            return f"smalti would be about {self.estimate.ratio:.0f} times smaller than the raw images"
        if self.verdict == "equal":
            return f"about equal: smalti would take {1 / gain:.2f} of the bytes of {best}"
        if self.verdict == "smalti":
            return f"smalti would be about {gain:.1f} times smaller than {best}"
        return f"{best} would serve better: smalti would be about {1 / gain:.1f} times larger{self._why()}"

    def _why(self) -> str:
        """Say from how many images smalti would be smaller, if there is such a number."""
        best = self.best_baseline
        needed = None if best is None else self.estimate.break_even_images(self.baselines[best])
        return "" if needed is None else f" (smaller from about {needed:,} such images on)"
