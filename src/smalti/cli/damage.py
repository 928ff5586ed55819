"""Damage to an archive, as the command line tells of it."""

from dataclasses import asdict
from pathlib import Path
from typing import Any

from smalti.archive.collection.collection import Collection
from smalti.archive.read.reader import Archive
from smalti.archive.report import DamagedBlock, VerifyReport
from smalti.cli.console import Console, escaped
from smalti.exchange import Extracted

__all__ = ["damage_line", "missing_json", "missing_line", "missing_text", "warn_of_damage"]

_SHOWN = 5


def warn_of_damage(archive: Archive | Collection, console: Console) -> None:
    """Tell of what was wrong on opening and has been overcome."""
    if archive.damage:
        console.warn(f"{archive.path}: {_some(archive.damage)}; smalti test tells what is lost")


def damage_line(archive: Path | str, report: VerifyReport, repairable: bool) -> str:
    """Return one line on what `smalti test` found; `repairable` if there are recovery sections."""
    shown = [*report.damaged_sections, *map(_block_words, report.damaged_blocks)]
    lost = f"{report.damaged_images:,} images cannot be read" if report.damaged_images else "no image is lost"
    advice = "smalti repair may mend it" if repairable else "get the file again from where it came"
    return f"{archive}: damaged: {_some(shown)}; {lost}; {advice}"


def missing_json(result: Extracted) -> dict[str, Any]:
    """Return what `--json` says of what was left out."""
    return {
        "missing_images": list(result.missing_images),
        "missing_blocks": [asdict(block) for block in result.missing],
        "lost_columns": list(result.lost_columns),
    }


def missing_line(archive: Path | str, result: Extracted) -> str:
    """Return one line on what was left out."""
    blocks = _some([_block_words(block) for block in result.missing])
    columns = ", ".join(result.lost_columns)
    lost = [f"{len(result.missing_images):,} images are missing ({blocks})"] if result.missing_images else []
    lost += [f"lost: {columns}"] if columns else []
    return f"{archive}: damaged: {'; '.join(lost)}"


def missing_text(result: Extracted) -> str:
    """Return a line for every image that was left out: its number, and its name if that is known."""
    names = {
        block.first_image + place: name for block in result.missing for place, name in enumerate(block.names or ())
    }
    return "".join(
        f"\nmissing: image {number}  {escaped(names.get(number, ''))}".rstrip() for number in result.missing_images
    )


def _block_words(block: DamagedBlock) -> str:
    images = f"images {block.first_image} to {block.first_image + block.images - 1}"
    named = f", {block.names[0]} to {block.names[-1]}" if block.names else ""
    return f"block {block.block} ({images}{named})"


def _some(shown: list[str] | tuple[str, ...]) -> str:
    more = f" and {len(shown) - _SHOWN} more" if len(shown) > _SHOWN else ""
    return "; ".join(shown[:_SHOWN]) + more
