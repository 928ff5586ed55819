"""Small images, image files, and whole sources as one batch."""

import struct
import zlib
from pathlib import Path
from typing import BinaryIO

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from smalti.imagefiles.format import ImageHeader
from smalti.imagefiles.table import open_images
from smalti.images.batch import ImageBatch, Pixels
from smalti.images.source import ImageSource


def noise(*shape: int, seed: int = 0) -> NDArray[np.uint8]:
    return np.random.default_rng(seed).integers(0, 256, shape, dtype=np.uint8)


def save(path: Path, pixels: NDArray[np.uint8], mode: str | None = None, **options: object) -> Path:
    """Save [H, W] or [H, W, C] as an image file, making folders as needed."""
    path.parent.mkdir(parents=True, exist_ok=True)
    image = Image.fromarray(pixels)
    (image if mode is None else image.convert(mode)).save(path, **options)
    return path


def png_bytes(colour_type: int, bits: int, row: bytes, width: int, height: int) -> bytes:
    """Return a PNG of equal rows, for kinds that Pillow does not write (16-bit RGB)."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    head = struct.pack(">IIBBBBB", width, height, bits, colour_type, 0, 0, 0)
    rows = zlib.compress((b"\0" + row) * height)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + chunk(b"IDAT", rows) + chunk(b"IEND", b"")


def read_header(file: BinaryIO) -> ImageHeader:
    """Return the header of the one image of a file."""
    (header,) = open_images(file).headers
    return header


def read_image(file: BinaryIO) -> tuple[ImageHeader, Pixels]:
    """Return the header and the pixels of the first image of a file."""
    return open_images(file).image(0)


def everything(source: ImageSource, batch_images: int = 3) -> ImageBatch:
    return ImageBatch.joined(list(source.batches(batch_images)))


def reasons(source: ImageSource) -> dict[str, str]:
    return {file.name: file.reason for file in source.skipped}


def assert_same(found: ImageBatch, expected: ImageBatch) -> None:
    np.testing.assert_array_equal(found.pixels, expected.pixels)
    assert (found.labels is None) == (expected.labels is None)
    if found.labels is not None and expected.labels is not None:
        np.testing.assert_array_equal(found.labels, expected.labels)
    assert found.names == expected.names
