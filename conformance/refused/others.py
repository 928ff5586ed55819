"""Files whose corrections, pyramid, or members are wrong."""

import struct
from collections.abc import Callable

from conformance.readers.collection import DIRECTORY, MEMBER, SHARED
from conformance.readers.sections import CORRECTIONS, HEADER, MODEL, PRIOR, TOKENS
from conformance.refused.files import (
    Case,
    Cases,
    Payloads,
    build,
    flipped,
    frames,
    patched,
    payload_of,
    replaced,
    sound,
    with_payload,
)

Change = Callable[[bytes], bytes]
CORRECTED, PYRAMID, COLLECTION = (frames(sound(name)) for name in ("corrected", "pyramid", "collection"))


def corrections() -> Cases:
    """The corrections section."""
    payload = payload_of(CORRECTED, CORRECTIONS)
    modes, at = payload[6], 10
    last = at + 3 * (modes - 1)
    changes: dict[str, tuple[Change, str]] = {
        "kind": (patched(0, "B", 2), "the kind of 16 bits in a file of 8"),
        "kind-9": (patched(0, "B", 9), "a kind that nobody knows"),
        "precision": (patched(1, "B", 25), "a precision of 25"),
        "group-0": (patched(2, "H", 0), "groups of no images"),
        "symbols-0": (patched(4, "H", 0), "no symbols"),
        "symbols-257": (patched(4, "H", 257), "257 symbols"),
        "no-modes": (patched(6, "B", 0), "no modes"),
        "tables-0": (patched(7, "B", 0), "no tables"),
        "map": (patched(8, "H", 65535), "a map that is longer than the section"),
        "mode-22": (patched(last, "B", 22), "a mode that nobody knows"),
        "modes-order": (patched(at, "B", 200), "modes are not ascending"),
        "modes-sum": (patched(at + 1, "H", 4095), "frequencies of modes do not sum to 4,096"),
        "short": (lambda of: of[:-1], "its last byte is missing"),
        "long": (lambda of: of + b"\0", "a byte follows the tables"),
    }
    for name, (change, reason) in changes.items():
        data = build(with_payload(CORRECTED, CORRECTIONS, change))
        yield Case(f"corrections-{name}", "corrected", data, reason, "Corrections section")
    missing = build([each for each in CORRECTED if each[0] != CORRECTIONS])
    yield Case("corrections-missing", "corrected", missing, "the section is missing", "Corrections section")


def streams() -> Cases:
    """The corrections stream of the first block."""
    block = payload_of(CORRECTED, TOKENS)
    at = 24 + int.from_bytes(block[20:24], "little")
    changes: dict[str, tuple[Change, str]] = {
        "width-0": (patched(at, "B", 0), "lengths of no bytes"),
        "width-5": (patched(at, "B", 5), "lengths of five bytes"),
        "length": (patched(at + 1, "B", 255), "a length of a group that is another"),
        "zero-end": (lambda of: of + b"\0", "a byte follows the last group"),
        "short": (lambda of: of[:-1], "its last byte is missing"),
        "none": (lambda of: of[:at], "a block without a corrections stream in a file that has corrections"),
    }
    for name, (change, reason) in changes.items():
        data = build(with_payload(CORRECTED, TOKENS, change, 0))
        yield Case(f"stream-{name}", "corrected", data, reason, "Corrections stream")


def pyramids() -> Cases:
    """Network and prior of a pyramid. Its fields: 14 bytes, 8 of the coding of arrays, then scales, levels, layers."""
    scales, levels, layers = 22, 22 + 2 * 6, 22 + 2 * 6 + 2 * 7
    model: dict[str, tuple[Change, str]] = {
        "kind": (patched(0, "B", 2), "a kind of pyramid that nobody knows"),
        "no-scales": (patched(1, "B", 0), "no scales"),
        "no-levels": (patched(2, "B", 0), "no levels"),
        "layers-65": (patched(3, "B", 65), "65 layers"),
        "canvas-0": (patched(4, "H", 0), "a canvas without rows"),
        "clip": (patched(10, "hh", 5, 4), "a clip whose low is above its high"),
        "tables-beyond": (patched(14, "H", 65535), "more tables than arrays can use"),
        "stride": (patched(scales, "BBBB", 3, 2, 3, 2), "a stride that does not divide the canvas"),
        "kernel": (patched(scales + 2, "B", 3), "a kernel larger than its stride by an odd number"),
        "level-order": (patched(levels, "B", 1), "levels that are not in the order of their scales"),
        "level-channels": (patched(levels + 1, "H", 1), "a level beyond the channels of its scale"),
        "level-codes": (patched(levels + 5, "H", 65535), "more than 65,535 codes"),
        "layer-kind": (patched(layers, "B", 1), "a layer of kind `tokens`"),
        "layer-kind-9": (patched(layers, "B", 9), "a kind of layer that nobody knows"),
    }
    prior: dict[str, tuple[Change, str]] = {
        "kind": (patched(0, "B", 1), "a kind that is not of pyramids"),
        "precision": (patched(1, "B", 25), "a precision of 25"),
        "levels": (patched(2, "H", 3), "other levels than the network has"),
        "level-kind": (patched(12, "B", 3), "a kind of level that nobody knows"),
        "rows": (patched(13, "B", 2), "rows that are neither one nor one for each place"),
        "level-precision": (patched(14, "B", 25), "a level's precision of 25"),
        "hidden-0": (patched(12 + 6 + 4, "H", 0), "a network without hidden numbers"),
        "short": (lambda of: of[:-4], "its last word is missing"),
    }
    for name, (change, reason) in model.items():
        data = build(with_payload(PYRAMID, MODEL, change))
        yield Case(f"pyramid-{name}", "pyramid", data, reason, "The pyramid network")
    for name, (change, reason) in prior.items():
        data = build(with_payload(PYRAMID, PRIOR, change))
        yield Case(f"pyramid-prior-{name}", "pyramid", data, reason, "Prior of a pyramid")
    for name, old, new in (
        ("grid", b'"token_grid":[1,10]', b'"token_grid":[10,1]'),
        ("tokens", b'"token_grid":[1,10]', b'"token_grid":[1,11]'),
        ("codes", b'"codebook_size":7', b'"codebook_size":8'),
        ("decoder", b'"decoder":"pyramid"', b'"decoder":"integer"'),
    ):
        data = build(with_payload(PYRAMID, HEADER, replaced(old, new)))
        yield Case(f"pyramid-header-{name}", "pyramid", data, "header and pyramid differ", "The pyramid network")


