"""From what a user names (a set, a path, a URL, an array) to sources of images.

One table lists the kinds of files of entries, such as TAR, of which several make one source. Others list files of
arrays and kinds of folders. A further kind is a module and a line in one of them. `spec` parses names and patterns.
"""

import difflib
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from smalti.errors import SourceError, UsageError
from smalti.imagefiles.table import is_image_name, may_lack_suffix
from smalti.images.batch import Pixels
from smalti.images.sized import as_sized, chain_sized
from smalti.images.source import ImageSource, SizedSource
from smalti.lazy import cached_property
from smalti.sources.archive import SizedArchiveSource, archive_sources
from smalti.sources.arrays.array_source import ArraySource
from smalti.sources.arrays.hdf5 import hdf5_sources
from smalti.sources.arrays.idx import IdxSource, is_idx_file
from smalti.sources.arrays.npy import NpySource
from smalti.sources.arrays.npz import npz_sources
from smalti.sources.arrays.zarr_store import is_zarr_folder, zarr_sources
from smalti.sources.folder.folder import FolderRecords
from smalti.sources.folder.single_file import SingleFile, is_dicomdir, is_image_file
from smalti.sources.named.named import SET_NAMES, open_named
from smalti.sources.records.record import RecordFiles, Records, Survey
from smalti.sources.records.record_source import (
    sized_sources_of,
    sources_of,
    surveyed,
    usual_any_size_of,
    usual_of,
)
from smalti.sources.shards.litdata import is_litdata_folder, open_litdata_folder
from smalti.sources.shards.lmdb_store import LMDB_FILES
from smalti.sources.shards.mds import is_mds_folder, open_mds_folder
from smalti.sources.shards.recordio import RECORDIO_FILES
from smalti.sources.shards.tfrecord import TFRECORD_FILES
from smalti.sources.spec import parse_spec
from smalti.sources.tables.dataset_object import DatasetObject, is_dataset_object, open_dataset_object
from smalti.sources.tables.lance_dataset import is_lance_dataset, open_lance_dataset
from smalti.sources.tables.table_files import PARQUET_FILES, is_saved_dataset, open_saved_dataset
from smalti.sources.tar.tar import TAR_FILES
from smalti.storage.location import Location, is_url, name_of, redacted, with_options

__all__ = [
    "OpenedImages",
    "open_any_size",
    "open_entries",
    "open_groups",
    "open_images_of",
    "open_source",
    "record_files_of",
]

_KINDS = (
    "a folder of image files, one such file, .tar, .npy, .npz, HDF5, Zarr, Parquet, .tfrecord, .rec, LMDB, a folder of "
    "MDS or LitData, .smalti, IDX (-idx3-ubyte)"
)

# Files of entries. Several of one kind are one source: as a pattern, or as a folder of them.
_RECORD_FILES: Sequence[RecordFiles] = (TAR_FILES, TFRECORD_FILES, PARQUET_FILES, RECORDIO_FILES, LMDB_FILES)

# Files of one array by suffix: each a source, or one for each shape and dtype.
_SOURCES: Mapping[str, Callable[[Location], Sequence[ImageSource | SizedArchiveSource]]] = {
    ".npy": lambda location: [NpySource(location)],
    ".smalti": archive_sources,
}

# Files of several arrays by suffix; LOCATION::KEY selects one of them.
_OpenContainer = Callable[[Location, str | None], Sequence[ImageSource]]
_CONTAINERS: Mapping[str, _OpenContainer] = {
    ".npz": npz_sources,
    ".h5": hdf5_sources,
    ".hdf5": hdf5_sources,
    ".zarr": zarr_sources,
    ".zip": zarr_sources,
}

# Folders of other kinds: how to recognize them, and how to open them. All others hold image files.
_IsKind = Callable[[Location], bool]
_CONTAINER_FOLDERS: Sequence[tuple[_IsKind, _OpenContainer]] = ((is_zarr_folder, zarr_sources),)
_RECORD_FOLDERS: Sequence[tuple[_IsKind, Callable[[Location], Records]]] = (
    (is_saved_dataset, open_saved_dataset),
    (is_lance_dataset, open_lance_dataset),
    (is_mds_folder, open_mds_folder),
    (is_litdata_folder, open_litdata_folder),
)


