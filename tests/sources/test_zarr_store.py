import json
import shutil
from pathlib import Path
from typing import Any

import numcodecs
import numpy as np
import pytest
import zarr

from helpers.image_files import everything, noise
from smalti.errors import SourceError
from smalti.sources.arrays.zarr_store import is_zarr_folder
from smalti.sources.open import open_source


@pytest.mark.parametrize("zarr_format", [2, 3])
def test_a_store_that_is_one_array(tmp_path: Path, zarr_format: int) -> None:
    pixels = noise(9, 5, 4, 3)
    array = zarr.create_array(
        tmp_path / "a.zarr", shape=pixels.shape, chunks=(2, 5, 4, 3), dtype="u1", zarr_format=zarr_format
    )
    array[...] = pixels
    shutil.make_archive(str(tmp_path / "b"), "zip", tmp_path / "a.zarr")
    (tmp_path / "a.zarr").rename(tmp_path / "any name")
    for name in ("any name", "b.zip"):
        np.testing.assert_array_equal(everything(open_source(tmp_path / name)).pixels, pixels)


def test_folders_of_images_are_no_stores(tmp_path: Path) -> None:
    assert not is_zarr_folder(tmp_path)
    with pytest.raises(SourceError):
        open_source(tmp_path)


class Trap:
    def __init__(self, path: Path) -> None:
        self._path = path

    def __reduce__(self) -> tuple[object, ...]:
        return (Path.touch, (self._path,))


@pytest.mark.parametrize("facts", [
    {"dtype": "|O", "shape": [2], "chunks": [2], "filters": [{"id": "pickle"}], "compressor": None},
    {"dtype": "|u1", "shape": [2], "chunks": [2], "filters": None, "compressor": {"id": "pickle"}},
    {"dtype": "|u1", "shape": [2], "chunks": [2], "filters": [{"id": "pickle"}], "compressor": None},
])  # fmt: skip
def test_pickles_are_never_loaded(tmp_path: Path, facts: dict[str, Any]) -> None:
    group = zarr.open_group(tmp_path / "a.zarr", mode="w", zarr_format=2)
    group.create_array("images", shape=(2, 4, 4), dtype="u1")[...] = noise(2, 4, 4)
    (tmp_path / "a.zarr" / "label").mkdir()
    facts = {"zarr_format": 2, "fill_value": None, "order": "C", **facts}
    (tmp_path / "a.zarr" / "label" / ".zarray").write_text(json.dumps(facts))
    trap = numcodecs.Pickle().encode(np.array([Trap(tmp_path / "sprung")] * 2, object))
    (tmp_path / "a.zarr" / "label" / "0").write_bytes(trap)
    for spec in (f"{tmp_path}/a.zarr", f"{tmp_path}/a.zarr::images"):
        with pytest.raises(SourceError, match="pickle") as raised:
            open_source(spec)
        assert "\n" not in str(raised.value)
    assert not (tmp_path / "sprung").exists()


def test_damage_is_an_error_of_one_line(tmp_path: Path) -> None:
    group = zarr.open_group(tmp_path / "a.zarr", mode="w")
    group.create_array("images", shape=(8, 4, 4), chunks=(4, 4, 4), dtype="u1")[...] = noise(8, 4, 4)
    chunk = next(
        path
        for path in sorted((tmp_path / "a.zarr" / "images").rglob("*"))
        if path.is_file() and "json" not in path.name
    )
    chunk.write_bytes(b"nonsense")
    with pytest.raises(SourceError, match="cannot be read as Zarr") as raised:
        everything(open_source(tmp_path / "a.zarr"))
    assert "\n" not in str(raised.value)
    (tmp_path / "a.zarr" / "zarr.json").write_text("{")
    (tmp_path / "c.zip").write_bytes(b"PK nonsense")
    for name in ("a.zarr", "c.zip"):
        with pytest.raises(SourceError, match="cannot be read as Zarr") as raised:
            open_source(tmp_path / name)
        assert "\n" not in str(raised.value)
