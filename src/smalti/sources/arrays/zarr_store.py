"""Zarr stores of formats 2 and 3 as sources, through zarr, which is imported for the first such store.

A store is a folder, a `.zip` file, or either behind a URL. A missing chunk holds fill values, as the format says.
Codecs that unpickle are refused.
"""

import json
import warnings
from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from smalti.errors import MissingDependencyError, SmaltiError, SourceError
from smalti.images.source import ImageSource
from smalti.sources.arrays.array_source import RowsSource
from smalti.sources.arrays.containers import chunk_spans, container_sources
from smalti.sources.arrays.layout import ArrayFacts
from smalti.sources.arrays.ome_zarr import find_ome_image, plane_columns
from smalti.storage.address import options_behind
from smalti.storage.filesystem import reading_remote
from smalti.storage.location import Location, below, is_url, kind_of, options_of, redacted

__all__ = ["ZarrStore", "is_zarr_folder", "zarr_sources"]

_ROOT_FILES = ("zarr.json", ".zgroup", ".zarray")
_MAX_MEMBERS = 10_000
_OPAQUE = np.dtype("V1")  # stands for types that no column can hold


def is_zarr_folder(location: Location) -> bool:
    """Whether a folder is a Zarr store."""
    return any(kind_of(below(location, name)) == "file" for name in _ROOT_FILES)


def zarr_sources(location: Location, key: str | None = None) -> list[ImageSource]:
    """Return the planes of an OME-Zarr image; of other stores, one source for each shape and dtype.

    See `find_ome_image` and `container_sources`.
    """
    store = ZarrStore(location)
    image = find_ome_image(store.groups, store.arrays(), key, store.description)
    if image is None:
        return container_sources(store, key)
    shape = store.arrays()[image.array].shape
    where = f"{store.description}::{image.array}"
    return [RowsSource(store.description, store.planes(image.array), plane_columns(image, shape), where)]


class ZarrStore:
    """The arrays of a Zarr store; a store that is one array has the key "". SourceError if it cannot be read.

    groups : the attributes of each group by path, "" for the root
    """

    def __init__(self, location: Location) -> None:
        self.description = redacted(location)
        self._location = location
        self._arrays: dict[str, ArrayFacts] = {}
        with self._opened() as store, _without_warnings():
            arrays, self.groups = _all_members(store, self.description)
            for key, array in arrays:
                if _unpickles(array):
                    advice = "could run code when read; store it anew"
                    raise SourceError(f"{self.description}::{key}: is stored as pickles, which {advice}")
                self._arrays[key] = ArrayFacts(tuple(array.shape), _dtype_of(array))

    def arrays(self) -> Mapping[str, ArrayFacts]:
        """Return all arrays, in the order of their paths."""
        return self._arrays

    def rows(self, key: str) -> "_ArrayRows":
        """Return an array that is read some rows at a time."""
        return _ArrayRows(self, key, self._arrays[key])

    def planes(self, key: str) -> "_PlaneRows":
        """Return the planes of the last two axes of an array, in order, some at a time."""
        return _PlaneRows(self, key, self._arrays[key])

    def whole(self, key: str) -> NDArray[np.generic]:
        """Return an array in memory."""
        with self.array(key) as array:
            return np.asarray(array[...])

    def class_names(self, key: str) -> Mapping[int, str]:
        """Return an empty mapping: Zarr has no enumerations."""
        return {}

    @contextmanager
    def array(self, key: str) -> Iterator[Any]:
        """Open an array with zarr; SourceError if it has changed since the store was opened."""
        with self._opened() as store:
            with _without_warnings():
                array = _zarr().open_array(store=store, path=key, mode="r")
            if ArrayFacts(tuple(array.shape), _dtype_of(array)) != self._arrays[key] or _unpickles(array):
                raise SourceError(f"{self.description}::{key}: changed while it was read; start again")
            yield array

    @contextmanager
    def _opened(self) -> Iterator[Any]:
        """Open the store; every error inside becomes a SourceError of one line."""
        _zarr()
        with self._errors():
            store = self._store()
            try:
                yield store
            finally:
                store.close()

    def _store(self) -> Any:
        from zarr.storage import FsspecStore, LocalStore, ZipStore  # noqa: PLC0415 (optional)

        if is_url(self._location):
            url, options = str(self._location), dict(options_of(self._location))
            if url.endswith(".zip"):
                url, options = f"zip://::{url}", options_behind(url, options)
            return FsspecStore.from_url(url, storage_options=options, read_only=True)
        path = Path(self._location)
        return LocalStore(path, read_only=True) if path.is_dir() else ZipStore(path, mode="r")

    @contextmanager
    def _errors(self) -> Iterator[None]:
        if is_url(self._location):
            with reading_remote(str(self._location)):
                yield
            return
        try:
            yield
        except SmaltiError:
            raise
        except Exception as error:  # codecs raise errors of any kind
            reason = (str(error).splitlines() or [""])[0]
            what = f"cannot be read as Zarr: {type(error).__name__}: {reason}"
            raise SourceError(f"{self.description}: {what}; write or copy it again") from error