def open_source(
    spec: str | Path | Pixels | DatasetObject,
    *,
    labels: ArrayLike | None = None,
    report: Callable[[str], None] | None = None,
    storage_options: Mapping[str, Any] | None = None,
    spool_beside: Path | None = None,
) -> ImageSource:
    """Open images of one shape and dtype: a named set, a path, a URL, or an array.

    If the images have several shapes or dtypes, the most common are read, and the others are skipped, with a reason;
    `open_groups` reads all.

    spec : a name of `SET_NAMES` (it wins over a path of that name; write `./mnist` for a folder called mnist); a path
        or URL of one of the kinds in docs/images.md, followed by `::KEY` to select one of several arrays; uint8, uint16
        or int16 [N, H, W] or [N, H, W, C], C from 1 to 4; or an object of Hugging Face `datasets`
    labels : integers [N] for an array, as an array, a list or a tensor on the CPU; files have labels of their own
    report : takes a line of text for each step of a download; None sends it to the logger "smalti"
    storage_options : options of fsspec for a URL, such as {"key": ..., "endpoint_url": ...}, as for `smalti.open`
    spool_beside : the output that the images are for. The rows of an IterableDataset are written to a temporary file
        beside it; None takes the system's temporary folder

    Raises SourceError if there are no such images; DownloadError if no mirror gives a set; MissingDependencyError if
    an extra is not installed; UsageError for storage options without a URL; for `.smalti` the errors of
    `open_archive`.
    """
    return open_images_of(
        spec, labels=labels, report=report, storage_options=storage_options, spool_beside=spool_beside
    ).usual()


def open_groups(
    spec: str | Path | Pixels | DatasetObject,
    *,
    labels: ArrayLike | None = None,
    report: Callable[[str], None] | None = None,
    storage_options: Mapping[str, Any] | None = None,
    spool_beside: Path | None = None,
) -> tuple[ImageSource, ...]:
    """Open images of any shapes: one source for each shape and dtype, in the order in which they first occur.

    Arguments and errors are those of `open_source`. Each skipped file is listed by one of the sources.
    """
    return open_images_of(
        spec, labels=labels, report=report, storage_options=storage_options, spool_beside=spool_beside
    ).groups()


def open_any_size(
    spec: str | Path | Pixels | DatasetObject,
    *,
    labels: ArrayLike | None = None,
    report: Callable[[str], None] | None = None,
    storage_options: Mapping[str, Any] | None = None,
    spool_beside: Path | None = None,
) -> tuple[SizedSource, ...]:
    """Open images of any shapes: one source for each number of channels and dtype, in the order of their first images.

    Each source has its images in the order of the whole, whatever their sizes. Arrays whose labels have different
    names are sources of their own. Arguments and errors are those of `open_source`. Each skipped file is listed by one
    of the sources.
    """
    return open_images_of(
        spec, labels=labels, report=report, storage_options=storage_options, spool_beside=spool_beside
    ).any_size()


def open_images_of(
    spec: str | Path | Pixels | DatasetObject,
    *,
    labels: ArrayLike | None = None,
    report: Callable[[str], None] | None = None,
    storage_options: Mapping[str, Any] | None = None,
    spool_beside: Path | None = None,
) -> "OpenedImages":
    """Open images of any shapes, before it is known which kind of sources the caller needs.

    Arguments and errors are those of `open_source`; that no image can be read, is found when sources are asked for.
    """
    return OpenedImages(_open(_with_options(spec, storage_options), labels, report, spool_beside))


