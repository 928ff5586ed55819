import gzip
import struct
from pathlib import Path

import fsspec
import numpy as np
import pytest

from helpers.image_files import assert_same, everything, noise
from helpers.web_server import served
from smalti.errors import SourceError
from smalti.images.batch import ImageBatch
from smalti.sources.arrays.idx import idx_header, is_idx_name, label_paths_of
from smalti.sources.open import open_source


def idx(pixels: np.ndarray) -> bytes:
    return idx_header(pixels.shape) + pixels.tobytes()


def test_header_is_that_of_mnist() -> None:
    assert idx_header((60000, 28, 28)) == struct.pack(">IIII", 2051, 60000, 28, 28)
    assert idx_header((60000,)) == struct.pack(">II", 2049, 60000)


@pytest.mark.parametrize("packed", [False, True])
@pytest.mark.parametrize("labels_packed", [False, True])
@pytest.mark.parametrize(
    ("name", "labels_name"),
    [
        ("train-images-idx3-ubyte", "train-labels-idx1-ubyte"),
        ("train-images.idx3-ubyte", "train-labels.idx1-ubyte"),
        ("digits-idx3-ubyte", "digits-labels-idx1-ubyte"),
    ],
)
def test_images_are_read_with_the_labels_beside_them(
    tmp_path: Path, name: str, labels_name: str, packed: bool, labels_packed: bool
) -> None:
    pixels, labels = noise(10, 4, 6), np.arange(10, dtype=np.uint8) * 28
    path = tmp_path / (name + ".gz" if packed else name)
    path.write_bytes(gzip.compress(idx(pixels)) if packed else idx(pixels))
    assert everything(open_source(path)).labels is None
    beside = tmp_path / (labels_name + ".gz" if labels_packed else labels_name)
    beside.write_bytes(gzip.compress(idx(labels)) if labels_packed else idx(labels))
    source = open_source(path)
    assert_same(everything(source, 4), ImageBatch(pixels[..., None], labels.astype(np.int64)))
    assert_same(everything(source, 100), everything(source, 1))
    assert is_idx_name(path.name)


@pytest.mark.parametrize("channels", [1, 2, 3, 4])
def test_images_of_four_axes_have_channels(tmp_path: Path, channels: int) -> None:
    pixels, labels = noise(10, 4, 6, channels), np.arange(10, dtype=np.uint8)
    path = tmp_path / "train-images-idx4-ubyte"
    path.write_bytes(idx(pixels))
    (tmp_path / "train-labels-idx1-ubyte").write_bytes(idx(labels))
    assert_same(everything(open_source(path), 4), ImageBatch(pixels, labels.astype(np.int64)))
    assert not is_idx_name(path.name)  # not written yet


def test_other_names_have_no_labels_beside_them() -> None:
    assert label_paths_of(Path("a/images.bin")) == []
    assert not is_idx_name("a-idx1-ubyte")


@pytest.mark.parametrize("packed", [False, True])
@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda data: data[:-1], "truncated"),
        (lambda data: data[:16], "truncated"),
        (lambda data: data[:10], "truncated"),
        (lambda data: data[:3], "truncated"),
        (lambda data: b"", "truncated"),
        (lambda data: data + b"x", "follow"),
        (lambda data: b"\x89PNG" + data, "no IDX file"),
        (lambda data: b"\0\0\x0d\x03" + data[4:], "0x0d"),
        (lambda data: b"\0\0\x08\x01" + data[4:], "file of labels"),
        (lambda data: b"\0\0\x08\x05" + data[4:], "5 axes"),
        (lambda data: b"\0\0\x08\x04" + data[4:], "truncated"),
        (lambda data: idx_header((2, 3, 4, 5)) + bytes(120), "5 channels"),
        (lambda data: data[:4] + b"\xff" * 12 + data[16:], "truncated"),
        (lambda data: idx_header((0, 5, 5)), "0 images"),
        (lambda data: idx_header((5, 0, 5)), "0x5"),
    ],
)
def test_a_file_that_is_not_what_its_header_says_is_refused(tmp_path, packed, change, words) -> None:  # type: ignore[no-untyped-def]
    data = change(idx(noise(10, 4, 6)))
    path = tmp_path / "a-idx3-ubyte"
    path.write_bytes(gzip.compress(data) if packed else data)
    with pytest.raises(SourceError, match=words) as raised:
        everything(open_source(path))
    assert str(path) in str(raised.value)
    assert "\n" not in str(raised.value)


def test_a_damaged_gzip_stream_is_an_error_and_never_wrong_pixels(tmp_path: Path) -> None:
    pixels = noise(10, 4, 6)
    packed = bytearray(gzip.compress(idx(pixels), mtime=0))
    path = tmp_path / "a-idx3-ubyte.gz"
    for position in [*range(2, 40), *range(40, len(packed), 3), *range(len(packed) - 8, len(packed))]:
        damaged = packed.copy()
        damaged[position] ^= 0x40
        path.write_bytes(damaged)
        try:
            found = everything(open_source(path))
        except SourceError:
            continue
        np.testing.assert_array_equal(found.pixels[..., 0], pixels)  # header bytes that carry nothing
    for length in range(2, len(packed), 7):
        path.write_bytes(packed[:length])
        with pytest.raises(SourceError):
            everything(open_source(path))


def test_labels_of_another_number_are_refused(tmp_path: Path) -> None:
    (tmp_path / "a-images-idx3-ubyte").write_bytes(idx(noise(10, 4, 6)))
    (tmp_path / "a-labels-idx1-ubyte").write_bytes(idx(noise(9)))
    with pytest.raises(SourceError, match="9 labels beside 10 images"):
        open_source(tmp_path / "a-images-idx3-ubyte")


@pytest.mark.parametrize("packed", [False, True])
@pytest.mark.parametrize("place", ["file", "memory", "http"])
def test_ranges_are_slices_of_a_whole_pass_also_behind_urls(tmp_path: Path, packed: bool, place: str) -> None:
    pixels, labels = noise(10, 4, 6), np.arange(10, dtype=np.uint8)
    suffix = ".gz" if packed else ""
    for name, data in (("a-images-idx3-ubyte", idx(pixels)), ("a-labels-idx1-ubyte", idx(labels))):
        stored = gzip.compress(data) if packed else data
        (tmp_path / (name + suffix)).write_bytes(stored)
        with fsspec.open(f"memory://idx/{name}{suffix}", "wb") as file:
            file.write(stored)
    with served(tmp_path) as url:
        root = {"file": f"{tmp_path}/", "memory": "memory://idx/", "http": url}[place]
        source = open_source(f"{root}a-images-idx3-ubyte{suffix}")
        whole = everything(source)
        assert_same(whole, ImageBatch(pixels[..., None], labels.astype(np.int64)))
        for start in range(10):
            for stop in range(start + 1, 11):
                assert_same(ImageBatch.joined(list(source.batches(3, start, stop))), whole.part(start, stop))


def test_a_range_of_a_packed_file_is_refused_where_it_is_cut_short(tmp_path: Path) -> None:
    path = tmp_path / "a-idx3-ubyte.gz"
    path.write_bytes(gzip.compress(idx(noise(10, 4, 6)))[:-60])
    with pytest.raises(SourceError, match="truncated"):
        list(open_source(path).batches(3, 8))
