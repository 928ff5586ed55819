"""A byte range of a local file as a file of its own."""

import pickle

import pytest

from smalti.archive.read.reader import open_positioned
from smalti.errors import DamagedArchiveError, SmaltiError, UsageError
from smalti.storage.positioned import PositionedFile, PositionedWindow


def test_an_archive_within_a_file(small, tmp_path):
    (tmp_path / "chest").write_bytes(b"x" * 77 + small.path.read_bytes() + b"y" * 5)
    size = small.path.stat().st_size
    window = PositionedWindow(PositionedFile(tmp_path / "chest"), 77, size)
    with open_positioned(window) as archive:
        assert (archive[:] == small.pixels).all() and archive.verify("pixels").ok
        with pickle.loads(pickle.dumps(archive)) as again:
            assert (again[49] == small.pixels[49]).all()
        with pytest.raises(DamagedArchiveError, match="ends at byte"):
            window.read(size - 1, 2)
    with pytest.raises(SmaltiError, match="closed"):
        window.read(0, 1)
    with pytest.raises(DamagedArchiveError, match="bytes only"):
        PositionedWindow(PositionedFile(tmp_path / "chest"), 77, size + 6)
    with pytest.raises(UsageError):
        PositionedWindow(PositionedFile(tmp_path / "chest"), -1, 5)
