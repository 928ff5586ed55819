"""Opens a collection: a file that holds archives, or a manifest that lists them."""

import os
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from smalti.archive.collection.collection import Collection
from smalti.archive.collection.directory import Listed, MemberFacts, read_directory, read_manifest
from smalti.archive.collection.members import Members, SharedSections
from smalti.archive.format.layout import (
    COLLECTION,
    FIRST_ANCILLARY,
    FRAME_BYTES,
    PRELUDE_BYTES,
    SIZED,
    Entry,
    Section,
    check_prelude,
    crc32c,
)
from smalti.archive.format.limits import Limits
from smalti.archive.read.reader import Archive, open_positioned
from smalti.archive.read.section_table import SectionTable, find_sections
from smalti.archive.read.sections import SectionFile
from smalti.errors import DamagedArchiveError, SmaltiError, UnsupportedArchiveError
from smalti.storage.positioned import Positioned, PositionedWindow, file_at

__all__ = ["is_collection", "open_collection", "open_manifest"]

_FEATURES = (COLLECTION, COLLECTION | SIZED)


def is_collection(table: SectionTable) -> bool:
    """Whether a file has sections of a collection."""
    return any(entry.section in (Section.MEMBER, Section.DIRECTORY) for entry in table.entries)


def open_collection(file: Positioned, limits: Limits, threads: int, table: SectionTable | None = None) -> Collection:
    """Open the collection in an open file. Closing it closes the file.

    table : the sections of the file, if they were found already

    Raises DamagedArchiveError if no member is left, UnsupportedArchiveError, LimitExceededError.
    """
    table = table or find_sections(file, limits)
    if not table.scanned:
        _check_structure(file, table.entries)
    entries = [entry for entry in table.entries if entry.section == Section.MEMBER]
    if not entries:
        raise DamagedArchiveError(f"{file.path}: no archive is left in this collection; fetch it again")
    shared = [entry for entry in table.entries if entry.section == Section.SHARED]
    resolver = SharedSections(file, tuple((entry.offset + FRAME_BYTES, entry.payload_bytes) for entry in shared))

    def open_member(number: int) -> Archive:
        entry = entries[number]
        name = f"{file.path}: member {entry.ordinal}"
        window = PositionedWindow(file, entry.offset + FRAME_BYTES, entry.payload_bytes, path=name, owns=False)
        return Archive(SectionFile(window, limits, shared=resolver), threads)

    facts, damage = _directory(file, table, limits)
    if facts is None or len(facts) != len(entries):
        facts = [_facts_of(open_member(number)) for number in range(len(entries))]
    return Collection(
        file.path,
        Members(facts, open_member, file.path),
        file.size_bytes,
        sum(entry.frame_bytes for entry in shared),
        (open_collection, (file, limits, threads)),
        file.close,
        (*table.damage, *_prelude_damage(table.required_features), *damage),
        lambda: _frame_damage(file, table),
        limits,
    )


def open_manifest(
    path: str | os.PathLike[str], limits: Limits, threads: int, storage_options: Mapping[str, Any] | None = None
) -> Collection:
    """Open the collection that a manifest lists. Its members are opened when they are needed.

    Raises SmaltiError if it cannot be read, DamagedArchiveError if it is no manifest, UnsupportedArchiveError.
    """
    file = file_at(path, storage_options)
    try:
        limits.check("index_bytes", file.size_bytes, "the manifest")
        listed = read_manifest(file.read(0, file.size_bytes))
    except SmaltiError as error:
        if str(error).startswith(f"{file.path}: "):
            raise
        raise type(error)(f"{file.path}: {error}") from error
    finally:
        file.close()

    def open_member(number: int) -> Archive:
        member = file_at(_member_location(path, listed[number]), storage_options)
        try:
            if member.size_bytes != listed[number].archive_bytes:
                raise DamagedArchiveError(
                    f"{member.path}: has {member.size_bytes} bytes, the manifest lists "
                    f"{listed[number].archive_bytes}; make the manifest again"
                )
            return open_positioned(member, limits, threads)
        except BaseException:
            member.close()
            raise

    return Collection(
        file.path,
        Members([one.facts for one in listed], open_member, file.path),
        sum(one.archive_bytes for one in listed),
        0,
        (open_manifest, (path, limits, threads, storage_options)),
        lambda: None,
        limits=limits,
    )


