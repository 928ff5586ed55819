from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from helpers.image_files import assert_same, everything, noise
from smalti.errors import SourceError, UsageError
from smalti.images.batch import ImageBatch
from smalti.sources.arrays.array_source import ArraySource
from smalti.sources.open import open_source


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
        (np.full((2, 4, 4), 4000, np.int32), ["int32", "0..65535", "astype(np.uint16)"]),
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


@pytest.mark.parametrize("order", ["<", ">"])
@pytest.mark.parametrize("shape", [(6, 3, 5), (6, 3, 5, 4)])
def test_16_bit_samples_stay_what_they_are_in_any_byte_order(order: str, shape: tuple[int, ...]) -> None:
    pixels = np.random.default_rng(0).integers(0, 65536, shape, dtype=np.uint16)
    source = open_source(pixels.astype(f"{order}u2"))
    found = everything(source)
    assert source.dtype == found.pixels.dtype == np.dtype(np.uint16)
    assert found.pixels.dtype.isnative
    np.testing.assert_array_equal(found.pixels.reshape(shape), pixels)


@given(start=st.integers(0, 22), stop=st.none() | st.integers(0, 22), batch=st.integers(1, 9))
def test_a_range_is_a_slice_of_a_whole_pass(start: int, stop: int | None, batch: int) -> None:
    pixels, names = noise(20, 3, 2), [f"{i}.png" for i in range(20)]
    fields = {"age": np.arange(20) / 2, "site": ["a", None] * 10}
    source = ArraySource(pixels, np.arange(20), names=names, fields=fields)
    found, whole = list(source.batches(batch, start, stop)), everything(source)
    assert [len(one) for one in found[:-1]] == [batch] * max(0, len(found) - 1)
    end = 20 if stop is None else stop
    assert sum(len(one) for one in found) == len(range(20)[start:end])
    if found:
        assert_same(ImageBatch.joined(found), whole.part(start, end))
        assert ImageBatch.joined(found).fields == whole.part(start, end).fields


def test_fields_of_an_array_become_plain_values() -> None:
    fields = {
        "a": np.array([1, 2], np.int8),
        "b": [True, None],
        "c": np.array(["x", "y"]),
        "d": np.array([b"x", b"\xc3\xa4"]),
    }
    found = everything(ArraySource(noise(2, 3, 3), fields=fields)).fields
    assert found == {"a": [1, 2], "b": [True, None], "c": ("x", "y"), "d": ("x", "ä")}
    assert type(found["a"][0]) is int


@pytest.mark.parametrize(
    ("beside", "words"),
    [
        ({"names": ["a"]}, "name for each of the 2"),
        ({"names": "ab"}, "name for each"),
        ({"names": ["a", 1]}, "strings"),
        ({"fields": {"x": [1]}}, "field x of array: give a value for each of the 2"),
        ({"fields": {"x": np.zeros((2, 2))}}, r"\[2, 2\]"),
        ({"fields": {"x": [1, b"a"]}}, "bool, int, float, str or None"),
        ({"fields": {"x": np.array([1, 2], complex)}}, "complex128"),
        ({"fields": {"x": np.array([b"\xff", b"a"])}}, "UTF-8"),
    ],
)
def test_names_and_fields_that_do_not_fit_are_refused(beside: dict[str, Any], words: str) -> None:
    with pytest.raises(SourceError, match=words):
        ArraySource(noise(2, 3, 3), **beside)
