"""LitData's chunks, read without it: a folder with an `index.json`, or one for each split.

A chunk (`streaming/item_loader.py`, PyTreeLoader) is the number of samples, uint32; the offset of each sample and the
end of the last, uint32; the samples. A sample is the size of each value, uint32; then all values. A chunk may be packed
by zstd: whole (`.zstd.bin`); each sample alone; or some samples at a time, in frames (`framed_zstd.py`).
"""

import itertools
import struct
from collections.abc import Callable, Container, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from io import BytesIO
from typing import Any, BinaryIO, cast

import numpy as np

from smalti.errors import SourceError
from smalti.imagefiles.format import UnreadableImageError
from smalti.sources.records.record import Unreadable
from smalti.sources.shards.litdata_columns import kind_of_serializer, leaf_names, value_of_serializer
from smalti.sources.shards.packed import unpacked
from smalti.sources.shards.sample_columns import columns_of_kinds
from smalti.sources.shards.shard_folders import INDEX, has_index, indexes_of, shard_location, splits_of
from smalti.sources.shards.shard_records import Sample, SampleValue, ShardRecords
from smalti.storage.location import Location, below, open_binary, redacted, size_bytes

__all__ = ["is_litdata_folder", "open_litdata_folder"]

_FRAMED = b"LDFZ01\0\0"
_FRAMED_HEAD, _FRAME = struct.Struct("<8sHHIII"), struct.Struct("<IIQII")
_MAX_SAMPLE_BYTES = 1 << 30


def is_litdata_folder(folder: Location) -> bool:
    """Whether a folder holds chunks of LitData."""
    return has_index(folder, "chunks")


def open_litdata_folder(folder: Location) -> ShardRecords:
    """Open the chunks of a folder in the order of its index; those of sub-folders have the field "split".

    If samples are pairs of an image and an integer, the integer is the label. Raises SourceError if an index is damaged
    or says something that is not read, or if no column holds images.
    """
    chunks: list[LitDataChunk] = []
    folders: list[str] = []
    layout: LitDataLayout | None = None
    for name, location, index in indexes_of(folder, "chunks"):
        where = redacted(below(location, INDEX))
        found = _layout(index.get("config"), where)
        if layout is not None and found.serializers != layout.serializers:
            raise SourceError(f"{where}: its columns are not those of the folders before")
        layout = found
        chunks += [LitDataChunk(location, chunk, found, where) for chunk in index["chunks"]]
        folders += [name] * len(index["chunks"])
    if layout is None or not chunks:
        raise SourceError(f"{redacted(folder)}: lists no chunks; write them again")
    kinds = {name: kind_of_serializer(serializer) for name, serializer in layout.serializers.items()}
    label = "1" if list(kinds) == ["0", "1"] and kinds["1"] == "whole number" else None
    return ShardRecords(
        redacted(folder), chunks, lambda: columns_of_kinds(kinds, redacted(folder), label), splits_of(folders)
    )


@dataclass(frozen=True)
class LitDataLayout:
    """What an index says of all its chunks.

    serializers : by column
    compression : of whole chunks, such as "zstd"; None if they are not packed whole
    has_packed_samples : whether each sample is packed alone
    """

    serializers: dict[str, str]
    compression: str | None
    has_packed_samples: bool


def _layout(config: Any, where: str) -> LitDataLayout:
    try:
        loader = config.get("item_loader") or "PyTreeLoader"
        if loader != "PyTreeLoader" or config.get("encryption"):
            what = "encrypted" if config.get("encryption") else f"written for {loader}"
            raise SourceError(f"{where}: its chunks are {what}, which is not read")
        names, serializers = leaf_names(config["data_spec"]), config["data_format"]
        if not all(isinstance(text, str) for text in serializers) or len(set(names)) < len(names):
            raise ValueError("names of columns")
        level = config.get("compression_level")
        packed_whole = config.get("compression") if level in (None, "chunk") else None
        return LitDataLayout(dict(zip(names, serializers, strict=True)), packed_whole, level == "sample")
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        if isinstance(error, SourceError):
            raise
        raise SourceError(f"{where}: says nothing sound of its columns ({error!r:.80}); write it again") from error


