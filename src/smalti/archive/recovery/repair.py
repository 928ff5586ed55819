"""Repairs a damaged archive: writes the same bytes as the original file, unless something stays lost."""

from dataclasses import dataclass
from os import PathLike
from pathlib import Path
from typing import BinaryIO

from smalti.archive.format.block_layout import Layout, joined
from smalti.archive.format.header import Header
from smalti.archive.format.layout import (
    ENTRY_BYTES,
    FIRST_ANCILLARY,
    PRELUDE_BYTES,
    TRAILER_BYTES,
    Entry,
    Section,
    Trailer,
    check_prelude,
    crc32c,
    pack_index,
    pack_prelude,
)
from smalti.archive.format.limits import Limits
from smalti.archive.read.reader import open_archive
from smalti.archive.read.store import section_name
from smalti.archive.recovery.parity import Key, groups_of, make_parity
from smalti.archive.recovery.salvage import Salvage
from smalti.errors import DamagedArchiveError, SmaltiError, UnsupportedArchiveError
from smalti.storage.atomic import atomic_file, check_output, writing
from smalti.storage.locking import locked
from smalti.storage.positioned import PositionedFile
from smalti.storage.spool import spool_file

__all__ = ["RepairReport", "repair_archive"]

_NO_PAYLOAD_CRC = 1  # no bytes have the checksum 0: a lost section is written with no payload and this one
_DIGEST: Key = (Section.DIGEST, 0)


@dataclass(frozen=True)
class RepairReport:
    """The result of a repair.

    ok : whether nothing is lost: the written file is sound. Unless recovery_lost is set, it has the bytes that the file
        had before it was damaged
    written : whether a file was written
    repaired : parts that were damaged and are restored, such as "token block 3" or "trailer"
    lost : sections that cannot be restored
    lost_images : first and last number of each run of lost images; all images if a section that all need is lost
    recovery_lost : whether all recovery sections are lost, so that the new file has none
    """

    ok: bool
    written: bool
    images: int
    repaired: tuple[str, ...]
    lost: tuple[str, ...]
    lost_images: tuple[tuple[int, int], ...]
    recovery_lost: bool

    @property
    def images_lost(self) -> int:
        """The number of lost images."""
        return sum(last + 1 - first for first, last in self.lost_images)


def repair_archive(
    path: str | PathLike[str],
    out: str | PathLike[str],
    *,
    overwrite: bool = False,
    partial: bool = False,
    limits: Limits | None = None,
) -> RepairReport:
    """Restore the lost sections of the archive `path`, and write the whole archive to `out`, which may be `path`.

    partial : also write a file if something stays lost. Readers name what is lost in it, and serve the rest

    Raises DamagedArchiveError if no header is left, OutputExistsError, OutputError, and the errors of opening a file;
    MissingDependencyError if recovery sections are needed and the extra `recovery` is not installed.
    """
    path, out, limits = Path(path), Path(out), limits or Limits()
    check_output(out, overwrite)
    with locked(out):
        return _repaired(path, out, overwrite, partial, limits)


def _repaired(path: Path, out: Path, overwrite: bool, partial: bool, limits: Limits) -> RepairReport:
    file = PositionedFile(path)
    try:
        with writing(out), spool_file(out) as spool:
            return _Repair(file, limits, spool).run(out, overwrite, partial)
    except SmaltiError as error:
        if str(error).startswith((str(path), str(out))):
            raise
        raise type(error)(f"{path}: {error}") from error
    finally:
        file.close()


