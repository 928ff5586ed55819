"""Every output gives back pixels, order, labels, names, classes and fields when it is read again."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from numpy.typing import NDArray

from helpers.image_files import everything
from smalti.images.batch import ImageBatch
from smalti.images.source import ImageSource
from smalti.sinks.sink import open_image_writer
from smalti.sources.open import open_groups, open_source

FOLDERS = ("", "a/", "b/", "b/c d/", "ü/", "10/", "9/")
STEMS = ("1", "10", "2", "x.y", "Z", "é", "a b", "IMG_1")
SUFFIXES = (".png", ".PNG", ".jpg", "", ".tif#0", ".tif#10")
WAYS = ("out", "a.npy", "a-idx3-ubyte", "a.idx3-ubyte.gz", "a.tar", "a.tgz", "a.tar.zst", "a.parquet", "a.mds")

own_names = st.builds("{}{}{}".format, st.sampled_from(FOLDERS), st.sampled_from(STEMS), st.sampled_from(SUFFIXES))
scalars: dict[str, st.SearchStrategy[Any]] = {
    "whole": st.none() | st.integers(-(2**63), 2**63 - 1),
    "real": st.floats(allow_nan=False),
    "truth": st.booleans() | st.none(),
    "text": st.none() | st.text(st.characters(exclude_categories=["Cs"]), max_size=5),
}


@dataclass(frozen=True)
class Images:
    batch: ImageBatch
    class_names: list[str] | None


@st.composite
def image_sets(draw: st.DrawFn, dtype: type, channels: int, *, with_names: bool) -> Images:
    count = draw(st.integers(1, 6))
    pixels = draw(arrays(dtype, (count, 2, 3, channels)))
    labels = draw(st.none() | arrays(np.int64, count, elements=st.integers(0, 3)))
    names = draw(st.lists(own_names, min_size=count, max_size=count, unique=True)) if with_names else None
    class_names = None
    if labels is not None:
        class_names = draw(st.none() | st.just(["a", "b", "ü", "unused"]) | st.just(["dog", "cat", "10", "9"]))
    kinds = draw(st.sets(st.sampled_from(sorted(scalars))))
    fields = {f"f {kind}": draw(st.lists(scalars[kind], min_size=count, max_size=count)) for kind in sorted(kinds)}
    return Images(ImageBatch(pixels, labels, None if names is None else tuple(names), fields), class_names)


def there_and_back(folder: Path, way: str, images: Images) -> Images:
    """Write in batches of two, and read the output again."""
    batch = images.batch
    with open_image_writer(
        folder / way, batch.pixels.shape[1:], len(batch), dtype=batch.pixels.dtype, class_names=images.class_names
    ) as writer:
        for start in range(0, len(batch), 2):
            writer.write(batch.part(start, start + 2))
    source = open_source(folder / way)
    found = everything(source)
    assert list(source.skipped) == []
    return Images(found, None if source.class_names is None else list(source.class_names))


def check(found: Images, made: Images, *, makes_names: bool) -> None:
    assert found.batch.pixels.dtype == made.batch.pixels.dtype
    np.testing.assert_array_equal(found.batch.pixels, made.batch.pixels)
    if made.batch.labels is None:
        assert found.batch.labels is None
    else:
        np.testing.assert_array_equal(found.batch.labels, made.batch.labels)
    if made.batch.names is not None or not makes_names:
        assert found.batch.names == made.batch.names
    if made.class_names is not None or not makes_names:  # labels may get the names of the folders they are in
        assert found.class_names == made.class_names
    assert set(found.batch.fields) == set(made.batch.fields)
    for name, values in made.batch.fields.items():
        assert [(type(value), value) for value in found.batch.fields[name]] == [(type(v), v) for v in values]


@pytest.mark.parametrize(
    ("way", "dtype", "channels"),
    [
        (way, dtype, channels)
        for way in WAYS
        for dtype in (np.uint8, np.uint16, np.int16)
        for channels in (1, 3)
        if ("idx" not in way or (dtype, channels) == (np.uint8, 1))
        and (way != "a.parquet" or dtype == np.uint8 or (dtype, channels) == (np.uint16, 1))  # datasets cuts others
    ],
)
@given(data=st.data())
@settings(max_examples=20, deadline=None)
def test_everything_comes_back(
    tmp_path_factory: pytest.TempPathFactory, way: str, dtype: type, channels: int, data: st.DataObject
) -> None:
    images = data.draw(image_sets(dtype, channels, with_names=data.draw(st.booleans())))
    found = there_and_back(tmp_path_factory.mktemp("there"), way, images)
    check(found, images, makes_names=way == "out" or way.startswith("a.t"))


@pytest.mark.parametrize("way", ["out", "a.tar", "a.mds"])
def test_signed_images_leave_beside_others(tmp_path: Path, way: str) -> None:
    signed = np.arange(-6, 6, dtype=np.int16).reshape(2, 2, 3, 1) * 5000
    grey = np.arange(8, dtype=np.uint8).reshape(1, 4, 2, 1)
    with open_image_writer(tmp_path / way, None, 3) as writer:
        writer.write(ImageBatch(signed, names=("s/scan.nii.gz#0", "s/scan.nii.gz#1"), fields={"z": [0, 1]}))
        writer.write(ImageBatch(grey, names=("s/a.png",), fields={"z": [None]}))
    found = {name: pixels for source in open_groups(tmp_path / way) for name, pixels in _named(source)}
    for name, made in zip(("s/scan.nii.gz#0", "s/scan.nii.gz#1", "s/a.png"), (*signed, *grey), strict=True):
        assert found[name].dtype == made.dtype
        np.testing.assert_array_equal(found[name], made)
    if way == "out":
        assert sorted(path.name for path in (tmp_path / way / "s").iterdir()) == [
            "a.png",
            "scan.nii#0.tif",
            "scan.nii#1.tif",
        ]
        np.testing.assert_array_equal(tifffile.imread(tmp_path / way / "s/scan.nii#1.tif"), signed[1, ..., 0])


def _named(source: ImageSource) -> list[tuple[str, NDArray[Any]]]:
    batch = everything(source)
    assert batch.names is not None
    return list(zip(batch.names, batch.pixels, strict=True))
