"""JPEG 2000 files (ISO/IEC 15444-1): JP2 boxes, or the bare codestream.

Their headers are read here, and imagecodecs decodes the pixels, never Pillow: that cuts or shifts samples of more than
8 bits. Samples are as stored; signed ones become int16. OpenJPEG, in imagecodecs, applies what the boxes say: it looks
up palettes, puts channels into the order of colours and then alpha, and converts sYCC to RGB.
"""

import struct
from collections import Counter
from dataclasses import dataclass
from typing import BinaryIO

import numpy as np

from smalti.imagefiles.encoded.boxes import boxes, boxes_in, content
from smalti.imagefiles.format import (
    ALPHA_ASSOCIATED,
    SIGNIFICANT_BITS,
    SOURCE_MODE,
    ImageFormat,
    ImageHeader,
    UnreadableImageError,
    as_stated,
    bits_field,
    check_size,
    exactly,
    imagecodecs_for,
    one_image,
    unsigned_of,
    whole_file,
)
from smalti.imagefiles.scientific.volumes import STORED_DTYPE
from smalti.images.batch import INT16, PixelDtype, Pixels, Scalar

__all__ = ["JPEG2000"]

_CODESTREAM = b"\xff\x4f\xff\x51"
_TILE_PART = b"\xff\x90"
_SIGNATURES = (b"\0\0\0\x0cjP  \r\n\x87\n", b"\0\0\0\x0cjP\x1a\x1a\r\n\x87\n")
_SYCC = 18
_SPACES = {12: "CMYK", 13: "YCCK", 14: "CIELab", 15: "bi-level", 19: "CIEJab", 24: "e-sYCC"}  # of those refused
_COLOUR, _OPACITY, _ASSOCIATED_OPACITY = 0, 1, 2


@dataclass(frozen=True, slots=True)
class _Components:
    """The components of a codestream, all of one kind."""

    height: int
    width: int
    count: int
    bits: int
    signed: bool


def read_header(file: BinaryIO) -> ImageHeader:
    """Read the header of a JPEG 2000 file, without its pixels."""
    return _look_at(file)[0]


def read_image(file: BinaryIO) -> tuple[ImageHeader, Pixels]:
    """Read the header and the pixels of a JPEG 2000 file."""
    header, start = _look_at(file)
    imagecodecs, data = imagecodecs_for("JPEG 2000"), whole_file(file)
    _check_tiles(data, start)
    pixels = imagecodecs.jpeg2k_decode(data)
    if header.dtype == INT16 and pixels.dtype == np.int8:
        pixels = pixels.astype(INT16)
    return header, as_stated(pixels, header.shape, header.dtype)


def _look_at(file: BinaryIO) -> tuple[ImageHeader, int]:
    """Read the header, and find the beginning of the codestream."""
    file.seek(0)
    if file.read(4) == _CODESTREAM:
        file.seek(0)
        return _header(_components(file), {}, None), 0
    descriptions, codestreams = b"", []
    for box in boxes(file, (b"jp2h", b"jp2c")):
        if box.kind == b"jp2h" and not descriptions:
            descriptions = content(file, box)
        elif box.kind == b"jp2c":
            codestreams.append(box.start)
    if not codestreams or not descriptions:
        raise UnreadableImageError("damaged: a JP2 file without a header or without pixels")
    file.seek(codestreams[0])
    more = len(codestreams) - 1
    unread = f"{more} further codestream{'s' if more > 1 else ''}" if more else None
    return _header(_components(file), dict(reversed(boxes_in(descriptions))), unread), codestreams[0]


