"""A reader of archives of images of any sizes, written from docs/format.md: header, units and blocks."""

import hashlib
from dataclasses import dataclass
from typing import Any

import numpy as np

from conformance.readers.basics import Bytes, Coder, canonical_json, crc32c, demand
from conformance.readers.columns import read_labels, read_texts
from conformance.readers.mixtures import pixels_of
from conformance.readers.pixels import Pixels
from conformance.readers.sections import (
    COLUMN,
    CORRECTIONS,
    DIGEST,
    DTYPES,
    HEADER,
    HEADER_KEYS,
    MODEL,
    PRIOR,
    RECOVERY,
    TOKENS,
    check_types,
    read_frames,
    shown,
)
from conformance.readers.sizes import Sizes, Unit, read_copies, read_sizes
from conformance.readers.transform import Transform

SIZED, COPIES, SIZES = 8, 16, 13
DECODERS = {"transform": Transform, "pixels": pixels_of}


@dataclass(frozen=True)
class SizedImages:
    """The contents of an archive. pixels : [H, W, C] of each image    tokens : uint16 [rows, columns, M] of each"""

    header: dict[str, Any]
    tokens: list[np.ndarray]
    pixels: list[np.ndarray]
    labels: np.ndarray | None
    class_names: list[str] | None
    names: list[str] | None


def read_sized(data: bytes) -> SizedImages:
    """Read an archive."""
    features = int.from_bytes(data[12:16], "little")
    demand(features in (SIZED, SIZED | COPIES), "required features")
    sections = read_frames(data, features, SIZES)
    once = {MODEL: 1, PRIOR: 1, DIGEST: 1, HEADER: 2, SIZES: 2}
    demand(all(len(sections.get(kind, [])) == count for kind, count in once.items()), "sections")
    demand({kind for kind in sections if kind < 128} <= {*once, TOKENS, COLUMN, RECOVERY}, "sections")
    demand(all(len(set(sections[kind])) == 1 for kind in (HEADER, SIZES)), "copies differ")
    header = canonical_json(sections[HEADER][0])
    check_header(header, features)
    demand(len(sections.get(COLUMN, [])) == len(header["columns"]) == len(set(header["columns"])), "columns")
    stored, listed = list(range(header["images"])), sections[SIZES][0]
    if features & COPIES:
        stored, listed = read_copies(listed, header["images"])
    sizes = read_sizes(listed, max(stored) + 1)
    largest = [max(size[axis] for size in sizes.sides) for axis in range(2)]
    demand(header["image_shape"][:2] == header["padded_shape"] == largest, "the largest sides")
    decoder = DECODERS[header["decoder"]](sections[MODEL][0], sections[PRIOR][0], header, sizes.cell)
    cells = [(-(-height // sizes.cell), -(-width // sizes.cell)) for height, width in sizes.sides]
    tokens = [np.zeros((*grid, header["token_grid"][1]), "<u2") for grid in cells]
    blocks = sizes.blocks()
    demand(len(sections[TOKENS]) == len(blocks), "token blocks")
    checks, first = [], 0
    for units, payload in zip(blocks, sections[TOKENS], strict=True):
        checks.append(read_block(payload, first, units, decoder, tokens))
        first += len(units)
    pixels = [
        shown(decoder.pixels(own.astype(np.int64))[:height, :width], header)
        for own, (height, width) in zip(tokens, sizes.sides, strict=True)
    ]
    for units, check in zip(blocks, checks, strict=True):
        demand(check == crc32c(b"".join(part(pixels, unit, sizes).tobytes() for unit in units)), "checksum of pixels")
    whole = b"".join(np.ascontiguousarray(image).tobytes() for image in pixels)
    demand(hashlib.sha256(whole).digest() == sections[DIGEST][0], "digest")
    check_perplexity(header, tokens)
    demand(sum(pixels[number][..., 0].size for number in stored) < 1 << 60, "pixels")
    tokens, pixels = ([of[number] for number in stored] for of in (tokens, pixels))
    class_names, names = (read_texts(sections, header, name) for name in ("class_names", "names"))
    return SizedImages(header, tokens, pixels, read_labels(sections, header), class_names, names)


def check_header(header: dict[str, Any], features: int) -> None:
    """Check the header."""
    demand(sorted(header) == HEADER_KEYS, "keys of the header")
    check_types(header)
    demand((header["format_version"], header["required_features"]) == (1, features), "version in the header")
    demand(header["dtype"] in DTYPES and header["decoder"] in DECODERS, "dtype, decoder")
    demand(1 <= header["images"] < 1 << 48 and header["block_images"] == 1, "images")
    demand(min(header["image_shape"]) >= 1 and header["image_shape"][2] <= 4, "image shape")
    demand(header["token_grid"][0] == 1 <= header["token_grid"][1] <= 4096, "tokens of a cell")
    demand(header["codebook_size"] == 65536 and 1 <= header["codes_used"] <= 65536, "codes")
    demand(header["promise"] is None, "promise")
    assert CORRECTIONS  # of which there are none


def read_block(
    payload: bytes, first: int, units: list[Unit], decoder: Transform | Pixels, tokens: list[np.ndarray]
) -> int:
    """Read the tokens of a block into the images. Returns the checksum of its pixels."""
    source = Bytes(payload)
    number, count, tokens_crc, pixels_crc, length = source.fields("QIIII")
    demand((number, count) == (first, len(units)), "units of a block")
    coder = Coder(source.take(length))
    demand(not source.rest(), "bytes after the tokens")
    found = decoder.decode(coder, [(rows, columns) for _, _, _, rows, columns in units])
    coder.end()
    demand(tokens_crc == crc32c(b"".join(own.astype("<u2").tobytes() for own in found)), "checksum of tokens")
    for (image, top, left, rows, columns), own in zip(units, found, strict=True):
        tokens[image][top : top + rows, left : left + columns] = own
    return pixels_crc


def part(pixels: list[np.ndarray], unit: Unit, sizes: Sizes) -> np.ndarray:
    """The pixels of a unit that lie in the image."""
    image, top, left, rows, columns = unit
    b = sizes.cell
    return pixels[image][top * b : (top + rows) * b, left * b : (left + columns) * b]


def check_perplexity(header: dict[str, Any], tokens: list[np.ndarray]) -> None:
    """Check that the perplexity is that of the tokens."""
    _, counts = np.unique(np.concatenate([each.ravel() for each in tokens]), return_counts=True)
    demand(len(counts) == header["codes_used"], "codes used")
    shares = counts / counts.sum()
    demand(abs(2 ** -float(shares @ np.log2(shares)) - header["perplexity"]) <= 0.001, "perplexity")
