"""Sources of one array of images: in memory, or in a file that is read some rows at a time.

An array is checked, and its values are never converted: scaling and rounding are the user's decisions. (Byte order is
no value: big-endian arrays of 16 bits become native ones.) File formats are in the modules beside this one.
"""

import logging
from collections.abc import Iterator, Mapping, Sequence
from typing import Protocol, cast

import numpy as np
from numpy.typing import ArrayLike, NDArray

from smalti.errors import SourceError
from smalti.images.batch import PIXEL_DTYPES, ImageBatch, PixelDtype, Pixels, SkippedFile
from smalti.images.columns import Columns, FieldValues, check_field, check_labels, check_names

__all__ = ["ArraySource", "PixelRows", "RowsSource", "check_image_array", "pixel_dtype"]

_log = logging.getLogger("smalti")

_SAMPLE_VALUES = 1 << 20  # values read to describe an array of the wrong dtype


class PixelRows(Protocol):
    """An array that is read along its first axis, wherever it is stored."""

    @property
    def shape(self) -> tuple[int, ...]:
        """[N, H, W] or [N, H, W, C] if it holds images."""

    @property
    def dtype(self) -> np.dtype[np.generic]:
        """The dtype as stored."""

    def blocks(self, rows: int, start: int, stop: int) -> Iterator[NDArray[np.generic]]:
        """Yield rows [start, stop) in order, in blocks of any length that suits the storage.

        rows : how many rows the caller takes at a time

        Raises SourceError if they cannot be read.
        """


class RowsSource:
    """The rows of one array as images; their columns are in memory.

    rows : uint8, uint16 or int16 [N, H, W] or [N, H, W, C], C from 1 to 4
    where : what messages call the array; the description by default

    Raises SourceError for any other array.
    """

    def __init__(
        self, description: str, rows: PixelRows, columns: Columns | None = None, where: str | None = None
    ) -> None:
        self.description = description
        self.image_shape, self.dtype = _check_rows(rows, where or description)
        _warn_of_one_image(rows.shape, where or description)
        self.skipped: tuple[SkippedFile, ...] = ()
        self._rows = rows
        self._columns = columns or Columns()
        self.class_names = self._columns.class_names

    def __len__(self) -> int:
        return self._rows.shape[0]

    def batches(self, batch_images: int, start: int = 0, stop: int | None = None) -> Iterator[ImageBatch]:
        """Yield images [start, stop) once, in order; pixels may be views of the array."""
        first, end, _ = slice(start, stop).indices(len(self))
        for stored in _cut(self._rows.blocks(batch_images, first, end), batch_images):
            pixels = cast(Pixels, stored.reshape(len(stored), *self.image_shape).astype(self.dtype, copy=False))
            yield self._columns.batch(pixels, first)
            first += len(pixels)


class ArraySource(RowsSource):
    """The images of an array in memory.

    pixels : uint8, uint16 or int16 [N, H, W] or [N, H, W, C], C from 1 to 4
    labels : integers [N], as an array or anything that NumPy converts to one (a list, a tensor on the CPU), or None
    names : N relative POSIX paths, or None
    fields : further columns by name, N values each: an array, or a sequence of bool, int, float, str or None

    Raises SourceError for anything else.
    """

    def __init__(
        self,
        pixels: Pixels,
        labels: ArrayLike | None = None,
        description: str = "array",
        *,
        names: Sequence[str] | None = None,
        fields: Mapping[str, FieldValues] | None = None,
    ) -> None:
        check_image_array(pixels, description)
        images, where = len(pixels), f"labels of {description}"
        columns = Columns(
            None if labels is None else check_labels(_array_of(labels, where), images, where),
            None if names is None else check_names(names, images, f"names of {description}"),
            {
                name: check_field(values, images, f"field {name} of {description}")
                for name, values in (fields or {}).items()
            },
        )
        super().__init__(description, _InMemory(pixels), columns)


def _warn_of_one_image(shape: tuple[int, ...], where: str) -> None:
    """Warn of an array [N, H, W] that may be meant as one image [H, W, C]: its last axis is 3 or 4 long."""
    if len(shape) == 3 and shape[2] in (3, 4) and min(shape[:2]) > 4:
        images = f"{shape[0]} grey images of {shape[1]}x{shape[2]}"
        words = "%s: shape %s is read as %s; if it is one colour image, save it with an axis in front, array[None]"
        _log.warning(words, where, list(shape), images)


def check_image_array(pixels: NDArray[np.generic], where: str) -> tuple[int, int, int]:
    """Return height, width and channels of an array of images; SourceError, naming `where`, for any other array."""
    return _check_rows(_InMemory(pixels), where)[0]


