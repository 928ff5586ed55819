"""From what a user names (a set, a path, a URL, an array) to sources of images.

Kinds of files are in one table by suffix, kinds of folders in one by what lies in them; a further kind is a line in
one of them.

Names that stand for several files: `shards-{000..003}.tar`, `{train,test}.parquet`, `shards-*.tar`.

The local files that a source is read from, so that no output replaces one of them.
"""

import difflib
import fnmatch
import glob
import os
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from smalti.errors import SourceError, UsageError
from smalti.imagefiles.table import IMAGE_SUFFIXES
from smalti.images.batch import Pixels
from smalti.images.source import ImageSource
from smalti.images.vocabulary import TAR_SUFFIXES
from smalti.sources.archive import archive_sources
from smalti.sources.arrays.array_source import ArraySource
from smalti.sources.arrays.hdf5 import hdf5_sources
from smalti.sources.arrays.idx import IdxSource, is_idx_file, is_idx_name, labels_beside
from smalti.sources.arrays.layout import split_selector
from smalti.sources.arrays.npy import NpySource
from smalti.sources.arrays.npz import npz_sources
from smalti.sources.arrays.zarr_store import is_zarr_folder, zarr_sources
from smalti.sources.folder.folder import FolderRecords
from smalti.sources.folder.sidecar import class_names_name, metadata_name
from smalti.sources.named.named import SET_NAMES, open_named
from smalti.sources.records.record import Records
from smalti.sources.records.record_source import sources_of, usual_of
from smalti.sources.tables.dataset_object import DatasetObject, is_dataset_object, open_dataset_object
from smalti.sources.tables.table_files import (
    is_parquet_folder,
    is_saved_dataset,
    open_parquet,
    open_parquet_folder,
    open_saved_dataset,
)
from smalti.sources.tar.tar import TarRecords, is_tar_folder, open_tar_folder
from smalti.storage.location import (
    Location,
    below,
    is_url,
    kind_of,
    list_files,
    name_of,
    options_of,
    redacted,
    with_options,
)

__all__ = ["expand", "local_files", "open_entries", "open_files", "open_groups", "open_source"]


_RANGE = re.compile(r"\{(\d+)\.\.(\d+)\}")
_CHOICE = re.compile(r"\{([^{}]*,[^{}]*)\}")
_MAX_FILES = 1_000_000


def expand(spec: str) -> tuple[Location, ...] | None:
    """The files that a pattern stands for, in order; None if it is no pattern.

    Ranges and choices in braces are in the order given, as in a shell, and each file is meant to be there. Names that
    match `*`, `?` and `[...]` come in the order of their paths, part by part by code point; behind a URL only `*`
    stands for something, in the last part alone.

    Raises SourceError if nothing matches, or if a range has more than a million files.
    """
    wild = "*" if is_url(spec) else "*?["
    braced = _RANGE.search(spec) or _CHOICE.search(spec)
    if not braced and not any(letter in spec for letter in wild):
        return None
    found: list[Location] = []
    for one in _braces(spec):
        if any(letter in one for letter in wild):
            found += _matching(with_options(one, options_of(spec)))
        else:
            found.append(with_options(one, options_of(spec)) if is_url(one) else Path(one))
    if not found:
        raise SourceError(f"{redacted(spec)}: no file matches; check the pattern")
    return tuple(found)


def _braces(spec: str) -> list[str]:
    """Each text that a pattern of braces stands for."""
    found = _RANGE.search(spec) or _CHOICE.search(spec)
    if found is None:
        return [spec]
    if found.re is _RANGE:
        first, last = found.groups()
        width = max(len(first), len(last)) if "0" in (first[0], last[0]) else 0
        step = 1 if int(first) <= int(last) else -1
        if abs(int(last) - int(first)) >= _MAX_FILES:
            raise SourceError(f"{redacted(spec)}: more than {_MAX_FILES:,} files; give fewer at a time")
        parts = [f"{number:0{width}}" for number in range(int(first), int(last) + step, step)]
    else:
        parts = found[1].split(",")
    rests = _braces(spec[found.end() :])
    if len(parts) * len(rests) > _MAX_FILES:
        raise SourceError(f"{redacted(spec)}: more than {_MAX_FILES:,} files; give fewer at a time")
    return [spec[: found.start()] + part + rest for part in parts for rest in rests]


def _matching(pattern: str) -> list[Location]:
    if not is_url(pattern):
        paths = [Path(name) for name in glob.glob(pattern)]  # noqa: PTH207 (that of Path takes no absolute pattern)
        return [*sorted((path for path in paths if path.is_file()), key=lambda path: path.parts)]
    start, _, last = pattern.rpartition("/")
    folder = with_options(start, options_of(pattern))
    return [
        below(folder, name) for name, _ in list_files(folder) if "/" not in name and fnmatch.fnmatchcase(name, last)
    ]


