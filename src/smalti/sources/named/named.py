"""Sets of images known by name, opened: `sets` says which there are.

Their raw files are fetched once into the user's cache, and checked against pinned SHA-256 sums each time they are
opened, wherever they come from. The environment variable `SMALTI_DATA` names a folder to use instead.
"""

import logging
import os
from collections.abc import Callable, Sequence
from pathlib import Path

import platformdirs

from smalti.errors import DownloadError, SourceError
from smalti.images.source import ChainedSource, ImageSource
from smalti.sources.arrays.idx import IdxSource, open_idx
from smalti.sources.named.fetching import MirrorError, RawFile
from smalti.sources.named.sets import SET_NAMES, SETS, NamedSet, Part
from smalti.storage.atomic import atomic_file
from smalti.storage.spool import spool_folder

__all__ = ["open_named", "open_set"]

_log = logging.getLogger("smalti")


class _WrongBytesError(Exception):
    """Fetched bytes are not those expected, so they must not take their name."""


def open_named(name: str, report: Callable[[str], None] | None = None) -> ImageSource:
    """Open one of `SET_NAMES`, fetching it if it is not in the cache.

    report : takes a line of text for each step of a download; None sends it to the logger "smalti"

    Raises DownloadError if no mirror gave the right bytes, SourceError if `SMALTI_DATA` does not hold them.
    """
    if name not in SET_NAMES:
        raise SourceError(f"{name}: no set of this name; there are {', '.join(SET_NAMES)}")
    base, _, split = name.partition("/")
    named = next(one for one in SETS if one.name == base)
    parts = [part for part in named.parts if split in ("", part.name)]
    return open_set(named, parts, report or _log.warning)


def open_set(named: NamedSet, parts: Sequence[Part], report: Callable[[str], None]) -> ImageSource:
    """Open parts of a named set, one after the other."""
    folder = os.environ.get("SMALTI_DATA")
    wanted = [file for part in parts for file in part.files]
    found = _find_in(Path(folder), named, wanted) if folder else _find_in_cache(named, wanted, report)
    sources = [_open_part(named, part, found) for part in parts]
    return sources[0] if len(sources) == 1 else ChainedSource(named.name, sources)


def _open_part(named: NamedSet, part: Part, found: dict[RawFile, Path]) -> IdxSource:
    description = f"{named.name}/{part.name}" if part.name else named.name
    labels = None if part.labels is None else found[part.labels]
    names = None if part.names is None else _read_names(found[part.names])
    return IdxSource(found[part.images], labels, description, names=names, class_names=named.class_names)


def _read_names(path: Path) -> tuple[str, ...]:
    with open_idx(path) as file:
        return tuple(file.read().decode().splitlines())


def _find_in(folder: Path, named: NamedSet, wanted: Sequence[RawFile]) -> dict[RawFile, Path]:
    """Where the files are in the user's own folder, plain or .gz, in a subfolder of the set's name or directly."""
    found: dict[RawFile, Path] = {}
    for file in wanted:
        places = [folder / named.name / file.name, folder / file.name]
        here = [path for place in places for path in (place, place.with_name(f"{place.name}.gz")) if path.is_file()]
        right = next((path for path in here if file.is_at(path)), None)
        if right is None and here:
            raise SourceError(f"{here[0]}: is not {file.name} of {named.name} (SHA-256 differs); replace it")
        if right is None:
            raise SourceError(
                f"SMALTI_DATA={folder}: {file.name} (or .gz) of {named.name} is neither there nor in its subfolder "
                f"{named.name}; put it there, or unset SMALTI_DATA to fetch it"
            )
        found[file] = right
    return found


def _find_in_cache(named: NamedSet, wanted: Sequence[RawFile], report: Callable[[str], None]) -> dict[RawFile, Path]:
    """Where the files are in the user's cache, after fetching those that are missing or damaged."""
    cache = platformdirs.user_cache_path("smalti") / named.name
    if not all(file.is_at(cache / file.name) for file in wanted):
        # All of the set at once: packages hold the whole, and the mirror that answers need be found only once.
        files = [file for part in named.parts for file in part.files if not file.is_at(cache / file.name)]
        _fetch(named, files, cache, report)
    return {file: cache / file.name for file in wanted}


def _fetch(named: NamedSet, missing: list[RawFile], cache: Path, report: Callable[[str], None]) -> None:
    """Ask the mirrors in turn until all missing files are in the cache; DownloadError if they never are."""
    try:
        cache.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        advice = "set XDG_CACHE_HOME to a folder that can be written, or SMALTI_DATA to one with the files"
        raise SourceError(f"{cache}: cannot be made: {error.strerror or error}; {advice}") from error
    tried: list[str] = []
    for mirror in named.mirrors:
        report(f"{named.name}: fetching from {mirror.name}")
        refusal = "some files are missing or have other bytes than expected"
        with spool_folder(cache / missing[0].name) as folder:
            try:
                mirror.fetch(missing, folder)
            except MirrorError as error:
                refusal = str(error)
            missing = [file for file in missing if not _place_right_one(file, folder, cache / file.name)]
        if not missing:
            return
        report(f"{named.name}: {mirror.name} passed over: {refusal}")
        tried.append(f"{mirror.name} ({refusal})")
    names = ", ".join(file.name for file in missing)
    raise DownloadError(
        f"{named.name}: no mirror gave {names}: tried {'; '.join(tried)}; check the network, or set SMALTI_DATA to a "
        "folder that holds these files (plain or .gz)"
    )


def _place_right_one(file: RawFile, folder: Path, target: Path) -> bool:
    """Whether a fetched file had the right bytes and is now, unpacked, at its place in the cache."""
    for path in sorted([*folder.rglob(file.name), *folder.rglob(f"{file.name}.gz")]):
        try:
            # Whole or not at all, so that two processes that fetch at once cannot harm each other.
            with atomic_file(target, overwrite=True) as out:
                if not file.is_at(path, copy_to=out):
                    raise _WrongBytesError
        except _WrongBytesError:
            continue
        return True
    return False
