"""Sources of images that are decoded one by one: the entries of one shape and dtype of a `Records`."""

from collections.abc import Iterator, Sequence

import numpy as np
from numpy.typing import NDArray

from smalti.errors import SourceError
from smalti.imagefiles.format import ImageHeader, UnreadableImageError
from smalti.images.batch import ImageBatch, Pixels, Scalar, SkippedFile
from smalti.sources.records.record import Record, Records, ShapeGroup, Survey, entry_name, image_of, survey

__all__ = ["RecordSource", "sources_of", "usual_of"]

_REASONS_SHOWN = 3
_MODES = ("L", "LA", "RGB", "RGBA")

_Decoded = tuple[ImageHeader, Pixels] | UnreadableImageError


class RecordSource:
    """The images of one shape and dtype of a source, in the order of its entries.

    Its own entries are those of the group, numbered from 0. What cannot be decoded is found in a pass, and passed over
    in each: an image that was read once and cannot be read again, or has another shape than its header said on
    opening, is a SourceError. Memory: 9 bytes an entry, besides what the records take.

    found : what `survey` said of the records
    group : the number of the group
    entries : its entries (`Survey.entries`)
    told : what was passed over besides, and is to be told by this source
    """

    def __init__(
        self,
        records: Records,
        found: Survey,
        group: int,
        entries: NDArray[np.int64],
        told: Sequence[SkippedFile] = (),
    ) -> None:
        self.description = records.description
        self.class_names = records.class_names if found.labelled else None
        self.image_shape, self.dtype = found.groups[group]
        self._label_of = {name: label for label, name in enumerate(records.class_names or ())}
        self._records = records
        self._found = found
        self._entries = entries
        self._told = tuple(told)
        self._unreadable: dict[int, SkippedFile] = {}  # by position among the entries
        self._was_read = np.zeros(len(entries), np.bool_)

    @property
    def skipped(self) -> tuple[SkippedFile, ...]:
        """What was passed over so far, by name; complete after a full pass."""
        return tuple(sorted([*self._told, *self._unreadable.values()], key=lambda file: file.name.split("/")))

    def __len__(self) -> int:
        return len(self._entries)

    def batches(self, batch_images: int, start: int = 0, stop: int | None = None) -> Iterator[ImageBatch]:
        """Yield the readable images of entries `start` to `stop`, each once, in order."""
        first, last, _ = slice(start, stop).indices(len(self))
        return self.batches_at(np.arange(first, max(first, last)), batch_images)

    def batches_at(self, entries: NDArray[np.int64], batch_images: int) -> Iterator[ImageBatch]:
        """Yield the readable images of these entries, which ascend, each once, in order; no others are decoded."""
        positions = iter(entries.tolist())
        records = self._records.read(self._entries[entries])
        left = len(entries)
        while left > 0:
            pixels = np.empty((min(batch_images, left), *self.image_shape), self.dtype)
            kept: list[tuple[Record, ImageHeader]] = []
            while left > 0 and len(kept) < len(pixels):
                some = [(next(positions), *next(records)) for _ in range(min(left, len(pixels) - len(kept)))]
                left -= len(some)
                for position, entry, record in some:
                    image = self._taken(position, entry, record, self._decode(position, record))
                    if image is not None:
                        pixels[len(kept)] = image[1]
                        kept.append((record, image[0]))
            if kept:
                yield self._batch(pixels[: len(kept)], kept)

    def _decode(self, position: int, record: Record) -> _Decoded | None:
        """Decode an entry; None for one that is passed over already."""
        if position in self._unreadable:
            return None
        try:
            return image_of(record.data)
        except UnreadableImageError as error:
            return error

    def _taken(
        self, position: int, entry: int, record: Record, decoded: _Decoded | None
    ) -> tuple[ImageHeader, Pixels] | None:
        """The image of an entry, or None if it is passed over, which is decided when it is first met."""
        if decoded is None:
            return None
        name = entry_name(record, entry, len(self._records))
        if isinstance(decoded, UnreadableImageError):
            if self._was_read[position]:
                raise SourceError(
                    f"{self.description}: {name}: changed while it was read ({decoded}); start again"
                ) from decoded
            self._unreadable[position] = SkippedFile(name, str(decoded))
            return None
        group = decoded[0].shape, decoded[0].dtype
        if group != (self.image_shape, self.dtype):
            now = f"is {group_words(group)}, was {group_words((self.image_shape, self.dtype))}"
            raise SourceError(f"{self.description}: {name}: changed while it was read ({now}); start again")
        self._was_read[position] = True
        return decoded

    def _batch(self, pixels: Pixels, kept: Sequence[tuple[Record, ImageHeader]]) -> ImageBatch:
        found = self._found
        names = tuple(record.name or "" for record, _ in kept) if found.named else None
        labels = np.array([self._label(record) for record, _ in kept], np.int64) if found.labelled else None
        fields = {name: [_field(name, record, header, found) for record, header in kept] for name in found.field_names}
        return ImageBatch(pixels, labels, names, fields)

    def _label(self, record: Record) -> int:
        if isinstance(record.label, str):
            if record.label not in self._label_of:
                raise SourceError(f"{self.description}: {record.name}: {record.label!r} is none of its classes")
            return self._label_of[record.label]
        if record.label is None:
            raise SourceError(f"{self.description}: {record.name}: lost its label while it was read; start again")
        return record.label


