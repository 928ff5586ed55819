import gzip
import io
import json
import sys
import tarfile
from pathlib import Path
from typing import BinaryIO

import numpy as np
import pytest
import webdataset
import zstandard
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from helpers.image_files import noise
from smalti.errors import MissingDependencyError, OutputExistsError, SmaltiError
from smalti.images.batch import ImageBatch
from smalti.sinks.sink import open_image_writer
from smalti.sinks.tar_file import key_of
from smalti.sources.tar.tar import CLASS_NAMES_MEMBER

BATCH = ImageBatch(
    noise(3, 4, 5, 3),
    np.array([2, 0, -7]),
    ("b/one.two.jpg", "a/1.png", "../evil.png"),
    {"age": [3, None, 1.5], "who": ["Ana", "", None]},
)


def write(out: Path, *batches: ImageBatch, class_names: list[str] | None = None, overwrite: bool = False) -> Path:
    images = sum(map(len, batches))
    with open_image_writer(out, None, images, class_names=class_names, overwrite=overwrite) as writer:
        for batch in batches:
            writer.write(batch)
    return out


def samples(path: Path) -> list[dict[str, object]]:
    """Decode the samples of a file with WebDataset, without the keys that it adds."""
    found = webdataset.WebDataset(str(path), shardshuffle=False, empty_check=False).decode("pil")
    return [
        {key: value for key, value in sample.items() if key not in ("__url__", "__local_path__")} for sample in found
    ]


def test_webdataset_reads_images_labels_and_fields_in_order(tmp_path: Path) -> None:
    found = samples(write(tmp_path / "a.tar", BATCH, class_names=["x", "y", "z"]))
    assert [sample["__key__"] for sample in found] == ["b/one_two", "a/1", "000002"]
    assert [sample["cls"] for sample in found] == [2, 0, -7]
    assert found[0]["json"] == {"__name__": "b/one.two.jpg", "age": 3, "who": "Ana"}
    assert found[1]["json"] == {"age": None, "who": ""}
    assert found[2]["json"] == {"__name__": "../evil.png", "age": 1.5, "who": None}
    for sample, pixels in zip(found, BATCH.pixels, strict=True):
        np.testing.assert_array_equal(np.asarray(sample["png"]), pixels)


def test_images_without_anything_are_numbered_and_alone(tmp_path: Path) -> None:
    found = samples(write(tmp_path / "a.tar", ImageBatch(noise(3, 4, 4, 1))))
    assert [sorted(sample) for sample in found] == [["__key__", "png"]] * 3
    assert [sample["__key__"] for sample in found] == ["000000", "000001", "000002"]


def test_images_of_several_shapes_and_depths_go_into_one_file(tmp_path: Path) -> None:
    deep = np.random.default_rng(0).integers(0, 1 << 16, (2, 3, 7, 1), dtype=np.uint16)
    out = write(tmp_path / "a.tar", ImageBatch(noise(1, 4, 4, 3)), ImageBatch(deep), ImageBatch(noise(1, 9, 9, 4)))
    with tarfile.open(out) as tar:
        images = [Image.open(tar.extractfile(member)) for member in tar]  # type: ignore[arg-type]
        assert [image.mode for image in images] == ["RGB", "I;16", "I;16", "RGBA"]
        np.testing.assert_array_equal(np.asarray(images[2]), deep[1, :, :, 0])


@pytest.mark.parametrize("suffix", [".tar", ".tar.gz", ".tgz", ".tar.zst", ".tzst", ".TAR"])
def test_the_same_images_make_the_same_bytes_however_they_come(tmp_path: Path, suffix: str) -> None:
    first = write(tmp_path / f"a{suffix}", BATCH, class_names=["x"]).read_bytes()
    second = write(tmp_path / f"b{suffix}", BATCH.part(0, 1), BATCH.part(1, 3), class_names=["x"]).read_bytes()
    assert first == second
    if "gz" in suffix:
        first = gzip.decompress(first)
    elif "zst" in suffix:
        first = zstandard.ZstdDecompressor().decompressobj().decompress(first)
    with tarfile.open(fileobj=io.BytesIO(first)) as tar:
        members = tar.getmembers()
    assert members[0].name == CLASS_NAMES_MEMBER
    facts = {(m.mtime, m.uid, m.gid, m.uname, m.gname, m.mode, m.type) for m in members}
    assert facts == {(0, 0, 0, "", "", 0o644, tarfile.REGTYPE)}
    assert len(first) % tarfile.RECORDSIZE == 0


