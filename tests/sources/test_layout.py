import numpy as np
import pytest

from smalti.errors import SourceError, UsageError
from smalti.sources.arrays.layout import ArrayFacts, find_parts


def facts(*shape: int, dtype: str = "u1") -> ArrayFacts:
    return ArrayFacts(shape, np.dtype(dtype))


IMAGES, OTHERS = facts(9, 8, 8), facts(9, dtype="i8")


@pytest.mark.parametrize(
    "template",
    ["{}_images", "images_{}", "x_{}", "{}/images", "{}/group/images"],
    ids=lambda text: text.replace("/", "-"),
)
@pytest.mark.parametrize("words", [("train", "val", "test"), ("Training", "validation", "test")])
def test_splits_are_read_in_order_with_what_belongs_to_each(template: str, words: tuple[str, ...]) -> None:
    arrays = {}
    for count, word in zip((4, 5, 6), reversed(words), strict=True):
        key = template.format(word)
        arrays[key] = facts(count, 8, 8)
        arrays[key.replace("images", "labels") if "images" in key else key.replace("x", "y", 1)] = facts(
            count, dtype="i8"
        )
    parts = find_parts(arrays, None, "a.npz")
    assert [part.split for part in parts] == ["train", "val", "test"]
    assert [part.images for part in parts] == [template.format(word) for word in words]
    assert all(len(part.columns) == 1 for part in parts)
    assert all(set(part.columns) <= {"labels", "y"} for part in parts)


def test_one_array_of_images_is_found_whatever_its_name() -> None:
    arrays = {"a/z": IMAGES, "a/y": OTHERS, "a/other": facts(8, dtype="i8"), "y": OTHERS, "a/b/y": OTHERS}
    (part,) = find_parts(arrays, None, "a.h5")
    assert (part.images, part.columns, part.split) == ("a/z", {"y": "a/y"}, None)


def test_a_key_chooses_among_several() -> None:
    arrays = {"x_train": IMAGES, "y_train": OTHERS, "x_test": IMAGES, "y_test": OTHERS, "masks": IMAGES}
    (part,) = find_parts(arrays, "x_test", "a.npz")
    assert (part.images, part.columns, part.split) == ("x_test", {"y": "y_test"}, None)
    with pytest.raises(UsageError, match=r"no array 'x'.*x_train \(uint8 \[9, 8, 8\]\).*as in a\.npz::x_train"):
        find_parts(arrays, "x", "a.npz")


@pytest.mark.parametrize(
    ("arrays", "words"),
    [
        ({}, "holds no array of images"),
        ({"a": OTHERS, "b": facts(9, 3, dtype="f4")}, "2 arrays, none of them of images"),
        ({"a": IMAGES, "b": IMAGES}, r"several arrays of images; name one of a .*, b .*, as in here::a"),
        ({"train_images": IMAGES, "test_masks": IMAGES}, "several"),
        ({"train_images": IMAGES, "train/images": IMAGES}, "several"),
        ({"train_images": IMAGES, "test_images": IMAGES, "x": IMAGES}, "several"),
        ({str(number): IMAGES for number in range(30)}, "and 22 more"),
    ],
)
def test_what_is_not_clear_is_refused_with_the_candidates(arrays: dict[str, ArrayFacts], words: str) -> None:
    with pytest.raises(SourceError, match=words) as raised:
        find_parts(arrays, None, "here")
    assert "\n" not in str(raised.value)


def test_the_nearest_miss_is_taken_so_that_it_is_told_what_is_wrong() -> None:
    for miss in (facts(9, 8, 8, dtype="f4"), facts(9, 3, 64, 64), facts(9, 64, 64, 12)):
        (part,) = find_parts({"a": miss, "b": OTHERS}, None, "here")
        assert part.images == "a"
