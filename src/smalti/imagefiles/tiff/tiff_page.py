"""One image of a TIFF file as a file of its own: the tags that decoders need, and the strips or tiles of this image.

So the decoders of single pages read any page, plane of a stack or plane of a channel, in time that does not grow with
the file, and from a file or a stream alike. The small file is classic TIFF in the byte order of the large one.
"""

import struct
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from smalti.imagefiles.format import UnreadableImageError
from smalti.imagefiles.tiff.tiff_directory import Directory, TiffFile, Value
from smalti.lazy import cached_property

__all__ = [
    "BITS",
    "COLOUR_MAP",
    "COMPRESSION",
    "EXTRA",
    "FILL_ORDER",
    "FORMAT",
    "HEIGHT",
    "ORIENTATION",
    "PHOTOMETRIC",
    "PLANAR",
    "SAMPLES",
    "WIDTH",
    "Page",
    "Segment",
]

WIDTH, HEIGHT, BITS, COMPRESSION, PHOTOMETRIC, FILL_ORDER = 256, 257, 258, 259, 262, 266
STRIPS, ORIENTATION, SAMPLES, STRIP_ROWS, STRIP_BYTES, PLANAR = 273, 274, 277, 278, 279, 284
TILE_WIDTH, TILE_HEIGHT, TILES, TILE_BYTES, EXTRA, FORMAT = 322, 323, 324, 325, 338, 339
_PREDICTOR, COLOUR_MAP = 317, 320
_JPEG_TABLES, _XMP = 347, 700

_SHAPE_TAGS = (
    *(WIDTH, HEIGHT, BITS, COMPRESSION, PHOTOMETRIC, FILL_ORDER, ORIENTATION, SAMPLES, PLANAR, COLOUR_MAP),
    *(TILE_WIDTH, TILE_HEIGHT, 332, EXTRA, FORMAT),
)
_FURTHER_TAGS = (STRIP_ROWS, 292, 293, _PREDICTOR, _JPEG_TABLES, 529, 530, 531, 532, _XMP, 50674)
_SEPARATE = 2
_SHORT, _LONG = 3, 4
_REVERSED = bytes(int(f"{byte:08b}"[::-1], 2) for byte in range(256))
_TURNED_HERE = frozenset({1, 5, 8, 32773, 32946})  # other decoders turn bits themselves, or ignore the tag
_MAX_BYTES = 1 << 30
_MAX_SEGMENTS = 1 << 22

Segment = tuple[int, int]
"""The place of a strip or tile in the file, and its bytes."""


