"""DICOM files of medical devices, with headers read by pydicom: every frame an image, of samples as stored.

Nothing is scaled, windowed or inverted; the tags of `dicom_fields` say what a viewer would do. Compressed frames are
decoded by `dicom_codecs`; uncompressed ones by pydicom, one frame at a time.
"""

import zlib
from collections.abc import Iterator, Sequence
from typing import Any, BinaryIO, cast

import numpy as np
from numpy.typing import NDArray

from smalti.errors import MissingDependencyError
from smalti.imagefiles.dicom_codecs import CODECS, Frame, becomes_rgb, decode_frame
from smalti.imagefiles.dicom_fields import DICOM_FIELDS, GROUPS_OF_FRAMES, KEPT_TAGS, fields_of_frame
from smalti.imagefiles.format import (
    SOURCE_MODE,
    ImageFile,
    ImageFormat,
    ImageHeader,
    UnreadableImageError,
    check_size,
)
from smalti.imagefiles.quiet import quiet_decoders
from smalti.imagefiles.volumes import STORED_DTYPE, Headers, pixel_dtype, stored_fields
from smalti.images.batch import Pixels, Scalar
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
_OVERLAYS = tuple((group << 16) | element for group in range(0x6000, 0x6020, 2) for element in (0x10, 0x102))
_IMPLICIT, _EXPLICIT = "1.2.840.10008.1.2", "1.2.840.10008.1.2.1"
_BIG_ENDIAN, _DEFLATED = "1.2.840.10008.1.2.2", "1.2.840.10008.1.2.1.99"
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
            return _Compressed(dataset, source, syntax, frame, count, position)
        if length == _UNDEFINED or syntax not in (_IMPLICIT, _EXPLICIT, _BIG_ENDIAN):
            raise UnreadableImageError(f"compressed in a way that is not read ({_name(syntax)}); write it uncompressed")
        return _Plain(dataset, source, syntax, frame, count, position, length, vr)


def _dataset(file: BinaryIO) -> tuple[Any, BinaryIO]:
    """Read the tags that are needed; return them, and the file they are from, at its pixels or at its end."""
    try:
        import pydicom  # noqa: PLC0415 (optional: few files need it)
    except ImportError as error:
        raise MissingDependencyError.of("DICOM", "pydicom", "science") from error
    source = _inflated(file) or file
    source.seek(0)
    tags: Any = [*_NEEDED, *KEPT_TAGS, *GROUPS_OF_FRAMES, *_OVERLAYS]
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
    return _IMPLICIT if is_implicit else _EXPLICIT if is_little else _BIG_ENDIAN


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


class _Frames:
    """The frames of a file, of one shape and dtype."""

    def __init__(self, dataset: Any, source: BinaryIO, syntax: str, frame: Frame, count: int) -> None:
        self._dataset, self._source, self._syntax = dataset, source, syntax
        self._facts, self._count = frame, count
        self._unread = _unread(dataset, frame)

    @property
    def headers(self) -> Sequence[ImageHeader]:
        return Headers(self._count, self._header)

    def image(self, number: int) -> tuple[ImageHeader, Pixels]:
        if not 0 <= number < self._count:
            raise IndexError(number)
        with quiet_decoders():
            samples = self._read(number)
        header = self._header(number)
        return header, cast(Pixels, samples.astype(header.dtype).reshape(header.shape))

    def _header(self, number: int) -> ImageHeader:
        frame = self._facts
        fields: dict[str, Scalar] = {"frame": number} if self._count > 1 else {}
        fields |= fields_of_frame(self._dataset, number)
        if frame.bits < 8 * frame.dtype.itemsize:
            fields["significant_bits"] = frame.bits
        if becomes_rgb(self._syntax, frame.photometric):
            fields[SOURCE_MODE] = frame.photometric
        shape = (frame.rows, frame.columns, frame.samples)
        unread = self._unread if number == 0 else None
        return ImageHeader(shape, pixel_dtype(frame.dtype), {**fields, **stored_fields(frame.dtype)}, unread)

    def _read(self, number: int) -> NDArray[Any]:
        raise NotImplementedError


def _unread(dataset: Any, frame: Frame) -> str | None:
    """Return words for what a viewer would show besides the samples."""
    overlays = any(tag in dataset for tag in _OVERLAYS)
    lost = ["an overlay"] if overlays else []
    lost += ["a palette, whose numbers are the samples"] if frame.photometric == "PALETTE COLOR" else []
    return " and ".join(lost) or None


