"""JPEG XL files (ISO/IEC 18181): the bare codestream, or boxes around it.

The head of the codestream is read here, and imagecodecs decodes the pixels. Samples have the bits that the head says,
and are not scaled. imagecodecs turns images upright, by the head; an EXIF orientation in a box beside it means nothing.
Frames of an animation are decoded all at once, because most of them are changes of the one before.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, BinaryIO

import numpy as np

from smalti.imagefiles.animations.decoded_frames import Frames
from smalti.imagefiles.encoded.boxes import boxes
from smalti.imagefiles.format import (
    ALPHA_ASSOCIATED,
    FRAME,
    SIGNIFICANT_BITS,
    SOURCE_ORIENTATION,
    ImageFile,
    ImageFormat,
    ImageHeader,
    UnreadableImageError,
    as_stated,
    bits_field,
    check_size,
    imagecodecs_for,
    one_image,
    unsigned_of,
    upright_header,
    whole_file,
)
from smalti.images.batch import Pixels, Scalar

__all__ = ["JPEGXL"]

_CODESTREAM, _CONTAINER = b"\xff\x0a", b"\0\0\0\x0cJXL \r\n\x87\n"
_FIRST_RELEASE = (2024, 12, 30)
_HEAD_BYTES = 4096  # more than a head without names of channels takes
_RATIOS = {1: (1, 1), 2: (12, 10), 3: (4, 3), 4: (3, 2), 5: (16, 9), 6: (5, 4), 7: (2, 1)}  # width to height
_GREY, _ALPHA, _SPOT, _FILTER = 1, 0, 2, 5
_SIZES = ((9, 1), (13, 1), (18, 1), (30, 1))
_PREVIEW_SIZES = ((6, 1), (8, 65), (10, 321), (12, 1345))
_PREVIEW_BLOCKS = ((0, 16), (0, 32), (5, 1), (9, 33))
_ENUM = ((0, 0), (0, 1), (4, 2), (6, 18))
_BITS, _FLOAT_BITS = ((0, 8), (0, 10), (0, 12), (6, 1)), ((0, 32), (0, 16), (0, 24), (6, 1))


@dataclass(frozen=True, slots=True)
class _Head:
    """What the head of a codestream says. orientation : 1 to 8, as in EXIF"""

    height: int
    width: int
    channels: int
    bits: int
    orientation: int
    associated: bool
    animated: bool

    @property
    def header(self) -> ImageHeader:
        dtype = unsigned_of(self.bits)
        shape = (self.height, self.width, self.channels)
        upright = upright_header(shape, dtype, orientation=self.orientation)
        fields: dict[str, Scalar] = {**upright.fields, **bits_field(self.bits, dtype)}
        if self.associated:
            fields[ALPHA_ASSOCIATED] = True
        return ImageHeader(upright.shape, dtype, fields)


def read_header(file: BinaryIO) -> ImageHeader:
    """Read the header of a file that is no animation."""
    return _read_head(_beginning(file)).header


def read_image(file: BinaryIO) -> tuple[ImageHeader, Pixels]:
    """Read the header and the pixels of a file that is no animation."""
    header = read_header(file)
    pixels: Pixels = _imagecodecs().jpegxl_decode(whole_file(file))
    return header, as_stated(pixels, header.shape, header.dtype)


def _open(file: BinaryIO) -> ImageFile:
    head = _read_head(_beginning(file))
    if not head.animated:
        return one_image(read_header, read_image)(file)
    imagecodecs, data = _imagecodecs(), whole_file(file)
    return Frames(_count_frames(imagecodecs, data, head.header), head.header, lambda: imagecodecs.jpegxl_decode(data))


def _imagecodecs() -> Any:
    imagecodecs = imagecodecs_for("JPEG XL")
    if tuple(int(part) for part in imagecodecs.__version__.split(".")[:3]) < _FIRST_RELEASE:
        needed = ".".join(map(str, _FIRST_RELEASE))
        raise UnreadableImageError(f"JPEG XL needs imagecodecs {needed} or later; older releases scale its samples")
    return imagecodecs


def _count_frames(imagecodecs: Any, data: bytes, header: ImageHeader) -> int:
    """Return the number of frames, which no head says. imagecodecs counts them before it decodes one.

    It has no function for that. But it refuses an array of another shape, and names the right one in its message.
    """
    try:
        imagecodecs.jpegxl_decode(data, out=np.empty((0,), header.dtype))
    except ValueError as error:
        shapes = re.findall(r" shape=\(([0-9, ]+)\)", str(error))
        if shapes:
            sizes = [int(size) for size in shapes[-1].split(",") if size.strip()]
            return sizes[0] if len(sizes) > (2 if header.shape[2] == 1 else 3) else 1
    raise UnreadableImageError("an animation whose frames this release of imagecodecs does not count")


def _beginning(file: BinaryIO) -> bytes:
    """Return the first bytes of the codestream, which may lie in several boxes. The other boxes are looked at, too."""
    file.seek(0)
    if file.read(2) == _CODESTREAM:
        return file.read(_HEAD_BYTES)
    data = b""
    for box in boxes(file, (b"jxlc",)):
        skipped = {b"jxlc": 0, b"jxlp": 4}.get(box.kind)  # a part begins with its number
        if skipped is not None and len(data) < _HEAD_BYTES:
            file.seek(box.start + skipped)
            data += file.read(max(0, min(_HEAD_BYTES, box.end - box.start - skipped)))
    if data[:2] != _CODESTREAM:
        raise UnreadableImageError("damaged: boxes of JPEG XL without pixels")
    return data[2:]


def _read_head(data: bytes) -> _Head:
    bits = _Bits(data)
    height, width = _size(bits)
    check_size(width, height)
    if bits.flag():  # all is as usual
        return _Head(height, width, 3, 8, 1, associated=False, animated=False)
    orientation, animated = _further(bits) if bits.flag() else (1, False)
    depth = _depth(bits)
    bits.flag()  # whether 16 bits are enough to decode
    extra = [_extra(bits) for _ in range(bits.choice(((0, 0), (0, 1), (4, 2), (12, 1))))]
    bits.flag()  # whether colours are XYB: they are converted to the colour space that is said next
    usual = bits.flag()
    grey = not usual and (bits.flag(), bits.choice(_ENUM))[1] == _GREY
    if len(extra) > 1 or any(kind != _ALPHA for kind, _, _ in extra):
        raise UnreadableImageError("channels beside the colours that are not one alpha; drop them")
    if any(each != depth for _, each, _ in extra):
        raise UnreadableImageError("alpha with other bits than colours; convert it")
    channels = (1 if grey else 3) + len(extra)
    return _Head(height, width, channels, depth, orientation, any(associated for *_, associated in extra), animated)


class _Bits:
    """The bits of some bytes, the lowest of each byte first. UnreadableImageError past their end."""

    def __init__(self, data: bytes) -> None:
        self._bits, self._left = int.from_bytes(data, "little"), 8 * len(data)

    def take(self, count: int) -> int:
        """Return the next bits as a number."""
        self._left -= count
        if self._left < 0:
            raise UnreadableImageError("damaged: cut off within its header")
        value = self._bits & ((1 << count) - 1)
        self._bits >>= count
        return value

    def flag(self) -> bool:
        """Return the next bit."""
        return bool(self.take(1))

    def choice(self, kinds: Sequence[tuple[int, int]]) -> int:
        """Return a number in one of four ways, which two bits choose: so many bits, and what is added to them."""
        count, offset = kinds[self.take(2)]
        return self.take(count) + offset


def _size(bits: _Bits) -> tuple[int, int]:
    """Read height and width."""
    blocks = bits.flag()
    height = 8 * (bits.take(5) + 1) if blocks else bits.choice(_SIZES)
    ratio = bits.take(3)
    if ratio:
        across, down = _RATIOS[ratio]
        return height, height * across // down
    return height, 8 * (bits.take(5) + 1) if blocks else bits.choice(_SIZES)


def _further(bits: _Bits) -> tuple[int, bool]:
    """Read what few files have: the orientation, and whether there are frames. A smaller preview is not read."""
    orientation = bits.take(3) + 1
    if bits.flag():
        _size(bits)  # the size for viewers
    if bits.flag():
        sizes = _PREVIEW_BLOCKS if bits.flag() else _PREVIEW_SIZES
        bits.choice(sizes)
        if bits.take(3) == 0:
            bits.choice(sizes)
    animated = bits.flag()
    if animated:
        bits.choice(((0, 100), (0, 1000), (10, 1), (30, 1)))
        bits.choice(((0, 1), (0, 1001), (8, 1), (10, 1)))
        bits.choice(((0, 0), (3, 0), (16, 0), (32, 0)))
        bits.flag()
    return orientation, animated


def _depth(bits: _Bits) -> int:
    """Read the number of bits of samples."""
    if bits.flag():
        raise UnreadableImageError(f"float samples of {bits.choice(_FLOAT_BITS)} bits; images have 8 or 16 bits")
    depth = bits.choice(_BITS)
    unsigned_of(depth)
    return depth


def _extra(bits: _Bits) -> tuple[int, int, bool]:
    """Read the kind of a channel that is no colour, its bits, and whether colours are multiplied by it."""
    if bits.flag():
        return _ALPHA, 8, False
    kind, depth = bits.choice(_ENUM), _depth(bits)
    bits.choice(((0, 0), (0, 3), (0, 4), (3, 1)))  # how much smaller it is stored
    bits.take(8 * bits.choice(((0, 0), (4, 0), (5, 16), (10, 48))))  # its name
    associated = kind == _ALPHA and bits.flag()
    if kind == _SPOT:
        bits.take(64)
    elif kind == _FILTER:
        bits.choice(((0, 1), (2, 0), (4, 3), (8, 19)))
    return kind, depth, associated


JPEGXL = ImageFormat(
    "JPEG XL",
    (".jxl",),
    lambda head: head.startswith((_CODESTREAM, _CONTAINER)),
    _open,
    (SOURCE_ORIENTATION, SIGNIFICANT_BITS, ALPHA_ASSOCIATED, FRAME),
)
