"""What the folders in the paths of images stand for: `class/`, `split/class/`, or nothing.

Used for folders, and for TAR files that are packed folders.
"""

import logging
from collections.abc import Iterable
from dataclasses import dataclass

__all__ = ["SPLIT_FIELD", "FolderMeaning", "MeaningFinder", "meaning_of"]

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


class MeaningFinder:
    """Sees one path after the other, and keeps the folders alone."""

    def __init__(self) -> None:
        self._folders: tuple[set[str], set[str]] = (set(), set())  # of the first and of the second level
        self._strays: list[str | None] = [None, None]  # the first image that is in no folder of that level

    def see(self, name: str) -> None:
        """Note the path of an image."""
        parts = name.split("/", 2)
        for level in (0, 1):
            if len(parts) > level + 1:
                self._folders[level].add(parts[level])
            elif self._strays[level] is None:
                self._strays[level] = name

    def meaning(self, where: str | None) -> FolderMeaning:
        """What the folders of all paths stand for.

        If every image lies in a first-level folder called as splits are (train, test, val, ...), these are splits, and
        the folders in them may be classes, the same for all splits. Folders are classes if every image lies in one,
        and there are at least two. A warning on the logger "smalti" says which image was in none,
        unless `where` (what messages call the images) is None.
        """
        first = self._folders[0]
        has_splits = bool(first) and self._strays[0] is None and {folder.lower() for folder in first} <= _SPLITS
        level = 1 if has_splits else 0
        stray = self._strays[level]
        if len(self._folders[level]) < 2:
            return FolderMeaning(has_splits, None)
        if stray is not None:
            if where is not None:
                _log.warning("%s: no labels, because not every image is in a class folder (%s)", where, stray)
            return FolderMeaning(has_splits, None)
        return FolderMeaning(has_splits, tuple(sorted(self._folders[level])))


def meaning_of(names: Iterable[str], where: str | None) -> FolderMeaning:
    """What the folders of these paths stand for (see `MeaningFinder.meaning`)."""
    finder = MeaningFinder()
    for name in names:
        finder.see(name)
    return finder.meaning(where)
