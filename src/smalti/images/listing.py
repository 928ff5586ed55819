"""Which files of a folder are images by their place and suffix, in which order, and of which class.

Files are looked at by name and kind only; `imagefile` reads them. The order is by relative POSIX path, compared
part by part by code point, so it is the same on every machine, file system and locale.
"""

import logging
import os
import stat
from dataclasses import dataclass
from pathlib import Path

from smalti.errors import SourceError
from smalti.images.batch import SkippedFile

__all__ = ["IMAGE_SUFFIXES", "FolderListing", "list_folder"]

IMAGE_SUFFIXES = frozenset({".png", ".jpg", ".jpeg", ".bmp", ".tif", ".tiff", ".webp", ".gif"})
_IGNORED_NAMES = frozenset({"thumbs.db", "desktop.ini"})  # made by file managers; dot files are ignored too

_log = logging.getLogger("smalti")


@dataclass(frozen=True)
class FolderListing:
    """The image files of a folder.

    names : relative POSIX paths in order
    class_names : names of the first-level folders in order if every image lies under one and there are at least
        two, else None; the label of an image is the index of its folder
    skipped : files and links that were passed over, in order
    """

    names: tuple[str, ...]
    class_names: tuple[str, ...] | None
    skipped: tuple[SkippedFile, ...]


def list_folder(root: Path) -> FolderListing:
    """List a folder at any depth. SourceError if it cannot be read.

    Links to files are followed. Links to folders are followed if they lead out of `root`, and each such folder is
    read once; so loops of links end.
    """
    walk = _Walk(root)
    walk.read_all()
    names = tuple(sorted(walk.names, key=_order))
    skipped = tuple(SkippedFile(name, walk.skipped[name]) for name in sorted(walk.skipped, key=_order))
    return FolderListing(names, _class_names(names, root), skipped)


def _order(name: str) -> list[str]:
    return name.split("/")


def _class_names(names: tuple[str, ...], root: Path) -> tuple[str, ...] | None:
    folders = sorted({name.split("/", 1)[0] for name in names if "/" in name})
    if len(folders) < 2:
        return None
    stray = next((name for name in names if "/" not in name), None)
    if stray is not None:
        _log.warning("%s: no labels, because not every image is in a class folder (%s)", root, stray)
        return None
    return tuple(folders)


class _Walk:
    """Reads folders one after the other, from a list of those still to be read."""

    def __init__(self, root: Path) -> None:
        self.names: list[str] = []
        self.skipped: dict[str, str] = {}
        self._root = root
        self._real_root = os.path.realpath(root)
        self._outside: set[str] = set()  # real paths of linked folders already read
        self._waiting: list[tuple[str, bool]] = [("", False)]  # relative path, whether it lies behind a link

    def read_all(self) -> None:
        while self._waiting:
            folder, linked = self._waiting.pop()
            if linked and self._is_read_elsewhere(folder):
                self.skipped[folder] = "link to a folder that is read in its own place"
                continue
            try:
                with os.scandir(self._root / folder) as found:
                    # Reversed, so that the folder taken from the end of the list is the first by name.
                    entries = sorted(found, key=lambda entry: entry.name, reverse=True)
            except OSError as error:
                if not folder:
                    raise SourceError(f"{self._root}: cannot be read: {error.strerror or error}") from error
                self.skipped[folder] = f"folder cannot be read: {error.strerror or error}"
                continue
            for entry in entries:
                self._see(entry, f"{folder}/{entry.name}" if folder else entry.name, linked)

    def _see(self, entry: "os.DirEntry[str]", name: str, linked: bool) -> None:
        if entry.name.startswith(".") or entry.name.lower() in _IGNORED_NAMES:
            return
        if not _is_unicode(entry.name):
            shown = name.encode("utf-8", "backslashreplace").decode()
            self.skipped[shown] = "name is not valid UTF-8; rename it"
            return
        try:
            mode = entry.stat().st_mode
        except OSError as error:
            reason = "link that leads nowhere" if entry.is_symlink() else (error.strerror or str(error))
            self.skipped[name] = reason
            return
        if stat.S_ISDIR(mode):
            self._waiting.append((name, linked or entry.is_symlink()))
        elif not stat.S_ISREG(mode):
            self.skipped[name] = "not a regular file"  # opening a pipe could wait for ever
        elif os.path.splitext(name)[1].lower() not in IMAGE_SUFFIXES:  # noqa: PTH122 (a Path costs more than the listing)
            self.skipped[name] = "no image by its suffix (PNG, JPEG, BMP, TIFF, WebP and GIF are read)"
        else:
            self.names.append(name)

    def _is_read_elsewhere(self, folder: str) -> bool:
        """Whether a folder behind a link lies in the root or was read already; if not, it counts as read now."""
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
