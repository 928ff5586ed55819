"""Damaged and hostile copies of archives, and checks of what a reader still gets from them."""

import struct
from functools import partial

import numpy as np
import pytest

from smalti.archive.format.layout import FRAME_BYTES, PRELUDE_BYTES, TRAILER_BYTES, crc32c
from smalti.archive.format.limits import Limits
from smalti.archive.read.reader import open_archive
from smalti.archive.read.section_table import find_sections, scan
from smalti.errors import DamagedArchiveError, SmaltiError
from smalti.storage.positioned import file_at

# What a reader warns of fails a test. What an earlier test left open does not: it may be collected at any time.
WARNINGS_ARE_ERRORS = pytest.mark.filterwarnings("error", "ignore::ResourceWarning")


def sections(path):
    """Return index entries and payloads of an archive or a collection, in file order."""
    data = path.read_bytes()
    entries = find_sections(file_at(path), Limits()).entries
    return [(entry, data[entry.offset + FRAME_BYTES : entry.end]) for entry in entries]


def scanned(data, archive_bytes=None, **options):
    """The result of a scan of bytes. archive_bytes : the size that the file is said to have"""

    def read(offset, length):
        return data[offset : offset + length]

    return scan(read, len(data) if archive_bytes is None else archive_bytes, **options)


def flip(data, position, change=0xFF):
    return data[:position] + bytes([data[position] ^ change]) + data[position + 1 :]


def outcome(made, path, content, read_images=True):
    """Return whether damage is noticed, and how many images are lost.

    read_images : whether to check that all other images are as written; else the counts are those of `verify`
    """
    path.write_bytes(content)
    try:
        archive = open_archive(path)
    except SmaltiError as error:
        assert_one_line(error, path)
        return True, len(made.pixels)
    with archive:
        lost = lost_images(made, archive) if read_images else None
        report = archive.verify()
    if read_images:
        assert report.damaged_images == lost and (report.ok or report.damaged_sections or report.damaged_blocks)
    return not report.ok, report.damaged_images


told_outcome = partial(outcome, read_images=False)
"""The outcome by `verify` alone: for many damaged copies."""


def lost_images(made, archive):
    """Return how many images are skipped: all, with an error that says so, if the model is lost."""
    images = len(made.pixels)
    try:
        batches = list(archive.batches(64, on_error="skip"))
    except DamagedArchiveError as error:
        assert_one_line(error, archive.path)
        assert "no image can be decoded without it" in str(error)
        assert sum(block.images for block in archive.missing()) == images
        return images
    numbers = [number for batch in batches for number in batch.numbers.tolist()]
    for batch in batches:
        assert (batch.pixels[..., 0] == made.pixels[batch.numbers]).all()
        assert batch.labels is None or (batch.labels == made.labels[batch.numbers]).all()
        assert batch.names is None or batch.names == tuple(made.names[number] for number in batch.numbers)
        assert (batch.labels is None) == (made.labels is None or "labels" in archive.lost_columns)
        assert (batch.names is None) == ("names" in archive.lost_columns)
    missing = [
        (block.first_image + index, name)
        for block in archive.missing()
        for index, name in enumerate(block.names or [None] * block.images)
    ]
    assert sorted([*numbers, *(number for number, _ in missing)]) == list(range(images))
    assert all(name in (None, made.names[number]) for number, name in missing)
    assert all(name is not None for _, name in missing) or "names" in archive.lost_columns
    return len(missing)


def assert_one_line(error, path):
    assert "\n" not in str(error) and str(error).startswith(str(path))


def with_prelude(data, version=1, required=0, optional=0):
    head = struct.pack("<8sHHII", data[:8], version, 0, required, optional)
    return head + crc32c(head).to_bytes(4, "little") + data[PRELUDE_BYTES:]


def rebuild(path, payload_of, extra=()):
    """Return an archive with changed payloads and correct checksums, as a hostile writer could make it."""
    content, index = path.read_bytes()[:PRELUDE_BYTES], b""
    read = [(entry.section, entry.ordinal, payload) for entry, payload in sections(path)]
    for section, ordinal, payload in [*read, *extra]:
        changed = payload_of(section, ordinal, payload)
        if changed is not None:
            key = (section, bytes(3), ordinal)
            index += struct.pack("<B3sIQQI", *key, len(content), len(changed), crc32c(changed))
            content += frame(key, changed)
    index = (len(index) // 28).to_bytes(4, "little") + index
    trailer = struct.pack("<QQ", len(content), len(content) + FRAME_BYTES + len(index) + TRAILER_BYTES)
    end = crc32c(trailer).to_bytes(4, "little") + path.read_bytes()[-8:]
    return content + frame((6, bytes(3), 0), index) + trailer + end


def frame(key, payload):
    head = struct.pack("<4sB3sIQI", b"\xf5SEC", *key, len(payload), crc32c(payload))
    return head + crc32c(head).to_bytes(4, "little") + payload


def unchanged(_section, _ordinal, payload):
    return payload


def replace(old, new, section=1):
    """Return a `payload_of` that replaces text in all sections of a type."""

    def payload_of(kind, _ordinal, payload):
        if kind != section:
            return payload
        assert old in payload
        return payload.replace(old, new)

    return payload_of


def read_all(archive):
    """Read all that an archive offers."""
    pixels = archive[:]
    assert pixels.dtype == np.uint8 and len(pixels) == len(archive)
    names = archive.names
    assert names is None or len(names) == len(archive)
    archive.tokens(), archive.labels, archive.class_names, archive.info()
