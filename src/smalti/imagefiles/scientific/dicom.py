"""DICOM files of medical devices, with headers read by pydicom: every frame an image, of samples as stored.

Nothing is scaled, windowed or inverted; the tags of `dicom_fields` say what a viewer would do. Compressed frames are
decoded by `dicom_codecs`; uncompressed ones by pydicom, one frame at a time. This module reads the header.
"""

import zlib
from typing import Any, BinaryIO

import numpy as np

from smalti.errors import MissingDependencyError
from smalti.imagefiles.format import (
    SOURCE_MODE,
    ImageFile,
    ImageFormat,
    UnreadableImageError,
    check_size,
)
from smalti.imagefiles.quiet import quiet_decoders
from smalti.imagefiles.scientific.dicom_codecs import CODECS, Frame
from smalti.imagefiles.scientific.dicom_fields import DICOM_FIELDS, GROUPS_OF_FRAMES, KEPT_TAGS
from smalti.imagefiles.scientific.dicom_frames import BIG_ENDIAN, OVERLAYS, CompressedFrames, PlainFrames
from smalti.imagefiles.scientific.volumes import STORED_DTYPE
from smalti.storage.spool import spool_file

__all__ = ["DICOM"]

_NEEDED = (
    "TransferSyntaxUID",
    "SamplesPerPixel",
    "PlanarConfiguration",
    "NumberOfFrames",
    "Rows",
    "Columns",
    "BitsAllocated",
    "BitsStored",
    "HighBit",
    "PixelRepresentation",
    "ExtendedOffsetTable",
    "ExtendedOffsetTableLengths",
)
_IMPLICIT, _EXPLICIT = "1.2.840.10008.1.2", "1.2.840.10008.1.2.1"
_DEFLATED = "1.2.840.10008.1.2.1.99"
_DIRECTORY = "1.2.840.10008.1.3.10"
_PIXELS = (0x7FE0, 0x0010)
_UNDEFINED = 0xFFFFFFFF
_MAX_INFLATED_BYTES = 1 << 30
_BLOCK_BYTES = 1 << 20
_PREFIX = 132  # bytes before the first element: a preamble and "DICM"
_VRS = frozenset(b"AE AS AT CS DA DS DT FL FD IS LO LT OB OD OF OW PN SH SL SQ SS ST TM UI UL UN US UT".split())


def _open(file: BinaryIO) -> ImageFile:
    with quiet_decoders():
        dataset, source = _dataset(file)
        syntax = _syntax(dataset)
        position, length, vr = _pixel_data(dataset, source)
        frame = _frame(dataset)
        count = int(dataset.get("NumberOfFrames") or 1)
        if count < 1:
            raise UnreadableImageError(f"damaged: {count} frames")
        if syntax in CODECS:
            return CompressedFrames(dataset, source, syntax, frame, count, position)
        if length == _UNDEFINED or syntax not in (_IMPLICIT, _EXPLICIT, BIG_ENDIAN):
            raise UnreadableImageError(f"compressed in a way that is not read ({_name(syntax)}); write it uncompressed")
        return PlainFrames(dataset, source, syntax, frame, count, position, length, vr)


def _dataset(file: BinaryIO) -> tuple[Any, BinaryIO]:
    """Read the tags that are needed; return them, and the file they are from, at its pixels or at its end."""
    try:
        import pydicom  # noqa: PLC0415 (optional: few files need it)
    except ImportError as error:
        raise MissingDependencyError.of("DICOM", "pydicom", "science") from error
    source = _inflated(file) or file
    source.seek(0)
    tags: Any = [*_NEEDED, *KEPT_TAGS, *GROUPS_OF_FRAMES, *OVERLAYS]
    dataset = pydicom.dcmread(source, stop_before_pixels=True, force=True, specific_tags=tags)
    if str(dataset.file_meta.get("MediaStorageSOPClassUID", "")) == _DIRECTORY:
        raise UnreadableImageError("a DICOMDIR, which lists other files; give the folder instead")
    return dataset, source


