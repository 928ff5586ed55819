"""A decoder network of hierarchical tokens, in integers: its numbers, their meaning, and the bounds that make it exact.

Tokens come in levels. The code of a token is added to the latents of its level's scale, at its position. A transposed
convolution for each scale (its stem) brings the latents to one grid, the canvas; layers turn the canvas into pixels:

    z_s     = sum over the levels of scale s of their codes, at their channels       absent levels add nothing
    canvas  = clip(floor((bias + sum over scales of stem_s(z_s)) / 2^shift))
    pixels  = layers(canvas)

All sums are of integers within 2**24, so float32 is exact (docs/format.md, "The pyramid network").

`TokenLayout` says which tokens of an image belong to which level, and which codes they can be; it knows no values of
codes. The tokens of an image are ordered by level, and row after row within a level. In arrays a token is the number
of its code among those of all levels, or ABSENT: the codes of level 0 come first, then those of level 1, and so on.
"""

from dataclasses import dataclass
from itertools import accumulate
from math import prod
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from smalti.decoders.layers.integer_network import (
    EXACT,
    MAX_KERNEL,
    Clip,
    Layer,
    Pair,
    PixelType,
    check_chain,
    check_outputs,
    pixel_type,
)
from smalti.errors import ModelError, UsageError
from smalti.lazy import cached_property

__all__ = ["ABSENT", "MAX_TOKENS", "Level", "PyramidNetwork", "Scale", "TokenLayout"]


ABSENT = 65_535
"""The token of a level that is not coded."""

MAX_CODE = 1 << 11
MAX_CODES = ABSENT
MAX_CHANNELS = (1 << 16) - 1
MAX_LEVELS = 255
MAX_SCALES = 16


@dataclass(frozen=True, eq=False)
class Scale:
    """Latents of `channels` numbers at each position of a grid: the grid of the canvas, divided by `stride`.

    stem : int16 [D, ky, kx, C], within int8: the transposed convolution from D latents to the C channels of the canvas
    stride, padding : (y, x); along each axis kernel - 2 * padding = stride, so that the stem covers exactly the canvas

    Raises ModelError if the numbers do not fit each other.
    """

    stride: Pair
    stem: NDArray[np.int16]
    padding: Pair = (0, 0)

    def __post_init__(self) -> None:
        if self.stem.ndim != 4 or self.stem.dtype != np.int16 or not self.stem.size:
            raise ModelError(f"a stem is {self.stem.dtype} {list(self.stem.shape)}, not int16 with 4 dimensions")
        if max(self.stem.shape[0], self.stem.shape[3]) > MAX_CHANNELS:
            raise ModelError(f"a stem of {list(self.stem.shape)}; {MAX_CHANNELS} channels are the most")
        if not -128 <= int(self.stem.min()) <= int(self.stem.max()) <= 127:
            raise ModelError("the weights of a stem are outside int8")
        for stride, padding, kernel in zip(self.stride, self.padding, self.kernel, strict=True):
            if not (1 <= stride <= MAX_KERNEL and 0 <= padding < kernel <= MAX_KERNEL):
                raise ModelError(f"stride {stride} and padding {padding} do not fit a stem of {kernel}")
            if kernel - 2 * padding != stride:
                raise ModelError(f"a stem of {kernel}, stride {stride}, padding {padding} does not cover the canvas")

    @property
    def channels(self) -> int:
        """D, the numbers of a position."""
        return int(self.stem.shape[0])

    @property
    def kernel(self) -> Pair:
        """(y, x)."""
        return self.stem.shape[1], self.stem.shape[2]

    def grid(self, canvas: Pair) -> Pair:
        """Rows and columns of the latents for those of the canvas; ModelError if the stride does not divide them."""
        for side, stride in zip(canvas, self.stride, strict=True):
            if side < 1 or side % stride:
                raise ModelError(f"a canvas of {list(canvas)} is no multiple of the stride {list(self.stride)}")
        return canvas[0] // self.stride[0], canvas[1] // self.stride[1]

    def layer(self, bias: NDArray[np.int32]) -> Layer:
        """The stem as a layer; its activation is not used."""
        shift = np.zeros(len(bias), np.uint8)
        return Layer("up", self.stem, bias, shift, self.stride, self.padding, Clip(0, 255))

    def largest_sums(self, magnitudes: NDArray[np.int64]) -> NDArray[np.int64]:
        """The most that latents of these magnitudes [D] can add to each channel of the canvas: int64 [C]."""
        taps = np.einsum("d,dyxc->yxc", magnitudes, np.abs(self.stem.astype(np.int64)))
        (rows, columns), stride = self.kernel, self.stride
        residues = [(y, x) for y in range(min(stride[0], rows)) for x in range(min(stride[1], columns))]
        totals = [taps[y :: stride[0], x :: stride[1]].sum(axis=(0, 1)) for y, x in residues]
        return np.asarray(np.max(totals, axis=0), np.int64)


