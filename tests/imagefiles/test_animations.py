"""Animations in GIF, APNG and WebP files: frames as viewers show them, times, damage.

Pillow writes the files. It and imagecodecs are the other decoders, where they follow the specifications (`findings/`).
"""

import io
import struct
import time
import zlib
from collections.abc import Callable, Sequence
from itertools import product

import imagecodecs
import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from helpers.image_files import noise
from smalti.imagefiles.animations.animation import _over
from smalti.imagefiles.format import ImageHeader, UnreadableImageError
from smalti.imagefiles.table import open_images

Array = NDArray[np.generic]
TIMES = [70, 80, 90, 100]


def animated(frames: Sequence[Image.Image], kind: str, **options: object) -> bytes:
    file = io.BytesIO()
    frames[0].save(file, kind, save_all=True, append_images=frames[1:], **options)
    return file.getvalue()


def read(data: bytes) -> tuple[Sequence[ImageHeader], list[Array]]:
    images = open_images(io.BytesIO(data))
    decoded = [images.image(number) for number in range(len(images.headers))]
    for number, (header, pixels) in enumerate(decoded):
        assert header == images.headers[number]
        assert (pixels.shape, pixels.dtype) == (header.shape, header.dtype)
    return images.headers, [pixels for _, pixels in decoded]


def by_pillow(data: bytes) -> list[Array]:
    with Image.open(io.BytesIO(data)) as image:
        found = []
        for number in range(getattr(image, "n_frames", 1)):
            image.seek(number)
            found.append(np.asarray(image.convert("RGBA")))
        return found


def seen(pixels: Array) -> Array:
    """Return RGBA in which what is not seen is 0."""
    if pixels.shape[2] < 3:
        pixels = np.dstack([pixels[..., :1]] * 3 + [pixels[..., 1:]])
    if pixels.shape[2] == 3:
        pixels = np.dstack([pixels, np.full(pixels.shape[:2], 255, np.uint8)])
    return np.where(pixels[..., 3:] == 0, 0, pixels)


def same(found: Sequence[Array], expected: Sequence[Array]) -> None:
    assert len(found) == len(expected)
    for one, other in zip(found, expected, strict=True):
        np.testing.assert_array_equal(seen(one), seen(other))


def palette_frames(count: int = 4) -> list[Image.Image]:
    """Make frames that differ in a small part."""
    frames = []
    for number in range(count):
        levels = np.zeros((8, 10), np.uint8)
        levels[number : number + 3, number : number + 4] = 5 + number
        levels[7, number] = 9
        frames.append(Image.fromarray(levels))
        frames[-1].putpalette(noise(256, 3, seed=1).tobytes())
    return frames


def clear_frames() -> list[Image.Image]:
    """Make frames of which each pixel is opaque or empty."""
    found = []
    for number in range(4):
        pixels = np.zeros((8, 10, 4), np.uint8)
        pixels[number : number + 3, number : number + 4] = (5 + number, 99, 7, 255)
        pixels[7, number] = (9, 9, 9, 255)
        found.append(Image.fromarray(pixels))
    return found


@pytest.mark.parametrize("transparent", [None, 0])
@pytest.mark.parametrize("disposal", [0, 1, 2, [1, 3, 1, 1], [0, 3, 3, 0]])
def test_frames_of_gif(disposal: object, transparent: int | None) -> None:
    options = {} if transparent is None else {"transparency": transparent}
    data = animated(palette_frames(), "gif", disposal=disposal, duration=TIMES, optimize=False, **options)
    headers, frames = read(data)
    same(frames, list(imagecodecs.gif_decode(data)))
    same(frames, by_pillow(data))
    assert [header.fields for header in headers] == [
        {"source_mode": "P", "frame": number, "duration_ms": float(duration)} for number, duration in enumerate(TIMES)
    ]
    may_be_empty = transparent is not None or disposal == 2
    assert headers[0].shape == (8, 10, 4 if may_be_empty else 3)


