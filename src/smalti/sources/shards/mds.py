"""MDS, the shards of MosaicML Streaming, read without it: a folder with an `index.json`, or one for each split.

A shard (`streaming/base/format/mds`, version 2) is the number of samples, uint32; the offset of each sample and the end
of the last, uint32; the samples. A sample is the size of each column of no fixed size, uint32; then all columns.
"""

import hashlib
import itertools
import logging
from collections.abc import Container, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from io import BytesIO
from typing import Any, BinaryIO, cast

import numpy as np
from numpy.typing import NDArray

from smalti.errors import SourceError
from smalti.imagefiles.format import UnreadableImageError
from smalti.images.vocabulary import CLASS_NAMES_FILE
from smalti.sources.folder.metadata import read_class_names
from smalti.sources.records.record import Unreadable
from smalti.sources.records.record_labels import Labels
from smalti.sources.shards.mds_columns import kind_of_encoding, value_of
from smalti.sources.shards.packed import unpacked
from smalti.sources.shards.sample_columns import columns_of_kinds
from smalti.sources.shards.shard_folders import INDEX, has_index, indexes_of, shard_location, splits_of
from smalti.sources.shards.shard_records import Sample, SampleValue, ShardRecords
from smalti.storage.location import Location, below, kind_of, open_binary, redacted, size_bytes

__all__ = ["is_mds_folder", "open_mds_folder"]

_VERSION = 2
_MAX_SAMPLE_BYTES = 1 << 30
_READ_BYTES = 1 << 20

_log = logging.getLogger("smalti")


def is_mds_folder(folder: Location) -> bool:
    """Whether a folder holds shards of MDS."""
    return has_index(folder, "shards")


def open_mds_folder(folder: Location) -> ShardRecords:
    """Open the shards of a folder in the order of its index; those of sub-folders have the field "split".

    Raises SourceError if an index or a shard is damaged, or if no column holds images.
    """
    shards: list[MdsShard] = []
    folders: list[str] = []
    classes = Labels()
    for name, location, index in indexes_of(folder, "shards"):
        where = redacted(below(location, INDEX))
        if index.get("version") != _VERSION:
            raise SourceError(f"{where}: version {index.get('version')!r} of MDS; version {_VERSION} is read")
        shards += [MdsShard(location, _layout(shard, where)) for shard in index["shards"]]
        folders += [name] * len(index["shards"])
        beside = below(location, CLASS_NAMES_FILE)
        if kind_of(beside) == "file":  # smalti's own: MDS has no place for class names
            classes.name_them(read_class_names(beside), redacted(beside))
    if not shards:
        raise SourceError(f"{redacted(folder)}: lists no shards; write them again")
    encodings = shards[0].layout.encodings
    for shard in shards[1:]:
        if shard.layout.encodings != encodings:
            raise SourceError(f"{shard.description}: its columns are not those of {shards[0].description}")
    kinds = {name: kind_of_encoding(encoding) for name, encoding in encodings.items()}
    return ShardRecords(
        redacted(folder),
        shards,
        lambda: columns_of_kinds(kinds, redacted(folder)),
        splits_of(folders),
        classes.class_names(),
    )


@dataclass(frozen=True)
class MdsFile:
    """A file that an index names: its size and its hashes by algorithm."""

    name: object
    size_bytes: int
    hashes: Mapping[str, str]


@dataclass(frozen=True)
class MdsLayout:
    """What an index says of a shard.

    encodings : by column, in the order in which samples have them
    sizes : the size of each column; 0 for columns of no fixed size
    raw, packed : the shard, and the same compressed; None if it is not
    compression : the algorithm, or None
    """

    encodings: Mapping[str, str]
    sizes: tuple[int, ...]
    samples: int
    raw: MdsFile
    packed: MdsFile | None
    compression: str | None


def _layout(shard: object, where: str) -> MdsLayout:
    """Check what an index says of a shard; SourceError if something is missing, or of a wrong type."""
    try:
        if not isinstance(shard, dict) or shard["format"] != "mds":
            kind = shard.get("format") if isinstance(shard, dict) else shard
            raise SourceError(f"{where}: a shard of format {kind!r}; 'mds' is read")
        names, encodings, sizes = shard["column_names"], shard["column_encodings"], shard["column_sizes"]
        if not all(isinstance(text, str) for text in (*names, *encodings)) or len(set(names)) < len(names):
            raise ValueError("names of columns")
        layout = MdsLayout(
            dict(zip(names, encodings, strict=True)),
            tuple(_count(size or 0) for size in sizes),
            _count(shard["samples"]),
            _file(shard["raw_data"]),
            _file(shard["zip_data"]) if shard.get("zip_data") else None,
            shard.get("compression"),
        )
        if len(layout.sizes) != len(names) or not isinstance(layout.compression, str | None):
            raise ValueError("sizes of columns, or a compression")
        if 4 * layout.samples > layout.raw.size_bytes:
            raise ValueError("more samples than bytes")
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        if isinstance(error, SourceError):
            raise
        raise SourceError(f"{where}: says nothing sound of a shard ({error!r:.80}); write it again") from error
    return layout


def _file(found: Mapping[str, Any]) -> MdsFile:
    hashes = {str(name): str(value) for name, value in (found.get("hashes") or {}).items()}
    return MdsFile(found["basename"], _count(found["bytes"]), hashes)


