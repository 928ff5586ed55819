"""Cases of IDX, `.npy` and `.npz` files."""

import struct
import subprocess
from pathlib import Path

import numpy as np

from inputs.case import Case, Made, Pixels, group
from inputs.making import noise, wide, write


def cases() -> list[Case]:
    return [
        Case("IDX with labels", "struct, as MNIST's page says", _idx),
        Case("IDX, `.gz`", "gzip", _idx_gz),
        Case("IDX shorter than its header says", "struct", _short_idx),
        Case("`.npy`, uint8 `[N, H, W]`, with labels", "NumPy", _npy),
        Case("`.npy`, uint8 `[N, H, W, 3]`", "NumPy", lambda root: _saved(root, noise(4, 5, 6, 3))),
        Case("`.npy`, uint16", "NumPy", lambda root: _saved(root, wide(4, 5, 6))),
        Case("`.npy`, uint16, big endian", "NumPy", lambda root: _saved(root, wide(4, 5, 6).astype(">u2"))),
        Case("`.npy` in Fortran order", "NumPy", lambda root: _saved(root, np.asfortranarray(noise(4, 5, 6)))),
        Case("`.npy` of floats", "NumPy", lambda root: _refused(root, noise(4, 5, 6) / 255, "float64")),
        Case("`.npy`, int16", "NumPy", lambda root: _saved(root, wide(4, 5, 6).astype(np.int16))),
        Case("`.npy`, one image `[H, W]`", "NumPy", lambda root: _refused(root, noise(5, 6), "[5, 6]")),
        Case("`.npy` of Python objects (a pickle)", "NumPy", lambda root: _refused(root, _objects(), "objects")),
        Case("`.npy` cut off", "NumPy", _cut),
        Case("`.npy` with labels `[N, 1]`", "NumPy", _column_of_labels),
        Case("`.npy` of two arrays, one behind the other", "NumPy", _two_in_one),
        Case("`.npz` with labels of another length", "NumPy", _short_labels),
        Case("`.npz` of volumes `[N, D, H, W]`", "NumPy", _volumes),
        Case("a file of another kind", "bytes by hand", _other_kind),
        Case("`.npz`, MedMNIST's layout", "NumPy", _medmnist),
        Case("`.npz`, Keras' layout", "NumPy", _keras),
        Case("`.npz` of images, labels, names and a field", "NumPy", _npz),
        Case("`.npz`, one of two arrays of images, `a.npz::left`", "NumPy", lambda root: _two(root, "::left")),
        Case("`.npz` of two arrays of images", "NumPy", lambda root: _two(root, "")),
        Case("`.npz` with Python objects beside the images", "NumPy", _npz_of_objects),
        Case("`.npz`, one byte changed", "NumPy", _damaged),
    ]


def _write_idx(root: Path) -> tuple[Path, Path]:
    images, labels = root / "train-images-idx3-ubyte", root / "train-labels-idx1-ubyte"
    write(images, struct.pack(">IIII", 0x0803, 4, 5, 6) + noise(4, 5, 6).tobytes())
    write(labels, struct.pack(">II", 0x0801, 4) + bytes([3, 1, 4, 1]))
    return images, labels


def _idx(root: Path) -> Made:
    return Made(_write_idx(root)[0], [group(noise(4, 5, 6), labels=[3, 1, 4, 1])])


def _column_of_labels(root: Path) -> Made:
    np.save(root / "a.npy", noise(4, 5, 6))
    np.save(root / "a.labels.npy", np.array([[3], [1], [4], [1]]))
    return Made(root / "a.npy", [group(noise(4, 5, 6), labels=[3, 1, 4, 1])])


def _two_in_one(root: Path) -> Made:
    with (root / "a.npy").open("wb") as file:
        np.save(file, noise(4, 5, 6))
        np.save(file, noise(4, 5, 6, seed=1))
    return Made(root / "a.npy", error="bytes follow the array")


def _short_labels(root: Path) -> Made:
    np.savez(root / "a.npz", images=noise(4, 8, 8), labels=[0, 1, 0])
    return Made(root / "a.npz", error="has shape [3] beside 4 images")


def _volumes(root: Path) -> Made:
    np.savez(root / "a.npz", train_images=noise(2, 8, 8, 8), test_images=noise(1, 8, 8, 8))
    return Made(root / "a.npz", error="train_images (uint8 [2, 8, 8, 8])")