def test_a_frame_of_gif_is_not_cleared_because_an_earlier_one_was() -> None:
    data = animated(palette_frames(), "gif", disposal=[2, 0, 1, 1], transparency=0, optimize=False)
    _, frames = read(data)
    same(frames, list(imagecodecs.gif_decode(data)))


def gif(*blocks: bytes, screen: tuple[int, int] = (2, 2), background: int = 0) -> bytes:
    """Make a GIF file with a palette of red, green, blue and white."""
    palette = bytes([255, 0, 0, 0, 255, 0, 0, 0, 255, 255, 255, 255])
    return b"GIF89a" + struct.pack("<HHBBB", *screen, 0x81, background, 0) + palette + b"".join(blocks) + b"\x3b"


def gif_frame(levels: Array, left: int = 0, top: int = 0, disposal: int | None = 0, clear: int | None = None) -> bytes:
    control = b""
    if disposal is not None:
        control = struct.pack("<BBBBHBB", 0x21, 0xF9, 4, disposal << 2 | (clear is not None), 5, clear or 0, 0)
    image = Image.fromarray(levels)
    image.putpalette(bytes(range(256)) * 3)
    data = animated([image], "gif", optimize=False)
    start = data.index(b"\x2c", data.index(b"\x21") if b"\x21" in data[13 + 768 :] else 13 + 768)
    pixels = data[start + 10 + (768 if data[start + 9] & 0x80 else 0) : -1]
    height, width = levels.shape
    return control + struct.pack("<BHHHHB", 0x2C, left, top, width, height, 0) + pixels


RED, GREEN, BLUE, EMPTY = [255, 0, 0, 255], [0, 255, 0, 255], [0, 0, 255, 255], [0, 0, 0, 0]


def test_frames_of_gif_by_hand() -> None:
    full, one = np.zeros((2, 2), np.uint8), np.array([[1]], np.uint8)
    _, frames = read(gif(gif_frame(full), gif_frame(one, 1, 1, 2), gif_frame(one, 0, 0, 3), gif_frame(one * 2, 0, 1)))
    np.testing.assert_array_equal(frames[0], [[RED, RED], [RED, RED]])
    np.testing.assert_array_equal(frames[1], [[RED, RED], [RED, GREEN]])
    np.testing.assert_array_equal(frames[2], [[GREEN, RED], [RED, EMPTY]])
    np.testing.assert_array_equal(frames[3], [[RED, RED], [BLUE, EMPTY]])
    headers, frames = read(gif(gif_frame(one, 1, 0, None), gif_frame(one * 2, 0, 1, None)))
    np.testing.assert_array_equal(frames[1], [[EMPTY, GREEN], [BLUE, EMPTY]])
    assert headers[0].fields == {"source_mode": "P", "frame": 0}
    _, frames = read(gif(gif_frame(full), gif_frame(one, 2, 0)))  # outside the screen
    np.testing.assert_array_equal(frames[1], [[RED, RED, GREEN], [RED, RED, EMPTY]])


def test_a_gif_of_one_frame_is_as_before() -> None:
    headers, images = read(gif(gif_frame(np.array([[0, 1], [2, 3]], np.uint8))))
    assert headers[0].fields == {"source_mode": "P"}
    assert images[0].shape == (2, 2, 3)


@pytest.mark.parametrize(
    ("blend", "with_picture", "disposal"),
    [*product((0, 1), (False,), (0, 1, [0, 1, 1, 0])), *product((0,), (True,), (0, 1, [0, 1, 1, 0]))],
)
def test_frames_of_apng(blend: int, with_picture: bool, disposal: object) -> None:
    options = {"disposal": disposal, "blend": blend, "duration": TIMES, "default_image": with_picture}
    data = animated(clear_frames(), "png", **options)
    headers, frames = read(data)
    same(frames, by_pillow(data))
    same(frames, list(imagecodecs.apng_decode(data)))
    first = 1 if with_picture else 0
    assert [header.fields.get("frame") for header in headers] == ([None, 0, 1, 2] if with_picture else [0, 1, 2, 3])
    assert headers[first].fields["duration_ms"] == 70.0


