"""Files whose prelude, frames, index, trailer or set of sections is wrong."""

from conformance.readers.sections import DIGEST, HEADER, MODEL, PRIOR, TOKENS
from conformance.refused.files import (
    END,
    FRAME,
    PRELUDE,
    TRAILER,
    Case,
    Cases,
    build,
    flipped,
    frame,
    frames,
    payload_of,
    prelude,
    sound,
    trailer,
    with_payload,
)

GRID = sound("grid")
FRAMES = frames(GRID)
SECTION = "Header (canonical JSON, an object with exactly these keys)"
INDEX_AT = int.from_bytes(GRID[-TRAILER:][:8], "little")


def case(name: str, section: str, reason: str, data: bytes) -> Case:
    """A case made from `grid`."""
    return Case(name, "grid", data, reason, section)


def preludes() -> Cases:
    """The first 24 bytes."""
    rest = GRID[PRELUDE:]
    yield Case("empty", "", b"", "it has no bytes", "What a reader does, in this order")
    yield Case("no-archive", "", b"GIF89a" + bytes(range(256)), "it is something else", "Prelude (24 bytes)")
    yield case("prelude-magic", "Prelude (24 bytes)", "its first byte is another", flipped(GRID, 0))
    text = GRID.replace(b"\r\n", b"\n")
    yield case("prelude-text-mode", "Prelude (24 bytes)", "it was copied as text: each CR LF became an LF", text)
    yield case("prelude-version-0", "Versions", "version 0", prelude(version=0) + rest)
    yield case("prelude-version-2", "Versions", "version 2", prelude(version=2) + rest)
    yield case("prelude-reserved", "Prelude (24 bytes)", "the reserved field is not 0", prelude(reserved=1) + rest)
    for bit in (5, 31):
        data = prelude(required=1 << bit) + rest
        yield case(f"prelude-feature-{bit}", "Versions", f"required feature bit {bit}, which nobody knows", data)
    for features in (1, 2, 4, 8, 16):
        data = prelude(required=features) + rest
        yield case(f"prelude-features-{features}", SECTION, "other required features than in the header", data)
    yield case("prelude-crc", "Prelude (24 bytes)", "its checksum does not hold", flipped(GRID, 20))


