"""Repairing damaged archives, with and without recovery sections."""

import sys

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from helpers.damaged_files import scanned
from helpers.made_up_archives import random_network, random_tokens, write
from smalti.archive.format.frames import FrameWriter
from smalti.archive.format.header import Header
from smalti.archive.format.layout import FRAME_BYTES, PRELUDE_BYTES, TRAILER_BYTES, Section, crc32c
from smalti.archive.read.reader import open_archive
from smalti.archive.recovery import reed_solomon
from smalti.archive.recovery.parity import RecoveryBuilder, RecoverySpec
from smalti.archive.recovery.repair import repair_archive
from smalti.errors import (
    DamagedArchiveError,
    LimitExceededError,
    MissingDependencyError,
    NotAnArchiveError,
    OutputError,
    OutputExistsError,
    UnsupportedArchiveError,
)


def entries_of(path):
    return scanned(path.read_bytes()).sound


def with_recovery(path, out, text):
    """Write the same archive with recovery sections."""
    data, spec = path.read_bytes(), RecoverySpec.parse(text)
    with out.open("wb") as file, RecoveryBuilder(spec, out.parent) as recovery:
        frames = FrameWriter(file)
        for entry in entries_of(path)[:-1]:
            payload = data[entry.offset + FRAME_BYTES : entry.end]
            recovery.add(frames.add(entry.section, payload), payload)
        for payload in recovery.payloads():
            frames.add(Section.RECOVERY, payload)
        frames.finish()
    return out


@pytest.fixture(scope="module")
def plain(tmp_path_factory):
    """25 blocks of 4 images with names."""
    path = tmp_path_factory.mktemp("plain") / "a.smalti"
    names = [f"{number}.png" for number in range(100)]
    return write(path, random_tokens(100), random_network(), names=names, block_images=4)


@pytest.fixture(scope="module")
def protected(plain, tmp_path_factory):
    """The same archive with recovery 2/5."""
    return with_recovery(plain, tmp_path_factory.mktemp("protected") / "a.smalti", "2/5")


def offsets(path):
    return {(entry.section, entry.ordinal): entry for entry in entries_of(path)}


