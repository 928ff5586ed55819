"""TIFF files that are damaged or mean harm: directories in circles, numbers that lie, values that many pages share."""

import struct
import time
import tracemalloc
from collections.abc import Callable
from io import BytesIO
from pathlib import Path

import numpy as np
import pytest

from helpers.image_files import noise
from helpers.tiff_stacks import read, tiff
from smalti.imagefiles.format import UnreadableImageError
from smalti.imagefiles.table import open_images


def pages(count: int, following: Callable[[int], int], entries: int = 0) -> bytes:
    """Make a file of directories without pixels, each with the offset of the next."""
    body = b"".join(struct.pack("<H", entries) + struct.pack("<I", following(number)) for number in range(count))
    return b"II*\0" + struct.pack("<I", 8) + body


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (pages(3, lambda n: 8 + 6 * ((n + 1) % 3)), "in a circle"),
        (pages(3, lambda n: 8 + 6 * (n + 1)), "cut off"),
        (pages(3, lambda n: 1 << 31), "cut off"),
        (pages(1, lambda n: 0, entries=60000), "larger than the file"),
        (b"II+\0\x08\0\0\0" + b"\xff" * 8, "cut off"),
        (b"II*\0\x08\0", "cut off within its header"),
    ],
)
def test_directories_that_mean_harm_are_refused(data: bytes, words: str) -> None:
    with pytest.raises(UnreadableImageError, match=words):
        open_images(BytesIO(data)).headers  # noqa: B018 (it raises)


def test_directories_that_lie_in_each_other_do_not_take_time() -> None:
    step, many, entries = 6, 9000, 5000
    body = bytearray(12 * entries + step * many + 6)
    for n in range(many):
        struct.pack_into("<H", body, step * n, entries)
        struct.pack_into("<I", body, step * n + 2 + 12 * entries, 8 + step * (n + 1))
    start = time.process_time()
    with pytest.raises(UnreadableImageError, match="larger than the file"):
        open_images(BytesIO(b"II*\0" + struct.pack("<I", 8) + bytes(body))).headers  # noqa: B018 (it raises)
    assert time.process_time() - start < 5


def test_values_that_many_pages_share_do_not_take_time() -> None:
    colours, many = bytes(1 << 20), 2000  # of a palette
    body = bytearray(colours)
    for n in range(many):
        entries = [(256, 3, 1, 4 + n % 3), (257, 3, 1, 4), (320, 3, 1 << 19, 8)]
        packed = b"".join(struct.pack("<HHII", *entry) for entry in entries)
        body += struct.pack("<H", 3) + packed + struct.pack("<I", 8 + len(body) + 42 if n + 1 < many else 0)
    start = time.process_time()
    with pytest.raises(UnreadableImageError, match="values of its tags are larger than the file"):
        open_images(BytesIO(b"II*\0" + struct.pack("<I", 8 + len(colours)) + bytes(body))).headers  # noqa: B018
    assert time.process_time() - start < 20


@pytest.mark.parametrize("tag", [256, 257, 258, 273, 277, 278, 279])
def test_numbers_that_lie_take_no_memory(tag: int) -> None:
    data = bytearray(tiff(noise(3, 20, 24), metadata=None).getvalue())
    start = int.from_bytes(data[4:8], "little") + 2
    for place in range(start, start + 12 * int.from_bytes(data[start - 2 : start], "little"), 12):
        if int.from_bytes(data[place : place + 2], "little") == tag:
            data[place + 2 : place + 12] = struct.pack("<HII", 4, 1, (1 << 32) - 2)
            break
    tracemalloc.start()
    try:
        for number, (header, pixels) in enumerate(zip(*read(BytesIO(data)), strict=True)):
            assert pixels.shape == header.shape, number
    except UnreadableImageError:
        pass
    finally:
        _, most = tracemalloc.get_traced_memory()
        tracemalloc.stop()
    assert most < 50_000_000


@pytest.mark.parametrize("layout", [{}, {"compression": "zlib"}, {"imagej": True, "truncate": True}, {"ome": True}])
def test_damage_is_never_another_error(layout: dict[str, object]) -> None:
    data = tiff(noise(3, 20, 24), **layout).getvalue()
    random = np.random.default_rng(0)
    for _ in range(300):
        damaged = bytearray(data)
        for place in random.integers(0, len(data), 3):
            damaged[place] = random.integers(0, 256)
        try:
            read(BytesIO(damaged[: random.integers(1, 2 * len(data))]))
        except UnreadableImageError as error:
            assert "\n" not in str(error)


def test_many_pages_are_listed_and_read_in_time_that_grows_with_their_number(tmp_path: Path) -> None:
    planes = noise(3000, 4, 5)
    for options in ({"metadata": None}, {"imagej": True, "truncate": True}, {"ome": True, "compression": "zlib"}):
        file = tiff(planes, **options)
        (tmp_path / "a.tif").write_bytes(file.getvalue())
        with (tmp_path / "a.tif").open("rb") as opened:
            start = time.process_time()
            images = open_images(opened)
            assert len(images.headers) == 3000
            for number in range(0, 3000, 10):
                np.testing.assert_array_equal(images.image(number)[1][..., 0], planes[number])
            assert time.process_time() - start < 10  # it takes half a second
