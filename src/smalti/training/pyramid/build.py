"""From settings and images to what is to learn: networks, levels, and the plan of the fit.

How large a network a collection gets: what its tokens will about take, and the decoder that pays for itself.
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
    "Likely",
    "Sized",
    "Spectrum",
    "choose_shape",
    "learned_share",
    "make_learner",
    "make_pyramid",
    "search_rounds",
    "size_up",
]


WIDTHS = (16, 24, 32, 40, 48, 56, 64, 80, 96, 128)
WEIGHTS_PER_TOKEN_BIT = 0.015
"""Weights that about pay for themselves, for a bit of tokens of the collection: a guess, from decoders of digits."""

MOST_OPERATIONS = 4_000
"""Multiplications of a decoder for a pixel above which none is taken: fits must end, and readers be quick."""

MOST_BITS_PER_CELL = 7.0
"""Bits of a cell of 8 pixels above which cells of 4 pixels serve better in grey, and slices of latents in colour."""

SLICE = 4
"""Channels of a cell's latents for one token, where images are in colour."""

BITS_PER_SLICE = 3.0
"""Bits that a slice's token carries, about; a cell that needs more gets more slices."""

MOST_SLICES = 8
LEARNED_SHARE = {1: 0.4, 3: 1.0}
"""What a learned codec takes of the bits of the best linear one, about: drawings and garments in grey are alike in more
than colour photographs are. By channels."""

LEAST_VARIANCE = 1e-12
TILE = 16
"""Side of the tiles whose covariance is looked at, in images that are larger."""


@dataclass(frozen=True)
class Likely:
    """What the images of a collection will about come to.

    bits : of tokens of an image
    price : squared error of an image that a bit is worth (pixels scaled to 0..1)
    """

    bits: float
    price: float


class Spectrum:
    """How images of a sample differ: the variances of their principal components.

    A learned codec is taken to need a share of the rate of Gaussian vectors of the same covariance (reverse
    water-filling; Cover & Thomas 2006, 10.3.3), those of the images as wholes if they are small, else of their tiles.

    sample : pixels [n, H, W, C]    scale : theirs
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
        if len(vectors) < 2:  # nothing is known of how such images differ: take them to be anything
            vectors = np.stack([vectors[0], 1 - vectors[0]])
        self._variances = np.linalg.eigvalsh(np.atleast_2d(np.cov(vectors, rowvar=False))).clip(LEAST_VARIANCE)
        self._tiles = (height * width) / (rows * columns)
        self._share = learned_share(channels)

    def at_mse(self, mse: float) -> Likely:
        """Return what is likely at a mean squared error."""
        wanted = mse * len(self._variances)
        return self._at(lambda level: float(np.minimum(self._variances, level).sum()) > wanted)

    def at_bits(self, bits: float) -> Likely:
        """Return what is likely at so many bits an image."""
        return self._at(lambda level: self._bits(level) < bits)

    def _at(self, too_high: Callable[[float], bool]) -> Likely:
        """What is likely at a level of the water, which leaves each component at most its variance."""
        low, high = LEAST_VARIANCE, float(self._variances.max())
        for _ in range(60):
            level = math.sqrt(low * high)
            if too_high(level):
                high = level
            else:
                low = level
        # the slope of squared error along bits for Gaussian vectors. That of a learned codec was found to be from a
        # third of it to twice as much; too low a price at first does less harm than one that is too high
        return Likely(self._bits(level), 2 * math.log(2) * level)

    def _bits(self, level: float) -> float:
        return float(self._share * self._tiles * 0.5 * np.log2(np.maximum(self._variances / level, 1)).sum())


def learned_share(channels: int) -> float:
    """Return what a learned codec takes of the bits of the best linear one, about."""
    return LEARNED_SHARE[1 if channels < 3 else 3]


def choose_shape(
    image_shape: tuple[int, int, int], images: int, bits: float, coarse: bool = True, mixing: bool = False
) -> PyramidShape:
    """Return the network for a collection.

    bits : about what the tokens of an image will take    coarse : whether a coarse scale is allowed
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
    assert chosen is not None  # the first one is always taken
    return chosen


BATCH_IMAGES = 128
SAMPLE_IMAGES = 4_000
FULL_OPERATIONS = 1_800_000
"""Multiplications of a decoder at which a fit takes all the steps of its effort."""

MOST_EPOCHS = 400
BITS_PER_LEVEL = 3.8
"""Bits that one level's token carries at most; a place that needs more gets more levels. Cells of 4 pixels, which are
taken where little error is allowed, get one more: codes added to codes reach down to errors that no codebook does."""