@pytest.mark.parametrize("mode", ["L", "LA", "RGB", "RGBA", "P", "1"])
def test_the_kind_of_all_frames_is_that_of_the_file(mode: str) -> None:
    made = [Image.fromarray(noise(8, 10, 4, seed=seed)).convert(mode) for seed in range(3)]
    if mode == "P":
        made = palette_frames()
    data = animated(made, "png", blend=0)
    headers, frames = read(data)
    channels = {"L": 1, "LA": 2, "RGB": 3, "RGBA": 4, "P": 3, "1": 1}[mode]
    assert {header.shape for header in headers} == {(8, 10, channels)}
    same(frames, [np.asarray(image.convert("RGBA")) for image in made])


def chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def apng(
    *frames: tuple[Array, int, int, int, int], bits: int = 8, size: tuple[int, int] = (2, 2), exif: bytes = b""
) -> bytes:
    """Make an APNG file. frames : pixels [h, w, C], left, top, disposal, blend"""
    kind = {1: 0, 2: 4, 3: 2, 4: 6}[frames[0][0].shape[2]]
    chunks = [chunk(b"IHDR", struct.pack(">IIBBBBB", *size, bits, kind, 0, 0, 0))]
    chunks.append(chunk(b"acTL", struct.pack(">II", len(frames), 0)))
    number = 0
    for position, (pixels, left, top, disposal, blend) in enumerate(frames):
        height, width, _ = pixels.shape
        place = struct.pack(">IIIIIHHBB", number, width, height, left, top, 1, 30, disposal, blend)
        rows = b"".join(b"\0" + row.astype(f">u{bits // 8}").tobytes() for row in pixels)
        data = zlib.compress(rows)
        chunks.append(chunk(b"fcTL", place))
        chunks.append(chunk(b"fdAT", struct.pack(">I", number + 1) + data) if position else chunk(b"IDAT", data))
        number += 2 if position else 1
    chunks += [chunk(b"eXIf", exif)] if exif else []
    return b"\x89PNG\r\n\x1a\n" + b"".join(chunks) + chunk(b"IEND", b"")


KEEP, CLEAR, RESTORE, COVERS, OVER = 0, 1, 2, 0, 1


def one(colour: Sequence[int], dtype: type = np.uint8) -> Array:
    return np.array([[colour]], dtype)


def test_frames_of_apng_by_hand() -> None:
    full = np.tile(one(RED), (2, 2, 1))
    headers, frames = read(
        apng(
            (full, 0, 0, KEEP, COVERS),
            (one(GREEN), 1, 1, RESTORE, OVER),
            (one(EMPTY), 0, 0, KEEP, COVERS),
            (one(EMPTY), 1, 0, KEEP, OVER),
            (one(BLUE), 0, 1, CLEAR, OVER),
            (one(GREEN), 0, 0, KEEP, OVER),
        )
    )
    np.testing.assert_array_equal(frames[1], [[RED, RED], [RED, GREEN]])
    np.testing.assert_array_equal(frames[2], [[EMPTY, RED], [RED, RED]])
    np.testing.assert_array_equal(frames[3], frames[2])
    np.testing.assert_array_equal(frames[4], [[EMPTY, RED], [BLUE, RED]])
    np.testing.assert_array_equal(frames[5], [[GREEN, RED], [EMPTY, RED]])
    assert headers[0].fields["duration_ms"] == pytest.approx(1000 / 30)
    _, frames = read(apng((full, 0, 0, RESTORE, COVERS), (one(GREEN), 1, 1, KEEP, OVER)))
    np.testing.assert_array_equal(frames[1], [[EMPTY, EMPTY], [EMPTY, GREEN]])  # the first is cleared
    opaque = np.tile(one([7, 8, 9]), (2, 2, 1))
    headers, frames = read(apng((opaque, 0, 0, CLEAR, COVERS), (one([1, 2, 3]), 1, 1, KEEP, COVERS)))
    np.testing.assert_array_equal(frames[1], [[EMPTY, EMPTY], [EMPTY, [1, 2, 3, 255]]])


