"""A folder of image files as a source: class folders become labels, relative paths become names."""

import warnings
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from smalti.errors import SourceError
from smalti.images.batch import ImageBatch, SkippedFile
from smalti.images.imagefile import UnreadableImageError, mode_of_channels, read_image_file
from smalti.images.listing import list_folder

__all__ = ["FolderSource"]

_REASONS_SHOWN = 3
_SHAPES_ASKED = 32  # the readable images that decide on the shape


class FolderSource:
    """The images of a folder at any depth, in the order of their relative paths.

    Most of the first 32 readable images fix height, width and channels; images that differ are passed over. The
    names are listed once, on opening, and kept (about 100 bytes an image); pixels are read batch by batch. A file
    that could be read in one pass must be readable in the next, else SourceError: so all passes yield the same.

    Raises SourceError if there is no folder, or not one readable image in it.
    """

    def __init__(self, root: Path) -> None:
        self.description = str(root)
        self._root = root
        listing = list_folder(root)
        self._names = listing.names
        self._not_images = listing.skipped
        self._unreadable: dict[int, str] = {}  # index in names -> reason
        self._settled = 0  # names below this index are known to be readable, or are in `_unreadable`
        self.image_shape = self._usual_shape()
        self.class_names = listing.class_names
        self._label_of = {name: label for label, name in enumerate(listing.class_names or ())}

    @property
    def skipped(self) -> tuple[SkippedFile, ...]:
        """Files passed over so far, by path; complete after a full pass."""
        unreadable = [SkippedFile(self._names[index], reason) for index, reason in self._unreadable.items()]
        return tuple(sorted([*self._not_images, *unreadable], key=lambda file: file.name.split("/")))

    def __len__(self) -> int:
        return len(self._names)

    def batches(self, batch_images: int) -> Iterator[ImageBatch]:
        """Yield every readable image once, in order, with its name and, if there are class folders, its label."""
        index = 0
        while index < len(self._names):
            pixels = np.empty((min(batch_images, len(self) - index), *self.image_shape), np.uint8)
            names: list[str] = []
            with _pillow_warnings():
                while len(names) < len(pixels) and index < len(self._names):
                    image = self._read(index)
                    if image is not None:
                        pixels[len(names)] = image
                        names.append(self._names[index])
                    index += 1
            if names:
                yield ImageBatch(pixels[: len(names)], self._labels(names), tuple(names))

    def _labels(self, names: list[str]) -> NDArray[np.int64] | None:
        if self.class_names is None:
            return None
        return np.array([self._label_of[name.split("/", 1)[0]] for name in names], np.int64)

    def _usual_shape(self) -> tuple[int, int, int]:
        """The shape of most of the first readable images, so that one odd file in front does not decide."""
        shapes: Counter[tuple[int, int, int]] = Counter()
        with _pillow_warnings():
            for index, name in enumerate(self._names):
                try:
                    height, width, channels = read_image_file(self._root / name).shape
                except UnreadableImageError as error:
                    self._unreadable[index] = str(error)
                else:
                    shapes[height, width, channels] += 1
                if shapes.total() == _SHAPES_ASKED:
                    break
        if shapes:
            return shapes.most_common(1)[0][0]  # of equally many, the one met first
        if not self.skipped:
            raise SourceError(f"{self._root}: the folder holds no files; give a folder of images")
        shown = "; ".join(f"{file.name}: {file.reason}" for file in self.skipped[:_REASONS_SHOWN])
        more = len(self.skipped) - _REASONS_SHOWN
        raise SourceError(f"{self._root}: no readable image: {shown}{f'; and {more} more' if more > 0 else ''}")

    def _read(self, index: int) -> NDArray[np.uint8] | None:
        """Pixels of one file, or None if it is passed over, which is decided when it is first met."""
        if index in self._unreadable:
            return None
        name = self._names[index]
        try:
            image = read_image_file(self._root / name)
            if image.shape != self.image_shape:
                raise UnreadableImageError(f"{_words(image.shape)}; most are {_words(self.image_shape)}")
        except UnreadableImageError as error:
            if index < self._settled:
                raise SourceError(f"{self._root / name}: changed while it was read ({error}); start again") from error
            self._unreadable[index] = str(error)
            image = None
        self._settled = max(self._settled, index + 1)
        return image


def _words(shape: tuple[int, ...]) -> str:
    height, width, channels = shape
    return f"{height}x{width} {mode_of_channels(channels)}"


@contextmanager
def _pillow_warnings() -> Iterator[None]:
    """Inside, Pillow's warning of a decompression bomb is an error, and others (odd EXIF data) are not shown."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        warnings.simplefilter("error", Image.DecompressionBombWarning)
        yield