def trailers() -> Cases:
    """The last 28 bytes, and the end of the file."""
    section, body = "Trailer (28 bytes, at the end of the file)", GRID[:-TRAILER]
    yield case("trailer-size", section, "it states another size of the file", body + trailer(INDEX_AT, len(GRID) + 1))
    beyond = body + trailer(1 << 63, len(GRID))
    yield case("trailer-index-beyond", section, "the index is beyond the end of the file", beyond)
    elsewhere = body + trailer(PRELUDE, len(GRID))
    yield case("trailer-index-elsewhere", section, "the header frame is where the index should be", elsewhere)
    yield case("trailer-crc", section, "its checksum does not hold", flipped(GRID, len(GRID) - 12))
    yield case("trailer-magic", section, "it does not end with the magic", GRID[:-8] + END[::-1])
    yield case("cut-in-half", section, "its second half is missing", GRID[: len(GRID) // 2])
    yield case("cut-prelude-only", section, "nothing but the prelude is left", GRID[:PRELUDE])
    yield case("appended-byte", section, "a byte follows the trailer", GRID + b"\n")
    yield case("two-archives", "Scanning", "two archives were joined", GRID + sound("corrected"))


def indexes() -> Cases:
    """The index, under a right checksum."""
    last = len(FRAMES) - 1

    def changed(number: int, field: int, value: object) -> bytes:
        return build(FRAMES, change_index=lambda entries: entries[number].__setitem__(field, value))

    yield case("index-count", "Index", "it states more entries than it has", build(FRAMES, count=len(FRAMES) + 1))
    yield case("index-count-huge", "Index", "it states 2^32 - 1 entries", build(FRAMES, count=2**32 - 1))
    yield case("index-overlap", "Index", "two entries have the same frame", changed(4, 3, PRELUDE))
    yield case("index-beyond", "Index", "a frame is beyond the end of the file", changed(last, 3, 1 << 40))
    yield case("index-length-huge", "Index", "a payload has 2^64 - 1 bytes", changed(3, 4, 2**64 - 1))
    yield case(
        "index-gap", "Index", "a frame is in no entry", build(FRAMES, change_index=lambda entries: entries.pop(5))
    )
    yield case("index-reserved", "Index", "reserved bytes of an entry are not 0", changed(1, 1, b"\1\0\0"))
    yield case("index-ordinal", "Index", "ordinals are not 0, 1, 2, ...", changed(4, 2, 7))
    yield case("index-crc", "Index", "a checksum is not that of its payload", changed(2, 5, 0))


def frame_heads() -> Cases:
    """The 28 bytes before a payload, and types of frames."""
    model_at = PRELUDE + FRAME + len(payload_of(FRAMES, HEADER))
    yield case("frame-marker", "Frame", "the marker of the model's frame is another", flipped(GRID, model_at))
    yield case("frame-crc", "Frame", "the checksum of a frame's head does not hold", flipped(GRID, model_at + 24))
    payload = flipped(GRID, model_at + FRAME + 300)
    yield case("frame-payload", "Frame", "a byte of the model is another", payload)
    block_at = GRID.index(payload_of(FRAMES, TOKENS, 1))
    yield case("frame-payload-tokens", "Frame", "a byte of a token block is another", flipped(GRID, block_at + 25))
    zeros = GRID[:block_at] + bytes(40) + GRID[block_at + 40 :]
    yield case("frame-payload-zeros", "Frame", "40 bytes of a token block are zeros", zeros)
    removed = GRID[: block_at + 24] + GRID[block_at + 25 :]
    yield case("frame-byte-lost", "Frame", "a byte of a token block is missing", removed)
    reserved = frame(MODEL, 0, payload_of(FRAMES, MODEL), b"\0\0\1")
    data = GRID[:model_at] + reserved + GRID[model_at + len(reserved) :]
    yield case("frame-reserved", "Frame", "reserved bytes of a frame are not 0", data)
    unknown = build([*FRAMES, (77, 0, b"?")])
    yield case("frame-type-77", "Frame", "a section of type 77, which nobody knows and which is not ancillary", unknown)


def sets_of_sections() -> Cases:
    """Sections that are missing, or too many."""
    kinds = {"header": HEADER, "model": MODEL, "prior": PRIOR, "tokens": TOKENS, "digest": DIGEST}
    for name, kind in kinds.items():
        left = [each for each in FRAMES if each[:2] != (kind, 0)]
        yield case(f"sections-no-{name}", "Index", f"the first section of type {kind} is missing", build(left))
    for name in ("model", "digest"):
        more = [*FRAMES, (kinds[name], 1, payload_of(FRAMES, kinds[name]))]
        yield case(f"sections-two-{name}s", "Index", f"there are two sections of type {kinds[name]}", build(more))
    tokens = [*FRAMES, (TOKENS, 3, payload_of(FRAMES, TOKENS, 2))]
    yield case("sections-more-tokens", "Index", "there is a token block more than the header implies", build(tokens))
    other = with_payload(FRAMES, HEADER, lambda payload: payload.replace(b'"sound"', b'"bound"'), 1)
    yield case("sections-header-copy", "Map", "the copy of the header differs from it", build(other))
    digest = with_payload(FRAMES, DIGEST, lambda _: bytes(32))
    yield case("digest-wrong", "Digest", "the digest is not that of the pixels", build(digest))
    short = with_payload(FRAMES, DIGEST, lambda payload: payload[:31])
    yield case("digest-short", "Digest", "the digest has 31 bytes", build(short))


def cases() -> Cases:
    """All cases."""
    for some in (preludes, trailers, indexes, frame_heads, sets_of_sections):
        yield from some()
