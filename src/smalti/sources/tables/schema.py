"""The roles of a table's columns: which holds the images, the labels, the names, and which become fields.

Tables are Arrow's: Parquet files, files that Hugging Face `datasets` saves, and its objects. Notes of `datasets` about
columns (images, classes) are JSON in the schema's metadata; they are read without `datasets`. No row is read here.
"""

import json
import logging
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal

from smalti.errors import MissingDependencyError, SourceError
from smalti.imagefiles.table import FORMATS
from smalti.images.vocabulary import LABEL_NAMES, NAME_COLUMNS, PLAIN_LABEL_NAMES, first_known

if TYPE_CHECKING:
    import pyarrow as pa  # type: ignore[import-untyped, unused-ignore]

__all__ = [
    "FEATURES_KEY",
    "IMAGE_NAMES",
    "ColumnRoles",
    "classes_in",
    "columns_of",
    "is_nested",
    "is_scalar",
    "is_text",
    "plain_type",
    "pyarrow_for",
]

FEATURES_KEY = b"huggingface"
"""The key of the notes of `datasets` in the metadata of a schema."""

ImageKind = Literal["file", "bytes", "pixels"]

_SUFFIX_NAMES = tuple(suffix.removeprefix(".") for one in FORMATS for suffix in one.suffixes)
IMAGE_NAMES = ("image", "img", *_SUFFIX_NAMES, "picture", "photo", "bytes", "pixels")
"""Names of a column of images; the best first."""

_KINDS: tuple[ImageKind, ...] = ("file", "bytes", "pixels")

_log = logging.getLogger("smalti")


@dataclass(frozen=True)
class ColumnRoles:
    """The role of each column of a table.

    image : the column of images
    kind : "file" if it holds structs of bytes and path, "bytes" for encoded images, "pixels" for numbers
    label : the column of labels, or None
    class_names : the names of the labels, or None if the table has none
    name : the column of names; "" for the paths within `image`; None if there are no names
    fields : further columns, one scalar per row
    classes : the class names of each column in `fields` that holds classes
    spare_name : the column in `fields` that holds the names if no image has a path, or None
    """

    image: str
    kind: ImageKind
    label: str | None
    class_names: tuple[str, ...] | None
    name: str | None
    fields: tuple[str, ...]
    classes: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    spare_name: str | None = None

    @property
    def used(self) -> tuple[str, ...]:
        """The columns that are read."""
        return tuple(name for name in (self.image, self.label, self.name, *self.fields) if name)


def pyarrow_for(what: str) -> Any:
    """Import pyarrow; MissingDependencyError, which names `what`, if it is not installed."""
    try:
        import pyarrow  # noqa: PLC0415 (optional)
    except ImportError as error:
        raise MissingDependencyError.of(what, "pyarrow", "parquet") from error
    return pyarrow


def columns_of(schema: "pa.Schema", where: str) -> ColumnRoles:
    """Find the roles of the columns of a schema. A warning in one line names the columns that have none.

    where : what messages call the table

    Raises SourceError if no column holds images, or if several do and no name says which is meant.
    """
    types = {column.name: plain_type(column.type) for column in schema}
    if len(types) < len(schema):
        raise SourceError(f"{where}: two columns have the same name; rename one")
    classes = classes_in(schema, where)
    image, kind = _image_column(types, where)
    label = _label_column(types, classes)
    scalars = [name for name, kind_of in types.items() if name not in (image, label) and is_scalar(kind_of)]
    name = _name_column(types, image, scalars)
    skipped = [other for other in types if other not in (image, label, name, *scalars)]
    if skipped:
        _log.warning("%s: left out, because they hold no single number, text or time: %s", where, ", ".join(skipped))
    fields = tuple(other for other in scalars if other != name)
    return ColumnRoles(
        image,
        kind,
        label,
        classes.get(label or ""),
        name,
        fields,
        {key: classes[key] for key in fields if key in classes},
        _named_column(types, scalars) if name == "" else None,
    )


def classes_in(schema: "pa.Schema", where: str) -> dict[str, tuple[str, ...]]:
    """Return the class names of each column of classes, as `datasets` wrote them."""
    known = _features(schema, where)
    return {name: names for name in schema.names if (names := _class_names(known.get(name))) is not None}


def plain_type(kind: "pa.DataType") -> "pa.DataType":
    """Return the storage type of an extension type (such as the arrays of `datasets`); other types as they are."""
    return kind.storage_type if hasattr(kind, "storage_type") else kind


