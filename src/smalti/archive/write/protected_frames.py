"""The sections of an archive being written, and the recovery sections that protect them."""

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

from smalti.archive.format.frames import FrameWriter
from smalti.archive.format.header import Header
from smalti.archive.format.layout import Entry, Section
from smalti.archive.recovery.parity import RecoveryBuilder, RecoverySpec

__all__ = ["ProtectedFrames", "protected_frames"]


@contextmanager
def protected_frames(
    file: BinaryIO, out_path: Path, recovery: RecoverySpec | None, required_features: int = 0
) -> Iterator["ProtectedFrames"]:
    """Begin an archive.

    out_path : the output; a temporary file for recovery sections lies beside it
    recovery : None for no recovery sections
    """
    if recovery is None:
        yield ProtectedFrames(FrameWriter(file, required_features), None)
        return
    with RecoveryBuilder(recovery, out_path) as builder:
        yield ProtectedFrames(FrameWriter(file, required_features), builder)


class ProtectedFrames:
    """Writes sections in order.

    image_bytes : bytes of all sections so far but columns and recovery sections
    """

    def __init__(self, frames: FrameWriter, recovery: RecoveryBuilder | None) -> None:
        self._frames, self._recovery = frames, recovery
        self.image_bytes = 0

    def add(self, section: int, payload: bytes) -> Entry:
        """Write a section after the last one."""
        entry = self._frames.add(section, payload)
        if section != Section.COLUMN:
            self.image_bytes += entry.frame_bytes
        if self._recovery is not None:
            self._recovery.add(entry, payload)
        return entry

    def begin(self, header: Header, sizes: bytes, model: bytes, prior: bytes) -> None:
        """Write what comes before the corrections and the token blocks. sizes : empty if images have one shape"""
        self.add(Section.HEADER, header.to_bytes())
        if header.any_size:
            self.add(Section.SIZES, sizes)
        self.add(Section.MODEL, model)
        self.add(Section.PRIOR, prior)

    def end(self, header: Header, sizes: bytes, prior: bytes, columns: Iterable[bytes], digest: bytes) -> None:
        """Write what follows the token blocks, and finish."""
        for payload in columns:
            self.add(Section.COLUMN, payload)
        self.add(Section.DIGEST, digest)
        self.add(Section.HEADER, header.to_bytes())
        if header.any_size:
            self.add(Section.SIZES, sizes)
        for _ in range(1, header.priors):
            self.add(Section.PRIOR, prior)
        self.finish()

    def finish(self) -> None:
        """Write the recovery sections, the index and the trailer."""
        for payload in () if self._recovery is None else self._recovery.payloads():
            self._frames.add(Section.RECOVERY, payload)
        self._frames.finish()
