"""Archives as datasets of Hugging Face, and such datasets as sources of images.

    source = from_dataset(load_dataset("parquet", data_files="digits.parquet", split="train"))
    dataset = to_dataset("digits.smalti", streaming=True).shuffle(seed=0, buffer_size=4096)

See docs/huggingface.md. `to_dataset` needs the extra `smalti[hf]`, and imports `datasets` when it is called.
"""

import copy
import hashlib
import itertools
import os
import re
from collections.abc import Iterator, Mapping
from os import PathLike
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

import smalti
from smalti.archive.collection.collection import Collection
from smalti.archive.read.reader import Archive
from smalti.archive.read.selection import ArchiveBatch, batch_images
from smalti.errors import MissingDependencyError, SmaltiError, UsageError
from smalti.images.batch import ImageBatch
from smalti.images.source import ImageSource
from smalti.images.vocabulary import SPLIT_FIELD
from smalti.sinks.parquet_file import ColumnKinds, check_depth
from smalti.sources.open import open_source
from smalti.sources.tables.dataset_object import DatasetObject, is_dataset_object
from smalti.storage.atomic import atomic_file, writing

__all__ = ["from_dataset", "to_dataset"]

_SHARDS_MIN, _SHARDS_MAX = 16, 1024
_ROWS = 256
_LAYOUT = b"1"  # of cached tables; it must change when their content would
_SPLIT_NAME = re.compile(r"\w+(\.\w+)*")  # names that `datasets` allows


def from_dataset(dataset: DatasetObject) -> ImageSource:
    """A source of the images of a `datasets.Dataset`, an `IterableDataset`, or a dict of them by split.

    The same as `smalti.sources.open.open_source(dataset)`: if images differ in shape, it takes the most common shape.
    Raises UsageError for any other object, SourceError if no column holds images.
    """
    if not is_dataset_object(dataset):
        raise UsageError(f"{type(dataset).__name__} is no dataset of Hugging Face; give a Dataset or IterableDataset")
    return open_source(dataset)


def to_dataset(
    archive: "Archive | Collection | str | PathLike[str]",
    *,
    streaming: bool = False,
    splits: bool = False,
    cache_dir: "str | PathLike[str] | None" = None,
) -> Any:
    """An archive as a `datasets.Dataset` with columns `image` (Image), `label` (ClassLabel), and one for each field.

    streaming : True gives an `IterableDataset`, which decodes images when they are requested. Each token block is a
        shard (at most 1,024 shards). It can be pickled, shuffled, resumed and shared among workers. False decodes
        all images once, into an Arrow file that later calls for the same archive use again
    splits : True gives a dict of datasets by the field "split", in the order in which splits first occur
    cache_dir : the folder of the Arrow file; by default that of `datasets`

    Names are in the `path` of `image`, which `Image(decode=False)` shows. Labels without class names are integers.
    Raises SmaltiError for images of 16 bits and several channels, which `datasets` would cut to 8 bits; UsageError if
    there is no field of splits; MissingDependencyError without `datasets`; DamagedArchiveError.
    """
    if not isinstance(archive, Archive | Collection):
        with smalti.open(archive) as opened:
            return to_dataset(opened, streaming=streaming, splits=splits, cache_dir=cache_dir)
    datasets = _datasets()
    for image_shape, dtype in _shapes(archive):
        check_depth(image_shape, dtype, str(archive.path))
    parts = [_Part(archive, split) for split in (_split_names(archive) if splits else [None])]
    if streaming:
        found = [_streamed(part) for part in parts]
        kind = datasets.IterableDatasetDict
    else:
        folder = Path(cache_dir or datasets.config.HF_DATASETS_CACHE)
        digest = _digest(archive)
        found = [_stored(part, folder / "smalti", digest) for part in parts]
        kind = datasets.DatasetDict
    return kind(dict(zip([part.split for part in parts], found, strict=True))) if splits else found[0]


class _Part:
    """The images of an archive, or of one of its splits, as tables. Each process that reads them opens the archive.

    runs : pairs of first image and end (exclusive); each run can be read alone
    """

    def __init__(self, archive: Archive | Collection, split: str | None) -> None:
        self.split = split
        self.name = Path(str(archive.path)).stem
        fields = {name: archive.fields[name] for name in archive.fields if split is None or name != SPLIT_FIELD}
        self.kinds = ColumnKinds().holding(archive.labels, archive.class_names, fields)
        self._bounds = archive.block_bounds
        self.runs = _runs(self._bounds, None if split is None else _of_split(archive.fields[SPLIT_FIELD], split))
        self._template = archive  # only copied, never read: its owner may close it
        self._opened: dict[int, Archive | Collection] = {}

    def __getstate__(self) -> dict[str, Any]:
        """The state without open archives, for other processes."""
        return self.__dict__ | {"_opened": {}}

    def tables(self, runs: "list[tuple[int, int]]") -> Iterator[tuple[tuple[int, int], Any]]:
        """Yield Arrow tables, each with a unique key: the first image of its run, and its number in the run."""
        archive = self._archive()
        rows = min(_ROWS, *(batch_images(image_shape) for image_shape, _ in _shapes(archive)))
        for start, stop in runs:
            for number, batch in enumerate(archive.batches(rows, start=start, stop=stop)):
                chosen = batch if self.split is None else _chosen(batch, self.split)
                if len(chosen):
                    yield (start, number), self.kinds.table(chosen)

    def _archive(self) -> Archive | Collection:
        """The archive, opened by this process: a forked process must not touch the file that its parent reads."""
        process = os.getpid()
        if process not in self._opened:
            archive = copy.deepcopy(self._template)  # a copy opens the file again, like unpickling
            if not np.array_equal(archive.block_bounds, self._bounds):
                archive.close()
                raise SmaltiError(f"{archive.path}: it has been replaced since the dataset was made")
            self._opened[process] = archive
        return self._opened[process]


