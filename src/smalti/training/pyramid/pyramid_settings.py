"""What a fit of a pyramid is asked for, and the effort that goes into it.

The geometry of a pyramid: canvas, scales of latents, and the layers that take the canvas to pixels.

The canvas has one cell for each 8 (or 4) pixels of a side, rounded up. Transposed convolutions of stride 2 lead from it
to the pixels (with `mixing`, a convolution of 3 x 3 comes first, so that cells know of their neighbours). Where a side
is odd on the way, a kernel of 3 instead of 4 makes it so, and nothing is cropped. Latents stand on scales: one that
covers a block of cells by one vector (the whole canvas, if it is small), for what images have in common as wholes, and
one with a vector at each cell, for detail.
"""

import math
from dataclasses import asdict, dataclass, replace
from itertools import pairwise
from typing import Any, Literal

from smalti.errors import ModelError, UsageError
from smalti.training.pyramid.trade_off import Goal

__all__ = ["DEFAULT_EFFORT", "DEFAULT_MSE", "EFFORTS", "Effort", "LayerShape", "PyramidSettings", "PyramidShape"]


DEFAULT_EFFORT = 5
DEFAULT_MSE = {"compact": 0.0094, "fine": 0.002}
"""What the profiles aim at if nothing is asked for: the study's own quality, and about a fifth of its error."""


@dataclass(frozen=True)
class Effort:
    """What a fit may take.

    steps : of a fit of images of 28 x 28, in batches of 128; larger images cost more and see fewer
    rounds : of the search for better tokens
    refits : how often, at the end of a fit, decoder and prior learn from tokens that were searched for; a model that is
        adapted to other images does so too, and one that packs its own images once more
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

    goal : what the collection is to come to
    effort : 0 to 9
    codes : None for codebooks that size themselves, else K for every level

    The remaining ones switch a part off or on, to measure what it brings (`benchmarks/ablation.py`):

    coarse : whether there is a scale above the finest one
    mixing : whether the decoder's cells see their neighbours before they grow
    rate_aware : whether tokens are chosen by rate too, or by distortion alone
    conditional : whether the prior looks at what was decoded before
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
        """Return a plain dictionary that `from_json` turns back into equal settings."""
        return asdict(self)

    @classmethod
    def from_json(cls, stored: dict[str, Any]) -> "PyramidSettings":
        """Return the settings in a dictionary from `to_json`; ModelError if it holds anything else."""
        try:
            return cls(**{**stored, "goal": Goal(**stored["goal"])})
        except (TypeError, KeyError, UsageError) as error:
            raise ModelError(f"the stored settings are not of this release: {error}; fit the model anew") from error


WHOLE = (1, 2, 3, 4, 5, 6, 7, 8)
"""Sides of a canvas that one vector covers."""

Pair = tuple[int, int]


@dataclass(frozen=True)
class LayerShape:
    """A layer from the canvas to the pixels, of padding 1.

    kind : "conv" (3 x 3, stride 1) or "up", a transposed convolution of stride 2 and a kernel of 3 or 4 along each axis
    """

    kind: Literal["conv", "up"]
    inputs: int
    outputs: int
    kernel: Pair


@dataclass(frozen=True)
class PyramidShape:
    """All sizes of a pyramid network.

    image_shape : (H, W, C)
    strides : of each scale, in cells of the canvas, coarse to fine
    latents : channels of each scale, as many as `strides`
    widths : channels of the canvas, and after each transposed convolution but the last: a cell of the canvas is
        2**len(widths) pixels wide
    mixing : whether cells see their neighbours before they grow: by stems of 3 x 3, and a convolution of 3 x 3
    sliced : whether the levels of a scale share its channels out (product quantisation; Jégou, Douze & Schmid 2011),
        instead of each adding to all of them (residual quantisation)
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
        """Pixels of a side to one cell of the canvas."""
        return int(2 ** len(self.widths))

    @property
    def canvas(self) -> Pair:
        """Rows and columns of the canvas."""
        return self._sides(0)[0], self._sides(1)[0]

    @property
    def padded(self) -> Pair:
        """Rows and columns that an encoder pads images to."""
        return self.canvas[0] * self.cell, self.canvas[1] * self.cell

    def grid(self, scale: int) -> Pair:
        """Rows and columns of a scale."""
        (rows, columns), (down, across) = self.canvas, self.strides[scale]
        return rows // down, columns // across

    @property
    def positions(self) -> tuple[int, ...]:
        """Places of each scale."""
        return tuple(math.prod(self.grid(scale)) for scale in range(len(self.strides)))

    @property
    def stem_kernels(self) -> tuple[tuple[Pair, Pair], ...]:
        """Kernel and padding of what brings each scale to the canvas; along sides of stride 1 neighbours join in."""
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
        """Weights of the decoder."""
        stems = zip(self.latents, self.stem_kernels, strict=True)
        stem_weights = sum(latents * math.prod(kernel) * self.widths[0] for latents, (kernel, _) in stems)
        return stem_weights + sum(layer.inputs * layer.outputs * math.prod(layer.kernel) for layer in self.layers)

    @property
    def operations(self) -> int:
        """Multiplications that decoding an image takes."""
        total = math.prod(self.canvas) * (9 if self.mixing else 1) * sum(self.latents) * self.widths[0]
        rows, columns = self._sides(0), self._sides(1)
        for number, layer in enumerate(self.layers):
            step = max(0, number - self.mixing)
            total += rows[step] * columns[step] * layer.inputs * layer.outputs * math.prod(layer.kernel)
        return total

    def with_latents(self, latents: tuple[int, ...]) -> "PyramidShape":
        """The same shape with other channels of latents; scales of none are left out."""
        kept = [scale for scale, channels in enumerate(latents) if channels]
        strides = tuple(self.strides[scale] for scale in kept)
        return replace(self, strides=strides, latents=tuple(latents[scale] for scale in kept))

    @staticmethod
    def strides_for(image_shape: tuple[int, int, int], cell: int) -> tuple[Pair, ...]:
        """The strides of the scales for images of a shape: one scale if a vector covers a single cell, else two."""
        coarse = _coarse(-(-image_shape[0] // cell)), _coarse(-(-image_shape[1] // cell))
        return (coarse, (1, 1)) if coarse != (1, 1) else ((1, 1),)

    def _sides(self, axis: int) -> list[int]:
        """A side after all halvings, each rounded up, and then after one fewer each, up to the image's own."""
        sides = [self.image_shape[axis]]
        for _ in self.widths:
            sides.insert(0, -(-sides[0] // 2))
        return sides


def _kernel(sides: list[int], step: int) -> int:
    return 4 if sides[step + 1] == 2 * sides[step] else 3


def _coarse(cells: int) -> int:
    """The coarse stride along a side: it divides the side, so that no vector reaches beyond the canvas."""
    return cells if cells in WHOLE else next((stride for stride in (8, 7, 6, 5, 4, 3, 2) if cells % stride == 0), 1)
