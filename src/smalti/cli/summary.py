"""Archives, and damage to them, in words and as the fields of --json. Layer: part of `cli`."""

from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from smalti.archive.collection.collection_info import CollectionInfo
from smalti.archive.report import ArchiveInfo, DamagedBlock, VerifyReport
from smalti.cli.console import Console, escaped

if TYPE_CHECKING:
    from smalti.archive.collection.collection import Collection
    from smalti.archive.read.reader import Archive
    from smalti.exchange import Comparison, Extracted

__all__ = [
    "damage_line",
    "info_json",
    "info_text",
    "larger_than_raw",
    "missing_json",
    "missing_line",
    "missing_text",
    "model_heavy",
    "quality_json",
    "short_summary",
    "verify_json",
    "warn_of_damage",
]


AnyInfo = ArchiveInfo | CollectionInfo

MODEL_HEAVY = 0.5
"""An archive whose model has at least this share of its bytes is warned of."""

MEMBERS_SHOWN = 20
"""Most members that `smalti info` lists."""


def info_json(info: AnyInfo) -> dict[str, Any]:
    """Return what `smalti info --json` prints. `copies` is there if there are any."""
    plain = asdict(info)
    if not info.copies:
        del plain["copies"]
    return plain


def verify_json(report: VerifyReport) -> dict[str, Any]:
    """Return the integrity part of what `smalti test --json` prints.

    `pixels_sha256` is the hash of the decoded pixels at level "pixels", else the one in the file.
    """
    plain = asdict(report)
    fields = {name: plain[name] for name in ("ok", "level", "damaged_blocks", "damaged_sections", "damaged_images")}
    return {**fields, "pixels_sha256": report.pixels_sha256 or report.stored_sha256}


def quality_json(comparison: "Comparison") -> dict[str, Any]:
    """Return the quality part of what `smalti test --against --json` prints."""
    quality = asdict(comparison.quality)
    quality.pop("images")
    return {**quality, "labels_equal": comparison.labels_equal, "names_equal": comparison.names_equal}


def short_summary(path: Path | str, info: AnyInfo) -> str:
    """Return one line on the size of an archive."""
    return (
        f"{path}: {info.images:,} image{'s' if info.images > 1 else ''} in {info.archive_bytes:,} bytes "
        f"({info.bytes_per_image:,.2f} an image), {_ratio(info.ratio)} with the model, "
        f"{_ratio(info.ratio_without_model)} without"
    )


def larger_than_raw(info: AnyInfo) -> str | None:
    """Return a warning of an archive that is larger than its pixels; None if it is smaller."""
    if info.ratio >= 1:
        return None
    break_even = info.break_even_images
    when = "" if break_even is None else f"; it is smaller from {break_even:,} such images on"
    return f"the archive is larger than the raw pixels ({info.raw_bytes:,} bytes), for it contains its decoder{when}"


def model_heavy(info: AnyInfo) -> str | None:
    """Return a line on an archive that is mostly model; None if it is not."""
    share = (info.bytes.model + info.bytes.prior) / info.archive_bytes
    if share < MODEL_HEAVY:
        return None
    return (
        f"{100 * share:.0f} % of the archive is its model: for sets as small as this, fit one on more such images with "
        "smalti fit, and give it to each set with --model"
    )


def _ratio(ratio: float) -> str:
    """Return a ratio such as 18.3:1, with enough digits for one below 1."""
    return f"{ratio:,.1f}:1" if ratio >= 10 else f"{ratio:.3g}:1"


def _error_bound(info: ArchiveInfo) -> str:
    """Return the error bound of every image, in words."""
    bound = info.promise
    if bound is None:
        return "none"
    return (
        f"no image above an MSE of {bound.max_mse:g}; {bound.corrected:,} images corrected, "
        f"{bound.stored:,} stored without the decoder"
    )


def _levels(info: ArchiveInfo) -> str:
    """Return the number of tokens of an image, by level of the grid."""
    if info.block_images is None:
        return f"{info.token_grid[1]} a cell"
    if info.levels is None:
        return f"{' x '.join(map(str, info.token_grid))} an image"
    levels = ", then ".join(
        f"{' x '.join(map(str, level.grid))} of {level.codes} code{'' if level.codes == 1 else 's'}"
        for level in info.levels
    )
    return f"{levels}, an image"


def info_text(path: Path | str, info: AnyInfo) -> str:
    """Return the lines that `smalti info` prints."""
    rows = _collection_rows(path, info) if isinstance(info, CollectionInfo) else _archive_rows(path, info)
    lines = [f"{name:<11}{text}" for name, text in rows]
    lines += ["bytes"] + [
        f"  {name:<9}{size:>12,}  {100 * size / info.archive_bytes:5.1f} %" for name, size in asdict(info.bytes).items()
    ]
    if isinstance(info, CollectionInfo):
        lines += ["members", *_member_lines(info)]
    else:
        lines += ["made with"] + [f"  {name}: {value}" for name, value in info.provenance.items()]
    return "\n".join(map(escaped, lines))


def _archive_rows(path: Path | str, info: ArchiveInfo) -> list[tuple[str, str]]:
    shape = f"{info.shapes} shapes" if info.shape is None else " x ".join(str(side) for side in info.shape[1:])
    blocks = f"{info.blocks}" if info.block_images is None else f"{info.blocks} of up to {info.block_images} images"
    return [
        ("archive", f"{path} (format {info.format_version}, profile {info.profile}, decoder {info.decoder})"),
        ("images", f"{info.images:,} of {shape}, {info.dtype}"),
        *_copies_rows(info),
        *_size_rows(info),
        (
            "tokens",
            f"{_levels(info)}; {info.codes_used} of {info.codebook_size} codes used, perplexity {info.perplexity:.2f}"
            if info.block_images is not None
            else f"{_levels(info)}; {info.codes_used} values, perplexity {info.perplexity:.2f}",
        ),
        ("blocks", blocks),
        ("columns", ", ".join(info.columns) or "none"),
        ("promise", _error_bound(info)),
        *_last_rows(info),
    ]


