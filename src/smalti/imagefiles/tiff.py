"""TIFF files, read by the tags of their first page.

Pillow decodes most of them. imagecodecs decodes those that Pillow cannot, or not without loss: samples of 16 bits other
than plain grey, and further compressions. A file whose tags announce several images is refused, with their number.
"""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, BinaryIO

import numpy as np
from numpy.typing import NDArray
from PIL import Image, TiffImagePlugin, UnidentifiedImageError

from smalti.imagefiles.format import (
    SOURCE_MODE,
    SOURCE_ORIENTATION,
    ImageFormat,
    ImageHeader,
    UnreadableImageError,
    check_size,
    imagecodecs_for,
    one_image,
    upright,
    upright_header,
    whole_file,
)
from smalti.imagefiles.pillow import exif_orientation, header_of, opened, pixels_of
from smalti.imagefiles.quiet import quiet_decoders
from smalti.imagefiles.tiff_segments import SEGMENT_CODECS, decode_segments
from smalti.imagefiles.tiff_stack import refuse_stack, unread_bytes
from smalti.images.batch import PIXEL_DTYPES, Pixels

__all__ = ["TIFF"]

_HEADS = (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")
_MIXED_HEADS = (b"MM*\0", b"II\0*")  # Pillow reads them
_WIDTH, _HEIGHT, _BITS, _COMPRESSION, _PHOTOMETRIC, _FILL_ORDER = 256, 257, 258, 259, 262, 266
_ORIENTATION, _SAMPLES, _PLANES, _COLOUR_MAP, _EXTRA, _FORMAT = 274, 277, 284, 320, 338, 339
_WHITE_IS_ZERO, _GREY, _RGB = 0, 1, 2
_COLOUR_SAMPLES = {
    0: 1,
    1: 1,
    2: 3,
    3: 1,
    5: 4,
    6: 3,
    8: 3,
}  # samples of each photometric interpretation, without extra ones
_ASSOCIATED, _UNASSOCIATED = 1, 2  # whether colours are multiplied by alpha
_OF_PILLOW = frozenset({1, 2, 3, 4, 5, 6, 7, 8, 32771, 32773, 32809, 32946, 34676, 34677, 34925, 50000})
_COMPRESSIONS = {
    22610: "JPEG XR",
    33003: "JPEG 2000",
    33004: "JPEG 2000",
    33005: "JPEG 2000",
    34712: "JPEG 2000",
    34887: "LERC",
    34892: "lossy JPEG of DNG",
    34933: "PNG",
    34934: "JPEG XR",
    50001: "WebP",
    50002: "JPEG XL",
    52546: "JPEG XL",
}


@dataclass(frozen=True, slots=True)
class _Layout:
    """The layout of pixels in a file that imagecodecs reads."""

    height: int
    width: int
    channels: int
    wide: bool  # 16 bits
    planes: bool  # channels one after the other
    white_is_zero: bool
    orientation: int | None
    what: str  # the kind of file, for messages

    @property
    def source_mode(self) -> str | None:
        """The stored form of grey with white as 0, which is converted; else None."""
        return None if not self.white_is_zero else "L;I" if self.channels == 1 else "LA;I"

    def header(self, unread: str | None) -> ImageHeader:
        """Return the header of the image."""
        check_size(self.width, self.height)
        shape = (self.height, self.width, self.channels)
        return upright_header(shape, PIXEL_DTYPES[self.wide], self.source_mode, self.orientation, unread)


_Tags = TiffImagePlugin.ImageFileDirectory_v2


def read_header(file: BinaryIO) -> ImageHeader:
    """Read the header of a TIFF file, without its pixels."""
    tags, layout, unread = _look_at(file)
    if layout is not None:
        return layout.header(unread)
    with _opened(file, tags) as image:
        return _with(unread, header_of(image, exif_orientation(image)))


def read_image(file: BinaryIO) -> tuple[ImageHeader, Pixels]:
    """Read the header and the pixels of a TIFF file."""
    tags, layout, unread = _look_at(file)
    if tags is not None and layout is not None:
        header = layout.header(unread)
        return header, upright(_pixels(file, tags, layout), header.fields.get(SOURCE_ORIENTATION))
    with _opened(file, tags) as image:
        header = header_of(image, exif_orientation(image))
        return _with(unread, header), pixels_of(image, header)


TIFF = ImageFormat(
    "TIFF",
    (".tif", ".tiff"),
    lambda head: head.startswith((*_HEADS, *_MIXED_HEADS)),
    one_image(read_header, read_image),
    (SOURCE_MODE, SOURCE_ORIENTATION),
)


@contextmanager
def _opened(file: BinaryIO, tags: _Tags | None) -> Iterator[Image.Image]:
    """Open a file with Pillow; UnreadableImageError with a reason if Pillow does not know its kind."""
    try:
        with opened(file, "TIFF") as image:
            yield image
    except UnidentifiedImageError as error:
        if tags is None:
            raise
        if tags.get(_FILL_ORDER, 1) == 2:
            raise UnreadableImageError(_reversed_bits()) from error
        kind = f"{max(_values(tags, _BITS, 1))} bits, {tags.get(_SAMPLES, 1)} channels"
        raise UnreadableImageError(f"a TIFF file of a kind that is not read ({kind}); write it anew") from error


def _reversed_bits() -> str:
    return "bits of each byte in reverse order (FillOrder 2); write it anew"


def _with(unread: str | None, header: ImageHeader) -> ImageHeader:
    return ImageHeader(header.shape, header.dtype, header.fields, unread)


def _look_at(file: BinaryIO) -> tuple[_Tags | None, _Layout | None, str | None]:
    """Return the tags of the first page, its layout if imagecodecs reads it, and words for unread bytes.

    UnreadableImageError if neither decoder can read it.
    """
    with quiet_decoders():
        tags = _read_tags(file)
        if tags is None:
            return None, None, None
        _refuse_samples(tags)
        refuse_stack(tags, file)
        return tags, _layout(tags), unread_bytes(tags, file)


def _read_tags(file: BinaryIO) -> _Tags | None:
    """Return the tags of the first page; None for byte orders that only Pillow reads."""
    file.seek(0)
    head = file.read(8)
    if head[:4] not in _HEADS:
        return None
    if head[:4] == b"MM\0+":  # Pillow does not know it
        raise UnreadableImageError("big-endian BigTIFF; write a little-endian or a plain TIFF")
    tags = _Tags(head + (file.read(8) if head[2] == ord("+") else b""))
    file.seek(tags.next)
    tags.load(file)
    if _WIDTH not in tags or _HEIGHT not in tags:
        raise UnreadableImageError("damaged: a TIFF file without width and height")
    return tags


def _refuse_samples(tags: Mapping[int, Any]) -> None:
    """Raise UnreadableImageError for samples of other kinds, or more of them, than images can have."""
    depths = set(_values(tags, _BITS, 1))
    bits = max(depths)
    if bits > 16 or set(_values(tags, _FORMAT, 1)) != {1}:
        kinds = {2: "signed ", 3: "float "}
        kind = kinds.get(max(_values(tags, _FORMAT, 1)), "")
        raise UnreadableImageError(
            f"{kind}{bits}-bit samples; images have unsigned ones of 8 or 16 bits, scale and convert"
        )
    if len(depths) > 1 or bits not in (1, 2, 4, 8, 16):
        raise UnreadableImageError(f"samples of {', '.join(map(str, sorted(depths)))} bits; images have 8 or 16")
    if any(value % 257 and value % 256 for value in tags.get(_COLOUR_MAP, ())):
        raise UnreadableImageError("palette of 16-bit colours; convert it to RGB, nothing is cut silently")
    samples = int(tags.get(_SAMPLES, 1))
    extra = samples - _COLOUR_SAMPLES.get(int(tags.get(_PHOTOMETRIC, 0)), samples)
    known = [kind for kind in _values(tags, _EXTRA, _UNASSOCIATED) if kind in (_ASSOCIATED, _UNASSOCIATED)]
    if extra > len(known) or extra > 1:
        raise UnreadableImageError(f"{samples} channels, of which {extra} are neither colour nor alpha; drop them")


def _layout(tags: _Tags) -> _Layout | None:
    """Return the layout of a page that imagecodecs reads; None for one that Pillow reads without loss."""
    bits, samples = max(_values(tags, _BITS, 1)), int(tags.get(_SAMPLES, 1))
    photometric, compression = tags.get(_PHOTOMETRIC), int(tags.get(_COMPRESSION, 1))
    deep = bits == 16 and not (samples == 1 and photometric == _GREY)
    packed = compression not in _OF_PILLOW
    if not (deep or packed):
        return None
    if tags.get(_FILL_ORDER, 1) == 2:
        raise UnreadableImageError(_reversed_bits())
    name = _COMPRESSIONS.get(compression, f"scheme {compression}")
    what = f"TIFF compressed as {name}" if packed else "16-bit TIFF with other channels than grey"
    if packed and compression not in SEGMENT_CODECS and name not in ("LERC", "WebP"):
        raise UnreadableImageError(f"compressed in a way that is not read ({name}); write it as deflate or LZW")
    if photometric not in (_WHITE_IS_ZERO, _GREY, _RGB):
        kind = "16-bit samples" if deep else what
        raise UnreadableImageError(f"{kind} of a colour space other than grey or RGB; convert it")
    if bits < 8:
        raise UnreadableImageError(f"{what} of {bits}-bit samples; write it as deflate or LZW")
    if tags.next:
        raise UnreadableImageError("several pages; only single images are read")
    if _ASSOCIATED in _values(tags, _EXTRA, _UNASSOCIATED):
        kind = "16-bit colours" if deep else "colours"
        raise UnreadableImageError(f"{kind} multiplied by their alpha; store them unmultiplied")
    return _Layout(
        int(tags[_HEIGHT]),
        int(tags[_WIDTH]),
        samples,
        wide=bits == 16,
        planes=tags.get(_PLANES, 1) == 2,
        white_is_zero=photometric == _WHITE_IS_ZERO,
        orientation=tags.get(_ORIENTATION),
        what=what,
    )


def _pixels(file: BinaryIO, tags: _Tags, layout: _Layout) -> Pixels:
    """Return pixels [H, W, C] as stored, not turned; white that is stored as 0 becomes the largest value."""
    imagecodecs = imagecodecs_for(layout.what)
    if int(tags.get(_COMPRESSION, 1)) in SEGMENT_CODECS:
        pixels = decode_segments(imagecodecs, file, tags, layout.planes)
    else:
        pixels = np.asarray(imagecodecs.tiff_decode(whole_file(file)))
    if pixels.ndim == 2:
        pixels = pixels[:, :, None]
    elif layout.planes and pixels.shape[0] == layout.channels:
        pixels = np.moveaxis(pixels, 0, -1)
    expected, dtype = (layout.height, layout.width, layout.channels), PIXEL_DTYPES[layout.wide]
    if pixels.dtype != dtype or pixels.shape != expected:
        raise UnreadableImageError(f"decoded to {pixels.dtype} {list(pixels.shape)}, not to {dtype} {list(expected)}")
    return _black_is_zero(pixels) if layout.white_is_zero else pixels


def _black_is_zero(pixels: NDArray[Any]) -> Pixels:
    made: Pixels = pixels.copy()
    made[..., 0] = np.iinfo(made.dtype).max - made[..., 0]
    return made


def _values(tags: Mapping[int, Any], tag: int, absent: int) -> tuple[int, ...]:
    """Return the numbers of a tag, which may hold one or several."""
    found = tags.get(tag, absent)
    return tuple(int(one) for one in found) if isinstance(found, tuple) else (int(found),)
