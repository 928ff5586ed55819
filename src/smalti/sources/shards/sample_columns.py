"""The roles of a sample's columns: which holds the image, the label and the name, and which become fields.

The vocabulary is that of tables. As shards are made for training, all names of labels count; `y` beside an image `x`.
"""

import logging
from collections.abc import Callable, Container, Mapping
from dataclasses import dataclass
from typing import Literal

from smalti.errors import SourceError
from smalti.images.vocabulary import LABEL_NAMES, NAME_COLUMNS, first_known
from smalti.sources.tables.schema import IMAGE_NAMES

__all__ = ["ColumnKind", "SampleColumns", "columns_of_kinds"]

ColumnKind = Literal["image", "array", "bytes", "whole number", "text", "scalar", "other"]
"""What a column holds: an encoded image, an array, bytes that may be an image; a value of a field; what is not read."""

_IMAGE_KINDS: tuple[ColumnKind, ...] = ("image", "array", "bytes")
_FIELD_KINDS: tuple[ColumnKind, ...] = ("whole number", "text", "scalar")

_LABEL_NAMES = (*LABEL_NAMES, "cls")  # as WebDataset calls it

_NO_NAMES: Mapping[str, str] = {}
_Known = Callable[[Container[str], tuple[str, ...]], str | None]
"""Finds the column of some kinds whose name comes first in a vocabulary."""

_log = logging.getLogger("smalti")


@dataclass(frozen=True)
class SampleColumns:
    """The role of each column.

    image : the column of images
    label, name : the columns of labels and of names, or None
    fields : further columns, in order
    has_words : whether labels may be texts, so that classes are found by reading them
    """

    image: str
    label: str | None
    name: str | None
    fields: tuple[str, ...]
    has_words: bool = False


def columns_of_kinds(
    kinds: Mapping[str, ColumnKind], where: str, label: str | None = None, known_as: Mapping[str, str] = _NO_NAMES
) -> SampleColumns:
    """Find the roles of the columns. A warning in one line names the columns that have none.

    kinds : the kind of each column, in order
    where : what messages call the samples
    label : the column of labels, if it is known
    known_as : names of the vocabulary that some columns of other names stand for

    Raises SourceError if no column holds images, or if several do and no name says which is meant.
    """

    def known(of: Container[str], names: tuple[str, ...]) -> str | None:
        found = {known_as.get(name, name): name for name, kind in [*kinds.items()][::-1] if kind in of}
        return found.get(first_known(found, names) or "")

    image = _image_column(kinds, where, known)
    names = _LABEL_NAMES if image == "x" else tuple(name for name in _LABEL_NAMES if name != "y")  # else a place
    label = label or known(("whole number", "text"), names)
    name = known(("text",), NAME_COLUMNS)
    name = None if name == label else name
    fields = tuple(key for key, kind in kinds.items() if kind in _FIELD_KINDS and key not in (label, name))
    left_out = [key for key in kinds if key not in (image, label, name, *fields)]
    if left_out:
        _log.warning("%s: left out, because they hold no single number or text: %s", where, ", ".join(left_out))
    return SampleColumns(image, label, name, fields, label is not None and kinds[label] == "text")


def _image_column(kinds: Mapping[str, ColumnKind], where: str, known: _Known) -> str:
    for kind in _IMAGE_KINDS:
        found = [name for name, of in kinds.items() if of == kind]
        chosen = found[0] if len(found) == 1 else known((kind,), IMAGE_NAMES)
        if chosen is not None:
            return chosen
        if found:
            raise SourceError(f"{where}: columns {', '.join(found)} could all be the images; call one of them image")
    existing = ", ".join(f"{name} ({kind})" for name, kind in kinds.items())
    raise SourceError(f"{where}: no column holds images; there are {existing[:300] or 'no columns'}")