class _Plain(_Frames):
    """Uncompressed frames."""

    def __init__(
        self,
        dataset: Any,
        source: BinaryIO,
        syntax: str,
        frame: Frame,
        count: int,
        position: int,
        length: int,
        vr: str,
    ) -> None:
        super().__init__(dataset, source, syntax, frame, count)
        self._position, self._vr = position, vr
        bits = frame.rows * frame.columns * frame.samples * int(dataset.BitsAllocated)
        if frame.photometric == "YBR_FULL_422":
            bits = bits // 3 * 2  # two pixels share their chrominance
        needed = -(-bits * count // 8)
        held = min(length, source.seek(0, 2) - position)
        if held < needed:
            raise UnreadableImageError(f"damaged: {needed - held:,} bytes shorter than its header says")
        if held - needed >= max(2, bits // 8):
            self._unread = f"{held - needed:,} bytes behind its {count} frames of {bits // 8:,} bytes each"

    def _read(self, number: int) -> NDArray[Any]:
        if int(self._dataset.BitsAllocated) == 1:
            return self._bits(number)
        from pydicom.pixels.decoders.base import get_decoder  # noqa: PLC0415 (optional)

        decoder: Any = get_decoder(self._syntax)
        dataset, frame = self._dataset, self._facts
        self._source.seek(self._position)
        samples: NDArray[Any] = decoder.as_array(
            self._source,
            index=number,
            raw=True,
            rows=frame.rows,
            columns=frame.columns,
            samples_per_pixel=frame.samples,
            photometric_interpretation=frame.photometric,
            bits_allocated=int(dataset.BitsAllocated),
            bits_stored=frame.bits,
            pixel_representation=int(frame.dtype.kind == "i"),
            pixel_keyword="PixelData",
            pixel_vr=self._vr,
            number_of_frames=self._count,
            **({"planar_configuration": int(dataset.get("PlanarConfiguration") or 0)} if frame.samples > 1 else {}),
        )[0]
        return samples

    def _bits(self, number: int) -> NDArray[np.uint8]:
        """Return the samples of a frame of single bits. Frames follow each other without gaps, also within a byte."""
        pixels = self._facts.rows * self._facts.columns
        start, inner = divmod(number * pixels, 16)
        self._source.seek(self._position + 2 * start)
        packed = np.frombuffer(self._source.read(2 * (-(-(inner + pixels) // 16))), np.uint8)
        if self._syntax == _BIG_ENDIAN and self._vr == "OW":
            packed = packed[: len(packed) // 2 * 2].reshape(-1, 2)[:, ::-1].ravel()
        return np.unpackbits(packed, bitorder="little")[inner : inner + pixels]


class _Compressed(_Frames):
    """Frames that are compressed one by one."""

    def __init__(self, dataset: Any, source: BinaryIO, syntax: str, frame: Frame, count: int, position: int) -> None:
        from pydicom import encaps  # noqa: PLC0415 (optional)

        super().__init__(dataset, source, syntax, frame, count)
        if int(dataset.BitsAllocated) == 1:
            raise UnreadableImageError("1-bit samples in compressed frames")
        self._position = position
        source.seek(position)
        offsets = encaps.parse_basic_offsets(source)
        fragments, _ = encaps.parse_fragments(source)
        if fragments < count:
            raise UnreadableImageError(f"damaged: {fragments:,} compressed frames, where its header says {count:,}")
        if len(offsets) > count:
            self._unread = f"{len(offsets) - count:,} frames more than its header says"
        self._next: tuple[int, Iterator[tuple[bytes, ...]]] | None = None

    def _read(self, number: int) -> NDArray[Any]:
        if self._next is None or self._next[0] > number:
            self._next = 0, self._all_frames()
        place, frames = self._next
        for data in frames:
            place += 1
            if place > number:
                self._next = place, frames
                return decode_frame(self._syntax, b"".join(data), self._facts)
        self._next = None
        raise UnreadableImageError(f"damaged: no frame {number}")

    def _all_frames(self) -> Iterator[tuple[bytes, ...]]:
        """Yield the fragments of each frame, from the first on."""
        from pydicom import encaps  # noqa: PLC0415 (optional)

        self._source.seek(self._position)
        tables = [self._dataset.get(name) for name in ("ExtendedOffsetTable", "ExtendedOffsetTableLengths")]
        extended = cast(Any, tuple(tables)) if all(tables) else None
        return encaps.generate_fragmented_frames(
            cast(Any, self._source), number_of_frames=self._count, extended_offsets=extended
        )


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
