"""The image files of a folder, in order, and the meaning of its folders: `class/`, `split/class/`, or none.

Files are recognized by suffix and not opened; those without a suffix by their first bytes. `imagefiles` reads them.
The order is by relative POSIX path, compared part by part by code point, so it is the same on every machine, file
system and locale. The meaning of folders holds for TAR files too, if they are packed folders.
"""

import logging
import os
import stat
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from smalti.errors import SourceError
from smalti.imagefiles.format import HEAD_BYTES
from smalti.imagefiles.table import FORMAT_NAMES, format_of, is_image_name, may_lack_suffix
from smalti.images.batch import SkippedFile
from smalti.images.vocabulary import CLASS_NAMES_FILE, METADATA_NAMES, is_split
from smalti.storage.location import Location, is_url, list_files

__all__ = ["FolderListing", "FolderMeaning", "MeaningFinder", "is_hidden", "list_folder", "meaning_of"]


_IGNORED_NAMES = frozenset({"thumbs.db", "desktop.ini"})  # made by file managers; dot files are ignored too


@dataclass(frozen=True)
class FolderListing:
    """The image files of a folder.

    names : relative POSIX paths in order
    metadata : paths of files that may hold rows or class names, in order
    skipped : skipped files and links, in order
    """

    names: tuple[str, ...]
    metadata: tuple[str, ...]
    skipped: tuple[SkippedFile, ...]


def list_folder(root: Location) -> FolderListing:
    """List a folder at any depth, local or behind a URL. SourceError if it cannot be read.

    Links to files are followed. Links to folders are followed if they lead out of `root`; each such folder is read
    once, so loops of links end.
    """
    walk = _Walk(Path(root)) if not is_url(root) else None
    listing = _Listing(None) if walk is None else walk.listing
    if walk is not None:
        walk.read_all()
    else:
        for name, _ in list_files(root):
            if not any(is_hidden(part) for part in name.split("/")):
                listing.see_file(name)
    skipped = tuple(SkippedFile(name, listing.skipped[name]) for name in sorted(listing.skipped, key=_order))
    return FolderListing(tuple(sorted(listing.names, key=_order)), tuple(sorted(listing.metadata, key=_order)), skipped)


def _order(name: str) -> str:
    return name.replace("/", "\0")  # compares as lists of parts do, in a third of their memory: no name holds a zero


def is_hidden(name: str) -> bool:
    """Whether a file of this name is ignored, and not listed as skipped: hidden, or made by a file manager."""
    return name.startswith(".") or name.lower() in _IGNORED_NAMES


class _Listing:
    """The files found so far, in any order.

    root : the folder, whose files without a suffix are looked at; None if it is behind a URL, where that takes requests
    """

    def __init__(self, root: Path | None) -> None:
        self._root = root
        self.names: list[str] = []
        self.metadata: list[str] = []
        self.skipped: dict[str, str] = {}

    def see_file(self, name: str) -> None:
        if is_image_name(name):
            self.names.append(name)
        elif name == CLASS_NAMES_FILE or name.rpartition("/")[2].lower() in METADATA_NAMES:
            self.metadata.append(name)
        elif self._root is not None and may_lack_suffix(name):
            self._look_at(name, self._root / name)
        else:
            self.skipped[name] = f"no image by its suffix ({FORMAT_NAMES} are read)"

    def _look_at(self, name: str, path: Path) -> None:
        """Decide by the first bytes of a file whether it is an image."""
        try:
            with path.open("rb") as file:
                head = file.read(HEAD_BYTES)
        except OSError as error:
            self.skipped[name] = f"cannot be read: {error.strerror or error}"
            return
        if format_of(head) is None:
            self.skipped[name] = "no image by its first bytes, and it has no suffix"
        else:
            self.names.append(name)


class _Walk:
    """Reads local folders from a list of folders to read."""

    def __init__(self, root: Path) -> None:
        self.listing = _Listing(root)
        self._root = root
        self._real_root = os.path.realpath(root)
        self._outside: set[str] = set()  # real paths of linked folders already read
        self._unread: list[tuple[str, bool]] = [("", False)]  # relative path, whether it lies behind a link

    def read_all(self) -> None:
        while self._unread:
            folder, linked = self._unread.pop()
            if linked and self._is_read_elsewhere(folder):
                self.listing.skipped[folder] = "link to a folder that is read in its own place"
                continue
            try:
                with os.scandir(self._root / folder) as found:
                    # Reversed, so that the folder taken from the end of the list is the first by name.
                    entries = sorted(found, key=lambda entry: entry.name, reverse=True)
            except OSError as error:
                if not folder:
                    raise SourceError(f"{self._root}: cannot be read: {error.strerror or error}") from error
                self.listing.skipped[folder] = f"folder cannot be read: {error.strerror or error}"
                continue
            for entry in entries:
                self._see(entry, f"{folder}/{entry.name}" if folder else entry.name, linked)

    def _see(self, entry: "os.DirEntry[str]", name: str, linked: bool) -> None:
        if is_hidden(entry.name):
            return
        if not _is_unicode(entry.name):
            shown = name.encode("utf-8", "backslashreplace").decode()
            self.listing.skipped[shown] = "name is not valid UTF-8; rename it"
            return
        try:
            mode = entry.stat().st_mode
        except OSError as error:
            reason = "link that leads nowhere" if entry.is_symlink() else (error.strerror or str(error))
            self.listing.skipped[name] = reason
            return
        if stat.S_ISDIR(mode):
            self._unread.append((name, linked or entry.is_symlink()))
        elif not stat.S_ISREG(mode):
            self.listing.skipped[name] = "not a regular file"  # opening a pipe could wait for ever
        else:
            self.listing.see_file(name)

    def _is_read_elsewhere(self, folder: str) -> bool:
        """Whether a folder behind a link lies in the root or was read before; if not, note it as read."""
        real = os.path.realpath(self._root / folder)
        inside = real == self._real_root or real.startswith(self._real_root.rstrip(os.sep) + os.sep)
        if inside or real in self._outside:
            return True
        self._outside.add(real)
        return False


def _is_unicode(name: str) -> bool:
    try:
        name.encode()
    except UnicodeEncodeError:
        return False
    return True


_log = logging.getLogger("smalti")


@dataclass(frozen=True)
class FolderMeaning:
    """The meaning of the parts of a path.

    has_splits : whether the first part is a split
    class_names : the classes in order; the class is the first part, or the part after the split. None without classes
    """

    has_splits: bool
    class_names: tuple[str, ...] | None

    def split_of(self, name: str) -> str | None:
        """Return the split of an image; None without splits."""
        return name.split("/", 1)[0] if self.has_splits else None

    def class_of(self, name: str) -> str | None:
        """Return the class of an image; None without classes."""
        return None if self.class_names is None else name.split("/")[1 if self.has_splits else 0]


class MeaningFinder:
    """Finds the meaning of folders from paths; of these, only the folders stay in memory."""

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
        """Return the meaning of the folders of all paths noted.

        First-level folders are splits if every image lies in one and all are named like splits (train, test, val,
        ...). Folders, or those within splits, are classes if every image lies in one and there are at least two; all
        splits have the same classes.

        where : what messages call the images: a warning on the logger "smalti" names an image without a class folder;
            None for no warning
        """
        first = self._folders[0]
        has_splits = bool(first) and self._strays[0] is None and all(is_split(folder) for folder in first)
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
    """Return the meaning of the folders of these paths; see `MeaningFinder.meaning`."""
    finder = MeaningFinder()
    for name in names:
        finder.see(name)
    return finder.meaning(where)
