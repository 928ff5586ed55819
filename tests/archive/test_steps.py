"""The work of reading, counted in steps, grows with the size of a file, not with its square."""

import numpy as np
import pytest

from helpers.made_up_archives import random_network, random_tokens, write
from smalti.archive.edit.edit import merge_archives
from smalti.archive.format.column import Column, unpack_column
from smalti.archive.format.frames import FrameWriter
from smalti.archive.format.layout import Entry, Section
from smalti.archive.open import open_images
from smalti.archive.read import section_table, store
from smalti.archive.read.reader import open_archive
from smalti.archive.read.section_table import Scan
from smalti.errors import SmaltiError

ANCILLARY = 200


def test_a_scan_is_linear_in_the_number_of_members(tmp_path, monkeypatch):
    """Before: members times entries, 136,050 looks for 300 members and 300 others."""
    path, count = tmp_path / "odd.smalti", 300
    with path.open("wb") as file:
        frames = FrameWriter(file, 1)
        for section in (Section.MEMBER, ANCILLARY):
            for _ in range(count):
                frames.add(section, b"")
    looks, end = [], Entry.end.fget

    def counted(entry):
        looks.append(entry)
        return end(entry)

    monkeypatch.setattr(Entry, "end", property(counted))
    with pytest.raises(SmaltiError):
        open_images(path)
    assert len(looks) <= 8 * 2 * count


def test_sections_inside_members_are_told_from_those_outside(monkeypatch):
    rng = np.random.default_rng(0)

    def slow(found):
        members = [entry for entry in (*found.sound, *found.damaged) if entry.section == Section.MEMBER]

        def outside(entry):
            return not any(member.offset < entry.offset < member.end for member in members)

        return Scan(tuple(filter(outside, found.sound)), tuple(filter(outside, found.damaged)))

    for _ in range(200):
        offsets = np.sort(rng.choice(2000, 12, replace=False)).tolist()
        kinds = rng.choice([Section.MEMBER, Section.TOKENS], 12).tolist()
        entries = [
            Entry(kind, number, offset, int(rng.integers(0, 400)), 0)
            for number, (kind, offset) in enumerate(zip(kinds, offsets, strict=True))
        ]
        sound = rng.random(12) < 0.7
        found = Scan(
            tuple(entry for entry, is_sound in zip(entries, sound, strict=True) if is_sound),
            tuple(entry for entry, is_sound in zip(entries, sound, strict=True) if not is_sound),
        )
        assert section_table._outermost(found) == slow(found)


def test_names_are_checked_once_and_not_for_each_batch(tmp_path, monkeypatch):
    """Before: once for each batch, 30 times here."""
    passes = []

    class Counted(tuple):
        __slots__ = ()

        def __iter__(self):
            passes.append(self)
            return super().__iter__()

    def counted(*arguments, **options):
        column = unpack_column(*arguments, **options)
        return Column(column.name, Counted(column.values)) if column.name == "names" else column

    monkeypatch.setattr(store, "unpack_column", counted)
    names = [f"{number:03}.png" for number in range(60)]
    path = write(tmp_path / "named.smalti", random_tokens(60), random_network(), names=names)
    with open_archive(path) as archive:
        assert [name for batch in archive.batches(2) for name in batch.names] == names
    assert len(passes) == 1


def test_merging_reads_the_index_of_a_collection_once(tmp_path, monkeypatch):
    """Before: twice for each member, 2 M + 1 times in all."""
    network, count = random_network(), 9
    parts = [write(tmp_path / f"{n}.smalti", random_tokens(3, seed=n), network) for n in range(count)]
    merge_archives(parts, tmp_path / "all.smalti")
    read, read_index = [], section_table._read_index

    def counted(file, limits):
        entries = read_index(file, limits)
        read.append(any(entry.section == Section.DIRECTORY for entry in entries))
        return entries

    monkeypatch.setattr(section_table, "_read_index", counted)
    merge_archives([tmp_path / "all.smalti", parts[0]], tmp_path / "more.smalti")
    assert sum(read) <= 3  # to count the members, to find what they share, to copy them
    assert len(read) <= 4 * count
    with open_images(tmp_path / "more.smalti") as whole:
        assert len(whole.members) == count + 1 and whole.verify("pixels").ok
