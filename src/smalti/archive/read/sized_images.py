"""Reading images of any sizes: whole, in lists and arrays, or regions of them."""

import math
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from itertools import pairwise
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from smalti.archive.format.block_layout import Rectangle, spanned
from smalti.archive.read.cell_pixels import CellPixels, Piece
from smalti.archive.read.sections import SectionFile
from smalti.archive.read.store import CellStore
from smalti.errors import UsageError
from smalti.images.batch import Pixels, shape_words
from smalti.lazy import cached_property
from smalti.threads import for_each

__all__ = ["SizedImages"]

_RUN_BYTES = 16 << 20  # pixels of a run of images that are read together


class SizedImages:
    """The stored images of any sizes. `CopiedImages` reads copies of them too."""

    def __init__(self, file: SectionFile, store: CellStore, threads: int) -> None:
        self._file, self._store, self._threads = file, store, threads
        self._header, self._layout = file.header, store.layout

    @cached_property
    def image_shapes(self) -> tuple[tuple[int, int, int], ...]:
        """The distinct shapes, in order of appearance."""
        sizes = self._layout.sizes
        pairs = sizes.heights.astype(np.int64) << 32 | sizes.widths
        first = np.sort(np.unique(pairs, return_index=True)[1])
        channels = self._header.image_shape[2]
        return tuple(
            (height, width, channels)
            for height, width in zip(sizes.heights[first].tolist(), sizes.widths[first].tolist(), strict=True)
        )

    @property
    def smallest_bytes(self) -> int:
        """Bytes of the pixels of the smallest image."""
        return min(math.prod(shape) for shape in self.image_shapes) * self._header.pixel_type.itemsize

    @property
    def levels(self) -> int:
        """Tokens have no levels."""
        return 1

    def shape_of(self, number: int) -> tuple[int, int, int]:
        """(H, W, C) of an image."""
        return (*self._layout.size(number), self._header.image_shape[2])

    def stacks(self, numbers: NDArray[np.int64]) -> Iterator[tuple[Pixels, slice]]:
        """Yield images of one shape that follow each other, [n, H, W, C], and which of `numbers` they are.

        Images of many shapes are decoded together, some megabytes at once.
        """
        sizes = self._layout.sizes
        pairs = sizes.heights[numbers].astype(np.int64) << 32 | sizes.widths[numbers]
        cuts = [0, *(np.flatnonzero(np.diff(pairs)) + 1).tolist(), len(numbers)]
        runs = [slice(start, stop) for start, stop in pairwise(cuts)]
        itemsize = self._header.pixel_type.itemsize * self._header.image_shape[2]
        image_bytes = itemsize * sizes.heights[numbers].astype(np.int64) * sizes.widths[numbers]
        start = 0
        for stop, run in enumerate(runs, 1):
            together = image_bytes[runs[start].start : runs[min(stop, len(runs) - 1)].stop]
            if stop < len(runs) and int(together.sum()) <= _RUN_BYTES:
                continue
            first = runs[start].start
            if stop - start == 1:
                yield self.read(numbers[first : run.stop]), run
            else:
                images = self.read_each(numbers[first : run.stop])
                for part in runs[start:stop]:
                    chosen = images[part.start - first : part.stop - first]
                    stack: Pixels = np.empty((len(chosen), *chosen[0].shape), chosen[0].dtype)
                    stack[:] = chosen
                    yield stack, part
            start = stop

    def read(self, numbers: NDArray[np.int64], levels: int | None = None) -> Pixels:
        """Images of one shape: [n, H, W, C]. UsageError if they have several."""
        if not len(numbers):
            return np.empty((0, *self._one_shape(self.image_shapes)), self._header.pixel_type)
        distinct, inverse = np.unique(numbers, return_inverse=True)
        sizes, channels = self._layout.sizes, self._header.image_shape[2]
        pairs = np.unique(sizes.heights[distinct].astype(np.int64) << 32 | sizes.widths[distinct]).tolist()
        shape = self._one_shape([(pair >> 32, pair & 0xFFFFFFFF, channels) for pair in pairs])
        self._check_images(len(numbers), math.prod(shape))
        pixels: Pixels = np.empty((len(distinct), *shape), self._header.pixel_type)
        self._fill(distinct, pixels)
        return pixels if np.array_equal(distinct, numbers) else pixels[inverse]

    def read_each(self, numbers: NDArray[np.int64]) -> list[Pixels]:
        """Images of any shapes: [H, W, C] each."""
        sizes, channels = self._layout.sizes, self._header.image_shape[2]
        values = sizes.heights[numbers].astype(np.int64) * sizes.widths[numbers] * channels
        if len(numbers):
            self._check_images(int(values.sum()) / int(values.max()), int(values.max()))
        distinct, inverse = np.unique(numbers, return_inverse=True)
        sides = zip(sizes.heights[distinct].tolist(), sizes.widths[distinct].tolist(), strict=True)
        images: list[Pixels] = [np.empty((height, width, channels), self._header.pixel_type) for height, width in sides]
        self._fill(distinct, images)
        if len(distinct) == len(numbers):
            return [images[row] for row in inverse.tolist()]
        taken: set[int] = set()
        found = []
        for row in inverse.tolist():
            found.append(images[row].copy() if row in taken else images[row])
            taken.add(row)
        return found

    def region(self, number: int, rows: range, columns: range) -> Pixels:
        """A part of an image: [h, w, C]. Only the blocks that hold cells of it, or within reach of it, are read."""
        channels, kind = self._header.image_shape[2], self._header.pixel_type
        self._file.limits.check("request_bytes", len(rows) * len(columns) * channels * kind.itemsize, "this request")
        pixels: Pixels = np.empty((len(rows), len(columns), channels), kind)
        if pixels.size:
            self._run(self._jobs(self._pieces(number, rows, columns, pixels)))
        return pixels

    def tokens(self, numbers: range) -> NDArray[np.uint16]:
        """Tokens of images of one grid of cells: uint16 [n, rows, columns, M]. UsageError if they have several."""
        return self.tokens_of(np.arange(numbers.start, numbers.stop, dtype=np.int64))

    def tokens_of(self, numbers: NDArray[np.int64]) -> NDArray[np.uint16]:
        """The same of images in any order."""
        distinct, inverse = np.unique(numbers, return_inverse=True)
        grids = np.unique(self._layout.image_grids(distinct), axis=0).tolist()
        tokens_per_cell = self._header.tokens_per_image
        if len(grids) > 1:
            raise UsageError(f"{self._file.path}: its images have several grids of cells; ask for those of one image")
        rows, columns = grids[0] if grids else self._layout.grid(0)
        values = len(numbers) * rows * columns * tokens_per_cell
        self._file.limits.check("request_bytes", 2 * values, "this request")
        tokens = np.empty((len(distinct), rows, columns, tokens_per_cell), np.uint16)
        if not len(numbers):
            return tokens
        firsts, lasts = self._layout.blocks_of(distinct)
        blocks = spanned(firsts, lasts)
        places = np.searchsorted(blocks, lasts)
        done = 0
        for run in self._store.fetch_blocks(blocks.tolist()):
            upto = int(np.searchsorted(places, run.stop, side="left"))
            for position in range(done, upto):
                tokens[position] = self._store.window(Rectangle(int(distinct[position]), 0, 0, rows, columns))
            done = upto
        return tokens if np.array_equal(distinct, numbers) else tokens[inverse]

    def _one_shape(self, shapes: Sequence[tuple[int, int, int]]) -> tuple[int, int, int]:
        if len(shapes) > 1:
            first = ", ".join(map(shape_words, shapes[:3]))
            raise UsageError(
                f"{self._file.path}: images of several shapes ({first} ...) make no array; use .images(...) for a list"
            )
        return shapes[0]

    def _check_images(self, images: float, largest: int) -> None:
        """Raise LimitExceededError if so many images, of the size of the largest, may not be allocated."""
        itemsize = self._header.pixel_type.itemsize
        self._file.limits.check("image_bytes", itemsize * largest, "an image (a region of it may be read)")
        self._file.limits.check("request_bytes", round(images * itemsize * largest), "this request")

    def _fill(self, numbers: NDArray[np.int64], outs: Sequence[Pixels] | Pixels) -> None:
        """Read whole images. numbers : int64 [n], ascending    outs : [H, W, C] of each, to write"""
        jobs: list[_Job] = []
        cut = self._layout.cut(numbers)
        for position in np.flatnonzero(cut).tolist():
            height, width = outs[position].shape[:2]
            jobs += self._jobs(self._pieces(int(numbers[position]), range(height), range(width), outs[position]))
        kept = self._store.keeps_stored(numbers)
        if kept.any():
            chosen = [outs[position] for position in np.flatnonzero(kept).tolist()]
            jobs.append(_Job([], partial(_fill_whole, images=numbers[kept], outs=chosen)))
        whole = np.flatnonzero(~cut & ~kept)
        if len(whole):
            blocks, _ = self._layout.image_places(numbers[whole])
            for positions in np.split(whole, np.flatnonzero(np.diff(blocks)) + 1):
                chosen = [outs[position] for position in positions.tolist()]
                block = int(self._layout.image_places(numbers[positions[:1]])[0][0])
                jobs.append(_Job([block], partial(_fill_whole, images=numbers[positions], outs=chosen)))
        self._run(jobs)

    def _pieces(self, number: int, rows: range, columns: range, pixels: Pixels) -> list[Piece]:
        """Cut a part of an image at the bounds of its units, so that memory does not grow with it."""
        cell = self._layout.sizes.cell
        top, left = rows.start // cell, columns.start // cell
        wanted = Rectangle(number, top, left, -(-rows.stop // cell) - top, -(-columns.stop // cell) - left)
        pieces = []
        for _, unit in self._layout.units_in(wanted):
            y, y_end = max(rows.start, unit.top * cell), min(rows.stop, (unit.top + unit.rows) * cell)
            x, x_end = max(columns.start, unit.left * cell), min(columns.stop, (unit.left + unit.columns) * cell)
            out = pixels[y - rows.start : y_end - rows.start, x - columns.start : x_end - columns.start]
            pieces.append(Piece(number, y, x, out))
        return pieces

    def _jobs(self, pieces: Sequence[Piece]) -> list["_Job"]:
        """A job for each piece of an image."""
        if self._layout.is_cut(pieces[0].image):
            self._store.fetch()  # the model tells which blocks around a piece are needed
        return [_Job(self._blocks_of(piece), partial(_fill_piece, piece=piece)) for piece in pieces]

    def _run(self, jobs: Sequence["_Job"]) -> None:
        """Do jobs. Their blocks are fetched together, and each job is done once the last of its blocks is here."""
        blocks = sorted({block for job in jobs for block in job.blocks})
        place = {block: position for position, block in enumerate(blocks)}
        groups: dict[int, list[_Job]] = {}
        for job in jobs:
            if job.blocks:
                groups.setdefault(place[job.blocks[-1]], []).append(job)
            else:
                self._do([[job]])
        for run in self._store.fetch_blocks(blocks):
            self._do([groups[position] for position in range(run.start, run.stop) if position in groups])

    def _do(self, ready: Sequence[list["_Job"]]) -> None:
        """Do groups of jobs whose blocks are here."""
        if not ready:
            return
        pixels = CellPixels(self._store.model, self._layout, self._store)  # fetched with the first run
        # many blocks: a thread for each; few blocks: all threads for each
        inner = 1 if len(ready) >= self._threads else self._threads

        def work(group: list[_Job]) -> None:
            for job in group:
                job.fill(pixels, inner)

        for_each(work, ready, self._threads if inner == 1 else 1)

    def _blocks_of(self, piece: Piece) -> list[int]:
        """The blocks that hold the cells that a piece depends on, ascending."""
        layout = self._layout
        if not layout.is_cut(piece.image):
            if self._store.keeps_stored(np.array([piece.image])).all():
                return []
            return [layout.place(layout.first_unit(piece.image))[0]]
        cells = CellPixels(self._store.model, layout, self._store).cells(piece)
        units = np.array([unit for unit, _ in layout.units_in(cells)], np.int64)
        return sorted(set(layout.blocks_of_units(units).tolist()))


class _Job(NamedTuple):
    """Pixels to decode. blocks : those that they depend on, ascending; none if their tokens are kept"""

    blocks: list[int]
    fill: Callable[[CellPixels, int], None]


def _fill_piece(pixels: CellPixels, threads: int, piece: Piece) -> None:
    pixels.fill([piece], threads)


def _fill_whole(pixels: CellPixels, threads: int, images: NDArray[np.int64], outs: Sequence[Pixels]) -> None:
    pixels.fill_whole(images, outs, threads)
