"""The table of image-file formats, and readers that find the format of a file in it.

A further format is a module beside this one, which defines an `ImageFormat`, and a line in FORMATS. Suffixes, messages
and the names of image columns in tables follow from the table.
"""

import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import BinaryIO, Protocol

from PIL import Image, UnidentifiedImageError

from smalti.errors import MissingDependencyError, SourceError
from smalti.imagefiles.animations.gif import GIF
from smalti.imagefiles.animations.webp import WEBP
from smalti.imagefiles.encoded.avif import AVIF
from smalti.imagefiles.encoded.dds import DDS
from smalti.imagefiles.encoded.heic import HEIC
from smalti.imagefiles.encoded.jpeg import JPEG
from smalti.imagefiles.encoded.jpeg2000 import JPEG2000
from smalti.imagefiles.encoded.jpegxl import JPEGXL
from smalti.imagefiles.encoded.netpbm import NETPBM
from smalti.imagefiles.encoded.qoi import JPEGXR, QOI
from smalti.imagefiles.format import (
    HEAD_BYTES,
    ImageFile,
    ImageFormat,
    ImageHeader,
    UnreadableImageError,
    too_many_pixels,
)
from smalti.imagefiles.pillow import BMP
from smalti.imagefiles.png import PNG
from smalti.imagefiles.scientific.dicom import DICOM
from smalti.imagefiles.scientific.fits import FITS
from smalti.imagefiles.scientific.mrc import MRC
from smalti.imagefiles.scientific.nifti import NIFTI
from smalti.imagefiles.scientific.nrrd import NRRD
from smalti.imagefiles.tiff.tiff import TIFF
from smalti.images.batch import Pixels

__all__ = [
    "DECODER_FIELDS",
    "FORMATS",
    "FORMAT_NAMES",
    "IMAGE_SUFFIXES",
    "NamedImages",
    "format_of",
    "is_image_name",
    "may_lack_suffix",
    "one_line",
    "open_images",
]

_IMAGES = (PNG, JPEG, BMP, TIFF, WEBP, GIF, JPEGXL, AVIF, HEIC, JPEG2000, JPEGXR, NETPBM, QOI, DDS)
_SCIENCE = (FITS, NIFTI, MRC, NRRD, DICOM)

FORMATS: tuple[ImageFormat, ...] = (*_IMAGES, *_SCIENCE)

_BY_MAGIC = (DICOM, *FORMATS)
"""DICOM first: some of its files have the head of a TIFF file in the bytes that they leave free."""

IMAGE_SUFFIXES = frozenset(suffix for one in FORMATS for suffix in one.suffixes)
"""The suffixes of image files, lower case, with their dots. The format of a file is decided by its first bytes."""

FORMAT_NAMES = f"{', '.join(one.name for one in FORMATS[:4])} and further formats"
"""The formats in words for a message: the usual ones by name, since all of them would fill it."""

_OUTER_SUFFIXES = frozenset("." + suffix.rpartition(".")[2] for suffix in IMAGE_SUFFIXES if suffix.count(".") > 1)
"""The last parts of suffixes such as `.nii.gz`."""

DECODER_FIELDS = tuple(dict.fromkeys(name for one in FORMATS for name in one.fields))
"""All fields that decoders may add, in the order in which sources have them."""


def is_image_name(name: str) -> bool:
    """Whether a file is an image file by its suffix, whose letters may be large."""
    stem, suffix = os.path.splitext(name.lower())  # noqa: PTH122 (a Path costs more than the listing of a folder)
    if suffix in _OUTER_SUFFIXES and os.path.splitext(stem)[1] + suffix in IMAGE_SUFFIXES:  # noqa: PTH122
        return True
    return suffix in IMAGE_SUFFIXES


def may_lack_suffix(name: str) -> bool:
    """Whether a file's name says nothing of its kind: no suffix, or one of digits, as DICOM files have."""
    suffix = name.rpartition("/")[2].lstrip(".").rpartition(".")
    return not suffix[1] or suffix[2].isdecimal()


def format_of(head: bytes) -> ImageFormat | None:
    """Return the format of a file that begins with these bytes; None if the table has none."""
    return next((one for one in _BY_MAGIC if one.matches(head)), None)


def open_images(file: BinaryIO) -> "NamedImages":
    """Find the images of an open file, and its format.

    This and what it returns raise UnreadableImageError for what cannot be read.

    Black and white and grey of fewer than 8 bits become L from 0 to 255; palettes become RGB, or RGBA if there is
    transparency; a transparent colour becomes an alpha channel; CMYK becomes RGB. 16-bit samples of several channels
    are read by imagecodecs.
    """
    with _reasons():
        found = _format(file)
        return _Explained(found.open(file), found.name)


class NamedImages(ImageFile, Protocol):
    """The images of one open file."""

    @property
    def kind(self) -> str:
        """What holds them, in words: the name of a format."""


@dataclass(frozen=True)
class _Explained:
    """The images of a file, with a reason for each error."""

    images: ImageFile
    kind: str

    @property
    def headers(self) -> Sequence[ImageHeader]:
        with _reasons():
            return self.images.headers

    def image(self, number: int) -> tuple[ImageHeader, Pixels]:
        with _reasons():
            return self.images.image(number)


def one_line(error: Exception) -> str:
    """Return the first line of an error's message, or its type if the message is empty."""
    return str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__


def _format(file: BinaryIO) -> ImageFormat:
    file.seek(0)
    head = file.read(HEAD_BYTES)
    file.seek(0)
    if not head:
        raise UnreadableImageError("empty file")
    found = format_of(head)
    if found is None:
        raise UnreadableImageError(_no_image())
    return found


@contextmanager
def _reasons() -> Iterator[None]:
    """Turn errors of decoders into UnreadableImageError with a reason."""
    try:
        yield
    except (UnreadableImageError, SourceError):  # a SourceError comes from the network, not from the file
        raise
    except MissingDependencyError as error:
        raise UnreadableImageError(str(error)) from error
    except UnidentifiedImageError as error:
        raise UnreadableImageError(_no_image()) from error
    except Image.DecompressionBombError as error:
        raise UnreadableImageError(too_many_pixels()) from error
    except Exception as error:  # decoders raise almost any error for damaged bytes
        raise UnreadableImageError(f"damaged or unreadable: {one_line(error)}") from error


def _no_image() -> str:
    return "not an image, or of a kind that is not read, whatever its suffix says"
