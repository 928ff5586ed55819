"""A reader of prelude, frames, index, trailer and header, written from docs/format.md."""

from typing import Any

import numpy as np

from conformance.readers.basics import Bytes, are_integers, canonical_json, crc32c, demand

DTYPES = {"uint8": "u1", "uint16": "<u2", "int16": "<i2"}
HEADER, MODEL, PRIOR, TOKENS, COLUMN, INDEX, CORRECTIONS, DIGEST, RECOVERY = range(1, 10)
HEADER_KEYS = [
    "block_images",
    "codebook_size",
    "codes_used",
    "columns",
    "decoder",
    "dtype",
    "format_version",
    "image_shape",
    "images",
    "padded_shape",
    "perplexity",
    "profile",
    "promise",
    "provenance",
    "required_features",
    "token_grid",
]
INTEGERS = ["block_images", "codebook_size", "codes_used", "format_version", "images", "required_features"]


def shown(values: np.ndarray, header: dict[str, Any]) -> np.ndarray:
    """Pixels of the values that a decoder makes, in the dtype that the header names."""
    signed = header["dtype"] == "int16"
    return (values.astype(np.int64) - (32768 if signed else 0)).astype(DTYPES[header["dtype"]])


def read_sections(data: bytes, features: int = 0) -> dict[int, list[bytes]]:
    """The payloads of an archive by type, in the order of their ordinals. Every checksum is verified."""
    sections = read_frames(data, features, RECOVERY)
    counts = {kind: len(sections.get(kind, [])) for kind in (HEADER, MODEL, PRIOR, DIGEST)}
    demand(counts[PRIOR] in (1, 2) and counts == {HEADER: 2, MODEL: 1, PRIOR: counts[PRIOR], DIGEST: 1}, "sections")
    demand(all(len(set(sections[kind])) == 1 for kind in (HEADER, PRIOR)), "copies differ")
    return sections


def read_frames(data: bytes, features: int, last: int) -> dict[int, list[bytes]]:
    """The payloads by type, up to type `last`, of a file with these required features."""
    prelude = Bytes(data[:24])
    demand(prelude.take(8) == b"\x89SML\r\n\x1a\n", "magic")
    version, reserved, required, _, crc = prelude.fields("HHIII")
    demand(crc == crc32c(data[:20]) and (version, reserved, required) == (1, 0, features), "prelude")
    trailer = Bytes(data[-28:])
    index_at, size, crc = trailer.fields("QQI")
    demand(trailer.rest() == b"\x89SMZ\r\n\x1a\n" and crc == crc32c(data[-28:-12]) and size == len(data), "trailer")
    index_head, index_payload = read_frame(data, index_at)
    demand(index_head[:2] == (INDEX, 0) and index_at + 28 + len(index_payload) == size - 28, "index")
    index = Bytes(index_payload)
    sections: dict[int, list[bytes]] = {}
    at = 24
    for _ in range(index.fields("I")[0]):
        kind, reserved_bytes, ordinal, offset, length, crc = index.fields("B3sIQQI")
        demand(offset == at and reserved_bytes == bytes(3), "index entry")
        head, payload = read_frame(data, offset)
        demand(head == (kind, ordinal, length, crc), "a frame is not as in the index")
        demand((HEADER <= kind <= last and kind != INDEX) or kind >= 128, "type of section")
        of_kind = sections.setdefault(kind, [])
        demand(ordinal == len(of_kind), "ordinals")
        of_kind.append(payload)
        at = offset + 28 + length
    demand(at == index_at and not index.rest(), "frames do not tile the file")
    return sections


def read_frame(data: bytes, offset: int) -> tuple[tuple[int, int, int, int], bytes]:
    """A frame's type, ordinal, length and checksum, and its payload."""
    source = Bytes(data)
    source.place = offset
    marker, kind, reserved, ordinal, length, crc, head_crc = source.fields("4sB3sIQII")
    demand(marker == b"\xf5SEC" and reserved == bytes(3), "frame")
    demand(head_crc == crc32c(data[offset : offset + 24]), "checksum of a frame head")
    payload = source.take(length)
    demand(crc == crc32c(payload), "checksum of a payload")
    return (kind, ordinal, length, crc), payload


def read_header(sections: dict[int, list[bytes]], features: int = 0) -> dict[str, Any]:
    """Read the header, and compare it with the sections."""
    header = canonical_json(sections[HEADER][0])
    demand(sorted(header) == HEADER_KEYS, "keys of the header")
    check_types(header)
    demand((header["format_version"], header["required_features"]) == (1, features), "version in the header")
    demand(header["dtype"] in DTYPES and header["decoder"] in ("integer", "pyramid"), "dtype, decoder")
    pyramid = header["decoder"] == "pyramid"
    demand(not pyramid or header["token_grid"][0] == 1, "the token grid of a pyramid")
    demand(1 <= header["images"] < 1 << 48 and 1 <= header["block_images"] <= 65536, "images")
    demand(1 <= header["image_shape"][2] <= 4, "channels")
    demand(
        all(whole >= cut for whole, cut in zip(header["padded_shape"], header["image_shape"], strict=False)), "shape"
    )
    demand(all(1 <= side <= 65535 for side in header["token_grid"]), "token grid")
    demand(2 <= header["codebook_size"] <= 65536, "codebook size")
    demand((0 if pyramid else 1) <= header["codes_used"] <= header["codebook_size"], "codes used")
    demand(len(sections.get(TOKENS, [])) == -(-header["images"] // header["block_images"]), "token blocks")
    demand(len(sections.get(COLUMN, [])) == len(header["columns"]) == len(set(header["columns"])), "columns")
    demand(min(header["image_shape"]) >= 1, "image shape")
    corrected = promised(header["promise"], header["images"]) > 0
    demand(len(sections.get(CORRECTIONS, [])) == corrected, "corrections section")
    return header


def check_types(header: dict[str, Any]) -> None:
    """Check which fields are integers, lists of integers, and strings."""
    single = [header[key] for key in INTEGERS]
    demand(are_integers(single, len(INTEGERS)), "type of a field")
    lengths = {"image_shape": 3, "padded_shape": 2, "token_grid": 2}
    demand(all(are_integers(header[key], length) for key, length in lengths.items()), "type of a field")
    demand(type(header["perplexity"]) is float and isinstance(header["profile"], str), "type of a field")
    demand(isinstance(header["columns"], list) and isinstance(header["provenance"], dict), "type of a field")
    strings = [*header["columns"], *header["provenance"].values()]
    demand(all(isinstance(value, str) for value in strings), "type of a field")


def promised(promise: Any, images: int) -> int:
    """The number of images that have corrections."""
    if promise is None:
        return 0
    demand(isinstance(promise, dict) and sorted(promise) == ["corrected", "max_mse", "stored"], "promise")
    counts = [promise["corrected"], promise["stored"]]
    demand(are_integers(counts, 2) and min(counts) >= 0 and sum(counts) <= images, "promise")
    demand(type(promise["max_mse"]) is float and promise["max_mse"] >= 0, "promise")
    return sum(counts)
