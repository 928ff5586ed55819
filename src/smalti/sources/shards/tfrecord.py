"""TFRecord files of Examples as records: one file, several, or a folder of them, as TensorFlow Datasets writes it.

Nothing states the columns of an Example, and each may have others. So all records are read once to find what each
feature holds: when the columns are first needed, which is not to count records.
"""

import re
from collections.abc import Callable, Container, Iterable, Iterator, Sequence

from smalti.imagefiles.format import HEAD_BYTES, UnreadableImageError
from smalti.imagefiles.table import IMAGE_SUFFIXES, format_of
from smalti.lazy import cached_property
from smalti.sources.folder.listing import is_hidden
from smalti.sources.records.record import RecordFiles, Records, Unreadable
from smalti.sources.shards.example import Feature, features_of, is_tensor, raw_image, tensor_of
from smalti.sources.shards.raw_images import image_array
from smalti.sources.shards.sample_columns import ColumnKind, SampleColumns, columns_of_kinds
from smalti.sources.shards.shard_folders import split_in
from smalti.sources.shards.shard_records import Sample, SampleValue, ShardRecords
from smalti.sources.shards.tfrecord_file import TFRecordFile, begins_as_tfrecord
from smalti.storage.location import Location, below, kind_of, list_files, open_binary, redacted

__all__ = ["TFRECORD_FILES", "ExampleReader"]

_SUFFIXES = (".tfrecord", ".tfrecords", ".tfrecord.gz", ".tfrecords.gz")
_NUMBERED = re.compile(r".*-\d{4,}-of-\d{4,}(\.gz)?")
_BESIDE = (".json", ".txt", ".md", ".index", ".idx")  # files that programs put beside shards
_CLASSES = "label.labels.txt"  # of TensorFlow Datasets: the name of each label in a line
_MAX_CLASSES_BYTES = 1 << 24
_MAX_TEXT_BYTES = 1 << 16

# Names of ImageNet's records, and of tutorials, and the names of the vocabulary that they stand for.
_KNOWN_AS = {
    "image/encoded": "image",
    "image/class/label": "label",
    "image/filename": "filename",
    "image_raw": "image",
    "image_bytes": "image",
    "encoded": "image",
}
_SIZES = {
    "height": ("height", "image/height", "rows"),
    "width": ("width", "image/width", "cols", "columns"),
    "channels": ("channels", "image/channels", "depth", "image/depth", "channel"),
}


class ExampleReader:
    """Reads samples from Examples, once it is known what the features of all of them hold."""

    def __init__(self, files: Sequence[TFRecordFile], description: str) -> None:
        self._files = files
        self._description = description

    def columns(self) -> SampleColumns:
        """Find the roles of the features. SourceError if none holds images."""
        return columns_of_kinds(self._kinds, self._description, known_as=_KNOWN_AS)

    def sample(self, data: memoryview | Unreadable, columns: Container[str]) -> Sample:
        """Return the values of these features of an Example."""
        if isinstance(data, Unreadable):
            return data
        try:
            features = features_of(data)
            return {name: self._value(name, feature, features) for name, feature in features.items() if name in columns}
        except (ValueError, UnreadableImageError) as error:
            return Unreadable(f"damaged: {str(error).splitlines()[0]}")

    @cached_property
    def _kinds(self) -> dict[str, ColumnKind]:
        """What each feature holds, of all records, by name."""
        found: dict[str, ColumnKind] = {}
        for file in self._files:
            for data in file.records(range(len(file))):
                try:
                    features = {} if isinstance(data, Unreadable) else features_of(data)
                    kinds = {name: _kind(feature) for name, feature in features.items()}
                except ValueError:  # it is skipped later, with its reason
                    continue
                for name, kind in kinds.items():
                    if kind is not None:
                        found[name] = _joined(found.get(name, kind), kind)
        return dict(sorted(found.items()))  # the order within a record means nothing

    def _value(self, name: str, feature: Feature, features: dict[str, Feature]) -> SampleValue:
        if feature.kind != "bytes":
            return next(iter(feature.number_values()), None)
        value = next(iter(feature.bytes_values()), None)
        kind = self._kinds.get(name)
        if value is None:
            return None
        if kind == "text":
            return bytes(value).decode()
        if format_of(bytes(value[:HEAD_BYTES])) is not None:
            return bytes(value)
        if is_tensor(value):
            return image_array(tensor_of(value))
        return raw_image(value, {size: _first_number(features, names) for size, names in _SIZES.items()})