# was sibling import


_KINDS = "a folder of image files, .tar, .npy, .npz, HDF5, Zarr, Parquet, .smalti, IDX (-idx3-ubyte, also .gz)"

# Files of encoded images by suffix: opened as records, several of one kind as one source.
_RECORDS: Mapping[str, Callable[[Sequence[Location], str], Records]] = {
    ".parquet": open_parquet,
    **dict.fromkeys(TAR_SUFFIXES, TarRecords),
}

# Files of one array by suffix: each a source, or one for each shape and dtype.
_SOURCES: Mapping[str, Callable[[Location], Sequence[ImageSource]]] = {
    ".npy": lambda place: [NpySource(place)],
    ".smalti": archive_sources,
}

# The same for what holds several arrays, of which a selector can name one: PLACE::KEY.
_CONTAINERS: Mapping[str, Callable[[Location, str | None], Sequence[ImageSource]]] = {
    ".npz": npz_sources,
    ".h5": hdf5_sources,
    ".hdf5": hdf5_sources,
    ".zarr": zarr_sources,
    ".zip": zarr_sources,
}

# Folders that are more than folders of image files: how to tell them, and how to open them.
_RECORD_FOLDERS: Sequence[tuple[Callable[[Location], bool], Callable[[Location], Records]]] = (
    (is_saved_dataset, open_saved_dataset),
    (is_tar_folder, open_tar_folder),
    (is_parquet_folder, open_parquet_folder),
)
_CONTAINER_FOLDERS: Sequence[
    tuple[Callable[[Location], bool], Callable[[Location, str | None], Sequence[ImageSource]]]
] = ((is_zarr_folder, zarr_sources),)


def open_source(
    spec: str | Path | Pixels | DatasetObject,
    *,
    labels: ArrayLike | None = None,
    report: Callable[[str], None] | None = None,
    storage_options: Mapping[str, Any] | None = None,
    spool_beside: Path | None = None,
) -> ImageSource:
    """Open images of one shape by the name of a set, by a path or URL, or as an array.

    Of images of several shapes or dtypes the most common are taken, and the others passed over with a reason;
    `open_groups` takes all.

    spec : a name of `SET_NAMES` (before any path of that name; write `./mnist` for a folder called mnist); a path
        or URL of one of the kinds in docs/images.md, with `::KEY` behind it for one of several arrays; uint8 or
        uint16 [N, H, W] or [N, H, W, C], C from 1 to 4; or an object of Hugging Face `datasets`
    labels : integers [N] for an array, as an array, a list or a tensor on the CPU; files carry their own
    report : takes a line of text for each step of a download; None sends it to the logger "smalti"
    storage_options : what fsspec needs to reach a URL, such as {"key": ..., "endpoint_url": ...}, as for `smalti.open`
    spool_beside : the output that the images are for. The rows of an IterableDataset are kept in a temporary file
        beside it; None takes the system's temporary folder

    Raises SourceError if there are no such images, DownloadError if a set can be had from nowhere,
    MissingDependencyError if they need an extra that is not installed; UsageError for storage options without a URL;
    for `.smalti` the errors of `open_archive`.
    """
    opened = _open(_reached(spec, storage_options), labels, report, spool_beside)
    return max(opened, key=len) if isinstance(opened, Sequence) else usual_of(opened)


def open_groups(
    spec: str | Path | Pixels | DatasetObject,
    *,
    labels: ArrayLike | None = None,
    report: Callable[[str], None] | None = None,
    storage_options: Mapping[str, Any] | None = None,
    spool_beside: Path | None = None,
) -> tuple[ImageSource, ...]:
    """Open images of any shapes: one source for each shape and dtype, in the order in which each first comes.

    Arguments and errors are those of `open_source`. What is passed over is told once by all sources together.
    """
    opened = _open(_reached(spec, storage_options), labels, report, spool_beside)
    return tuple(opened) if isinstance(opened, Sequence) else sources_of(opened)


def _open(
    spec: str | Path | Pixels | DatasetObject,
    labels: ArrayLike | None,
    report: Callable[[str], None] | None,
    spool_beside: Path | None = None,
) -> Records | Sequence[ImageSource]:
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
    if isinstance(spec, str) and spec in SET_NAMES:
        return [open_named(spec, report)]
    several = expand(_text(spec)) if is_url(str(spec)) or kind_of(Path(spec)) is None else None
    if several is not None:
        return open_files(several, redacted(str(spec)))
    place, key = _place_and_key(spec)
    kind = kind_of(place) if str(spec) else None  # an empty name would be the present folder
    if kind is None:
        raise SourceError(_nowhere(str(spec)))
    return _open_folder(place, key) if kind == "folder" else _open_file(place, key)


def open_entries(spec: str, report: Callable[[str], None] | None = None) -> Records | Sequence[ImageSource]:
    """What the others choose from: records that nobody has looked at, or a source for each shape and dtype.

    Arguments and errors are those of `open_source`.
    """
    return _open(spec, None, report)


