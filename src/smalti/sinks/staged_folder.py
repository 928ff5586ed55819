"""A folder as an output: everything is written to a hidden folder, which appears under its name at the end."""

import os
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from smalti.errors import OutputExistsError
from smalti.storage.atomic import partial_path, sync_files_below, sync_folder, writing

__all__ = ["staged_folder"]


@contextmanager
def staged_folder(
    out: Path, overwrite: bool, belongs: Callable[[str], bool], index: str | None = None
) -> Iterator[Path]:
    """Yield an empty folder to write to. Its contents appear in `out` at the end, if nothing was raised.

    belongs : whether a file of this name in an existing folder is about the images there; if it is not replaced, it
        is removed
    index : the file by which readers find the others: an old one is removed first, and the new one comes last

    A new folder appears whole. An existing empty folder is filled, or stays empty. With `overwrite`, files in an
    existing folder are replaced one by one, and other files stay; a kill meanwhile leaves some replaced. Raises
    OutputExistsError for a file, or for a folder that is not empty without `overwrite`.
    """
    existing = _existing_folder(out, overwrite)
    stage = partial_path(out / "smalti") if existing else partial_path(out)
    with writing(out):
        stage.mkdir()
    try:
        yield stage
        with writing(out):
            sync_files_below(stage)
            if existing:
                _move_into(stage, out, belongs, index)
            else:
                _rename_new(stage, out)
    finally:
        shutil.rmtree(stage, ignore_errors=True)  # after success it is gone already
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
    if os.path.lexists(out):  # a rename would replace an empty folder that another program has made meanwhile
        raise OutputExistsError(f"{out}: came into being meanwhile; choose another name")
    stage.rename(out)


def _move_into(stage: Path, out: Path, belongs: Callable[[str], bool], index: str | None) -> None:
    """Move the contents of `stage` into `out`; into an empty folder, all or nothing."""
    conflict = next(_conflicts(stage, out), None)
    if conflict is not None:
        raise OutputExistsError(f"{conflict}: a folder is where a file should be, or a file for a folder; move it")
    stale = [path for path in out.iterdir() if belongs(path.name) and not (stage / path.name).exists()]
    was_empty = all(entry.name == stage.name for entry in out.iterdir())
    if index is not None:
        (out / index).unlink(missing_ok=True)
    moved: list[Path] = []
    try:
        _merge(stage, out, moved, index)
    except BaseException:
        for path in moved if was_empty else []:
            shutil.rmtree(path) if path.is_dir() else path.unlink()
        raise
    for path in stale:  # it belongs to other images
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


def _merge(stage: Path, out: Path, moved: list[Path], last: str | None = None) -> None:
    """Move folders and files to new names, files over files, and descend into folders that exist on both sides."""
    for entry in sorted(stage.iterdir(), key=lambda entry: (entry.name == last, entry)):
        target = out / entry.name
        if entry.is_dir() and target.is_dir():
            _merge(entry, target, moved)
        else:
            entry.replace(target)
            moved.append(target)
