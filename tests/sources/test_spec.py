"""The one parser of SPEC, and the one table of files of which several make a source."""

import tarfile
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from smalti.errors import SourceError
from smalti.sources import open as open_module
from smalti.sources.entry_range import Entries, member_files
from smalti.sources.local_files import local_files
from smalti.sources.open import open_source
from smalti.sources.records.record import RecordFiles
from smalti.sources.spec import SourceSpec, absolute_spec, parse_spec, split_selector
from smalti.sources.tar.tar import TarRecords
from smalti.storage.location import below, list_files


@pytest.mark.parametrize(
    ("spec", "location", "key"),
    [
        ("a.h5::/train/images", "a.h5", "train/images"),
        ("a.npz::x_train", "a.npz", "x_train"),
        ("s3://b/a.h5::x", "s3://b/a.h5", "x"),
        ("zip://a.h5::https://h/c.zip::/x", "zip://a.h5::https://h/c.zip", "x"),
        ("zip://a.npy::https://h/c.zip", "zip://a.npy::https://h/c.zip", None),
        ("simplecache::s3://b/a.npz", "simplecache::s3://b/a.npz", None),
        ("photos", "photos", None),
        ("::x", "::x", None),
    ],
)
def test_a_key_is_no_chain_of_urls(spec: str, location: str, key: str | None) -> None:
    assert split_selector(spec) == (location, key)


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The current folder, with a few files of odd names."""
    for name in ("a.npz", "b::x", "c{1,2}.npy", "mnist", "1.tar", "2.tar"):
        (tmp_path / name).touch()
    (tmp_path / "photos").mkdir()
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.mark.parametrize(
    ("spec", "expected"),
    [
        ("mnist", SourceSpec("mnist", "set")),
        (Path("mnist"), SourceSpec("mnist", "file", (Path("mnist"),))),
        ("./mnist", SourceSpec("./mnist", "file", (Path("mnist"),))),
        ("photos", SourceSpec("photos", "folder", (Path("photos"),))),
        ("a.npz::/x/", SourceSpec("a.npz::/x/", "file", (Path("a.npz"),), "x")),
        ("b::x", SourceSpec("b::x", "file", (Path("b::x"),))),
        ("c{1,2}.npy", SourceSpec("c{1,2}.npy", "file", (Path("c{1,2}.npy"),))),
        ("{2,1}.tar", SourceSpec("{2,1}.tar", "pattern", (Path("2.tar"), Path("1.tar")))),
        ("?.tar", SourceSpec("?.tar", "pattern", (Path("1.tar"), Path("2.tar")))),
        ("none::x", SourceSpec("none::x", None, (Path("none"),), "x")),
        ("", SourceSpec("", None)),
    ],
)
def test_a_spec_is_a_set_a_pattern_or_a_location(here: Path, spec: str | Path, expected: SourceSpec) -> None:
    assert parse_spec(spec) == expected


def test_a_pattern_without_files_is_refused(here: Path) -> None:
    with pytest.raises(SourceError, match="no file matches"):
        parse_spec("*.parquet")


def test_only_paths_become_absolute(here: Path) -> None:
    assert [absolute_spec(spec) for spec in ("mnist/test", "s3://b/a.npz::x", "")] == [
        "mnist/test",
        "s3://b/a.npz::x",
        "",
    ]
    assert absolute_spec("a.npz::x") == str(here / "a.npz::x")


def test_local_files_follow_the_same_rules(here: Path) -> None:
    assert list(local_files("mnist")) == list(local_files("")) == []
    assert Path("mnist") in local_files(Path("mnist"))
    assert list(local_files("{2,1}.tar")) == [Path("2.tar"), Path("1.tar")]
    assert Path("a.npz") in local_files("a.npz::x")


def test_a_kind_of_several_files_is_one_line_of_the_table(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, digits
) -> None:
    def names(folder):
        return tuple(name for name, _ in list_files(folder) if name.endswith(".shard"))

    kind = RecordFiles(
        (".shard",),
        TarRecords,
        lambda folder: bool(names(folder)),
        names,
        lambda folder, files: TarRecords([below(folder, name) for name in files], str(folder)),
    )
    monkeypatch.setattr(open_module, "_RECORD_FILES", (*open_module._RECORD_FILES, kind))
    (tmp_path / "all").mkdir()
    for number in range(3):
        Image.fromarray(digits.images[number]).save(tmp_path / f"{number}.png")
        with tarfile.open(tmp_path / "all" / f"{number}.shard", "w") as tar:
            tar.add(tmp_path / f"{number}.png", f"{number}.png")
    folder, pattern = str(tmp_path / "all"), str(tmp_path / "all" / "*.shard")
    assert [len(open_source(spec)) for spec in (f"{folder}/0.shard", pattern, folder)] == [1, 3, 3]
    assert member_files(folder) == ("0.shard", "1.shard", "2.shard")
    assert member_files(pattern) == tuple(f"{folder}/{number}.shard" for number in range(3))
    group = (28, 28, 1), np.dtype(np.uint8)
    for spec in (folder, pattern):
        source, skipped = Entries(spec, member_files(spec)[1:], group=group).entry_range(1, 2)
        assert source is not None and skipped == ()
        np.testing.assert_array_equal(next(source.batches(1)).pixels[0, ..., 0], digits.images[2])
