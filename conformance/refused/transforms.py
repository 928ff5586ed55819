"""Files of kind `transform` that are wrong: descriptions, sums, tables, words, sizes."""

import json
import struct
from pathlib import Path
from typing import Any

from conformance.readers.sections import HEADER, MODEL, PRIOR, TOKENS
from conformance.readers.sized import SIZED, SIZES
from conformance.refused.files import Case, Cases, build, canonical, frames, patched, payload_of, with_payload

BASE = Path(__file__).parents[1] / "sound" / "transform.smalti"
BYTES, PACKED = "Its bytes", "Packed numbers"

NETWORKS: dict[str, tuple[dict[str, Any], str, str]] = {
    "cell-12": ({"cell": 12}, "cells of 12 pixels", BYTES),
    "cell-16": ({"cell": 16}, "other cells than those of the sizes", BYTES),
    "channels-5": ({"channels": 5}, "five channels", BYTES),
    "components-0": ({"components": 0}, "no components", BYTES),
    "components-4096": ({"components": 4096}, "more components than values of a cell", BYTES),
    "components-huge": ({"components": 1 << 60}, "2^60 components", BYTES),
    "fraction-9": ({"fraction": 9}, "a fraction of 9", BYTES),
    "mixing-257": ({"mixing": 257}, "mixing of width 257", BYTES),
    "mixing-0": ({"mixing": 0}, "a network without the mixing whose numbers follow", PACKED),
    "shift-25": ({"shift2": 25}, "a shift above 24", BYTES),
    "key": ({"gain": 1}, "a key that nobody knows", PACKED),
    "bool": ({"channels": True}, "`true` for an integer", PACKED),
    "symbols-97": ({"symbols": 97}, "97 symbols", PACKED),
    "tables-4097": ({"tables": 4097}, "4,097 tables", PACKED),
}
PRIORS: dict[str, tuple[dict[str, Any], str, str]] = {
    "groups-2": ({"groups": [2]}, "a first group of two components", BYTES),
    "groups-sum": ({"groups": [1, 2]}, "groups of more components than there are", BYTES),
    "groups-0": ({"groups": [1, 0, 1]}, "an empty group", BYTES),
    "groups-bool": ({"groups": [True, 1]}, "`true` for the size of a group", BYTES),
    "signed-3": ({"signed": 3}, "more signed components than components", BYTES),
    "width-257": ({"width": 257}, "257 hidden numbers", BYTES),
    "rows": ({"rows": 3}, "rows of places without columns", BYTES),
    "places-4097": ({"rows": 17, "columns": 241}, "4,097 places", BYTES),
    "radius-4097": ({"radius": 4097}, "a radius of 4,097", BYTES),
    "tables-huge": ({"radius": 4096, "scales": 256}, "six million frequencies", BYTES),
    "scales-1": ({"scales": 1}, "one scale", BYTES),
    "table-bits-25": ({"table_bits": 25}, "tables of precision 25", BYTES),
    "shifts-9": ({"shifts": [0] * 9}, "nine shifts", BYTES),
    "shifts-25": ({"shifts": [25] + [0] * 9}, "a shift above 24", BYTES),
}


def described(changes: dict[str, Any]) -> Any:
    """A change of the description of packed numbers."""

    def change(payload: bytes) -> bytes:
        (size,) = struct.unpack_from("<I", payload)
        text = canonical(json.loads(payload[4 : 4 + size]) | changes)
        return struct.pack("<I", len(text)) + text + payload[4 + size :]

    return change


def of_prior(changes: dict[str, Any]) -> Any:
    """The same in a prior."""

    def change(payload: bytes) -> bytes:
        (size,) = struct.unpack_from("<I", payload)
        packed = described(changes)(payload[4 : 4 + size])
        return struct.pack("<I", len(packed)) + packed + payload[4 + size :]

    return change


def cases() -> Cases:
    """All files."""
    payloads = frames(BASE.read_bytes())

    def case(name: str, kind: int, change: Any, reason: str, section: str) -> Case:
        data = build(with_payload(payloads, kind, change), SIZED)
        return Case(f"transform-{name}", "transform", data, reason, section)

    for name, (changes, reason, section) in NETWORKS.items():
        yield case(f"model-{name}", MODEL, described(changes), reason, section)
    yield case("model-empty", MODEL, lambda _: b"", "an empty model", PACKED)
    yield case("model-word", MODEL, lambda payload: payload + b"\1\0\0\0", "a word after the last", PACKED)
    for name, (changes, reason, section) in PRIORS.items():
        yield case(f"prior-{name}", PRIOR, of_prior(changes), reason, section)
    yield case("prior-empty", PRIOR, lambda _: b"", "an empty prior", BYTES)
    yield case("prior-long", PRIOR, lambda payload: payload + b"\0", "a byte after the prior", BYTES)
    yield case("prior-length", PRIOR, patched(0, "I", 1 << 30), "packed numbers longer than the prior", BYTES)
    tokens = payload_of(payloads, TOKENS)
    yield case("tokens-crc", TOKENS, patched(12, "I", 1), "tokens other than the checksum says", "Token block")
    yield case("tokens-units", TOKENS, patched(8, "I", 9), "another number of units", "Units and blocks")
    yield case("tokens-after", TOKENS, lambda payload: payload + bytes(4), "bytes after the tokens", "Units and blocks")
    more = struct.pack("<I", len(tokens) - 24 + 4)
    yield case(
        "tokens-word",
        TOKENS,
        lambda payload: payload[:20] + more + payload[24:] + b"\1\0\0\0",
        "a word more than the tokens need",
        "Tokens of cells",
    )
    yield case(
        "tokens-none", TOKENS, patched(20, "I", 0), "tokens of no words, and bytes after them", "Tokens of cells"
    )
    yield case("sizes-cell", SIZES, patched(1, "B", 16), "other cells than those of the network", "Sizes")
    yield case("sizes-region-0", SIZES, patched(2, "H", 0), "regions of no cells", "Sizes")
    header = described_header({"decoder": "pyramid"})
    yield case("header-decoder", HEADER, header, "a decoder whose images have one size", "Images of any sizes")
    without = [(kind, number, payload) for kind, number, payload in payloads if kind != SIZES]
    data = build(without, SIZED)
    yield Case("transform-no-sizes", "transform", data, "no sizes", "Index")
    data = build([each for each in payloads if each[:2] != (PRIOR, 0)], SIZED)
    yield Case("transform-no-prior", "transform", data, "no prior", "Index")


def described_header(changes: dict[str, Any]) -> Any:
    """A change of the header."""
    return lambda payload: canonical(json.loads(payload) | changes)