@dataclass(frozen=True)
class Page:
    """An image of a TIFF file.

    directory : its tags
    sample : the channel, if each channel of the directory is an image of its own
    plane : the number of the image, if the directory stands for several, stored one after the other
    fields : its axes, by name
    """

    file: TiffFile
    directory: Directory
    sample: int | None = None
    plane: int = 0
    fields: Mapping[str, int | str] = field(default_factory=dict)

    @cached_property
    def tags(self) -> Mapping[int, tuple[int, ...]]:
        """The numbers of the tags that decide how pixels are read: equal ones mean equal headers."""
        found = {tag: self.directory.numbers(tag) for tag in _SHAPE_TAGS if tag in self.directory}
        if self.sample is not None:
            kept = {tag: numbers[:1] for tag, numbers in found.items() if tag in (BITS, FORMAT)}
            found = {tag: numbers for tag, numbers in found.items() if tag != EXTRA} | kept
            found |= {SAMPLES: (1,), PLANAR: (1,)}
        return found

    def number(self, tag: int, absent: int) -> int:
        """Return the first number of a tag in `tags`; `absent` without it."""
        return next(iter(self.tags.get(tag, ())), absent)

    @property
    def is_tiled(self) -> bool:
        """Whether the pixels are in tiles, not in strips."""
        return TILES in self.directory

    @property
    def is_turned(self) -> bool:
        """Whether the bits of its bytes are reversed, and turned in `bytes_of`."""
        return self.number(FILL_ORDER, 1) == 2 and self.number(COMPRESSION, 1) in _TURNED_HERE

    @cached_property
    def segment_shape(self) -> tuple[int, int]:
        """Rows and columns of a strip or tile."""
        height, width = self.number(HEIGHT, 0), self.number(WIDTH, 0)
        if self.is_tiled:
            rows, columns = self.number(TILE_HEIGHT, 0), self.number(TILE_WIDTH, 0)
        else:
            rows, columns = min(height, self.directory.number(STRIP_ROWS, height)), width
        if rows < 1 or columns < 1:
            raise UnreadableImageError("damaged: strips or tiles without pixels")
        return rows, columns

    @property
    def segment_count(self) -> int:
        """The number of strips or tiles that the image needs."""
        rows, columns = self.segment_shape
        each = -(-self.number(HEIGHT, 0) // rows) * -(-self.number(WIDTH, 0) // columns)
        return each * (self.number(SAMPLES, 1) if self.number(PLANAR, 1) == _SEPARATE else 1)

    @property
    def _row_bytes(self) -> int:
        """The bytes of a row of a strip or tile that is not compressed."""
        samples = 1 if self.number(PLANAR, 1) == _SEPARATE else self.number(SAMPLES, 1)
        return -(-self.segment_shape[1] * max(self.tags.get(BITS, (1,))) * samples // 8)

    @property
    def plain_bytes(self) -> int:
        """The bytes of the image in the file if it is not compressed."""
        if self.is_tiled:
            return self._row_bytes * self.segment_shape[0] * self.segment_count
        separate = self.number(PLANAR, 1) == _SEPARATE
        return self._row_bytes * self.number(HEIGHT, 0) * (self.number(SAMPLES, 1) if separate else 1)

    def _plain_sizes(self) -> list[int]:
        """Return the bytes of each strip or tile if it is not compressed."""
        rows, height, count = self.segment_shape[0], self.number(HEIGHT, 0), self.segment_count
        if self.is_tiled:
            return [self._row_bytes * rows] * count
        each = [self._row_bytes * min(rows, height - top) for top in range(0, height, rows)]
        return each * (count // max(1, len(each)))

    def segments(self) -> list[Segment]:
        """Return the strips or tiles of the image, in order. UnreadableImageError if there are too few."""
        if not 0 < self.segment_count <= _MAX_SEGMENTS:
            raise UnreadableImageError(f"damaged: {self.segment_count:,} strips or tiles")
        offsets = self.directory.numbers(TILES if self.is_tiled else STRIPS)
        sizes: Sequence[int] = self.directory.numbers(TILE_BYTES if self.is_tiled else STRIP_BYTES)
        needed = self.segment_count
        start = 0 if self.sample is None else self.sample * needed
        offsets, sizes = offsets[start : start + needed], sizes[start : start + needed]
        if len(offsets) < needed:
            raise UnreadableImageError(f"damaged: {len(offsets)} strips or tiles, where {needed} are needed")
        plain = self.number(COMPRESSION, 1) == 1
        if plain:
            sizes = self._plain_sizes()  # some programs state other sizes; decoders go by the pixels too
        elif len(sizes) < needed:
            sizes = [min(_MAX_BYTES, self.file.size - offset) for offset in offsets]
        if sum(sizes) > _MAX_BYTES:
            raise UnreadableImageError(f"more than {_MAX_BYTES:,} bytes in a page")
        further = self.plane * sum(sizes)
        return [(offset + further, size) for offset, size in zip(offsets, sizes, strict=False)]

    def bytes_of(self, segment: Segment) -> bytes:
        """Read a strip or tile; bits in reverse order are turned."""
        offset, size = segment
        if offset <= 0 or size <= 0:
            raise UnreadableImageError("a strip or tile without data (a sparse file); write it anew")
        data = self.file.bytes_at(offset, size)
        return data.translate(_REVERSED) if self.is_turned else data

    def alone(self, with_pixels: bool = True, unsigned: bool = False) -> bytes:
        """Return a TIFF file of this image alone.

        with_pixels : without them, its strips or tiles have no bytes, and it serves for its header alone
        unsigned : says that signed samples are unsigned; a decoder then gives their bits
        """
        data = [self.bytes_of(segment) for segment in self.segments()] if with_pixels else [b""]
        values = self._values(unsigned)
        sizes = [len(one) for one in data]
        values[TILE_BYTES if self.is_tiled else STRIP_BYTES] = self._numbers(sizes)
        place = TILES if self.is_tiled else STRIPS
        values[place] = self._offsets([0] * len(sizes))
        start = 8 + 6 + 12 * len(values) + sum(_beside(value) for value in values.values())
        values[place] = self._offsets([start + before for before in _sums(sizes)])
        return self._joined(values, data)

    def _values(self, unsigned: bool) -> dict[int, Value]:
        known = self.directory
        values = {tag: _narrow(known.value(tag), known.order) for tag in _FURTHER_TAGS if tag in known}
        values |= {tag: self._numbers(numbers) for tag, numbers in self.tags.items()}
        if self.is_turned:
            del values[FILL_ORDER]
        if unsigned:
            del values[FORMAT]
        return values

    def _numbers(self, numbers: Sequence[int]) -> Value:
        """Return numbers as the value of a tag: of 16 bits if they fit."""
        kind = _SHORT if all(0 <= number < 1 << 16 for number in numbers) else _LONG
        form = f"{self.directory.order}{len(numbers)}{'H' if kind == _SHORT else 'I'}"
        return Value(kind, len(numbers), struct.pack(form, *numbers))

    def _offsets(self, offsets: Sequence[int]) -> Value:
        return Value(_LONG, len(offsets), struct.pack(f"{self.directory.order}{len(offsets)}I", *offsets))

    def _joined(self, values: Mapping[int, Value], data: Sequence[bytes]) -> bytes:
        order = self.directory.order
        head = (b"II" if order == "<" else b"MM") + struct.pack(f"{order}HI", 42, 8)
        entries, beside = [], []
        place = len(head) + 6 + 12 * len(values)
        for tag, value in sorted(values.items()):
            content = value.data.ljust(4, b"\0")
            if len(value.data) > 4:
                content = struct.pack(f"{order}I", place)
                beside.append(value.data + bytes(len(value.data) % 2))
                place += len(beside[-1])
            entries.append(struct.pack(f"{order}HHI", tag, value.kind, value.count) + content)
        count = struct.pack(f"{order}H", len(entries))
        return b"".join([head, count, *entries, bytes(4), *beside, *data])


def _beside(value: Value) -> int:
    """Return the bytes that a value takes outside its directory."""
    return len(value.data) + len(value.data) % 2 if len(value.data) > 4 else 0


def _sums(sizes: Sequence[int]) -> list[int]:
    """Return the sum of all sizes before each one."""
    sums, total = [], 0
    for size in sizes:
        sums.append(total)
        total += size
    return sums


def _narrow(value: Value, order: str) -> Value:
    """Return a value for classic TIFF, which has no numbers of 64 bits."""
    if value.kind not in (16, 17, 18):
        return value
    numbers = struct.unpack(f"{order}{value.count}Q", value.data)
    if any(number >= 1 << 32 for number in numbers):
        raise UnreadableImageError("damaged: a number of more than 32 bits in the description of a page")
    return Value(_LONG, value.count, struct.pack(f"{order}{value.count}I", *numbers))
