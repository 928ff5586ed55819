"""From what a user names (a set, a path, a URL, an array) to sources of images.

Kinds of files are in one table by suffix, kinds of folders in one by what lies in them; a further kind is a line in
one of them.
"""

import difflib
from collections.abc import Callable, Mapping, Sequence
from importlib import import_module
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from smalti.errors import SourceError, UsageError
from smalti.images.arraylayout import split_selector
from smalti.images.arrays import ArraySource
from smalti.images.batch import Pixels
from smalti.images.datasetobject import DatasetObject, is_dataset_object, open_dataset_object
from smalti.images.folder import FolderRecords
from smalti.images.hdf5 import hdf5_sources
from smalti.images.idx import IdxSource
from smalti.images.listing import IMAGE_SUFFIXES
from smalti.images.named import open_named
from smalti.images.npy import NpySource
from smalti.images.npz import npz_sources
from smalti.images.parquet import is_parquet_folder, open_parquet, open_parquet_folder
from smalti.images.patterns import expand
from smalti.images.places import Place, is_url, kind_of, name_of, shown
from smalti.images.records import Records
from smalti.images.recordsource import sources_of, usual_of
from smalti.images.saveddataset import is_saved_dataset, open_saved_dataset
from smalti.images.sets import SET_NAMES
from smalti.images.source import ImageSource
from smalti.images.tar import TarRecords, is_tar_folder, open_tar_folder
from smalti.images.tarmembers import TAR_SUFFIXES
from smalti.images.zarrstore import is_zarr_folder, zarr_sources

__all__ = ["open_entries", "open_files", "open_groups", "open_source"]

_KINDS = "a folder of image files, .tar, .npy, .npz, HDF5, Zarr, Parquet, .smalti, IDX (-idx3-ubyte, also .gz)"

# Files of encoded images by suffix: opened as records, several of one kind as one source.
_RECORDS: Mapping[str, Callable[[Sequence[Place], str], Records]] = {
    ".parquet": open_parquet,
    **dict.fromkeys(TAR_SUFFIXES, TarRecords),
}

# Files of one array by suffix: each a source, or one for each shape and dtype.
_SOURCES: Mapping[str, Callable[[Place], Sequence[ImageSource]]] = {
    ".npy": lambda place: [NpySource(place)],
    ".smalti": lambda place: _archive_sources(place),  # noqa: PLW0108 (it is defined below)
}

# The same for what holds several arrays, of which a selector can name one: PLACE::KEY.
_CONTAINERS: Mapping[str, Callable[[Place, str | None], Sequence[ImageSource]]] = {
    ".npz": npz_sources,
    ".h5": hdf5_sources,
    ".hdf5": hdf5_sources,
    ".zarr": zarr_sources,
    ".zip": zarr_sources,
}

# Folders that are more than folders of image files: how to tell them, and how to open them.
_RECORD_FOLDERS: Sequence[tuple[Callable[[Place], bool], Callable[[Place], Records]]] = (
    (is_saved_dataset, open_saved_dataset),
    (is_parquet_folder, open_parquet_folder),
    (is_tar_folder, open_tar_folder),
)
_CONTAINER_FOLDERS: Sequence[tuple[Callable[[Place], bool], Callable[[Place, str | None], Sequence[ImageSource]]]] = (
    (is_zarr_folder, zarr_sources),
)


def open_source(
    spec: str | Path | Pixels | DatasetObject,
    *,
    labels: NDArray[np.integer] | None = None,
    report: Callable[[str], None] | None = None,
) -> ImageSource:
    """Open images of one shape by the name of a set, by a path or URL, or as an array.

    Of images of several shapes or dtypes the most common are taken, and the others passed over with a reason;
    `open_groups` takes all.

    spec : a name of `SET_NAMES` (before any path of that name; write `./mnist` for a folder called mnist); a path
        or URL of one of the kinds in docs/images.md, with `::KEY` behind it for one of several arrays; uint8 or
        uint16 [N, H, W] or [N, H, W, C], C from 1 to 4; or an object of Hugging Face `datasets`
    labels : integers [N] for an array; files carry their own
    report : takes a line of text for each step of a download; None sends it to the logger "smalti"

    Raises SourceError if there are no such images, DownloadError if a set can be had from nowhere,
    MissingDependencyError if they need an extra that is not installed; for `.smalti` the errors of `open_archive`.
    """
    opened = _open(spec, labels, report)
    return max(opened, key=len) if isinstance(opened, Sequence) else usual_of(opened)


