"""Sources that decode records one by one: the entries of one shape and dtype, or of all sizes of one kind of pixel.

Which shapes there are, `record.survey` has found. Layer: see `record`.
"""

from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from smalti.errors import SourceError
from smalti.imagefiles.format import ImageFile, ImageHeader, UnreadableImageError
from smalti.images.batch import ImageBatch, PixelDtype, Pixels, Scalar, SkippedFile
from smalti.images.sized import batch_limit
from smalti.lazy import cached_property
from smalti.sources.records.record import PlacedImage, Record, Records, ShapeGroup, Survey, images_of, survey

__all__ = [
    "RecordSource",
    "SizedRecordSource",
    "group_words",
    "kind_words",
    "sized_sources_of",
    "sources_of",
    "surveyed",
    "usual_any_size_of",
    "usual_of",
]

_REASONS_SHOWN = 3
_MODES = ("L", "LA", "RGB", "RGBA")

_Decoded = tuple[ImageHeader, Pixels] | UnreadableImageError


@dataclass(frozen=True, slots=True)
class _Readable:
    """What is known of a decoded image. name : its own, or None"""

    header: ImageHeader
    record: Record
    name: str | None


class _RecordImages:
    """Some images of `records`, decoded one by one, with their columns: what is the same for one size and for many.

    An image that cannot be decoded is found during a pass, and skipped in every pass. An image that was read once and
    cannot be read again, or has another shape than its header said on opening, is a SourceError. Memory: 9 bytes per
    image, and the records.

    found : the survey of the records
    entries : the numbers of the images in the survey, ascending; positions among them are what callers count by
    skipped : files outside these images that this source lists as skipped
    """

    def __init__(
        self, records: Records, found: Survey, entries: NDArray[np.int64], skipped: Sequence[SkippedFile]
    ) -> None:
        self.description = records.description
        self.class_names = records.class_names if found.labelled else None
        self._label_of = {name: label for label, name in enumerate(records.class_names or ())}
        self._records = records
        self._found = found
        self._entries = entries
        self._skipped = tuple(skipped)
        self._unreadable: dict[int, SkippedFile] = {}  # by position in `entries`
        self._was_read = np.zeros(len(entries), np.bool_)

    @property
    def skipped(self) -> tuple[SkippedFile, ...]:
        """The files skipped so far, by name; complete after a full pass."""
        return tuple(sorted([*self._skipped, *self._unreadable.values()], key=lambda file: file.name.split("/")))

    def __len__(self) -> int:
        return len(self._entries)

    def batches(self, batch_images: int, start: int = 0, stop: int | None = None) -> Iterator[ImageBatch]:
        """Yield the readable images of entries [start, stop), each once, in order."""
        first, last, _ = slice(start, stop).indices(len(self))
        return self.batches_at(np.arange(first, max(first, last)), batch_images)

    def batches_at(self, entries: NDArray[np.int64], batch_images: int) -> Iterator[ImageBatch]:
        """Yield the readable images of these ascending entries, each once, in order; no others are decoded.

        All images of a batch have one size: where the next entry has another, the batch ends.
        """
        numbers = self._entries[entries]
        groups = self._found.group_of[numbers]
        ends = [*(np.flatnonzero(np.diff(groups)) + 1).tolist(), len(entries)] if len(entries) else []
        images = self._images(entries, numbers)
        done = 0
        for end in ends:
            shape, dtype = self._found.groups[groups[done]]
            most = self._most(batch_images, shape, dtype)
            while done < end:
                pixels = np.empty((min(most, end - done), *shape), dtype)
                readable: list[_Readable] = []
                while done < end and len(readable) < len(pixels):
                    done += 1
                    image = next(images)
                    if image is not None:
                        pixels[len(readable)] = image[1]
                        readable.append(image[0])
                if readable:
                    yield self._batch(pixels[: len(readable)], readable)

    def _images(
        self, positions: NDArray[np.int64], numbers: NDArray[np.int64]
    ) -> Iterator[tuple[_Readable, Pixels] | None]:
        """Yield images in order, None for one that is skipped. A file of several images is opened once for them."""
        place = iter(positions.tolist())
        for record, images in self._found.records_of(self._records, numbers):
            own = [next(place) for _ in images]
            if all(position in self._unreadable for position in own):
                yield from [None] * len(own)
                continue
            with ExitStack() as files:
                file: ImageFile | UnreadableImageError
                try:
                    file = files.enter_context(images_of(record.data))
                except UnreadableImageError as error:
                    file = error
                for position, image in zip(own, images, strict=True):
                    yield self._accept(position, image, record, self._decode(position, image, file))

    def _most(self, batch_images: int, shape: tuple[int, int, int], dtype: PixelDtype) -> int:
        """The most images of this shape in a batch."""
        return batch_images

    def _decode(self, position: int, image: PlacedImage, file: ImageFile | UnreadableImageError) -> _Decoded | None:
        """Decode an image; None for one that is skipped already."""
        if position in self._unreadable:
            return None
        if isinstance(file, UnreadableImageError):
            return file
        try:
            return file.image(image.number)
        except UnreadableImageError as error:
            return error

    def _accept(
        self, position: int, image: PlacedImage, record: Record, decoded: _Decoded | None
    ) -> tuple[_Readable, Pixels] | None:
        """Return an image, or None if it is skipped. The first pass over it decides."""
        if decoded is None:
            return None
        if isinstance(decoded, UnreadableImageError):
            if self._was_read[position]:
                raise SourceError(
                    f"{self.description}: {image.name}: changed while it was read ({decoded}); start again"
                ) from decoded
            self._unreadable[position] = SkippedFile(image.name, str(decoded))
            return None
        header, pixels = decoded
        group, surveyed = (header.shape, header.dtype), self._found.groups[self._found.group_of[image.image]]
        if group != surveyed:
            now = f"is {group_words(group)}, was {group_words(surveyed)}"
            raise SourceError(f"{self.description}: {image.name}: changed while it was read ({now}); start again")
        self._was_read[position] = True
        name = image.name if image.is_one_of_several and record.name is not None else record.name
        return _Readable(header, record, name), pixels

    def _batch(self, pixels: Pixels, readable: "Sequence[_Readable]") -> ImageBatch:
        found = self._found
        names = tuple(image.name or "" for image in readable) if found.named else None
        labels = np.array([self._label(image.record) for image in readable], np.int64) if found.labelled else None
        fields = {name: [_field(name, image, found) for image in readable] for name in found.field_names}
        return ImageBatch(pixels, labels, names, fields)

    def _label(self, record: Record) -> int:
        if isinstance(record.label, str):
            if record.label not in self._label_of:
                raise SourceError(f"{self.description}: {record.name}: {record.label!r} is none of its classes")
            return self._label_of[record.label]
        if record.label is None:
            raise SourceError(f"{self.description}: {record.name}: lost its label while it was read; start again")
        return record.label