class _ArrayRows:
    def __init__(self, container: ZarrStore, key: str, facts: ArrayFacts) -> None:
        self.shape, self.dtype = facts.shape, facts.dtype
        self._container, self._key = container, key

    def blocks(self, rows: int, start: int, stop: int) -> Iterator[NDArray[np.generic]]:
        with self._container.array(self._key) as array:
            chunk_rows = (array.shards or array.chunks)[0]
            row_bytes = self.dtype.itemsize * int(np.prod(self.shape[1:], dtype=object))
            for first, end in chunk_spans(rows, chunk_rows, row_bytes, start, stop):
                yield np.asarray(array[first:end])


class _PlaneRows:
    """The planes of an array of two or more axes: [N, H, W], the last axis before a plane runs fastest."""

    def __init__(self, container: ZarrStore, key: str, facts: ArrayFacts) -> None:
        self._lead, plane = facts.shape[:-2], facts.shape[-2:]
        self.shape = (int(np.prod(self._lead, dtype=object)), *plane)
        self.dtype = facts.dtype
        self._container, self._key = container, key

    def blocks(self, rows: int, start: int, stop: int) -> Iterator[NDArray[np.generic]]:
        """Yield planes [start, stop), cut where chunks end along the axis before a plane."""
        length = self._lead[-1] if self._lead else 1
        plane_bytes = self.dtype.itemsize * int(np.prod(self.shape[1:], dtype=object))
        with self._container.array(self._key) as array:
            while start < stop:
                outer, first = divmod(start, length)
                end = min(length, first + stop - start)
                place = np.unravel_index(outer, self._lead[:-1]) if len(self._lead) > 1 else ()
                chunk = (array.shards or array.chunks)[len(self._lead) - 1] if self._lead else 1
                for low, high in chunk_spans(rows, chunk, plane_bytes, first, end):
                    part = array[(*map(int, place), slice(low, high))] if self._lead else array[...]
                    yield np.asarray(part).reshape(high - low, *self.shape[1:])
                start += end - first


def _zarr() -> Any:
    try:
        import zarr  # type: ignore[import-untyped, unused-ignore]  # noqa: PLC0415 (optional)
    except ImportError as error:
        raise MissingDependencyError.of("a Zarr store", "zarr", "zarr") from error
    return zarr


def _all_members(store: Any, where: str) -> tuple[list[tuple[str, Any]], dict[str, Mapping[str, Any]]]:
    """Return all arrays of a store by path, empty if the store is one array; and the attributes of all groups."""
    zarr = _zarr()
    node = zarr.open(store=store, mode="r")
    if isinstance(node, zarr.Array):
        return [("", node)], {}
    found = islice(node.members(max_depth=None), _MAX_MEMBERS + 1)
    members = sorted(found, key=lambda member: str(member[0]))
    if len(members) > _MAX_MEMBERS:
        raise SourceError(f"{where}: holds more than {_MAX_MEMBERS} arrays and groups; store one of all images")
    arrays = [(path, member) for path, member in members if isinstance(member, zarr.Array)]
    groups = {path: member.attrs.asdict() for path, member in members if isinstance(member, zarr.Group)}
    return arrays, {"": node.attrs.asdict(), **groups}


def _without_warnings() -> AbstractContextManager[Any]:
    """Silence zarr's warnings of dtypes that the format does not specify yet; they are read all the same."""
    return warnings.catch_warnings(action="ignore")


def _dtype_of(array: Any) -> np.dtype[np.generic]:
    dtype: np.dtype[np.generic] = array.dtype
    return _OPAQUE if dtype.kind == "O" else dtype  # strings have a dtype of their own here


def _unpickles(array: Any) -> bool:
    """Whether the codecs of an array, also those within shards, mention a pickle."""
    facts = array.metadata.to_dict()
    codecs = [facts.get(part) for part in ("filters", "compressor", "codecs")]
    return "pickle" in json.dumps(codecs, default=repr).lower()
