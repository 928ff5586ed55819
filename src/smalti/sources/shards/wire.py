"""Protocol Buffers, as far as shards need them: the fields of a message, one after the other.

A field is a varint of its number and its wire type; then a varint, 4 or 8 bytes, or a length and so many bytes
(https://protobuf.dev/programming-guides/encoding). Groups are refused.
"""

import struct
from collections.abc import Iterator

__all__ = ["Field", "floats_of", "integers_of", "message_fields"]

_VARINT, _EIGHT_BYTES, _BYTES, _FOUR_BYTES = 0, 1, 2, 5
_MAX_VARINT_BYTES = 10

Field = tuple[int, int | memoryview]
"""The number of a field, and its value: an unsigned integer, or the bytes."""


def message_fields(data: memoryview) -> Iterator[Field]:
    """Yield the fields of a message, in order. ValueError if it is damaged."""
    at = 0
    while at < len(data):
        key, at = _varint(data, at)
        number, kind = key >> 3, key & 7
        if kind == _VARINT:
            value, at = _varint(data, at)
            yield number, value
            continue
        length, at = _varint(data, at) if kind == _BYTES else ({_EIGHT_BYTES: 8, _FOUR_BYTES: 4}.get(kind, -1), at)
        if not 0 <= length <= len(data) - at:
            raise ValueError("a field that ends behind its message" if kind == _BYTES else f"wire type {kind}")
        yield number, data[at : at + length]
        at += length


def integers_of(value: int | memoryview) -> list[int]:
    """Return the integers of a repeated int64 field: one, or packed. ValueError if it is damaged."""
    if isinstance(value, int):
        return [_signed(value)]
    found, at = [], 0
    while at < len(value):
        number, at = _varint(value, at)
        found.append(_signed(number))
    return found


def floats_of(value: int | memoryview) -> list[float]:
    """Return the floats of a repeated float32 field: one, or packed. ValueError if it is damaged."""
    if isinstance(value, int) or len(value) % 4:
        raise ValueError("floats of another width")
    return list(struct.unpack(f"<{len(value) // 4}f", value))


def _varint(data: memoryview, at: int) -> tuple[int, int]:
    """Return a varint and the position behind it."""
    if at < len(data) and data[at] < 128:  # most are one byte
        return data[at], at + 1
    value = 0
    for place, byte in enumerate(data[at : at + _MAX_VARINT_BYTES]):
        value |= (byte & 127) << 7 * place
        if byte < 128:
            return value & (1 << 64) - 1, at + place + 1
    raise ValueError("a number without an end")


def _signed(value: int) -> int:
    return value - (1 << 64) if value >> 63 else value