MOST_CODES = 512
SPARE_CODES = 64
"""Codes of a level for each that its bits would need if all were equally likely: rate does the choosing."""

HIDDEN_UNITS = 48
TOKEN_SHARE = 0.85
"""Of an archive, about."""

OTHER_BYTES = 3_000
"""Of an archive: what is neither model nor tokens, about."""

BITS_PER_DECODER_WEIGHT = 4.0


@dataclass(frozen=True)
class Sized:
    """What a collection gets.

    shape : sizes of the network
    levels : levels of each scale
    steps : of the fit
    most_codes : of a level
    likely_price : squared error of an image that a bit is about worth
    goal_mse, goal_bits : of an image, in [0, 1]; one of them is None
    """

    shape: PyramidShape
    levels: tuple[int, ...]
    steps: int
    most_codes: int
    likely_price: float
    goal_mse: float | None
    goal_bits: float | None


def _effort_share(shape: PyramidShape) -> float:
    """Share of an effort's steps and rounds that images of a shape get, so that fits end in about the same time."""
    return min(1.0, FULL_OPERATIONS / shape.operations)


def search_rounds(effort: int, shape: PyramidShape) -> int:
    """Rounds of the search for better tokens that images of a shape get."""
    return math.ceil(EFFORTS[effort].rounds * _effort_share(shape))


def size_up(images: TrainingImages, settings: PyramidSettings) -> Sized:
    """Choose the network for a collection and its goal."""
    sample = images.sample(SAMPLE_IMAGES, settings.seed)
    goal = settings.goal
    asked = goal.unit_mse(images.scale)
    mse = asked if asked is not None else DEFAULT_MSE.get(settings.profile, 0.005)
    budget = goal.archive_bytes
    spectrum = Spectrum(sample, images.scale)
    likely = spectrum.at_mse(mse) if budget is None else spectrum.at_bits(TOKEN_SHARE * 8 * budget / len(images))
    shape = choose_shape(images.image_shape, len(images), likely.bits, settings.coarse, settings.mixing)
    per_place = likely.bits / shape.positions[-1]
    levels = tuple([1] * (len(shape.strides) - 1) + [_levels_at_cells(shape, per_place)])
    steps = round(EFFORTS[settings.effort].steps * _effort_share(shape))
    steps = max(200, min(steps, MOST_EPOCHS * images.steps_per_epoch(BATCH_IMAGES)))
    goal_bits = None
    if goal.archive_bytes is not None:
        model_bits = BITS_PER_DECODER_WEIGHT * shape.weights + 8 * OTHER_BYTES
        goal_bits = max(1.0, (8 * goal.archive_bytes - model_bits) / len(images))
    most_codes = round(min(MOST_CODES, SPARE_CODES * 2 ** (per_place / levels[-1])))
    return Sized(shape, levels, steps, most_codes, likely.price, mse if goal_bits is None else None, goal_bits)


def _levels_at_cells(shape: PyramidShape, bits: float) -> int:
    """Levels of the finest scale. bits : of one of its places, about"""
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
    """Return a pyramid with codes of zeros, `sizes` of them for each level. scale : of pixels"""
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
    """The levels of a scale: each of all its channels, or each of its share."""
    channels = shape.latents[scale]
    if not shape.sliced:
        return [LevelForm(scale, 0, channels)] * count
    borders = [channels * number // count for number in range(count + 1)]
    return [LevelForm(scale, start, stop - start) for start, stop in pairwise(borders)]


def make_learner(
    images: TrainingImages, settings: PyramidSettings, sized: Sized, group: ProcessGroup = ALONE
) -> Learner:
    """Return what learns, before its first step. The global generator of torch is left as it was."""
    pixels = math.prod(images.image_shape)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(settings.seed)
        encoder = PyramidEncoder(sized.shape).to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        sizes = [1] * sum(sized.levels)
        pyramid = make_pyramid(sized.shape, sized.levels, sizes, settings.conditional, settings.seed, images.scale)
    plan = FitPlan.of(sized.steps, images.steps_per_epoch(BATCH_IMAGES))
    goal_sse = None if sized.goal_mse is None else sized.goal_mse * pixels
    return Learner(
        encoder,
        pyramid,
        plan,
        len(images),
        sized.likely_price,
        goal_sse,
        sized.goal_bits,
        most_codes=sized.most_codes,
        codes=settings.codes,
        rate_aware=settings.rate_aware,
        shrink_weights=settings.shrink_weights,
        group=group,
    )