def open_groups(
    spec: str | Path | Pixels | DatasetObject,
    *,
    labels: NDArray[np.integer] | None = None,
    report: Callable[[str], None] | None = None,
) -> tuple[ImageSource, ...]:
    """Open images of any shapes: one source for each shape and dtype, in the order in which each first comes.

    Arguments and errors are those of `open_source`. What is passed over is told once by all sources together.
    """
    opened = _open(spec, labels, report)
    return tuple(opened) if isinstance(opened, Sequence) else sources_of(opened)


def _open(
    spec: str | Path | Pixels | DatasetObject,
    labels: NDArray[np.integer] | None,
    report: Callable[[str], None] | None,
) -> Records | Sequence[ImageSource]:
    if isinstance(spec, np.ndarray):
        return [ArraySource(spec, labels)]
    if is_dataset_object(spec):
        if labels is not None:
            raise UsageError("labels are given for arrays only; a dataset has its own in a column")
        return open_dataset_object(spec)
    if not isinstance(spec, str | Path):
        raise UsageError(f"images are a path, a name or a NumPy array, not {type(spec).__name__}; use np.asarray")
    if labels is not None:
        raise UsageError(f"{spec}: labels are given for arrays only; files carry their own")
    if isinstance(spec, str) and spec in SET_NAMES:
        return [open_named(spec, report)]
    several = expand(str(spec)) if is_url(str(spec)) or kind_of(Path(spec)) is None else None
    if several is not None:
        return open_files(several, shown(str(spec)))
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


def open_files(places: Sequence[Place], description: str) -> Records:
    """Files of one kind (TAR, Parquet) as one source; SourceError if they are of several kinds, or of another."""
    for suffix, opened_as_records in _RECORDS.items():
        if all(name_of(place).lower().endswith(suffix) for place in places):
            return opened_as_records(places, description)
    raise SourceError(
        f"{description}: a pattern is for files of one kind, of {', '.join(_RECORDS)}; give one at a time"
    )


def _place_and_key(spec: str | Path) -> tuple[Place, str | None]:
    """The place that is meant, and the key of an array in it; a file that is called so wins over a key."""
    found, key = split_selector(str(spec))
    if key is None or (not is_url(spec) and kind_of(Path(spec)) is not None):
        found, key = str(spec), None
    return found if isinstance(spec, str) and is_url(found) else Path(found), key


def _open_folder(place: Place, key: str | None) -> Records | Sequence[ImageSource]:
    for is_it, opened_as_container in _CONTAINER_FOLDERS:
        if is_it(place):
            return opened_as_container(place, key)
    _refuse_key(place, key)
    for is_it, opened_as_records in _RECORD_FOLDERS:
        if is_it(place):
            return opened_as_records(place)
    return FolderRecords(place)


def _open_file(place: Place, key: str | None) -> Records | Sequence[ImageSource]:
    name = name_of(place).lower()
    for suffix, opened_as_container in _CONTAINERS.items():
        if name.endswith(suffix):
            return opened_as_container(place, key)
    _refuse_key(place, key)
    for suffix, opened_as_records in _RECORDS.items():
        if name.endswith(suffix):
            return opened_as_records([place], shown(place))
    for suffix, opened_as_sources in _SOURCES.items():
        if name.endswith(suffix):
            return opened_as_sources(place)
    if name.endswith(tuple(IMAGE_SUFFIXES)):
        raise SourceError(f"{shown(place)}: is one image; give the folder that holds the images")
    return [IdxSource(place)]


def _refuse_key(place: Place, key: str | None) -> None:
    if key is not None:
        raise UsageError(f"{shown(place)}: holds no arrays by name, so ::{key} cannot be meant; leave it away")


def _archive_sources(place: Place) -> Sequence[ImageSource]:
    """Archives are read by a layer above; it is found by its name when needed, for an import would join the layers."""
    opened: Sequence[ImageSource] = import_module("smalti.archive.source").archive_sources(place)
    return opened


def _nowhere(spec: str) -> str:
    close = difflib.get_close_matches(spec.lower(), SET_NAMES, n=1)
    hint = f"did you mean {close[0]}?" if close else f"give {_KINDS}, or one of {', '.join(SET_NAMES)}"
    return f"{shown(spec)}: no such file or folder; {hint}"
