"""The decoder of a pyramid network: hierarchical tokens to pixels by exact float sums, the same on every machine."""

from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from smalti.compiled import kernels_pay
from smalti.decoders.contract import operations
from smalti.decoders.layers.integer_network import Activation, Float, PixelTable, Values
from smalti.decoders.layers.stages import Region, Stage, UpLayer, area, compile_layer, extent
from smalti.decoders.layers.tiled_decoder import Inputs, Sizes, Tile, TiledDecoder
from smalti.decoders.pyramid.pyramid_network import PyramidNetwork, TokenLayout
from smalti.images.batch import Pixels
from smalti.lazy import cached_property

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

        def canvas(images: slice, region: Region) -> Values:
            return self._canvas(tokens[images], region)

        return self._run(canvas, len(tokens), self.grid, threads)

    def preview(self, tokens: NDArray[np.integer], levels: int, threads: int = 1) -> Pixels:
        """Pixels of only the first `levels` levels of `tokens`, in the form of `decode`."""
        return self.decode(self.layout.truncated(tokens, levels), threads)

    def _run_tile(self, inputs: Inputs, pixels: Pixels, tile: Tile, sizes: Sizes) -> None:
        images, target = tile
        many = len(range(*images.indices(len(pixels))))
        if extent(target) != pixels.shape[1:3] or not kernels_pay(many * self._operations):
            super()._run_tile(inputs, pixels, tile, sizes)
            return
        from smalti.decoders.layers.layers_kernel import IMAGES, run_layers  # noqa: PLC0415

        table = self.network.layers[-1].activation
        assert isinstance(table, PixelTable)  # `check_chain` ensures it
        whole = (0, self.grid[0]), (0, self.grid[1])
        for start in range(images.start, images.start + many, IMAGES):
            part = slice(start, min(start + IMAGES, images.start + many))
            run_layers(self._kernel_layers, table, inputs(part, whole), pixels[part])

    @cached_property
    def _operations(self) -> int:
        return operations(self.network.layers, self.grid)

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
