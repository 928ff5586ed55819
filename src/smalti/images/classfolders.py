"""What the folders in the paths of images stand for: `class/`, `split/class/`, or nothing.

Used for folders, and for TAR files that are packed folders.
"""

import logging
from collections.abc import Sequence
from dataclasses import dataclass

__all__ = ["SPLIT_FIELD", "FolderMeaning", "meaning_of"]

SPLIT_FIELD = "split"

_SPLITS = frozenset({"train", "training", "test", "testing", "val", "valid", "validation", "dev", "eval", "evaluation"})

_log = logging.getLogger("smalti")


@dataclass(frozen=True)
class FolderMeaning:
    """Which part of a path says what.

    has_splits : the first part is a split
    class_names : the classes in order, or None if no part is a class; if one is, it is the one behind the split
    """

    has_splits: bool
    class_names: tuple[str, ...] | None

    def split_of(self, name: str) -> str | None:
        """The split that an image belongs to."""
        return name.split("/", 1)[0] if self.has_splits else None

    def class_of(self, name: str) -> str | None:
        """The class that an image belongs to."""
        return None if self.class_names is None else name.split("/")[1 if self.has_splits else 0]


def meaning_of(names: Sequence[str], where: str) -> FolderMeaning:
    """What the folders of these paths stand for.

    If every image lies in a first-level folder called as splits are (train, test, val, ...), these are splits, and the
    folders in them may be classes, the same for all splits. Folders are classes if every image lies in one, and
    there are at least two. A warning on the logger "smalti" says which image was in none.
    """
    first = {name.split("/", 1)[0] if "/" in name else "" for name in names}
    has_splits = bool(first) and {folder.lower() for folder in first} <= _SPLITS
    level = 1 if has_splits else 0
    stray: str | None = None
    folders: set[str] = set()
    for name in names:
        parts = name.split("/", level + 1)
        if len(parts) > level + 1:
            folders.add(parts[level])
        elif stray is None:
            stray = name
    if len(folders) < 2:
        return FolderMeaning(has_splits, None)
    if stray is not None:
        _log.warning("%s: no labels, because not every image is in a class folder (%s)", where, stray)
        return FolderMeaning(has_splits, None)
    return FolderMeaning(has_splits, tuple(sorted(folders)))