def _facts_of(archive: Archive) -> MemberFacts:
    with archive:
        return MemberFacts.of(archive.sections.header)


def _member_location(manifest: str | os.PathLike[str], member: Listed) -> str | Path:
    """The path or URL of a member. `Listed` has checked that it is inside the manifest's folder."""
    if isinstance(manifest, str) and "://" in manifest:
        base, slash, _ = manifest.rpartition("/")
        return f"{base}{slash}{member.path}"
    return Path(manifest).parent / member.path


def _check_structure(file: Positioned, entries: Sequence[Entry]) -> None:
    """Check that the index lists sections of a collection alone, in order."""
    ordinals: Counter[int] = Counter()
    for entry in entries:
        known = entry.section in set(Section)
        if not known and entry.section < FIRST_ANCILLARY:
            raise UnsupportedArchiveError(
                f"{file.path}: holds a section of type {entry.section}, unknown here: use a newer smalti"
            )
        if known and entry.section not in (Section.MEMBER, Section.SHARED, Section.DIRECTORY):
            raise DamagedArchiveError(
                f"{file.path}: {entry.name}: sections of an archive are mixed with those of a collection; "
                "fetch it again"
            )
        if entry.ordinal != ordinals[entry.section] or (entry.section == Section.DIRECTORY and entry.ordinal):
            raise DamagedArchiveError(f"{file.path}: index: {entry.name} is out of order")
        ordinals[entry.section] += 1


def _prelude_damage(features: int | None) -> tuple[str, ...]:
    """Damage to the prelude. features : its required features, None if they are not known"""
    if features is None or features in _FEATURES:
        return ()
    return (f"the prelude states required features {features}, a collection needs {COLLECTION}",)


def _start_damage(file: Positioned, table: SectionTable) -> tuple[str, ...]:
    """Damage to a prelude that was not read on opening."""
    if table.start_seen:
        return ()
    try:
        return _prelude_damage(check_prelude(file.read(0, min(file.size_bytes, PRELUDE_BYTES))))
    except DamagedArchiveError as error:
        return (str(error),)


def _frame_damage(file: Positioned, table: SectionTable) -> tuple[str, ...]:
    """Damage to the frames around members, and to shared sections. Each member checks itself."""
    found = [*_start_damage(file, table)]
    heads = file.read_many([(entry.offset, FRAME_BYTES) for entry in table.entries])
    for entry, head in zip(table.entries, heads, strict=True):
        try:
            if Entry.unpack_frame_head(head, entry.offset) != entry:
                raise DamagedArchiveError("it is not the section that the index lists there")
            payload = b"" if entry.section == Section.MEMBER else _payload(file, entry)
            if payload and crc32c(payload) != entry.payload_crc:
                raise DamagedArchiveError("wrong checksum")
        except DamagedArchiveError as error:
            found.append(f"{entry.name}: {error}")
    return tuple(found)


def _payload(file: Positioned, entry: Entry) -> bytes:
    return file.read(entry.offset + FRAME_BYTES, entry.payload_bytes)


def _directory(file: Positioned, table: SectionTable, limits: Limits) -> tuple[list[MemberFacts] | None, list[str]]:
    """The facts that the directory states, or None and why it cannot be read."""
    entry: Entry | None = next((one for one in table.entries if one.section == Section.DIRECTORY), None)
    if entry is None:
        return None, ["the directory is missing; the members were asked"]
    limits.check("index_bytes", entry.payload_bytes, "the directory")
    payload = _payload(file, entry)
    if crc32c(payload) != entry.payload_crc:
        return None, ["directory: wrong checksum; the members were asked"]
    return read_directory(payload), []
