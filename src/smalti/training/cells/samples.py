"""Images in whole cells, and random crops of them for a fit.

Sides are made multiples of a cell by repeating the last row and column. Colours that nobody sees, because alpha is 0,
are filled from what is seen around them, so that they cost little.
"""

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass
from typing import cast

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from smalti.errors import SourceError
from smalti.images.batch import Pixels
from smalti.images.source import RandomAccessSource, SizedSource
from smalti.training.common.scaling import PixelScale

__all__ = ["Loaded", "Picture", "Samples", "filled", "load_images", "load_samples", "prepared", "seen_weights"]

SAMPLE_BYTES = 160 << 20
"""The most bytes of pixels that a fit keeps in memory: of more, an evenly spread part."""

_LARGEST_SIDE = 1024
"""Of larger images a fit sees windows of this side."""


@dataclass(frozen=True, eq=False)
class Picture:
    """An image in whole cells. pixels : [H', W', C]    size : (H, W) of the image, its top left part"""

    pixels: Pixels
    size: tuple[int, int]


def prepared(pixels: Pixels, cell: int) -> Pixels:
    """Images [n, H, W, C] in whole cells, with unseen colours filled."""
    return _in_cells(filled(pixels), cell)


def _in_cells(pixels: Pixels, cell: int) -> Pixels:
    """Repeat the last row and column of [n, H, W, C] up to whole cells."""
    height, width = pixels.shape[1:3]
    down, right = -height % cell, -width % cell
    if down or right:
        pixels = cast(Pixels, np.pad(pixels, ((0, 0), (0, down), (0, right), (0, 0)), "edge"))
    return pixels


_FILLED_PIXELS = 1 << 18
"""About how many pixels are filled at a time."""


