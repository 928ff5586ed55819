"""Changing archives and collections: merging and appending, dropping images, replacing labels, names and fields.

No image is encoded anew. The output appears whole, or the file that was there before stays.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from functools import partial
from os import PathLike, fspath
from os import path as os_path
from pathlib import Path
from types import TracebackType

import numpy as np
from numpy.typing import NDArray

from smalti.archive.collection.collection import Collection
from smalti.archive.collection.collection_writer import Opener, write_images
from smalti.archive.collection.directory import MANIFEST_SUFFIX, Listed, MemberFacts, pack_manifest
from smalti.archive.edit.rewrite import NewColumns, write_relabelled, write_without
from smalti.archive.format.column import ColumnValues
from smalti.archive.format.limits import Limits
from smalti.archive.open import open_images
from smalti.archive.read.reader import Archive, open_positioned
from smalti.archive.read.selection import Selection, resolve
from smalti.errors import UsageError
from smalti.images.batch import NO_LABEL, Scalar
from smalti.storage.atomic import atomic_file, check_output, refuse_input, writing
from smalti.storage.locking import locked
from smalti.storage.positioned import PositionedFile
from smalti.storage.spool import spool_folder

__all__ = ["append_archive", "drop_images", "merge_archives", "relabel", "write_manifest"]

PathText = str | PathLike[str]
Progress = Callable[[int, int], None]


def merge_archives(
    paths: Sequence[PathText],
    out: PathText,
    *,
    overwrite: bool = False,
    limits: Limits | None = None,
) -> None:
    """Write one file with the images of several files, in this order. A model that several have is stored once.

    paths : archives, collections, manifests
    out : the output; NAME.smalti-manifest becomes a list of the archives (`write_manifest`)

    Raises UsageError for no paths, DamagedArchiveError if an archive is not intact, OutputExistsError, OutputError, and
    the errors of opening.
    """
    if not paths:
        raise UsageError(f"{fspath(out)}: name at least one archive")
    if fspath(out).endswith(MANIFEST_SUFFIX):
        write_manifest(paths, out, overwrite=overwrite)
        return
    check_output(Path(out), overwrite)
    refuse_input(out, paths[1:])  # the first path may be the output: images are then appended in place
    with locked(out), _Files(limits) as files:
        write_images(Path(out), [member for path in paths for member in files.members(path)], overwrite=overwrite)


def write_manifest(paths: Sequence[PathText], out: PathText, *, overwrite: bool = False) -> None:
    """Write a manifest, which lists archives in this order as one collection. The archives stay where they are.

    paths : archives in the folder of `out` or below it

    Raises UsageError for a path outside that folder, for a collection or a manifest, and for another suffix of `out`.
    """
    target = Path(out)
    if target.suffix != MANIFEST_SUFFIX:
        raise UsageError(f"{target}: a manifest is called NAME{MANIFEST_SUFFIX}, so that it is known for one")
    if not paths:
        raise UsageError(f"{target}: name at least one archive")
    listed = []
    for path in map(Path, paths):
        relative = Path(os_path.relpath(path, target.parent)).as_posix()
        if relative.startswith("../"):
            raise UsageError(f"{path}: is not in the folder of {target}, where what it lists must be")
        with open_images(path) as opened:
            if isinstance(opened, Collection):
                raise UsageError(f"{path}: is a collection; list the archives themselves, or merge them in one file")
            listed.append(Listed(relative, path.stat().st_size, MemberFacts.of(opened.sections.header)))
    with atomic_file(target, overwrite=overwrite) as file, writing(target):
        file.write(pack_manifest(listed))


def append_archive(path: PathText, added: PathText, *, limits: Limits | None = None) -> None:
    """Append the images of another archive to `path`, in place.

    Raises OutputError if another process is changing `path`, and the errors of `merge_archives`.
    """
    _refuse_manifest(path)
    merge_archives([path, added], path, overwrite=True, limits=limits)


def drop_images(
    path: PathText,
    selection: Selection,
    out: PathText | None = None,
    *,
    overwrite: bool = False,
    threads: int = 1,
    limits: Limits | None = None,
) -> int:
    """Write an archive or a collection without some images. Returns the number of images that remain.

    selection : the images to drop: numbers, a slice or a mask
    out : the output; None replaces `path`

    Raises ImageIndexError, UsageError if no image would be left, DamagedArchiveError, OutputExistsError, OutputError
    (also if another process is changing the output).
    """
    target = _target(path, out, overwrite)
    with (
        locked(target),
        open_images(path, limits, threads) as opened,
        spool_folder(target) as folder,
        _Files(limits) as files,
    ):
        dropped = np.zeros(len(opened), np.bool_)
        dropped[resolve(selection, len(opened))[0]] = True
        if dropped.all():
            raise UsageError(f"{fspath(path)}: no image would be left; delete the file instead")
        members: list[Opener] = []
        for number, (archive, start) in enumerate(_parts(opened)):
            own = dropped[start : start + len(archive)]
            if own.all():
                continue
            if not own.any():
                members.append(partial(_borrowed, archive))
                continue
            part = folder / f"{number}.smalti"
            write_without(archive, own, part, threads)
            members += files.members(part)
        write_images(target, members, overwrite=True)
    return int(len(dropped) - np.count_nonzero(dropped))


def relabel(
    path: PathText,
    out: PathText | None = None,
    *,
    labels: NDArray[np.integer] | None = None,
    class_names: Sequence[str] | None = None,
    names: Sequence[str] | None = None,
    fields: Mapping[str, ColumnValues | Sequence[Scalar | None] | None] | None = None,
    overwrite: bool = False,
    limits: Limits | None = None,
) -> None:
    """Replace labels, names or fields of an archive or a collection. Pixels are not touched.

    out : the output; None replaces `path`
    labels : integers [N]    class_names : the name of each label 0, 1, ...    names : N relative paths
    fields : columns of N values to add or to replace; None drops a field

    Columns that are not given stay. Raises UsageError if a column does not fit, DamagedArchiveError, OutputExistsError,
    OutputError (also if another process is changing the output).
    """
    target = _target(path, out, overwrite)
    with locked(target), open_images(path, limits) as opened, spool_folder(target) as folder:
        if labels is not None and class_names is None:
            class_names = opened.class_names  # the labels of a collection are numbered by these
        given = NewColumns(
            None if labels is None else _integers(labels, fspath(path)),
            None if class_names is None else tuple(class_names),
            None if names is None else tuple(names),
            {name: values for name, values in (fields or {}).items() if values is not None},
        )
        given.check(len(opened), fspath(path))
        dropped = {name for name, values in (fields or {}).items() if values is None}
        members: list[Opener] = []
        for number, (archive, start) in enumerate(_parts(opened)):
            part = folder / f"{number}.smalti"
            with part.open("xb") as file, writing(part):
                own = _without_empty_labels(given.part(start, start + len(archive)), archive)
                write_relabelled(archive, own.over(_columns(archive), dropped), file, part)
            members.append(partial(_reopened, part, archive))
        write_images(target, members, overwrite=True)


def _without_empty_labels(given: NewColumns, archive: Archive) -> NewColumns:
    """The columns given to a member, without labels if the member has none and all given labels mean "no label"."""
    if given.labels is None or archive.labels is not None or (given.labels != NO_LABEL).any():
        return given
    return replace(given, labels=None)


def _columns(archive: Archive) -> NewColumns:
    return NewColumns(archive.labels, archive.class_names, archive.names, dict(archive.fields))


def _target(path: PathText, out: PathText | None, overwrite: bool) -> Path:
    _refuse_manifest(path)
    if out is not None:
        check_output(Path(out), overwrite)
    return Path(path if out is None else out)


def _refuse_manifest(path: PathText) -> None:
    if fspath(path).endswith(MANIFEST_SUFFIX):
        raise UsageError(f"{fspath(path)}: is a manifest; change the archives that it lists, or merge them in one file")


def _parts(opened: Archive | Collection) -> Iterator[tuple[Archive, int]]:
    """Yield the archives of a file, and the number of the first image of each."""
    if isinstance(opened, Archive):
        yield opened, 0
        return
    for number, start in enumerate(opened.members.starts[:-1].tolist()):
        yield opened.members[number], start


class _Files:
    """Opens members of files one after the other. The file of the last member stays open.

    So the index of a file is read once for its members in a row, and thousands of files need few open ones.
    """

    def __init__(self, limits: Limits | None) -> None:
        self._limits = limits
        self._last: tuple[PathText, Archive | Collection] | None = None

    def __enter__(self) -> "_Files":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._close_last()

    def members(self, path: PathText) -> list[Opener]:
        """Openers of the archives of a file."""
        opened = self._open(path)
        count = 1 if isinstance(opened, Archive) else len(opened.members)
        return [partial(self._member, path, number) for number in range(count)]

    @contextmanager
    def _member(self, path: PathText, number: int) -> Iterator[Archive]:
        opened = self._open(path)
        yield opened if isinstance(opened, Archive) else opened.members[number]

    def _open(self, path: PathText) -> Archive | Collection:
        if self._last is None or self._last[0] != path:
            self._close_last()
            self._last = path, open_images(path, self._limits)
        return self._last[1]

    def _close_last(self) -> None:
        if self._last is not None:
            self._last[1].close()
            self._last = None


@contextmanager
def _borrowed(archive: Archive) -> Iterator[Archive]:
    """Yield an archive that is not closed afterwards."""
    yield archive


@contextmanager
def _reopened(part: Path, like: Archive) -> Iterator[Archive]:
    """Open a member that was written to a file of its own, with the shared payloads of its collection."""
    with open_positioned(PositionedFile(part), like.sections.limits, shared=like.sections.shared) as archive:
        yield archive


def _integers(labels: NDArray[np.integer], where: str) -> NDArray[np.int64]:
    array = np.asarray(labels)
    if array.ndim != 1 or array.dtype.kind not in "iu":
        raise UsageError(f"{where}: labels are {array.dtype} {list(array.shape)}, not integers [N]")
    return array.astype(np.int64)
