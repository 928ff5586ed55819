"""A folder of PNG files as an output: under the images' own names, else by label and number.

What the files do not tell of themselves is in `metadata.jsonl` (see `foldermetadata`). Everything is written in a
hidden folder first and takes its place at the end.
"""

import itertools
import os
import shutil
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import BinaryIO

from smalti.errors import OutputExistsError, SmaltiError
from smalti.imagefiles.png import png_bytes
from smalti.images.batch import Coming, ImageBatch
from smalti.images.file_names import checked_name, numbered_name, png_name, spare_names
from smalti.images.vocabulary import CLASS_NAMES_FILE, METADATA_FILE
from smalti.sinks.folder_metadata import FolderMetadata
from smalti.storage.atomic import partial_path, sync_folder, writing
from smalti.storage.folder_sync import sync_files_below

__all__ = ["PngFolderWriter", "png_folder"]


_SPARE_NAMES = 100  # each is tried in turn, so many images of one name would take for ever


class PngFolderWriter:
    """Writes batches as PNG files below a folder that is its own.

    coming : what will come: how many images, which sets the width of numbers; what to call the folder of each label
        of images without names
    """

    def __init__(self, folder: Path, shown: Path, coming: Coming) -> None:
        self._folder = folder
        self._shown = shown  # the place that messages name: where the files will be
        self._images = coming.images
        self._class_names = coming.class_names
        self._written = 0
        self._made: set[Path] = set()
        self._metadata = FolderMetadata(folder, shown, coming.class_names)

    def write(self, batch: ImageBatch) -> None:
        """Write the images of a batch. SmaltiError if a name is unsafe or the system refuses to write."""
        names = [self._write_one(batch, position) for position in range(len(batch))]
        self._metadata.add(names, batch)

    def finish(self) -> None:
        """Write what the files themselves do not tell."""
        self._metadata.finish()

    def close(self) -> None:
        """Let go of what is open; after an error too."""
        self._metadata.close()

    def _write_one(self, batch: ImageBatch, position: int) -> str:
        """Write an image; return the name of its file."""
        name = self._name(batch, position)
        with writing(self._shown / name):
            written, file = self._new_file(name)
            with file:
                file.write(png_bytes(batch.pixels[position]))
        self._written += 1
        return written

    def _name(self, batch: ImageBatch, position: int) -> str:
        if batch.names is not None:
            return checked_name(batch.names[position])
        folder = None if batch.labels is None else self._class_folder(int(batch.labels[position]))
        return numbered_name(self._written, self._images, folder)

    def _class_folder(self, label: int) -> str:
        if self._class_names is None or not 0 <= label < len(self._class_names):
            return str(label)
        name = checked_name(self._class_names[label])
        if "/" in name:
            raise SmaltiError(
                f"class name {name!r} holds a slash, so no folder is made of it; write .npy or .tar instead"
            )
        return name

    def _new_file(self, name: str) -> tuple[str, BinaryIO]:
        """Name and open a file that was not there, as the file system sees names (it may not tell A from a)."""
        for candidate in itertools.chain([png_name(name)], itertools.islice(spare_names(name), _SPARE_NAMES)):
            path = self._folder / candidate
            if path.parent not in self._made:
                path.parent.mkdir(parents=True, exist_ok=True)
                self._made.add(path.parent)
            try:
                return candidate, path.open("xb")
            except FileExistsError:
                continue
        raise SmaltiError(f"{name}: more than {_SPARE_NAMES} images of this name; write .npy or .tar instead")


@contextmanager
def png_folder(out: Path, coming: Coming, overwrite: bool) -> Iterator[PngFolderWriter]:
    """A writer of PNG files whose folder takes its place at the end of the `with` block, if nothing was raised.

    A new folder appears whole. An existing empty one is filled, or stays empty. With `overwrite`, files of an
    existing one are replaced one by one and foreign files stay; a kill while that goes on leaves some replaced.
    Raises OutputExistsError for a file, or a folder with something in it and no `overwrite`.
    """
    existing = _existing_folder(out, overwrite)
    stage = partial_path(out / "smalti") if existing else partial_path(out)
    with writing(out):
        stage.mkdir()
    try:
        with closing(PngFolderWriter(stage, out, coming)) as writer:
            yield writer
            writer.finish()
        with writing(out):
            sync_files_below(stage)
            if existing:
                _move_into(stage, out)
            else:
                _rename_new(stage, out)
    finally:
        shutil.rmtree(stage, ignore_errors=True)  # after success there is nothing left of it
    sync_folder(out if existing else out.parent)


def _existing_folder(out: Path, overwrite: bool) -> bool:
    if not os.path.lexists(out):
        return False
    if not out.is_dir():
        raise OutputExistsError(f"{out}: exists and is no folder; choose another name")
    with writing(out):
        if not overwrite and any(out.iterdir()):
            raise OutputExistsError(
                f"{out}: the folder is not empty; choose another one, or overwrite files in it (-f)"
            )
    return True


def _rename_new(stage: Path, out: Path) -> None:
    if os.path.lexists(out):  # a rename would replace an empty folder that is another program's by now
        raise OutputExistsError(f"{out}: came into being meanwhile; choose another name")
    stage.rename(out)


def _move_into(stage: Path, out: Path) -> None:
    """Move what is in `stage` into `out`; into an empty folder, all of it or nothing."""
    conflict = next(_conflicts(stage, out), None)
    if conflict is not None:
        raise OutputExistsError(f"{conflict}: a folder is where a file should be, or a file for a folder; move it")
    stale = [out / name for name in (METADATA_FILE, CLASS_NAMES_FILE) if not (stage / name).exists()]
    was_empty = all(entry.name == stage.name for entry in out.iterdir())
    moved: list[Path] = []
    try:
        _merge(stage, out, moved)
    except BaseException:
        for path in moved if was_empty else []:
            shutil.rmtree(path) if path.is_dir() else path.unlink()
        raise
    for path in stale:  # it would tell of other images
        if path.is_file():
            path.unlink()


def _conflicts(stage: Path, out: Path) -> Iterator[Path]:
    for entry in stage.iterdir():
        target = out / entry.name
        if not os.path.lexists(target):
            continue
        if entry.is_dir() != target.is_dir():
            yield target
        elif entry.is_dir():
            yield from _conflicts(entry, target)


def _merge(stage: Path, out: Path, moved: list[Path]) -> None:
    """Rename folders and files to where nothing is, files over files, and go down where both have a folder."""
    for entry in sorted(stage.iterdir()):
        target = out / entry.name
        if entry.is_dir() and target.is_dir():
            _merge(entry, target, moved)
        else:
            entry.replace(target)
            moved.append(target)