class RecordSource(_RecordImages):
    """The images of one group of `records`, in the order of its entries, which are numbered from 0.

    found : the survey of the records
    group : an index into `found.groups`
    entries : the entries of that group (`Survey.entries`)
    skipped : files outside the group that this source lists as skipped
    """

    def __init__(
        self,
        records: Records,
        found: Survey,
        group: int,
        entries: NDArray[np.int64],
        skipped: Sequence[SkippedFile] = (),
    ) -> None:
        super().__init__(records, found, entries, skipped)
        self.image_shape, self.dtype = found.groups[group]


class SizedRecordSource(_RecordImages):
    """The images of `records` of one number of channels and one dtype, whatever their sizes: a SizedSource.

    found : the survey of the records
    channels, dtype : of the images
    entries : the entries of such images, ascending
    skipped : files outside these entries that this source lists as skipped
    """

    def __init__(
        self,
        records: Records,
        found: Survey,
        channels: int,
        dtype: PixelDtype,
        entries: NDArray[np.int64],
        skipped: Sequence[SkippedFile] = (),
    ) -> None:
        super().__init__(records, found, entries, skipped)
        self.channels, self.dtype = channels, dtype

    @cached_property
    def sizes(self) -> NDArray[np.int64]:
        """Height and width of each entry, as its header says: int64 [n, 2]."""
        shapes = np.array([shape[:2] for shape, _ in self._found.groups], np.int64)
        return shapes[self._found.group_of[self._entries]]

    def _most(self, batch_images: int, shape: tuple[int, int, int], dtype: PixelDtype) -> int:
        return batch_limit(batch_images, shape, dtype)


def sources_of(records: Records, found: Survey | None = None) -> tuple[RecordSource, ...]:
    """Return one source for each shape and dtype in `records`, in the order in which they first occur.

    found : their survey, if it is known

    Files that belong to no source are listed by the first one, so every skipped file is listed once. SourceError if
    no image can be read.
    """
    found = found or surveyed(records)
    skipped = [*records.skipped, *found.unreadable.values()]
    return tuple(
        RecordSource(records, found, group, entries, skipped if group == 0 else ())
        for group, entries in enumerate(found.images())
    )