def _dtypes(info: CollectionInfo) -> str:
    names = list(dict.fromkeys(member.dtype for member in info.members))
    return names[0] if len(names) == 1 else f"{', '.join(names[:-1])} and {names[-1]}"


def _collection_rows(path: Path | str, info: CollectionInfo) -> list[tuple[str, str]]:
    shape = "several shapes" if info.shape is None else " x ".join(str(side) for side in info.shape[1:])
    return [
        ("collection", f"{path} (format {info.format_version}), {len(info.members)} archives"),
        ("images", f"{info.images:,} of {shape}, {_dtypes(info)}"),
        *_copies_rows(info),
        *_size_rows(info),
        ("blocks", f"{info.blocks}"),
        ("columns", _columns(info)),
        *_last_rows(info),
    ]


def _copies_rows(info: AnyInfo) -> list[tuple[str, str]]:
    """Return a row on images that are stored once; none if there are none."""
    if not info.copies:
        return []
    words = (
        "1 image is an exact copy of another and is"
        if info.copies == 1
        else (f"{info.copies:,} images are exact copies of others and are")
    )
    return [("copies", f"{words} stored once")]


def _size_rows(info: AnyInfo) -> list[tuple[str, str]]:
    return [
        (
            "size",
            f"{info.archive_bytes:,} bytes of {info.raw_bytes:,}: {_ratio(info.ratio)} with the model, "
            f"{_ratio(info.ratio_without_model)} without",
        ),
        (
            "per image",
            f"{info.bytes_per_image:,.2f} bytes, {info.bits_per_pixel:.4f} bits a pixel; "
            f"tokens alone {info.tokens_bits_per_image / 8:.2f} bytes",
        ),
    ]


def _last_rows(info: AnyInfo) -> list[tuple[str, str]]:
    when = info.break_even_images
    pays = "never smaller than the raw pixels"
    if when is not None:
        pays = f"smaller than the raw pixels from {when:,} images on"
    return [
        ("recovery", f"{info.recovery_bytes:,} bytes" if info.recovery_bytes else "none"),
        ("break-even", pays),
    ]


def _member_lines(info: CollectionInfo) -> Iterator[str]:
    """Yield a line for each member, or for the first of many."""
    for number, member in enumerate(info.members[:MEMBERS_SHOWN]):
        shape = "several shapes" if member.shape is None else " x ".join(map(str, member.shape[1:]))
        yield (
            f"  {number:>5}  {member.images:>10,} of {shape}, {member.dtype}  {member.archive_bytes:>12,} bytes  "
            f"{member.profile}"
        )
    if len(info.members) > MEMBERS_SHOWN:
        yield f"  ... and {len(info.members) - MEMBERS_SHOWN:,} more (all of them in --json)"


def _columns(info: CollectionInfo) -> str:
    """Return the columns of a collection, and those that some images lack."""
    gaps = f" (not all images have {', '.join(info.columns_with_gaps)})" if info.columns_with_gaps else ""
    return (", ".join(info.columns) or "none") + gaps


_SHOWN = 5


def warn_of_damage(archive: "Archive | Collection", console: Console) -> None:
    """Warn of faults that were found and overcome when the archive was opened."""
    if archive.damage:
        console.warn(f"{archive.path}: {_some(archive.damage)}; smalti test shows what is lost")


def damage_line(archive: Path | str, report: VerifyReport, repairable: bool) -> str:
    """Return one line on what `smalti test` found; `repairable` if there are recovery sections."""
    damaged = [*report.damaged_sections, *map(_block_words, report.damaged_blocks)]
    lost = f"{report.damaged_images:,} images cannot be read" if report.damaged_images else "no image is lost"
    advice = "smalti repair may mend it" if repairable else "get the file again from where it came"
    return f"{archive}: damaged: {_some(damaged)}; {lost}; {advice}"


def missing_json(result: "Extracted") -> dict[str, Any]:
    """Return the fields of --json on damaged images and columns."""
    return {
        "missing_images": list(result.missing_images),
        "missing_blocks": [asdict(block) for block in result.missing],
        "lost_columns": list(result.lost_columns),
    }


def missing_line(archive: Path | str, result: "Extracted") -> str:
    """Return one line on damaged images and columns."""
    blocks = _some([_block_words(block) for block in result.missing])
    columns = ", ".join(result.lost_columns)
    lost = [f"{len(result.missing_images):,} images are missing ({blocks})"] if result.missing_images else []
    lost += [f"lost: {columns}"] if columns else []
    return f"{archive}: damaged: {'; '.join(lost)}"


def missing_text(result: "Extracted") -> str:
    """Return a line for each damaged image: its number, and its name if that is known."""
    names = {
        block.first_image + index: name for block in result.missing for index, name in enumerate(block.names or ())
    }
    return "".join(
        f"\nmissing: image {number}  {escaped(names.get(number, ''))}".rstrip() for number in result.missing_images
    )


def _block_words(block: DamagedBlock) -> str:
    images = f"images {block.first_image} to {block.first_image + block.images - 1}"
    named = f", {block.names[0]} to {block.names[-1]}" if block.names else ""
    return f"block {block.block} ({images}{named})"


def _some(parts: list[str] | tuple[str, ...]) -> str:
    """Join the first parts, and count the others."""
    more = f" and {len(parts) - _SHOWN} more" if len(parts) > _SHOWN else ""
    return "; ".join(parts[:_SHOWN]) + more
