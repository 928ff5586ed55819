"""Makes images of noise, and files of one image, with Pillow, imagecodecs and tifffile."""

import struct
import zlib
from collections.abc import Sequence
from io import BytesIO
from pathlib import Path

import numpy as np
import tifffile
from numpy.typing import NDArray
from PIL import Image

from inputs.case import Case, Group, Made, Pixels, Value

EXIF_ORIENTATION = 0x0112


def noise(*shape: int, seed: int = 0) -> NDArray[np.uint8]:
    return np.random.default_rng(seed).integers(0, 256, shape, dtype=np.uint8)


def wide(*shape: int, seed: int = 0) -> NDArray[np.uint16]:
    return np.random.default_rng(seed).integers(0, 65536, shape, dtype=np.uint16)


def smooth(height: int, width: int, channels: int) -> NDArray[np.uint8]:
    """Return uint8 [height, width, channels] with a slope in each channel, which lossy formats preserve well."""
    rows, columns = np.mgrid[:height, :width]
    return np.stack([(40 + 5 * rows * (c + 1) + 3 * columns * (4 - c)) % 200 for c in range(channels)], 2).astype("u1")


def pillow(image: Image.Image | Pixels, kind: str, **options: object) -> bytes:
    file = BytesIO()
    (image if isinstance(image, Image.Image) else Image.fromarray(image)).save(file, kind, **options)
    return file.getvalue()


def png(pixels: Pixels) -> bytes:
    return pillow(pixels, "png")


def tiff(pixels: Pixels, **options: object) -> bytes:
    file = BytesIO()
    tifffile.imwrite(file, pixels, **options)
    return file.getvalue()


def exif(orientation: int) -> Image.Exif:
    made = Image.Exif()
    made[EXIF_ORIENTATION] = orientation
    return made


def upright(stored: Pixels, orientation: int) -> Pixels:
    """Turn a stored image upright, by its EXIF orientation, as viewers do."""
    turns = {3: 2, 4: 2, 5: -1, 6: -1, 7: 1, 8: 1}
    mirrored = np.fliplr(stored) if orientation in (2, 4) else np.flipud(stored) if orientation in (5, 7) else stored
    return np.rot90(mirrored, turns.get(orientation, 0))


def chunk(kind: bytes, data: bytes) -> bytes:
    """Return a chunk of a PNG file."""
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def with_chunk(data: bytes, kind: bytes, content: bytes) -> bytes:
    """Return a PNG file with a further chunk before its pixels."""
    place = data.index(b"IDAT") - 4
    return data[:place] + chunk(kind, content) + data[place:]


def plain_rgb(inks: Pixels) -> NDArray[np.uint8]:
    """Convert by R = (255 - C)(255 - K) / 255, rounded, and so on: the formula of docs/images.md."""
    light = 255 - inks.astype(np.float64)
    return np.floor(light[..., :3] * light[..., 3:] / 255 + 0.5).astype(np.uint8)


def write(path: Path, data: bytes) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(data)
    return path


def read_as(suffix: str, data: bytes, expected: Pixels, mode: str | None, turned: int | None, root: Path) -> Made:
    """Make a folder of one image file, and the images that must be read."""
    write(root / f"a{suffix}", data)
    fields: dict[str, list[Value]] = {} if mode is None else {"source_mode": [mode]}
    if turned is not None:
        fields["source_orientation"] = [turned]
    pixels = expected.reshape(1, *expected.shape[:2], -1)
    return Made(root, [Group(pixels, names=["a" + suffix], fields=fields)])


def passed_over(name: str, data: bytes, words: str, root: Path) -> Made:
    """Make a folder of a file that must be skipped, and a good one, `z.png`."""
    write(root / name, data)
    write(root / "z.png", png(noise(4, 5)))
    return Made(root, [Group(noise(1, 4, 5, 1), names=["z.png"])], {name: words})


def image(
    what: str,
    maker: str,
    suffix: str,
    data: bytes,
    expected: Pixels,
    mode: str | None = None,
    turned: int | None = None,
) -> Case:
    """Return the case of a file that is read."""
    return Case(what, maker, lambda root: read_as(suffix, data, expected, mode, turned, root))


def fields_of(what: str, maker: str, suffix: str, data: bytes, expected: Pixels, **fields: Value) -> Case:
    """Return the case of a file that is read, with these fields."""

    def make(root: Path) -> Made:
        write(root / f"a{suffix}", data)
        pixels = expected.reshape(1, *expected.shape[:2], -1)
        return Made(root, [Group(pixels, names=["a" + suffix], fields={name: [fields[name]] for name in fields})])

    return Case(what, maker, make)


def several(what: str, maker: str, name: str, data: bytes, images: Pixels, **fields: Sequence[Value]) -> Case:
    """Return the case of a file of images [n, H, W] or [n, H, W, C], with columns of n values."""

    def make(root: Path) -> Made:
        write(root / name, data)
        names = [f"{name}#{place}" for place in range(len(images))]
        return Made(root, [Group(images.reshape(*images.shape[:3], -1), names=names, fields=fields)])

    return Case(what, maker, make)


def refused(what: str, maker: str, name: str, data: bytes, words: str) -> Case:
    """Return the case of a file that is skipped."""
    return Case(what, maker, lambda root: passed_over(name, data, words, root))