def open_files(places: Sequence[Location], description: str) -> Records:
    """Files of one kind (TAR, Parquet) as one source; SourceError if they are of several kinds, or of another."""
    for suffix, opened_as_records in _RECORDS.items():
        if all(name_of(place).lower().endswith(suffix) for place in places):
            return opened_as_records(places, description)
    raise SourceError(
        f"{description}: a pattern is for files of one kind, of {', '.join(_RECORDS)}; give one at a time"
    )


def _reached(
    spec: str | Path | Pixels | DatasetObject, storage_options: Mapping[str, Any] | None
) -> str | Path | Pixels | DatasetObject:
    """What the user named, which carries the storage options if there are any."""
    if not storage_options:
        return spec
    if not isinstance(spec, str):
        raise UsageError("storage options are for URLs; leave them out for what is not behind one")
    return with_options(spec, storage_options)


def _text(spec: str | Path) -> str:
    return spec if isinstance(spec, str) else str(spec)


def _place_and_key(spec: str | Path) -> tuple[Location, str | None]:
    """The place that is meant, and the key of an array in it; a file that is called so wins over a key."""
    found, key = split_selector(str(spec))
    if key is None or (not is_url(spec) and kind_of(Path(spec)) is not None):
        found, key = str(spec), None
    return with_options(found, options_of(spec)) if isinstance(spec, str) and is_url(found) else Path(found), key


def _open_folder(place: Location, key: str | None) -> Records | Sequence[ImageSource]:
    for is_it, opened_as_container in _CONTAINER_FOLDERS:
        if is_it(place):
            return opened_as_container(place, key)
    _refuse_key(place, key)
    for is_it, opened_as_records in _RECORD_FOLDERS:
        if is_it(place):
            return opened_as_records(place)
    return FolderRecords(place)


def _open_file(place: Location, key: str | None) -> Records | Sequence[ImageSource]:
    name = name_of(place).lower()
    for suffix, opened_as_container in _CONTAINERS.items():
        if name.endswith(suffix):
            return opened_as_container(place, key)
    _refuse_key(place, key)
    for suffix, opened_as_records in _RECORDS.items():
        if name.endswith(suffix):
            return opened_as_records([place], redacted(place))
    for suffix, opened_as_sources in _SOURCES.items():
        if name.endswith(suffix):
            return opened_as_sources(place)
    if name.endswith(tuple(IMAGE_SUFFIXES)):
        raise SourceError(f"{redacted(place)}: is one image; give the folder that holds the images")
    if not is_idx_file(place):
        raise SourceError(f"{redacted(place)}: is of no kind that is read, by suffix and first bytes; give {_KINDS}")
    return [IdxSource(place)]


def _refuse_key(place: Location, key: str | None) -> None:
    if key is not None:
        raise UsageError(f"{redacted(place)}: holds no arrays by name, so ::{key} cannot be meant; leave it away")


def _nowhere(spec: str) -> str:
    close = difflib.get_close_matches(spec.lower(), SET_NAMES, n=1)
    hint = f"did you mean {close[0]}?" if close else f"give {_KINDS}, or one of {', '.join(SET_NAMES)}"
    return f"{redacted(spec)}:  or folder; {hint}"


# was sibling import


_NEVER_READ = (".smalti", ".smalti-model")
"""Files of a folder that are no images: outputs of ours may lie among the images."""


def local_files(source: object) -> Iterator[Path]:
    """Yield the local files of a source as `open_source` takes it: of a folder all that may hold images or columns.

    Yields nothing for URLs, named sets and arrays in memory; for an array that is mapped from a file, that file.
    """
    if not isinstance(source, str | Path):
        mapped = getattr(source, "filename", None)
        if isinstance(mapped, str | Path):
            yield Path(mapped)
        return
    spec = str(source)
    if spec in SET_NAMES or is_url(spec):
        return
    path = Path(spec)
    if not path.exists():
        places = expand(spec)
        if places is not None:
            yield from (Path(place) for place in places if not is_url(place))
            return
        path = Path(spec.partition("::")[0])
    if path.is_dir():
        yield from _files_below(path)
        return
    yield path
    yield from _columns_beside(path)


def _columns_beside(path: Path) -> Iterator[Path]:
    """Yield where labels, names and classes of an array may lie beside it."""
    stem = path.name.removesuffix(".gz").removesuffix(".npy")
    for name in (f"{stem}.labels.npy", metadata_name(path.name), class_names_name(path.name)):
        yield path.with_name(name)
    if is_idx_name(path.name):
        yield from labels_beside(path)


def _files_below(folder: Path) -> Iterator[Path]:
    for where, _, names in os.walk(folder):
        yield from (Path(where, name) for name in names if not name.endswith(_NEVER_READ))
