"""The size of a fit, and the learner it starts with, from settings and images.

`Spectrum` estimates the rate of a collection, `choose_shape` the largest decoder that pays for itself, `choose_size`
the whole fit. `make_pyramid` and `make_learner` then build networks of that size.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
import torch

from smalti.images.batch import Pixels
from smalti.training.common.distributed import ALONE, ProcessGroup
from smalti.training.common.scaling import EIGHT_BITS, PixelScale
from smalti.training.common.training_images import TrainingImages
from smalti.training.pyramid.encoder import PyramidEncoder
from smalti.training.pyramid.learned_prior import LevelPrior, context_size
from smalti.training.pyramid.learned_pyramid import LevelForm, Pyramid
from smalti.training.pyramid.learner import FitPlan, Learner
from smalti.training.pyramid.pyramid_settings import DEFAULT_MSE, EFFORTS, PyramidSettings, PyramidShape

__all__ = [
    "BATCH_IMAGES",
    "SLICE",
    "FitSize",
    "RateEstimate",
    "Spectrum",
    "choose_shape",
    "choose_size",
    "learned_share",
    "make_learner",
    "make_pyramid",
    "search_rounds",
]


WIDTHS = (16, 24, 32, 40, 48, 56, 64, 80, 96, 128)
WEIGHTS_PER_TOKEN_BIT = 0.015
"""Weights that pay for themselves, for each bit of the collection's tokens: estimated from decoders of digits."""

MOST_OPERATIONS = 4_000
"""The most multiplications of a decoder for each pixel, so that fits end and readers are fast."""

MOST_BITS_PER_CELL = 7.0
"""The most bits for a cell of 8 pixels. Beyond, cells of 4 pixels are better in grey, slices of latents in colour."""

SLICE = 4
"""Channels of a cell's latents for one token, in colour images."""

BITS_PER_SLICE = 3.0
"""Approximate bits of a slice's token; a cell that needs more gets more slices."""

MOST_SLICES = 8
LEARNED_SHARE = {1: 0.4, 3: 1.0}
"""Approximate bits of a learned codec, as a share of those of the best linear one, by channels: drawings and garments
in grey have more in common than colour photographs have."""

LEAST_VARIANCE = 1e-12
TILE = 16
"""Side of the tiles whose covariance stands for that of larger images."""


@dataclass(frozen=True)
class RateEstimate:
    """An estimate for the images of a collection.

    bits : of the tokens of an image
    price : squared error of an image that one bit is worth (pixels scaled to 0..1)
    """

    bits: float
    price: float


class Spectrum:
    """How images of a sample differ: the variances of their principal components.

    A learned codec is assumed to need a share of the rate of Gaussian vectors with the same covariance (reverse
    water-filling; Cover & Thomas 2006, 10.3.3). The vectors are whole images if these are small, else tiles.

    sample : pixels [n, H, W, C]
    scale : the scale of the pixels
    """

    def __init__(self, sample: Pixels, scale: PixelScale = EIGHT_BITS) -> None:
        count, height, width, channels = sample.shape
        rows, columns = min(height, 2 * TILE), min(width, 2 * TILE)
        if height * width > 4 * TILE * TILE:
            rows, columns = min(height, TILE), min(width, TILE)
        down, across = height // rows, width // columns
        tiles = sample[:, : down * rows, : across * columns].reshape(count, down, rows, across, columns, channels)
        flat = tiles.transpose(0, 1, 3, 2, 4, 5).reshape(count * down * across, -1)[:20_000]
        vectors = (flat - float(scale.low)) / float(scale.high - scale.low)
        if len(vectors) < 2:  # one vector does not show how such images differ: assume large differences
            vectors = np.stack([vectors[0], 1 - vectors[0]])
        self._variances = np.linalg.eigvalsh(np.atleast_2d(np.cov(vectors, rowvar=False))).clip(LEAST_VARIANCE)
        self._tiles = (height * width) / (rows * columns)
        self._share = learned_share(channels)

    def at_mse(self, mse: float) -> RateEstimate:
        """Return the estimate for a mean squared error."""
        target = mse * len(self._variances)
        return self._at(lambda level: float(np.minimum(self._variances, level).sum()) > target)

    def at_bits(self, bits: float) -> RateEstimate:
        """Return the estimate for the given bits of an image."""
        return self._at(lambda level: self._bits(level) < bits)

    def _at(self, too_high: Callable[[float], bool]) -> RateEstimate:
        """Return the estimate at a water level, found by bisection: the error of each component, up to its variance."""
        low, high = LEAST_VARIANCE, float(self._variances.max())
        for _ in range(60):
            level = math.sqrt(low * high)
            if too_high(level):
                high = level
            else:
                low = level
        # the slope of squared error along bits for Gaussian vectors. The measured slope of learned codecs is from a
        # third of it to twice as much. At first, a price too low does less harm than one too high
        return RateEstimate(self._bits(level), 2 * math.log(2) * level)

    def _bits(self, level: float) -> float:
        return float(self._share * self._tiles * 0.5 * np.log2(np.maximum(self._variances / level, 1)).sum())


