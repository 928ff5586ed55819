"""A decoder that runs a chain of stages tile by tile: some images at a time, or a part of a large one.

Tiles fit into the caches. Every sum is exact, so the division into tiles, their order and the number of threads change
only the time. Subclasses provide the inputs of the first stage; `TiledDecoder` is the part that decoders share.
"""

from collections.abc import Callable
from typing import Any

import numpy as np

from smalti.decoders.layers.integer_network import PixelType
from smalti.decoders.layers.stages import Region, Stage, area, extent
from smalti.images.batch import Pixels
from smalti.threads import for_each

__all__ = ["Inputs", "Sizes", "Tile", "TiledDecoder"]

TILE_BYTES = 8 << 20  # scratch memory of a tile: more leaves the caches, less is mostly overhead (measured)

Tile = tuple[slice, Region]
"""Some of the images, and a part of their pixels."""

Sizes = list[tuple[int, int]]

Inputs = Callable[[slice, Region], Any]
"""Gives the inputs of the first stage, for some of the images and a part of its grid."""


class TiledDecoder:
    """Stages that are ready to run; immutable, and safe to use from several threads at once.

    dtype : of the pixels    most_bytes : scratch memory of a tile
    """

    def __init__(self, stages: tuple[Stage, ...], dtype: PixelType, most_bytes: int = TILE_BYTES) -> None:
        self._stages, self._dtype = stages, dtype
        self._most_bytes = most_bytes

    def _input_bytes(self, region: Region) -> int:
        """Scratch memory to make one image's inputs of the first stage in `region`."""
        del region
        return 0

    def _run(self, inputs: Inputs, images: int, grid: tuple[int, int], threads: int) -> Pixels:
        """Pixels [images, H, W, C]. grid : rows and columns of the first stage's input"""
        sizes = [grid]
        for stage in self._stages:
            sizes.append(stage.output_size(sizes[-1]))
        size = sizes.pop()
        pixels = np.empty((images, *size, self._stages[-1].outputs), self._dtype)
        tiles = self._tiles(images, sizes, size, max(threads, 1))
        for_each(lambda tile: self._run_tile(inputs, pixels, tile, sizes), tiles, threads)
        return pixels

    def _regions(self, target: Region, sizes: Sizes) -> list[Region]:
        """The parts of the inputs and of each stage's output that the pixels `target` depend on."""
        regions = [target]
        for stage, size in zip(reversed(self._stages), reversed(sizes), strict=True):
            regions.insert(0, stage.needed(regions[0], size))
        return regions

    def _tile_bytes(self, target: Region, sizes: Sizes) -> int:
        """Scratch memory for one image's pixels `target`."""
        regions = self._regions(target, sizes)
        parts = zip(self._stages, regions[1:], sizes, strict=True)
        return self._input_bytes(regions[0]) + sum(stage.scratch_bytes(part, size) for stage, part, size in parts)

    def _tiles(self, images: int, sizes: Sizes, size: tuple[int, int], threads: int) -> list[Tile]:
        """Divide the work so that every thread gets some, and bound the scratch memory of a tile."""
        side = size
        while (used := self._tile_bytes(_region_at(0, 0, side, size), sizes)) > self._most_bytes and max(side) > 1:
            side = (-(-side[0] // 2), side[1]) if side[0] >= side[1] else (side[0], -(-side[1] // 2))
        step = max(1, min(self._most_bytes // used, -(-images // threads))) if side == size else 1
        regions = [_region_at(y, x, side, size) for y in range(0, size[0], side[0]) for x in range(0, size[1], side[1])]
        return [(slice(start, start + step), region) for start in range(0, images, step) for region in regions]

    def _run_tile(self, inputs: Inputs, pixels: Pixels, tile: Tile, sizes: Sizes) -> None:
        images, target = tile
        regions = self._regions(target, sizes)
        values = inputs(images, regions[0])
        for stage, source, part, size in zip(self._stages, regions[:-1], regions[1:], sizes, strict=True):
            if area(part):
                values = stage.run(values, source, part, size)
            else:  # these pixels are so near an edge that they depend on no value of this stage
                values = np.empty((len(values), *extent(part), stage.outputs), np.float32)
        pixels[images, slice(*target[0]), slice(*target[1])] = values


def _region_at(y: int, x: int, side: tuple[int, int], size: tuple[int, int]) -> Region:
    return (y, min(y + side[0], size[0])), (x, min(x + side[1], size[1]))
