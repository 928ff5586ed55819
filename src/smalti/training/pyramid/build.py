"""From settings and images to what is to learn: networks, levels, and the plan of the fit."""

import math
from dataclasses import dataclass
from itertools import pairwise

import torch

from smalti.training.common.distributed import ALONE, Group
from smalti.training.common.scaling import EIGHT_BITS, PixelScale
from smalti.training.common.training_images import TrainingImages
from smalti.training.pyramid.encoder import PyramidEncoder
from smalti.training.pyramid.learned_prior import LevelPrior, context_size
from smalti.training.pyramid.learned_pyramid import LevelForm, Pyramid
from smalti.training.pyramid.learner import Learner, Plan
from smalti.training.pyramid.pyramid_settings import DEFAULT_MSE, EFFORTS, PyramidSettings
from smalti.training.pyramid.pyramid_shape import PyramidShape
from smalti.training.pyramid.sizing import SLICE, Spectrum, choose_shape

__all__ = ["BATCH_IMAGES", "Sized", "make_learner", "make_pyramid", "search_rounds", "size_up"]

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


def make_learner(images: TrainingImages, settings: PyramidSettings, sized: Sized, group: Group = ALONE) -> Learner:
    """Return what learns, before its first step. The global generator of torch is left as it was."""
    pixels = math.prod(images.image_shape)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(settings.seed)
        encoder = PyramidEncoder(sized.shape).to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        sizes = [1] * sum(sized.levels)
        pyramid = make_pyramid(sized.shape, sized.levels, sizes, settings.conditional, settings.seed, images.scale)
    plan = Plan.of(sized.steps, images.steps_per_epoch(BATCH_IMAGES))
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
