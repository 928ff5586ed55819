"""The efforts of a lossless fit, and the sizes of its network for a collection."""

from dataclasses import dataclass, replace

from smalti.training.cells.sized_fits import FULL_PIXELS, Effort
from smalti.training.pixels.pixel_settings import WEIGHT_BYTES, MixtureShape, PixelShape

__all__ = ["EFFORTS", "FEW_LEVELS", "choose_mixture", "choose_scores", "steps_for"]

FEW_LEVELS = 8
"""With no more levels each has a score of its own; else a mixture says where levels are."""

STEP_PIXELS = 1 << 13
"""Pixels of a step. Many small steps learn faster than few large ones: CIFAR-10 comes to 3.75 bits a sample after 500
steps on 2**15 pixels, to 3.71 after 1,000 on 2**14, in about the same time."""

EFFORTS = tuple(
    Effort(steps, 0, STEP_PIXELS)
    for steps in (2_500, 4_000, 8_000, 15_000, 22_000, 32_000, 45_000, 60_000, 80_000, 110_000)
)


def steps_for(effort: int, pixels: int) -> Effort:
    """The work for a collection of so many pixels. Small ones have less to teach, but their steps are cheap."""
    work = EFFORTS[effort]
    return replace(work, steps=round(work.steps * min(1.0, (pixels / FULL_PIXELS) ** 0.25)))


@dataclass(frozen=True)
class _Size:
    """A size of network. effort : the least one that takes it"""

    effort: int
    radius: int
    width: int
    depth: int
    components: int


_SIZES = (
    _Size(0, 1, 4, 0, 1),
    _Size(0, 1, 8, 0, 2),
    _Size(0, 1, 24, 0, 2),
    _Size(1, 2, 24, 0, 3),
    _Size(2, 2, 32, 1, 4),
    _Size(3, 2, 48, 1, 4),
    _Size(4, 2, 64, 1, 4),
    _Size(5, 3, 64, 2, 4),
    _Size(7, 3, 96, 2, 4),
    _Size(9, 4, 128, 3, 4),
)
"""Larger networks take fewer bits and longer: a decoder goes through nearly all weights for each pixel."""

_MOST_SHARE = 0.04
"""Of the bytes of the tokens, the weights may take this share."""

_SMALL_SIDE = 32
"""Images of one size and at most this side have numbers for each of their rows and columns."""

_MOST_SCORES_WIDTH = 32
"""The width of a network with a score for every level: more would make it slow."""


def choose_mixture(
    levels: tuple[int, ...], tokens_bytes: float, size: tuple[int, int] | None, effort: int, deep: bool
) -> MixtureShape:
    """The sizes of a mixture prior.

    levels : of each channel, in coding order    tokens_bytes : about what its tokens will take
    size : (H, W), if all images have this one    deep : whether samples have 16 bits
    """
    chosen = None
    for own in _SIZES:
        edges = _edges(size, own.radius, own.width)
        shape = MixtureShape(levels, own.radius, own.width, own.depth, own.components, edges, deep)
        pays = WEIGHT_BYTES * shape.weights < _MOST_SHARE * tokens_bytes
        if chosen is None or (pays and own.effort <= effort):
            chosen = shape
    assert chosen is not None
    return chosen


def choose_scores(
    levels: tuple[int, ...], tokens_bytes: float, size: tuple[int, int] | None, effort: int
) -> PixelShape:
    """The sizes of a prior with a score for every level."""
    chosen = None
    for own in _SIZES:
        width = min(own.width, _MOST_SCORES_WIDTH)
        shape = PixelShape(levels, own.radius, width, own.depth, _edges(size, own.radius, width))
        pays = WEIGHT_BYTES * shape.weights < _MOST_SHARE * tokens_bytes
        if chosen is None or (pays and own.effort <= effort):
            chosen = shape
    assert chosen is not None
    return chosen


def _edges(size: tuple[int, int] | None, radius: int, width: int) -> tuple[int, int, int]:
    if size is not None and max(size) <= _SMALL_SIDE and width >= 12:
        return size[0], size[1], 1
    return radius + 1, radius + 1, radius + 1
