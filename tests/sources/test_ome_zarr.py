"""OME-Zarr: planes in order whatever the chunks, and metadata that say nothing sound."""

import itertools
import json
import logging
import random
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import zarr

from inputs.making import wide
from smalti.errors import SmaltiError
from smalti.sources.arrays.layout import ArrayFacts
from smalti.sources.arrays.ome_zarr import find_ome_image
from smalti.sources.open import open_source

DATA = Path(__file__).parents[1] / "data" / "shards" / "ome"


def written(path: Path, pixels: Any, axes: str, chunks: tuple[int, ...]) -> Path:
    group = zarr.open_group(path, mode="w")
    group.create_array("0", data=pixels, chunks=chunks)
    named = [{"name": axis} for axis in axes]
    group.attrs["ome"] = {"version": "0.5", "multiscales": [{"axes": named, "datasets": [{"path": "0"}]}]}
    return path


@pytest.mark.parametrize("chunks", [(2, 3, 5, 4, 5), (1, 1, 1, 2, 2), (1, 2, 3, 4, 5), (2, 1, 2, 4, 1)])
def test_planes_in_order_whatever_the_chunks(chunks: tuple[int, ...], tmp_path: Path) -> None:
    pixels = wide(2, 3, 5, 4, 5)
    source = open_source(written(tmp_path / "a.zarr", pixels, "tczyx", chunks))
    planes = pixels.reshape(30, 4, 5, 1)
    for start, stop, images in itertools.product((0, 4, 17), (1, 18, 30), (1, 7, 100)):
        found = [batch.pixels for batch in source.batches(images, start, stop)]
        assert [len(batch) for batch in found[:-1]] == [images] * (len(found) - 1)
        np.testing.assert_array_equal(np.concatenate([*found, planes[:0]]), planes[start : max(start, stop)])


def test_one_plane_has_no_axes(tmp_path: Path) -> None:
    source = open_source(written(tmp_path / "a.zarr", wide(4, 5), "yx", (2, 2)))
    (batch,) = source.batches(10)
    np.testing.assert_array_equal(batch.pixels[0, ..., 0], wide(4, 5))
    assert batch.fields == {}


def test_label_images_are_named_in_a_warning(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING, "smalti"):
        open_source(DATA / "labels.zarr.zip")
    assert any("give" in line and line.endswith("labels.zarr.zip::labels/cells/s0") for line in caplog.messages)


def test_arrays_of_no_image_are_named_in_a_warning(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    path = written(tmp_path / "a.zarr", wide(4, 5), "yx", (2, 2))
    zarr.open_group(path, mode="a").create_array("table", data=np.arange(3))
    with caplog.at_level(logging.WARNING, "smalti"):
        open_source(path)
    assert any("belong to no image: table" in line for line in caplog.messages)


def test_other_stores_have_no_such_image() -> None:
    arrays = {"a": ArrayFacts((2, 4, 5), np.dtype(np.uint8))}
    for attributes in ({}, {"multiscales": []}, {"multiscales": {}}, {"ome": 3}, {"ome": {"multiscales": [1]}}):
        assert find_ome_image({"": attributes}, arrays, None, "a.zarr") is None


def test_metadata_that_say_nothing_sound() -> None:
    """Replace each part of the metadata by values of other types: an image, or an error of one line."""
    whole = {
        "": {
            "ome": {
                "multiscales": [
                    {
                        "axes": [{"name": "z", "unit": "m"}, "y", {"name": "x"}],
                        "datasets": [
                            {"path": "0", "coordinateTransformations": [{"type": "scale", "scale": [1, 2, 3]}]}
                        ],
                    }
                ],
                "omero": {"channels": [{"label": "a"}]},
            }
        }
    }
    arrays = {"0": ArrayFacts((3, 4, 5), np.dtype(np.uint8))}
    choose = random.Random(5)
    found = 0
    for _ in range(3000):
        changed = json.loads(json.dumps(whole))
        place, key = changed[""], "ome"
        for _ in range(choose.randrange(8)):
            below: Any = place[key]
            if not isinstance(below, dict | list) or not below:
                break
            place, key = below, choose.choice(list(below) if isinstance(below, dict) else list(range(len(below))))
        place[key] = choose.choice([None, 1, -1.5, "x", [], {}, [1], {"name": []}, True, ["a", "b", "c"]])
        try:
            found += find_ome_image(changed, arrays, None, "a.zarr") is not None
        except SmaltiError as error:
            assert "\n" not in str(error)
    assert found > 100
