import io
import subprocess
import sys
from pathlib import Path

import pytest

from helpers.web_server import RangeHandler, StreamHandler, served
from smalti.errors import MissingDependencyError, SourceError
from smalti.storage.location import (
    below,
    beside,
    is_url,
    kind_of,
    list_files,
    name_of,
    open_binary,
    redacted,
    size_bytes,
)

TREE = {"B/x.png": 1, "a/10.png": 2, "a/9.png": 3, "a b/2.png": 4, "a.png": 5, "ä/1.png": 6}
ORDER = sorted(TREE, key=lambda name: name.split("/"))


def planted(root: Path) -> Path:
    for name, size in TREE.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_bytes(bytes(size))
    return root


def planted_in_memory(root: str) -> str:
    import fsspec  # noqa: PLC0415

    for name, size in TREE.items():
        with fsspec.open(f"{root}/{name}", "wb") as file:
            file.write(bytes(size))
    return root


@pytest.mark.parametrize(
    ("location", "url"),
    [
        ("s3://bucket/a", True),
        ("HTTPS://host/a", True),
        ("zip://a.npy::s3://bucket/a.zip", True),
        ("simplecache::https://host/a", True),
        ("file.h5::/train/images", False),
        ("C://a", False),
        ("a/b", False),
        (Path("s3://bucket/a"), False),
        ("", False),
        ("://", False),
    ],
)
def test_urls_are_told_from_paths(location: str | Path, url: bool) -> None:
    assert is_url(location) == url


@pytest.mark.parametrize(
    ("location", "words"),
    [
        ("https://user:secret@host/a/b.npy?token=secret#secret", "https://host/a/b.npy"),
        ("zip://a/b.npy::https://me:secret@host/a.zip?sig=secret", "zip://a/b.npy::https://host/a.zip"),
        ("s3://bucket/a@b", "s3://bucket/a@b"),
        (Path("a/b?c"), "a/b?c"),
        ("a\nb", "'a\\nb'"),
        ("", "''"),
    ],
)
def test_locations_are_printed_without_credentials(location: str | Path, words: str) -> None:
    assert redacted(location) == words


@pytest.mark.parametrize(
    ("location", "name", "neighbour", "child"),
    [
        ("s3://b/c/a.npy", "a.npy", "s3://b/c/x y", "s3://b/c/a.npy/x y"),
        ("https://h/c/a.npy?q=1", "a.npy", "https://h/c/x%20y?q=1", "https://h/c/a.npy/x%20y?q=1"),
        ("zip://a.npy::https://h/c.zip", "a.npy", "zip://x y::https://h/c.zip", "zip://a.npy/x y::https://h/c.zip"),
        ("simplecache::s3://b/a/", "a", "simplecache::s3://b/x y", "simplecache::s3://b/a/x y"),
        ("memory://a.npy", "a.npy", "memory://x y", "memory://a.npy/x y"),
        ("https://h/a%20b", "a b", "https://h/x%20y", "https://h/a%20b/x%20y"),
    ],
)
def test_names_beside_and_below_a_url(location: str, name: str, neighbour: str, child: str) -> None:
    assert (name_of(location), beside(location, "x y"), below(location, "x y")) == (name, neighbour, child)


def test_names_beside_and_below_a_path() -> None:
    assert (name_of("a/b.npy"), beside("a/b.npy", "c"), below("a", "b/c")) == ("b.npy", Path("a/c"), Path("a/b/c"))


def test_a_local_tree_is_listed_in_order(tmp_path: Path) -> None:
    root = planted(tmp_path)
    (root / "link").symlink_to(root / "a")
    (root / "nowhere").symlink_to(root / "missing")
    assert list(list_files(root)) == [(name, TREE[name]) for name in ORDER]
    assert (kind_of(root), kind_of(root / "a.png"), kind_of(root / "c")) == ("folder", "file", None)
    assert size_bytes(root / "a.png") == 5
    with open_binary(str(root / "a.png")) as file:
        assert file.read() == bytes(5)


def test_a_tree_behind_a_url_is_listed_in_the_same_order(tmp_path: Path) -> None:
    root = planted_in_memory("memory://places/tree")
    assert list(list_files(root)) == [(name, TREE[name]) for name in ORDER]
    assert list(list_files("memory://"))
    assert (kind_of(root), kind_of(below(root, "a.png")), kind_of(below(root, "c"))) == ("folder", "file", None)
    assert list(list_files(planted(tmp_path).as_uri())) == [(name, TREE[name]) for name in ORDER]