def broken(path, out, keys, head=False):
    """Write a copy with one byte of each of these sections changed: in the middle of the payload, or in the head."""
    data, places = bytearray(path.read_bytes()), offsets(path)
    for key in keys:
        entry = places[key]
        data[entry.offset + 9 if head else entry.offset + FRAME_BYTES + entry.payload_bytes // 2] ^= 0x40
    out.write_bytes(data)
    return out


def repaired(path, tmp_path, **options):
    return repair_archive(path, tmp_path / "out.smalti", **options)


def test_a_sound_archive_is_copied(plain, protected, tmp_path):
    for path in (plain, protected):
        report = repaired(path, tmp_path, overwrite=True)
        assert report.ok and report.written and report.repaired == report.lost == ()
        assert (tmp_path / "out.smalti").read_bytes() == path.read_bytes()


def test_every_section_comes_back_alone(protected, tmp_path):
    for entry in entries_of(protected):
        for head in (False, True):
            bad = broken(protected, tmp_path / "bad", [(entry.section, entry.ordinal)], head)
            report = repaired(bad, tmp_path, overwrite=True)
            assert (tmp_path / "out.smalti").read_bytes() == protected.read_bytes(), entry.name
            assert report.ok and report.repaired == (entry.name,)


def test_two_of_each_group(protected, tmp_path):
    keys = [(Section.TOKENS, block) for block in range(25) if block % 5 in (0, 3)]
    keys += [(Section.MODEL, 0), (Section.COLUMN, 0)]
    report = repaired(broken(protected, tmp_path / "bad", keys), tmp_path)
    assert report.ok and len(report.repaired) == len(keys) and "model" in report.repaired
    assert (tmp_path / "out.smalti").read_bytes() == protected.read_bytes()


def test_three_of_a_group_are_refused_and_named(protected, tmp_path):
    bad = broken(protected, tmp_path / "bad", [(Section.TOKENS, block) for block in (5, 6, 9, 11)])
    report = repaired(bad, tmp_path)
    assert not report.ok and not report.written and not (tmp_path / "out.smalti").exists()
    assert report.lost == ("token block 5", "token block 6", "token block 9")
    assert report.lost_images == ((20, 27), (36, 39)) and report.repaired == ("token block 11",)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["bad"]


def test_partial_serves_the_rest(protected, tmp_path):
    keys = [(Section.TOKENS, block) for block in (5, 6, 9, 11)] + [(Section.RECOVERY, 5), (Section.INDEX, 0)]
    bad = broken(protected, tmp_path / "bad", keys)
    report = repaired(bad, tmp_path, partial=True)
    assert not report.ok and report.written and "recovery 5" in report.lost and "index" in report.repaired
    with open_archive(tmp_path / "out.smalti") as archive, open_archive(protected) as whole:
        found = archive.verify()
        assert [block.block for block in found.damaged_blocks] == [5, 6, 9]
        for image in (0, 19, 28, 44, 99):
            assert (archive[image] == whole[image]).all()
        with pytest.raises(DamagedArchiveError, match="images 20 to 23"):
            archive[21]
    again = repair_archive(tmp_path / "out.smalti", tmp_path / "again", partial=True)
    assert again.lost == report.lost and (tmp_path / "again").read_bytes() == (tmp_path / "out.smalti").read_bytes()


def test_parity_that_is_damaged_is_lost(protected, tmp_path):
    """Parity of group 2 (blocks 5 to 9): recovery sections 4 and 5."""
    one = [(Section.RECOVERY, 4), (Section.TOKENS, 7)]
    report = repaired(broken(protected, tmp_path / "bad", one), tmp_path)
    assert report.ok and set(report.repaired) == {"recovery 4", "token block 7"}
    assert (tmp_path / "out.smalti").read_bytes() == protected.read_bytes()
    two = [*one, (Section.TOKENS, 8)]
    assert not repaired(broken(protected, tmp_path / "bad", two), tmp_path, overwrite=True).ok


@pytest.mark.parametrize("index_too", [False, True])
def test_all_recovery_sections_lost(plain, protected, tmp_path, index_too):
    keys = [key for key in offsets(protected) if key[0] == Section.RECOVERY]
    bad = broken(protected, tmp_path / "bad", keys + [(Section.INDEX, 0)] * index_too)
    report = repaired(bad, tmp_path)
    assert report.ok and report.recovery_lost and report.lost == ()
    assert (tmp_path / "out.smalti").read_bytes() == plain.read_bytes()


def test_without_recovery_copies_index_and_digest_come_back(plain, tmp_path):
    kinds = {Section.HEADER, Section.PRIOR, Section.INDEX, Section.DIGEST}
    for entry in entries_of(plain):
        for head in (False, True):
            bad = broken(plain, tmp_path / "bad", [(entry.section, entry.ordinal)], head)
            report = repaired(bad, tmp_path, overwrite=True)
            assert report.ok == (entry.section in kinds or head), entry.name
            assert not report.ok or (tmp_path / "out.smalti").read_bytes() == plain.read_bytes()


def test_both_headers_lost(plain, protected, tmp_path):
    keys = [(Section.HEADER, 0), (Section.HEADER, 1)]
    with pytest.raises(DamagedArchiveError, match="both headers are lost"):
        repaired(broken(plain, tmp_path / "bad", keys), tmp_path)
    assert repaired(broken(protected, tmp_path / "bad", [*keys, (Section.INDEX, 0)]), tmp_path).ok
    assert (tmp_path / "out.smalti").read_bytes() == protected.read_bytes()


def test_ends_that_are_damaged(protected, tmp_path):
    data = protected.read_bytes()
    index = offsets(protected)[Section.INDEX, 0].offset
    cases = {
        ("prelude",): b"\0" * PRELUDE_BYTES + data[PRELUDE_BYTES:],
        ("trailer",): data[:-TRAILER_BYTES] + b"\0" * TRAILER_BYTES,
        ("index", "trailer"): data[:index],
        ("places of sections",): data[:index] + b"\0" * 99 + data[index:],
        ("prelude", "index", "trailer"): b"x" * 10 + data[10:-1000],
    }
    for expected, bad in cases.items():
        (tmp_path / "bad").write_bytes(bad)
        report = repaired(tmp_path / "bad", tmp_path, overwrite=True)
        assert report.ok and (tmp_path / "out.smalti").read_bytes() == data, expected
        assert tuple(name for name in report.repaired if not name.startswith("recovery")) == expected


@settings(max_examples=60, deadline=None)
@given(st.data())
def test_damage_of_every_kind(protected, tmp_path_factory, data):
    """A few bytes flipped, zeroed, cut out or inserted anywhere cost at most two sections: all are restored."""
    tmp_path = tmp_path_factory.mktemp("kinds")
    good = protected.read_bytes()
    place = data.draw(st.integers(0, len(good) - 1), "place")
    length = data.draw(st.integers(1, 40), "length")
    kind = data.draw(st.sampled_from(["flip", "zero", "cut", "insert", "end"]), "kind")
    part = good[place : place + length]
    new = {
        "flip": bytes(byte ^ 0xA5 for byte in part),
        "zero": bytes(len(part)),
        "cut": b"",
        "insert": b"\xf5SEC" * 3 + part,
        "end": None,
    }[kind]
    bad = good[: len(good) - length] if new is None else good[:place] + new + good[place + length :]
    (tmp_path / "bad").write_bytes(bad)
    report = repaired(tmp_path / "bad", tmp_path)
    assert report.ok and (tmp_path / "out.smalti").read_bytes() == good
    assert bool(report.repaired) == (bad != good)


def test_the_same_path(protected, tmp_path):
    bad = broken(protected, tmp_path / "bad", [(Section.TOKENS, 3)])
    with pytest.raises(OutputExistsError):
        repair_archive(bad, bad)
    assert repair_archive(bad, bad, overwrite=True).ok and bad.read_bytes() == protected.read_bytes()
    assert [path.name for path in tmp_path.iterdir()] == ["bad"]


def test_without_the_library(plain, protected, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "reedsolo", None)
    reed_solomon.erasure_code.cache_clear()
    reed_solomon._times.cache_clear()
    assert repaired(broken(plain, tmp_path / "bad", [(Section.INDEX, 0)]), tmp_path).ok
    with pytest.raises(MissingDependencyError, match=r'pip install "smalti\[recovery\]"'):
        repaired(broken(protected, tmp_path / "bad", [(Section.TOKENS, 3)]), tmp_path, overwrite=True)


def test_what_is_refused(plain, tmp_path):
    (tmp_path / "text").write_bytes(b"no archive" * 100)
    with pytest.raises(NotAnArchiveError, match=f"^{tmp_path}/text: "):
        repaired(tmp_path / "text", tmp_path)
    with pytest.raises(OutputError):
        repair_archive(plain, tmp_path / "none" / "out")
    other = write(tmp_path / "other", random_tokens(9, seed=5), random_network(seed=4))
    (tmp_path / "two").write_bytes(plain.read_bytes()[:-9] + other.read_bytes())
    with pytest.raises(DamagedArchiveError, match="two archives"):
        repaired(tmp_path / "two", tmp_path)
    future = bytearray(plain.read_bytes())
    future[8] = 9
    (tmp_path / "future").write_bytes(future)
    assert repaired(tmp_path / "future", tmp_path).repaired == ("prelude",)


def test_a_header_that_promises_too_many_blocks(tmp_path):
    path = write(tmp_path / "a", random_tokens(3), random_network(), block_images=1)
    data = path.read_bytes()
    entries = scanned(data).sound
    header = Header.from_bytes(data[entries[0].offset + FRAME_BYTES : entries[0].end])
    many = Header(**{field: getattr(header, field) for field in header.__dataclass_fields__} | {"images": 1 << 47})
    with (tmp_path / "hostile").open("wb") as file:
        FrameWriter(file).add(Section.HEADER, many.to_bytes())
    with pytest.raises(LimitExceededError, match="index_bytes"):
        repaired(tmp_path / "hostile", tmp_path)


def test_another_recovery_code(protected, tmp_path):
    data = bytearray(protected.read_bytes())
    spec_entry = offsets(protected)[Section.RECOVERY, 0]
    payload = b"\x02" + bytes(data[spec_entry.offset + FRAME_BYTES + 1 : spec_entry.end])
    with (tmp_path / "bad").open("wb") as file:
        frames = FrameWriter(file)
        for entry in entries_of(protected)[:-1]:
            frames.add(entry.section, payload if entry == spec_entry else data[entry.offset + 28 : entry.end])
        frames.finish()
    with pytest.raises(UnsupportedArchiveError, match="recovery code 2"):
        repaired(tmp_path / "bad", tmp_path)


@pytest.mark.parametrize("index_too", [False, True])
def test_sections_of_other_types(plain, tmp_path, index_too):
    """Ancillary sections stay; others are refused."""
    data = plain.read_bytes()
    for kind in (200, 100):
        with (tmp_path / "a").open("wb") as file:
            frames = FrameWriter(file)
            for entry in entries_of(plain)[:-1]:
                frames.add(entry.section, data[entry.offset + FRAME_BYTES : entry.end])
            frames.add(kind, b"something new")
            frames.finish()
        bad = broken(tmp_path / "a", tmp_path / "bad", [(Section.HEADER, 1)] + [(Section.INDEX, 0)] * index_too)
        if kind == 100:
            with pytest.raises(UnsupportedArchiveError, match="type 100"):
                repaired(bad, tmp_path, overwrite=True)
        else:
            assert repaired(bad, tmp_path).ok
            assert (tmp_path / "out.smalti").read_bytes() == (tmp_path / "a").read_bytes()


def test_another_version(plain, tmp_path):
    head = bytearray(plain.read_bytes()[: PRELUDE_BYTES - 4])
    head[8] = 9
    prelude = bytes(head) + crc32c(bytes(head)).to_bytes(4, "little")
    (tmp_path / "future").write_bytes(prelude + plain.read_bytes()[PRELUDE_BYTES:])
    with pytest.raises(UnsupportedArchiveError, match="version 9"):
        repaired(tmp_path / "future", tmp_path)


def test_the_writer_makes_the_same_recovery_sections(plain, protected, tmp_path):
    names = [f"{number}.png" for number in range(100)]
    options = {"names": names, "block_images": 4, "recovery": RecoverySpec(2, 5)}
    path = write(tmp_path / "a", random_tokens(100), random_network(), **options)
    assert path.read_bytes() == protected.read_bytes() != plain.read_bytes()
