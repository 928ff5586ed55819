"""Damaged and hostile copies of archives, and what is left of them."""

import struct

import numpy as np

from smalti.archive.format.layout import FRAME_BYTES, PRELUDE_BYTES, TRAILER_BYTES, crc32c
from smalti.archive.format.limits import Limits
from smalti.archive.read.reader import open_archive
from smalti.archive.read.section_table import find_sections, scan
from smalti.errors import DamagedArchiveError, SmaltiError
from smalti.storage.positioned import file_at


def sections(path):
    """Index entries and payloads of an archive or a collection, in file order."""
    data = path.read_bytes()
    entries = find_sections(file_at(path), Limits()).entries
    return [(entry, data[entry.offset + FRAME_BYTES : entry.end]) for entry in entries]


def scanned(data, archive_bytes=None, **options):
    """The result of a scan of bytes. archive_bytes : the size that the file is said to have"""

    def read(offset, length):
        return data[offset : offset + length]

    return scan(read, len(data) if archive_bytes is None else archive_bytes, **options)


def flip(data, place, change=0xFF):
    return data[:place] + bytes([data[place] ^ change]) + data[place + 1 :]


def outcome(made, path, content):
    """Whether damage was noticed, and how many images were lost; what is served must be what was written."""
    path.write_bytes(content)
    try:
        archive = open_archive(path)
    except SmaltiError as error:
        assert_told(error, path)
        return True, len(made.pixels)
    with archive:
        lost, report = lost_images(made, archive), archive.verify()
        assert report.damaged_images == lost and (report.ok or report.damaged_sections or report.damaged_blocks)
        return not report.ok, lost


def told_outcome(made, path, content):
    """The same as the check of the file tells it, without reading the images: for many damaged copies."""
    path.write_bytes(content)
    try:
        archive = open_archive(path)
    except SmaltiError as error:
        assert_told(error, path)
        return True, len(made.pixels)
    with archive:
        report = archive.verify()
    return not report.ok, report.damaged_images


def lost_images(made, archive):
    """How many images skipping leaves out; all of them if the model is lost, which must be said."""
    images = len(made.pixels)
    try:
        batches = list(archive.batches(64, on_error="skip"))
    except DamagedArchiveError as error:
        assert_told(error, archive.path)
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
        (block.first_image + place, name)
        for block in archive.missing()
        for place, name in enumerate(block.names or [None] * block.images)
    ]
    assert sorted([*numbers, *(number for number, _ in missing)]) == list(range(images))
    assert all(name in (None, made.names[number]) for number, name in missing)
    assert all(name is not None for _, name in missing) or "names" in archive.lost_columns
    return len(missing)


def assert_told(error, path):
    assert "\n" not in str(error) and str(error).startswith(str(path))


def with_prelude(data, version=1, required=0, optional=0):
    head = struct.pack("<8sHHII", data[:8], version, 0, required, optional)
    return head + crc32c(head).to_bytes(4, "little") + data[PRELUDE_BYTES:]


def rebuild(path, payload_of, extra=()):
    """An archive again with some payloads changed, all checksums right: what a hostile writer could make."""
    content, index = path.read_bytes()[:PRELUDE_BYTES], b""
    read = [(entry.section, entry.ordinal, payload) for entry, payload in sections(path)]
    for section, ordinal, payload in [*read, *extra]:
        changed = payload_of(section, ordinal, payload)
        if changed is not None:
            place = (section, bytes(3), ordinal)
            index += struct.pack("<B3sIQQI", *place, len(content), len(changed), crc32c(changed))
            content += frame(place, changed)
    index = (len(index) // 28).to_bytes(4, "little") + index
    trailer = struct.pack("<QQ", len(content), len(content) + FRAME_BYTES + len(index) + TRAILER_BYTES)
    end = crc32c(trailer).to_bytes(4, "little") + path.read_bytes()[-8:]
    return content + frame((6, bytes(3), 0), index) + trailer + end


def frame(place, payload):
    head = struct.pack("<4sB3sIQI", b"\xf5SEC", *place, len(payload), crc32c(payload))
    return head + crc32c(head).to_bytes(4, "little") + payload


def unchanged(_section, _ordinal, payload):
    return payload


def replace(old, new, section=1):
    """Change text in all sections of a type."""

    def payload_of(kind, _ordinal, payload):
        if kind != section:
            return payload
        assert old in payload
        return payload.replace(old, new)

    return payload_of


def read_all(archive):
    """Everything that can be asked for."""
    pixels = archive[:]
    assert pixels.dtype == np.uint8 and len(pixels) == len(archive)
    names = archive.names
    assert names is None or len(names) == len(archive)
    archive.tokens(), archive.labels, archive.class_names, archive.info()
