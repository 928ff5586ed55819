"""Images that are one array: in memory, or a `.npy` file read in slices through a memory map.

Checks what an array must be to hold images; it never converts values, because scaling and rounding are the
user's decisions.
"""

from collections.abc import Iterator
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from smalti.errors import SourceError
from smalti.images.batch import ImageBatch, SkippedFile

__all__ = ["ArraySource", "NpySource", "check_image_array", "check_labels"]

_SAMPLE_VALUES = 1 << 20  # values looked at to describe an array of the wrong dtype


class ArraySource:
    """Images of an array in memory.

    pixels : uint8 [N, H, W] or [N, H, W, C], C from 1 to 4
    labels : integers [N], or None

    Raises SourceError if the array is anything else.
    """

    def __init__(
        self, pixels: NDArray[np.uint8], labels: NDArray[np.integer] | None = None, description: str = "array"
    ) -> None:
        self.description = description
        self.image_shape = check_image_array(pixels, description)
        self.class_names: tuple[str, ...] | None = None
        self.skipped: tuple[SkippedFile, ...] = ()
        self._pixels = pixels.reshape(len(pixels), *self.image_shape)
        self._labels = None if labels is None else check_labels(labels, len(pixels), f"labels of {description}")

    def __len__(self) -> int:
        return len(self._pixels)

    def batches(self, batch_images: int) -> Iterator[ImageBatch]:
        """Yield every image once, in order; pixels are views of the array."""
        for start in range(0, len(self), batch_images):
            stop = start + batch_images
            yield ImageBatch(self._pixels[start:stop], None if self._labels is None else self._labels[start:stop])


class NpySource:
    """Images of a `.npy` file, with labels if a sibling `NAME.labels.npy` is there.

    The file is mapped anew for each batch and the batch copied, so that pages already read do not stay counted
    as this process's memory.
    """

    def __init__(self, path: Path) -> None:
        self.description = str(path)
        self._path = path
        pixels = _load(path)
        self._stored_shape = pixels.shape
        self.image_shape = check_image_array(pixels, self.description)
        self.class_names: tuple[str, ...] | None = None
        self.skipped: tuple[SkippedFile, ...] = ()
        beside = path.with_suffix(".labels.npy")
        self._labels = check_labels(_load(beside), len(self), str(beside)) if beside.exists() else None

    def __len__(self) -> int:
        return int(self._stored_shape[0])

    def batches(self, batch_images: int) -> Iterator[ImageBatch]:
        """Yield every image once, in order, as copies."""
        for start in range(0, len(self), batch_images):
            stop = min(start + batch_images, len(self))
            mapped = _load(self._path)
            if mapped.shape != self._stored_shape or mapped.dtype != np.uint8:
                raise SourceError(f"{self.description}: changed while it was read; start again")
            pixels = np.array(mapped[start:stop], order="C").reshape(stop - start, *self.image_shape)
            yield ImageBatch(pixels, None if self._labels is None else self._labels[start:stop])


def check_image_array(pixels: NDArray[np.generic], where: str) -> tuple[int, int, int]:
    """Height, width and channels of an array of images; SourceError, naming `where`, if it is none."""
    if pixels.dtype != np.uint8:
        raise SourceError(f"{where}: {_wrong_dtype(pixels)}")
    shape = tuple(int(size) for size in pixels.shape)
    if len(shape) not in (3, 4):
        what = "one image; add an axis in front" if len(shape) == 2 else f"{len(shape)} axes"
        raise SourceError(f"{where}: shape {list(shape)} is {what}; images are uint8 [N, H, W] or [N, H, W, C]")
    if shape[0] == 0:
        raise SourceError(f"{where}: holds no images (shape {list(shape)}); give at least one")
    height, width, channels = shape[1], shape[2], shape[3] if len(shape) == 4 else 1
    if not 1 <= channels <= 4:
        hint = "; channels come last: use .transpose(0, 2, 3, 1)" if 1 <= height <= 4 else ""
        raise SourceError(f"{where}: {channels} channels (shape {list(shape)}); images have 1 to 4{hint}")
    if height == 0 or width == 0:
        raise SourceError(f"{where}: images of {height}x{width} pixels have no pixels (shape {list(shape)})")
    return height, width, channels


def check_labels(labels: NDArray[np.generic], images: int, where: str) -> NDArray[np.int64]:
    """Labels as int64 [images]; SourceError, naming `where`, if they are not integers, one for each image."""
    if labels.dtype.kind not in "iu":
        raise SourceError(f"{where}: holds {labels.dtype}; labels are integers")
    if labels.shape != (images,):
        raise SourceError(f"{where}: has shape {list(labels.shape)} beside {images} images; give [{images}]")
    if labels.dtype == np.uint64 and labels.max() > np.iinfo(np.int64).max:
        raise SourceError(f"{where}: a label is above 2^63 - 1; number the labels from 0")
    return labels.astype(np.int64)


def _wrong_dtype(pixels: NDArray[np.generic]) -> str:
    """What an array that is not uint8 holds, and what to do about it."""
    found, kind = f"holds {pixels.dtype}, images are uint8", pixels.dtype.kind
    if kind == "b":
        return f"{found}; use .astype(np.uint8) * 255"
    if kind not in "iuf" or pixels.size == 0 or pixels.ndim == 0:
        return f"{found}; convert it"
    # The first images are enough to tell [0, 1] from [0, 255], and a file may be larger than memory.
    sample = pixels[: max(1, _SAMPLE_VALUES // max(1, pixels[0].size))]
    if kind == "f" and not np.isfinite(sample).all():
        return f"{found}, and there are NaN or infinite values; replace them, scale to 0..255, round, .astype(np.uint8)"
    low, high = sample.min(), sample.max()
    if kind == "f" and low >= 0 and high <= 1:
        return f"{found}; values lie in [{low:.4g}, {high:.4g}]: use np.round(x * 255).astype(np.uint8)"
    if low >= 0 and high <= 255:
        return f"{found}; if all values lie in 0..255 as the first do, use np.round(x).astype(np.uint8)"
    return f"{found}; values reach from {low:.6g} to {high:.6g}: scale to 0..255, round, .astype(np.uint8)"


def _load(path: Path) -> NDArray[np.generic]:
    try:
        loaded = np.load(path, mmap_mode="r", allow_pickle=False)
    except OSError as error:
        raise SourceError(f"{path}: cannot be read: {error.strerror or error}") from error
    except (ValueError, EOFError) as error:
        raise SourceError(f"{path}: {_why_unreadable(path, str(error))}") from error
    if not isinstance(loaded, np.ndarray):
        raise SourceError(f"{path}: is no .npy file but an archive of arrays; save one array with np.save")
    return loaded


def _why_unreadable(path: Path, message: str) -> str:
    with path.open("rb") as file:
        magic = file.read(6)
    if magic != b"\x93NUMPY":
        return "is no .npy file (does not begin with its magic); write it with np.save" if magic else "is empty"
    if "llow_pickle" in message or "object" in message:
        return "holds Python objects, which could run code when read; save a uint8 array"
    if "mmap" in message or "EOF" in message or "header" in message:
        return "is truncated; write or copy it again"
    return f"cannot be read as .npy: {message.splitlines()[0]}"
