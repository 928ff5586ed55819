"""HDF5 files as sources, through h5py, which is imported for the first such file.

Only data in the file itself are read. External links, external storage and virtual datasets could make the reader open
other files, and are refused. Soft links are not followed, because they may lead to those.
"""

import atexit
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from smalti.errors import MissingDependencyError, SourceError
from smalti.images.source import ImageSource
from smalti.sources.arrays.containers import chunk_spans, container_sources
from smalti.sources.arrays.layout import ArrayFacts
from smalti.storage.location import Location, is_url, open_binary, redacted

__all__ = ["Hdf5File", "hdf5_sources"]

_MAX_OBJECTS = 10_000
_OPAQUE = np.dtype("V1")  # stands for types that no column can hold


def hdf5_sources(location: Location, key: str | None = None) -> list[ImageSource]:
    """Return one source for each shape and dtype in an HDF5 file; see `container_sources`."""
    container = Hdf5File(location)
    container.refuse_foreign(key)
    return container_sources(container, key)


class Hdf5File:
    """The datasets of an HDF5 file, which is opened anew for each pass. SourceError if it cannot be read as HDF5."""

    def __init__(self, location: Location) -> None:
        self.description = redacted(location)
        self._location = location
        self._arrays: dict[str, ArrayFacts] = {}
        self._class_names: dict[str, Mapping[int, str]] = {}
        self._foreign: dict[str, str] = {}  # objects that lead to other files: their kinds, by path
        with self.opened() as file:
            self._survey(file, "", set[int]())

    def arrays(self) -> Mapping[str, ArrayFacts]:
        """Return all datasets in the file itself, by path without the first slash, in the order of the file."""
        return self._arrays

    def rows(self, key: str) -> "_DatasetRows":
        """Return a dataset that is read some rows at a time."""
        return _DatasetRows(self, key, self._arrays[key])

    def whole(self, key: str) -> NDArray[np.generic]:
        """Return a dataset in memory."""
        with self.opened() as file:
            return np.asarray(file[key][()])

    def class_names(self, key: str) -> Mapping[int, str]:
        """Return the names of an enumeration's values; an empty mapping for other types."""
        return self._class_names.get(key, {})

    def refuse_foreign(self, key: str | None) -> None:
        """Raise SourceError if the dataset of this key, or without a key any object, leads to other files."""
        for path, what in self._foreign.items():
            if key is None or f"{key}/".startswith(f"{path}/"):
                advice = "" if key else f"; name the dataset to read, as {self.description}::/images"
                where, why = f"{self.description}::{path}", "which leads to other files and is never followed"
                raise SourceError(f"{where}: is {what}, {why}{advice}")

    @contextmanager
    def opened(self) -> Iterator[Any]:
        """Open the file with h5py; every error inside becomes a SourceError of one line."""
        try:
            import h5py  # type: ignore[import-untyped, unused-ignore]  # noqa: PLC0415 (optional)
        except ImportError as error:
            raise MissingDependencyError.of("an HDF5 file", "h5py", "hdf5") from error
        remote = open_binary(self._location) if is_url(self._location) else None
        try:
            # A reader needs no lock, and many network file systems have none.
            with h5py.File(remote or Path(self._location), "r", locking=None if remote else "best-effort") as file:
                atexit.register(file.close)  # HDF5 crashes if it outlives the Python file that it reads from
                try:
                    yield file
                finally:
                    atexit.unregister(file.close)
        except SourceError:
            raise
        except (OSError, RuntimeError, KeyError, ValueError, TypeError) as error:
            raise SourceError(f"{self.description}: cannot be read as HDF5: {_first_line(error)}") from error
        finally:
            if remote is not None:
                remote.close()

    def _survey(self, group: Any, prefix: str, seen: set[int]) -> None:
        """Find all datasets below a group. Each object is visited once, so loops of links end."""
        import h5py  # noqa: PLC0415 (optional)

        seen.add(_address(group))
        for name in group:
            path, link = f"{prefix}{name}", group.get(name, getlink=True)
            if isinstance(link, h5py.ExternalLink):
                self._foreign[path] = "an external link"
            if not isinstance(link, h5py.HardLink):
                continue
            found = group[name]
            if _address(found) in seen:
                continue
            seen.add(_address(found))
            if len(seen) > _MAX_OBJECTS:
                raise SourceError(f"{self.description}: holds more than {_MAX_OBJECTS} objects; store one array")
            if isinstance(found, h5py.Group):
                self._survey(found, f"{path}/", seen)
            elif isinstance(found, h5py.Dataset) and found.shape is not None:
                if found.is_virtual or found.external:
                    self._foreign[path] = "a virtual dataset" if found.is_virtual else "a dataset in external storage"
                else:
                    self._arrays[path] = ArrayFacts(tuple(found.shape), _dtype_of(found))
                    self._class_names[path] = _class_names_of(found)


class _DatasetRows:
    def __init__(self, container: Hdf5File, key: str, facts: ArrayFacts) -> None:
        self.shape, self.dtype = facts.shape, facts.dtype
        self._container, self._key = container, key

    def blocks(self, rows: int, start: int, stop: int) -> Iterator[NDArray[np.generic]]:
        where = f"{self._container.description}::{self._key}"
        with self._container.opened() as file:
            dataset = file[self._key]
            if dataset.shape != self.shape or _dtype_of(dataset) != self.dtype:
                raise SourceError(f"{where}: changed while it was read; start again")
            chunk_rows = dataset.chunks[0] if dataset.chunks else 1
            row_bytes = self.dtype.itemsize * int(np.prod(self.shape[1:], dtype=object))
            for first, end in chunk_spans(rows, chunk_rows, row_bytes, start, stop):
                yield np.asarray(dataset[first:end])


def _address(found: Any) -> int:
    """Return the address of an object in the file, which is the same for all links to it."""
    import h5py  # noqa: PLC0415 (optional)

    return int(h5py.h5o.get_info(found.id).addr)


def _dtype_of(dataset: Any) -> np.dtype[np.generic]:
    """Return the dtype of a dataset; only variable strings have the dtype of Python objects."""
    import h5py  # noqa: PLC0415 (optional)

    try:
        dtype: np.dtype[np.generic] = dataset.dtype
    except TypeError:  # of a type that NumPy does not know
        return _OPAQUE
    if dtype.hasobject:
        return np.dtype(object) if h5py.check_string_dtype(dtype) is not None else _OPAQUE
    return np.dtype(dtype.str) if dtype.kind in "biuf" else dtype  # without h5py's notes (names of an enumeration)


def _class_names_of(dataset: Any) -> Mapping[int, str]:
    """Return the names of an enumeration's values, except that of booleans; an empty mapping for other types."""
    import h5py  # noqa: PLC0415 (optional)

    try:
        names = h5py.check_enum_dtype(dataset.dtype)
    except TypeError:  # of a type that NumPy does not know
        return {}
    return {int(number): str(name) for name, number in (names or {}).items()}


def _first_line(error: BaseException) -> str:
    return (str(error).splitlines() or [type(error).__name__])[0]
