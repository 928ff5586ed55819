"""The names by which files of others, and ours, say what is what: splits, labels, names, metadata. Each stands once."""

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
"""What a split may be called, lower case, and the part that it is: the same as for Hugging Face `datasets`."""

SPLIT_ORDER = ("train", "val", "test")

LABEL = "label"
"""The column of labels in what smalti writes, and the field that labels become which are no labels for smalti."""

LABEL_NAMES = ("label", "labels", "fine_label", "class", "target", "targets", "y")
"""What labels may be called among arrays beside images and among columns of classes, best first."""

PLAIN_LABEL_NAMES = LABEL_NAMES[:2]
"""What labels may be called in a table whose columns may be anything, best first."""

FILE_NAME = "file_name"
"""The column of names in what smalti writes."""

NAME_COLUMNS = (FILE_NAME, "filename", "path", "__key__")
"""What a column of names may be called in a table, best first."""

NAMES_ARRAY = "names"
"""What an array of names beside an array of images is called."""

TRUE_NAME = "__name__"
"""The key of an image's own name, where its file had to be called something else."""

METADATA_FILE = "metadata.jsonl"
"""What smalti calls a file of rows."""

METADATA_PARQUET = "metadata.parquet"

METADATA_NAMES = frozenset({METADATA_FILE, "metadata.csv", METADATA_PARQUET})
"""What a file of rows in a folder may be called."""

CLASS_NAMES_FILE = "class_names.json"
"""What a file of the names of classes is called."""

TAR_SUFFIXES = (".tar", ".tar.gz", ".tgz", ".tar.zst", ".tzst")
"""The suffixes of TAR files that are read, and written."""

_WEBDATASET_OWN = re.compile(r"__[^/]*__($|/)")


def is_split(word: str) -> bool:
    """Whether a word is the name of a split, in any case of letters."""
    return word.lower() in SPLIT_NAMES


def split_part(word: str) -> str:
    """The part ("train", "val" or "test") that a name of a split means. KeyError for other words."""
    return SPLIT_NAMES[word.lower()]


def first_known(names: Iterable[str], known: tuple[str, ...]) -> str | None:
    """Of some names, the one that comes first in `known`, in any case of letters; None if there is none."""
    ranks = {name: known.index(name.lower()) for name in names if name.lower() in known}
    return min(ranks, key=lambda name: ranks[name], default=None)


def webdataset_ignores(name: str) -> bool:
    """Whether a member of a TAR file is one of WebDataset's own (`__NAME__`), which it passes over."""
    return _WEBDATASET_OWN.match(name) is not None
