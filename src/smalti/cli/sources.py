"""Telling which files of a source were skipped."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

import typer

from smalti.cli.console import Console

if TYPE_CHECKING:
    from smalti.images.batch import SkippedFile

__all__ = ["SHOWN", "SKIPPED", "report_skipped"]

SKIPPED = 3
"""The exit code if files were skipped."""

SHOWN = 20


def report_skipped(skipped: "Sequence[SkippedFile]", console: Console) -> None:
    """List the files that were skipped, and end with exit code 3 if there are any."""
    if not skipped:
        return
    for file in skipped[:SHOWN]:
        console.warn(f"skipped {file.name}: {file.reason}")
    if len(skipped) > SHOWN:
        console.warn(f"... and {len(skipped) - SHOWN:,} more (all of them in --json)")
    raise typer.Exit(SKIPPED)