def _tables(part: _Part, runs: "list[tuple[int, int]]") -> Iterator[tuple[tuple[int, int], Any]]:
    return part.tables(runs)


def _streamed(part: _Part) -> Any:
    """An IterableDataset of tables.

    `IterableDataset.from_generator` would not do: for rows it looks for files of the images' names, and reads these.
    """
    datasets = _datasets()
    from datasets.iterable_dataset import ArrowExamplesIterable  # type: ignore[import-untyped, unused-ignore]  # noqa: PLC0415

    info = datasets.DatasetInfo(features=datasets.Features.from_arrow_schema(part.kinds.schema()))
    split = None if part.split is None else datasets.NamedSplit(part.split)
    rows = ArrowExamplesIterable(_tables, {"part": part, "runs": part.runs})
    return datasets.IterableDataset(rows, info=info, split=split)


def _stored(part: _Part, folder: Path, digest: bytes) -> Any:
    """A Dataset on an Arrow file, which is written unless it exists."""
    import pyarrow as pa  # type: ignore[import-untyped, unused-ignore]  # noqa: PLC0415 (a dependency of datasets)

    schema = part.kinds.schema()
    known = hashlib.sha256(b"\0".join([_LAYOUT, digest, schema.serialize().to_pybytes(), str(part.split).encode()]))
    path = folder / f"{part.name}-{known.hexdigest()[:32]}.arrow"
    if not path.is_file():
        with writing(path):
            folder.mkdir(parents=True, exist_ok=True)
        with atomic_file(path, overwrite=True) as file, writing(path), pa.ipc.new_stream(file, schema) as stream:
            for _, table in part.tables(part.runs):
                stream.write_table(table)
    datasets = _datasets()
    return datasets.Dataset.from_file(str(path), split=None if part.split is None else datasets.NamedSplit(part.split))


def _runs(bounds: NDArray[np.int64], chosen: NDArray[np.bool_] | None) -> list[tuple[int, int]]:
    """Ranges of images: token blocks, or parts of them where blocks are few, so that several workers have work.

    bounds : the first image of each block, and the number of images
    chosen : bool [images]: blocks without a chosen image are skipped; None chooses all
    """
    blocks = [
        (start, stop)
        for start, stop in itertools.pairwise(bounds.tolist())
        if chosen is None or chosen[start:stop].any()
    ]
    if len(blocks) < _SHARDS_MIN:
        return [(first, min(first + _ROWS, stop)) for start, stop in blocks for first in range(start, stop, _ROWS)]
    if len(blocks) <= _SHARDS_MAX:
        return blocks
    edges = np.linspace(0, len(blocks), _SHARDS_MAX + 1).astype(int).tolist()
    return [(blocks[first][0], blocks[end - 1][1]) for first, end in itertools.pairwise(edges)]


def _split_names(archive: Archive | Collection) -> list[str]:
    if SPLIT_FIELD not in archive.fields:
        raise UsageError(f"{archive.path}: its images have no field {SPLIT_FIELD!r}; omit splits=True")
    names = list(dict.fromkeys(archive.fields[SPLIT_FIELD]))
    odd = next((name for name in names if not isinstance(name, str) or not _SPLIT_NAME.fullmatch(name)), None)
    if odd is not None or None in names:
        raise UsageError(f"{archive.path}: {odd!r} is no name of a split; omit splits=True")
    return [str(name) for name in names]


def _of_split(values: Any, split: str) -> NDArray[np.bool_]:
    return np.fromiter((value == split for value in values), np.bool_, len(values))


def _chosen(batch: ArchiveBatch, split: str) -> ImageBatch:
    """The images of a batch that belong to a split."""
    rows = np.flatnonzero(_of_split(batch.fields[SPLIT_FIELD], split)).tolist()
    fields: Mapping[str, Any] = {name: [values[row] for row in rows] for name, values in batch.fields.items()}
    names = None if batch.names is None else tuple(batch.names[row] for row in rows)
    return ImageBatch(batch.pixels[rows], None if batch.labels is None else batch.labels[rows], names, fields)


def _shapes(archive: Archive | Collection) -> list[tuple[tuple[int, int, int], np.dtype[Any]]]:
    if isinstance(archive, Archive):
        return [(shape, archive.dtype) for shape in archive.image_shapes]
    members = archive.members
    kinds = [np.dtype(facts.dtype) for facts in members.facts]
    return [(shape, kind) for number, kind in enumerate(kinds) for shape in members.shapes(number)]


def _digest(archive: Archive | Collection) -> bytes:
    """A SHA-256 that identifies the content of an archive, from its headers and its sections' checksums."""
    members = (
        [archive] if isinstance(archive, Archive) else map(archive.members.__getitem__, range(len(archive.members)))
    )
    known = hashlib.sha256()
    for member in members:
        known.update(member.sections.header_bytes)
        for entry in member.sections.entries:
            known.update(repr((int(entry.section), entry.ordinal, entry.payload_bytes, entry.payload_crc)).encode())
    return known.digest()


def _datasets() -> Any:
    try:
        import datasets  # type: ignore[import-untyped, unused-ignore]  # noqa: PLC0415 (optional)
    except ImportError as error:
        raise MissingDependencyError.of("a dataset of Hugging Face", "datasets", "hf") from error
    return datasets
