"""A chain of stages, run piece by piece: some images at a time, or a part of a large one.

Pieces fit into the caches. Since every sum is exact, how the work is cut, in which order it is done and by how many
threads changes nothing but the time. What the first stage takes is for those who know it: `PieceDecoder` is the part
that decoders share.
"""

from collections.abc import Callable
from typing import Any

import numpy as np

from smalti.decoders.layers.integer_network import PixelType
from smalti.decoders.layers.stages import Region, Stage, area, extent
from smalti.images.batch import Pixels
from smalti.threads import for_each

__all__ = ["Given", "PieceDecoder", "Sizes"]

PIECE_BYTES = 8 << 20  # scratch memory of a piece: more leaves the caches, less is all overhead (measured)

Piece = tuple[slice, Region]
"""Which images, and which part of their pixels."""

Sizes = list[tuple[int, int]]

Given = Callable[[slice, Region], Any]
"""What the first stage takes, for some images and a part of its grid."""


class PieceDecoder:
    """Stages ready to run; immutable, and safe to use from several threads at once. dtype : of the pixels"""

    def __init__(self, stages: tuple[Stage, ...], dtype: PixelType, most_bytes: int = PIECE_BYTES) -> None:
        self._stages, self._dtype = stages, dtype
        self._most_bytes = most_bytes

    def _given_bytes(self, region: Region) -> int:
        """Scratch memory for making what the first stage takes in `region`, for one image."""
        del region
        return 0

    def _run(self, given: Given, images: int, grid: tuple[int, int], threads: int) -> Pixels:
        """Pixels [images, H, W, C] for a first stage that takes a grid of this size."""
        sizes = [grid]
        for stage in self._stages:
            sizes.append(stage.output_size(sizes[-1]))
        size = sizes.pop()
        pixels = np.empty((images, *size, self._stages[-1].outputs), self._dtype)
        pieces = self._pieces(images, sizes, size, max(threads, 1))
        for_each(lambda piece: self._run_piece(given, pixels, piece, sizes), pieces, threads)
        return pixels

    def _regions(self, target: Region, sizes: Sizes) -> list[Region]:
        """The parts of what is given and of each stage's output that the pixels `target` depend on."""
        regions = [target]
        for stage, size in zip(reversed(self._stages), reversed(sizes), strict=True):
            regions.insert(0, stage.needed(regions[0], size))
        return regions

    def _piece_bytes(self, target: Region, sizes: Sizes) -> int:
        """Scratch memory for one image's pixels `target`."""
        regions = self._regions(target, sizes)
        parts = zip(self._stages, regions[1:], sizes, strict=True)
        return self._given_bytes(regions[0]) + sum(stage.scratch_bytes(part, size) for stage, part, size in parts)

    def _pieces(self, images: int, sizes: Sizes, size: tuple[int, int], threads: int) -> list[Piece]:
        """Cut the work so that every thread gets some, and a piece's scratch memory is bounded."""
        tile = size
        while (used := self._piece_bytes(_tile_at(0, 0, tile, size), sizes)) > self._most_bytes and max(tile) > 1:
            tile = (-(-tile[0] // 2), tile[1]) if tile[0] >= tile[1] else (tile[0], -(-tile[1] // 2))
        step = max(1, min(self._most_bytes // used, -(-images // threads))) if tile == size else 1
        tiles = [_tile_at(y, x, tile, size) for y in range(0, size[0], tile[0]) for x in range(0, size[1], tile[1])]
        return [(slice(start, start + step), region) for start in range(0, images, step) for region in tiles]

    def _run_piece(self, given: Given, pixels: Pixels, piece: Piece, sizes: Sizes) -> None:
        images, target = piece
        regions = self._regions(target, sizes)
        values = given(images, regions[0])
        for stage, source, part, size in zip(self._stages, regions[:-1], regions[1:], sizes, strict=True):
            if area(part):
                values = stage.run(values, source, part, size)
            else:  # pixels so near an edge that they depend on no value of this stage
                values = np.empty((len(values), *extent(part), stage.outputs), np.float32)
        pixels[images, slice(*target[0]), slice(*target[1])] = values


def _tile_at(y: int, x: int, tile: tuple[int, int], size: tuple[int, int]) -> Region:
    return (y, min(y + tile[0], size[0])), (x, min(x + tile[1], size[1]))
