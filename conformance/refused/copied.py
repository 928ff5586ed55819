"""Files with copies that are wrong: their list, and the feature that states it."""

import struct
from collections.abc import Sequence

from conformance.readers.sections import HEADER
from conformance.readers.sized import COPIES, SIZED, SIZES
from conformance.refused.encoding import ArrayEncoder, pack_tables
from conformance.refused.files import Case, Cases, build, frames, patched, payload_of, replaced, sound, with_payload

SECTION = "Copies"
NUMBERS, DISTANCES = [1, 4, 6, 7, 9, 10], [1, 3, 1, 1, 7, 7]

LISTS: dict[str, tuple[list[int], list[int], str]] = {
    "itself": (NUMBERS, [1, 3, 1, 0, 7, 7], "a copy of itself"),
    "later": (NUMBERS, [1, 3, 1, -1, 7, 7], "a copy of a later image"),
    "before": (NUMBERS, [1, 5, 1, 1, 7, 7], "a copy of an image before the first"),
    "first": ([0, 4, 6, 7, 9, 10], [1, 3, 1, 1, 7, 7], "the first image is a copy"),
    "beyond": ([1, 4, 6, 7, 9, 11], DISTANCES, "a copy beyond the last image"),
    "far": ([1, 4, 6, 7, 9, 1 << 24], DISTANCES, "a copy far beyond the last image"),
    "more": ([*NUMBERS[:5], 8, 10], [*DISTANCES[:5], 8, 7], "a copy more, and so sizes of more images than are stored"),
}


def listed(numbers: Sequence[int], distances: Sequence[int], extra_tables: int = 0) -> bytes:
    """A list of copies."""
    coder = ArrayEncoder()
    coder.array([here - before - 1 for before, here in zip([-1, *numbers], numbers, strict=False)])
    coder.array([here - before for before, here in zip([0, *distances], distances, strict=False)], signed=True)
    tables, words = pack_tables(coder.tables + coder.tables[:1] * extra_tables), coder.coder.to_bytes()
    return struct.pack("<IIIB", len(numbers), len(tables), len(words), coder.symbols) + tables + words


def cases() -> Cases:
    """All files."""
    payloads = frames(sound("copies"))
    sizes = payload_of(payloads, SIZES)
    count, tables, words = struct.unpack_from("<III", sizes)
    rest = sizes[13 + tables + words :]
    assert count == len(NUMBERS)

    def case(name: str, payload: bytes, reason: str) -> Case:
        data = build(with_payload(payloads, SIZES, lambda _: payload), SIZED | COPIES)
        return Case(f"copies-{name}", "copies", data, reason, SECTION)

    for name, (numbers, distances, reason) in LISTS.items():
        yield case(name, listed(sorted(numbers), distances) + rest, reason)
    yield case("none", patched(0, "I", 0)(sizes), "no copies")
    yield case("all", patched(0, "I", 11)(sizes), "all images are copies")
    yield case("many", patched(0, "I", 0xFFFFFFFF)(sizes), "more copies than images")
    yield case("tables", patched(4, "I", 1 << 30)(sizes), "tables that end after the section")
    yield case("words", patched(8, "I", 1 << 30)(sizes), "words that end after the section")
    yield case("symbols-0", patched(12, "B", 0)(sizes), "no symbols")
    yield case("symbols-97", patched(12, "B", 97)(sizes), "97 symbols")
    yield case("table", listed(NUMBERS, DISTANCES, 1) + rest, "a table that no array uses")
    yield case("short", sizes[:12], "a list that is cut short")
    yield case("no-list", rest, "no list")
    yield case("no-sizes", sizes[: 13 + tables + words], "a list without sizes")
    header = replaced(b'"required_features":24', b'"required_features":8')
    data = build(with_payload(payloads, HEADER, header), SIZED)
    yield Case("copies-unstated", "copies", data, "a list that no feature states", SECTION)
    header = replaced(b'"required_features":24', b'"required_features":16')
    data = build(with_payload(payloads, HEADER, header), COPIES)
    yield Case("copies-alone", "copies", data, "copies among images of one shape", SECTION)