def _kind(feature: Feature) -> ColumnKind | None:
    """Return what a feature of one record holds; None if it is empty."""
    if feature.kind != "bytes":
        count = len(feature.number_values())
        single: ColumnKind = "whole number" if feature.kind == "integers" else "scalar"
        return None if count == 0 else single if count == 1 else "other"
    values = feature.bytes_values()
    if not values:
        return None
    value = values[0]
    if len(values) > 1:
        return "other"
    if format_of(bytes(value[:HEAD_BYTES])) is not None:
        return "image"
    if is_tensor(value):
        return "array"
    return "text" if _is_text(value) else "bytes"


def _joined(first: ColumnKind, second: ColumnKind) -> ColumnKind:
    """Return what a feature holds that holds this in some records, and that in others."""
    pair = {first, second}
    if len(pair) == 1:
        return first
    if pair <= {"text", "bytes"}:
        return "bytes"
    if pair <= {"image", "array", "bytes", "text"}:
        return "image"
    return "other"


def _is_text(value: memoryview) -> bool:
    if len(value) > _MAX_TEXT_BYTES:
        return False
    try:
        return "\0" not in bytes(value).decode()
    except UnicodeDecodeError:
        return False


def _first_number(features: dict[str, Feature], names: Sequence[str]) -> int | None:
    for name in names:
        feature = features.get(name)
        if feature is not None and feature.kind == "integers":
            return next((value for value in feature.number_values() if isinstance(value, int)), None)
    return None


class _ExamplePart:
    """A file of Examples."""

    def __init__(self, file: TFRecordFile, reader: ExampleReader) -> None:
        self.description = file.description
        self._file, self._reader = file, reader

    def __len__(self) -> int:
        return len(self._file)

    def samples(self, numbers: Iterable[int], columns: Container[str]) -> Iterator[Sample]:
        for data in self._file.records(numbers):
            yield self._reader.sample(data, columns)


def _open(
    locations: Sequence[Location],
    description: str,
    splits: Sequence[str] | None = None,
    class_names: tuple[str, ...] | None = None,
) -> Records:
    files = [TFRecordFile(location) for location in locations]
    reader = ExampleReader(files, description)
    find_columns: Callable[[], SampleColumns] = reader.columns
    parts = [_ExamplePart(file, reader) for file in files]
    return ShardRecords(description, parts, find_columns, splits, class_names)


def _is_named(name: str) -> bool:
    """Whether a name is that of a TFRecord file: `a.tfrecord`, `set-train.tfrecord-00000-of-00002`."""
    name = name.lower()
    return name.endswith(_SUFFIXES) or (_NUMBERED.fullmatch(name) is not None and ".tfrecord" in name)


def _names(folder: Location) -> tuple[list[str], list[str]]:
    """The files of a folder that may be TFRecord files, and the others, without hidden ones; images end the search."""
    found: list[str] = []
    others: list[str] = []
    for name, _ in list_files(folder):
        if not any(is_hidden(part) for part in name.split("/")):
            is_shard = _is_named(name) or _NUMBERED.fullmatch(name.rpartition("/")[2]) is not None
            (found if is_shard else others).append(name)
            if name.lower().endswith(tuple(IMAGE_SUFFIXES)):
                return [], others
    return found, others


def _is_folder(folder: Location) -> bool:
    """Whether a folder holds TFRecord files, also `train-00000-of-00002`, and at most notes of programs beside them.

    img2dataset writes `00000.parquet` beside `00000.tfrecord`: a table of the images that it fetched.
    """
    found, others = _names(folder)
    tables = {f"{name.removesuffix(_SUFFIXES[0])}.parquet" for name in found}
    if not found or not all(name.lower().endswith(_BESIDE) or name in tables for name in others):
        return False
    return _is_named(found[0]) or begins_as_tfrecord(below(folder, found[0]))


def _files_in(folder: Location) -> tuple[str, ...]:
    return tuple(_names(folder)[0])


def _open_folder(folder: Location, names: Sequence[str]) -> Records:
    """Open files of a folder. If every name states its split, it is the field "split"."""
    splits = [split for name in names if (split := split_in(name)) is not None]
    return _open(
        [below(folder, name) for name in names],
        redacted(folder),
        splits if len(splits) == len(names) else None,
        _class_names(folder),
    )


def _class_names(folder: Location) -> tuple[str, ...] | None:
    """Return the names of labels, if a file of TensorFlow Datasets states them."""
    location = below(folder, _CLASSES)
    if kind_of(location) != "file":
        return None
    with open_binary(location) as file:
        lines = file.read(_MAX_CLASSES_BYTES).decode("utf-8", "replace").splitlines()
    return tuple(line.strip() for line in lines) or None


TFRECORD_FILES = RecordFiles(_SUFFIXES, _open, _is_folder, _files_in, _open_folder, _is_named)
"""TFRecord files of Examples."""