def pixel_dtype(dtype: np.dtype[np.generic]) -> PixelDtype | None:
    """Return native uint8, uint16 or int16 for these dtypes in any byte order, else None."""
    native = dtype.newbyteorder("=") if dtype.kind in "ui" else None
    return cast(PixelDtype, native) if native in PIXEL_DTYPES else None


def _array_of(values: ArrayLike, where: str) -> NDArray[np.generic]:
    """Return values as an array; SourceError if NumPy refuses them (a ragged list, a tensor on a GPU)."""
    try:
        return np.asarray(values)
    except (ValueError, TypeError, RuntimeError) as error:
        reason = (str(error).splitlines() or [type(error).__name__])[0].rstrip(".")
        raise SourceError(f"{where}: is no array ({reason}); give integers, one for each image") from error


class _InMemory:
    def __init__(self, array: NDArray[np.generic]) -> None:
        self._array = array
        self.shape: tuple[int, ...] = array.shape
        self.dtype = array.dtype

    def blocks(self, rows: int, start: int, stop: int) -> Iterator[NDArray[np.generic]]:
        for first in range(start, stop, rows):
            yield self._array[first : min(first + rows, stop)]


def _check_rows(rows: PixelRows, where: str) -> tuple[tuple[int, int, int], PixelDtype]:
    dtype = pixel_dtype(rows.dtype)
    if dtype is None:
        raise SourceError(f"{where}: {_wrong_dtype(rows)}")
    shape = tuple(int(size) for size in rows.shape)
    if len(shape) not in (3, 4):
        what = "one image; add an axis in front" if len(shape) == 2 else f"{len(shape)} axes"
        raise SourceError(f"{where}: shape {list(shape)} is {what}; images are [N, H, W] or [N, H, W, C]")
    if shape[0] == 0:
        raise SourceError(f"{where}: holds no images (shape {list(shape)}); give at least one")
    height, width, channels = shape[1], shape[2], shape[3] if len(shape) == 4 else 1
    if not 1 <= channels <= 4:
        hint = "; channels come last: use .transpose(0, 2, 3, 1)" if 1 <= height <= 4 else ""
        raise SourceError(f"{where}: {channels} channels (shape {list(shape)}); images have 1 to 4{hint}")
    if height == 0 or width == 0:
        raise SourceError(f"{where}: images of {height}x{width} pixels have no pixels (shape {list(shape)})")
    return (height, width, channels), dtype


def _wrong_dtype(rows: PixelRows) -> str:
    """Say what an array of a dtype that images do not have holds, and how to convert it."""
    found, kind = f"holds {rows.dtype}, images are uint8, uint16 or int16", rows.dtype.kind
    if kind == "b":
        return f"{found}; use .astype(np.uint8) * 255"
    if kind not in "iuf" or 0 in rows.shape or not rows.shape:
        return f"{found}; convert it"
    # The first images are enough to tell [0, 1] from [0, 255], and a file may be larger than memory.
    row_values = int(np.prod(rows.shape[1:], dtype=object))
    count = min(rows.shape[0], max(1, _SAMPLE_VALUES // max(1, row_values)))
    sample = next(rows.blocks(count, 0, count))
    if kind == "f" and not np.isfinite(sample).all():
        return f"{found}, and there are NaN or infinite values; replace them, scale to 0..255, round, .astype(np.uint8)"
    low, high = sample.min(), sample.max()
    if kind == "f" and low >= 0 and high <= 1:
        return f"{found}; values lie in [{low:.4g}, {high:.4g}]: use np.round(x * 255).astype(np.uint8)"
    for limit, name in ((255, "uint8"), (65535, "uint16")):
        if low >= 0 and high <= limit:
            return f"{found}; if all values lie in 0..{limit} as the first do, use np.round(x).astype(np.{name})"
    return f"{found}; values reach from {low:.6g} to {high:.6g}: scale to 0..255, round, .astype(np.uint8)"


def _cut(blocks: Iterator[NDArray[np.generic]], rows: int) -> Iterator[NDArray[np.generic]]:
    """Yield the same rows in parts of `rows`, the last part shorter; a part within one block is a view."""
    pending: list[NDArray[np.generic]] = []
    missing = rows
    for block in blocks:
        first = 0
        while len(block) - first >= missing:
            pending.append(block[first : first + missing])
            first += missing
            yield pending[0] if len(pending) == 1 else np.concatenate(pending)
            pending, missing = [], rows
        if first < len(block):
            pending.append(block[first:])
            missing -= len(block) - first
    if pending:
        yield pending[0] if len(pending) == 1 else np.concatenate(pending)