@dataclass(frozen=True, eq=False)
class Level:
    """One token at each position of the grid of a scale.

    scale : the index of the scale
    start : the code of a token is added to the latents' channels start to start + d - 1
    codes : int16 [K, d], magnitudes up to 2,048

    Raises ModelError if the numbers do not fit each other.
    """

    scale: int
    start: int
    codes: NDArray[np.int16]

    def __post_init__(self) -> None:
        if self.codes.ndim != 2 or self.codes.dtype != np.int16 or not self.codes.size:
            raise ModelError(f"codes are {self.codes.dtype} {list(self.codes.shape)}, not int16 [codes, channels]")
        if len(self.codes) > MAX_CODES or not -MAX_CODE <= int(self.codes.min()) <= int(self.codes.max()) <= MAX_CODE:
            raise ModelError(f"more than {MAX_CODES} codes, or codes outside {-MAX_CODE}..{MAX_CODE}")
        if self.scale < 0 or self.start < 0:
            raise ModelError(f"a level of scale {self.scale} that starts at channel {self.start}")

    @property
    def size(self) -> int:
        """K, the number of its codes."""
        return len(self.codes)

    @property
    def channels(self) -> slice:
        """The channels that its codes are added to."""
        return slice(self.start, self.start + self.codes.shape[1])


@dataclass(frozen=True, eq=False)
class PyramidNetwork:
    """Scales from coarse to fine, levels in the order of coding, and layers from the canvas to pixels.

    scales : 1 to 16    levels : 1 to 255, in the order of their scales; each scale has at least one
    bias : int32 [C]    shift : uint8 [C], 0 to 24    clip : the activation of the canvas
    layers : of kinds "up" and "conv"; only the last has a PixelTable

    Raises ModelError if they do not fit each other, or if a sum could leave the range in which it is exact.
    """

    kind: ClassVar[str] = "pyramid"
    scales: tuple[Scale, ...]
    levels: tuple[Level, ...]
    bias: NDArray[np.int32]
    shift: NDArray[np.uint8]
    clip: Clip
    layers: tuple[Layer, ...]

    def __post_init__(self) -> None:
        if not (1 <= len(self.scales) <= MAX_SCALES and 1 <= len(self.levels) <= MAX_LEVELS):
            raise ModelError(f"a pyramid of {len(self.scales)} scales and {len(self.levels)} levels")
        self._check_levels()
        self._check_canvas()
        if any(layer.kind == "tokens" for layer in self.layers):
            raise ModelError("a layer of tokens in a pyramid")
        check_chain(self.layers, self.clip.low, self.clip.high)
        if self.layers[0].inputs != len(self.bias):
            raise ModelError(f"layer 0 takes {self.layers[0].inputs} channels, not {len(self.bias)}")

    def _check_levels(self) -> None:
        order = [level.scale for level in self.levels]
        if order != sorted(order) or set(order) != set(range(len(self.scales))):
            raise ModelError("levels are not in the order of their scales, or a scale has none")
        for number, level in enumerate(self.levels):
            if level.channels.stop > self.scales[level.scale].channels:
                raise ModelError(f"level {number} adds to channels that its scale does not have")
        if self.codes > MAX_CODES:
            raise ModelError(f"a pyramid of {self.codes} codes; {MAX_CODES} are the most")

    def _check_canvas(self) -> None:
        channels = self.scales[0].stem.shape[3]
        check_outputs(self.bias, self.shift, channels)
        if any(scale.stem.shape[3] != channels for scale in self.scales):
            raise ModelError("stems make different numbers of channels")
        sums = np.abs(self.bias.astype(np.int64))
        for scale, magnitudes in zip(self.scales, self.magnitudes, strict=True):
            sums = sums + scale.largest_sums(magnitudes)
        if int(sums.max()) > EXACT:
            raise ModelError("the sums of the canvas may exceed 2**24 and would not be exact")

    @property
    def codes(self) -> int:
        """U, the codes of all levels."""
        return sum(level.size for level in self.levels)

    @property
    def channels(self) -> int:
        """C, channels of an image."""
        return self.layers[-1].outputs

    @property
    def dtype(self) -> PixelType:
        """Of the pixels: uint8 or uint16."""
        return pixel_type(self.layers)

    def canvas_layer(self) -> Layer:
        """A layer with the bias, the shift and the clip of the canvas; its weights are not used."""
        weight = np.zeros((1, 1, 1, len(self.bias)), np.int16)
        return Layer("up", weight, self.bias, self.shift, (1, 1), (0, 0), self.clip)

    @cached_property
    def magnitudes(self) -> tuple[NDArray[np.int64], ...]:
        """For each scale the largest magnitude of each latent, int64 [D], for any levels that are absent."""
        lows, highs = ([np.zeros(scale.channels, np.int64) for scale in self.scales] for _ in range(2))
        for level in self.levels:
            lows[level.scale][level.channels] += np.minimum(level.codes.min(axis=0), 0)
            highs[level.scale][level.channels] += np.maximum(level.codes.max(axis=0), 0)
        return tuple(np.maximum(-low, high) for low, high in zip(lows, highs, strict=True))

    def output_size(self, grid: Pair) -> Pair:
        """Rows and columns of an image for a canvas (h, w); ModelError if the network does not fit it."""
        for scale in self.scales:
            scale.grid(grid)
        for layer in self.layers:
            grid = layer.output_size(grid)
        return grid


