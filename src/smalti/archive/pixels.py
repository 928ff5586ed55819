"""Images by their numbers: which blocks and chunks a request needs, each decoded once, and where the pixels go."""

import math

import numpy as np
from numpy.typing import NDArray

from smalti.archive.sections import SectionFile
from smalti.archive.store import SectionStore
from smalti.floating import FloatDecoder

__all__ = ["read_pixels"]

_PIECE_BYTES = 64 << 20  # pixels decoded at once, whatever the size of a block


def read_pixels(file: SectionFile, store: SectionStore, numbers: NDArray[np.int64], threads: int) -> NDArray[np.uint8]:
    """Pixels uint8 [n, H, W, C] of images `numbers` (int64 [n], each in [0, N), any order, repeats allowed)."""
    height, width, channels = file.header.image_shape
    file.limits.check("request_bytes", len(numbers) * height * width * channels, "this request")
    pixels = np.empty((len(numbers), height, width, channels), np.uint8)
    order = np.argsort(numbers, kind="stable")
    cuts = np.flatnonzero(np.diff(numbers[order] // file.header.block_images)) + 1
    for places in np.split(order, cuts) if len(order) else ():
        block, first_row = divmod(int(numbers[places[0]]), file.header.block_images)
        rows = numbers[places] - (int(numbers[places[0]]) - first_row)
        indices = store.indices(block).reshape(-1, *file.header.token_grid)
        _fill(pixels, places, indices, rows, store.decoder, threads)
    return pixels


def _fill(
    pixels: NDArray[np.uint8],
    places: NDArray[np.intp],
    indices: NDArray[np.uint16],
    rows: NDArray[np.int64],
    decoder: FloatDecoder,
    threads: int,
) -> None:
    """Decode rows (ascending) of a block's indices [n, h, w] into places of `pixels`, in whole chunks."""
    _, height, width, channels = pixels.shape
    grid = indices.shape[1:]
    step = decoder.chunk_images(*grid)
    chunks, inverse = np.unique(rows // step, return_inverse=True)
    piece = max(1, _PIECE_BYTES // (16 * math.prod(grid) * channels * step))  # in chunks
    for first in range(0, len(chunks), piece):
        # only the last chunk of a block can be short, and it comes last here too, so that chunks stay aligned
        wanted = (chunks[first : first + piece, None] * step + np.arange(step)).ravel()
        decoded = decoder.decode(indices[wanted[wanted < len(indices)]], threads)
        here = (inverse >= first) & (inverse < first + piece)
        local = (inverse[here] - first) * step + rows[here] % step
        pixels[places[here]] = decoded[local, :height, :width]
