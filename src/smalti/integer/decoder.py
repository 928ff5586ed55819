"""Tokens to pixels, the same bits on every machine: an integer network, evaluated by exact float sums.

Images are decoded in pieces that fit into the caches: some images, or a part of a large one. Since every sum is
exact, how the work is cut, in which order it is done and by how many threads changes nothing but the time.
"""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from smalti.errors import UsageError
from smalti.integer.activation import Float
from smalti.integer.geometry import Region, area, extent
from smalti.integer.layers import Stage, TokenLayer, UpLayer, compile_layer
from smalti.integer.network import IntegerNetwork
from smalti.integer.windows import WindowPair

__all__ = ["IntegerDecoder"]

_PIECE_BYTES = 8 << 20  # scratch memory of a piece: more leaves the caches, less is all overhead (measured)
_WINDOWS_BYTES = 32 << 20  # if all is done by windows, which repeat more often in larger pieces (measured)
_FOLDED_BYTES = 16 << 20  # a table that is made in some 20 ms

Piece = tuple[slice, Region]
"""Which images, and which part of their pixels."""

Sizes = list[tuple[int, int]]


class IntegerDecoder:
    """The decoder of `network`, ready to run; immutable, and safe to use from several threads at once.

    dtype : np.float32 or np.float64, the numbers in which the integers are held; the pixels are the same
    plain : evaluate layer by layer, and leave out what is faster for sets of alike images; the pixels are the same

    >>> IntegerDecoder(network).decode(tokens)   # integers [n, h, w] -> uint8 [n, H, W, C]
    """

    def __init__(self, network: IntegerNetwork, dtype: Float = np.float32, plain: bool = False) -> None:
        self.network = network
        self._stages = _stages(network, dtype, plain)
        by_windows = len(self._stages) == 1 and isinstance(self._stages[0], WindowPair)
        self._most_bytes = _WINDOWS_BYTES if by_windows else _PIECE_BYTES

    def decode(self, tokens: NDArray[np.integer], threads: int = 1) -> NDArray[np.uint8]:
        """Pixels of `tokens` (integers [n, h, w], each in [0, U)): uint8 [n, H, W, C] for H, W the output size.

        `threads` changes the time it takes, never the result. Raises UsageError if a token is outside the network.
        """
        self._check(tokens)
        images, *grid = tokens.shape
        height, width = self.network.output_size((grid[0], grid[1]))
        pixels = np.empty((images, height, width, self.network.channels), np.uint8)
        sizes = self._sizes((grid[0], grid[1]))
        pieces = self._pieces(images, sizes, (height, width), max(threads, 1))
        if min(threads, len(pieces)) < 2:
            for piece in pieces:
                self._decode_piece(tokens, pixels, piece, sizes)
            return pixels
        from concurrent.futures import ThreadPoolExecutor  # noqa: PLC0415 (slow to import, for threads only)

        with ThreadPoolExecutor(min(threads, len(pieces))) as pool:
            for job in [pool.submit(self._decode_piece, tokens, pixels, piece, sizes) for piece in pieces]:
                job.result()
        return pixels

    def _check(self, tokens: NDArray[np.integer]) -> None:
        if tokens.ndim != 3 or not np.issubdtype(tokens.dtype, np.integer) or not min(tokens.shape[1:]):
            raise UsageError(f"tokens are {tokens.dtype} {list(tokens.shape)}, not integers [images, rows, columns]")
        if tokens.size and not (int(tokens.min()) >= 0 and int(tokens.max()) < self.network.codes):
            raise UsageError(f"tokens outside the {self.network.codes} codes of the network")

    def _regions(self, target: Region, sizes: Sizes) -> list[Region]:
        """The parts of the tokens and of each stage's output that the pixels `target` depend on."""
        regions = [target]
        for stage, size in zip(reversed(self._stages), reversed(sizes), strict=True):
            regions.insert(0, stage.needed(regions[0], size))
        return regions

    def _sizes(self, grid: tuple[int, int]) -> Sizes:
        """Rows and columns of what each stage takes."""
        sizes = [grid]
        for stage in self._stages[:-1]:
            sizes.append(stage.output_size(sizes[-1]))
        return sizes

    def _piece_bytes(self, target: Region, sizes: Sizes) -> int:
        """Scratch memory for one image's pixels `target`."""
        regions = self._regions(target, sizes)
        return sum(
            stage.scratch_bytes(part, size) for stage, part, size in zip(self._stages, regions[1:], sizes, strict=True)
        )

    def _pieces(self, images: int, sizes: Sizes, size: tuple[int, int], threads: int) -> list[Piece]:
        """Cut the work so that every thread gets some, and a piece's scratch memory is bounded."""
        tile = size
        while (used := self._piece_bytes(_tile_at(0, 0, tile, size), sizes)) > self._most_bytes and max(tile) > 1:
            tile = (-(-tile[0] // 2), tile[1]) if tile[0] >= tile[1] else (tile[0], -(-tile[1] // 2))
        step = max(1, min(self._most_bytes // used, -(-images // threads))) if tile == size else 1
        tiles = [_tile_at(y, x, tile, size) for y in range(0, size[0], tile[0]) for x in range(0, size[1], tile[1])]
        return [(slice(start, start + step), region) for start in range(0, images, step) for region in tiles]

    def _decode_piece(self, tokens: NDArray[np.integer], pixels: NDArray[np.uint8], piece: Piece, sizes: Sizes) -> None:
        images, target = piece
        regions = self._regions(target, sizes)
        values: Any = tokens[images, slice(*regions[0][0]), slice(*regions[0][1])].astype(np.intp)
        for stage, source, part, size in zip(self._stages, regions[:-1], regions[1:], sizes, strict=True):
            if area(part):
                values = stage.run(values, source, part, size)
            else:  # pixels so near an edge that they depend on no value of this stage
                values = np.empty((len(values), *extent(part), stage.outputs), np.float32)
        pixels[images, slice(*target[0]), slice(*target[1])] = values


def _stages(network: IntegerNetwork, dtype: Float, plain: bool) -> tuple[Stage, ...]:
    """The layers ready to run, the first ones joined where that is faster."""
    layers = network.layers
    stages: list[Stage] = [compile_layer(layer, dtype) for layer in layers]
    if plain or len(layers) == 1:
        return tuple(stages)
    if TokenLayer.folds(layers[0], layers[1]):
        numbers = layers[0].inputs * layers[1].weight[0].size
        if numbers * np.dtype(dtype).itemsize <= _FOLDED_BYTES:
            stages[:2] = [TokenLayer.folded(layers[0], layers[1], dtype)]
    first, second = stages[0], stages[1] if len(stages) > 1 else None
    if isinstance(first, TokenLayer) and isinstance(second, UpLayer) and WindowPair.fits(first, second):
        stages[:2] = [WindowPair(first, second)]
    return tuple(stages)


def _tile_at(y: int, x: int, tile: tuple[int, int], size: tuple[int, int]) -> Region:
    return (y, min(y + tile[0], size[0])), (x, min(x + tile[1], size[1]))
