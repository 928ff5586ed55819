import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import fsspec
import h5py
import numpy as np
import pytest

from helpers.image_files import everything, noise
from smalti.errors import SourceError
from smalti.sources.open import open_source


def external_link(file: h5py.File, other: Path) -> None:
    file["away"] = h5py.ExternalLink(str(other), "/images")


def group_by_external_link(file: h5py.File, other: Path) -> None:
    file["away"] = h5py.ExternalLink(str(other), "/")


def virtual_dataset(file: h5py.File, other: Path) -> None:
    layout = h5py.VirtualLayout((4, 5, 5), "u1")
    layout[...] = h5py.VirtualSource(str(other), "images", (4, 5, 5))
    file.create_virtual_dataset("away", layout)


def external_storage(file: h5py.File, other: Path) -> None:
    file.create_dataset("away", (4, 5, 5), "u1", external=[(str(other), 0, 100)])


FOREIGN = [external_link, group_by_external_link, virtual_dataset, external_storage]


@pytest.fixture
def other(tmp_path: Path) -> Path:
    with h5py.File(tmp_path / "other.h5", "w") as file:
        file["images"] = noise(4, 5, 5, seed=1)
    return tmp_path / "other.h5"


@pytest.mark.parametrize("lead_away", FOREIGN)
def test_what_leads_to_other_files_is_refused(
    tmp_path: Path, other: Path, lead_away: Callable[[h5py.File, Path], None]
) -> None:
    with h5py.File(tmp_path / "a.h5", "w") as file:
        lead_away(file, other)
        file["images"] = noise(4, 5, 5)
        file["soft"] = h5py.SoftLink("/away")
    with pytest.raises(SourceError, match=r"::away: is .*never followed; name the dataset"):
        open_source(tmp_path / "a.h5")
    for key in ("away", "away/images"):
        with pytest.raises(SourceError, match=r"never followed|no array") as raised:
            open_source(f"{tmp_path}/a.h5::{key}")
        assert "\n" not in str(raised.value)
    with pytest.raises(ValueError, match="no array 'soft'"):
        open_source(f"{tmp_path}/a.h5::soft")
    found = everything(open_source(f"{tmp_path}/a.h5::/images"))
    np.testing.assert_array_equal(found.pixels[..., 0], noise(4, 5, 5))


def test_loops_and_second_names_are_passed_through_once(tmp_path: Path) -> None:
    with h5py.File(tmp_path / "a.h5", "w") as file:
        file["train/images"] = noise(4, 5, 5)
        file["train/loop"] = file["train"]
        file["train/root"] = file["/"]
        file["z"] = file["train/images"]
    np.testing.assert_array_equal(everything(open_source(tmp_path / "a.h5")).pixels[..., 0], noise(4, 5, 5))


def test_types_that_numpy_does_not_know_are_no_columns(tmp_path: Path) -> None:
    with h5py.File(tmp_path / "a.h5", "w") as file:
        file["images"] = noise(4, 5, 5)
        file.create_dataset("refs", (4,), h5py.ref_dtype)
        file.create_dataset("lists", (4,), h5py.vlen_dtype(np.int32))
        file.create_dataset("kinds", data=np.arange(4) % 2, dtype=h5py.enum_dtype({"a": 0, "b": 1}))
        file.create_dataset("nothing", dtype="u1", data=h5py.Empty("u1"))
        file["scalar"] = 3
    assert everything(open_source(tmp_path / "a.h5")).fields == {"kinds": [0, 1, 0, 1]}


def test_each_chunk_is_unpacked_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with h5py.File(tmp_path / "a.h5", "w") as file:
        file.create_dataset("images", data=noise(100, 5, 5), chunks=(32, 5, 5), compression="gzip")
    asked: list[slice] = []
    read = h5py.Dataset.__getitem__

    def spied(self: h5py.Dataset, rows: slice, *args: object, **options: object) -> object:
        asked.append(rows)
        return read(self, rows, *args, **options)

    source = open_source(tmp_path / "a.h5")
    monkeypatch.setattr(h5py.Dataset, "__getitem__", spied)
    assert [len(batch) for batch in source.batches(10, 40)] == [10] * 6
    assert [(rows.start, rows.stop) for rows in asked] == [(40, 64), (64, 96), (96, 100)]


def test_damage_is_an_error_of_one_line(tmp_path: Path) -> None:
    path = tmp_path / "a.h5"
    with h5py.File(path, "w") as file:
        file.create_dataset("images", data=noise(40, 8, 8), chunks=(10, 8, 8), compression="gzip", fletcher32=True)
        chunk = file["images"].id.get_chunk_info(2)
    whole = path.read_bytes()
    flipped = bytearray(whole)
    flipped[chunk.byte_offset + chunk.size // 2] ^= 0xFF
    for data in (b"", b"hello", whole[:100], whole[: len(whole) // 2], bytes(flipped)):
        path.write_bytes(data)
        with pytest.raises(SourceError, match="cannot be read as HDF5") as raised:
            everything(open_source(path))
        assert "\n" not in str(raised.value)


def test_a_pass_that_was_left_open_does_not_crash_at_the_end(tmp_path: Path) -> None:
    with h5py.File(tmp_path / "a.h5", "w") as file:
        file.create_dataset("images", data=noise(40, 8, 8), chunks=(10, 8, 8), compression="gzip")
    program = f"""
from smalti.sources.open import open_source
batches = open_source("{(tmp_path / "a.h5").as_uri()}").batches(10)
print(len(next(batches)))
"""
    assert subprocess.run([sys.executable, "-c", program], check=True, capture_output=True).stdout == b"10\n"


def test_a_network_that_fails_is_an_error_of_one_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with fsspec.open("memory://hdf5/a.h5", "wb") as remote, h5py.File(remote, "w") as file:
        file["images"] = noise(400, 8, 8)
    source = open_source("memory://hdf5/a.h5")

    def broken(self: object, size: int = -1) -> bytes:
        raise TimeoutError("no answer from memory://user:secret@hdf5")

    monkeypatch.setattr("fsspec.implementations.memory.MemoryFile.read", broken, raising=False)
    with pytest.raises(SourceError, match="no answer from memory://hdf5") as raised:
        everything(source)
    assert "secret" not in str(raised.value)