def test_a_web_folder_is_listed_by_the_links_of_its_page(tmp_path: Path) -> None:
    with served(planted(tmp_path)) as url:
        assert [name for name, _ in list_files(url)] == ORDER
        assert (kind_of(url), kind_of(url + "a.png"), kind_of(url + "c.png")) == ("folder", "file", None)
        for name, size in TREE.items():
            with open_binary(below(url, name)) as file:
                assert file.read() == bytes(size)
            assert size_bytes(below(url, name)) == size


def test_a_web_file_is_read_by_ranges_and_cached_in_part(tmp_path: Path) -> None:
    data = bytes(range(256)) * (1 << 17)  # 32 MiB
    (tmp_path / "a.bin").write_bytes(data)
    with served(tmp_path) as url, open_binary(url + "a.bin") as file:
        assert file.seek(-10, io.SEEK_END) == len(data) - 10
        assert file.read(20) == data[-10:]
        file.seek(5)
        assert (file.read(7), file.tell()) == (data[5:12], 12)
        buffer = bytearray(9)
        assert file.readinto(buffer) == 9  # type: ignore[attr-defined]
        assert buffer == data[12:21]
    ranges = [line.partition("bytes=")[2] for line in RangeHandler.requested if "bytes=" in line]
    assert sum(int(stop) - int(start or 0) for start, stop in (one.split("-") for one in ranges)) <= 8 << 20


def test_a_server_without_ranges_is_refused_in_one_line(tmp_path: Path) -> None:
    (tmp_path / "a.bin").write_bytes(bytes(9_000_000))
    with served(tmp_path, StreamHandler) as url:
        with pytest.raises(SourceError, match="no ranges"):
            open_binary(url + "a.bin")
        with pytest.raises(SourceError, match="how long"):
            size_bytes(url + "a.bin")
        with open_binary("simplecache::" + url + "a.bin") as file:
            assert len(file.read()) == 9_000_000


@pytest.mark.parametrize("what", ["open", "list", "kind", "size"])
@pytest.mark.parametrize(
    ("url", "words"),
    [
        ("http://me:secret@127.0.0.1:9/a.npy?token=secret", "127.0.0.1:9"),
        ("nosuch://me:secret@bucket/a", "nosuch"),
    ],
)
def test_errors_are_one_line_without_credentials(what: str, url: str, words: str) -> None:
    ask = {
        "open": open_binary,
        "list": lambda location: list(list_files(location)),
        "kind": kind_of,
        "size": size_bytes,
    }
    with pytest.raises(SourceError, match=words) as raised:
        ask[what](url)
    assert "secret" not in str(raised.value)
    assert "\n" not in str(raised.value)
    assert raised.value.__suppress_context__


@pytest.mark.parametrize("location", ["memory://places/none", "none/at/all", "a\0b", "x" * 5000])
def test_a_missing_file_is_a_source_error(location: str) -> None:
    for ask in (open_binary, size_bytes, lambda root: list(list_files(root))):
        with pytest.raises(SourceError) as raised:
            ask(location)
        assert "\n" not in str(raised.value)


@pytest.mark.parametrize(
    ("missing", "url", "words"),
    [
        ("fsspec", "https://host/a", r"smalti\[remote\]"),
        ("s3fs", "s3://bucket/a", r"smalti\[s3\]"),
        ("aiohttp", "https://host/a", r"smalti\[remote\]"),
        ("gcsfs", "gs://bucket/a", "gcsfs"),
    ],
)
def test_a_missing_package_is_named(missing: str, url: str, words: str) -> None:
    program = f"""
import sys
sys.modules[{missing!r}] = None
from smalti.errors import MissingDependencyError
from smalti.storage.location import open_binary
try:
    open_binary({url!r})
except MissingDependencyError as error:
    print(error)
"""
    found = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    with pytest.raises(MissingDependencyError, match=words):
        raise MissingDependencyError(found.stdout.strip())


def test_local_files_need_no_fsspec(tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(b"x")
    program = f"""
import sys
from smalti.storage.location import *
assert kind_of({str(tmp_path / "a")!r}) == "file" and list(list_files({str(tmp_path)!r})) == [("a", 1)]
assert "fsspec" not in sys.modules
"""
    subprocess.run([sys.executable, "-c", program], check=True)
