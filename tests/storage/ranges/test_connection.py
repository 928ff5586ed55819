"""Filesystems other than the web: S3 (a real server), memory, chains, local files; and packages that are missing."""

import pickle
import sys
import zipfile

import fsspec
import numpy as np
import pytest
from fsspec.registry import _registry

from smalti.archive.read.reader import open_archive
from smalti.errors import MissingDependencyError, NotAnArchiveError, SmaltiError, SourceError, UsageError
from smalti.storage.ranges.remote_file import TAIL_BYTES


def test_memory(small, large):
    with fsspec.open("memory://archives/large.smalti", "wb") as file:
        file.write(large.data)
    with open_archive("memory://archives/large.smalti") as archive:
        assert (archive[[5, 900, 7]] == large.pixels([5, 900, 7])).all() and archive.verify().ok
        assert archive.path == "memory://archives/large.smalti"
        fsspec.filesystem("memory").pipe("/archives/large.smalti", large.data[:1000] + bytes(len(large.data) - 1000))
        with pytest.raises(SourceError, match="it was changed while it was being read"):
            archive[2000]
    with pytest.raises(SourceError, match="no such file"):
        open_archive("memory://archives/absent")
    with pytest.raises(NotAnArchiveError, match="a folder"):
        open_archive("memory://archives")
    archive.close()
    with pytest.raises(SmaltiError, match="closed"):
        archive[0]


def test_a_chain_and_a_file_url(small, tmp_path, web):
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as chest:
        chest.write(small.path, "inner/small.smalti")
    with open_archive(f"zip://inner/small.smalti::{tmp_path}/a.zip") as archive:
        assert (archive[:] == small.pixels).all()
    with open_archive(
        f"simplecache::{web.url}small.smalti", storage_options={"simplecache": {"cache_storage": str(tmp_path)}}
    ) as archive:
        assert (archive[:] == small.pixels).all()
    with open_archive(small.path.as_uri()) as archive:
        assert archive.path == small.path and (archive[3] == small.pixels[3]).all()
    with pytest.raises(UsageError, match="storage options"):
        open_archive(small.path, storage_options={"anon": True})
    with pytest.raises(SourceError, match="nosuch://"):
        open_archive("nosuch://bucket/a.smalti")


def test_a_missing_package_is_named(monkeypatch):
    monkeypatch.delitem(_registry, "s3", raising=False)  # other tests may have registered it
    monkeypatch.setitem(sys.modules, "s3fs", None)
    with pytest.raises(MissingDependencyError, match=r's3fs.*pip install "smalti\[s3\]"'):
        open_archive("s3://bucket/a.smalti")
    monkeypatch.setitem(sys.modules, "fsspec.core", None)
    with pytest.raises(MissingDependencyError, match=r'fsspec.*pip install "smalti\[remote\]"'):
        open_archive("https://127.0.0.1/a.smalti")


def test_s3_opens_with_one_head_and_one_get(large, s3):
    s3.asked.clear()
    with open_archive(s3.url, storage_options=s3.options) as archive:
        path = "/tiles/set/large.smalti"
        assert sorted(s3.asked) == [("GET", path, f"bytes=-{TAIL_BYTES}"), ("HEAD", path, None)]
        s3.asked.clear()
        numbers = np.random.default_rng(3).integers(0, 4000, 100)
        assert (archive[numbers] == large.pixels(numbers)).all()
        assert 1 <= len(s3.asked) <= 3 and all(asked[2] for asked in s3.asked)
        assert archive.verify("quick").ok
        with pickle.loads(pickle.dumps(archive)) as again:
            assert (again[2000] == large.pixels([2000])[0]).all()


def test_s3_options_may_come_from_the_environment(large, s3, monkeypatch):
    fsspec.get_filesystem_class("s3").clear_instance_cache()  # other tests may have made one without options
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "testing")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "hush-hush")
    monkeypatch.setenv("AWS_ENDPOINT_URL", s3.options["endpoint_url"])
    with open_archive(s3.url) as archive:
        assert (archive[[1, 3999]] == large.pixels([1, 3999])).all()


def test_s3_errors_are_one_line(s3):
    for url, words in [
        ("s3://tiles/absent", "no such file"),
        ("s3://nobucket/a", "NoSuchBucket"),
        ("s3://tiles/set", "a folder"),
    ]:
        with pytest.raises(SmaltiError, match=words) as caught:
            open_archive(url, storage_options=s3.options)
        assert str(caught.value).startswith(url) and "hush" not in str(caught.value)
    with pytest.raises(NotAnArchiveError, match="not a smalti archive"):
        open_archive("s3://tiles/empty", storage_options=s3.options)