def _features(schema: "pa.Schema", where: str) -> Mapping[str, Any]:
    """Return the notes of `datasets` on each column; none if another program wrote the table."""
    text = (schema.metadata or {}).get(FEATURES_KEY)
    if text is None:
        return {}
    try:
        found = json.loads(text)["info"]["features"]
    except (ValueError, KeyError, TypeError, RecursionError):
        found = None
    if not isinstance(found, dict):
        _log.warning("%s: what it says of its columns under the key 'huggingface' is unreadable and left out", where)
        return {}
    return found


def _class_names(feature: object) -> tuple[str, ...] | None:
    """Return the names of a ClassLabel; None for other features, and for one without names."""
    if not isinstance(feature, dict) or feature.get("_type") != "ClassLabel":
        return None
    names = feature.get("names")
    if not isinstance(names, list) or not names or not all(isinstance(name, str) for name in names):
        return None
    return tuple(names)


def _image_column(types: "Mapping[str, pa.DataType]", where: str) -> tuple[str, ImageKind]:
    kinds = {name: kind for name, kind_of in types.items() if (kind := _image_kind(kind_of)) is not None}
    for kind in _KINDS:
        found = [name for name, of in kinds.items() if of == kind]
        chosen = found[0] if len(found) == 1 else first_known(found, IMAGE_NAMES)
        if chosen is not None:
            return chosen, kind
        if found:
            raise SourceError(f"{where}: columns {', '.join(found)} could all be the images; call one of them image")
    existing = ", ".join(f"{name} ({kind_of})" for name, kind_of in types.items())
    advice = "encoded images as binary or as a struct of bytes and path, or lists of lists of uint8, uint16 or int16"
    raise SourceError(
        f"{where}: no column holds images; needed are {advice}; there are {existing[:300] or 'no columns'}"
    )


def _image_kind(kind_of: "pa.DataType") -> ImageKind | None:
    is_ = pyarrow_for("a table").types
    if is_.is_struct(kind_of):
        fields = {kind_of.field(index).name: kind_of.field(index).type for index in range(kind_of.num_fields)}
        return "file" if "bytes" in fields and _is_binary(fields["bytes"]) else None
    if _is_binary(kind_of):
        return "bytes"
    levels = 0
    while is_nested(kind_of):
        kind_of, levels = kind_of.value_type, levels + 1
    return (
        "pixels"
        if levels in (2, 3) and any(is_kind(kind_of) for is_kind in (is_.is_uint8, is_.is_uint16, is_.is_int16))
        else None
    )


def _label_column(types: "Mapping[str, pa.DataType]", classes: Mapping[str, object]) -> str | None:
    """Return a column of classes, else a column of integers or texts with a name for labels."""
    is_ = pyarrow_for("a table").types
    if classes:
        return first_known(list(classes), LABEL_NAMES) or next(iter(classes))
    fitting = [name for name, of in types.items() if is_.is_integer(of) or is_text(of)]
    return first_known(fitting, PLAIN_LABEL_NAMES)


def _name_column(types: "Mapping[str, pa.DataType]", image: str, scalars: list[str]) -> str | None:
    is_ = pyarrow_for("a table").types
    if is_.is_struct(types[image]) and types[image].get_field_index("path") >= 0:
        return ""
    return _named_column(types, scalars)


def _named_column(types: "Mapping[str, pa.DataType]", scalars: list[str]) -> str | None:
    """Return a column of texts with a name for names."""
    return first_known([name for name in scalars if is_text(types[name])], NAME_COLUMNS)


def is_nested(kind_of: "pa.DataType") -> bool:
    """Whether values are lists."""
    is_ = pyarrow_for("a table").types
    return bool(is_.is_list(kind_of) or is_.is_large_list(kind_of) or is_.is_fixed_size_list(kind_of))


def is_text(kind_of: "pa.DataType") -> bool:
    """Whether values are texts, plain or in a dictionary."""
    is_ = pyarrow_for("a table").types
    if is_.is_dictionary(kind_of):
        return is_text(kind_of.value_type)
    return bool(is_.is_string(kind_of) or is_.is_large_string(kind_of))


def _is_binary(kind_of: "pa.DataType") -> bool:
    is_ = pyarrow_for("a table").types
    return bool(is_.is_binary(kind_of) or is_.is_large_binary(kind_of))


def is_scalar(kind_of: "pa.DataType") -> bool:
    """Whether values are bool, int, float or text, or have an exact text: times, dates and decimal numbers."""
    is_ = pyarrow_for("a table").types
    if is_.is_dictionary(kind_of):
        return is_scalar(kind_of.value_type)
    tests = (
        is_.is_boolean,
        is_.is_integer,
        is_.is_floating,
        is_.is_timestamp,
        is_.is_date,
        is_.is_time,
        is_.is_decimal,
    )
    return is_text(kind_of) or any(test(kind_of) for test in tests)
