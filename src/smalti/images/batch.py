"""What every source of images yields, and what every writer of images takes."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

__all__ = ["ImageBatch", "SkippedFile"]


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

    def __len__(self) -> int:
        return len(self.pixels)


@dataclass(frozen=True)
class SkippedFile:
    """A file of a source that was passed over, and why, in words for a person."""

    name: str
    reason: str
