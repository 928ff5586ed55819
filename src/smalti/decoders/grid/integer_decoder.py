"""The decoder of an integer network: tokens to pixels, by exact float sums, with the same bits on every machine.

This module decides which layers are joined for speed. `tiled_decoder` divides the work into tiles.
"""

import numpy as np
from numpy.typing import NDArray

from smalti.decoders.layers.integer_network import Float, IntegerNetwork, Values
from smalti.decoders.layers.stages import Region, Stage, TokenLayer, UpLayer, compile_layer
from smalti.decoders.layers.tiled_decoder import TILE_BYTES, TiledDecoder
from smalti.decoders.layers.windows import WindowPair
from smalti.errors import UsageError
from smalti.images.batch import Pixels

__all__ = ["IntegerDecoder"]

_WINDOWS_BYTES = 32 << 20  # where windows do all the work: they repeat more often in larger tiles (measured)
_FOLDED_BYTES = 16 << 20  # it takes about 20 ms to make such a table


class IntegerDecoder(TiledDecoder):
    """The decoder of `network`, ready to run; immutable, and safe to use from several threads at once.

    dtype : np.float32 or np.float64, the type that holds the integers; it does not change the pixels
    plain : evaluate layer by layer, without the shortcuts that speed up sets of similar images; it does not change
        the pixels

    >>> IntegerDecoder(network).decode(tokens)   # integers [n, h, w] -> uint8 or uint16 [n, H, W, C]
    """

    def __init__(self, network: IntegerNetwork, dtype: Float = np.float32, plain: bool = False) -> None:
        stages = _stages(network, dtype, plain)
        by_windows = len(stages) == 1 and isinstance(stages[0], WindowPair)
        super().__init__(stages, network.dtype, _WINDOWS_BYTES if by_windows else TILE_BYTES)
        self.network = network

    def decode(self, tokens: NDArray[np.integer], threads: int = 1) -> Pixels:
        """Pixels of `tokens` (integers [n, h, w], each in [0, U)): uint8 or uint16 [n, H, W, C], as the network says.

        `threads` changes only the time. Raises UsageError if a token is outside the network.
        """
        self._check(tokens)
        images, height, width = tokens.shape
        self.network.output_size((height, width))  # ModelError if no pixel would remain

        def inputs(part: slice, region: Region) -> Values:
            return tokens[part, slice(*region[0]), slice(*region[1])].astype(np.intp)

        return self._run(inputs, images, (height, width), threads)

    def _check(self, tokens: NDArray[np.integer]) -> None:
        if tokens.ndim != 3 or not np.issubdtype(tokens.dtype, np.integer) or not min(tokens.shape[1:]):
            raise UsageError(f"tokens are {tokens.dtype} {list(tokens.shape)}, not integers [images, rows, columns]")
        if tokens.size and not (int(tokens.min()) >= 0 and int(tokens.max()) < self.network.codes):
            raise UsageError(f"tokens outside the {self.network.codes} codes of the network")


def _stages(network: IntegerNetwork, dtype: Float, plain: bool) -> tuple[Stage, ...]:
    """The layers, ready to run. The first ones are joined where that is faster."""
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
