from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from smalti.errors import SourceError, UsageError
from smalti.images import ImageBatch, open_source

from .making import assert_same, everything, noise


@given(images=st.integers(1, 20), channels=st.integers(1, 4), batch=st.integers(1, 25))
def test_every_image_comes_once_in_order_whatever_the_batch(images: int, channels: int, batch: int) -> None:
    pixels = noise(images, 3, 5, channels)
    source = open_source(pixels, labels=np.arange(images))
    found = list(source.batches(batch))
    assert [len(one) for one in found[:-1]] == [batch] * (len(found) - 1)
    assert_same(ImageBatch.joined(found), ImageBatch(pixels, np.arange(images)))
    assert (len(source), source.image_shape) == (images, (3, 5, channels))


def test_grey_images_without_an_axis_for_channels_get_one() -> None:
    assert everything(open_source(noise(4, 7, 6))).pixels.shape == (4, 7, 6, 1)


@pytest.mark.parametrize(
    ("array", "words"),
    [
        (np.zeros((2, 4, 4)), ["float64", "round"]),
        (np.random.default_rng(0).random((2, 4, 4), np.float32), ["float32", "* 255"]),
        (np.full((2, 4, 4), np.nan), ["float64", "NaN"]),
        (np.full((2, 4, 4), 90.0), ["float64", "0..255"]),
        (np.full((2, 4, 4), 4000, np.int16), ["int16", "0..65535", "astype(np.uint16)"]),
        (np.full((2, 4, 4), 70000, np.int32), ["int32", "70000", "scale"]),
        (np.zeros((2, 4, 4), np.int64), ["int64", "astype(np.uint8)"]),
        (np.zeros((2, 4, 4), bool), ["bool", "255"]),
        (np.zeros((2, 4, 4), complex), ["complex128"]),
        (np.array("x"), ["<U1"]),
        (np.array(1.0), ["float64"]),
        (np.zeros((0, 4, 4)), ["float64"]),
        (np.zeros((4, 4), np.uint8), ["one image", "[4, 4]"]),
        (np.zeros((2, 4, 4, 3, 1), np.uint8), ["5 axes"]),
        (np.zeros(5, np.uint8), ["1 axes"]),
        (np.zeros((0, 4, 4), np.uint8), ["no images"]),
        (np.zeros((2, 0, 4), np.uint8), ["no pixels"]),
        (np.zeros((2, 4, 0), np.uint8), ["no pixels"]),
        (np.zeros((2, 4, 4, 0), np.uint8), ["0 channels"]),
        (np.zeros((2, 4, 4, 5), np.uint8), ["5 channels", "1 to 4"]),
        (np.zeros((2, 3, 9, 9), np.uint8), ["9 channels", "transpose"]),
    ],
)
def test_an_array_that_is_no_images_is_refused_in_one_line(array: np.ndarray, words: list[str]) -> None:
    with pytest.raises(SourceError) as raised:
        open_source(array)
    assert all(word in str(raised.value) for word in words), str(raised.value)
    assert "\n" not in str(raised.value)


def test_labels_that_do_not_fit_are_refused() -> None:
    for labels in (np.arange(3), np.zeros(2), np.zeros((2, 1), int), np.array([1, 2**64 - 1], np.uint64)):
        with pytest.raises(SourceError, match="label"):
            open_source(noise(2, 4, 4), labels=labels)
    with pytest.raises(UsageError, match="not list"):
        open_source([[1]])  # type: ignore[arg-type]


@pytest.mark.parametrize("order", ["C", "F"])
def test_npy_is_read_with_the_labels_beside_it(tmp_path: Path, order: str) -> None:
    pixels = noise(7, 5, 4, 3)
    np.save(tmp_path / "a.npy", np.asarray(pixels, order=order))  # type: ignore[call-overload]
    assert everything(open_source(tmp_path / "a.npy")).labels is None
    np.save(tmp_path / "a.labels.npy", np.arange(7, dtype=np.int32))
    source = open_source(str(tmp_path / "a.npy"))
    assert_same(everything(source), ImageBatch(pixels, np.arange(7)))
    assert_same(everything(source), ImageBatch(pixels, np.arange(7)))


def test_npy_labels_of_another_length_are_refused(tmp_path: Path) -> None:
    np.save(tmp_path / "a.npy", noise(7, 5, 4))
    np.save(tmp_path / "a.labels.npy", np.arange(6))
    with pytest.raises(SourceError, match=r"a\.labels\.npy.*7 images"):
        open_source(tmp_path / "a.npy")


def test_damaged_npy_files_are_named_with_what_is_wrong(tmp_path: Path) -> None:
    path = tmp_path / "a.npy"
    np.save(path, noise(50, 5, 4))
    whole = path.read_bytes()
    cases = {
        whole[:-1]: "truncated",
        whole[:40]: "truncated",
        whole[:7]: "truncated",
        b"": "empty",
        b"hello, world": r"no \.npy file",
    }
    for data, words in cases.items():
        path.write_bytes(data)
        with pytest.raises(SourceError, match=words):
            open_source(path)
    np.save(path, np.array([{}]), allow_pickle=True)
    with pytest.raises(SourceError, match="Python objects"):
        open_source(path)
    np.savez(tmp_path / "z.npz", a=noise(2, 3, 3))
    (tmp_path / "z.npz").rename(path)
    with pytest.raises(SourceError, match="archive of arrays"):
        open_source(path)


def test_npy_that_changes_between_batches_is_noticed(tmp_path: Path) -> None:
    np.save(tmp_path / "a.npy", noise(7, 5, 4))
    batches = open_source(tmp_path / "a.npy").batches(2)
    next(batches)
    np.save(tmp_path / "a.npy", noise(7, 5, 5))
    with pytest.raises(SourceError, match="changed"):
        next(batches)
