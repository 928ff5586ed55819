"""Names in files, each defined once: of splits, of columns of labels and names, of metadata files, of TAR files.

Layer: within `images`, the lowest.
"""

import re
from collections.abc import Iterable

__all__ = [
    "CLASS_NAMES_FILE",
    "FILE_NAME",
    "LABEL",
    "LABEL_NAMES",
    "METADATA_FILE",
    "METADATA_NAMES",
    "METADATA_PARQUET",
    "NAMES_ARRAY",
    "NAME_COLUMNS",
    "PLAIN_LABEL_NAMES",
    "SPLIT_FIELD",
    "SPLIT_NAMES",
    "SPLIT_ORDER",
    "TAR_SUFFIXES",
    "TRUE_NAME",
    "first_known",
    "is_split",
    "split_part",
    "webdataset_ignores",
]

SPLIT_FIELD = "split"
"""The field that holds the split of an image."""

SPLIT_NAMES = {
    "train": "train",
    "training": "train",
    "val": "val",
    "valid": "val",
    "validation": "val",
    "dev": "val",
    "test": "test",
    "testing": "test",
    "eval": "test",
    "evaluation": "test",
}
"""Names of splits, in lower case, and the part that each means, the same as for Hugging Face `datasets`."""

SPLIT_ORDER = ("train", "val", "test")

LABEL = "label"
"""The column of labels in files that smalti writes. Labels that are no integers become a field of this name."""

LABEL_NAMES = ("label", "labels", "fine_label", "class", "target", "targets", "y")
"""Names of labels among arrays beside images, and among columns of classes; the best first."""

PLAIN_LABEL_NAMES = LABEL_NAMES[:2]
"""Names of labels in a table whose columns may be anything; the best first."""

FILE_NAME = "file_name"
"""The column of names in files that smalti writes."""

NAME_COLUMNS = (FILE_NAME, "filename", "path", "__key__")
"""Names of a column of names in a table; the best first."""

NAMES_ARRAY = "names"
"""The name of an array of names beside an array of images."""

TRUE_NAME = "__name__"
"""The key of an image's own name, if its file needed another one."""

METADATA_FILE = "metadata.jsonl"
"""The name of a file of rows that smalti writes."""

METADATA_PARQUET = "metadata.parquet"

METADATA_NAMES = frozenset({METADATA_FILE, "metadata.csv", METADATA_PARQUET})
"""Names of a file of rows in a folder."""

CLASS_NAMES_FILE = "class_names.json"
"""The name of a file with the names of classes."""

TAR_SUFFIXES = (".tar", ".tar.gz", ".tgz", ".tar.zst", ".tzst")
"""Suffixes of the TAR files that smalti reads and writes."""

_WEBDATASET_OWN = re.compile(r"__[^/]*__($|/)")


def is_split(word: str) -> bool:
    """Whether a word is the name of a split, in upper or lower case."""
    return word.lower() in SPLIT_NAMES


def split_part(word: str) -> str:
    """The part that the name of a split means: "train", "val" or "test". KeyError for other words."""
    return SPLIT_NAMES[word.lower()]


def first_known(names: Iterable[str], known: tuple[str, ...]) -> str | None:
    """The name that comes first in `known`, in upper or lower case; None if none of the names is in it."""
    positions = {name: known.index(name.lower()) for name in names if name.lower() in known}
    return min(positions, key=lambda name: positions[name], default=None)


def webdataset_ignores(name: str) -> bool:
    """Whether WebDataset ignores a member of a TAR file, because it is one of its own (`__NAME__`)."""
    return _WEBDATASET_OWN.match(name) is not None
