"""The process that `fuzz.search` starts: what is done with each input, and how inputs are changed.

    python -m fuzz.target FOLDER [libFuzzer options]

An input that was found is tried again by `python -m fuzz.target build/fuzz/findings/crash-...`.
"""

import os
import struct
import sys
from pathlib import Path
from typing import Any

import atheris

with atheris.instrument_imports(include=["smalti"]):
    from smalti.archive.format.layout import FRAME_BYTES, PRELUDE_BYTES, TRAILER_BYTES, Entry, Section, Trailer, crc32c
    from smalti.archive.format.limits import Limits
    from smalti.archive.read.reader import Archive, open_archive
    from smalti.errors import SmaltiError

Frames = list[tuple[int, int, bytes]]
"""Type, ordinal and payload of each."""

_SMALL = 1 << 22
_LIMITS = Limits(
    model_bytes=_SMALL,
    prior_bytes=_SMALL,
    corrections_bytes=_SMALL,
    column_bytes=_SMALL,
    block_bytes=_SMALL,
    corrected_bytes=_SMALL,
    image_bytes=_SMALL,
    network_operations=1 << 24,
    request_bytes=_SMALL,
)
_FOLDER = Path("/dev/shm" if Path("/dev/shm").is_dir() else ".")  # memory, where there is such a folder
_PATH = _FOLDER / f"fuzz-{os.getpid()}.smalti"


def try_input(data: bytes) -> None:
    """Do everything a reader can be asked for; any error but a SmaltiError of one line is a finding."""
    _PATH.write_bytes(data)
    archive = _attempt(lambda: open_archive(_PATH, _LIMITS))
    if archive is not None:
        with archive:
            _read(archive)


def _read(archive: Archive) -> None:
    _attempt(lambda: archive[:])
    _attempt(lambda: archive[len(archive) // 2])
    _attempt(lambda: archive.images(slice(None)))
    _attempt(lambda: archive.region(0, slice(0, 9), slice(0, 9)))
    _attempt(lambda: (archive.names, archive.labels, archive.class_names))
    _attempt(archive.info)
    _attempt(lambda: archive.verify("pixels"))
    _attempt(lambda: list(archive.batches(16, on_error="skip")))


def _attempt(step: Any) -> Any:
    try:
        return step()
    except SmaltiError as error:
        if "\n" in str(error):
            raise AssertionError("an error of more than one line") from error
        return None


def mutate(data: bytes, max_size: int, seed: int) -> bytes:
    """Another input: bytes changed anywhere, a section moved, or one changed under checksums that are right."""
    frames = split(data)
    if seed % 8 == 0 or not frames:
        return bytes(atheris.Mutate(data, max_size))
    place, other = seed // 8 % len(frames), seed // 512 % len(frames)
    if seed % 8 > 1:
        room = max(max_size - len(data), 1) + len(frames[place][2])
        frames = _replaced(frames, place, bytes(atheris.Mutate(frames[place][2], room)))
    elif seed // 4096 % 3:
        frames.insert(other, frames[place])
    else:
        del frames[place]
    return join(data[:PRELUDE_BYTES], frames)[:max_size]


def _replaced(frames: Frames, place: int, payload: bytes) -> Frames:
    """With another payload at a place, and in the copies of it: else the sound copy would be read."""
    section, ordinal, _ = frames[place]
    copied = section in (Section.HEADER, Section.PRIOR, Section.SIZES)
    return [
        (kind, number, payload if kind == section and (copied or number == ordinal) else old)
        for kind, number, old in frames
    ]


def split(data: bytes) -> Frames:
    """The frames, as far as they follow each other."""
    found, place = [], PRELUDE_BYTES
    while data[place : place + 4] == b"\xf5SEC" and place + FRAME_BYTES <= len(data):
        section, ordinal, size = struct.unpack_from("<B3xIQ", data, place + 4)
        start = place + FRAME_BYTES
        if start + size > len(data):
            break
        found.append((section, ordinal, data[start : start + size]))
        place = start + size
    return found


def join(prelude: bytes, frames: Frames) -> bytes:
    """An archive of these frames; index, trailer and checksums are right."""
    content, entries = bytearray(prelude), []
    for section, ordinal, payload in frames:
        if section != Section.INDEX:
            entries.append(Entry(section, ordinal, len(content), len(payload), crc32c(payload)))
            content += entries[-1].pack_frame_head() + payload
    payload = struct.pack("<I", len(entries)) + b"".join(entry.pack() for entry in entries)
    index = Entry(Section.INDEX, 0, len(content), len(payload), crc32c(payload))
    content += index.pack_frame_head() + payload
    return bytes(content) + Trailer(index.offset, len(content) + TRAILER_BYTES).pack()


def main() -> None:
    """Fuzz; libFuzzer ends the process."""
    atheris.Setup(sys.argv, try_input, custom_mutator=mutate)
    try:
        atheris.Fuzz()
    finally:
        _PATH.unlink(missing_ok=True)


if __name__ == "__main__":
    main()
