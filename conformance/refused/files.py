"""Takes files apart and puts them together again, with right checksums around any payloads."""

import json
import struct
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from conformance.readers.basics import crc32c
from conformance.readers.sections import INDEX

MAGIC, END, MARKER = b"\x89SML\r\n\x1a\n", b"\x89SMZ\r\n\x1a\n", b"\xf5SEC"
FRAME, TRAILER, PRELUDE = 28, 28, 24
SOUND = Path(__file__).parents[1] / "sound"

Payloads = list[tuple[int, int, bytes]]


@dataclass(frozen=True)
class Case:
    """A file that a reader must refuse.

    name : of the file, without its suffix
    base : the sound file that it was, or none
    reason : its fault
    page, section : of the format, where this is stated
    """

    name: str
    base: str
    data: bytes
    reason: str
    section: str
    page: str = "format.md"


def sound(name: str) -> bytes:
    """The bytes of a sound file."""
    return (SOUND / f"{name}.smalti").read_bytes()


def frames(data: bytes) -> Payloads:
    """Type, ordinal and payload of each frame before the index."""
    found, at = [], PRELUDE
    while data[at + 4] != INDEX:
        kind, ordinal, length = struct.unpack("<B3xIQ", data[at + 4 : at + 20])
        found.append((kind, ordinal, data[at + FRAME : at + FRAME + length]))
        at += FRAME + length
    return found


def prelude(version: int = 1, reserved: int = 0, required: int = 0, optional: int = 0) -> bytes:
    """The first 24 bytes."""
    head = struct.pack("<8sHHII", MAGIC, version, reserved, required, optional)
    return head + crc32c(head).to_bytes(4, "little")


def frame(kind: int, ordinal: int, payload: bytes, reserved: bytes = bytes(3)) -> bytes:
    """A frame."""
    head = struct.pack("<4sB3sIQI", MARKER, kind, reserved, ordinal, len(payload), crc32c(payload))
    return head + crc32c(head).to_bytes(4, "little") + payload


def entry(kind: int, ordinal: int, offset: int, payload: bytes) -> list[Any]:
    """The fields of an entry of the index."""
    return [kind, bytes(3), ordinal, offset, len(payload), crc32c(payload)]


def trailer(index_at: int, size: int) -> bytes:
    """The last 28 bytes."""
    fields = struct.pack("<QQ", index_at, size)
    return fields + crc32c(fields).to_bytes(4, "little") + END


def build(
    payloads: Payloads,
    features: int = 0,
    change_index: Callable[[list[list[Any]]], None] | None = None,
    count: int | None = None,
) -> bytes:
    """Make a file of these frames. Every checksum is right.

    change_index : changes the entries of the index
    count : the number of entries that the index states
    """
    data, entries = prelude(required=features), []
    for kind, ordinal, payload in payloads:
        entries.append(entry(kind, ordinal, len(data), payload))
        data += frame(kind, ordinal, payload)
    if change_index is not None:
        change_index(entries)
    index = struct.pack("<I", len(entries) if count is None else count)
    index += b"".join(struct.pack("<B3sIQQI", *each) for each in entries)
    packed = frame(INDEX, 0, index)
    return data + packed + trailer(len(data), len(data) + len(packed) + TRAILER)


def with_payload(
    payloads: Payloads, kind: int, change: Callable[[bytes], bytes], ordinal: int | None = None
) -> Payloads:
    """The frames with the payloads of a section type changed: of all ordinals, or of the one given."""
    return [
        (of, number, change(payload) if of == kind and ordinal in (None, number) else payload)
        for of, number, payload in payloads
    ]


def payload_of(payloads: Payloads, kind: int, ordinal: int = 0) -> bytes:
    """The payload of a section."""
    return next(payload for of, number, payload in payloads if (of, number) == (kind, ordinal))


def replaced(old: bytes, new: bytes) -> Callable[[bytes], bytes]:
    """A change that replaces `old`, which occurs once in the payload, by `new`."""

    def change(payload: bytes) -> bytes:
        assert payload.count(old) == 1, old
        return payload.replace(old, new)

    return change


def patched(at: int, fields: str, *values: Any) -> Callable[[bytes], bytes]:
    """A change that overwrites the payload at an offset with little-endian fields."""
    packed = struct.pack("<" + fields, *values)
    return lambda payload: payload[:at] + packed + payload[at + len(packed) :]


def canonical(value: Any) -> bytes:
    """Canonical JSON."""
    return json.dumps(value, ensure_ascii=False, sort_keys=True, separators=(",", ":")).encode()


def flipped(data: bytes, at: int) -> bytes:
    """The bytes with the one at an offset inverted."""
    changed = bytearray(data)
    changed[at] ^= 0xFF
    return bytes(changed)


Cases = Iterator[Case]
