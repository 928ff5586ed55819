"""Netpbm files: PBM, PGM, PPM (plain and raw) and PAM, as the manual pages of Netpbm define them.

Samples are as stored: nothing is scaled to 255 or 65,535. The largest value becomes the field `significant_bits`, or
`maxval` if it is none of the values 2^n - 1. Bits of PBM, where 1 is black, become grey from 0 to 255, like black and
white of other formats. A raw file may hold several images, one behind the other. Channels of a PAM file that are no
colours are images of their own. PFM, which has floats, is refused.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import accumulate
from typing import BinaryIO, cast

import numpy as np
from numpy.typing import NDArray

from smalti.imagefiles.format import (
    PLANE,
    SIGNIFICANT_BITS,
    SOURCE_MODE,
    ImageFile,
    ImageFormat,
    ImageHeader,
    UnreadableImageError,
    bits_field,
    check_size,
    file_size,
    unsigned_of,
)
from smalti.images.batch import UINT8, PixelDtype, Pixels, Scalar

__all__ = ["NETPBM"]

_MAXVAL, _CHANNEL, _KIND = "maxval", "c", "tupltype"
_SPACE = rb"[ \t\n\v\f\r]"
_NUMBER = re.compile(rb"(?:" + _SPACE + rb"|#[^\r\n]*[\r\n])+([0-9]{1,10})(?=" + _SPACE + rb"|#)")
_COMMENT = re.compile(rb"#[^\r\n]*")
_MAX_HEADER_BYTES = 1 << 14
_MAX_IMAGES = 100_000
_MAX_PLANES = 4096
_TEXT_BYTES = 1 << 20
_MAX_DIGITS = 16
_COLOURS = {  # channels of each kind of PAM that is one image
    "BLACKANDWHITE": 1,
    "GRAYSCALE": 1,
    "RGB": 3,
    "BLACKANDWHITE_ALPHA": 2,
    "GRAYSCALE_ALPHA": 2,
    "RGB_ALPHA": 4,
}


@dataclass(frozen=True, slots=True)
class _Raster:
    """The pixels of one image in the file.

    magic : the digit behind the P
    start : the offset of the first sample
    kind : what a PAM file says of its channels; else an empty text
    """

    magic: int
    height: int
    width: int
    channels: int
    maxval: int
    start: int
    kind: str = ""

    @property
    def is_plain(self) -> bool:
        return self.magic <= 3

    @property
    def is_bits(self) -> bool:
        return self.magic in (1, 4)

    @property
    def dtype(self) -> PixelDtype:
        return UINT8 if self.is_bits else unsigned_of(self.maxval.bit_length())

    @property
    def size(self) -> int:
        """The number of bytes of a raw raster; the least number of a plain one."""
        if self.magic == 4:
            return self.height * ((self.width + 7) // 8)
        samples = self.height * self.width * self.channels
        if self.is_plain:
            return samples if self.is_bits else 2 * samples - 1
        return samples * self.dtype.itemsize

    @property
    def planes(self) -> int:
        """The number of images that the raster is read as."""
        return self.channels if self.magic == 7 and _COLOURS.get(self.kind) != self.channels else 1

    def headers(self) -> list[ImageHeader]:
        """Return the header of each image of the raster."""
        fields: dict[str, Scalar] = {}
        if self.is_bits:
            fields[SOURCE_MODE] = "1;I"
        elif self.maxval & (self.maxval + 1):
            fields[_MAXVAL] = self.maxval
        else:
            fields.update(bits_field(self.maxval.bit_length(), self.dtype))
        if self.planes == 1:
            return [ImageHeader((self.height, self.width, self.channels), self.dtype, fields)]
        if self.kind:
            fields[_KIND] = self.kind
        shape = (self.height, self.width, 1)
        return [ImageHeader(shape, self.dtype, {_CHANNEL: channel, **fields}) for channel in range(self.planes)]

    def pixels(self, file: BinaryIO) -> Pixels:
        """Read all samples [H, W, C]."""
        file.seek(self.start)
        shape = (self.height, self.width, self.channels)
        if self.is_plain:
            return _plain(file, self).reshape(shape)
        data = file.read(self.size)
        if len(data) < self.size:
            raise UnreadableImageError("damaged: cut off within its pixels")
        if self.is_bits:
            rows = np.frombuffer(data, np.uint8).reshape(self.height, -1)
            return ((1 - np.unpackbits(rows, axis=1)[:, : self.width]) * 255)[:, :, None]
        pixels = np.frombuffer(data, self.dtype.newbyteorder(">")).astype(self.dtype).reshape(shape)
        _check_most(pixels, self.maxval)
        return cast(Pixels, pixels)


class _Netpbm:
    """The images of one file."""

    def __init__(self, file: BinaryIO) -> None:
        self._file = file
        self._rasters, unread = _rasters(file)
        self.headers = [header for raster in self._rasters for header in raster.headers()]
        if len(self._rasters) > 1:
            self.headers = [_with(header, {PLANE: plane}) for plane, header in enumerate(self.headers)]
        self.headers[-1] = _with(self.headers[-1], {}, unread)
        self._first = [0, *accumulate(raster.planes for raster in self._rasters)]  # the first image of each raster
        self._raster: tuple[int, Pixels] | None = None  # the one read last, whose channels are images

    def image(self, number: int) -> tuple[ImageHeader, Pixels]:
        header = self.headers[number]
        place = int(np.searchsorted(self._first, number, side="right")) - 1
        raster = self._rasters[place]
        if raster.planes == 1:
            return header, raster.pixels(self._file)
        if self._raster is None or self._raster[0] != place:
            self._raster = place, raster.pixels(self._file)
        return header, self._raster[1][:, :, number - self._first[place], None]


def _with(header: ImageHeader, fields: dict[str, Scalar], unread: str | None = None) -> ImageHeader:
    return ImageHeader(header.shape, header.dtype, {**fields, **header.fields}, unread)


def _rasters(file: BinaryIO) -> tuple[Sequence[_Raster], str | None]:
    """Find all images; the text is of bytes behind them that are not read."""
    size, position = file_size(file), 0
    found: list[_Raster] = []
    while True:
        file.seek(position)
        raster = _read_head(file.read(_MAX_HEADER_BYTES), position)
        if raster.start + raster.size > size:
            raise UnreadableImageError("damaged: cut off within its pixels")
        found.append(raster)
        if len(found) > _MAX_IMAGES:
            raise UnreadableImageError(f"more than {_MAX_IMAGES:,} images in one file")
        position = raster.start + raster.size
        if raster.is_plain or position == size:
            return found, None
        file.seek(position)
        behind = file.read(64)
        if not _is_netpbm(behind):
            spare = size - position
            return found, f"{spare:,} bytes behind its pixels" if spare > 64 or behind.strip() else None


def _read_head(data: bytes, offset: int) -> _Raster:
    """Read the header of the image at this offset of the file, which begins with `data`."""
    if not _is_netpbm(data):
        raise UnreadableImageError("damaged: no header of a Netpbm file")
    if data[1:2] in b"Ff":
        raise UnreadableImageError("float samples (PFM); images have 8 or 16 bits, scale and convert them")
    raster = _pam(data, offset) if data[1:2] == b"7" else _pnm(data, offset)
    check_size(raster.width, raster.height)
    if raster.channels == 0 or raster.planes > _MAX_PLANES:
        raise UnreadableImageError(f"{raster.channels} channels; images have 1 to 4")
    if not 1 <= raster.maxval <= 65535:
        raise UnreadableImageError(f"a largest value of {raster.maxval}; Netpbm has 1 to 65535")
    return raster


def _pnm(data: bytes, offset: int) -> _Raster:
    magic, at = int(data[1:2]), 2
    numbers: list[int] = []
    while len(numbers) < (2 if magic in (1, 4) else 3):
        found = _NUMBER.match(data, at)
        if found is None:
            raise UnreadableImageError("damaged: no width, height and largest value in its header")
        numbers.append(int(found[1]))
        at = found.end()
    if data[at : at + 1] == b"#":  # its line end is the white space before the samples
        at = data.find(b"\n", at)
    width, height, maxval = (*numbers, 1)[:3]
    return _Raster(magic, height, width, 3 if magic in (3, 6) else 1, maxval, offset + at + 1)


def _pam(data: bytes, offset: int) -> _Raster:
    end = re.compile(rb"^ENDHDR[ \t\v\f\r]*\n", re.MULTILINE).search(data)
    if end is None:
        raise UnreadableImageError("damaged: a PAM file without the end of its header")
    numbers: dict[str, int] = {}
    kinds: list[str] = []
    for line in data[3 : end.start()].splitlines():
        name, _, value = line.decode("utf-8", "replace").strip().partition(" ")
        if name == "TUPLTYPE":
            kinds.append(value.strip())
        elif name in ("WIDTH", "HEIGHT", "DEPTH", "MAXVAL") and re.fullmatch(r"\s*[0-9]{1,10}\s*", value, re.ASCII):
            numbers[name] = int(value)
    if len(numbers) < 4:
        raise UnreadableImageError("damaged: a PAM file without its WIDTH, HEIGHT, DEPTH or MAXVAL")
    kind = " ".join(kinds) or {1: "GRAYSCALE", 3: "RGB"}.get(numbers["DEPTH"], "")  # what readers take it for
    return _Raster(
        7, numbers["HEIGHT"], numbers["WIDTH"], numbers["DEPTH"], numbers["MAXVAL"], offset + end.end(), kind
    )


def _plain(file: BinaryIO, raster: _Raster) -> Pixels:
    """Read samples written as decimal numbers, or bits written as digits, [n]."""
    samples = np.empty(raster.height * raster.width * raster.channels, raster.dtype)
    done, rest = 0, b""
    while done < len(samples):
        block = file.read(_TEXT_BYTES)
        values, rest = _numbers(rest + block, raster.is_bits, last=not block)
        values = values[: len(samples) - done]
        _check_most(values, raster.maxval)
        samples[done : done + len(values)] = (1 - values) * 255 if raster.is_bits else values
        done += len(values)
        if not block and done < len(samples):
            raise UnreadableImageError(f"damaged: {done:,} samples, where {len(samples):,} are needed")
    return samples


def _numbers(text: bytes, bits: bool, last: bool) -> tuple[NDArray[np.int64], bytes]:
    """Return the numbers of a text; and its end, if that may be the beginning of a number or of a comment."""
    in_comment = b"#" in text[max(text.rfind(b"\n"), text.rfind(b"\r")) + 1 :]
    text = _COMMENT.sub(b"", text)
    if text.translate(None, b"0123456789 \t\n\v\f\r"):
        raise UnreadableImageError("damaged: its samples are no numbers")
    words = text.split()
    if bits:
        return np.frombuffer(b"".join(words), np.uint8).astype(np.int64) - ord("0"), b"#" if in_comment else b""
    rest = b"#" if in_comment else b""
    if words and not (last or in_comment or text[-1:].isspace()):
        rest = words.pop()
    if len(rest) > _MAX_DIGITS or any(len(word) > _MAX_DIGITS for word in words):
        raise UnreadableImageError("damaged: a sample above its largest value")
    return np.array([int(word) for word in words], np.int64), rest


def _check_most(samples: NDArray[np.generic], maxval: int) -> None:
    most = int(samples.max(initial=0))
    if most > maxval:
        raise UnreadableImageError(f"damaged: a sample of {most}, above its largest value {maxval}")


def _is_netpbm(head: bytes) -> bool:
    if head[:1] != b"P":
        return False
    if head[1:2] in (b"7", b"F", b"f"):  # "P7 332" is a thumbnail of another program
        return head[2:3] in (b"\n", b"\r")
    return head[1:2] in (b"1", b"2", b"3", b"4", b"5", b"6") and (head[2:3] in b" \t\n\v\f\r#" and len(head) > 2)


def _open(file: BinaryIO) -> ImageFile:
    return _Netpbm(file)


NETPBM = ImageFormat(
    "Netpbm",
    (".pbm", ".pgm", ".ppm", ".pnm", ".pam", ".pfm"),
    _is_netpbm,
    _open,
    (SOURCE_MODE, SIGNIFICANT_BITS, _MAXVAL, _CHANNEL, _KIND, PLANE),
)