def test_frames_of_sixteen_bits() -> None:
    random = np.random.default_rng(0).integers(0, 65536, (2, 2, 2, 3), dtype=np.uint16)
    headers, frames = read(apng((random[0], 0, 0, KEEP, COVERS), (random[1], 0, 0, KEEP, OVER), bits=16))
    assert headers[0].dtype == np.uint16
    np.testing.assert_array_equal(frames, random)
    grey = random[..., :1]
    _, frames = read(apng((grey[0], 0, 0, KEEP, COVERS), (grey[1], 0, 0, KEEP, OVER), bits=16))
    np.testing.assert_array_equal(frames, grey)


def test_what_is_partly_transparent_is_laid_over_the_rest() -> None:
    front, back = noise(40, 40, 4), noise(40, 40, 4, seed=1)
    expected = np.asarray(Image.alpha_composite(Image.fromarray(back), Image.fromarray(front)))
    _, frames = read(apng((back, 0, 0, KEEP, COVERS), (front, 0, 0, KEEP, OVER), size=(40, 40)))
    assert np.abs(frames[1].astype(int) - expected).max() <= 1  # both round
    exact = _over(front.astype(np.uint16) * 257, back.astype(np.uint16) * 257)
    assert np.abs(exact / 257 - expected).max() <= 1


def test_frames_are_turned_upright() -> None:
    turned = Image.Exif()
    turned[0x0112] = 6
    pixels = noise(2, 4, 3)
    data = apng(
        (pixels, 0, 0, KEEP, COVERS), (one([1, 2, 3]), 3, 1, KEEP, COVERS), size=(4, 2), exif=turned.tobytes()[6:]
    )
    headers, frames = read(data)
    assert headers[1].fields["source_orientation"] == 6
    np.testing.assert_array_equal(frames[0], np.rot90(pixels, -1))
    data = animated([Image.fromarray(noise(2, 4, 3, seed=n)) for n in range(2)], "webp", lossless=True, exif=turned)
    headers, frames = read(data)
    np.testing.assert_array_equal(frames[1], np.rot90(noise(2, 4, 3, seed=1), -1))


@pytest.mark.parametrize("channels", [3, 4])
def test_frames_of_webp(channels: int) -> None:
    made = [noise(8, 10, channels, seed=seed) for seed in range(4)]
    data = animated([Image.fromarray(one) for one in made], "webp", lossless=True, exact=True, duration=TIMES)
    headers, frames = read(data)
    same(frames, made)
    same(frames, [imagecodecs.webp_decode(data, index=number) for number in range(4)])
    assert [header.fields for header in headers] == [
        {"frame": number, "duration_ms": float(duration)} for number, duration in enumerate(TIMES)
    ]
    made = [np.asarray(image) for image in clear_frames()]
    same(read(animated(clear_frames(), "webp", lossless=True))[1], made)


