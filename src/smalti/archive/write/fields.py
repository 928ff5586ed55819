"""Packing the columns of an archive, and collecting fields: further columns that a source gives its images.

The field NAME is stored as the column `field:NAME`, so that a user's name cannot collide with another column.
"""

from array import array
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from smalti.archive.format.column import TextBuilder, pack_booleans, pack_floats, pack_integers, pack_optional
from smalti.errors import UsageError
from smalti.images.batch import Scalar

__all__ = ["FIELD_PREFIX", "FieldBuilder", "FieldsBuilder", "pack_columns"]

FIELD_PREFIX = "field:"

_EXACT = 1 << 53  # integers up to here are doubles without loss
_INT64 = range(-(1 << 63), 1 << 63)


def pack_columns(
    labels: NDArray[np.int64] | None,
    class_names: Sequence[str] | None,
    names: TextBuilder | None,
    fields: "FieldsBuilder",
) -> Iterator[tuple[str, bytes]]:
    """Yield names and payloads of the columns of an archive, in the order of the file; None where there is none."""
    if labels is not None:
        yield "labels", pack_integers("labels", labels)
    if class_names is not None:
        yield "class_names", TextBuilder.of("class_names", class_names).to_bytes()
    if names is not None:
        yield "names", names.to_bytes()
    yield from fields.columns()


class FieldBuilder:
    """Collects the values of one field. Memory: little more than their bytes in the file.

    The column gets the narrowest kind that holds all values exactly: bool, int, float, or text. Text has numbers as
    Python writes them, and booleans as true and false. None is a gap.
    """

    def __init__(self, name: str) -> None:
        self._name = name
        self._column = FIELD_PREFIX + name
        self._present = bytearray()
        self._kind: type[Any] | None = None
        self._numbers: array[Any] = array("b")
        self._texts = TextBuilder(self._column)

    def extend(self, values: Iterable[Scalar | None]) -> None:
        """Add values. UsageError for anything that is no scalar."""
        for value in values:
            self._present.append(value is not None)
            if value is not None:
                self._add(value)

    def to_bytes(self) -> bytes:
        """Serialise the column."""
        present = np.frombuffer(bytes(self._present), np.bool_)
        column = self._values_to_bytes()
        return column if present.all() and column else pack_optional(self._column, present, column)

    def _add(self, value: Scalar) -> None:
        kind = _kind_of(value)
        if kind is None:
            raise UsageError(f"field {self._name}: {value!r} is no bool, int, float or str")
        if kind is not self._kind:
            self._widen(_joint(self._kind, kind, value, self._numbers))
        if self._kind is str:
            self._texts.extend([value if isinstance(value, str) else _text(value)])
        else:
            self._numbers.append(value)

    def _widen(self, kind: type[Any]) -> None:
        """Convert the values so far to a wider kind."""
        if kind is self._kind:
            return
        if kind is str:
            before = self._kind or str
            self._texts.extend([_text(before(value)) for value in self._numbers])
            self._numbers = array("b")
        else:
            self._numbers = array({bool: "b", int: "q", float: "d"}[kind], self._numbers)
        self._kind = kind

    def _values_to_bytes(self) -> bytes:
        if self._kind is None:
            return b""
        if self._kind is str:
            return self._texts.to_bytes()
        if self._kind is bool:
            return pack_booleans(self._column, np.array(self._numbers, np.bool_))
        if self._kind is int:
            return pack_integers(self._column, np.array(self._numbers, np.int64))
        return pack_floats(self._column, np.array(self._numbers, np.float64))


class FieldsBuilder:
    """Collects the fields of all images of an archive. The first images decide which fields there are."""

    def __init__(self) -> None:
        self._builders: dict[str, FieldBuilder] | None = None

    def extend(self, fields: Mapping[str, Sequence[Scalar | None]], images: int) -> None:
        """Add values for more images. UsageError if a field lacks values, or if the fields are not those of before."""
        if self._builders is None:
            self._builders = {name: FieldBuilder(name) for name in fields}
        if set(fields) != set(self._builders):
            raise UsageError(f"fields {sorted(fields)} after images with {sorted(self._builders)}")
        for name, values in fields.items():
            if len(values) != images:
                raise UsageError(f"{len(values)} values of {name} for {images} images")
            self._builders[name].extend(values)

    def extend_field(self, name: str, values: Sequence[Scalar | None]) -> None:
        """Add values of one field, which may be a new one."""
        self._builders = self._builders or {}
        self._builders.setdefault(name, FieldBuilder(name)).extend(values)

    def columns(self) -> Iterator[tuple[str, bytes]]:
        """Yield names and payloads of the columns, sorted by name."""
        for name, builder in sorted((self._builders or {}).items()):
            yield FIELD_PREFIX + name, builder.to_bytes()


def _kind_of(value: object) -> type[Any] | None:
    """The kind of a value, None if it is no scalar. NumPy scalars count as Python ones."""
    if isinstance(value, bool | np.bool_):
        return bool
    if isinstance(value, int | np.integer):
        return int if int(value) in _INT64 else str
    if isinstance(value, float | np.floating):
        return float
    return str if isinstance(value, str) else None


def _joint(before: type[Any] | None, kind: type[Any], value: Scalar, numbers: "array[Any]") -> type[Any]:
    """The narrowest kind that holds the values so far and this one."""
    if before is None or before is kind:
        return kind
    if {before, kind} == {int, float}:
        integers = numbers if before is int else [value]
        if all(abs(int(number)) <= _EXACT for number in integers):
            return float
    return str


def _text(value: object) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)