MAX_TOKENS = (1 << 16) - 1

Index = NDArray[np.intp]


class TokenLayout:
    """The layout of tokens for a network and a canvas grid; ModelError if they do not fit.

    grids : rows and columns of each level
    starts : the first token of each level, and T
    numbers : the number of the first code of each level, and U
    """

    def __init__(self, network: PyramidNetwork, grid: Pair) -> None:
        scales = [scale.grid(grid) for scale in network.scales]
        self.scale_grids = tuple(scales)
        self.grids = tuple(scales[level.scale] for level in network.levels)
        self.starts = tuple(accumulate((prod(each) for each in self.grids), initial=0))
        self.numbers = tuple(accumulate((level.size for level in network.levels), initial=0))
        if self.tokens > MAX_TOKENS:
            raise ModelError(f"{self.tokens} tokens an image; {MAX_TOKENS} are the most")

    @property
    def tokens(self) -> int:
        """T, tokens of an image, absent ones included."""
        return self.starts[-1]

    @property
    def levels(self) -> int:
        """L, the number of levels."""
        return len(self.grids)

    def part(self, level: int) -> slice:
        """The tokens of a level, as a slice of an image's tokens."""
        return slice(self.starts[level], self.starts[level + 1])

    def check(self, tokens: NDArray[np.integer]) -> Index:
        """Return the depth of each image, its number of levels: intp [n]. UsageError for impossible tokens [n, T]."""
        if tokens.ndim != 2 or not np.issubdtype(tokens.dtype, np.integer) or tokens.shape[1] != self.tokens:
            raise UsageError(f"tokens are {tokens.dtype} {list(tokens.shape)}, not integers [images, {self.tokens}]")
        depths: Index = (tokens[:, self.starts[:-1]] != ABSENT).sum(axis=1, dtype=np.intp)
        for level in range(self.levels):
            found, here = tokens[:, self.part(level)], (depths > level)[:, None]
            valid = (found >= self.numbers[level]) & (found < self.numbers[level + 1])
            if not np.where(here, valid, found == ABSENT).all():
                raise UsageError(f"tokens of level {level} are not codes of it, or not all of them are absent")
        return depths

    def truncated(self, tokens: NDArray[np.integer], levels: int) -> NDArray[np.uint16]:
        """The same tokens, with only the first `levels` levels present: uint16 [n, T]."""
        if not 0 <= levels <= self.levels:
            raise UsageError(f"{levels} levels of {self.levels}")
        shorter = tokens.astype(np.uint16)
        shorter[:, self.starts[levels] :] = ABSENT
        return shorter

    def code_indices(self, tokens: NDArray[np.integer], level: int) -> Index:
        """Tokens of a level [n, rows, columns] as indices into its own codes; an absent one is the number of these."""
        first, past = self.numbers[level], self.numbers[level + 1]
        found = tokens[:, self.part(level)].reshape(-1, *self.grids[level])
        return np.where(found == ABSENT, past - first, found.astype(np.intp) - first)
