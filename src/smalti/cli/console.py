"""What a command says, and where: results on stdout, everything else on stderr."""

import json
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

__all__ = ["Console", "ProgressCallback"]

ProgressCallback = Callable[[int, int], None]


class Console:
    """The voice of one command.

    json : one JSON object on stdout and nothing else
    quiet : nothing on stdout but JSON, and only warnings and errors on stderr
    """

    def __init__(self, *, json: bool, quiet: bool) -> None:
        self.json, self.quiet = json, quiet

    def say(self, line: str) -> None:
        """Tell of progress."""
        if not self.quiet:
            print(line, file=sys.stderr, flush=True)  # noqa: T201

    def warn(self, line: str) -> None:
        """Tell of something the user should know even when quiet."""
        print(f"smalti: {line}", file=sys.stderr, flush=True)  # noqa: T201

    def result(self, plain: dict[str, Any], text: str) -> None:
        """Give the result: as JSON if asked for, else as text unless quiet."""
        if self.json:
            print(json.dumps(plain, indent=2, allow_nan=False))  # noqa: T201
        elif not self.quiet:
            print(text)  # noqa: T201

    @contextmanager
    def progress(self, what: str) -> Iterator[ProgressCallback]:
        """Show a bar with the time left, on a terminal only; yields the function to call with (done, total)."""
        if self.quiet or not sys.stderr.isatty():
            yield lambda done, total: None
            return
        from rich.console import Console as RichConsole  # noqa: PLC0415 (slow to import, and for terminals only)
        from rich.progress import (  # noqa: PLC0415
            BarColumn,
            MofNCompleteColumn,
            Progress,
            TextColumn,
            TimeElapsedColumn,
            TimeRemainingColumn,
        )

        columns = (
            TextColumn("{task.description}"),
            BarColumn(),
            MofNCompleteColumn(),
            TimeElapsedColumn(),
            TextColumn("left"),
            TimeRemainingColumn(),
        )
        with Progress(*columns, console=RichConsole(stderr=True), transient=True) as bar:
            task = bar.add_task(what, total=None)
            yield lambda done, total: bar.update(task, completed=done, total=total)
