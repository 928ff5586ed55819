"""A folder of PNG files as an output: with the images' own names, else by label and number. Signed images are TIFF.

Everything is written to a hidden folder first, which appears under its name at the end.

A reader (see `sources.folder`) takes names and order from the paths, and labels and splits from the folders. If that
would not give the same images (other labels than the class folders, names of other files than PNG, another order,
further fields), a `metadata.jsonl` has a row for each image, in order, as in image folders of Hugging Face `datasets`,
and `class_names.json` has the class names.
"""

import itertools
from collections.abc import Iterator
from contextlib import closing, contextmanager, suppress
from pathlib import Path
from typing import BinaryIO, NamedTuple

from smalti.errors import OutputExistsError, SmaltiError
from smalti.images.batch import ImageBatch, OutputSpec, Scalar
from smalti.images.file_names import checked_name, file_name_of, image_suffix, numbered_name, spare_names
from smalti.images.vocabulary import CLASS_NAMES_FILE, FILE_NAME, LABEL, METADATA_FILE, SPLIT_FIELD, TRUE_NAME
from smalti.sinks.staged_folder import staged_folder
from smalti.sinks.volume_files import image_file
from smalti.sources.folder.listing import meaning_of
from smalti.sources.folder.sidecar import check_field_names, class_names_bytes, field_rows, json_line
from smalti.storage.atomic import writing

__all__ = ["FolderMetadata", "PngFolderWriter", "png_folder"]


class _Known(NamedTuple):
    """The values of an image that its folders may state."""

    label: int | None
    has_split: bool
    split: Scalar | None


class FolderMetadata:
    """Writes a row for each image to a draft, which is removed at the end if a reader can do without it.

    folder : the folder that the images are written to
    final : the folder that messages name
    """

    def __init__(self, folder: Path, final: Path, class_names: tuple[str, ...] | None) -> None:
        self._folder = folder
        self._final = final / METADATA_FILE
        self._class_names = class_names
        self._draft = folder / f".{METADATA_FILE}"  # no image has a hidden name
        with writing(self._final):
            self._file = self._draft.open("xb")
        self._needed = False
        self._last: list[str] = []
        self._folders: dict[tuple[str, ...], _Known] = {}  # by the first two folders of a path

    def add(self, file_names: list[str], batch: ImageBatch) -> None:
        """Add the rows of images that were written to these relative paths."""
        check_field_names(batch.fields, FILE_NAME, TRUE_NAME, *([] if batch.labels is None else [LABEL]))
        self._needed |= not batch.fields.keys() <= {SPLIT_FIELD}
        with writing(self._final):
            for position, fields in enumerate(field_rows(batch.fields, len(batch))):
                file_name = file_names[position]
                label = None if batch.labels is None else int(batch.labels[position])
                row: dict[str, Scalar | None] = {FILE_NAME: file_name}
                if label is not None or "/" in file_name:  # null says that the folder is no class
                    row[LABEL] = label
                if batch.names is not None and batch.names[position] != file_name:
                    row[TRUE_NAME] = batch.names[position]
                    self._needed = True
                self._file.write(json_line(row | fields))
                self._see(file_name, _Known(label, SPLIT_FIELD in fields, fields.get(SPLIT_FIELD)))

    def finish(self) -> None:
        """Keep the rows if the files alone do not give the same images, else remove them."""
        with writing(self._final):
            self._file.close()
            if not self._needed and self._folders_tell_all():
                self._draft.unlink()
                return
            self._keep()

    def close(self) -> None:
        """Close the file of rows."""
        with suppress(OSError):  # a full disk fails here again, and must not hide the first error
            self._file.close()

    def _see(self, file_name: str, known: "_Known") -> None:
        """Note whether the image is in the order of paths, and has the same values as others of its folder."""
        parts = file_name.split("/")
        self._needed |= parts <= self._last
        self._last = parts
        self._needed |= self._folders.setdefault(tuple(parts[:-1][:2]), known) != known

    def _folders_tell_all(self) -> bool:
        """Whether a reader of the folders finds the same labels and splits, and none where there are none.

        Labels without class names may get the names of their folders, and images the split of theirs.
        """
        paths = {"/".join((*folders, "image")): known for folders, known in self._folders.items()}
        meaning = meaning_of(list(paths), None)
        classes = meaning.class_names or ()
        for path, known in paths.items():
            class_name = meaning.class_of(path)
            if known.label != (None if class_name is None else classes.index(class_name)):
                return False
            if known.has_split and known.split != meaning.split_of(path):
                return False
        labelled = any(known.label is not None for known in paths.values())
        return not labelled or self._class_names in (None, classes)

    def _keep(self) -> None:
        target = self._folder / METADATA_FILE
        if target.exists():
            raise OutputExistsError(f"{self._final}: is a folder of images, and what is known of them is to go there")
        self._draft.rename(target)
        if self._class_names is not None:
            (self._folder / CLASS_NAMES_FILE).write_bytes(class_names_bytes(self._class_names))


