import gzip
import hashlib
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
import platformdirs
import pytest

from helpers.image_files import assert_same, everything, noise
from smalti.errors import DownloadError, SourceError
from smalti.images.batch import ImageBatch
from smalti.images.source import ImageSource
from smalti.sources.arrays.idx import idx_header
from smalti.sources.named import named
from smalti.sources.named.mirrors import MirrorError, RawFile
from smalti.sources.named.named import (
    CIFAR_10,
    FASHION_MNIST,
    MNIST,
    NOTO_EMOJI,
    SET_NAMES,
    SETS,
    NamedSet,
    SetPart,
    open_set,
)
from smalti.sources.open import open_source

DATA: dict[str, bytes] = {
    "train-images-idx3-ubyte": idx_header((7, 4, 5)) + noise(7, 4, 5).tobytes(),
    "train-labels-idx1-ubyte": idx_header((7,)) + bytes(range(7)),
    "t10k-images-idx3-ubyte": idx_header((3, 4, 5)) + noise(3, 4, 5, seed=1).tobytes(),
    "t10k-labels-idx1-ubyte": idx_header((3,)) + bytes(range(7, 10)),
}
RAW = {name: RawFile(name, len(data), hashlib.sha256(data).hexdigest()) for name, data in DATA.items()}
TRAIN = ImageBatch(noise(7, 4, 5, 1), np.arange(7))
TEST = ImageBatch(noise(3, 4, 5, 1, seed=1), np.arange(7, 10))


@dataclass(frozen=True)
class FakeMirror:
    """A mirror that gives the files it has, or refuses."""

    name: str
    data: dict[str, bytes] = field(default_factory=dict)
    refusal: str | None = None
    asked: list[list[str]] = field(default_factory=list)
    meanwhile: Callable[[], None] = lambda: None

    def fetch(self, files: Sequence[RawFile], folder: Path) -> None:
        self.asked.append([file.name for file in files])
        self.meanwhile()
        (folder / "deep").mkdir()
        for name, data in self.data.items():
            (folder / "deep" / name).write_bytes(data)
        if self.refusal is not None:
            raise MirrorError(self.refusal)


def toy(*mirrors: FakeMirror) -> NamedSet:
    files = [RAW[name] for name in DATA]
    return NamedSet("toy", (SetPart("train", files[0], files[1]), SetPart("test", files[2], files[3])), mirrors)


def opened(one: NamedSet, splits: Sequence[str], report: Callable[[str], None] = lambda _: None) -> ImageSource:
    return open_set(one, [part for part in one.parts if part.name in splits], report)


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(platformdirs, "user_cache_path", lambda name: tmp_path / "cache" / name)
    monkeypatch.delenv("SMALTI_DATA", raising=False)
    return tmp_path / "cache" / "smalti" / "toy"


def test_a_set_is_fetched_once_as_a_whole_and_read_from_the_cache(cache: Path) -> None:
    mirror, lines = FakeMirror("good", {f"{name}.gz": gzip.compress(data) for name, data in DATA.items()}), []
    assert_same(everything(opened(toy(mirror), ["test"], lines.append)), TEST)
    assert_same(everything(opened(toy(mirror), ["train"], lines.append)), TRAIN)
    both = opened(toy(mirror), ["train", "test"], lines.append)
    assert_same(everything(both, 4), ImageBatch.joined([TRAIN, TEST]))
    assert (len(both), both.image_shape, both.description) == (10, (4, 5, 1), "toy")
    assert mirror.asked == [list(DATA)]
    assert lines == ["toy: fetching from good"]
    assert {path.name: path.read_bytes() for path in cache.iterdir()} == DATA


