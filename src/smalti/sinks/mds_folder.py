"""Shards of MDS as an output, which `StreamingDataset` of MosaicML Streaming reads: a folder with an `index.json`.

Written here without that library; `sources.shards.mds` describes a shard. Columns are `image`, `label`, `file_name` and
the fields, sorted by name. Class names, for which MDS has no place, are in a `class_names.json` that it ignores.
"""

import itertools
import json
import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from smalti.errors import SmaltiError
from smalti.images.batch import NO_LABEL, ImageBatch, OutputSpec, Pixels, Scalar
from smalti.images.vocabulary import CLASS_NAMES_FILE, FILE_NAME, LABEL
from smalti.sinks.mds_encodings import (
    ANY_ARRAY,
    JSON,
    PNG_FILE,
    array_encoding,
    converted,
    encoded,
    encoded_image,
    encoded_size,
    encoding_of,
    is_exact_in_png,
    without_roles,
)
from smalti.sinks.staged_folder import staged_folder
from smalti.sources.folder.sidecar import check_field_names, class_names_bytes, field_rows
from smalti.sources.shards.shard_folders import INDEX
from smalti.storage.atomic import writing

__all__ = ["MdsWriter", "mds_folder"]

_SHARD_BYTES = 1 << 26
_MAX_SAMPLE_BYTES = 1 << 30  # what the reader accepts; a shard can address 4 GiB
_COLUMN_BYTES = 64  # at most what a shard says of a column besides its name
_ARRAY_HEAD_BYTES = 16  # at most the dtype and the shape of an array
_VERSION = 2
_IMAGE = "image"
_DEFAULTS: Mapping[str, Scalar] = {LABEL: NO_LABEL, FILE_NAME: ""}

_Row = Mapping[str, Scalar | None]

_NO_VALUES: _Row = {}


@dataclass(frozen=True)
class _Shard:
    """A shard that is written.

    encodings : by column, in the order in which samples have them
    """

    path: Path
    encodings: Mapping[str, str]
    samples: int
    size_bytes: int


class MdsWriter:
    """Writes batches as samples of shards of at most 64 MB; one shard is in memory.

    A column has one encoding in all shards. If later images need another one, the shards before are written anew at
    the end, each once. A shard leaves room for the largest encoding of each value.

    folder : the folder to write to
    final : where the files will be at the end, for messages
    """

    def __init__(self, folder: Path, final: Path, spec: OutputSpec) -> None:
        self._folder = folder
        self._final = final
        self._class_names = spec.class_names
        self._has_one_shape = spec.image_shape is not None
        self._image_encoding = PNG_FILE
        if spec.image_shape is not None and not is_exact_in_png(spec.dtype, spec.image_shape[2]):
            self._image_encoding = array_encoding(spec.image_shape, spec.dtype)
        self._columns: dict[str, str] = {}
        self._fields: dict[str, str] = {}
        self._seen = 0
        self._waiting: list[tuple[bytes, _Row]] = []
        self._waiting_bytes = self._head_bytes = 0
        self._shards: list[_Shard] = []

    def write(self, batch: ImageBatch) -> None:
        """Write the images of a batch. SmaltiError if MDS cannot hold them, or the system refuses to write."""
        self._see_columns(batch)
        for position, row in enumerate(field_rows(batch.fields, len(batch))):
            if batch.labels is not None:
                row[LABEL] = int(batch.labels[position])
            if batch.names is not None:
                row[FILE_NAME] = batch.names[position]
            self._see_fields(row)
            self._add(batch.pixels[position], row)

    def finish(self) -> None:
        """Write the rest, the index and the class names."""
        if self._waiting:
            self._flush()
        encodings = self._encodings()
        self._shards = [
            shard if shard.encodings == encodings else self._written_anew(shard, encodings) for shard in self._shards
        ]
        index = {"version": _VERSION, "shards": [_facts(shard) for shard in self._shards]}
        with writing(self._final):
            (self._folder / INDEX).write_text(json.dumps(index, sort_keys=True))
            if self._class_names is not None:
                (self._folder / CLASS_NAMES_FILE).write_bytes(class_names_bytes(self._class_names))

    def _see_columns(self, batch: ImageBatch) -> None:
        if batch.labels is not None:
            self._columns[LABEL] = "int64"
        if batch.names is not None:
            self._columns[FILE_NAME] = "str"
            name = next((name for name in batch.names if encoding_of(name) != "str"), None)
            if name is not None:
                raise SmaltiError(f"{self._final}: name {name!r} is no text in UTF-8; write .tar instead")
        fields = {**batch.fields, **self._fields}
        check_field_names(fields, _IMAGE, *self._columns)
        names = (_IMAGE, *self._columns, *fields)
        self._head_bytes = 4 * _COLUMN_BYTES + sum(_COLUMN_BYTES + len(json.dumps(name)) for name in names)

    def _see_fields(self, row: _Row) -> None:
        """Widen the encodings of fields to hold those of an image; a field that it lacks has a gap."""
        for name in {*row, *self._fields} - {*self._columns}:
            before = self._fields.get(name)
            if before is None and self._seen:
                before = encoding_of(None)
            self._fields[name] = encoding_of(row.get(name), before)
        self._seen += 1

    def _add(self, pixels: Pixels, row: _Row) -> None:
        if not self._has_one_shape and not is_exact_in_png(pixels.dtype, pixels.shape[2]):
            before, self._image_encoding = self._image_encoding, ANY_ARRAY
            self._waiting = [(converted(image, before, ANY_ARRAY), row) for image, row in self._waiting]
        image = encoded_image(self._image_encoding, pixels)
        size = len(image) if self._has_one_shape else max(len(image), pixels.nbytes + _ARRAY_HEAD_BYTES)
        size += 8 + sum(map(_most_bytes, row.values()))
        if size > _MAX_SAMPLE_BYTES:
            line = f"{self._final}: an image takes {size:,} bytes, and a sample holds 1 GiB; write .tar instead"
            raise SmaltiError(line)
        if self._waiting and self._head_bytes + self._waiting_bytes + size > _SHARD_BYTES:
            self._flush()
        self._waiting.append((image, row))
        self._waiting_bytes += size

    def _encodings(self) -> dict[str, str]:
        """Return the encodings of all columns, as far as they are known, sorted by name."""
        columns = {_IMAGE: self._image_encoding, **self._columns, **self._fields}
        return without_roles(dict(sorted(columns.items())), self._fields)

    def _flush(self) -> None:
        """Write the samples that wait as a shard."""
        encodings = self._encodings()
        samples = []
        for image, row in self._waiting:
            values = {name: _encoded(name, encoding, row) for name, encoding in encodings.items() if name != _IMAGE}
            samples.append(_sample(encodings, values | {_IMAGE: image}))
        path = self._folder / f"shard.{len(self._shards):05}.mds"
        self._shards.append(self._write_shard(path, encodings, samples))
        self._waiting, self._waiting_bytes = [], 0

    def _written_anew(self, shard: _Shard, encodings: Mapping[str, str]) -> _Shard:
        """Write a shard again with these encodings, which hold all its values too."""
        samples = []
        for values in _samples(shard):
            widened = {
                name: converted(values[name], shard.encodings[name], encoding)
                if name in values
                else _encoded(name, encoding, _NO_VALUES)
                for name, encoding in encodings.items()
            }
            samples.append(_sample(encodings, widened))
        with writing(self._final):
            shard.path.unlink()
        return self._write_shard(shard.path, encodings, samples)

    def _write_shard(self, path: Path, encodings: Mapping[str, str], samples: list[bytes]) -> _Shard:
        config = _config(encodings)
        start = 4 * (len(samples) + 2) + len(config)
        offsets = list(itertools.accumulate(map(len, samples), initial=start))
        with writing(self._final), path.open("xb") as file:
            file.write(np.array([len(samples), *offsets], "<u4").tobytes())
            file.write(config)
            file.writelines(samples)
        return _Shard(path, encodings, len(samples), offsets[-1])


