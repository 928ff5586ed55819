"""An archive copied section by section, with some of them changed: no image is decoded for it."""

from collections.abc import Mapping, Sequence
from contextlib import nullcontext
from pathlib import Path
from typing import BinaryIO

from smalti.archive.frames import FrameWriter
from smalti.archive.header import Header
from smalti.archive.layout import Section
from smalti.archive.recovery import Key, ParitySection, RecoveryBuilder, RecoverySpec
from smalti.archive.sections import SectionFile
from smalti.errors import DamagedArchiveError

__all__ = ["recovery_spec", "rewrite_archive"]


def rewrite_archive(
    file: SectionFile,
    out: BinaryIO,
    folder: Path,
    *,
    header: Header | None = None,
    replaced: Mapping[Key, bytes] | None = None,
    columns: Sequence[bytes] | None = None,
) -> None:
    """Write an archive like the one that is open.

    folder : where a temporary file for recovery sections may be
    header : instead of the old one, in both its places
    replaced : payloads of other sections, by type and ordinal
    columns : payloads of all columns, in the order of the header; None leaves them as they are

    Raises DamagedArchiveError if the archive is not intact.
    """
    if file.damage:
        raise DamagedArchiveError(f"{file.path}: {file.damage[0]}; smalti repair it first")
    new = dict(replaced or {})
    if header is not None:
        new |= {(Section.HEADER, ordinal): header.to_bytes() for ordinal in range(2)}
    features = (header or file.header).required_features
    spec = recovery_spec(file)
    with nullcontext() if spec is None else RecoveryBuilder(spec, folder) as recovery:
        copy = _Copy(file, FrameWriter(out, features), recovery)
        for entry in file.entries:
            key = entry.section, entry.ordinal
            if entry.section == Section.DIGEST and columns is not None:
                for payload in columns:
                    copy.add(Section.COLUMN, payload)
            if entry.section == Section.RECOVERY or (entry.section == Section.COLUMN and columns is not None):
                continue
            copy.add(entry.section, new[key] if key in new else _read(file, key))
        copy.finish()


def recovery_spec(file: SectionFile) -> RecoverySpec | None:
    """How much of an archive is recoverable, None if nothing is."""
    entry = next((entry for entry in file.entries if entry.section == Section.RECOVERY), None)
    return None if entry is None else ParitySection.unpack(file.read(entry)).spec


class _Copy:
    """An archive on its way out, and the recovery sections that it will have."""

    def __init__(self, file: SectionFile, frames: FrameWriter, recovery: RecoveryBuilder | None) -> None:
        self._file, self._frames, self._recovery = file, frames, recovery

    def add(self, section: int, payload: bytes) -> None:
        entry = self._frames.add(section, payload)
        if self._recovery is not None:
            self._recovery.add(entry, payload)

    def finish(self) -> None:
        for payload in () if self._recovery is None else self._recovery.payloads():
            self._frames.add(Section.RECOVERY, payload)
        self._frames.finish()


def _read(file: SectionFile, key: Key) -> bytes:
    entry = file.entry(*key)
    try:
        return file.read(entry)
    except DamagedArchiveError as error:
        raise DamagedArchiveError(f"{file.path}: {entry.name}: {error}; smalti repair it first") from error