def sized_sources_of(records: Records, found: Survey | None = None) -> tuple[SizedRecordSource, ...]:
    """Return one source for each number of channels and dtype in `records`, in the order in which they first occur.

    The rest is as for `sources_of`.
    """
    found = found or surveyed(records)
    skipped = [*records.skipped, *found.unreadable.values()]
    return tuple(
        SizedRecordSource(records, found, channels, dtype, entries, skipped if number == 0 else ())
        for number, (channels, dtype, entries) in enumerate(_kinds_of_pixel(found))
    )


def usual_any_size_of(records: Records, found: Survey | None = None) -> SizedRecordSource:
    """Return the source of the most common number of channels and dtype; the first of equally common ones.

    Other images are skipped, with the reason.
    """
    found = found or surveyed(records)
    kinds = _kinds_of_pixel(found)
    channels, dtype, entries = max(kinds, key=lambda kind: len(kind[2]))
    others = np.setdiff1d(np.flatnonzero(found.group_of >= 0), entries, assume_unique=True)
    skipped = _passed_over(records, found, others, kind_words(channels, dtype))
    return SizedRecordSource(records, found, channels, dtype, entries, skipped)


def _kinds_of_pixel(found: Survey) -> list[tuple[int, PixelDtype, NDArray[np.int64]]]:
    """Every number of channels and dtype, with its entries, in the order in which they first occur."""
    kinds = list(dict.fromkeys((shape[2], dtype) for shape, dtype in found.groups))
    kind_of = np.array([kinds.index((shape[2], dtype)) for shape, dtype in found.groups])
    kind_of_entry = np.where(found.group_of < 0, -1, kind_of[found.group_of])
    return [(*kind, np.flatnonzero(kind_of_entry == number)) for number, kind in enumerate(kinds)]


def usual_of(records: Records, found: Survey | None = None) -> RecordSource:
    """Return the source of the most common shape and dtype in `records`; the first of equally common ones.

    found : their survey, if it is known

    Images of other shapes are skipped, with the reason. SourceError if no image can be read.
    """
    found = found or surveyed(records)
    groups = found.images()
    usual = max(range(len(groups)), key=lambda group: len(groups[group]))
    others = np.flatnonzero((found.group_of >= 0) & (found.group_of != usual))
    skipped = _passed_over(records, found, others, group_words(found.groups[usual]))
    return RecordSource(records, found, usual, groups[usual], skipped)


def _passed_over(records: Records, found: Survey, others: NDArray[np.int64], usual: str) -> list[SkippedFile]:
    """All files that are skipped if these entries are: with what most images are, in words."""
    skipped = [*records.skipped, *found.unreadable.values()]
    for _, images in found.records_of(records, others):
        for image in images:
            words = f"{group_words(found.groups[found.group_of[image.image]])}; most are {usual}"
            skipped.append(SkippedFile(image.name, words))
    return skipped


def group_words(group: ShapeGroup) -> str:
    """Return a shape and dtype in words for a message: "28x28 L", "64x48 RGB of 16 bits"."""
    (height, width, channels), dtype = group
    return f"{height}x{width} {kind_words(channels, dtype)}"


def kind_words(channels: int, dtype: PixelDtype) -> str:
    """Return channels and dtype in words for a message: "L", "RGB of 16 bits"."""
    return f"{_MODES[channels - 1]}{' of 16 bits' if dtype == np.uint16 else ''}"


def surveyed(records: Records) -> Survey:
    """Return the survey of records; SourceError, with the first reasons, if no image can be read."""
    found = survey(records)
    if found.groups:
        return found
    skipped = sorted([*records.skipped, *found.unreadable.values()], key=lambda file: file.name.split("/"))
    if not skipped:
        raise SourceError(f"{records.description}: holds no files; give images")
    shown = "; ".join(f"{file.name}: {file.reason}" for file in skipped[:_REASONS_SHOWN])
    more = len(skipped) - _REASONS_SHOWN
    raise SourceError(f"{records.description}: no readable image: {shown}{f'; and {more} more' if more > 0 else ''}")


def _field(name: str, image: _Readable, found: Survey) -> Scalar | None:
    if name in image.header.fields:
        return image.header.fields[name]
    value = image.record.fields.get(name)
    if value is None and name in found.partial:
        return image.name if name == "name" else image.record.label
    return value