class OpenedImages:
    """Images that a user named, opened once: as one source for each shape, or one for each kind of pixel.

    Headers are read once, when sources are first asked for. Each skipped file is listed by one source of a kind.
    """

    def __init__(self, opened: Records | Sequence[ImageSource | SizedArchiveSource]) -> None:
        self._opened = opened

    def groups(self) -> tuple[ImageSource, ...]:
        """One source for each shape and dtype, in the order in which they first occur."""
        opened = self._opened
        return _groups_of(opened) if isinstance(opened, Sequence) else sources_of(opened, self._survey)

    def any_size(self) -> tuple[SizedSource, ...]:
        """One source for each number of channels and dtype, in the order in which they first occur."""
        opened = self._opened
        return _sized_of(opened) if isinstance(opened, Sequence) else sized_sources_of(opened, self._survey)

    @property
    def found(self) -> Mapping[str, tuple[int, int]]:
        """By kind of file, how many files there are, and how many images can be read; empty for arrays and archives."""
        return {} if isinstance(self._opened, Sequence) else self._survey.kinds

    def found_lines(self) -> list[str]:
        """`found` in words, a line for each kind; none if all images are of one kind, one in each file."""
        kinds = self.found
        if len(kinds) < 2 and all(files == images for files, images in kinds.values()):
            return []
        return [f"found {_kind_words(kind, *counts)}" for kind, counts in kinds.items()]

    def usual(self) -> ImageSource:
        """The source of the most common shape and dtype; images of others are skipped, with a reason."""
        opened = self._opened
        return max(_groups_of(opened), key=len) if isinstance(opened, Sequence) else usual_of(opened, self._survey)

    def usual_any_size(self) -> SizedSource:
        """The source of the most common number of channels and dtype; images of others are skipped, with a reason."""
        opened = self._opened
        if isinstance(opened, Sequence):
            return max(_sized_of(opened), key=len)
        return usual_any_size_of(opened, self._survey)

    @cached_property
    def _survey(self) -> Survey:
        assert not isinstance(self._opened, Sequence)
        return surveyed(self._opened)


def _kind_words(kind: str, files: int, images: int) -> str:
    """Return a kind of file, and what it gives, in words: "3 files of TIFF with 41 images"."""
    held = "" if files == images else f" with {images:,} image{'' if images == 1 else 's'}"
    return f"{files:,} file{'' if files == 1 else 's'} of {kind}{held}"


def _groups_of(sources: Sequence[ImageSource | SizedArchiveSource]) -> tuple[ImageSource, ...]:
    return tuple(
        part
        for source in sources
        for part in (source.of_each_size() if isinstance(source, SizedArchiveSource) else (source,))
    )


def _sized_of(sources: Sequence[ImageSource | SizedArchiveSource]) -> tuple[SizedSource, ...]:
    """Chain sources: one for each number of channels, dtype, and names of classes."""
    alike: dict[object, list[SizedSource]] = {}
    for source in sources:
        sized: SizedSource = source if isinstance(source, SizedArchiveSource) else as_sized(source)
        alike.setdefault((sized.channels, sized.dtype, sized.class_names), []).append(sized)
    return tuple(
        chain_sized(", ".join(dict.fromkeys(part.description for part in parts)), parts) for parts in alike.values()
    )


def _open(
    spec: str | Path | Pixels | DatasetObject,
    labels: ArrayLike | None,
    report: Callable[[str], None] | None,
    spool_beside: Path | None,
) -> Records | Sequence[ImageSource | SizedArchiveSource]:
    if isinstance(spec, np.ndarray):
        return [ArraySource(spec, labels)]
    if is_dataset_object(spec):
        if labels is not None:
            raise UsageError("labels are given for arrays only; a dataset has its own in a column")
        return open_dataset_object(spec, spool_beside)
    if not isinstance(spec, str | Path):
        raise UsageError(f"images are a path, a name or a NumPy array, not {type(spec).__name__}; use np.asarray")
    if labels is not None:
        raise UsageError(f"{spec}: labels are given for arrays only; files carry their own")
    return open_entries(spec, report=report)