def collections() -> Cases:
    """Several archives in one file."""

    def case(name: str, payloads: Payloads, reason: str) -> Case:
        return Case(f"collection-{name}", "collection", build(payloads, 1), reason, section, "collections.md")

    def directory(name: str, old: bytes, new: bytes, reason: str) -> Case:
        return case(name, with_payload(COLLECTION, DIRECTORY, lambda of: of.replace(old, new, 1)), reason)

    section = "A collection in a file"
    yield directory("images", b'"images":8', b'"images":9', "the directory states other images than a member")
    yield directory("images-0", b'"images":8', b'"images":0', "the directory states 0 images")
    large = with_payload(COLLECTION, DIRECTORY, lambda of: of.replace(b'"images":8', b'"images":%d' % (1 << 62)))
    yield directory("images-huge", b'"images":8', b'"images":%d' % 10**30, "the directory states 10^30 images")
    yield case("images-sum", large, "the members have more than 2^63 images together")
    yield directory("features", b'"required_features":1', b'"required_features":3', "other required features than 1")
    yield directory("shape", b"[3,5,1]", b"[5,3,1]", "the directory states another shape")
    yield directory("dtype", b'"uint8"', b'"uint16"', "the directory states another dtype")
    yield directory("version", b'"format_version":1', b'"format_version":2', "version 2 in the directory")
    yield directory("key", b'"images":8', b'"images":8,"more":1', "a key that nobody knows")
    yield case("no-directory", [of for of in COLLECTION if of[0] != DIRECTORY], "the directory is missing")
    yield case("no-members", [of for of in COLLECTION if of[0] != MEMBER], "the members are missing")
    nested = with_payload(COLLECTION, MEMBER, lambda _: sound("collection"), 0)
    tokens = (TOKENS, 0, payload_of(PYRAMID, TOKENS))
    yield case("tokens", [COLLECTION[0], tokens, *COLLECTION[1:]], "a token block stands among the members")
    yield case("directories", [*COLLECTION, (DIRECTORY, 1, payload_of(COLLECTION, DIRECTORY))], "two directories")
    yield case("type-77", [*COLLECTION, (77, 0, b"?")], "a section of type 77, which nobody knows")
    for features in (0, 3):
        data = build(COLLECTION, features)
        reason = "the prelude states other required features than those of a collection"
        yield Case(f"collection-prelude-{features}", "collection", data, reason, section, "collections.md")
    yield case("nested", nested, "a member is a collection")
    broken = with_payload(COLLECTION, MEMBER, lambda of: flipped(of, len(of) - 40), 0)
    yield case("member-damaged", broken, "a member's own index is damaged")
    section = "What members share"
    yield case("no-shared", [of for of in COLLECTION if of[0] != SHARED], "a shared section is missing")
    yield case("shared-other", with_payload(COLLECTION, SHARED, lambda of: of + b"\0", 0), "it has another SHA-256")
    member = payload_of(COLLECTION, MEMBER)
    alone = build(frames(member), 2)
    other = with_payload(COLLECTION, MEMBER, lambda _: build(frames(member), 4), 0)
    yield case("member-features", other, "the prelude of a member states other required features than its header")
    yield Case(
        "collection-member-alone", "collection", alone, "a member outside its collection", section, "collections.md"
    )
    codes = struct.pack("<4H", 0, 2, 1, 3)
    changed = with_payload(frames(member), MODEL, lambda of: of[:32] + codes)
    yield case("codes", with_payload(COLLECTION, MEMBER, lambda _: build(changed, 2), 0), "codes are not ascending")
    beyond = with_payload(frames(member), MODEL, lambda of: of[:-2] + b"\xff\0")
    yield case("codes-beyond", with_payload(COLLECTION, MEMBER, lambda _: build(beyond, 2), 0), "a code that is none")


def cases() -> Cases:
    """All cases."""
    for some in (corrections, streams, pyramids, collections):
        yield from some()