def filled(pixels: Pixels) -> Pixels:
    """Replace colours under alpha 0 in [n, H, W, C] by averages of seen ones, near ones if there are any."""
    if pixels.shape[3] not in (2, 4):
        return pixels
    seen = pixels[..., -1] > 0
    wanted = np.flatnonzero(seen.any(axis=(1, 2)) & ~seen.all(axis=(1, 2)))
    if not len(wanted):
        return pixels
    result = pixels.copy()
    step = max(1, _FILLED_PIXELS // seen[0].size)
    for start in range(0, len(wanted), step):
        part = wanted[start : start + step]
        result[part] = _filled(pixels[part], seen[part])
    return result


def _filled(pixels: Pixels, seen: NDArray[np.bool_]) -> Pixels:
    """The same, where each image has pixels that are seen and others that are not. Sums are exact, in any order."""
    values = np.where(seen[..., None], pixels[..., :-1], 0).astype(np.float64)
    levels = [(values, seen.astype(np.float64))]
    while min(levels[-1][1].shape[1:]) > 1 and not (levels[-1][1] > 0).all():
        levels.append(_halved(*levels[-1]))
    colours, weights = levels[-1]
    current = colours / np.maximum(weights, 1e-9)[..., None]
    means = colours.sum((1, 2)) / weights.sum((1, 2))[:, None]
    current = np.where(weights[..., None] > 0, current, means[:, None, None])
    for colours, weights in levels[-2::-1]:
        height, width = weights.shape[1:]
        larger = current.repeat(2, 1).repeat(2, 2)[:, :height, :width]
        own = colours / np.maximum(weights, 1e-9)[..., None]
        current = np.where(weights[..., None] > 0, own, larger)
    result = pixels.copy()
    result[..., :-1] = np.where(seen[..., None], pixels[..., :-1], np.round(current))
    return result


def _halved(
    values: NDArray[np.float64], weights: NDArray[np.float64]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Sums of 2 x 2 pixels of [n, H, W, C] and [n, H, W]."""
    count, height, width = weights.shape
    if height % 2 or width % 2:
        padding = ((0, 0), (0, height % 2), (0, width % 2))
        values, weights = np.pad(values, (*padding, (0, 0))), np.pad(weights, padding)
    shape = (count, weights.shape[1] // 2, 2, weights.shape[2] // 2, 2)
    rows = values.reshape(*shape, -1)
    return (
        rows[:, :, 0, :, 0] + rows[:, :, 0, :, 1] + rows[:, :, 1, :, 0] + rows[:, :, 1, :, 1],
        weights.reshape(shape).sum((2, 4)),
    )


def seen_weights(pixels: Pixels) -> NDArray[np.float32] | None:
    """How much squared errors of [n, H, W, C] count: colours by the square of alpha. None: all count alike."""
    if pixels.shape[3] not in (2, 4):
        return None
    alpha = pixels[..., -1:].astype(np.float32) / np.iinfo(pixels.dtype).max
    weights = np.concatenate([np.repeat(alpha**2, pixels.shape[3] - 1, 3), np.ones_like(alpha)], 3)
    return weights.astype(np.float32)


class Samples:
    """Pictures of a collection in memory, and random crops of them.

    pictures : in whole cells    scale : of their pixels    side : the largest side of a crop, in pixels
    """

    def __init__(self, pictures: list[Picture], scale: PixelScale, cell: int, side: int) -> None:
        self.pictures, self.scale, self.cell = pictures, scale, cell
        self._side = side // cell
        self._grids = np.array([[*picture.pixels.shape[:2]] for picture in pictures], np.int64) // cell
        areas = self._grids.prod(axis=1).astype(np.float64)
        self._shares = areas / areas.sum()

    @property
    def pixels(self) -> int:
        """The number of pixels of all pictures."""
        return int(self._grids.prod(axis=1).sum()) * self.cell**2

    def fingerprint(self) -> str:
        """A hash of all pictures."""
        digest = hashlib.blake2b(digest_size=16)
        for picture in self.pictures:
            digest.update(repr((picture.pixels.shape, picture.size)).encode())
            digest.update(picture.pixels.tobytes())
        return digest.hexdigest()

    def stacks(self) -> list[NDArray[np.float32]]:
        """All pictures in [0, 1], those of one size together: float [n, H', W', C]."""
        by_size: dict[tuple[int, ...], list[Pixels]] = {}
        for picture in self.pictures:
            by_size.setdefault(picture.pixels.shape, []).append(picture.pixels)
        return [self.scale.to_unit(cast(Pixels, np.stack(some))) for some in by_size.values()]

    def draw(self, generator: np.random.Generator, pixels: int) -> tuple[Tensor, Tensor | None]:
        """Crops of one size with `pixels` pixels together: float [n, C, h, w] in [0, 1]; and their weights.

        The weights are 0 beyond the edges of images. None if all weights are 1.
        """
        stacked, inside = self.crops(generator, pixels)
        images = torch.from_numpy(np.ascontiguousarray(self.scale.to_unit(stacked).transpose(0, 3, 1, 2)))
        weights = seen_weights(stacked)
        if inside.all():
            return images, None if weights is None else torch.from_numpy(weights.transpose(0, 3, 1, 2).copy())
        mask = inside[..., None].astype(np.float32)
        whole = mask if weights is None else mask * weights
        return images, torch.from_numpy(np.ascontiguousarray(whole.transpose(0, 3, 1, 2)))

    def crops(self, generator: np.random.Generator, pixels: int) -> tuple[Pixels, NDArray[np.bool_]]:
        """Crops of one size with `pixels` pixels together, [n, h, w, C]; and which pixels are of images, [n, h, w].

        The size is that of a random picture, up to the largest side.
        """
        first = int(generator.choice(len(self.pictures), p=self._shares))
        rows, columns = np.minimum(self._grids[first], self._side).tolist()
        count = max(1, round(pixels / (rows * columns * self.cell**2)))
        fits = np.flatnonzero((self._grids >= (rows, columns)).all(axis=1))
        shares = self._shares[fits] / self._shares[fits].sum()
        chosen = generator.choice(fits, count, p=shares)
        crops, inside = zip(*(self._crop(generator, int(number), rows, columns) for number in chosen), strict=True)
        return cast(Pixels, np.stack(crops)), np.stack(inside)

    def _crop(
        self, generator: np.random.Generator, number: int, rows: int, columns: int
    ) -> tuple[Pixels, NDArray[np.bool_]]:
        """A random crop of a picture, and which of its pixels are of the image."""
        picture = self.pictures[number]
        spare = self._grids[number] - (rows, columns)
        top, left = (generator.integers(0, spare + 1) * self.cell).tolist()
        height, width = rows * self.cell, columns * self.cell
        down, across = np.arange(top, top + height) < picture.size[0], np.arange(left, left + width) < picture.size[1]
        return picture.pixels[top : top + height, left : left + width], down[:, None] & across


def load_samples(
    source: SizedSource, cell: int, side: int, most_bytes: int = SAMPLE_BYTES, *, fill: bool = True
) -> Samples:
    """Read an evenly spread part of a source. fill : fill unseen colours    SourceError if no image can be read."""
    return load_images(source, most_bytes, fill=fill).samples(cell, side)


@dataclass(frozen=True, eq=False)
class Loaded:
    """Images of a source in memory; `samples` brings them into whole cells.

    stacks : images [n, H, W, C] that follow each other and have one size
    """

    stacks: list[Pixels]
    scale: PixelScale

    def samples(self, cell: int, side: int) -> Samples:
        """Pictures in whole cells, and crops of them of at most `side` pixels."""
        pictures = [
            Picture(picture, (stack.shape[1], stack.shape[2]))
            for stack in self.stacks
            for picture in _in_cells(stack, cell)
        ]
        return Samples(pictures, self.scale, cell, side)


def load_images(source: SizedSource, most_bytes: int = SAMPLE_BYTES, *, fill: bool = True) -> Loaded:
    """Read an evenly spread part of a source, and windows of large images. SourceError if no image can be read.

    fill : fill unseen colours
    """
    sizes = source.sizes
    areas = np.minimum(sizes, _LARGEST_SIDE).prod(axis=1) * source.channels * source.dtype.itemsize
    every = max(1, -(-int(areas.sum()) // most_bytes))
    entries = np.arange(every // 2, len(source), every)
    stacks = []
    for numbers, images in _images_at(source, entries if len(entries) else np.arange(len(source)), every):
        parts = [_window(image, number) for number, image in zip(numbers, images, strict=True)]
        stack = cast(Pixels, np.stack(parts))
        stacks.append(filled(stack) if fill else stack)
    if not stacks:
        raise SourceError(f"{source.description}: no image could be read")
    low, high = min(int(stack.min()) for stack in stacks), max(int(stack.max()) for stack in stacks)
    return Loaded(stacks, PixelScale.of_range(source.dtype, low, high))


def _images_at(source: SizedSource, entries: NDArray[np.int64], every: int) -> Iterator[tuple[list[int], Pixels]]:
    """The images of some entries, those of one size that follow each other together, with their running numbers."""
    if isinstance(source, RandomAccessSource) and every > 1:
        batches, wanted = source.batches_at(entries, 256), None
    else:
        batches, wanted = source.batches(256), every
    number = 0
    for batch in batches:
        numbers = np.arange(number, number + len(batch))
        number += len(batch)
        if wanted is None or len(source) <= wanted:
            yield numbers.tolist(), batch.pixels
            continue
        chosen = np.flatnonzero(numbers % wanted == wanted // 2)
        if len(chosen):
            yield numbers[chosen].tolist(), batch.pixels[chosen]


def _window(image: Pixels, number: int) -> Pixels:
    """The image, or a window of it if it is large; which one depends on the number."""
    if max(image.shape[:2]) <= _LARGEST_SIDE:
        return image
    generator = np.random.default_rng(number)
    starts = [int(generator.integers(0, max(0, side - _LARGEST_SIDE) // 32 + 1)) * 32 for side in image.shape[:2]]
    return image[starts[0] : starts[0] + _LARGEST_SIDE, starts[1] : starts[1] + _LARGEST_SIDE]
