"""Memory does not grow with the number of images, in any format."""

import subprocess
import sys
import zipfile
from pathlib import Path

import h5py
import numpy as np
import pytest
import zarr

SHAPE = (64, 64)
PROGRAM = """
import resource, sys
from smalti.sources.open import open_source
for path in sys.argv[1:]:
    read = sum(len(batch) for batch in open_source(path).batches(256))
    print(read, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)
"""


def write_npy(path: Path, images: int) -> Path:
    with path.with_suffix(".npy").open("wb") as file:
        facts = {"descr": "|u1", "fortran_order": False, "shape": (images, *SHAPE)}
        np.lib.format.write_array_header_1_0(file, facts)
        file.truncate(file.tell() + images * SHAPE[0] * SHAPE[1])  # a hole, which takes no room
    return path.with_suffix(".npy")


def write_npz(path: Path, images: int) -> Path:
    with (
        zipfile.ZipFile(path.with_suffix(".npz"), "w", zipfile.ZIP_DEFLATED, compresslevel=1) as packed,
        packed.open("images.npy", "w") as member,
    ):
        facts = {"descr": "|u1", "fortran_order": False, "shape": (images, *SHAPE)}
        np.lib.format.write_array_header_1_0(member, facts)
        for _ in range(images // 1000):
            member.write(bytes(1000 * SHAPE[0] * SHAPE[1]))
    return path.with_suffix(".npz")


def write_hdf5(path: Path, images: int) -> Path:
    with h5py.File(path.with_suffix(".h5"), "w") as file:  # chunks that were never written are not there
        file.create_dataset("images", (images, *SHAPE), "u1", chunks=(100, *SHAPE), compression="gzip")
    return path.with_suffix(".h5")


def write_zarr(path: Path, images: int) -> Path:
    zarr.create_array(path.with_suffix(".zarr"), shape=(images, *SHAPE), chunks=(100, *SHAPE), dtype="u1")
    return path.with_suffix(".zarr")


WRITERS = [write_npy, write_npz, write_hdf5, write_zarr]


@pytest.mark.skipif(sys.platform != "linux", reason="elsewhere the peak of a process is told otherwise, or not at all")
def test_memory_does_not_grow_with_the_number_of_images(tmp_path: Path) -> None:
    few, many = 1_000, 40_000  # 4 MB and 164 MB
    paths = [write(tmp_path / str(images), images) for images in (few, many) for write in WRITERS]
    command = [sys.executable, "-c", PROGRAM, *paths]
    found = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    read, peaks_kb = zip(*(map(int, line.split()) for line in found.splitlines()), strict=True)
    assert read == (few,) * 4 + (many,) * 4
    grown_kb = {write.__name__: peak - peaks_kb[3] for write, peak in zip(WRITERS, peaks_kb[4:], strict=True)}
    assert max(grown_kb.values()) < 16_000, grown_kb
