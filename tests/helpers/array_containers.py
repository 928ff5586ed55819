"""The same arrays in each kind of container, written by NumPy, h5py and zarr, for the tests of array sources."""

import shutil
from collections.abc import Callable, Mapping
from pathlib import Path

import h5py
import numpy as np
import zarr
from numpy.typing import NDArray

Arrays = Mapping[str, NDArray[np.generic]]


def stored_npz(root: Path, arrays: Arrays) -> Path:
    np.savez(root / "stored.npz", **{key.replace("/", "_"): array for key, array in arrays.items()})
    return root / "stored.npz"


def deflated_npz(root: Path, arrays: Arrays) -> Path:
    np.savez_compressed(root / "deflated.npz", **{key.replace("/", "_"): array for key, array in arrays.items()})
    return root / "deflated.npz"


def plain_hdf5(root: Path, arrays: Arrays) -> Path:
    with h5py.File(root / "plain.h5", "w") as file:
        for key, array in arrays.items():
            file[key] = array.astype(h5py.string_dtype()) if array.dtype.kind == "U" else array
    return root / "plain.h5"


def chunked_hdf5(root: Path, arrays: Arrays) -> Path:
    with h5py.File(root / "chunked.hdf5", "w") as file:
        for key, array in arrays.items():
            stored = array.astype("S") if array.dtype.kind == "U" else array
            chunks = tuple(min(4, size) for size in array.shape)
            file.create_dataset(key, data=stored, chunks=chunks, compression="gzip", shuffle=True, fletcher32=True)
    return root / "chunked.hdf5"


def zarr_2(root: Path, arrays: Arrays) -> Path:
    return _zarr(root / "two.zarr", arrays, zarr_format=2)


def zarr_3(root: Path, arrays: Arrays) -> Path:
    return _zarr(root / "three.zarr", arrays, zarr_format=3)


def sharded_zarr(root: Path, arrays: Arrays) -> Path:
    return _zarr(root / "sharded.zarr", arrays, zarr_format=3, shards=True)


def zipped_zarr(root: Path, arrays: Arrays) -> Path:
    folder = _zarr(root / "packed", arrays, zarr_format=3)
    return Path(shutil.make_archive(str(root / "zipped.zarr"), "zip", folder))


WRITERS: list[Callable[[Path, Arrays], Path]] = [
    stored_npz,
    deflated_npz,
    plain_hdf5,
    chunked_hdf5,
    zarr_2,
    zarr_3,
    sharded_zarr,
    zipped_zarr,
]


def _zarr(path: Path, arrays: Arrays, zarr_format: int, shards: bool = False) -> Path:
    group = zarr.open_group(path, mode="w", zarr_format=zarr_format)
    for key, array in arrays.items():
        chunks = tuple(min(4, size) for size in array.shape)
        options = {"shards": tuple(8 * size for size in chunks)} if shards else {}
        dtype = str if array.dtype.kind == "U" else array.dtype
        group.create_array(key, shape=array.shape, chunks=chunks, dtype=dtype, **options)[...] = array
    return path