class _Repair:
    """One repair: the sections that the file must have, and the payloads that are left or restored."""

    def __init__(self, file: PositionedFile, limits: Limits, spool: BinaryIO) -> None:
        self._file, self._limits = file, limits
        self._salvage = salvage = Salvage(file, limits, spool)
        if any(entry.section == Section.MEMBER for entry in salvage.found.sound):
            raise UnsupportedArchiveError(
                "is a collection, whose archives are repaired one by one; readers serve what is sound in it"
            )
        if not salvage.has((Section.HEADER, 0)):
            raise DamagedArchiveError("both headers are lost, and without one nothing can be repaired; fetch it again")
        self._header = Header.from_bytes(salvage.read((Section.HEADER, 0)))
        self._layout = self._read_layout()
        self._sections = self._plan()
        self._make_digest()
        self._make_parity()

    def run(self, out: Path, overwrite: bool, partial: bool) -> RepairReport:
        """Write the file, unless something is lost and `partial` is not asked for."""
        lost = [key for key in self._sections if not self._salvage.has(key)]
        ok = all(section == Section.RECOVERY for section, _ in lost)
        repaired = self._repaired()
        if ok or partial:
            with atomic_file(out, overwrite=overwrite) as file:
                repaired = repaired + self._write(file)
        return RepairReport(
            ok=ok,
            written=ok or partial,
            images=self._header.images,
            repaired=tuple(repaired),
            lost=tuple(section_name(*key) for key in lost),
            lost_images=tuple((run.start, run.stop - 1) for run in joined(self._lost_images(lost))),
            recovery_lost=self._recovery_is_lost(),
        )

    def _read_layout(self) -> Layout:
        header, sizes = self._header, (Section.SIZES, 0)
        if not header.any_size:
            return header.layout
        if not self._salvage.has(sizes):
            raise DamagedArchiveError(
                "both tables of sizes are lost, and nothing can be repaired without; fetch it again"
            )
        return header.sized_layout(self._salvage.read(sizes), self._limits, self._file.size_bytes)

    def _plan(self) -> list[Key]:
        """The keys of all sections before the index, in order: from the index, or else from the header."""
        header, salvage, blocks = self._header, self._salvage, self._layout.blocks
        self._limits.check("index_bytes", ENTRY_BYTES * (blocks + len(header.columns)), "the index")
        if salvage.index is not None:
            listed = [(entry.section, entry.ordinal) for entry in salvage.index]
            _refuse_unknown(listed)
            return [key for key in listed if key[0] != Section.RECOVERY or salvage.spec is not None]
        sizes = header.any_size
        keys: list[Key] = [(Section.HEADER, 0), *[(Section.SIZES, 0)] * sizes, (Section.MODEL, 0), (Section.PRIOR, 0)]
        keys += [(Section.CORRECTIONS, 0)] * header.has_residuals
        keys += [(Section.TOKENS, block) for block in range(blocks)]
        keys += [(Section.COLUMN, column) for column in range(len(header.columns))]
        keys += [_DIGEST, (Section.HEADER, 1), *[(Section.SIZES, 1)] * sizes]
        keys += [(Section.PRIOR, ordinal) for ordinal in range(1, header.priors)]
        if salvage.spec is not None:
            count = salvage.spec.parity * len(groups_of(keys, salvage.spec))
            keys += [(Section.RECOVERY, ordinal) for ordinal in range(count)]
        found = [(entry.section, entry.ordinal) for entry in salvage.found.sound]
        _refuse_unknown(found)
        return keys + sorted({key for key in found if key[0] >= FIRST_ANCILLARY})

    def _make_digest(self) -> None:
        """Compute a lost digest again, if every image decodes to the pixels that its block states."""
        needed = [key for key in self._sections if key[0] not in (Section.DIGEST, Section.RECOVERY, Section.COLUMN)]
        if self._salvage.has(_DIGEST) or not all(self._salvage.has(key) for key in needed):
            return
        with open_archive(self._file.path, self._limits) as archive:
            digest = archive.verify("pixels").pixels_sha256
        if digest is not None:
            self._salvage.put(_DIGEST, bytes.fromhex(digest))

    def _make_parity(self) -> None:
        """Make lost recovery sections again for groups without lost members."""
        salvage, spec = self._salvage, self._salvage.spec
        if spec is None:
            return
        for number, keys in enumerate(groups_of(self._sections, spec)):
            ordinals = range(number * spec.parity, (number + 1) * spec.parity)
            whole = all(salvage.has((Section.RECOVERY, ordinal)) for ordinal in ordinals)
            if whole or not all(map(salvage.has, keys)):
                continue
            members = tuple(map(salvage.member, keys))
            for section in make_parity(spec, number, members, lambda member: salvage.read(member.key)):
                salvage.put((Section.RECOVERY, section.ordinal), section.pack())

    def _recovery_is_lost(self) -> bool:
        index, found = self._salvage.index or (), self._salvage.found
        return self._salvage.spec is None and any(
            entry.section == Section.RECOVERY for entry in (*index, *found.damaged)
        )

    def _lost_images(self, lost: list[Key]) -> list[range]:
        needed = {(Section.MODEL, 0), (Section.PRIOR, 0), (Section.CORRECTIONS, 0)}
        if needed & set(lost):
            return [range(self._header.images)]
        blocks = [ordinal for section, ordinal in lost if section == Section.TOKENS]
        return [run for block in blocks for run in self._layout.image_runs(block)]

    def _repaired(self) -> list[str]:
        """Names of the sections that were damaged or missing in the file and are restored."""
        intact = {(entry.section, entry.ordinal, entry.payload_crc) for entry in self._salvage.found.sound}
        members = [self._salvage.member(key) for key in self._sections if self._salvage.has(key)]
        return [section_name(*member.key) for member in members if (*member.key, member.payload_crc) not in intact]

    def _write(self, file: BinaryIO) -> list[str]:
        """Write the file. Returns the names of other parts that were damaged."""
        prelude, entries, offset = self._prelude(), [], PRELUDE_BYTES
        file.write(prelude)
        for key in self._sections:
            entry = self._entry(key, offset)
            file.write(entry.pack_frame_head())
            file.write(self._salvage.read(key) if entry.payload_bytes else b"")
            entries.append(entry)
            offset = entry.end
        listed = pack_index(entries)
        index = Entry(Section.INDEX, 0, offset, len(listed), crc32c(listed))
        trailer = Trailer(index.offset, index.end + TRAILER_BYTES).pack()
        file.write(index.pack_frame_head() + listed + trailer)
        return self._compare(prelude, [*entries, index], trailer)

    def _entry(self, key: Key, offset: int) -> Entry:
        if not self._salvage.has(key):
            return Entry(*key, offset, 0, _NO_PAYLOAD_CRC)
        member = self._salvage.member(key)
        return Entry(*key, offset, member.payload_bytes, member.payload_crc)

    def _prelude(self) -> bytes:
        """The prelude of the file, since it may state optional features; a new one if it is damaged or contradicts the
        header."""
        start = self._file.read(0, min(self._file.size_bytes, PRELUDE_BYTES))
        features = self._header.required_features
        try:
            return start if check_prelude(start) == features else pack_prelude(features)
        except DamagedArchiveError:
            return pack_prelude(features)

    def _compare(self, prelude: bytes, entries: list[Entry], trailer: bytes) -> list[str]:
        """Names of the parts other than sections that differ from those written now."""
        size, sound = self._file.size_bytes, set(self._salvage.found.sound)
        differs = {
            "prelude": self._file.read(0, min(size, PRELUDE_BYTES)) != prelude,
            "index": entries[-1].payload_crc not in {e.payload_crc for e in sound if e.section == Section.INDEX},
            "trailer": self._file.read(max(0, size - TRAILER_BYTES), min(size, TRAILER_BYTES)) != trailer,
        }
        named = [name for name, is_other in differs.items() if is_other]
        moved = size != entries[-1].end + TRAILER_BYTES or any(e not in sound for e in entries if e.payload_bytes)
        return named or (["places of sections"] if moved and not self._repaired() else [])


def _refuse_unknown(keys: list[Key]) -> None:
    for section, _ in keys:
        if section not in set(Section) and section < FIRST_ANCILLARY:
            raise UnsupportedArchiveError(f"holds a section of type {section}, unknown here: use a newer smalti")