def _most_bytes(value: Scalar | None) -> int:
    """Return the size of a value with its own size, in the encoding that takes most."""
    return 4 + max(8, len(encoded(encoding_of(None), value)))


def _encoded(name: str, encoding: str, row: _Row) -> bytes:
    """Return the value that a row has in a column; without one, what stands for a missing one."""
    missing = None if encoding == JSON else _DEFAULTS.get(name)  # a field may be called as they are; it is JSON
    return encoded(encoding, row.get(name, missing))


def _sample(encodings: Mapping[str, str], values: Mapping[str, bytes]) -> bytes:
    """Return a sample: the sizes of the values whose encoding states none, then all values."""
    sizes = [len(values[name]) for name, encoding in encodings.items() if encoded_size(encoding) is None]
    return np.array(sizes, "<u4").tobytes() + b"".join(values[name] for name in encodings)


def _samples(shard: _Shard) -> Iterator[dict[str, bytes]]:
    """Yield the values of each sample of a shard that was written here."""
    fixed = [encoded_size(encoding) for encoding in shard.encodings.values()]
    with shard.path.open("rb") as file:
        offsets = np.frombuffer(file.read(4 * (shard.samples + 2)), "<u4")[1:].tolist()
        file.seek(offsets[0])
        for start, end in itertools.pairwise(offsets):
            data = file.read(end - start)
            variable = fixed.count(None)
            stated = iter(np.frombuffer(data, "<u4", variable).tolist())
            sizes = [next(stated) if size is None else size for size in fixed]
            ends = list(itertools.accumulate(sizes, initial=4 * variable))
            spans = itertools.pairwise(ends)
            yield {name: data[first:last] for name, (first, last) in zip(shard.encodings, spans, strict=True)}


def _layout(encodings: Mapping[str, str]) -> dict[str, Any]:
    """Return what a shard says of its samples."""
    return {
        "version": _VERSION,
        "format": "mds",
        "compression": None,
        "hashes": [],
        "size_limit": _SHARD_BYTES,
        "column_names": list(encodings),
        "column_encodings": list(encodings.values()),
        "column_sizes": [encoded_size(encoding) for encoding in encodings.values()],
    }


def _config(encodings: Mapping[str, str]) -> bytes:
    return json.dumps(_layout(encodings), sort_keys=True).encode()


def _facts(shard: _Shard) -> dict[str, Any]:
    """Return what the index says of a shard."""
    raw = {"basename": shard.path.name, "bytes": shard.size_bytes, "hashes": {}}
    return {**_layout(shard.encodings), "samples": shard.samples, "raw_data": raw, "zip_data": None}


def _belongs_to_images(name: str) -> bool:
    return name == CLASS_NAMES_FILE or re.fullmatch(r"shard\.\d{5,}\.mds(\.\w+)?", name) is not None


@contextmanager
def mds_folder(out: Path, spec: OutputSpec, overwrite: bool) -> Iterator[MdsWriter]:
    """Open a writer of shards, whose folder appears at the end of the `with` block, if nothing was raised.

    With `overwrite`, shards in an existing folder are replaced or removed, and other files stay. Raises what
    `staged_folder` raises.
    """
    with staged_folder(out, overwrite, _belongs_to_images, INDEX) as stage:
        writer = MdsWriter(stage, out, spec)
        yield writer
        writer.finish()
