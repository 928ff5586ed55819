"""TIFF files: each page, each plane of a stack and each plane of channels is an image.

`tiff_stack` finds the images; each is decoded alone, from a small file of its own (`tiff_page`). Pillow decodes most of
them. imagecodecs decodes those that Pillow cannot, or not without loss (`tiff_layout`).
"""

from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from io import BytesIO
from typing import BinaryIO

import numpy as np
from PIL import Image, UnidentifiedImageError

from smalti.imagefiles.format import SOURCE_MODE, SOURCE_ORIENTATION, ImageFormat, ImageHeader, UnreadableImageError
from smalti.imagefiles.pillow import exif_orientation, header_of, opened, pixels_of
from smalti.imagefiles.quiet import quiet_decoders
from smalti.imagefiles.tiff.tiff_directory import HEADS, TiffFile
from smalti.imagefiles.tiff.tiff_layout import is_signed, layout_of, refuse_samples, reversed_bits
from smalti.imagefiles.tiff.tiff_page import BITS, COMPRESSION, FILL_ORDER, SAMPLES, Page
from smalti.imagefiles.tiff.tiff_stack import stack_of
from smalti.images.batch import INT16, Pixels
from smalti.lazy import cached_property

__all__ = ["TIFF"]

_OLD_JPEG = 6  # its data lie anywhere in the file, so that no file of a page alone is made


@dataclass(frozen=True, slots=True)
class _Images:
    """The images that can be read, with their headers, in order."""

    pages: Sequence[Page]
    headers: Sequence[ImageHeader]


class _Tiff:
    """The images of an open file."""

    def __init__(self, file: BinaryIO) -> None:
        self._file = file

    @property
    def headers(self) -> Sequence[ImageHeader]:
        return self._images.headers

    def image(self, number: int) -> tuple[ImageHeader, Pixels]:
        page, header = self._images.pages[number], self._images.headers[number]
        with quiet_decoders():
            layout = layout_of(page)
            if layout is not None:
                return header, layout.pixels(page, header)
            signed = is_signed(page)
            with _opened(self._alone(page, with_pixels=True), page) as image:
                pixels = pixels_of(image, _unsigned(header))
            return header, pixels.view(INT16) if signed else pixels

    @cached_property
    def _images(self) -> _Images:
        """Find the images. Pages that cannot be read are told; UnreadableImageError if no page can be read."""
        with quiet_decoders():
            stack = stack_of(TiffFile(self._file))
            pages: list[Page] = []
            headers: list[ImageHeader] = []
            refused: list[str] = []
            known: dict[object, ImageHeader | UnreadableImageError] = {}
            for page in stack.pages:
                key = tuple(page.tags.items())  # pages of a stack are mostly alike
                if key not in known:
                    known[key] = self._header(page, len(stack.pages) == 1)
                header = known[key]
                if isinstance(header, UnreadableImageError):
                    refused.append(str(header))
                    continue
                pages.append(page)
                headers.append(replace(header, fields={**header.fields, **page.fields}) if page.fields else header)
        if not pages:
            raise UnreadableImageError(refused[0])
        unread = "; ".join([*_counted(refused), *stack.unread])
        if unread:
            headers[0] = replace(headers[0], unread=unread)
        return _Images(pages, headers)

    def _header(self, page: Page, is_only_one: bool) -> ImageHeader | UnreadableImageError:
        """Return the header of a page, or why it is not read."""
        try:
            refuse_samples(page)
            if page.number(COMPRESSION, 1) == _OLD_JPEG and not is_only_one:
                raise UnreadableImageError("a page among others in JPEG of the old style; write it anew")
            layout = layout_of(page)
            if layout is not None:
                return layout.header()
            with _opened(self._alone(page, with_pixels=False), page) as image:
                header = header_of(image, exif_orientation(image))
            return replace(header, dtype=INT16) if is_signed(page) else header
        except UnreadableImageError as error:
            return error

    def _alone(self, page: Page, with_pixels: bool) -> BinaryIO:
        if page.number(COMPRESSION, 1) == _OLD_JPEG:
            return self._file
        return BytesIO(page.alone(with_pixels, unsigned=is_signed(page)))


def _unsigned(header: ImageHeader) -> ImageHeader:
    return replace(header, dtype=np.dtype(np.uint16)) if header.dtype == INT16 else header


def _counted(reasons: Sequence[str]) -> list[str]:
    """Return each reason once, with the number of pages that have it."""
    return [f"{many} page{'s' if many > 1 else ''} not read ({reason})" for reason, many in Counter(reasons).items()]


@contextmanager
def _opened(file: BinaryIO, page: Page) -> Iterator[Image.Image]:
    """Open the file of a page with Pillow; UnreadableImageError with a reason if Pillow does not know its kind."""
    try:
        with opened(file, "TIFF") as image:
            yield image
    except UnidentifiedImageError as error:
        if page.number(FILL_ORDER, 1) == 2 and not page.is_turned:
            raise UnreadableImageError(reversed_bits()) from error
        kind = f"{max(page.tags.get(BITS, (1,)))} bits, {page.number(SAMPLES, 1)} channels"
        raise UnreadableImageError(f"a TIFF file of a kind that is not read ({kind}); write it anew") from error


TIFF = ImageFormat(
    "TIFF",
    (".tif", ".tiff", ".btf", ".tf8", ".stk"),
    lambda head: head.startswith(HEADS),
    _Tiff,
    (SOURCE_MODE, SOURCE_ORIENTATION, "z", "t", "c", "channel", "plane"),
)