def open_entries(
    spec: str | Path, files: Sequence[str] = (), report: Callable[[str], None] | None = None
) -> Records | Sequence[ImageSource | SizedArchiveSource]:
    """Open a source without a survey of its images: as records, or as one source for each shape and dtype.

    spec, report : as for `open_source`
    files : opens these files alone: paths or URLs of a pattern's files, names from `RecordFiles.files_in` of a folder

    Errors are those of `open_source`.
    """
    found = parse_spec(spec)
    if found.kind is None:
        raise SourceError(_not_found(found.text))
    if found.kind == "set":
        return [open_named(found.text, report)]
    if found.kind == "pattern":
        chosen = [name if is_url(name) else Path(name) for name in files]
        return _open_files(chosen or found.locations, found.description)
    if found.kind == "folder":
        return _open_folder(found.location, found.key, files)
    return _open_file(found.location, found.key)


def record_files_of(folder: Location) -> RecordFiles | None:
    """The kind of files of entries that a folder consists of; None for folders of any other kind."""
    if any(is_kind(folder) for is_kind, _ in (*_CONTAINER_FOLDERS, *_RECORD_FOLDERS)):
        return None
    return next((kind for kind in _RECORD_FILES if kind.is_folder(folder)), None)


def _with_options(
    spec: str | Path | Pixels | DatasetObject, storage_options: Mapping[str, Any] | None
) -> str | Path | Pixels | DatasetObject:
    """The same, carrying the storage options if there are any."""
    if not storage_options:
        return spec
    if not isinstance(spec, str):
        raise UsageError("storage options are for URLs; leave them out for what is not behind one")
    return with_options(spec, storage_options)


def _open_files(locations: Sequence[Location], description: str) -> Records:
    """Open files of one kind as one source; SourceError for files of several kinds, and of kinds not in the table."""
    for kind in _RECORD_FILES:
        if all(kind.has_name(name_of(location)) for location in locations):
            return kind.open_files(locations, description)
    suffixes = ", ".join(suffix for kind in _RECORD_FILES for suffix in kind.suffixes)
    raise SourceError(f"{description}: a pattern is for files of one kind, of {suffixes}; give one at a time")


def _open_folder(
    folder: Location, key: str | None, files: Sequence[str]
) -> Records | Sequence[ImageSource | SizedArchiveSource]:
    for is_kind, open_container in _CONTAINER_FOLDERS:
        if is_kind(folder):
            return open_container(folder, key)
    _refuse_key(folder, key)
    for is_kind, open_records in _RECORD_FOLDERS:
        if is_kind(folder):
            return open_records(folder)
    for kind in _RECORD_FILES:
        if kind.is_folder(folder):
            return kind.open_folder(folder, files or kind.files_in(folder))
    return FolderRecords(folder)


def _open_file(location: Location, key: str | None) -> Records | Sequence[ImageSource | SizedArchiveSource]:
    name = name_of(location).lower()
    for suffix, open_container in _CONTAINERS.items():
        if name.endswith(suffix):
            return open_container(location, key)
    _refuse_key(location, key)
    for kind in _RECORD_FILES:
        if kind.has_name(name) and (kind.begins is None or kind.begins(location)):
            return kind.open_files([location], redacted(location))
    for suffix, open_sources in _SOURCES.items():
        if name.endswith(suffix):
            return open_sources(location)
    if is_dicomdir(location):
        return FolderRecords(Path(location).parent)
    if is_image_name(name) or (may_lack_suffix(name) and is_image_file(location)):
        return SingleFile(location)
    if not is_idx_file(location):
        raise SourceError(f"{redacted(location)}: is of no kind that is read, by suffix and first bytes; give {_KINDS}")
    return [IdxSource(location)]


def _refuse_key(location: Location, key: str | None) -> None:
    if key is not None:
        raise UsageError(f"{redacted(location)}: holds no arrays by name, so ::{key} cannot be meant; leave it away")


def _not_found(spec: str) -> str:
    close = difflib.get_close_matches(spec.lower(), SET_NAMES, n=1)
    hint = f"did you mean {close[0]}?" if close else f"give {_KINDS}, or one of {', '.join(SET_NAMES)}"
    return f"{redacted(spec)}: no such file or folder; {hint}"