def _count(value: object) -> int:
    if not isinstance(value, int) or isinstance(value, bool) or not 0 <= value < 1 << 62:
        raise ValueError(f"{value!r} for a number")
    return value


class MdsShard:
    """One shard. Its hashes are checked before the first sample is read.

    folder : the folder of its index
    """

    def __init__(self, folder: Location, layout: MdsLayout) -> None:
        self.layout = layout
        where = redacted(below(folder, INDEX))
        self._raw = shard_location(folder, layout.raw.name, where)
        self._packed = None if layout.packed is None else shard_location(folder, layout.packed.name, where)
        self.description = redacted(self._raw)
        self._is_checked = False

    def __len__(self) -> int:
        return self.layout.samples

    def samples(self, numbers: Iterable[int], columns: Container[str]) -> Iterator[Sample]:
        """Yield samples; one that is damaged comes as Unreadable."""
        with self._opened() as (file, size):
            offsets = self._offsets(file, size)
            for number in numbers:
                start, end = offsets[number : number + 2].tolist()
                if end - start > _MAX_SAMPLE_BYTES:
                    yield Unreadable(f"{end - start:,} bytes, more than a sample has")
                    continue
                file.seek(start)
                yield self._sample(file.read(end - start), columns)

    @contextmanager
    def _opened(self) -> Iterator[tuple[BinaryIO, int]]:
        """Open the shard, unpacked in memory if it is packed; with its size in bytes."""
        layout = self.layout
        if self._packed is None or layout.packed is None or kind_of(self._raw) == "file":
            self._check_size(size_bytes(self._raw), layout.raw.size_bytes)
            with open_binary(self._raw) as file:
                self._check_hashes(file, layout.raw.hashes)
                yield file, layout.raw.size_bytes
            return
        self._check_size(size_bytes(self._packed), layout.packed.size_bytes)
        with open_binary(self._packed) as packed:
            self._check_hashes(packed, layout.packed.hashes)
            packed.seek(0)
            data = unpacked(layout.compression or "none", packed.read(), self.description, layout.raw.size_bytes)
        memory = cast(BinaryIO, BytesIO(data))
        self._check_hashes(memory, layout.raw.hashes)
        self._is_checked = True
        yield memory, len(data)

    def _check_size(self, found: int, stated: int) -> None:
        if found != stated:
            words = f"has {found:,} bytes, not {stated:,} as its index says"
            raise SourceError(f"{self.description}: {words}; copy it again")

    def _check_hashes(self, file: BinaryIO, hashes: Mapping[str, str]) -> None:
        """Compare hashes once; SourceError if one differs. A warning names an algorithm that is not at hand."""
        for name, stated in hashes.items() if not self._is_checked else ():
            digest = _hash(name)
            if digest is None:
                _log.warning("%s: its %s cannot be checked: the package xxhash is missing", self.description, name)
                continue
            file.seek(0)
            while part := file.read(_READ_BYTES):
                digest.update(part)
            if digest.hexdigest() != stated.lower():
                raise SourceError(f"{self.description}: damaged: its {name} is not that of the index; copy it again")
        if self._packed is None:
            self._is_checked = True

    def _offsets(self, file: BinaryIO, size: int) -> NDArray[np.int64]:
        """Read the offset of each sample, and the end of the last: int64 [samples + 1], checked."""
        count = len(self)
        head_bytes = 4 * (count + 2)
        file.seek(0)
        head = file.read(head_bytes) if head_bytes <= size else b""
        if len(head) < head_bytes or int.from_bytes(head[:4], "little") != count:
            raise SourceError(f"{self.description}: damaged: its index says {count:,} samples; copy it again")
        offsets = np.frombuffer(head, "<u4", offset=4).astype(np.int64)
        if offsets[0] < head_bytes or (np.diff(offsets) < 0).any() or offsets[-1] > size:
            raise SourceError(f"{self.description}: damaged: its table of samples leads nowhere; copy it again")
        return offsets

    def _sample(self, data: bytes, columns: Container[str]) -> Sample:
        layout = self.layout
        variable = sum(size == 0 for size in layout.sizes)
        if len(data) < 4 * variable:
            return Unreadable("damaged: shorter than its columns")
        found = iter(np.frombuffer(data, "<u4", count=variable).tolist())
        ends = list(itertools.accumulate((size or next(found) for size in layout.sizes), initial=4 * variable))
        if ends[-1] != len(data):
            return Unreadable("damaged: its columns are not as long as it is")
        values: dict[str, SampleValue] = {}
        spans: Sequence[tuple[int, int]] = list(itertools.pairwise(ends))
        for (name, encoding), (start, end) in zip(layout.encodings.items(), spans, strict=True):
            if name in columns:
                try:
                    values[name] = value_of(encoding, data[start:end])
                except (ValueError, UnreadableImageError) as error:
                    return Unreadable(f"damaged: column {name}: {str(error).splitlines()[0]}")
        return values


def _hash(name: str) -> Any:
    """Return a new hash; None if its package is not installed, or if nobody knows it."""
    if name in hashlib.algorithms_available and not name.startswith("shake"):
        return hashlib.new(name)
    try:
        import xxhash  # type: ignore[import-not-found, unused-ignore]  # noqa: PLC0415 (optional)
    except ImportError:
        return None
    return getattr(xxhash, name)() if name in xxhash.algorithms_available else None
