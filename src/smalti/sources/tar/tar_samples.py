"""One sample of a TAR file: which of its members are images, and which label, name and fields the others state."""

import json
import re
from collections.abc import Container
from io import BytesIO

from smalti.errors import SourceError
from smalti.imagefiles.table import is_image_name
from smalti.images.batch import Scalar, SkippedFile
from smalti.images.vocabulary import LABEL, TRUE_NAME, webdataset_ignores
from smalti.sources.arrays.npy import NpyRows
from smalti.sources.folder.listing import is_hidden
from smalti.sources.folder.metadata import scalars_of
from smalti.sources.records.record import EntryData, Unreadable
from smalti.sources.tar.tar_members import TarMember, TarMembers

__all__ = ["TarSample", "image_data", "is_ignored", "key_of"]

_INTEGER = re.compile(r"[+-]?[0-9]{1,19}")
_INT64 = range(-(1 << 63), 1 << 63)
_MAX_IMAGE_BYTES, _MAX_TEXT_BYTES = 1 << 30, 1 << 24


def key_of(name: str) -> str:
    """Return the key that the members of a sample share: the path up to the first dot of its last part."""
    folder, slash, last = name.rpartition("/")
    return folder + slash + last.partition(".")[0]


def is_ignored(name: str) -> bool:
    """Whether a member is ignored, and not listed as skipped: hidden, or WebDataset's own."""
    return webdataset_ignores(name) or any(is_hidden(part) for part in name.split("/"))


def image_data(member: TarMember, members: TarMembers) -> EntryData:
    """Return the bytes of an image file, the array of a `.npy`, or `Unreadable`."""
    if member.size_bytes > _MAX_IMAGE_BYTES:
        return Unreadable(f"{member.size_bytes:,} bytes, more than one image has")
    data = members.read(member)
    if not member.name.lower().endswith(".npy"):
        return data
    try:
        return NpyRows(lambda: BytesIO(data), len(data), "this .npy").whole()
    except SourceError as error:
        return Unreadable(str(error))


class TarSample:
    """The members of one sample that were read so far.

    images : its image files; its `.npy` files if it has no image files
    described : whether a member states a label or fields
    label, fields, true_name : as stated by such members
    data : the data of the requested images, by their index in `images`
    skipped : members that are neither images nor descriptions
    skipped_fields : names in `.json` whose values are no scalars
    """

    def __init__(self, first: TarMember) -> None:
        self.offset = first.offset
        self.described = False
        self.label: int | str | None = None
        self.fields: dict[str, Scalar | None] = {}
        self.true_name: str | None = None
        self.data: dict[int, EntryData] = {}
        self.skipped: list[SkippedFile] = []
        self.skipped_fields: set[str] = set()
        self._files: list[TarMember] = []
        self._arrays: list[TarMember] = []
        self._array_data: dict[int, EntryData] = {}
        self._names: set[str] = set()

    @property
    def images(self) -> list[TarMember]:
        """The image files, else the arrays."""
        return self._files or self._arrays

    def add(self, member: TarMember, members: TarMembers, requested: Container[int] = ()) -> None:
        """Add a member, whose header was the last thing read from `members`.

        requested : the indices, in `images`, of the images whose data are read
        """
        extension = member.name.rpartition("/")[2].partition(".")[2].lower()
        kind = extension.rpartition(".")[2]
        is_image = is_image_name(member.name)
        if member.name in self._names:
            self._skip(member, "the second member of this name in its sample")
        elif is_image or kind == "npy":
            into, data = (self._files, self.data) if is_image else (self._arrays, self._array_data)
            if len(into) in requested:
                data[len(into)] = image_data(member, members)
            into.append(member)
        elif kind in ("json", "txt") or extension == "cls":
            self.described = True
            self._describe(member, members, extension)
        elif kind == "cls":
            key = key_of(member.name).rpartition("/")[2]
            self._skip(member, f"its key ends at its first dot ({key}), so that it is no .cls; name it {key}.cls")
        elif extension != "__key__":
            self._skip(member, "no image by its suffix, and none of .cls, .json and .txt")
        self._names.add(member.name)

    def finish(self) -> None:
        """Decide, after the last member, which members are the images, and which field is the label."""
        if not self._files:
            self.data = self._array_data
        elif self._arrays:
            for member in self._arrays:
                self._skip(member, "an array beside an image file, which is taken")
        if not self.images and not self.skipped:
            self.skipped = [SkippedFile(name, "its sample has no image") for name in sorted(self._names)]
        if LABEL in self.fields and self.label is None:
            label = self.fields[LABEL]
            if isinstance(label, int | str) and not isinstance(label, bool):
                self.label = label if isinstance(label, str) or label in _INT64 else str(label)
                del self.fields[LABEL]

    def _describe(self, member: TarMember, members: TarMembers, extension: str) -> None:
        if member.size_bytes > _MAX_TEXT_BYTES:
            self._skip(member, f"{member.size_bytes:,} bytes, more than one text has")
            return
        data = members.read(member)
        try:
            if extension.endswith("json"):
                self._take_json(data)
            elif extension == "cls":
                text = data.decode().strip()
                self.label = int(text) if _INTEGER.fullmatch(text) and int(text) in _INT64 else text or None
            else:
                self.fields.setdefault(extension.removesuffix(".txt"), data.decode())
        except UnicodeDecodeError:
            self._skip(member, "is no text in UTF-8; its image is read without it")
        except (ValueError, RecursionError):
            self._skip(member, "is no JSON object; its image is read without it")

    def _take_json(self, data: bytes) -> None:
        values = json.loads(data)
        if not isinstance(values, dict):
            raise ValueError("no object")
        fields = scalars_of(values, self.skipped_fields)
        true_name = fields.pop(TRUE_NAME, None)
        if isinstance(true_name, str) and true_name:
            self.true_name = true_name
        self.fields.update(fields)

    def _skip(self, member: TarMember, reason: str) -> None:
        self.skipped.append(SkippedFile(member.name, reason))