def learned_share(channels: int) -> float:
    """Return the approximate bits of a learned codec, as a share of those of the best linear one."""
    return LEARNED_SHARE[1 if channels < 3 else 3]


def choose_shape(
    image_shape: tuple[int, int, int], images: int, bits: float, coarse: bool = True, mixing: bool = False
) -> PyramidShape:
    """Return the shape of the network for a collection.

    images : number of images
    bits : estimated bits of the tokens of an image
    coarse : whether a coarse scale is allowed
    mixing : as in PyramidShape
    """
    height, width, channels = image_shape
    per_cell = bits / (-(-height // 8) * -(-width // 8))
    sliced = channels > 2 and per_cell > MOST_BITS_PER_CELL
    steps = 3 if sliced or per_cell <= MOST_BITS_PER_CELL else 2
    strides = PyramidShape.strides_for(image_shape, 2**steps)
    if not coarse:
        strides = strides[-1:]
    if sliced:
        finest = SLICE * min(MOST_SLICES, math.ceil(per_cell / BITS_PER_SLICE))
    else:
        finest = 6 if bits / (-(-height // 2**steps) * -(-width // 2**steps)) < 5 else 8
    latents = (8, finest)[-len(strides) :]
    chosen = None
    for first in WIDTHS:
        widths = tuple(max(8, 4 * round(first * share / 4)) for share in (1.0, 0.625, 0.3125)[:steps])
        wider = PyramidShape(image_shape, strides, latents, widths, mixing, sliced)
        too_slow = wider.operations > MOST_OPERATIONS * height * width
        if chosen and (too_slow or wider.weights > WEIGHTS_PER_TOKEN_BIT * images * bits):
            break
        chosen = wider
    assert chosen is not None  # the first width is always accepted
    return chosen


BATCH_IMAGES = 128
SAMPLE_IMAGES = 4_000
FULL_OPERATIONS = 1_800_000
"""The most multiplications of a decoder for which a fit takes all steps of its effort."""

MOST_EPOCHS = 400
BITS_PER_LEVEL = 3.8
"""The most bits of one level's token; a position that needs more gets more levels. Cells of 4 pixels, which serve small
errors, get one more level: sums of codes reach errors that no single codebook reaches."""

MOST_CODES = 512
SPARE_CODES = 64
"""Codes of a level, as a multiple of the number that its bits need if all are equally likely: the rate selects some."""

HIDDEN_UNITS = 48
TOKEN_SHARE = 0.85
"""Approximate share of the tokens in an archive."""

OTHER_BYTES = 3_000
"""Approximate bytes of an archive besides model and tokens."""

BITS_PER_DECODER_WEIGHT = 4.0


@dataclass(frozen=True)
class FitSize:
    """The size of a fit for a collection.

    shape : sizes of the network
    levels : number of levels of each scale
    steps : number of steps of the fit
    most_codes : the most codes of a level
    likely_price : estimated squared error of an image that one bit is worth
    goal_mse : mean squared error to reach, of pixels in [0, 1]; None if the goal is in bits
    goal_bits : bits of an image to reach; None if the goal is an error
    """

    shape: PyramidShape
    levels: tuple[int, ...]
    steps: int
    most_codes: int
    likely_price: float
    goal_mse: float | None
    goal_bits: float | None


def _effort_share(shape: PyramidShape) -> float:
    """Return the share of an effort's steps and rounds for a shape, so that all fits take about the same time."""
    return min(1.0, FULL_OPERATIONS / shape.operations)


def search_rounds(effort: int, shape: PyramidShape) -> int:
    """Return the number of search rounds for images of a shape."""
    return math.ceil(EFFORTS[effort].rounds * _effort_share(shape))


def choose_size(images: TrainingImages, settings: PyramidSettings) -> FitSize:
    """Choose the size of a fit for a collection and its goal."""
    sample = images.sample(SAMPLE_IMAGES, settings.seed)
    goal = settings.goal
    given = goal.unit_mse(images.scale)
    mse = given if given is not None else DEFAULT_MSE.get(settings.profile, 0.005)
    budget = goal.archive_bytes
    spectrum = Spectrum(sample, images.scale)
    likely = spectrum.at_mse(mse) if budget is None else spectrum.at_bits(TOKEN_SHARE * 8 * budget / len(images))
    shape = choose_shape(images.image_shape, len(images), likely.bits, settings.coarse, settings.mixing)
    bits = likely.bits / shape.positions[-1]
    levels = tuple([1] * (len(shape.strides) - 1) + [_levels_at_cells(shape, bits)])
    steps = round(EFFORTS[settings.effort].steps * _effort_share(shape))
    steps = max(200, min(steps, MOST_EPOCHS * images.steps_per_epoch(BATCH_IMAGES)))
    goal_bits = None
    if budget is not None:
        model_bits = BITS_PER_DECODER_WEIGHT * shape.weights + 8 * OTHER_BYTES
        goal_bits = max(1.0, (8 * budget - model_bits) / len(images))
    most_codes = round(min(MOST_CODES, SPARE_CODES * 2 ** (bits / levels[-1])))
    return FitSize(shape, levels, steps, most_codes, likely.price, mse if goal_bits is None else None, goal_bits)


def _levels_at_cells(shape: PyramidShape, bits: float) -> int:
    """Return the number of levels of the finest scale. bits : estimated bits of one of its positions"""
    if shape.sliced:
        return shape.latents[-1] // SLICE
    return max(1, math.ceil(bits / BITS_PER_LEVEL)) + (shape.cell == 4)


def make_pyramid(
    shape: PyramidShape,
    levels: tuple[int, ...],
    sizes: list[int],
    conditional: bool,
    seed: int,
    scale: PixelScale = EIGHT_BITS,
) -> Pyramid:
    """Return a pyramid whose codes are zeros.

    levels : number of levels of each scale
    sizes : number of codes of each level
    conditional : whether priors see earlier tokens
    scale : the scale of the pixels
    """
    generator = torch.Generator().manual_seed(seed)
    forms = [form for number, count in enumerate(levels) for form in _forms(shape, number, count)]
    priors = []
    for number, (form, codes) in enumerate(zip(forms, sizes, strict=True)):
        positions = shape.positions[form.scale]
        known = conditional and not (number == 0 and positions == 1)
        features = context_size(shape.latents, shape.positions, form.scale) if known else 0
        priors.append(LevelPrior(features, HIDDEN_UNITS, codes, positions, generator))
    codes_of = [torch.zeros(codes, form.channels) for form, codes in zip(forms, sizes, strict=True)]
    return Pyramid(shape, forms, codes_of, priors, scale)


def _forms(shape: PyramidShape, scale: int, count: int) -> list[LevelForm]:
    """Return the levels of a scale: each has all channels, or in a sliced shape its share of them."""
    channels = shape.latents[scale]
    if not shape.sliced:
        return [LevelForm(scale, 0, channels)] * count
    borders = [channels * number // count for number in range(count + 1)]
    return [LevelForm(scale, start, stop - start) for start, stop in pairwise(borders)]


def make_learner(
    images: TrainingImages, settings: PyramidSettings, size: FitSize, group: ProcessGroup = ALONE
) -> Learner:
    """Return a learner before its first step. The state of torch's global generator does not change."""
    pixels = math.prod(images.image_shape)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(settings.seed)
        encoder = PyramidEncoder(size.shape).to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        sizes = [1] * sum(size.levels)
        pyramid = make_pyramid(size.shape, size.levels, sizes, settings.conditional, settings.seed, images.scale)
    plan = FitPlan.of(size.steps, images.steps_per_epoch(BATCH_IMAGES))
    goal_sse = None if size.goal_mse is None else size.goal_mse * pixels
    return Learner(
        encoder,
        pyramid,
        plan,
        len(images),
        size.likely_price,
        goal_sse,
        size.goal_bits,
        most_codes=size.most_codes,
        codes=settings.codes,
        rate_aware=settings.rate_aware,
        shrink_weights=settings.shrink_weights,
        group=group,
    )
