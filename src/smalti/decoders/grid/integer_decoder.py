"""Tokens to pixels, the same bits on every machine: an integer network, evaluated by exact float sums.

How the work is cut into pieces is in `pieces`; which layers are joined, because that is faster, is here.
"""

import numpy as np
from numpy.typing import NDArray

from smalti.decoders.layers.integer_network import Float, IntegerNetwork, Values
from smalti.decoders.layers.pieces import PIECE_BYTES, PieceDecoder
from smalti.decoders.layers.stages import Region, Stage, TokenLayer, UpLayer, compile_layer
from smalti.decoders.layers.windows import WindowPair
from smalti.errors import UsageError
from smalti.images.batch import Pixels

__all__ = ["IntegerDecoder"]

_WINDOWS_BYTES = 32 << 20  # if all is done by windows, which repeat more often in larger pieces (measured)
_FOLDED_BYTES = 16 << 20  # a table that is made in some 20 ms


class IntegerDecoder(PieceDecoder):
    """The decoder of `network`, ready to run; immutable, and safe to use from several threads at once.

    dtype : np.float32 or np.float64, the numbers in which the integers are held; the pixels are the same
    plain : evaluate layer by layer, and leave out what is faster for sets of alike images; the pixels are the same

    >>> IntegerDecoder(network).decode(tokens)   # integers [n, h, w] -> uint8 or uint16 [n, H, W, C]
    """

    def __init__(self, network: IntegerNetwork, dtype: Float = np.float32, plain: bool = False) -> None:
        stages = _stages(network, dtype, plain)
        by_windows = len(stages) == 1 and isinstance(stages[0], WindowPair)
        super().__init__(stages, network.dtype, _WINDOWS_BYTES if by_windows else PIECE_BYTES)
        self.network = network

    def decode(self, tokens: NDArray[np.integer], threads: int = 1) -> Pixels:
        """Pixels of `tokens` (integers [n, h, w], each in [0, U)): uint8 or uint16 [n, H, W, C], as the network has it.

        `threads` changes the time it takes, never the result. Raises UsageError if a token is outside the network.
        """
        self._check(tokens)
        images, height, width = tokens.shape
        self.network.output_size((height, width))  # ModelError if nothing would be left

        def given(part: slice, region: Region) -> Values:
            return tokens[part, slice(*region[0]), slice(*region[1])].astype(np.intp)

        return self._run(given, images, (height, width), threads)

    def _check(self, tokens: NDArray[np.integer]) -> None:
        if tokens.ndim != 3 or not np.issubdtype(tokens.dtype, np.integer) or not min(tokens.shape[1:]):
            raise UsageError(f"tokens are {tokens.dtype} {list(tokens.shape)}, not integers [images, rows, columns]")
        if tokens.size and not (int(tokens.min()) >= 0 and int(tokens.max()) < self.network.codes):
            raise UsageError(f"tokens outside the {self.network.codes} codes of the network")


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
