"""The samples of shards as records: parts that read samples, and columns whose roles are known or found.

Each kind of shard is a `SamplePart` in a module beside this one; the rest is the same for all, and is here.
"""

import itertools
import logging
from collections.abc import Callable, Container, Iterable, Iterator, Mapping, Sequence
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from smalti.errors import SourceError
from smalti.imagefiles.format import SOURCE_MODE
from smalti.images.batch import Scalar, SkippedFile
from smalti.images.vocabulary import LABEL, SPLIT_FIELD
from smalti.lazy import cached_property
from smalti.sources.records.record import EntryData, RawImage, Record, Unreadable
from smalti.sources.records.record_labels import Labels
from smalti.sources.shards.raw_images import INDICES_MODE
from smalti.sources.shards.sample_columns import SampleColumns
from smalti.sources.tables.table_records import relative_name

__all__ = ["Sample", "SamplePart", "SampleValue", "ShardRecords"]

SampleValue = EntryData | Scalar | None
Sample = Mapping[str, SampleValue] | Unreadable
"""The values of a sample by column; or the reason why it cannot be read."""

_INT64 = range(-(1 << 63), 1 << 63)

_log = logging.getLogger("smalti")


class SamplePart(Protocol):
    """A shard."""

    @property
    def description(self) -> str:
        """What messages call it."""

    def __len__(self) -> int:
        """Return the number of samples."""

    def samples(self, numbers: Iterable[int], columns: Container[str]) -> Iterator[Sample]:
        """Yield the samples with these ascending numbers, with the values of these columns.

        SourceError if the shard cannot be read any further.
        """


class ShardRecords:
    """The samples of several shards, shard after shard.

    find_columns : finds the roles of the columns; called once, when they are first needed
    splits : the split of each shard, which becomes the field "split"; None without splits
    class_names : the names of labels, if a file states them

    Labels that are texts become classes, sorted by name; to find them, all samples are read once.
    """

    def __init__(
        self,
        description: str,
        parts: Sequence[SamplePart],
        find_columns: Callable[[], SampleColumns],
        splits: Sequence[str] | None = None,
        class_names: tuple[str, ...] | None = None,
        skipped: Sequence[SkippedFile] = (),
    ) -> None:
        self.description = description
        self.skipped = tuple(skipped)
        self._parts = tuple(parts)
        self._find_columns = find_columns
        self._splits = splits
        self._stated = class_names
        self._starts = [0, *itertools.accumulate(len(part) for part in parts)]
        self._has_warned = False

    @cached_property
    def _columns(self) -> SampleColumns:
        return self._find_columns()

    @cached_property
    def _labels(self) -> Labels:
        """What is known of all labels. Numbers are not read for this."""
        labels, column = Labels(), self._columns.label
        if self._stated is not None:
            labels.name_them(self._stated, self.description)
        if column is not None and self._columns.has_words:
            for part in self._parts:
                for sample in part.samples(range(len(part)), (column,)):
                    labels.see(_label(sample, column))
        return labels

    @property
    def class_names(self) -> tuple[str, ...] | None:
        """The names of labels 0, 1, ...; None if labels have no names."""
        return self._labels.class_names()

    @property
    def field_names(self) -> tuple[str, ...]:
        """The names of the further columns, of labels that are no classes, and of the split."""
        made = [*[LABEL] * self._labels.are_field, *[SPLIT_FIELD] * (self._splits is not None)]
        return tuple(dict.fromkeys([*self._columns.fields, *made]))

    def __len__(self) -> int:
        return self._starts[-1]

    def read(self, entries: Iterable[int]) -> Iterator[tuple[int, Record]]:
        """Yield the samples with these ascending numbers; a shard without any of them is not opened."""
        numbers = entries if isinstance(entries, range) and entries.step == 1 else np.asarray(entries, np.int64)
        columns = self._columns
        used = [name for name in (columns.image, columns.label, columns.name, *columns.fields) if name is not None]
        for number, part in enumerate(self._parts):
            start, end = self._starts[number : number + 2]
            requested = _within(numbers, start, end)
            if requested:
                samples = part.samples((entry - start for entry in requested), used)
                for entry, sample in zip(requested, samples, strict=True):
                    yield entry, self._record(sample, number)

    def _record(self, sample: Sample, part: int) -> Record:
        if isinstance(sample, Unreadable):
            return Record(None, sample)
        columns = self._columns
        name = sample.get(columns.name) if columns.name is not None else None
        path = relative_name(name) if isinstance(name, str) and name else None
        label = self._labels.plain(_label(sample, columns.label))
        fields = {key: _scalar(sample.get(key)) for key in columns.fields}
        if self._splits is not None and SPLIT_FIELD not in fields:
            fields[SPLIT_FIELD] = self._splits[part]
        if self._labels.are_field:
            fields[LABEL], label = label, None
        return Record(path, self._image(sample), label, fields)

    def _image(self, sample: Mapping[str, SampleValue]) -> EntryData:
        image = sample.get(self._columns.image)
        if isinstance(image, RawImage) and image.fields.get(SOURCE_MODE) == INDICES_MODE and not self._has_warned:
            self._has_warned = True
            words = "%s: images of mode P come without their palette, which the format does not keep: as grey indices"
            _log.warning(words, self.description)
        if isinstance(image, bytes | np.ndarray | RawImage | Unreadable):
            return image
        return Unreadable("no image in this sample")


def _within(numbers: range | NDArray[np.int64], start: int, end: int) -> Sequence[int]:
    """Return those of these ascending numbers that are in [start, end)."""
    if isinstance(numbers, range):
        return range(max(start, numbers.start), min(end, numbers.stop))
    first, last = np.searchsorted(numbers, [start, end])
    found: list[int] = numbers[first:last].tolist()
    return found


def _scalar(value: SampleValue) -> Scalar | None:
    return value if isinstance(value, bool | int | float | str) else None


def _label(sample: Sample, column: str | None) -> int | str | None:
    """Return the label of a sample; SourceError for an integer beyond int64."""
    label = None if column is None or isinstance(sample, Unreadable) else sample.get(column)
    if isinstance(label, int) and label not in _INT64:
        raise SourceError(f"a label is {label}, beyond 64 bits; number the labels from 0")
    return label if isinstance(label, int | str) else None
