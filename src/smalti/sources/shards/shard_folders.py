"""Folders of shards with an `index.json`, or with one such folder for each split: how they are found and listed."""

import json
import re
from collections.abc import Mapping, Sequence
from typing import Any

from smalti.errors import SourceError
from smalti.imagefiles.table import IMAGE_SUFFIXES
from smalti.images.vocabulary import is_split
from smalti.storage.location import Location, below, kind_of, list_files, open_binary, redacted

__all__ = ["INDEX", "has_index", "index_folders", "indexes_of", "read_index", "shard_location", "split_in", "splits_of"]

INDEX = "index.json"
_MAX_INDEX_BYTES = 1 << 28


def index_folders(folder: Location) -> tuple[str, ...]:
    """The folders that hold an index, relative, in order: "" for the folder itself, else all folders directly in it.

    Empty for a folder with an image file outside of these: it is one of images.
    """
    if kind_of(below(folder, INDEX)) == "file":
        return ("",)
    found: list[str] = []
    for name, _ in list_files(folder):
        parts = name.split("/")
        if name.lower().endswith(tuple(IMAGE_SUFFIXES)):
            return ()
        if parts[1:] == [INDEX]:
            found.append(parts[0])
    return tuple(found)


def has_index(folder: Location, key: str) -> bool:
    """Whether a folder has an index with this key, or consists of folders that have one."""
    try:
        return any(key in read_index(_inside(folder, name)) for name in index_folders(folder)[:1])
    except SourceError:  # another program's
        return False


def read_index(folder: Location) -> Mapping[str, Any]:
    """Read the index of a folder. SourceError if it is no JSON object."""
    location = below(folder, INDEX)
    with open_binary(location) as file:
        data = file.read(_MAX_INDEX_BYTES + 1)
    try:
        found = json.loads(data) if len(data) <= _MAX_INDEX_BYTES else None
    except (ValueError, RecursionError) as error:
        raise SourceError(f"{redacted(location)}: is no JSON; write the shards again") from error
    if not isinstance(found, dict):
        raise SourceError(f"{redacted(location)}: is no JSON object; write the shards again")
    return found


def indexes_of(folder: Location, key: str) -> list[tuple[str, Location, Mapping[str, Any]]]:
    """The split, the location and the index of each folder of shards; SourceError if one lacks the key."""
    found = []
    for name in index_folders(folder):
        location = _inside(folder, name)
        index = read_index(location)
        if not isinstance(index.get(key), list):
            raise SourceError(f"{redacted(below(location, INDEX))}: lists no {key}; give shards of one kind")
        found.append((name, location, index))
    return found


def splits_of(names: Sequence[str]) -> Sequence[str] | None:
    """The splits of shards by the folders that they are in; None if they are in one folder without splits."""
    return None if set(names) <= {""} else names


def split_in(name: str) -> str | None:
    """The split in the name of a file: a word of `set-train.tfrecord-00000-of-00001`, `val.rec`; or in its folders."""
    *folders, last = name.split("/")
    words = re.split(r"[-_.]", last)
    return next((word for word in (*reversed(words), *reversed(folders)) if is_split(word)), None)


def shard_location(folder: Location, name: object, where: str) -> Location:
    """The location of a file that an index names; SourceError for a name that leads out of the folder."""
    parts = name.split("/") if isinstance(name, str) else [""]
    if not isinstance(name, str) or any(part in ("", ".", "..") or "\\" in part or "\0" in part for part in parts):
        raise SourceError(f"{where}: names a file {str(name)[:80]!r}, which is none in its folder; write it again")
    return below(folder, name)


def _inside(folder: Location, name: str) -> Location:
    return below(folder, name) if name else folder
