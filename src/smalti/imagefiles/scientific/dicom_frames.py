"""The frames of a DICOM file: uncompressed ones by pydicom, compressed ones by `dicom_codecs`, one at a time."""

from collections.abc import Iterator, Sequence
from typing import Any, BinaryIO, cast

import numpy as np
from numpy.typing import NDArray

from smalti.imagefiles.format import SOURCE_MODE, ImageHeader, UnreadableImageError
from smalti.imagefiles.quiet import quiet_decoders
from smalti.imagefiles.scientific.dicom_codecs import Frame, becomes_rgb, decode_frame
from smalti.imagefiles.scientific.dicom_fields import fields_of_frame
from smalti.imagefiles.scientific.volumes import Headers, pixel_dtype, stored_fields
from smalti.images.batch import Pixels, Scalar

__all__ = ["BIG_ENDIAN", "OVERLAYS", "CompressedFrames", "PlainFrames"]

BIG_ENDIAN = "1.2.840.10008.1.2.2"
"""The transfer syntax whose bytes are in the other order."""

OVERLAYS = tuple((group << 16) | element for group in range(0x6000, 0x6020, 2) for element in (0x10, 0x102))
"""The tags of overlays: their rows, and the bit of the samples that holds one."""


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
    overlays = any(tag in dataset for tag in OVERLAYS)
    lost = ["an overlay"] if overlays else []
    lost += ["a palette, whose numbers are the samples"] if frame.photometric == "PALETTE COLOR" else []
    return " and ".join(lost) or None


class PlainFrames(_Frames):
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
        if self._syntax == BIG_ENDIAN and self._vr == "OW":
            packed = packed[: len(packed) // 2 * 2].reshape(-1, 2)[:, ::-1].ravel()
        return np.unpackbits(packed, bitorder="little")[inner : inner + pixels]


class CompressedFrames(_Frames):
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
