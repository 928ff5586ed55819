"""Cases of HDF5 files and Zarr stores."""

from pathlib import Path

import h5py
import numpy as np
import zarr

from inputs.case import Case, Made, Pixels, group
from inputs.making import noise, wide
from inputs.zipping import pack_zip

_LABELS = [3, 1, 4, 1, 5]


def cases() -> list[Case]:
    return [
        Case("HDF5", "h5py", lambda root: _hdf5(root, noise(5, 6, 7, 3))),
        Case("HDF5, uint16, chunks, gzip, shuffle", "h5py", _chunked),
        Case("HDF5 of groups `train` and `test`", "h5py", _splits),
        Case("HDF5, one of two, `a.h5::/b/images`", "h5py", _chosen),
        Case("HDF5, labels of an enumeration", "h5py", _enumeration),
        Case("HDF5 with labels of another length", "h5py", _short_labels),
        Case("HDF5 of floats", "h5py", lambda root: _refused(root, noise(5, 6, 7) / 255, "float64")),
        Case("HDF5 whose images lie in another file", "h5py", _external),
        Case("Zarr 2", "zarr", lambda root: _zarr(root, 2, noise(5, 6, 7, 3))),
        Case("Zarr 3", "zarr", lambda root: _zarr(root, 3, noise(5, 6, 7))),
        Case("Zarr 3, uint16, shards", "zarr", lambda root: _zarr(root, 3, wide(5, 6, 7), shards=(4, 6, 7))),
        Case("Zarr 3, `.zip`", "zarr", _zip_store),
        Case("Zarr 2, `.zip`", "zarr, GNU zip", _zipped),
        Case("Zarr 2 of Python objects (a pickle)", "zarr", _objects),
    ]


def _hdf5(root: Path, images: Pixels) -> Made:
    with h5py.File(root / "a.h5", "w") as file:
        file["images"] = images
        file["labels"] = _LABELS
        file["names"] = [f"{number}.png" for number in range(5)]
        file["age"] = np.array([1.5, 2, 3, 4, 5])
    known = {"labels": _LABELS, "names": [f"{number}.png" for number in range(5)]}
    return Made(root / "a.h5", [group(images, fields={"age": [1.5, 2.0, 3.0, 4.0, 5.0]}, **known)])


def _chunked(root: Path) -> Made:
    with h5py.File(root / "a.hdf5", "w") as file:
        file.create_dataset("x", data=wide(5, 6, 7), chunks=(2, 3, 7), compression="gzip", shuffle=True)
        file.create_dataset("y", data=_LABELS)
    return Made(root / "a.hdf5", [group(wide(5, 6, 7), labels=_LABELS)])


def _splits(root: Path) -> Made:
    with h5py.File(root / "a.h5", "w") as file:
        for split, images in {"test": noise(2, 6, 7, seed=1), "train": noise(3, 6, 7)}.items():
            file[f"{split}/images"] = images
            file[f"{split}/labels"] = np.arange(len(images))
    images = np.concatenate([noise(3, 6, 7), noise(2, 6, 7, seed=1)])
    return Made(root / "a.h5", [group(images, labels=[0, 1, 2, 0, 1], fields={"split": ["train"] * 3 + ["test"] * 2})])


def _chosen(root: Path) -> Made:
    with h5py.File(root / "a.h5", "w") as file:
        file["a/images"], file["b/images"], file["b/labels"] = noise(2, 6, 7), noise(5, 6, 7, seed=1), _LABELS
    return Made(f"{root}/a.h5::/b/images", [group(noise(5, 6, 7, seed=1), labels=_LABELS)])


def _enumeration(root: Path) -> Made:
    with h5py.File(root / "a.h5", "w") as file:
        file["images"] = noise(3, 6, 7)
        kind = h5py.enum_dtype({"eel": 0, "cat": 1, "dog": 2}, basetype="i1")
        file.create_dataset("labels", data=np.array([2, 0, 1], "i1"), dtype=kind)
    return Made(root / "a.h5", [group(noise(3, 6, 7), labels=[2, 0, 1], class_names=["eel", "cat", "dog"])])


def _short_labels(root: Path) -> Made:
    with h5py.File(root / "a.h5", "w") as file:
        file["images"], file["labels"] = noise(4, 6, 7), np.array([0, 1, 0])
    return Made(root / "a.h5", error="has shape [3] beside 4 images")


def _refused(root: Path, images: Pixels, words: str) -> Made:
    with h5py.File(root / "a.h5", "w") as file:
        file["images"] = images
    return Made(root / "a.h5", error=words)


def _external(root: Path) -> Made:
    with h5py.File(root / "other.h5", "w") as file:
        file["images"] = noise(5, 6, 7)
    with h5py.File(root / "a.h5", "w") as file:
        file["images"] = h5py.ExternalLink("other.h5", "images")
    return Made(root / "a.h5", error="external link")


def _fill(store: object, zarr_format: int, images: Pixels, shards: tuple[int, ...] | None) -> None:
    top = zarr.open_group(store, mode="w", zarr_format=zarr_format)  # type: ignore[arg-type]
    chunks = (2, *images.shape[1:])
    top.create_array("images", shape=images.shape, chunks=chunks, shards=shards, dtype=images.dtype)[...] = images
    top.create_array("labels", data=np.array(_LABELS))


def _zarr(root: Path, zarr_format: int, images: Pixels, shards: tuple[int, ...] | None = None) -> Made:
    _fill(root / "a.zarr", zarr_format, images, shards)
    return Made(root / "a.zarr", [group(images, labels=_LABELS)])


def _zip_store(root: Path) -> Made:
    with zarr.storage.ZipStore(root / "a.zarr.zip", mode="w") as store:
        _fill(store, 3, noise(5, 6, 7), None)
    return Made(root / "a.zarr.zip", [group(noise(5, 6, 7), labels=_LABELS)])


def _zipped(root: Path) -> Made:
    _fill(root / "a.zarr", 2, noise(5, 6, 7), None)
    pack_zip(root / "a.zarr.zip", root / "a.zarr", sorted(path.name for path in (root / "a.zarr").iterdir()))
    return Made(root / "a.zarr.zip", [group(noise(5, 6, 7), labels=_LABELS)])


def _objects(root: Path) -> Made:
    import numcodecs  # noqa: PLC0415

    top = zarr.open_group(root / "a.zarr", mode="w", zarr_format=2)
    top.create_array("images", data=noise(5, 6, 7))
    (root / "a.zarr" / "boxes").mkdir()
    meta = (
        '{"zarr_format": 2, "shape": [5], "chunks": [5], "dtype": "|O", "compressor": null, "fill_value": null, '
        f'"order": "C", "filters": [{{"id": "{numcodecs.Pickle.codec_id}", "protocol": 5}}]}}'
    )
    (root / "a.zarr" / "boxes" / ".zarray").write_text(meta)
    return Made(root / "a.zarr", error="pickle")
