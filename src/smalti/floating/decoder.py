"""Tokens to pixels: the study's decoder as table look-ups and one matrix product.

A transposed convolution 4x4 with stride 2 and padding 1 makes each output of exactly 2x2 inputs. So the first
layer is a table: what a code contributes through each of the 16 kernel taps, M numbers each; a hidden pixel is
the sum of four rows of it. The second layer is one matrix product, whose 16 results per hidden pixel are then
added where they overlap.

Exactness of format 0: images are evaluated in chunks of a fixed number, counted from the first token given and
padded at the end, so every matrix product has the same shape, and an image gets the same bits whatever other
images are decoded with it, on one machine. Between machines the last bit may differ.
"""

from concurrent.futures import ThreadPoolExecutor
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from smalti.errors import UsageError
from smalti.floating.weights import DecoderWeights

__all__ = ["FloatDecoder"]

Float = NDArray[np.float32]
Index = NDArray[np.intp]

_CHUNK_TOKENS = 16 * 49  # tokens per chunk: 16 images of 28x28 keep the hidden layer within the cache (measured)
_FOLD_BYTES = 64 << 20  # a larger table of contributions is not made; each chunk makes its own instead


class FloatDecoder:
    """The decoder of `weights`, ready to run; immutable, and safe to use from several threads at once.

    >>> FloatDecoder(weights).decode(tokens)   # integers [n, h, w] -> uint8 [n, 4h, 4w, C]
    """

    def __init__(self, weights: DecoderWeights) -> None:
        self._weights = weights
        hidden = len(weights.up1_bias)
        self._up1 = np.ascontiguousarray(weights.up1_weight.transpose(0, 2, 3, 1)).reshape(-1, 16 * hidden)
        self._up2 = np.ascontiguousarray(weights.up2_weight.transpose(2, 3, 1, 0)).reshape(-1, hidden)
        self._table: Float | None = None
        if (weights.codes + 1) * 16 * hidden * 4 <= _FOLD_BYTES:
            with _large_numbers_allowed():
                self._table = self._contributions(weights.codebook)

    @staticmethod
    def chunk_images(height: int, width: int) -> int:
        """Images per chunk for a token grid of `height` x `width`; part of what fixes the pixels of format 0."""
        return max(1, min(16, _CHUNK_TOKENS // (height * width)))

    def decode(self, tokens: NDArray[np.integer], threads: int = 1) -> NDArray[np.uint8]:
        """Pixels of `tokens` (integers [n, h, w], each in [0, U)): uint8 [n, 4h, 4w, C].

        Each pixel is 255 * sigmoid, rounded half up. `threads` changes the time it takes, never the result.
        Raises UsageError if a token is outside the codebook.
        """
        images, height, width = tokens.shape
        if images and not (int(tokens.min()) >= 0 and int(tokens.max()) < self._weights.codes):
            raise UsageError(f"tokens outside the codebook of {self._weights.codes}")
        pixels = np.empty((images, 4 * height, 4 * width, self._weights.channels), np.uint8)
        step = self.chunk_images(height, width)
        runs = _split(-(-images // step), threads, step)
        if len(runs) < 2:
            self._decode_chunks(tokens, pixels, step)
            return pixels
        with ThreadPoolExecutor(len(runs)) as pool:
            jobs = [pool.submit(self._decode_chunks, tokens[run], pixels[run], step) for run in runs]
            for job in jobs:
                job.result()
        return pixels

    def _decode_chunks(self, tokens: NDArray[np.integer], pixels: NDArray[np.uint8], step: int) -> None:
        chunk = _Chunk(self._weights, step, *tokens.shape[1:])
        for start in range(0, len(tokens), step):
            part = tokens[start : start + step]
            filled = np.zeros((step, *tokens.shape[1:]), np.intp)  # the padding: images of code 0, thrown away
            filled[: len(part)] = part
            with _large_numbers_allowed():
                pixels[start : start + step] = self._decode_chunk(chunk, filled)[: len(part)]

    def _decode_chunk(self, chunk: "_Chunk", tokens: Index) -> NDArray[np.uint8]:
        if self._table is not None:
            chunk.first_layer(self._table, tokens)
        else:
            rows = np.arange(tokens.size, dtype=np.intp).reshape(tokens.shape)
            chunk.first_layer(self._contributions(self._weights.codebook[tokens.ravel()]), rows)
        return chunk.second_layer(self._up2)

    def _contributions(self, vectors: Float) -> Float:
        """What each vector [r, D] adds to the hidden layer through each kernel tap: [(r + 1) * 16, M].

        The last 16 rows are zeros, for what lies outside the grid. The bias is in the four central taps, of which
        every hidden pixel meets exactly one.
        """
        hidden = len(self._weights.up1_bias)
        table = np.zeros((len(vectors) + 1, 4, 4, hidden), np.float32)
        np.matmul(vectors, self._up1, out=table[:-1].reshape(len(vectors), -1))
        table[:-1, 1:3, 1:3] += self._weights.up1_bias
        return table.reshape(-1, hidden)


class _Chunk:
    """Scratch memory and index maps for chunks of one shape; one per thread."""

    def __init__(self, weights: DecoderWeights, images: int, height: int, width: int) -> None:
        self._images, self._height, self._width = images, height, width
        self._bias = weights.up2_bias
        pixels = images * 4 * height * width
        self._hidden = np.empty((pixels, len(weights.up1_bias)), np.float32)
        self._addend = np.empty_like(self._hidden)
        self._products = np.empty((16 * weights.channels, pixels), np.float32)
        self._sums = np.empty((2, 2, weights.channels, images, 2 * height, 2 * width), np.float32)
        self._sources = [_sources(height, width, dy, dx) for dy in (0, 1) for dx in (0, 1)]

    def first_layer(self, table: Float, rows: Index) -> None:
        """Fill the hidden layer from `rows` [n, h, w] of the table of contributions, ReLU included."""
        outside = len(table) // 16 - 1
        padded = np.full((self._images, self._height + 2, self._width + 2), outside, np.intp)
        padded[:, 1:-1, 1:-1] = rows
        padded *= 16
        flat = padded.reshape(self._images, -1)
        for target, (places, taps) in zip(
            (self._hidden, self._addend, self._addend, self._addend), self._sources, strict=True
        ):
            index = flat.take(places, axis=1)
            index += taps
            # mode="clip" lets NumPy write straight into `out`; no index is ever out of range
            table.take(index.ravel(), axis=0, out=target, mode="clip")
            if target is self._addend:
                self._hidden += self._addend
        np.maximum(self._hidden, np.float32(0), out=self._hidden)

    def second_layer(self, up2: Float) -> NDArray[np.uint8]:
        """Pixels uint8 [n, 4h, 4w, C] of the hidden layer."""
        np.matmul(up2, self._hidden.T, out=self._products)
        channels, height, width = len(self._bias), 2 * self._height, 2 * self._width
        products = self._products.reshape(4, 4, channels, self._images, height, width)
        for py in (0, 1):
            for px in (0, 1):
                total = self._sums[py, px]
                np.add(products[1 + py, 1 + px], self._bias[:, None, None, None], out=total)
                (ky, to_y, from_y), (kx, to_x, from_x) = _NEIGHBOUR[py], _NEIGHBOUR[px]
                total[:, :, to_y] += products[ky, 1 + px][:, :, from_y]
                total[:, :, :, to_x] += products[1 + py, kx][:, :, :, from_x]
                total[:, :, to_y, to_x] += products[ky, kx][:, :, from_y, from_x]
        pixels = _to_uint8(self._sums).transpose(3, 4, 0, 5, 1, 2)
        return pixels.reshape(self._images, 2 * height, 2 * width, channels)


# For an output of even (0) or odd (1) place, along one axis: the outer kernel tap, and which outputs take it from
# which inputs. Even place 2a meets tap 1 of input a and tap 3 of input a-1; odd 2a+1 tap 2 of a and tap 0 of a+1.
_NEIGHBOUR = ((3, slice(1, None), slice(None, -1)), (0, slice(None, -1), slice(1, None)))


def _sources(height: int, width: int, dy: int, dx: int) -> tuple[Index, Index]:
    """For each hidden pixel [2h, 2w], flat: where in the padded grid [h+2, w+2] its source is, and which tap.

    dy, dx : 0 for the source at the pixel's own place, 1 for the neighbour
    """

    def along(size: int, neighbour: int) -> tuple[Index, Index]:
        place = np.arange(2 * size, dtype=np.intp)
        own, odd = place // 2 + 1, place % 2
        return (own - 1 + 2 * odd, 3 - 3 * odd) if neighbour else (own, 1 + odd)

    (row, tap_y), (column, tap_x) = along(height, dy), along(width, dx)
    places = row[:, None] * (width + 2) + column
    return places.ravel(), (tap_y[:, None] * 4 + tap_x).ravel()


def _to_uint8(values: Float) -> NDArray[np.uint8]:
    """255 * sigmoid(values), rounded half up; overwrites `values`."""
    np.exp(np.negative(values, out=values), out=values)  # exp(89) is inf, and 255 / (1 + inf) is the 0 that is meant
    values += np.float32(1)
    np.divide(np.float32(255), values, out=values)
    values += np.float32(0.5)
    return values.astype(np.uint8)  # truncates, and no value reaches 256


def _large_numbers_allowed() -> np.errstate:
    """No warnings from huge weights: a file may hold any, and exp of a very dark pixel is inf, rightly."""
    return np.errstate(over="ignore", invalid="ignore")


def _split(chunks: int, threads: int, step: int) -> list[slice]:
    """Share `chunks` chunks of `step` images out in at most `threads` runs: slices of images."""
    runs = max(1, min(threads, chunks))
    edges = [chunks * run // runs * step for run in range(runs + 1)]
    return [slice(start, stop) for start, stop in pairwise(edges)]
