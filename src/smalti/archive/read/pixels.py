"""Images by their numbers: which blocks a request needs, what of them is decoded, and where the pixels go."""

from collections.abc import Iterator, Sequence

import numpy as np
from numpy.typing import NDArray

from smalti.archive.read.block_decoder import as_slice
from smalti.archive.read.sections import SectionFile
from smalti.archive.read.store import SectionStore
from smalti.images.batch import Pixels
from smalti.threads import for_each

__all__ = ["read_pixels"]

_TOGETHER_IMAGES = 512  # of small parts of blocks that the network decodes at once: it is slow for a few (measured)

Places = NDArray[np.intp]
"""Where, among the images asked for, those of one block stand."""


def read_pixels(
    file: SectionFile, store: SectionStore, numbers: NDArray[np.int64], threads: int, levels: int | None = None
) -> Pixels:
    """Pixels [n, H, W, C] of images `numbers` (int64 [n], each in [0, N), any order, repeats allowed).

    levels : decode the first levels of their tokens alone, without corrections
    """
    header = file.header
    file.limits.check("request_bytes", len(numbers) * header.image_bytes, "this request")
    pixels: Pixels = np.empty((len(numbers), *header.image_shape), header.pixel_type)
    order = np.argsort(numbers, kind="stable")
    cuts = np.flatnonzero(np.diff(numbers[order] // header.block_images)) + 1
    parts = np.split(order, cuts) if len(order) else []
    blocks = [int(numbers[part[0]]) // header.block_images for part in parts]
    few = len(parts) > 1 and len(numbers) < _TOGETHER_IMAGES // 2 * len(parts)  # of each block
    gathers = few and (levels is not None or not header.has_corrections)  # corrections are a block's own
    inner = 1 if len(parts) >= threads and not gathers else threads  # many blocks: a thread each; few: all for each

    def rows_of(places: Places) -> tuple[int, NDArray[np.int64]]:
        number = int(numbers[places[0]]) // header.block_images
        return number, numbers[places] - number * header.block_images

    def fill(places: Places) -> None:
        number, rows = rows_of(places)
        with store.naming_block(number):
            for part, decoded in store.decoder.rows(store.block(number), rows, inner, levels):
                pixels[as_slice(places[part])] = decoded

    def fill_together(parts: Sequence[Places]) -> None:
        indices = [store.block(number).indices[rows] for number, rows in map(rows_of, parts)]
        places = np.concatenate(parts)
        for part, decoded in store.decoder.together(np.concatenate(indices), inner, levels):
            pixels[places[part]] = decoded

    for run in store.together(blocks):
        if gathers:
            for gathered in _gathered(parts[run]):
                fill_together(gathered)
        else:
            for_each(fill, parts[run], threads if inner == 1 else 1)
    return pixels


def _gathered(parts: Sequence[Places]) -> Iterator[Sequence[Places]]:
    """Parts of blocks in a row, so many that they are worth decoding together."""
    start, images = 0, 0
    for stop, part in enumerate(parts, 1):
        images += len(part)
        if images >= _TOGETHER_IMAGES or stop == len(parts):
            yield parts[start:stop]
            start, images = stop, 0
