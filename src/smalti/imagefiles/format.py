"""The contract of a decoder of one image-file format, and helpers that decoders share.

The decoders are in the modules beside this one; `table` lists them.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, BinaryIO, Protocol

import numpy as np
from PIL import Image

from smalti.errors import MissingDependencyError
from smalti.images.batch import UINT8, UINT16, PixelDtype, Pixels, Scalar

__all__ = [
    "ALPHA_ASSOCIATED",
    "FRAME",
    "HEAD_BYTES",
    "PLANE",
    "SIGNIFICANT_BITS",
    "SOURCE_MODE",
    "SOURCE_ORIENTATION",
    "ImageFile",
    "ImageFormat",
    "ImageHeader",
    "UnreadableImageError",
    "as_stated",
    "bits_field",
    "check_size",
    "exactly",
    "file_size",
    "imagecodecs_for",
    "one_image",
    "too_many_pixels",
    "unsigned_of",
    "upright",
    "upright_header",
    "whole_file",
]

_MAX_FILE_BYTES = 1 << 30

HEAD_BYTES = 1024
"""The number of bytes at the beginning of a file that `ImageFormat.matches` gets."""

SOURCE_MODE = "source_mode"
"""The field with the stored form of pixels that were converted (docs/images.md)."""

SOURCE_ORIENTATION = "source_orientation"
"""The field with the EXIF orientation, 2 to 8, of an image that was turned upright."""

SIGNIFICANT_BITS = "significant_bits"
"""The field with the number of bits of a sample, if it is less than that of the dtype. Samples are not scaled."""

ALPHA_ASSOCIATED = "alpha_associated"
"""The field that is true if colours are multiplied by alpha, as the file stores them."""

FRAME = "frame"
"""The field with the number of an image in its animation."""

PLANE = "plane"
"""The field with the number of an image in its file, if the file does not say what its images are."""


class UnreadableImageError(Exception):
    """An image cannot be read; the message is the reason. Sources turn it into a skipped entry."""


@dataclass(frozen=True, slots=True)
class ImageHeader:
    """The facts about an image that are known before its pixels are decoded.

    shape : height, width and channels as read, turned upright
    dtype : uint8, uint16 or int16
    fields : values that the decoder adds to the columns of the image, by field name
    unread : words for further pixels that the file seems to hold and that are not read; None without any
    """

    shape: tuple[int, int, int]
    dtype: PixelDtype
    fields: Mapping[str, Scalar] = field(default_factory=dict)
    unread: str | None = None


class ImageFile(Protocol):
    """The images of one open file, in order. Most files hold one; a stack holds planes, an animation frames."""

    @property
    def headers(self) -> Sequence[ImageHeader]:
        """The header of each image, at least one. No pixels are decoded."""

    def image(self, number: int) -> tuple[ImageHeader, Pixels]:
        """Decode one image: its header, and its pixels [H, W, C], turned upright.

        Callers ask for ascending numbers, so that a file can be read in one pass.
        """


@dataclass(frozen=True)
class ImageFormat:
    """The decoder of one format.

    name : the format in messages
    suffixes : suffixes of its files, lower case, each with its dot
    matches : whether a file that begins with these bytes (at most HEAD_BYTES) has this format
    open : finds the images of a file, which is at its beginning and stays open as long as they are used
    fields : the names of all fields that its headers may have

    All of it raises UnreadableImageError with a reason. Any other exception counts as damage of the file.
    """

    name: str
    suffixes: tuple[str, ...]
    matches: Callable[[bytes], bool]
    open: Callable[[BinaryIO], ImageFile]
    fields: tuple[str, ...] = ()


@dataclass(frozen=True)
class _OneImage:
    """A file of a format that has one image a file."""

    file: BinaryIO
    read_header: Callable[[BinaryIO], ImageHeader]
    read_image: Callable[[BinaryIO], tuple[ImageHeader, Pixels]]

    @property
    def headers(self) -> Sequence[ImageHeader]:
        return (self.read_header(self.file),)

    def image(self, number: int) -> tuple[ImageHeader, Pixels]:
        if number:
            raise IndexError(number)
        return self.read_image(self.file)


def one_image(
    read_header: Callable[[BinaryIO], ImageHeader], read_image: Callable[[BinaryIO], tuple[ImageHeader, Pixels]]
) -> Callable[[BinaryIO], ImageFile]:
    """Return the `open` of a format that has one image a file.

    read_header : reads the header of a file, without its pixels
    read_image : reads the header and the pixels in one pass
    """
    return lambda file: _OneImage(file, read_header, read_image)


def check_size(width: int, height: int) -> None:
    """Raise UnreadableImageError for an image without pixels, or with more than Pillow's limit."""
    if width == 0 or height == 0:
        raise UnreadableImageError(f"{height}x{width} pixels; there is nothing to read")
    if Image.MAX_IMAGE_PIXELS is not None and width * height > Image.MAX_IMAGE_PIXELS:
        raise UnreadableImageError(too_many_pixels())