def test_each_mirror_is_asked_for_what_the_others_did_not_give() -> None:
    first, *rest = DATA
    mirrors = [
        FakeMirror("down", refusal="no answer within 3 s"),
        FakeMirror("partial", {first: DATA[first]}, refusal="404"),
        FakeMirror("lying", dict.fromkeys(rest, b"wrong")),
        FakeMirror("longer", {name: DATA[name] + b"x" for name in rest}),
        FakeMirror("good", {name: DATA[name] for name in rest}),
        FakeMirror("never asked"),
    ]
    lines: list[str] = []
    assert len(everything(opened(toy(*mirrors), ["train", "test"], lines.append))) == 10
    assert [mirror.asked for mirror in mirrors] == [[list(DATA)], [list(DATA)], [rest], [rest], [rest], []]
    assert "toy: down skipped: no answer within 3 s" in lines
    assert any("lying skipped" in line and "other bytes" in line for line in lines)


def test_wrong_bytes_never_reach_the_cache_and_the_error_says_what_was_tried(cache: Path) -> None:
    wrong = {name: data[:-1] + b"!" for name, data in DATA.items()}
    with pytest.raises(DownloadError) as raised:
        opened(toy(FakeMirror("lying", wrong), FakeMirror("down", refusal="refused")), ["test"])
    message = str(raised.value)
    assert all(word in message for word in ("lying (", "down (refused)", "SMALTI_DATA", "t10k-images")), message
    assert "\n" not in message
    assert list(cache.iterdir()) == []


def test_a_damaged_file_in_the_cache_is_fetched_again(cache: Path) -> None:
    mirror = FakeMirror("good", DATA)
    opened(toy(mirror), ["test"])
    (cache / "t10k-labels-idx1-ubyte").write_bytes(b"damaged")
    assert_same(everything(opened(toy(mirror), ["test"])), TEST)
    assert mirror.asked[1] == ["t10k-labels-idx1-ubyte"]


