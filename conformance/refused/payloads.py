"""Files whose prior, token blocks or columns are wrong."""

import struct
import zlib
from collections.abc import Callable, Sequence
from typing import Any

from conformance.readers.sections import COLUMN, PRIOR, TOKENS
from conformance.refused.encoding import pack_tables
from conformance.refused.files import Case, Cases, build, canonical, frames, patched, payload_of, sound, with_payload

FRAMES = frames(sound("grid"))
BLOCK = payload_of(FRAMES, TOKENS)
Change = Callable[[bytes], bytes]


def priors() -> Cases:
    """The prior, in both copies."""
    changes: dict[str, tuple[Change, str]] = {
        "kind": (patched(0, "B", 9), "a kind of prior that nobody knows"),
        "precision": (patched(1, "B", 25), "a precision of 25"),
        "reserved": (patched(2, "H", 1), "the reserved field is not 0"),
        "codes": (patched(4, "I", 5), "tables of other codes than the model has"),
        "places": (patched(8, "I", 7), "another number of tokens than the grid has"),
        "codes-huge": (patched(4, "I", 2**32 - 1), "2^32 - 1 codes"),
        "classes": (patched(12, "H", 4097), "frequencies of classes do not sum to 4,096"),
        "short": (lambda payload: payload[:-1], "its last byte is missing"),
        "long": (lambda payload: payload + b"\0", "a byte follows the tables"),
        "empty": (lambda _: b"", "it has no bytes"),
        "sum": (lambda payload: payload[:12] + tables_of([1, 1, 1, 1], payload[1]), "frequencies do not sum to 2^P"),
    }
    for name, (change, reason) in changes.items():
        yield Case(f"prior-{name}", "grid", build(with_payload(FRAMES, PRIOR, change)), reason, "Prior")


def tables_of(frequencies: Sequence[int], precision: int) -> bytes:
    """A table of this precision, with any sum."""
    return pack_tables([frequencies], precision)


def tokens() -> Cases:
    """The first token block."""
    length = int.from_bytes(BLOCK[20:24], "little")
    changes: dict[str, tuple[Change, str]] = {
        "first-image": (patched(0, "Q", 1), "the number of its first image is not that of its place"),
        "count": (patched(8, "I", 2), "it states fewer images than the header implies"),
        "count-huge": (patched(8, "I", 2**32 - 1), "it states 2^32 - 1 images"),
        "tokens-crc": (patched(12, "I", 0), "the checksum of the tokens is another"),
        "pixels-crc": (patched(16, "I", 0), "the checksum of the pixels is another"),
        "length-beyond": (patched(20, "I", length + 4), "the token stream is longer than the block"),
        "length-huge": (patched(20, "I", 2**32 - 1), "the token stream has 2^32 - 1 bytes"),
        "length-odd": (patched(20, "I", length - 1), "the token stream ends within a word"),
        "corrections": (lambda payload: payload + b"\1\0", "corrections in a file whose header knows of none"),
        "zero-word": (lambda _: stream(BLOCK[24:] + bytes(4)), "the last word is zero"),
        "more-words": (lambda _: stream(BLOCK[24:] + b"\1\0\0\0"), "words are left when all tokens are read"),
        "other-tokens": (lambda payload: payload[:24] + bytes([payload[24] ^ 1]) + payload[25:], "other tokens"),
        "head-cut": (lambda payload: payload[:20], "it ends within its head"),
    }
    for name, (change, reason) in changes.items():
        data = build(with_payload(FRAMES, TOKENS, change, 0))
        yield Case(f"tokens-{name}", "grid", data, reason, "Token block")
    swapped = [(kind, {0: 1, 1: 0}.get(number, number), of) for kind, number, of in FRAMES if kind == TOKENS]
    others = [each for each in FRAMES if each[0] != TOKENS]
    at = next(place for place, each in enumerate(FRAMES) if each[0] == TOKENS)
    data = build([*others[:at], *sorted(swapped), *others[at:]])
    yield Case("tokens-swapped", "grid", data, "two token blocks are in each other's places", "Token block")


def stream(words: bytes) -> bytes:
    """The first block, with other words."""
    return BLOCK[:20] + struct.pack("<I", len(words)) + words


def column(head: dict[str, Any], data: bytes) -> bytes:
    """A column."""
    text = canonical(head)
    return struct.pack("<I", len(text)) + text + data


def labels(data: bytes = bytes(2), **changes: Any) -> bytes:
    """A column of labels."""
    return column({"bits": 2, "kind": "int", "minimum": -1, "name": "labels", "rows": 8} | changes, data)


def names(raw: bytes, after: bytes = b"", **changes: Any) -> bytes:
    """A column of names."""
    head = {"kind": "text", "name": "names", "raw_bytes": len(raw), "rows": 8} | changes
    return column(head, zlib.compress(raw) + after)


def columns() -> Cases:
    """Labels, the first column, and names, the third."""
    texts = struct.pack("<8I", *[1] * 8) + b"abcdefgh"
    changes: dict[str, tuple[int, bytes, str]] = {
        "name": (0, labels(name="label"), "its name is not the one in the header"),
        "bits-65": (0, labels(bytes(65), bits=65), "65 bits a value"),
        "rows": (0, labels(bytes(3), rows=9), "more rows than images"),
        "rows-fewer": (0, labels(bytes(2), rows=7), "fewer rows than images"),
        "rows-names": (2, names(struct.pack("<9I", *[1] * 9) + b"abcdefghi", rows=9), "more names than images"),
        "labels-text": (0, names(texts, name="labels"), "labels that are strings"),
        "names-int": (2, labels(name="names"), "names that are integers"),
        "short": (0, labels(bytes(1)), "a byte of the values is missing"),
        "filling": (0, labels(b"\0\1", rows=7), "filling bits are not 0"),
        "minimum": (0, labels(minimum=1 << 63), "a minimum beyond int64"),
        "overflow": (0, labels(b"\xff\xff", minimum=(1 << 63) - 2), "values beyond int64"),
        "keys": (0, labels(more=1), "a key that nobody knows"),
        "head-beyond": (0, b"\xff\xff\0\0{}", "its head is longer than the column"),
        "no-zlib": (2, column({"kind": "text", "name": "names", "raw_bytes": 4, "rows": 8}, b"none"), "no zlib stream"),
        "bomb": (2, names(bytes(1 << 20), raw_bytes=40), "it unpacks to more bytes than it states"),
        "raw-bytes": (2, names(texts, raw_bytes=41), "it unpacks to fewer bytes than it states"),
        "raw-bytes-huge": (2, names(texts, raw_bytes=1 << 50), "it states that it unpacks to 2^50 bytes"),
        "trailing": (2, names(texts, b"x"), "a byte follows the zlib stream"),
        "text-left": (2, names(texts + b"i"), "text is left after the last string"),
        "text-length": (2, names(struct.pack("<8I", *[2] * 8) + b"abcdefgh"), "strings are longer than the text"),
        "utf-8": (2, names(struct.pack("<8I", *[1] * 8) + b"\xffbcdefgh"), "a string is not UTF-8"),
    }
    for name, (ordinal, payload, reason) in changes.items():
        data = build([(kind, at, payload if (kind, at) == (COLUMN, ordinal) else of) for kind, at, of in FRAMES])
        yield Case(f"column-{name}", "grid", data, reason, "Columns")


def cases() -> Cases:
    """All cases."""
    for some in (priors, tokens, columns):
        yield from some()
