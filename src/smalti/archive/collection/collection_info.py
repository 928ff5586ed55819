"""Facts about a collection, and the reports on its members joined to one."""

from collections.abc import Sequence
from dataclasses import dataclass, fields, replace
from typing import TypeVar

from smalti.archive.report import ArchiveInfo, DamagedBlock, SectionBytes, VerifyReport, break_even_images

__all__ = ["CollectionInfo", "MemberInfo", "collection_info", "joined_reports"]

T = TypeVar("T")


@dataclass(frozen=True)
class MemberInfo:
    """The main facts about a member of a collection."""

    images: int
    shape: tuple[int, ...] | None
    dtype: str
    archive_bytes: int
    decoder: str
    profile: str
    codes_used: int


@dataclass(frozen=True)
class CollectionInfo:
    """Facts about a collection. Fields with the names of `ArchiveInfo` mean the same for all members together.

    shape, dtype, codebook_size, codes_used, perplexity, profile : None if members differ
    bytes : of all members together; shared models count as model, directory and frames as index
    columns_with_gaps : the part of `columns` that some images lack
    members : facts about each member, in order
    """

    images: int
    shape: tuple[int, ...] | None
    dtype: str | None
    archive_bytes: int
    raw_bytes: int
    ratio: float
    ratio_without_model: float
    bytes: SectionBytes
    bits_per_pixel: float
    bytes_per_image: float
    tokens_bits_per_image: float
    codebook_size: int | None
    codes_used: int | None
    perplexity: float | None
    break_even_images: int | None
    blocks: int
    columns: tuple[str, ...]
    columns_with_gaps: tuple[str, ...]
    recovery_bytes: int
    damage: tuple[str, ...]
    format_version: int
    profile: str | None
    members: tuple[MemberInfo, ...]
    copies: int = 0


def collection_info(
    infos: Sequence[ArchiveInfo],
    archive_bytes: int,
    shared_bytes: int,
    damage: tuple[str, ...],
    gaps: tuple[str, ...] = (),
) -> CollectionInfo:
    """Join the facts about members.

    archive_bytes : of the file, or of all files of a manifest    shared_bytes : of models that several members share
    gaps : the columns that some members lack
    """
    images, raw = sum(info.images for info in infos), sum(info.raw_bytes for info in infos)
    parts = _bytes(infos, archive_bytes, shared_bytes)
    pixels = sum(info.pixels for info in infos)
    tail = _same([None if info.shape is None else info.shape[1:] for info in infos])
    return CollectionInfo(
        images=images,
        shape=None if tail is None else (images, *tail),
        dtype=_same([info.dtype for info in infos]),
        archive_bytes=archive_bytes,
        raw_bytes=raw,
        ratio=raw / archive_bytes,
        ratio_without_model=raw / (archive_bytes - parts.model),
        bytes=parts,
        bits_per_pixel=8 * archive_bytes / pixels,
        bytes_per_image=archive_bytes / images,
        tokens_bits_per_image=8 * parts.tokens / images,
        codebook_size=_same([info.codebook_size for info in infos]),
        codes_used=_same([info.codes_used for info in infos]),
        perplexity=_same([info.perplexity for info in infos]),
        break_even_images=break_even_images(parts, images, raw),
        blocks=sum(info.blocks for info in infos),
        columns=tuple(dict.fromkeys(name for info in infos for name in info.columns)),
        columns_with_gaps=gaps,
        recovery_bytes=sum(info.recovery_bytes for info in infos),
        damage=(*damage, *(line for info in infos for line in info.damage)),
        format_version=max(info.format_version for info in infos),
        profile=_same([info.profile for info in infos]),
        members=tuple(
            MemberInfo(**{one.name: getattr(info, one.name) for one in fields(MemberInfo)}) for info in infos
        ),
        copies=sum(info.copies for info in infos),
    )


def joined_reports(reports: Sequence[VerifyReport], starts: Sequence[int], damage: tuple[str, ...]) -> VerifyReport:
    """Join the reports on members. Images and blocks are numbered consecutively.

    starts : the number of the first image of each member    damage : of the collection itself

    There is no digest of all pixels together: digests and token statistics are None unless there is one member.
    """
    blocks: list[DamagedBlock] = []
    sections, before = list(damage), 0
    for number, report in enumerate(reports):
        for block in report.damaged_blocks:
            moved = replace(block, block=block.block + before, first_image=block.first_image + starts[number])
            blocks.append(moved)
        sections += [f"member {number}: {line}" for line in report.damaged_sections]
        before += report.blocks
    alone = reports[0] if len(reports) == 1 else None
    return VerifyReport(
        ok=not damage and all(report.ok for report in reports),
        level=reports[0].level,
        images=sum(report.images for report in reports),
        blocks=before,
        damaged_blocks=tuple(blocks),
        damaged_sections=tuple(sections),
        damaged_images=sum(report.damaged_images for report in reports),
        codes_used=None if alone is None else alone.codes_used,
        perplexity=None if alone is None else alone.perplexity,
        stored_sha256=None if alone is None else alone.stored_sha256,
        pixels_sha256=None if alone is None else alone.pixels_sha256,
    )


def _bytes(infos: Sequence[ArchiveInfo], archive_bytes: int, shared_bytes: int) -> SectionBytes:
    names = [one.name for one in fields(SectionBytes)]
    parts = {name: sum(getattr(info.bytes, name) for info in infos) for name in names}
    parts["model"] += shared_bytes
    parts["index"] = archive_bytes - sum(size for name, size in parts.items() if name != "index")
    return SectionBytes(**parts)


def _same(values: Sequence[T]) -> T | None:
    """The value that all items have; None if they differ."""
    return values[0] if all(value == values[0] for value in values) else None
