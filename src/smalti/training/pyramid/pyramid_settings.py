"""The settings of a fit of a pyramid, its efforts, and the geometry of the network.

The canvas has one cell for each 8 (or 4) pixels of a side, rounded up. Transposed convolutions of stride 2 lead from
the canvas to the pixels. With `mixing`, a convolution of 3 x 3 comes first, so that cells see their neighbours. Where a
layer's output has an odd side, its kernel is 3 instead of 4, so that nothing is cropped. Latents have scales: a coarse
one, with one vector for a block of cells (the whole canvas, if it is small), for what images have in common; and a fine
one, with one vector for each cell, for detail.
"""

import math
from dataclasses import asdict, dataclass
from itertools import pairwise
from typing import Any, Literal

from smalti.errors import ModelError, UsageError
from smalti.training.common.goal import Goal

__all__ = ["DEFAULT_EFFORT", "DEFAULT_MSE", "EFFORTS", "Effort", "LayerShape", "PyramidSettings", "PyramidShape"]


DEFAULT_EFFORT = 5
DEFAULT_MSE = {"compact": 0.0094, "fine": 0.002}
"""The goals of the profiles, if the user gives none: the study's own quality, and about a fifth of its error."""


@dataclass(frozen=True)
class Effort:
    """The work of a fit.

    steps : steps of a fit of 28 x 28 images, in batches of 128; larger images cost more and get fewer steps
    rounds : rounds of the search for better tokens
    refits : how often decoder and prior learn from the tokens of a search: at the end of a fit, when a model is adapted
        to other images, and once more when it packs the images of its fit
    """

    steps: int
    rounds: int
    refits: int


EFFORTS = (
    Effort(800, 0, 0),
    Effort(1_500, 0, 0),
    Effort(2_500, 3, 0),
    Effort(4_000, 3, 0),
    Effort(5_500, 3, 0),
    Effort(7_000, 4, 1),
    Effort(9_000, 4, 1),
    Effort(11_000, 4, 2),
    Effort(13_000, 4, 2),
    Effort(15_000, 4, 2),
)


@dataclass(frozen=True)
class PyramidSettings:
    """A fit of the profile `compact` or `fine`.

    goal : the quality or size of the collection
    effort : 0 to 9
    codes : K of every level; None for codebooks that find their own size

    The others switch one part on or off, to measure its effect (`benchmarks/ablation.py`):

    coarse : whether there is a coarse scale
    mixing : whether the decoder's cells see their neighbours on the canvas
    rate_aware : whether tokens are chosen by distortion and rate, or by distortion alone
    conditional : whether the prior sees earlier tokens
    shrink_weights : whether weights shrink where that saves bytes
    """

    profile: str
    goal: Goal
    effort: int = DEFAULT_EFFORT
    seed: int = 0
    codes: int | None = None
    coarse: bool = True
    mixing: bool = False
    rate_aware: bool = True
    conditional: bool = True
    shrink_weights: bool = True

    def __post_init__(self) -> None:
        if not 0 <= self.effort < len(EFFORTS):
            raise UsageError(f"an effort of {self.effort} is outside 0..{len(EFFORTS) - 1}")
        if self.seed < 0:
            raise UsageError(f"seed must not be negative, not {self.seed}")

    def to_json(self) -> dict[str, Any]:
        """Return a plain dictionary, from which `from_json` makes equal settings."""
        return asdict(self)

    @classmethod
    def from_json(cls, stored: dict[str, Any]) -> "PyramidSettings":
        """Return the settings in a dictionary of `to_json`; ModelError for anything else."""
        try:
            return cls(**{**stored, "goal": Goal(**stored["goal"])})
        except (TypeError, KeyError, UsageError) as error:
            raise ModelError(f"the stored settings are not of this release: {error}; fit the model anew") from error


WHOLE = (1, 2, 3, 4, 5, 6, 7, 8)
"""Sides of a canvas that one vector of the coarse scale covers."""

Pair = tuple[int, int]


@dataclass(frozen=True)
class LayerShape:
    """A layer between canvas and pixels, with a padding of 1.

    kind : "conv" (3 x 3, stride 1), or "up": a transposed convolution of stride 2, with a kernel of 3 or 4 on each axis
    """

    kind: Literal["conv", "up"]
    inputs: int
    outputs: int
    kernel: Pair