def sources_of(records: Records) -> tuple[RecordSource, ...]:
    """One source for each shape and dtype in `records`, in the order in which each first comes.

    What belongs to none of them is told by the first alone, so that all together tell everything once.
    Raises SourceError if nothing can be read.
    """
    found = _found(records)
    told = [*records.skipped, *found.unreadable.values()]
    return tuple(
        RecordSource(records, found, group, entries, told if group == 0 else ())
        for group, entries in enumerate(found.entries())
    )


def usual_of(records: Records) -> RecordSource:
    """The images of the most common shape and dtype in `records`; of equally many, of the one met first.

    The others are passed over, with the reason. Raises SourceError if nothing can be read.
    """
    found = _found(records)
    groups = found.entries()
    usual = max(range(len(groups)), key=lambda group: len(groups[group]))
    told = [*records.skipped, *found.unreadable.values()]
    others = np.flatnonzero((found.group_of >= 0) & (found.group_of != usual))
    for entry, record in records.read(others) if len(others) else ():
        words = f"{group_words(found.groups[found.group_of[entry]])}; most are {group_words(found.groups[usual])}"
        told.append(SkippedFile(entry_name(record, entry, len(records)), words))
    return RecordSource(records, found, usual, groups[usual], told)


def group_words(group: ShapeGroup) -> str:
    """A group in words for a message: "28x28 L", "64x48 RGB of 16 bits"."""
    (height, width, channels), dtype = group
    return f"{height}x{width} {_MODES[channels - 1]}{' of 16 bits' if dtype == np.uint16 else ''}"


def _found(records: Records) -> Survey:
    found = survey(records)
    if found.groups:
        return found
    told = sorted([*records.skipped, *found.unreadable.values()], key=lambda file: file.name.split("/"))
    if not told:
        raise SourceError(f"{records.description}: holds no files; give images")
    shown = "; ".join(f"{file.name}: {file.reason}" for file in told[:_REASONS_SHOWN])
    more = len(told) - _REASONS_SHOWN
    raise SourceError(f"{records.description}: no readable image: {shown}{f'; and {more} more' if more > 0 else ''}")


def _field(name: str, record: Record, header: ImageHeader, found: Survey) -> Scalar | None:
    if name in header.fields:
        return header.fields[name]
    value = record.fields.get(name)
    if value is None and name in found.partial:
        return record.name if name == "name" else record.label
    return value
