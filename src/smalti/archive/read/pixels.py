"""Reading images by number: finds the blocks of a request, decodes the rows it needs, and puts them in order."""

from collections.abc import Iterator, Sequence

import numpy as np
from numpy.typing import NDArray

from smalti.archive.read.block_decoder import as_slice
from smalti.archive.read.sections import SectionFile
from smalti.archive.read.store import ImageStore
from smalti.images.batch import Pixels
from smalti.threads import for_each

__all__ = ["read_pixels"]

_GATHERED_IMAGES = 512  # images that the network decodes at once if each block gives a few: few are slow (measured)

Positions = NDArray[np.intp]
"""Positions of one block's images in a request."""


def read_pixels(
    file: SectionFile, store: ImageStore, numbers: NDArray[np.int64], threads: int, levels: int | None = None
) -> Pixels:
    """Read the pixels of images: [n, H, W, C].

    numbers : int64 [n], each in [0, N), in any order; repeats are allowed
    levels : decode the first levels of their tokens alone, without residuals
    """
    header = file.header
    file.limits.check("request_bytes", len(numbers) * header.image_bytes, "this request")
    pixels: Pixels = np.empty((len(numbers), *header.image_shape), header.pixel_type)
    order = np.argsort(numbers, kind="stable")
    cuts = np.flatnonzero(np.diff(numbers[order] // header.block_images)) + 1
    parts = np.split(order, cuts) if len(order) else []
    blocks = [int(numbers[part[0]]) // header.block_images for part in parts]
    few = len(parts) > 1 and len(numbers) < _GATHERED_IMAGES // 2 * len(parts)  # images of each block
    gathers = few and (levels is not None or not header.has_residuals)  # residuals belong to one block
    # many blocks: a thread for each; few blocks: all threads for each
    inner = 1 if len(parts) >= threads and not gathers else threads

    def rows_of(positions: Positions) -> tuple[int, NDArray[np.int64]]:
        number = int(numbers[positions[0]]) // header.block_images
        return number, numbers[positions] - number * header.block_images

    def fill(positions: Positions) -> None:
        number, rows = rows_of(positions)
        with store.naming_block(number):
            for part, decoded in store.decoder.rows(store.block(number), rows, inner, levels):
                pixels[as_slice(positions[part])] = decoded

    def fill_gathered(parts: Sequence[Positions]) -> None:
        indices = [store.block(number).indices[rows] for number, rows in map(rows_of, parts)]
        positions = np.concatenate(parts)
        for part, decoded in store.decoder.token_rows(np.concatenate(indices), inner, levels):
            pixels[positions[part]] = decoded

    for run in store.fetch_blocks(blocks):
        if gathers:
            for gathered in _gathered(parts[run]):
                fill_gathered(gathered)
        else:
            for_each(fill, parts[run], threads if inner == 1 else 1)
    return pixels


def _gathered(parts: Sequence[Positions]) -> Iterator[Sequence[Positions]]:
    """Group parts of successive blocks until each group is large enough to decode at once."""
    start, images = 0, 0
    for stop, part in enumerate(parts, 1):
        images += len(part)
        if images >= _GATHERED_IMAGES or stop == len(parts):
            yield parts[start:stop]
            start, images = stop, 0
