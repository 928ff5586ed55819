"""Images by their numbers: which blocks a request needs, what of them is decoded, and where the pixels go."""

from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import NDArray

from smalti.archive.blockdecoder import as_slice
from smalti.archive.sections import SectionFile
from smalti.archive.store import SectionStore
from smalti.images.batch import Pixels

__all__ = ["read_pixels"]


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
    inner = 1 if len(parts) >= threads else threads  # many blocks: a thread for each; few: all threads for each

    def fill(places: NDArray[np.intp]) -> None:
        number = int(numbers[places[0]]) // header.block_images
        rows = numbers[places] - number * header.block_images
        with store.naming_block(number):
            for part, decoded in store.decoder.rows(store.block(number), rows, inner, levels):
                pixels[as_slice(places[part])] = decoded

    for run in store.together(blocks):
        _run(fill, parts[run], threads if inner == 1 else 1)
    return pixels


def _run(work: Callable[[NDArray[np.intp]], None], parts: Sequence[NDArray[np.intp]], threads: int) -> None:
    """Do the work for every part; the first error stops what has not begun."""
    if min(threads, len(parts)) < 2:
        for part in parts:
            work(part)
        return
    from concurrent.futures import ThreadPoolExecutor  # noqa: PLC0415 (slow to import, for threads only)

    with ThreadPoolExecutor(min(threads, len(parts))) as pool:
        jobs = [pool.submit(work, part) for part in parts]
        try:
            for job in jobs:
                job.result()
        finally:
            for job in jobs:
                job.cancel()
