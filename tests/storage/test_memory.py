"""Archives opened from bytes and from file objects."""

import io
import pickle

import numpy as np
import pytest

import smalti
from helpers.damaged_files import flip
from smalti.errors import DamagedArchiveError, NotAnArchiveError, SmaltiError, UsageError


def test_bytes_and_file_objects_are_archives(small):
    data = small.path.read_bytes()
    with small.path.open("rb") as file:
        for given in (data, bytearray(data), memoryview(data), io.BytesIO(data), file):
            with smalti.open(given) as archive:
                assert np.array_equal(archive[:], small.pixels) and archive.names == small.names
                assert archive.verify("pixels").ok
        assert not file.closed


def test_a_collection_and_a_pickled_one(small, tmp_path):
    smalti.merge([small.path, small.path], tmp_path / "two.smalti")
    with smalti.open((tmp_path / "two.smalti").read_bytes()) as whole, pickle.loads(pickle.dumps(whole)) as again:
        assert len(whole) == 100 and np.array_equal(again[60], small.pixels[10])
    with pytest.raises(SmaltiError, match="<bytes>: the archive is closed"):
        whole[3]


def test_anything_else_is_refused_in_one_line(small, tmp_path):
    with pytest.raises(NotAnArchiveError, match="<bytes>: this is not a smalti archive"):
        smalti.open(b"PNG")
    with pytest.raises(DamagedArchiveError, match="<BytesIO>: "):
        smalti.open(io.BytesIO(small.path.read_bytes()[:300]))
    with smalti.open(flip(small.path.read_bytes(), 9)) as archive:
        assert archive.damage
    with pytest.raises(UsageError, match="binary mode"):
        smalti.open(io.StringIO("text"))
    closed = io.BytesIO(b"")
    closed.close()
    with pytest.raises(SmaltiError, match="closed"):
        smalti.open(closed)
    for odd in (3, None, [small.path]):
        with pytest.raises(UsageError, match="is no path"):
            smalti.open(odd)
    with pytest.raises(UsageError, match="storage options"):
        smalti.open(small.path.read_bytes(), storage_options={"key": "x"})