@given(
    st.lists(
        st.text(max_size=12) | st.sampled_from(["a.png", "a.jpg", "a", "a.b.png", "a.b/c", "__a__/b"]),
        min_size=1,
        max_size=8,
    )
)
@settings(max_examples=60, deadline=None)
def test_every_name_is_kept_and_every_key_is_safe_and_its_own(
    tmp_path_factory: pytest.TempPathFactory, names: list[str]
) -> None:
    out = tmp_path_factory.mktemp("tar") / "a.tar"
    write(out, ImageBatch(noise(len(names), 1, 1, 1), np.arange(len(names)), tuple(names)))
    found = samples(out)
    assert [sample["cls"] for sample in found] == list(range(len(names)))
    kept = [sample.get("json", {}).get("__name__", f"{sample['__key__']}.png") for sample in found]  # type: ignore[attr-defined]
    assert kept == names
    assert len({sample["__key__"] for sample in found}) == len(names)
    for sample in found:
        assert ".." not in str(sample["__key__"]).split("/") and not str(sample["__key__"]).startswith("/")


@pytest.mark.parametrize(
    ("name", "key"),
    [
        *(
            ("a.png", "a"),
            ("a.PNG", "a"),
            ("b/c.d/e.jpeg", "b/c.d/e"),
            ("c.tar.tif", "c_tar"),
            ("v1.5", "v1_5"),
            ("b/a.tif#7", "b/a#7"),
        ),
        *(("../a.png", None), ("/a", None), ("", None), ("__a__/b.png", None), ("nul.png", None), (".png", None)),
    ],
)
def test_a_key_is_the_name_without_dots_in_its_last_part(name: str, key: str | None) -> None:
    assert key_of(name) == key


def test_many_images_of_one_name_have_keys_of_their_own(tmp_path: Path) -> None:
    found = samples(write(tmp_path / "a.tar", ImageBatch(noise(300, 1, 1, 1), names=("a.png",) * 300)))
    assert [sample["__key__"] for sample in found[:3]] == ["a", "a_000001", "a_000002"] and len(found) == 300


def test_long_and_foreign_names_are_members(tmp_path: Path) -> None:
    names = ("ordner/" * 40 + "猫.png", "ü" * 120 + ".png")
    found = samples(write(tmp_path / "a.tar", ImageBatch(noise(2, 1, 1, 1), names=names)))
    assert [f"{sample['__key__']}.png" for sample in found] == list(names)


def test_a_field_that_would_be_taken_for_the_name_is_refused(tmp_path: Path) -> None:
    with pytest.raises(SmaltiError, match="__name__"):
        write(tmp_path / "a.tar", ImageBatch(noise(1, 1, 1, 1), fields={"__name__": ["x"]}))
    assert list(tmp_path.iterdir()) == []


def test_an_existing_file_is_kept_and_an_interruption_leaves_it(tmp_path: Path) -> None:
    (tmp_path / "a.tar").write_text("mine")
    with pytest.raises(OutputExistsError):
        write(tmp_path / "a.tar", BATCH)
    with pytest.raises(KeyboardInterrupt), open_image_writer(tmp_path / "a.tar", None, 3, overwrite=True) as writer:
        writer.write(BATCH)
        raise KeyboardInterrupt
    assert (tmp_path / "a.tar").read_text() == "mine" and len(list(tmp_path.iterdir())) == 1
    write(tmp_path / "a.tar", BATCH, overwrite=True)
    assert len(samples(tmp_path / "a.tar")) == 3


def test_zst_without_zstandard_is_one_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "zstandard", None)
    with pytest.raises(MissingDependencyError, match=r"smalti\[zstd\]"):
        write(tmp_path / "a.tar.zst", BATCH)
    assert list(tmp_path.iterdir()) == []


def full_device() -> BinaryIO:
    return Path("/dev/full").open("r+b", buffering=8192)


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs a full device")
@pytest.mark.parametrize("suffix", [".tar", ".tar.gz", ".tar.zst"])
def test_a_full_disk_is_one_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, suffix: str) -> None:
    monkeypatch.setattr("smalti.storage.atomic._open_nameless", lambda folder: full_device())
    with pytest.raises(SmaltiError, match="No space left on device; make room"):
        write(tmp_path / f"a{suffix}", ImageBatch(noise(9, 90, 90, 1)))
    assert list(tmp_path.iterdir()) == []


def test_nan_and_numbers_of_numpy_are_written_as_python_reads_them(tmp_path: Path) -> None:
    fields = {"x": np.array([np.nan, np.inf]).tolist(), "n": [np.int64(3), np.bool_(True)]}
    write(tmp_path / "a.tar", ImageBatch(noise(2, 1, 1, 1), fields=fields))
    with tarfile.open(tmp_path / "a.tar") as tar:
        rows = [json.loads(tar.extractfile(m).read()) for m in tar if m.name.endswith(".json")]  # type: ignore[union-attr]
    assert np.isnan(rows[0]["x"]) and rows[0]["n"] == 3 and rows[1] == {"x": np.inf, "n": True}
