"""Writing sections one after the other: the prelude, their frames, and at the end the index and the trailer."""

from collections import Counter
from collections.abc import Iterable
from typing import BinaryIO

from smalti.archive.layout import PRELUDE_BYTES, TRAILER_BYTES, Entry, Section, Trailer, crc32c, pack_prelude

__all__ = ["FrameWriter"]


class FrameWriter:
    """Puts sections into a file from its beginning, and remembers them for the index.

    >>> frames = FrameWriter(file)
    >>> frames.add(Section.HEADER, header.to_bytes())
    >>> frames.finish()
    """

    def __init__(self, file: BinaryIO, required_features: int = 0) -> None:
        self._file = file
        self._offset = PRELUDE_BYTES
        self._ordinals: Counter[int] = Counter()
        self.entries: list[Entry] = []
        file.write(pack_prelude(required_features))

    def add(self, section: int, payload: bytes) -> Entry:
        """Write a section after the last one, with the next ordinal of its type."""
        return self.add_pieces(section, [payload], len(payload), crc32c(payload))

    def add_pieces(self, section: int, pieces: Iterable[bytes], payload_bytes: int, payload_crc: int) -> Entry:
        """The same for a payload that comes in pieces, of a length and crc32c known before."""
        entry = Entry(int(section), self._ordinals[section], self._offset, payload_bytes, payload_crc)
        self._ordinals[section] += 1
        self._file.write(entry.pack_frame_head())
        self._file.writelines(pieces)
        self.entries.append(entry)
        self._offset = entry.end
        return entry

    def finish(self) -> None:
        """Write the index and the trailer."""
        count = len(self.entries).to_bytes(4, "little")
        index = self.add(Section.INDEX, count + b"".join(entry.pack() for entry in self.entries))
        self._file.write(Trailer(index.offset, index.end + TRAILER_BYTES).pack())
