"""A reader of archives, written from docs/format.md without smalti. It is slow, and follows the page word for word."""

import hashlib
from dataclasses import dataclass
from math import prod
from typing import Any

import numpy as np

from conformance.readers.basics import Bytes, Coder, crc32c, demand, read_tables
from conformance.readers.columns import read_labels, read_texts
from conformance.readers.corrections import Corrections, correct, read_corrections
from conformance.readers.network import Layer, read_network, run_network
from conformance.readers.pyramid import ABSENT, PyramidTokens
from conformance.readers.sections import CORRECTIONS, DIGEST, MODEL, PRIOR, TOKENS, read_header, read_sections, shown


def read_model(payload: bytes, header: dict[str, Any]) -> tuple[np.ndarray, list[Layer]]:
    """The codes in use, and the decoder network."""
    source = Bytes(payload)
    used, size = header["codes_used"], header["codebook_size"]
    numbers = np.array(source.fields(f"{used}H") if used < size else range(size), np.int64)
    demand((np.diff(numbers) > 0).all() and numbers[-1] < size, "numbers of codes")
    layers = read_network(source.rest(), header["dtype"] != "uint8")
    demand((layers[0].inputs, layers[-1].outputs) == (used, header["image_shape"][2]), "codes, channels")
    return numbers, layers


def read_prior(payload: bytes, header: dict[str, Any]) -> tuple[list[list[int]], int]:
    """The tables of the prior, and their precision."""
    source = Bytes(payload)
    kind, precision, reserved, used, places = source.fields("BBHII")
    height, width = header["token_grid"]
    demand(kind in (1, 2) and precision <= 24 and reserved == 0, "prior")
    demand((used, places) == (header["codes_used"], height * width), "U and T of the prior")
    demand(kind == 1 or places * used <= 1 << 22, "size of the prior")
    tables = read_tables(source, 1 if kind == 1 else places, used, precision)
    demand(not source.rest(), "bytes after the prior")
    return tables, precision


class GridTokens:
    """Tokens and pixels of the decoder "integer"."""

    def __init__(
        self, sections: dict[int, list[bytes]], header: dict[str, Any], model: tuple[np.ndarray, list[Layer]]
    ) -> None:
        self.numbers, self.layers = model
        self.tables, self.precision = read_prior(sections[PRIOR][0], header)
        self.grid = header["token_grid"]

    def read(self, coder: Coder, count: int) -> tuple[np.ndarray, np.ndarray]:
        """The codes [n, T] of the tokens of a block, and the network's output for them."""
        tables = self.tables if len(self.tables) > 1 else self.tables * prod(self.grid)
        tokens = np.array([coder.group(table, self.precision, count) for table in tables], np.int64).T
        padded = [run_network(self.layers, image.reshape(self.grid)) for image in tokens]
        return self.numbers[tokens], np.array(padded)


@dataclass(frozen=True)
class Images:
    """The contents of an archive.

    tokens : uint16 [N, T], numbers of codes, 65,535 where a token is absent
    pixels : uint8 or little-endian uint16 or int16 [N, H, W, C]
    """

    header: dict[str, Any]
    tokens: np.ndarray
    pixels: np.ndarray
    labels: np.ndarray | None
    class_names: list[str] | None
    names: list[str] | None


def read_archive(data: bytes) -> Images:
    """Read an archive."""
    sections = read_sections(data)
    return decode_sections(sections, read_header(sections))


def read_pixels(data: bytes) -> np.ndarray:
    """The pixels of all images, uint8 or little-endian uint16 or int16 [N, H, W, C]."""
    return read_archive(data).pixels


def decode_sections(
    sections: dict[int, list[bytes]], header: dict[str, Any], model: tuple[np.ndarray, list[Layer]] | None = None
) -> Images:
    """Decode sections. model : of the decoder "integer", if the sections do not hold it"""
    demand(len(sections[PRIOR]) == (1 if header["decoder"] == "pyramid" else 2), "number of priors")
    if header["decoder"] == "pyramid":
        reader: Any = PyramidTokens(sections, header)
    else:
        reader = GridTokens(sections, header, model or read_model(sections[MODEL][0], header))
    wide = header["dtype"] != "uint8"
    corrections = [read_corrections(payload, header["image_shape"], wide) for payload in sections.get(CORRECTIONS, [])]
    blocks = [
        read_block(reader, header, block, payload, corrections[0] if corrections else None)
        for block, payload in enumerate(sections[TOKENS])
    ]
    tokens, pixels = (np.concatenate(parts) for parts in zip(*blocks, strict=True))
    demand(hashlib.sha256(pixels.tobytes()).digest() == sections[DIGEST][0], "digest")
    check_perplexity(header, tokens)
    class_names, names = (read_texts(sections, header, name) for name in ("class_names", "names"))
    return Images(header, tokens, pixels, read_labels(sections, header), class_names, names)


def read_block(
    reader: Any, header: dict[str, Any], block: int, payload: bytes, corrections: Corrections | None
) -> tuple[np.ndarray, np.ndarray]:
    """The tokens and the pixels of a token block."""
    height, width, channels = header["image_shape"]
    source = Bytes(payload)
    first, count, tokens_crc, pixels_crc = source.fields("QIII")
    demand(first == block * header["block_images"], "first image of a block")
    demand(count == min(header["block_images"], header["images"] - first), "images of a block")
    (length,) = source.fields("I")
    coder = Coder(source.take(length))
    tokens, padded = reader.read(coder, count)
    coder.end()
    tokens = tokens.astype("<u2")
    demand(tokens_crc == crc32c(tokens.tobytes()), "checksum of tokens")
    demand(padded.shape == (count, *header["padded_shape"], channels), "padded shape")
    pixels = padded[:, :height, :width]
    stream = source.rest()
    demand(bool(stream) == (corrections is not None), "corrections stream")
    if corrections is not None:
        pixels = correct(corrections, stream, pixels)
    pixels = shown(pixels, header)
    demand(pixels_crc == crc32c(pixels.tobytes()), "checksum of pixels")
    return tokens, pixels


def check_perplexity(header: dict[str, Any], tokens: np.ndarray) -> None:
    """Check that the perplexity is that of the tokens."""
    present = tokens[tokens != ABSENT] if header["decoder"] == "pyramid" else tokens
    _, counts = np.unique(present, return_counts=True)
    demand(len(counts) == header["codes_used"], "codes used")
    shares = counts / max(counts.sum(), 1)
    perplexity = 2 ** -float(shares @ np.log2(shares)) if len(counts) else 0.0
    demand(abs(perplexity - header["perplexity"]) <= 0.001, "perplexity")