_SPARE_NAMES = 100  # each is tried in turn, so many images of one name would take too long


class PngFolderWriter:
    """Writes batches as files of one image below a folder of its own.

    folder : the folder to write to
    final : where the files will be at the end, for messages
    spec : its number of images sets the width of numbers; its class names are the folders of images without names
    """

    def __init__(self, folder: Path, final: Path, spec: OutputSpec) -> None:
        self._folder = folder
        self._final = final
        self._images = spec.images
        self._class_names = spec.class_names
        self._written = 0
        self._made: set[Path] = set()
        self._metadata = FolderMetadata(folder, final, spec.class_names)

    def write(self, batch: ImageBatch) -> None:
        """Write the images of a batch. SmaltiError if a name is unsafe or the system refuses to write."""
        names = [self._write_one(batch, position) for position in range(len(batch))]
        self._metadata.add(names, batch)

    def finish(self) -> None:
        """Write the rows, if they are needed."""
        self._metadata.finish()

    def close(self) -> None:
        """Close open files, also after an error."""
        self._metadata.close()

    def _write_one(self, batch: ImageBatch, position: int) -> str:
        """Write an image; return the name of its file."""
        suffix = image_suffix(batch.pixels.dtype)
        name = self._name(batch, position, suffix)
        with writing(self._final / name):
            written, file = self._new_file(name, suffix)
            with file:
                file.write(image_file(batch.pixels[position]))
        self._written += 1
        return written

    def _name(self, batch: ImageBatch, position: int, suffix: str) -> str:
        if batch.names is not None:
            return checked_name(batch.names[position])
        folder = None if batch.labels is None else self._class_folder(int(batch.labels[position]))
        return numbered_name(self._written, self._images, folder, suffix)

    def _class_folder(self, label: int) -> str:
        if self._class_names is None or not 0 <= label < len(self._class_names):
            return str(label)
        name = checked_name(self._class_names[label])
        if "/" in name:
            raise SmaltiError(
                f"class name {name!r} holds a slash, so no folder is made of it; write .npy or .tar instead"
            )
        return name

    def _new_file(self, name: str, suffix: str) -> tuple[str, BinaryIO]:
        """Name and open a new file. The file system decides whether a name is new: it may not distinguish A from a."""
        spare = itertools.islice(spare_names(name, suffix), _SPARE_NAMES)
        for candidate in itertools.chain([file_name_of(name, suffix)], spare):
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
def png_folder(out: Path, spec: OutputSpec, overwrite: bool) -> Iterator[PngFolderWriter]:
    """Open a writer of files of one image, whose folder appears at the end of the `with` block, if nothing was raised.

    A new folder appears whole. An existing empty folder is filled, or stays empty. With `overwrite`, files in an
    existing folder are replaced one by one, and other files stay; a kill meanwhile leaves some replaced. Raises
    OutputExistsError for a file, or for a folder that is not empty without `overwrite`.
    """
    with (
        staged_folder(out, overwrite, _belongs_to_images) as stage,
        closing(PngFolderWriter(stage, out, spec)) as writer,
    ):
        yield writer
        writer.finish()


def _belongs_to_images(name: str) -> bool:
    return name in (METADATA_FILE, CLASS_NAMES_FILE)