def _other_kind(root: Path) -> Made:
    return Made(write(root / "a.xyz", b"words"), error="of no kind that is read")


def _idx_gz(root: Path) -> Made:
    for file in _write_idx(root):
        subprocess.run(["gzip", file], check=True)
    return Made(root / "train-images-idx3-ubyte.gz", [group(noise(4, 5, 6), labels=[3, 1, 4, 1])])


def _short_idx(root: Path) -> Made:
    images, _ = _write_idx(root)
    images.write_bytes(images.read_bytes()[:-1])
    return Made(images, error="header")


def _saved(root: Path, images: Pixels) -> Made:
    np.save(root / "a.npy", images)
    return Made(root / "a.npy", [group(images.astype(images.dtype.newbyteorder("=")))])


def _npy(root: Path) -> Made:
    np.save(root / "a.labels.npy", np.array([3, 1, 4, 1]))
    return Made(_saved(root, noise(4, 5, 6)).spec, [group(noise(4, 5, 6), labels=[3, 1, 4, 1])])


def _objects() -> Pixels:
    return np.array([noise(4, 5), noise(5, 6), None], dtype=object)


def _refused(root: Path, images: Pixels, words: str) -> Made:
    np.save(root / "a.npy", images)
    return Made(root / "a.npy", error=words)


def _cut(root: Path) -> Made:
    np.save(root / "a.npy", noise(4, 5, 6))
    (root / "a.npy").write_bytes((root / "a.npy").read_bytes()[:-1])
    return Made(root / "a.npy", error="truncated")


def _medmnist(root: Path) -> Made:
    parts = {"train": noise(3, 5, 6, 3), "val": noise(1, 5, 6, 3, seed=1), "test": noise(2, 5, 6, 3, seed=2)}
    labels = {"train": [[1], [0], [2]], "val": [[1]], "test": [[0], [0]]}
    np.savez_compressed(
        root / "pathmnist.npz",
        **{f"{split}_images": images for split, images in parts.items()},
        **{f"{split}_labels": np.array(values, np.uint8) for split, values in labels.items()},
    )
    splits = {"split": ["train"] * 3 + ["val"] + ["test"] * 2}
    images = np.concatenate(list(parts.values()))
    return Made(root / "pathmnist.npz", [group(images, labels=[1, 0, 2, 1, 0, 0], fields=splits)])


def _keras(root: Path) -> Made:
    x_train, x_test = noise(3, 5, 6), noise(2, 5, 6, seed=1)
    arrays = {"x_train": x_train, "y_train": np.uint8([5, 0, 4]), "x_test": x_test, "y_test": np.uint8([7, 2])}
    np.savez(root / "mnist.npz", **dict(sorted(arrays.items())))
    splits = {"split": ["train"] * 3 + ["test"] * 2}
    images = np.concatenate([x_train, x_test])
    return Made(root / "mnist.npz", [group(images, labels=[5, 0, 4, 7, 2], fields=splits)])


def _npz(root: Path) -> Made:
    known = {"label": ["dog", "cat", "dog"], "names": ["c.png", "a.png", "b.png"], "age": [1.5, 2.0, 3.0]}
    np.savez(root / "a.npz", pictures=wide(3, 5, 6), **{key: np.array(values) for key, values in known.items()})
    expected = group(
        wide(3, 5, 6), labels=[1, 0, 1], class_names=["cat", "dog"], names=known["names"], fields={"age": known["age"]}
    )
    return Made(root / "a.npz", [expected])


def _two(root: Path, selector: str) -> Made:
    np.savez(root / "a.npz", left=noise(3, 5, 6), right=noise(3, 5, 6, seed=1))
    if not selector:
        return Made(root / "a.npz", error="left")
    return Made(f"{root}/a.npz{selector}", [group(noise(3, 5, 6))])


def _npz_of_objects(root: Path) -> Made:
    np.savez(root / "a.npz", images=noise(3, 5, 6), boxes=_objects())
    return Made(root / "a.npz", error="objects")


def _damaged(root: Path) -> Made:
    np.savez_compressed(root / "a.npz", images=noise(3, 5, 6))
    data = bytearray((root / "a.npz").read_bytes())
    data[len(data) // 2] ^= 255
    return Made(write(root / "a.npz", bytes(data)), error="cannot be read")
