"""The local files that a source is read from, so that no output replaces one of them."""

import os
from collections.abc import Iterator
from pathlib import Path

from smalti.sources.arrays.idx import is_idx_name, labels_beside
from smalti.sources.folder.sidecar import class_names_name, metadata_name
from smalti.sources.named.sets import SET_NAMES
from smalti.sources.open import expand
from smalti.storage.location import is_url

__all__ = ["local_files"]

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