def too_many_pixels() -> str:
    """Return the reason to refuse an image above Pillow's limit."""
    return f"too many pixels (more than {Image.MAX_IMAGE_PIXELS:,})"


def unsigned_of(bits: int) -> PixelDtype:
    """Return the dtype of unsigned samples of 1 to 16 bits; UnreadableImageError for other numbers of bits."""
    if not 1 <= bits <= 16:
        raise UnreadableImageError(f"{bits}-bit samples; images have 8 or 16 bits, scale and convert them")
    return UINT8 if bits <= 8 else UINT16


def bits_field(bits: int, dtype: PixelDtype) -> dict[str, Scalar]:
    """Return the field of samples with this number of bits; no field if the dtype has no more."""
    return {SIGNIFICANT_BITS: bits} if bits < 8 * dtype.itemsize else {}


def as_stated(pixels: Pixels, shape: tuple[int, int, int], dtype: PixelDtype) -> Pixels:
    """Return decoded pixels as [H, W, C]; UnreadableImageError if they are not what the header of their file says."""
    if pixels.ndim == 2:
        pixels = pixels[:, :, None]
    if pixels.shape != shape or pixels.dtype != dtype:
        raise UnreadableImageError(f"decoded to {pixels.dtype} {list(pixels.shape)}, not to {dtype} {list(shape)}")
    return pixels


def upright_header(
    stored_shape: tuple[int, int, int],
    dtype: PixelDtype,
    mode: str | None = None,
    orientation: int | None = None,
    unread: str | None = None,
) -> ImageHeader:
    """Return the header of an image with this stored shape, which is turned upright when it is read."""
    turned = orientation if orientation in range(2, 9) else None
    height, width, channels = stored_shape
    size = (width, height) if turned is not None and turned >= 5 else (height, width)
    fields: dict[str, Scalar] = {}
    if mode is not None:
        fields[SOURCE_MODE] = mode
    if turned is not None:
        fields[SOURCE_ORIENTATION] = turned
    return ImageHeader((*size, channels), np.dtype(dtype), fields, unread)


def upright(pixels: Pixels, orientation: object) -> Pixels:
    """Turn pixels upright: orientations 2 to 4 mirror or turn by 180 degrees, 5 to 8 also swap height and width."""
    if not isinstance(orientation, int) or orientation not in range(2, 9):
        return pixels
    if orientation >= 5:
        pixels = pixels.transpose(1, 0, 2)
    rows = slice(None, None, -1 if orientation in (3, 4, 7, 8) else 1)
    columns = slice(None, None, -1 if orientation in (2, 3, 6, 7) else 1)
    return pixels[rows, columns]


def exactly(file: BinaryIO, size: int) -> bytes:
    """Read this many bytes of a header; UnreadableImageError if the file ends before."""
    data = file.read(size)
    if len(data) < size:
        raise UnreadableImageError("damaged: cut off within its header")
    return data


def file_size(file: BinaryIO) -> int:
    """Return the number of bytes of a file; its position stays as it is."""
    position = file.tell()
    size = file.seek(0, 2)
    file.seek(position)
    return size


def whole_file(file: BinaryIO) -> bytes:
    """Read all bytes of a file of one image, for decoders that take no streams."""
    file.seek(0)
    data = file.read(_MAX_FILE_BYTES + 1)
    if len(data) > _MAX_FILE_BYTES:
        raise UnreadableImageError(f"more than {_MAX_FILE_BYTES:,} bytes, which no one image has")
    return data


def imagecodecs_for(what: str) -> Any:
    """Import imagecodecs; MissingDependencyError, which names `what`, if it is not installed."""
    try:
        import imagecodecs  # noqa: PLC0415 (optional: few files need it)
    except ImportError as error:
        raise MissingDependencyError.of(what, "imagecodecs", "formats") from error
    return imagecodecs