class LitDataChunk:
    """One chunk.

    folder : the folder of its index
    chunk : what the index says of it
    """

    def __init__(self, folder: Location, chunk: Any, layout: LitDataLayout, where: str) -> None:
        count = chunk.get("chunk_size") if isinstance(chunk, dict) else None
        if not isinstance(count, int) or isinstance(count, bool) or not 0 <= count < 1 << 32:
            raise SourceError(f"{where}: a chunk of {count!r} samples; write it again")
        self._location = shard_location(folder, chunk.get("filename"), where)
        self.description = redacted(self._location)
        self._layout = layout
        self._count = count

    def __len__(self) -> int:
        return self._count

    def samples(self, numbers: Iterable[int], columns: Container[str]) -> Iterator[Sample]:
        """Yield samples; one that is damaged comes as Unreadable."""
        with self._opened() as read:
            for number in numbers:
                data = read(number)
                yield data if isinstance(data, Unreadable) else self._sample(data, columns)

    @contextmanager
    def _opened(self) -> Iterator[Callable[[int], bytes | Unreadable]]:
        """Open the chunk; yield a function that returns the bytes of a sample."""
        with open_binary(self._location) as file:
            stored, size = file, size_bytes(self._location)
            if self._layout.compression is not None:
                data = unpacked(self._layout.compression, file.read(), self.description)
                stored, size = cast(BinaryIO, BytesIO(data)), len(data)
            stored.seek(0)
            if stored.read(len(_FRAMED)) == _FRAMED:
                yield _Frames(stored, size, len(self), self.description).read
            else:
                yield self._plain(stored, size)

    def _plain(self, file: BinaryIO, size: int) -> Callable[[int], bytes | Unreadable]:
        file.seek(0)
        if int.from_bytes(file.read(4), "little") != len(self):
            raise _damaged(self.description, "it holds another number of samples than its index says")
        head_bytes = 4 * (len(self) + 2)
        offsets = _offsets(file, head_bytes - 4, size, self.description)
        if offsets[0] < head_bytes or offsets[-1] > size:
            raise _damaged(self.description, "its table of samples leads nowhere")

        def read(number: int) -> bytes | Unreadable:
            start, end = offsets[number : number + 2].tolist()
            if end - start > _MAX_SAMPLE_BYTES:
                return Unreadable(f"{end - start:,} bytes, more than a sample has")
            file.seek(start)
            data = file.read(end - start)
            try:
                return unpacked("zstd", data, self.description) if self._layout.has_packed_samples else data
            except SourceError as error:
                return Unreadable(str(error))

        return read

    def _sample(self, data: bytes, columns: Container[str]) -> Sample:
        serializers = self._layout.serializers
        head_bytes = 4 * len(serializers)
        if len(data) < head_bytes:
            return Unreadable("damaged: shorter than its columns")
        sizes = np.frombuffer(data[:head_bytes], "<u4").tolist()
        ends = list(itertools.accumulate(sizes, initial=head_bytes))
        if ends[-1] != len(data):
            return Unreadable("damaged: its columns are not as long as it is")
        values: dict[str, SampleValue] = {}
        for (name, serializer), (start, end) in zip(serializers.items(), itertools.pairwise(ends), strict=True):
            if name in columns:
                try:
                    values[name] = value_of_serializer(serializer, data[start:end])
                except (ValueError, UnreadableImageError) as error:
                    return Unreadable(f"damaged: column {name}: {str(error).splitlines()[0]}")
        return values


class _Frames:
    """Samples in frames of zstd: the last frame that was read stays in memory."""

    def __init__(self, file: BinaryIO, size: int, samples: int, where: str) -> None:
        self._file, self._where = file, where
        file.seek(0)
        head = file.read(_FRAMED_HEAD.size)
        _, version, _, count, _, frames = _FRAMED_HEAD.unpack(head) if len(head) == _FRAMED_HEAD.size else (0,) * 6
        table_bytes = frames * _FRAME.size
        if (version, count) != (1, samples) or _FRAMED_HEAD.size + 4 * (count + 1) + table_bytes > size:
            raise _damaged(where, "its head is not that of frames of its samples")
        self._offsets = _offsets(file, 4 * (count + 1), size, where)
        self._frames = list(_FRAME.iter_unpack(file.read(table_bytes)))
        *firsts, end = itertools.accumulate((frame[1] for frame in self._frames), initial=0)
        if [frame[0] for frame in self._frames] != firsts or end != samples:
            raise _damaged(where, "its frames are not of all its samples")
        if any(at + packed_bytes > size for _, _, at, packed_bytes, _ in self._frames):
            raise _damaged(where, "a frame lies behind its end")
        self._starts: Sequence[int] = firsts
        self._number, self._data = -1, b""

    def read(self, number: int) -> bytes | Unreadable:
        """Return the bytes of a sample."""
        frame = int(np.searchsorted(self._starts, number, side="right")) - 1
        first, _, at, packed_bytes, raw_bytes = self._frames[frame]
        if frame != self._number:
            self._file.seek(at)
            self._data = unpacked("zstd", self._file.read(packed_bytes), self._where, raw_bytes)
            self._number = frame
        start, end = (self._offsets[number : number + 2] - self._offsets[first]).tolist()
        if end > len(self._data):
            return Unreadable("damaged: longer than its frame")
        return self._data[start:end]


def _offsets(file: BinaryIO, table_bytes: int, size: int, where: str) -> Any:
    """Read a table of ascending offsets, uint32, as int64."""
    data = file.read(table_bytes) if table_bytes <= size else b""
    if len(data) < table_bytes or not data:
        raise _damaged(where, "shorter than its table of samples")
    offsets = np.frombuffer(data, "<u4").astype(np.int64)
    if (np.diff(offsets) < 0).any():
        raise _damaged(where, "its table of samples goes back")
    return offsets


def _damaged(where: str, reason: str) -> SourceError:
    return SourceError(f"{where}: damaged: {reason}; copy it again")
