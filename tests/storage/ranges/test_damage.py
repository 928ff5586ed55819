"""Remote archives that are damaged, cut short, or replaced while they are read."""

import pytest

from smalti.archive.format.layout import PRELUDE_BYTES, crc32c
from smalti.archive.format.limits import Limits
from smalti.archive.read import section_table
from smalti.archive.read.reader import open_archive
from smalti.errors import (
    DamagedArchiveError,
    LimitExceededError,
    NotAnArchiveError,
    SourceError,
    UnsupportedArchiveError,
)


def test_a_file_that_is_replaced_never_gives_mixed_bytes(large, web):
    with open_archive(web.url + "large.smalti") as archive:
        assert (archive[0] == large.pixels([0])[0]).all()
        web.files["large.smalti"] = large.data[:-1]
        with pytest.raises(SourceError, match=r"it had \d+ bytes and has \d+ now: it was changed; open it again"):
            archive[2000]
        web.files["large.smalti"], web.etag = large.data[:500] + large.data[501:] + b"0", '"2"'
        with pytest.raises(SourceError, match="it was changed while it was being read; open it again"):
            archive[2000]


def test_a_damaged_block_costs_itself(large, web):
    data = bytearray(large.data)
    data[large.frames(4)[40][1] - 1] ^= 1
    web.files["large.smalti"] = bytes(data)
    with open_archive(web.url + "large.smalti") as archive:
        with pytest.raises(DamagedArchiveError, match=r"large\.smalti: token block 40 \(images 2000 to 2049\)"):
            archive[[1, 2001]]
        assert (archive[[1, 2050]] == large.pixels([1, 2050])).all()
        report = archive.verify()
    assert not report.ok and [block.block for block in report.damaged_blocks] == [40]


@pytest.mark.parametrize("place", [0, 10, PRELUDE_BYTES - 1])
def test_damage_to_the_first_bytes_is_found_by_verify(large, web, place):
    data = bytearray(large.data)
    data[place] ^= 1
    web.files["large.smalti"] = bytes(data)
    with open_archive(web.url + "large.smalti") as archive:
        assert (archive[9] == large.pixels([9])[0]).all()
        for level in ("quick", "tokens"):
            report = archive.verify(level)
            assert not report.ok and "the first bytes are damaged" in report.damaged_sections[0]


def test_another_version_is_named_if_its_end_is_of_another_kind(large, web):
    head = large.data[:8] + (9).to_bytes(2, "little") + large.data[10:20]
    web.files["next"] = (
        head + crc32c(head).to_bytes(4, "little") + large.data[PRELUDE_BYTES:-28] + b"another kind of end"
    )
    with pytest.raises(UnsupportedArchiveError, match="version 9"):
        open_archive(web.url + "next")


def test_a_truncated_object_is_scanned_if_it_is_small(large, web, monkeypatch):
    web.files["cut"] = large.data[:-100_000]
    with open_archive(web.url + "cut") as archive:
        assert "its end is missing" in archive.damage[0] and (archive[9] == large.pixels([9])[0]).all()
    monkeypatch.setattr(section_table, "_REMOTE_SCAN_BYTES", 1 << 20)
    with pytest.raises(DamagedArchiveError, match=r"cut: its end is missing.* download the file and open the copy$"):
        open_archive(web.url + "cut")
    web.files["foreign"] = bytes(3 << 20)
    with pytest.raises(NotAnArchiveError):
        open_archive(web.url + "foreign")


def test_limits_hold(web):
    for limit in ("header_bytes", "index_bytes", "model_bytes"):
        with pytest.raises(LimitExceededError, match=rf"large\.smalti.*Limits\({limit}="):
            open_archive(web.url + "large.smalti", Limits(**{limit: 20}))
