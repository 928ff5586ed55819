"""The decoder of a pyramid network: hierarchical tokens to pixels by exact float sums, the same on every machine."""

from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from smalti.compiled import kernels_pay
from smalti.decoders.contract import operations
from smalti.decoders.layers.integer_network import Activation, Float, PixelTable, Values
from smalti.decoders.layers.stages import Region, Stage, UpLayer, area, compile_layer, extent
from smalti.decoders.layers.tiled_decoder import TiledDecoder
from smalti.decoders.pyramid.pyramid_network import PyramidNetwork, TokenLayout
from smalti.images.batch import Pixels
from smalti.lazy import cached_property
from smalti.threads import for_each

if TYPE_CHECKING:
    from smalti.decoders.layers.layers_kernel import KernelLayer

__all__ = ["PyramidDecoder"]


class PyramidDecoder(TiledDecoder):
    """The decoder of `network` for a canvas `grid` (h, w); immutable, and safe to use from several threads at once.

    dtype : np.float32 or np.float64, the type that holds the integers; it does not change the pixels

    >>> PyramidDecoder(network, grid).decode(tokens)   # uint16 [n, T] -> uint8 or uint16 [n, H, W, C]

    Raises ModelError if the network does not fit the grid.
    """

    def __init__(self, network: PyramidNetwork, grid: tuple[int, int], dtype: Float = np.float32) -> None:
        network.output_size(grid)
        self.network, self.grid = network, grid
        self.layout = TokenLayout(network, grid)
        stages: list[Stage] = [compile_layer(layer, dtype) for layer in network.layers]
        super().__init__(tuple(stages), network.dtype)
        biases = [network.bias] + [np.zeros_like(network.bias)] * (len(network.scales) - 1)
        self._stems = [UpLayer(scale.layer(bias), dtype) for scale, bias in zip(network.scales, biases, strict=True)]
        self._activation = Activation(network.canvas_layer(), dtype)
        # the last row of a table is an absent token
        self._tables = [np.pad(level.codes.astype(dtype), ((0, 1), (0, 0))) for level in network.levels]

    def decode(self, tokens: NDArray[np.integer], threads: int = 1) -> Pixels:
        """Pixels of `tokens` (integers [n, T]: numbers of codes of all levels, or ABSENT): [n, H, W, C].

        `threads` changes only the time. Raises UsageError for impossible tokens.
        """
        self.layout.check(tokens)
        if self._whole_fits and kernels_pay(len(tokens) * self._operations):
            return self._by_kernels(tokens.astype(np.uint16, copy=False), threads)

        def canvas(images: slice, region: Region) -> Values:
            return self._canvas(tokens[images], region)

        return self._run(canvas, len(tokens), self.grid, threads)

    def preview(self, tokens: NDArray[np.integer], levels: int, threads: int = 1) -> Pixels:
        """Pixels of only the first `levels` levels of `tokens`, in the form of `decode`."""
        return self.decode(self.layout.truncated(tokens, levels), threads)

    def _by_kernels(self, tokens: NDArray[np.uint16], threads: int) -> Pixels:
        """`decode`, some whole images at once."""
        from smalti.decoders.layers.layers_kernel import IMAGES, add_codes, run_layers  # noqa: PLC0415

        table = self.network.layers[-1].activation
        assert isinstance(table, PixelTable)  # `check_chain` ensures it
        pixels = np.empty((len(tokens), *self.network.output_size(self.grid), self._stages[-1].outputs), self._dtype)

        def work(start: int) -> None:
            part = slice(start, start + IMAGES)
            some = tokens[part]
            lines = []
            for scale, (rows, columns) in zip(self.network.scales, self.layout.scale_grids, strict=True):
                lines.append(np.zeros((rows * columns, scale.channels, len(some)), np.float32))
            for number, level in enumerate(self.network.levels):
                own = lines[level.scale][:, level.channels]
                first = self.layout.numbers[number]
                add_codes(some[:, self.layout.part(number)], first, self._codes[number], own)
            run_layers(self._kernel_stems, self._kernel_layers, table, tuple(lines), pixels[part])

        for_each(work, range(0, len(tokens), IMAGES), threads)
        return pixels

    @cached_property
    def _operations(self) -> int:
        return operations(self.network.layers, self.grid)

    @cached_property
    def _whole_fits(self) -> bool:
        """Whether a tile is whole images."""
        sizes = [self.grid]
        for stage in self._stages:
            sizes.append(stage.output_size(sizes[-1]))
        height, width = sizes.pop()
        return self._tile_bytes(((0, height), (0, width)), sizes) <= self._most_bytes

    @cached_property
    def _codes(self) -> list[NDArray[np.float32]]:
        return [level.codes.astype(np.float32) for level in self.network.levels]

    @cached_property
    def _kernel_stems(self) -> "tuple[KernelLayer, ...]":
        """The stems of the scales. The first one has the activation of the canvas."""
        from smalti.decoders.layers.layers_kernel import KernelLayer  # noqa: PLC0415

        canvas = self.network.canvas_layer()
        stems = []
        for scale, grid in zip(self.network.scales, self.layout.scale_grids, strict=True):
            stem = replace(scale.layer(canvas.bias), shift=canvas.shift, activation=canvas.activation)
            stems.append(KernelLayer.of(stem, grid))
        return tuple(stems)

    @cached_property
    def _kernel_layers(self) -> "list[KernelLayer]":
        from smalti.decoders.layers.layers_kernel import KernelLayer  # noqa: PLC0415

        made, size = [], self.grid
        for layer in self.network.layers:
            made.append(KernelLayer.of(layer, size))
            size = layer.output_size(size)
        return made

    def _input_bytes(self, region: Region) -> int:
        sources = [stem.needed(region, grid) for stem, grid in self._scales()]
        latents = sum(area(source) * len(stem.weight) for source, stem in zip(sources, self._stems, strict=True))
        scratch = max(stem.scratch_bytes(region, grid) for stem, grid in self._scales())
        return 2 * latents * self._tables[0].itemsize + scratch + area(region) * len(self.network.bias) * 4

    def _scales(self) -> list[tuple[UpLayer, tuple[int, int]]]:
        return list(zip(self._stems, self.layout.scale_grids, strict=True))

    def _canvas(self, tokens: NDArray[np.integer], region: Region) -> Values:
        """Values of a part of the canvas, [n, y, x, C]."""
        sums: Values | None = None
        for scale, (stem, grid) in enumerate(self._scales()):
            source = stem.needed(region, grid)
            added = stem.sums(self._latents(tokens, scale, source), source, region)
            sums = added if sums is None else np.add(sums, added, out=sums)
        assert sums is not None
        return self._activation.apply(sums)

    def _latents(self, tokens: NDArray[np.integer], scale: int, source: Region) -> Values:
        """Latents of a part of a scale's grid, [n, y, x, D]."""
        shape = (len(tokens), *extent(source), self.network.scales[scale].channels)
        latents = np.zeros(shape, self._tables[0].dtype)
        for number, level in enumerate(self.network.levels):
            if level.scale == scale:
                codes = self.layout.code_indices(tokens, number)[:, slice(*source[0]), slice(*source[1])]
                latents[..., level.channels] += self._tables[number][codes]
        return latents
