"""The local files that a source is read from, so that no output replaces one of them."""

import os
from collections.abc import Iterator
from pathlib import Path

from smalti.sources.arrays.idx import is_idx_name, label_paths_of
from smalti.sources.folder.sidecar import class_names_name, metadata_name
from smalti.sources.folder.single_file import is_dicomdir
from smalti.sources.spec import parse_spec
from smalti.storage.location import is_url

__all__ = ["local_files"]

_NEVER_READ = (".smalti", ".smalti-model")
"""Suffixes of files in a folder that hold no images: outputs of smalti may lie among the images."""


def local_files(source: object) -> Iterator[Path]:
    """Yield the local files of a source as `open_source` takes it; of a folder, all that may hold images or columns.

    Yields nothing for URLs, named sets and arrays in memory; for an array that is mapped from a file, that file.
    """
    if not isinstance(source, str | Path):
        mapped = getattr(source, "filename", None)
        if isinstance(mapped, str | Path):
            yield Path(mapped)
        return
    if is_url(str(source)):  # nothing is looked up over a network
        return
    found = parse_spec(source)
    if found.kind == "folder":
        yield from _files_below(Path(found.location))
        return
    if found.kind == "file" and is_dicomdir(found.location):
        yield from _files_below(Path(found.location).parent)
        return
    for location in found.locations:
        if not is_url(location):
            yield Path(location)
            if found.kind != "pattern":
                yield from _sidecar_paths(Path(location))


def _sidecar_paths(path: Path) -> Iterator[Path]:
    """Yield the paths of files that may hold labels, names and classes of an array file."""
    stem = path.name.removesuffix(".gz").removesuffix(".npy")
    for name in (f"{stem}.labels.npy", metadata_name(path.name), class_names_name(path.name)):
        yield path.with_name(name)
    if is_idx_name(path.name):
        yield from label_paths_of(path)


def _files_below(folder: Path) -> Iterator[Path]:
    for where, _, names in os.walk(folder):
        yield from (Path(where, name) for name in names if not name.endswith(_NEVER_READ))
