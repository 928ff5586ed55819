"""The types that sources yield and writers take: batches of images, skipped files, and the spec of an output.

Layer: within `images`, the lowest.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

__all__ = [
    "INT16",
    "NO_LABEL",
    "PIXEL_DTYPES",
    "UINT8",
    "UINT16",
    "Fields",
    "ImageBatch",
    "OutputSpec",
    "PixelDtype",
    "Pixels",
    "Scalar",
    "SkippedFile",
    "UnsignedPixels",
    "shape_words",
]


Pixels = NDArray[np.uint8] | NDArray[np.uint16] | NDArray[np.int16]
"""Pixels of 8 or 16 bits; those of 16 may be signed."""

UnsignedPixels = NDArray[np.uint8] | NDArray[np.uint16]
"""Pixels as models see them; `signs` makes them of signed ones, and back."""

PixelDtype = np.dtype[np.uint8] | np.dtype[np.uint16] | np.dtype[np.int16]
"""The dtype of pixels."""

UINT8: PixelDtype = np.dtype(np.uint8)
UINT16: PixelDtype = np.dtype(np.uint16)
INT16: PixelDtype = np.dtype(np.int16)

PIXEL_DTYPES = (UINT8, UINT16, INT16)

NO_LABEL = -1
"""In an array of labels, it stands for an image without a label."""

Scalar = bool | int | float | str
"""A value of a field: a column of images other than their label and name."""

Fields = Mapping[str, Sequence[Scalar | None]]
"""Further columns by name: a value for each image, None for an image without one."""


@dataclass(frozen=True)
class ImageBatch:
    """Some consecutive images with their columns.

    pixels : uint8, uint16 or int16 [n, H, W, C], C from 1 to 4
    labels : int64 [n], or None if the source has no labels
    names : n relative POSIX paths, or None if the source has no names
    fields : further columns, n values each; all batches of a source have the same ones
    """

    pixels: Pixels
    labels: NDArray[np.int64] | None = None
    names: tuple[str, ...] | None = None
    fields: Fields = field(default_factory=dict)

    def __post_init__(self) -> None:
        images = len(self.pixels)
        if self.pixels.dtype not in PIXEL_DTYPES or self.pixels.ndim != 4 or not 1 <= self.pixels.shape[3] <= 4:
            shape = list(self.pixels.shape)
            raise ValueError(
                f"pixels of a batch are uint8, uint16 or int16 [n, H, W, 1..4], not {self.pixels.dtype} {shape}"
            )
        if self.labels is not None and self.labels.shape != (images,):
            raise ValueError(f"{images} images need labels [{images}], not {list(self.labels.shape)}")
        if self.names is not None and len(self.names) != images:
            raise ValueError(f"{images} images need {images} names, not {len(self.names)}")
        for name, values in self.fields.items():
            if len(values) != images:
                raise ValueError(f"{images} images need {images} values of {name}, not {len(values)}")

    def __len__(self) -> int:
        return len(self.pixels)

    def part(self, start: int, stop: int) -> "ImageBatch":
        """Images [start, stop) of this batch; pixels and labels are views."""
        labels = None if self.labels is None else self.labels[start:stop]
        names = None if self.names is None else self.names[start:stop]
        fields = {name: values[start:stop] for name, values in self.fields.items()}
        return ImageBatch(self.pixels[start:stop], labels, names, fields)

    @staticmethod
    def joined(parts: "Sequence[ImageBatch]") -> "ImageBatch":
        """One batch of the images of all parts, in order. It has the labels, names and fields that every part has."""
        if len(parts) == 1:
            return parts[0]
        labels = [part.labels for part in parts if part.labels is not None]
        names = [part.names for part in parts if part.names is not None]
        shared = [name for name in parts[0].fields if all(name in part.fields for part in parts)]
        return ImageBatch(
            np.concatenate([part.pixels for part in parts]),
            np.concatenate(labels) if len(labels) == len(parts) else None,
            tuple(name for some in names for name in some) if len(names) == len(parts) else None,
            {name: [value for part in parts for value in part.fields[name]] for name in shared},
        )


@dataclass(frozen=True)
class SkippedFile:
    """A file of a source that was skipped, and the reason in words for a person."""

    name: str
    reason: str


def shape_words(shape: tuple[int, int, int]) -> str:
    """Return (height, width, channels) in words for a message: "28x28 pixels and 1 channel"."""
    height, width, channels = shape
    return f"{height}x{width} pixels and {channels} channel{'s' if channels > 1 else ''}"


@dataclass(frozen=True)
class OutputSpec:
    """The facts that a writer needs before the first image.

    images : their number
    image_shape : height, width and channels of all of them; None if they differ in shape or dtype
    dtype : uint8, uint16 or int16; meaningless without a shape
    class_names : the name of each label 0, 1, ..., or None
    axes : name and length of each axis of planes, the slowest first, if the images are those of one volume in its order
    shared : the fields that are the same for all images
    """

    images: int
    image_shape: tuple[int, int, int] | None = None
    dtype: PixelDtype = UINT8
    class_names: tuple[str, ...] | None = None
    axes: tuple[tuple[str, int], ...] = ()
    shared: Mapping[str, Scalar] = field(default_factory=dict)