def _inflated(file: BinaryIO) -> BinaryIO | None:
    """Return the plain form of a deflated file, a temporary file; None for other files."""
    file.seek(0)
    head = file.read(_PREFIX + 12)
    size = int.from_bytes(head[_PREFIX + 8 :], "little")
    meta = file.read(min(size, _BLOCK_BYTES))
    if head[128:_PREFIX] != b"DICM" or _DEFLATED.encode() not in meta:
        return None
    plain = spool_file(None)
    plain.write(head + meta.replace(_DEFLATED.encode(), _EXPLICIT.encode().ljust(len(_DEFLATED), b"\0"), 1))
    unpacker = zlib.decompressobj(-zlib.MAX_WBITS)
    written = 0
    while not unpacker.eof and (block := unpacker.unconsumed_tail or file.read(_BLOCK_BYTES)):
        written += plain.write(unpacker.decompress(block, _BLOCK_BYTES))
        if written > _MAX_INFLATED_BYTES:
            raise UnreadableImageError(f"deflated from more than {_MAX_INFLATED_BYTES:,} bytes")
    return plain


def _syntax(dataset: Any) -> str:
    """Return the UID of the transfer syntax; of a file that states none, the one that pydicom found."""
    stated = dataset.file_meta.get("TransferSyntaxUID")
    if stated:
        return str(stated)
    is_implicit, is_little = dataset.original_encoding
    return _IMPLICIT if is_implicit else _EXPLICIT if is_little else BIG_ENDIAN


def _name(syntax: str) -> str:
    from pydicom.uid import UID  # noqa: PLC0415 (optional)

    return str(UID(syntax).name)


def _pixel_data(dataset: Any, source: BinaryIO) -> tuple[int, int, str]:
    """Return where the pixels begin, their length in bytes, and their VR. The file is at their tag."""
    is_little = dataset.original_encoding[1]
    head = source.read(8)
    if len(head) < 8:
        modality = str(dataset.get("Modality") or "").strip()
        raise UnreadableImageError(f"no pixels in it{f' (modality {modality})' if modality else ''}")
    order: Any = "little" if is_little else "big"
    tag = int.from_bytes(head[:2], order), int.from_bytes(head[2:4], order)
    if tag != _PIXELS:
        raise UnreadableImageError("float pixels; images have integers of 8 or 16 bits, scale and convert")
    is_explicit = (
        head[4:6] in _VRS
    )  # some files say one thing and do the other; the length of pixels is never such bytes
    length = int.from_bytes(source.read(4) if is_explicit else head[4:], order)
    return source.tell(), length, head[4:6].decode() if is_explicit else "OW"


def _frame(dataset: Any) -> Frame:
    """Return the facts of each frame. UnreadableImageError for samples that images cannot have."""
    allocated = int(dataset.get("BitsAllocated") or 0)
    bits = int(dataset.get("BitsStored") or allocated)
    samples = int(dataset.get("SamplesPerPixel") or 1)
    if allocated not in (1, 8, 16):
        raise UnreadableImageError(f"{allocated}-bit samples; images have integers of 8 or 16 bits, scale and convert")
    if not 1 <= bits <= allocated:
        raise UnreadableImageError(f"damaged: {bits} of {allocated} bits are used")
    high = dataset.get("HighBit")
    if high is not None and int(high) != bits - 1:
        raise UnreadableImageError(f"samples not in the low bits (high bit {int(high)} of {bits}); write it anew")
    if samples not in (1, 3) or (samples == 3 and allocated == 1):
        raise UnreadableImageError(f"{samples} samples of {allocated} bits a pixel; images have grey or RGB")
    rows, columns = int(dataset.get("Rows") or 0), int(dataset.get("Columns") or 0)
    check_size(columns, rows)
    sign = "i" if dataset.get("PixelRepresentation") == 1 and allocated > 1 else "u"
    dtype = np.dtype(f"{sign}{-(-allocated // 8)}")
    return Frame(rows, columns, samples, dtype, bits, str(dataset.get("PhotometricInterpretation") or ""))


def _matches(head: bytes) -> bool:
    """Whether a file has a preamble, or begins with an element of one of the first groups, as files without one do."""
    if head[128:_PREFIX] == b"DICM":
        return True
    group, element = int.from_bytes(head[:2], "little"), int.from_bytes(head[2:4], "little")
    if group not in (0x0002, 0x0008) or element > 0x60 or head[208:211] == b"MAP":  # the last is MRC, 8 pixels wide
        return False
    return head[4:6] in _VRS or (int.from_bytes(head[4:8], "little") <= 64 and head[4] % 2 == 0)


DICOM = ImageFormat(
    "DICOM",
    (".dcm", ".dicom", ".ima"),
    _matches,
    _open,
    ("frame", *DICOM_FIELDS, "significant_bits", SOURCE_MODE, STORED_DTYPE),
)
