"""The contract of a source of images: a fixed order, streaming, any number of passes."""

from collections.abc import Iterator, Sequence
from typing import Protocol

import numpy as np

from smalti.images.batch import ImageBatch, SkippedFile

__all__ = ["ImageSource"]


class ImageSource(Protocol):
    """Images of one shape and dtype in a fixed order, read in batches; memory does not grow with their number.

    Opening a source finds its shape and the number of its entries. Entries that turn out unreadable are passed
    over during a pass and listed in `skipped`, so a pass may yield fewer than `len(source)` images; every pass
    yields the same ones.
    """

    @property
    def description(self) -> str:
        """What the user called it: a path or the name of a set."""

    @property
    def image_shape(self) -> tuple[int, int, int]:
        """Height, width and channels of every image."""

    @property
    def dtype(self) -> np.dtype[np.uint8] | np.dtype[np.uint16]:
        """Uint8 or uint16, that of every image."""

    @property
    def class_names(self) -> tuple[str, ...] | None:
        """The name of each label 0, 1, ... if the labels stand for names (class folders), else None."""

    @property
    def skipped(self) -> Sequence[SkippedFile]:
        """The files passed over, complete after a full pass."""

    def __len__(self) -> int:
        """Entries found: an upper bound of the number of images that a pass yields."""

    def batches(self, batch_images: int, start: int = 0, stop: int | None = None) -> Iterator[ImageBatch]:
        """Yield the images of entries `start` to `stop` (exclusive; None is the end), each once, in order.

        Batches are of `batch_images`, the last may be shorter. What lies before `start` is not decoded, and not read
        where the format allows it.
        """
