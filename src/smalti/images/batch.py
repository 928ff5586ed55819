"""What every source of images yields, and what every writer of images takes."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

__all__ = ["ImageBatch", "SkippedFile", "shape_words"]


@dataclass(frozen=True)
class ImageBatch:
    """Some images in a row, with what is known of each.

    pixels : uint8 [n, H, W, C], C from 1 to 4
    labels : int64 [n], or None if the source has no labels
    names : n relative POSIX paths, or None if the source has no names
    """

    pixels: NDArray[np.uint8]
    labels: NDArray[np.int64] | None = None
    names: tuple[str, ...] | None = None

    def __post_init__(self) -> None:
        images = len(self.pixels)
        if self.pixels.dtype != np.uint8 or self.pixels.ndim != 4 or not 1 <= self.pixels.shape[3] <= 4:
            shape = list(self.pixels.shape)
            raise ValueError(f"pixels of a batch are uint8 [n, H, W, 1..4], not {self.pixels.dtype} {shape}")
        if self.labels is not None and self.labels.shape != (images,):
            raise ValueError(f"{images} images need labels [{images}], not {list(self.labels.shape)}")
        if self.names is not None and len(self.names) != images:
            raise ValueError(f"{images} images need {images} names, not {len(self.names)}")

    def __len__(self) -> int:
        return len(self.pixels)

    def part(self, start: int, stop: int) -> "ImageBatch":
        """Images `start` to `stop` (exclusive) of this batch; pixels and labels are views."""
        labels = None if self.labels is None else self.labels[start:stop]
        names = None if self.names is None else self.names[start:stop]
        return ImageBatch(self.pixels[start:stop], labels, names)

    @staticmethod
    def joined(parts: "Sequence[ImageBatch]") -> "ImageBatch":
        """One batch of the images of all parts, in order; labels and names only if every part has them."""
        if len(parts) == 1:
            return parts[0]
        labels = [part.labels for part in parts if part.labels is not None]
        names = [part.names for part in parts if part.names is not None]
        return ImageBatch(
            np.concatenate([part.pixels for part in parts]),
            np.concatenate(labels) if len(labels) == len(parts) else None,
            tuple(name for some in names for name in some) if len(names) == len(parts) else None,
        )


@dataclass(frozen=True)
class SkippedFile:
    """A file of a source that was passed over, and why, in words for a person."""

    name: str
    reason: str


def shape_words(shape: tuple[int, int, int]) -> str:
    """Return (height, width, channels) in words for a message, such as "28x28 pixels and 1 channel"."""
    height, width, channels = shape
    return f"{height}x{width} pixels and {channels} channel{'s' if channels > 1 else ''}"
