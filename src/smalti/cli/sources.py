"""Opening the images a user names, and telling what was passed over in them."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

import typer

from smalti.cli.console import Console

if TYPE_CHECKING:
    from smalti.images.batch import SkippedFile
    from smalti.images.source import ImageSource

__all__ = ["SKIPPED", "open_for", "open_groups_for", "report_skipped"]

SKIPPED = 3
SHOWN = 20


def open_for(spec: str, console: Console) -> "ImageSource":
    """Open images by name or path; the steps of a download go to the console."""
    from smalti.sources.open import open_source  # noqa: PLC0415 (image files and downloads, slow to import)

    return open_source(spec, report=console.say)


def open_groups_for(spec: str, console: Console, *, strict: bool) -> "tuple[ImageSource, ...]":
    """Open images of any shapes, a source for each shape.

    strict : whether files that are known to be passed over are an error at once, before any long work
    """
    from smalti.images.source import refuse_skipped  # noqa: PLC0415 (slow to import)
    from smalti.sources.open import open_groups  # noqa: PLC0415 (slow to import)

    groups = open_groups(spec, report=console.say)
    if strict:
        refuse_skipped(spec, [file for group in groups for file in group.skipped])
    return groups


def report_skipped(skipped: "Sequence[SkippedFile]", console: Console) -> None:
    """List the files that were passed over, and end with exit code 3 if there are any."""
    if not skipped:
        return
    for file in skipped[:SHOWN]:
        console.warn(f"skipped {file.name}: {file.reason}")
    if len(skipped) > SHOWN:
        console.warn(f"... and {len(skipped) - SHOWN:,} more (all of them in --json)")
    raise typer.Exit(SKIPPED)
