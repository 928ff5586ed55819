"""Compressed frames of DICOM files, decoded by imagecodecs; one decoder for each transfer syntax, on every machine.

JPEG 2000 states how its colours were turned, and is read as RGB. JPEG does not always: its markers decide, and where
they say nothing, the photometric interpretation of the DICOM file. No sample is scaled.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from smalti.imagefiles.format import UnreadableImageError, imagecodecs_for

__all__ = ["CODECS", "Frame", "becomes_rgb", "decode_frame"]

_JPEG, _LOSSLESS, _JPEG_LS, _JPEG_2000, _RLE = "JPEG", "lossless JPEG", "JPEG-LS", "JPEG 2000", "RLE"

CODECS = {
    "1.2.840.10008.1.2.4.50": _JPEG,
    "1.2.840.10008.1.2.4.51": _JPEG,
    "1.2.840.10008.1.2.4.57": _LOSSLESS,
    "1.2.840.10008.1.2.4.70": _LOSSLESS,
    "1.2.840.10008.1.2.4.80": _JPEG_LS,
    "1.2.840.10008.1.2.4.81": _JPEG_LS,
    "1.2.840.10008.1.2.4.90": _JPEG_2000,
    "1.2.840.10008.1.2.4.91": _JPEG_2000,
    "1.2.840.10008.1.2.4.201": _JPEG_2000,
    "1.2.840.10008.1.2.4.202": _JPEG_2000,
    "1.2.840.10008.1.2.4.203": _JPEG_2000,
    "1.2.840.10008.1.2.5": _RLE,
}
"""The codec of each transfer syntax of compressed frames that is read, by its UID."""

_FRAME_MARKERS = {0xC0, 0xC1, 0xC2, 0xC3, 0xF7}  # baseline, extended, progressive, lossless, JPEG-LS
_SIZ = b"\xff\x4f\xff\x51"  # the first two markers of a JPEG 2000 codestream
_END = b"\xff\xd9"  # of JPEG, JPEG-LS and JPEG 2000; bytes that fill up follow
_RGB_IDS = (b"RGB", b"rgb")


@dataclass(frozen=True, slots=True)
class Frame:
    """The facts of a compressed frame that its DICOM file states.

    dtype : of the stored samples: uint8, int8, uint16 or int16
    bits : the number of bits of each that are used
    """

    rows: int
    columns: int
    samples: int
    dtype: np.dtype[Any]
    bits: int
    photometric: str


def becomes_rgb(syntax: str, photometric: str) -> bool:
    """Whether colours that a file states as luminance and chrominance are read as RGB."""
    by_codec = {_JPEG: ("YBR_FULL", "YBR_FULL_422"), _JPEG_2000: ("YBR_ICT", "YBR_RCT")}
    return photometric in by_codec.get(CODECS.get(syntax, ""), ())


def decode_frame(syntax: str, data: bytes, frame: Frame) -> NDArray[Any]:
    """Decode a compressed frame to samples as stored, `frame.dtype` [rows, columns, samples].

    UnreadableImageError for a frame of another size than its file says; decoders raise other errors for damaged ones.
    """
    codec = CODECS[syntax]
    imagecodecs = imagecodecs_for(f"DICOM compressed as {codec}")
    decoded, is_signed = _DECODERS[codec](imagecodecs, data, frame)
    expected = (frame.rows, frame.columns, frame.samples)
    if decoded.ndim == 2:
        decoded = decoded[:, :, None]
    if decoded.shape != expected:
        raise UnreadableImageError(f"damaged: a frame of {list(decoded.shape)} samples, not {list(expected)}")
    if decoded.dtype.kind not in "ui" or decoded.itemsize > 2:
        raise UnreadableImageError(f"damaged: a frame of {decoded.dtype} samples")
    return _with_sign(decoded, is_signed, frame)


def _with_sign(decoded: NDArray[Any], is_signed: bool, frame: Frame) -> NDArray[Any]:
    """Return samples with the dtype that the file states: most codecs know no signs, and give bits."""
    signed = frame.dtype.kind == "i"
    if is_signed == signed:
        limits = np.iinfo(frame.dtype)
        if decoded.itemsize > frame.dtype.itemsize and (decoded.min() < limits.min or decoded.max() > limits.max):
            raise UnreadableImageError(f"damaged: a frame of {decoded.dtype}, where its file says {frame.dtype}")
        return decoded.astype(frame.dtype)
    bits = frame.bits
    widened = decoded.astype(np.int32) & ((1 << bits) - 1)
    if signed:
        widened -= (widened >> (bits - 1)) << bits
    return widened.astype(frame.dtype)


def _jpeg(imagecodecs: Any, data: bytes, frame: Frame) -> tuple[NDArray[Any], bool]:
    start = _checked_start(data, frame)
    if frame.samples == 1:
        return imagecodecs.jpeg8_decode(data), False
    colour = "YCBCR" if _is_ycc(start, frame.photometric) else "RGB"
    return imagecodecs.jpeg8_decode(data, colorspace=colour, outcolorspace="RGB"), False


def _lossless(imagecodecs: Any, data: bytes, frame: Frame) -> tuple[NDArray[Any], bool]:
    _checked_start(data, frame)
    if frame.samples == 1:
        return imagecodecs.jpeg8_decode(data), False
    return imagecodecs.jpeg8_decode(data, colorspace="RGB", outcolorspace="RGB"), False  # as it is, whatever it is


def _jpeg_ls(imagecodecs: Any, data: bytes, frame: Frame) -> tuple[NDArray[Any], bool]:
    start = _checked_start(data, frame)
    shape = (frame.rows, frame.columns, *([frame.samples] if frame.samples > 1 else []))
    out = np.empty(shape, np.uint8 if start.bits <= 8 else np.uint16)  # a later marker may state another, huge size
    return imagecodecs.jpegls_decode(data, out=out), False


def _jpeg_2000(imagecodecs: Any, data: bytes, frame: Frame) -> tuple[NDArray[Any], bool]:
    _check_end(data)
    start = data.find(_SIZ)
    fields = data[start + 8 : start + 43]
    if start < 0 or len(fields) < 35:
        raise UnreadableImageError("damaged: a frame that is no JPEG 2000")
    right, bottom, left, top = (int.from_bytes(fields[at : at + 4]) for at in (0, 4, 8, 12))
    _check_size(frame, bottom - top, right - left, int.from_bytes(fields[32:34]))
    return imagecodecs.jpeg2k_decode(data), bool(fields[34] & 0x80)


def _rle(imagecodecs: Any, data: bytes, frame: Frame) -> tuple[NDArray[Any], bool]:
    stored = np.dtype(f"<u{frame.dtype.itemsize}")
    decoded = np.frombuffer(imagecodecs.dicomrle_decode(data, stored), stored)
    needed = frame.rows * frame.columns * frame.samples
    if decoded.size != needed:
        raise UnreadableImageError(f"damaged: a frame of {decoded.size:,} samples, where {needed:,} are needed")
    return np.moveaxis(decoded.reshape(frame.samples, frame.rows, frame.columns), 0, 2), False


_DECODERS: dict[str, Callable[[Any, bytes, Frame], tuple[NDArray[Any], bool]]] = {
    _JPEG: _jpeg,
    _LOSSLESS: _lossless,
    _JPEG_LS: _jpeg_ls,
    _JPEG_2000: _jpeg_2000,
    _RLE: _rle,
}


@dataclass(frozen=True, slots=True)
class _Start:
    """The facts in the markers before the samples of a JPEG stream."""

    bits: int
    component_ids: bytes
    is_jfif: bool
    adobe_transform: int | None


def _checked_start(data: bytes, frame: Frame) -> _Start:
    """Read the markers of a JPEG stream up to its size, which must be that of the frame."""
    _check_end(data)
    place, is_jfif, transform = 2, False, None
    while len(head := data[place : place + 4]) == 4 and head[0] == 0xFF:
        size = int.from_bytes(head[2:])
        body = data[place + 4 : place + 2 + size]
        if head[1] in _FRAME_MARKERS:
            if len(body) < 6 or len(body) < 6 + 3 * body[5]:
                break
            _check_size(frame, int.from_bytes(body[1:3]), int.from_bytes(body[3:5]), body[5])
            return _Start(body[0], bytes(body[6 : 6 + 3 * body[5] : 3]), is_jfif, transform)
        if head[1] == 0xE0 and body.startswith(b"JFIF"):
            is_jfif = True
        if head[1] == 0xEE and body.startswith(b"Adobe") and len(body) >= 12:
            transform = body[11]
        place += 1 if head[1] == 0xFF else 2 + size
    raise UnreadableImageError("damaged: a frame that is no JPEG")


def _is_ycc(start: _Start, photometric: str) -> bool:
    """Whether the colours of a JPEG stream are luminance and chrominance."""
    if start.component_ids in _RGB_IDS:
        return False
    if start.is_jfif:
        return True
    return photometric.startswith("YBR") if start.adobe_transform is None else start.adobe_transform != 0


def _check_end(data: bytes) -> None:
    """Raise UnreadableImageError for a stream without the mark of its end: decoders make a whole image of a half."""
    if not data[-16:].rstrip(b"\0\xff").endswith(_END):
        raise UnreadableImageError("damaged: a compressed frame that is cut off")


def _check_size(frame: Frame, rows: int, columns: int, samples: int) -> None:
    found, expected = [rows, columns, samples], [frame.rows, frame.columns, frame.samples]
    if found != expected:
        raise UnreadableImageError(f"damaged: a frame of {found} samples, where its file says {expected}")