def _check_tiles(data: bytes, start: int) -> None:
    """Raise UnreadableImageError if a tile, or a part of one, is not in the codestream: OpenJPEG leaves it black."""
    right, bottom, _, _, width, height, left, top = struct.unpack_from(">8I", data, start + 8)
    if not width or not height or right <= left or bottom <= top:
        raise UnreadableImageError("damaged: tiles without pixels")
    tiles = -(-(right - left) // width) * -(-(bottom - top) // height)
    found, stated = Counter[int](), dict[int, int]()  # parts of each tile
    at = start + 2
    while data[at : at + 1] == b"\xff" and at + 12 <= len(data):
        length = int.from_bytes(data[at + 2 : at + 4]) + 2
        if data[at : at + 2] == _TILE_PART:
            tile, length, _, parts = struct.unpack_from(">HIBB", data, at + 4)
            length = length or len(data) - at  # that of the last one may be left out
            if at + length > len(data):
                break
            found[tile] += 1
            stated[tile] = max(parts, stated.get(tile, 0))
        if length < 4:
            break
        at += length
    if len(found) < tiles or any(found[tile] < parts for tile, parts in stated.items()):
        raise UnreadableImageError("damaged: cut off, or without some of its tiles")


def _components(file: BinaryIO) -> _Components:
    """Read the marker segment SIZ, at the beginning of a codestream."""
    head = exactly(file, 42)
    if head[:4] != _CODESTREAM:
        raise UnreadableImageError("damaged: pixels that are no JPEG 2000 codestream")
    right, bottom, left, top = struct.unpack(">4I", head[8:24])
    (count,) = struct.unpack(">H", head[40:42])
    if right < left or bottom < top:
        raise UnreadableImageError("damaged: an image that ends before it begins")
    check_size(right - left, bottom - top)
    if not 1 <= count <= 4:
        raise UnreadableImageError(f"{count} components; images have 1 to 4 channels")
    parts = list(struct.iter_unpack("3B", exactly(file, 3 * count)))
    if any(part[1:] != (1, 1) for part in parts):
        raise UnreadableImageError("components of several sizes (subsampled colours); convert it")
    depths = {part[0] for part in parts}
    if len(depths) > 1:
        kinds = ", ".join(str((depth & 127) + 1) for depth in sorted(depths))
        raise UnreadableImageError(f"components of several kinds ({kinds} bits); convert it")
    (depth,) = depths
    return _Components(bottom - top, right - left, count, (depth & 127) + 1, bool(depth & 128))


def _header(stored: _Components, descriptions: dict[bytes, bytes], unread: str | None) -> ImageHeader:
    """Return the header of an image, by its components and the boxes of its JP2 header."""
    fields: dict[str, Scalar] = {}
    channels, bits = stored.count, stored.bits
    if b"pclr" in descriptions:
        channels, bits = _palette(descriptions)
        fields[SOURCE_MODE] = "P"
    elif _space(descriptions.get(b"colr", b"")) == _SYCC and channels >= 3:
        fields[SOURCE_MODE] = "sYCC"
    if _alpha(descriptions.get(b"cdef", b""), channels):
        fields[ALPHA_ASSOCIATED] = True
    dtype: PixelDtype = unsigned_of(bits)
    fields.update(bits_field(bits, dtype))
    if stored.signed:
        fields.update({STORED_DTYPE: "int8"} if bits <= 8 else {})
        dtype = INT16
    return ImageHeader((stored.height, stored.width, channels), dtype, fields, unread)


def _palette(descriptions: dict[bytes, bytes]) -> tuple[int, int]:
    """Return the channels and bits of the colours that a palette gives."""
    palette, places = descriptions[b"pclr"], descriptions.get(b"cmap", b"")
    if len(palette) < 4 or len(palette) < 3 + palette[2] or len(places) % 4:
        raise UnreadableImageError("damaged: its palette")
    depths, channels = set(palette[3 : 3 + palette[2]]), len(places) // 4
    if len(depths) != 1 or max(depths) & 128 or any(kind != 1 for kind in places[2::4]) or not 1 <= channels <= 4:
        raise UnreadableImageError("a palette of several kinds of colours; convert it to RGB")
    return channels, depths.pop() + 1


def _space(colour: bytes) -> int | None:
    """Return the enumerated colour space; None for a profile. UnreadableImageError for a space that is not read."""
    if len(colour) < 7 or colour[0] != 1:
        return None
    space = int.from_bytes(colour[3:7])
    if space in _SPACES:
        raise UnreadableImageError(f"colour space {_SPACES[space]}; convert it to grey or RGB")
    return space


def _alpha(definitions: bytes, channels: int) -> bool:
    """Whether colours are multiplied by alpha. UnreadableImageError for channels that are neither."""
    kinds = [kind for _, kind, _ in struct.iter_unpack(">3H", definitions[2 : 2 + (len(definitions) - 2) // 6 * 6])]
    others = sum(kind not in (_COLOUR, _OPACITY, _ASSOCIATED_OPACITY) for kind in kinds)
    alphas = sum(kind in (_OPACITY, _ASSOCIATED_OPACITY) for kind in kinds)
    if others or alphas > 1 or (alphas == 1 and channels not in (2, 4)):
        raise UnreadableImageError(f"{max(others, alphas)} of {channels} channels are neither colour nor alpha")
    return _ASSOCIATED_OPACITY in kinds


JPEG2000 = ImageFormat(
    "JPEG 2000",
    (".jp2", ".j2k", ".j2c", ".jpc", ".jpx", ".jpf", ".jph", ".jhc"),
    lambda head: head.startswith((_CODESTREAM, *_SIGNATURES)),
    one_image(read_header, read_image),
    (SOURCE_MODE, SIGNIFICANT_BITS, ALPHA_ASSOCIATED, STORED_DTYPE),
)
