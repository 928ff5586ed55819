"""Whether the files of a written folder tell all of their images by themselves, and a `metadata.jsonl` if they do not.

Read again (see `folder`), a folder gives names and their order from its paths, and labels and splits from folders. What
else there is to tell (labels that are not those of class folders, names that are no PNG's, another order, further
fields) is in rows as image folders of Hugging Face `datasets` have them, in the order of the images; the names of
classes are then in `class_names.json`.
"""

from contextlib import suppress
from pathlib import Path
from typing import NamedTuple

from smalti.errors import OutputExistsError
from smalti.images.batch import ImageBatch, Scalar
from smalti.images.vocabulary import CLASS_NAMES_FILE, FILE_NAME, LABEL, METADATA_FILE, SPLIT_FIELD, TRUE_NAME
from smalti.sources.folder.listing import meaning_of
from smalti.sources.folder.sidecar import check_field_names, class_names_bytes, field_rows, json_line
from smalti.storage.atomic import writing

__all__ = ["FolderMetadata"]


class _Known(NamedTuple):
    """What is known of an image that its folders may tell."""

    label: int | None
    has_split: bool
    split: Scalar | None


class FolderMetadata:
    """Writes the rows as images come, and keeps them at the end if they are needed.

    folder : where the images are being written
    shown : the place that messages name
    """

    def __init__(self, folder: Path, shown: Path, class_names: tuple[str, ...] | None) -> None:
        self._folder = folder
        self._shown = shown / METADATA_FILE
        self._class_names = class_names
        self._draft = folder / f".{METADATA_FILE}"  # no image has a hidden name
        with writing(self._shown):
            self._file = self._draft.open("xb")
        self._needed = False
        self._last: list[str] = []
        self._folders: dict[tuple[str, ...], _Known] = {}  # by the first two folders of a path

    def add(self, file_names: list[str], batch: ImageBatch) -> None:
        """Note images that were written under these relative paths."""
        check_field_names(batch.fields, FILE_NAME, TRUE_NAME, *([] if batch.labels is None else [LABEL]))
        self._needed |= not batch.fields.keys() <= {SPLIT_FIELD}
        with writing(self._shown):
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
        """Keep the rows if the files do not tell all that is in them, else remove them."""
        with writing(self._shown):
            self._file.close()
            if not self._needed and self._folders_tell_all():
                self._draft.unlink()
                return
            self._keep()

    def close(self) -> None:
        """Close the file of rows."""
        with suppress(OSError):  # a full disk fails here once more, which must not hide the first error
            self._file.close()

    def _see(self, file_name: str, known: "_Known") -> None:
        """Note whether an image comes in the order of paths, and what is known of it beside others of its folder."""
        parts = file_name.split("/")
        self._needed |= parts <= self._last
        self._last = parts
        self._needed |= self._folders.setdefault(tuple(parts[:-1][:2]), known) != known

    def _folders_tell_all(self) -> bool:
        """Whether a reader takes the folders for these labels and splits, and takes none for none.

        Labels that have no names may get those of their folders, and images the split of theirs.
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
            raise OutputExistsError(f"{self._shown}: is a folder of images, and what is known of them is to go there")
        self._draft.rename(target)
        if self._class_names is not None:
            (self._folder / CLASS_NAMES_FILE).write_bytes(class_names_bytes(self._class_names))