def test_two_that_fetch_at_once_do_not_harm_each_other(cache: Path) -> None:
    barrier = threading.Barrier(2, timeout=10)
    mirror = FakeMirror("good", DATA, meanwhile=lambda: barrier.wait() and None)
    found: list[int] = []

    def fetch() -> None:
        found.append(len(everything(opened(toy(mirror), ["train", "test"]))))

    threads = [threading.Thread(target=fetch) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert found == [10, 10]
    assert sorted(path.name for path in cache.iterdir()) == sorted(DATA)


def test_a_cache_that_cannot_be_made_is_one_line(cache: Path) -> None:
    cache.parent.parent.mkdir()
    cache.parent.write_text("a file where the cache should be")
    with pytest.raises(SourceError, match=r"XDG_CACHE_HOME.*SMALTI_DATA"):
        opened(toy(FakeMirror("good", DATA)), ["test"])


@pytest.mark.parametrize("subfolder", ["", "toy"])
@pytest.mark.parametrize("packed", [False, True])
def test_smalti_data_is_used_in_place_of_cache_and_mirrors(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, subfolder: str, packed: bool
) -> None:
    folder = tmp_path / "mine" / subfolder
    folder.mkdir(parents=True)
    for name, data in DATA.items():
        (folder / (name + ".gz" if packed else name)).write_bytes(gzip.compress(data) if packed else data)
    monkeypatch.setenv("SMALTI_DATA", str(tmp_path / "mine"))
    mirror = FakeMirror("never asked")
    found = everything(opened(toy(mirror), ["train", "test"]))
    assert_same(found, ImageBatch.joined([TRAIN, TEST]))
    assert mirror.asked == []
    next(folder.glob("t10k-labels*")).write_bytes(b"other")
    with pytest.raises(SourceError, match="SHA-256 differs"):
        opened(toy(mirror), ["test"])
    next(folder.glob("t10k-labels*")).unlink()
    with pytest.raises(SourceError, match=r"t10k-labels-idx1-ubyte.*SMALTI_DATA"):
        opened(toy(mirror), ["test"])


def test_names_lead_to_their_sets_and_splits(monkeypatch: pytest.MonkeyPatch) -> None:
    names = ["mnist", "fashion-mnist", "cifar-10"]
    assert list(SET_NAMES) == [
        *[f"{name}{split}" for name in names for split in ("", "/train", "/test")],
        "noto-emoji",
    ]
    sets = [replace(toy(FakeMirror(f"of {name}", DATA)), name=name) for name in names]
    monkeypatch.setattr(named, "SETS", (*sets, emoji(FakeMirror("of noto-emoji", EMOJI))))
    lines: list[str] = []
    lengths = {name: len(open_source(name, report=lines.append)) for name in SET_NAMES}
    of_split = {"": 10, "/train": 7, "/test": 3}
    assert lengths == {f"{name}{split}": images for name in names for split, images in of_split.items()} | {
        "noto-emoji": 4
    }
    assert [open_source(name).description for name in SET_NAMES] == list(SET_NAMES)
    assert lines == [f"{name}: fetching from of {name}" for name in (*names, "noto-emoji")]


EMOJI = {
    "noto-emoji-images-idx4-ubyte": idx_header((4, 3, 5, 3)) + noise(4, 3, 5, 3).tobytes(),
    "noto-emoji-names.txt": b"a.png\nb.png\nc.png\nd.png\n",
}


def emoji(mirror: FakeMirror) -> NamedSet:
    images, names = (RawFile(name, len(data), hashlib.sha256(data).hexdigest()) for name, data in EMOJI.items())
    return NamedSet("noto-emoji", (SetPart("", images, names=names),), (mirror,), ("left", "right"))


def test_images_in_colour_have_their_names_and_the_classes_theirs() -> None:
    one = emoji(FakeMirror("good", EMOJI))
    source = open_set(one, one.parts, lambda _: None)
    assert_same(everything(source), ImageBatch(noise(4, 3, 5, 3), names=("a.png", "b.png", "c.png", "d.png")))
    assert (source.image_shape, source.class_names) == ((3, 5, 3), ("left", "right"))


def test_pinned_sizes_are_those_of_the_sets() -> None:
    for one in (MNIST, FASHION_MNIST):
        assert [file.size_bytes for file in one.parts[0].files] == [16 + 60000 * 784, 8 + 60000]
        assert [file.size_bytes for file in one.parts[1].files] == [16 + 10000 * 784, 8 + 10000]
    assert [file.size_bytes for file in CIFAR_10.parts[0].files] == [20 + 50000 * 3072, 8 + 50000]
    assert [file.size_bytes for file in CIFAR_10.parts[1].files] == [20 + 10000 * 3072, 8 + 10000]
    assert NOTO_EMOJI.parts[0].images.size_bytes == 20 + 3786 * 3 * 64**2
    sums = {file.sha256 for one in SETS for part in one.parts for file in part.files}
    assert len(sums) == 14


REAL_CACHE = platformdirs.user_cache_path("smalti") / "mnist"


@pytest.mark.skipif(not (REAL_CACHE / "t10k-images-idx3-ubyte").exists(), reason="MNIST is not in the cache")
def test_real_mnist_is_the_published_one(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(platformdirs, "user_cache_path", lambda name: REAL_CACHE.parent)
    source = open_source("mnist/test")
    found = everything(source, 999)
    assert found.pixels.shape == (10000, 28, 28, 1)
    expected = np.load(Path(__file__).parent.parent / "data" / "mnist_slice.npz")
    np.testing.assert_array_equal(found.pixels[:500, ..., 0], expected["images"])
    assert found.labels is not None
    np.testing.assert_array_equal(found.labels[:500], expected["labels"])
    published = {
        "t10k-images-idx3-ubyte": "2646ac647ad5339dbf082846283269ea",
        "t10k-labels-idx1-ubyte": "27ae3e4e09519cfbb04c329615203637",
        "train-images-idx3-ubyte": "6bbc9ace898e44ae57da46a324031adb",
        "train-labels-idx1-ubyte": "a25bea736e30d166cdddb491f175f624",
    }
    for name, md5 in published.items():
        assert hashlib.md5((REAL_CACHE / name).read_bytes()).hexdigest() == md5
