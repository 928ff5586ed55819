"""Opening the images a user names, and telling what was passed over in them."""

from typing import TYPE_CHECKING

import typer

from smalti.cli.console import Console

if TYPE_CHECKING:
    from smalti.images import ImageSource

__all__ = ["SKIPPED", "open_for", "report_skipped"]

SKIPPED = 3
SHOWN = 20


def open_for(spec: str, console: Console) -> "ImageSource":
    """Open images by name or path; the steps of a download go to the console."""
    from smalti.images import open_source  # noqa: PLC0415 (image files and downloads, slow to import)

    return open_source(spec, report=console.say)


def report_skipped(source: "ImageSource", console: Console) -> None:
    """List the files that were passed over, and end with exit code 3 if there are any."""
    if not source.skipped:
        return
    for file in source.skipped[:SHOWN]:
        console.warn(f"skipped {file.name}: {file.reason}")
    if len(source.skipped) > SHOWN:
        console.warn(f"... and {len(source.skipped) - SHOWN:,} more (all of them in --json)")
    raise typer.Exit(SKIPPED)