@dataclass(frozen=True)
class PyramidShape:
    """All sizes of a pyramid network.

    image_shape : (H, W, C)
    strides : the stride of each scale in cells of the canvas, coarse to fine
    latents : the channels of each scale
    widths : channels of the canvas, then after each transposed convolution except the last; a cell of the canvas is
        2**len(widths) pixels wide
    mixing : whether cells see their neighbours on the canvas, by stems of 3 x 3 and a convolution of 3 x 3
    sliced : whether the levels of a scale divide its channels among them (product quantisation; Jégou, Douze & Schmid
        2011), or each adds to all channels (residual quantisation)
    """

    image_shape: tuple[int, int, int]
    strides: tuple[Pair, ...]
    latents: tuple[int, ...]
    widths: tuple[int, ...]
    mixing: bool = False
    sliced: bool = False

    def __post_init__(self) -> None:
        if len(self.strides) != len(self.latents) or not self.strides:
            raise UsageError(f"{len(self.strides)} strides for {len(self.latents)} scales of latents")
        for stride in self.strides:
            if any(side % step for side, step in zip(self.canvas, stride, strict=True)):
                raise UsageError(f"a stride of {list(stride)} does not divide a canvas of {list(self.canvas)}")

    @property
    def cell(self) -> int:
        """The side of a canvas cell in pixels."""
        return int(2 ** len(self.widths))

    @property
    def canvas(self) -> Pair:
        """The rows and columns of the canvas."""
        return self._sides(0)[0], self._sides(1)[0]

    @property
    def padded(self) -> Pair:
        """The rows and columns of images after an encoder's padding."""
        return self.canvas[0] * self.cell, self.canvas[1] * self.cell

    def grid(self, scale: int) -> Pair:
        """Return the rows and columns of a scale."""
        (rows, columns), (down, across) = self.canvas, self.strides[scale]
        return rows // down, columns // across

    @property
    def positions(self) -> tuple[int, ...]:
        """The number of positions of each scale."""
        return tuple(math.prod(self.grid(scale)) for scale in range(len(self.strides)))

    @property
    def stem_kernels(self) -> tuple[tuple[Pair, Pair], ...]:
        """The kernel and padding of each scale's stem, which maps it to the canvas.

        With `mixing`, neighbours take part along axes of stride 1.
        """
        near = (3, 1) if self.mixing else (1, 0)
        sides = [[near if step == 1 else (step, 0) for step in stride] for stride in self.strides]
        return tuple(((down[0], across[0]), (down[1], across[1])) for down, across in sides)

    @property
    def layers(self) -> tuple[LayerShape, ...]:
        """The layers from the canvas to the pixels."""
        channels = (*self.widths, self.image_shape[2])
        rows, columns = self._sides(0), self._sides(1)
        ups = (
            LayerShape("up", inputs, outputs, (_kernel(rows, step), _kernel(columns, step)))
            for step, (inputs, outputs) in enumerate(pairwise(channels))
        )
        mixed = LayerShape("conv", self.widths[0], self.widths[0], (3, 3))
        return (mixed, *ups) if self.mixing else tuple(ups)

    @property
    def weights(self) -> int:
        """The number of weights of the decoder."""
        stems = zip(self.latents, self.stem_kernels, strict=True)
        stem_weights = sum(latents * math.prod(kernel) * self.widths[0] for latents, (kernel, _) in stems)
        return stem_weights + sum(layer.inputs * layer.outputs * math.prod(layer.kernel) for layer in self.layers)

    @property
    def operations(self) -> int:
        """The number of multiplications to decode an image."""
        total = math.prod(self.canvas) * (9 if self.mixing else 1) * sum(self.latents) * self.widths[0]
        rows, columns = self._sides(0), self._sides(1)
        for number, layer in enumerate(self.layers):
            step = max(0, number - self.mixing)
            total += rows[step] * columns[step] * layer.inputs * layer.outputs * math.prod(layer.kernel)
        return total

    @staticmethod
    def strides_for(image_shape: tuple[int, int, int], cell: int) -> tuple[Pair, ...]:
        """Return the strides of the scales for images of a shape: one scale if the canvas is one cell, else two."""
        coarse = _coarse(-(-image_shape[0] // cell)), _coarse(-(-image_shape[1] // cell))
        return (coarse, (1, 1)) if coarse != (1, 1) else ((1, 1),)

    def _sides(self, axis: int) -> list[int]:
        """Return the sides of an axis from the canvas to the image: each is half of the next, rounded up."""
        sides = [self.image_shape[axis]]
        for _ in self.widths:
            sides.insert(0, -(-sides[0] // 2))
        return sides


def _kernel(sides: list[int], step: int) -> int:
    return 4 if sides[step + 1] == 2 * sides[step] else 3


def _coarse(cells: int) -> int:
    """Return the coarse stride for a side of the canvas: it divides the side, so that no vector reaches beyond."""
    return cells if cells in WHOLE else next((stride for stride in (8, 7, 6, 5, 4, 3, 2) if cells % stride == 0), 1)