def webp(*frames: tuple[Array, int, int, int], size: tuple[int, int], flags: int = 2) -> bytes:
    """Make an animated WebP file. frames : pixels [h, w, 3], left, top, flags"""

    def block(kind: bytes, data: bytes) -> bytes:
        return kind + struct.pack("<I", len(data)) + data + bytes(len(data) % 2)

    def short(number: int) -> bytes:
        return number.to_bytes(3, "little")

    body = block(b"VP8X", bytes([flags, 0, 0, 0]) + short(size[0] - 1) + short(size[1] - 1)) + block(b"ANIM", bytes(6))
    for pixels, left, top, flag in frames:
        still = animated([Image.fromarray(pixels)], "webp", lossless=True)[12:]
        place = [left // 2, top // 2, pixels.shape[1] - 1, pixels.shape[0] - 1, 40]
        body += block(b"ANMF", b"".join(map(short, place)) + bytes([flag]) + still)
    return b"RIFF" + struct.pack("<I", len(body) + 4) + b"WEBP" + body


def test_a_part_of_a_webp_without_a_frame_is_empty() -> None:
    pixels = noise(4, 6, 3)
    _, frames = read(webp((pixels, 2, 2, 1), (pixels, 4, 4, 0), size=(10, 8)))
    expected = np.zeros((2, 8, 10, 4), np.uint8)
    for number, (top, left) in enumerate(((2, 2), (4, 4))):
        expected[number, top : top + 4, left : left + 6] = np.dstack([pixels, np.full((4, 6), 255, np.uint8)])
    same(frames, list(expected))


def made(kind: str) -> bytes:
    return animated(palette_frames() if kind == "gif" else clear_frames(), kind, duration=TIMES)


@pytest.mark.parametrize("kind", ["gif", "png", "webp"])
def test_damage_is_never_another_error(kind: str) -> None:
    data = made(kind)
    random = np.random.default_rng(0)
    for _ in range(200):
        damaged = bytearray(data)
        for place in random.integers(0, len(data), 2):
            damaged[place] = random.integers(0, 256)
        try:
            read(bytes(damaged[: random.integers(1, 2 * len(data))]))
        except UnreadableImageError as error:
            assert "\n" not in str(error)


@pytest.mark.parametrize("kind", ["gif", "png", "webp"])
def test_a_file_that_is_cut_is_refused(kind: str) -> None:
    data = made(kind)
    for part in (0.3, 0.5, 0.7, 0.9):
        with pytest.raises(UnreadableImageError):
            read(data[: int(part * len(data))])


def test_after_a_damaged_frame_all_later_ones_are() -> None:
    data = bytearray(apng(*[(noise(20, 20, 3, seed=seed), 0, 0, KEEP, COVERS) for seed in range(4)], size=(20, 20)))
    kind = data.index(b"fdAT", data.index(b"fdAT") + 4)
    size = int.from_bytes(data[kind - 4 : kind], "big")
    data[kind + 30] ^= 255
    data[kind + 4 + size : kind + 8 + size] = struct.pack(">I", zlib.crc32(data[kind : kind + 4 + size]))
    images = open_images(io.BytesIO(bytes(data)))
    np.testing.assert_array_equal(images.image(1)[1], noise(20, 20, 3, seed=1))
    for number in (2, 3):
        with pytest.raises(UnreadableImageError):
            images.image(number)
    np.testing.assert_array_equal(images.image(0)[1], noise(20, 20, 3))


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda data: data.replace(b"acTL\0\0\0\4", b"acTL\0\0\0\5"), "checksum"),
        (lambda data: _sized(data, b"acTL", 3, 9), "states 9 frames, and has 4"),
        (lambda data: _sized(data, b"fcTL", 7, 200), "outside the picture"),
        (lambda data: _sized(data, b"fdAT", 3, 9), "not in order"),
        (lambda data: _sized(data, b"fcTL", 24, 7), "the place of a frame"),
        (lambda data: _sized(data, b"IHDR", 0, 127), "too many pixels"),
    ],
)
def test_frames_that_lie_are_refused(change: Callable[[bytes], bytes], words: str) -> None:
    with pytest.raises(UnreadableImageError, match=words):
        read(change(made("png")))


def _sized(data: bytes, kind: bytes, place: int, value: int) -> bytes:
    """Change a byte of the last chunk of a kind, and its checksum."""
    changed = bytearray(data)
    start = data.rindex(kind)
    size = int.from_bytes(data[start - 4 : start], "big")
    changed[start + 4 + place] = value
    changed[start + 4 + size : start + 8 + size] = struct.pack(">I", zlib.crc32(changed[start : start + 4 + size]))
    return bytes(changed)


def test_many_frames_take_time_that_grows_with_their_number() -> None:
    frame = gif_frame(np.array([[1]], np.uint8))
    data = gif(*[frame] * 3000)
    start = time.process_time()
    headers, frames = read(data)
    assert len(frames) == len(headers) == 3000
    assert time.process_time() - start < 15  # it takes one second
