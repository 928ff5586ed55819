"""The output of a command: results on stdout, messages on stderr.

All printing goes through here. Names and labels come from files of unknown origin: their control characters are
escaped, so that they cannot forge lines or colours. Layer: part of `cli`.
"""

import json
import os
import re
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from datetime import timedelta
from typing import Any

from smalti.errors import OutputError

__all__ = ["Console", "ProgressCallback", "drop_stdout", "escaped", "flush_stdout", "print_message", "print_result"]

ProgressCallback = Callable[[int, int], None]

_CONTROL = re.compile("[\x00-\x1f\x7f-\x9f\u200e\u200f\u2028-\u202e\u2066-\u2069\ud800-\udfff]")
"""Control characters, line separators, marks that change the direction of writing, and halves of surrogate pairs."""

_UNDECODED = range(0xDC80, 0xDD00)
"""Code points by which Python represents undecodable bytes of a file name."""


def escaped(text: str) -> str:
    r"""Return text with control characters escaped: a newline as \n, an undecoded byte of a name as \xNN."""
    return _CONTROL.sub(lambda found: _escape(found[0]), text)


def _escape(character: str) -> str:
    code = ord(character)
    return f"\\x{code - 0xDC00:02x}" if code in _UNDECODED else character.encode("unicode_escape").decode()


def print_message(line: str) -> None:
    """Print one line on stderr. A message that cannot be written is dropped, so that no work fails because of it."""
    if sys.stderr is not None:  # closed by the caller
        with suppress(OSError):  # a full disk, or a reader that has ended
            print(escaped(line), file=sys.stderr, flush=True)  # noqa: T201


def print_result(text: str) -> None:
    """Print lines on stdout. OutputError if they cannot be written, BrokenPipeError if their reader has ended."""
    if sys.stdout is not None:  # closed by the caller
        with _write_errors():
            print("\n".join(escaped(line) for line in text.split("\n")), flush=True)  # noqa: T201


def flush_stdout() -> None:
    """Write the buffer of stdout, and raise as `print_result` does: now, and not at exit."""
    if sys.stdout is not None:
        with _write_errors():
            sys.stdout.flush()


def drop_stdout() -> None:
    """Discard the buffer of stdout, and everything that is printed later."""
    if sys.stdout is not None:
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, sys.stdout.fileno())
        os.close(nowhere)


@contextmanager
def _write_errors() -> Iterator[None]:
    try:
        yield
    except BrokenPipeError:
        raise
    except OSError as error:
        drop_stdout()
        reason = error.strerror or str(error)
        raise OutputError(f"standard output: cannot be written: {reason}; redirect it to another file") from error


LINE_SECONDS = 60.0
"""Time between two lines of progress where no bar can be shown."""


class _ProgressLines:
    """Lines with the time left, at most one a minute: for logs."""

    def __init__(self, title: str) -> None:
        self._title = title
        self._began = self._said = time.monotonic()
        self._first: int | None = None  # a resumed fit begins far from 0

    def __call__(self, done: int, total: int) -> None:
        """Print a line if the last one is old enough."""
        now = time.monotonic()
        if self._first is None or done < self._first:
            self._first, self._began = done, now
        if now - self._said < LINE_SECONDS or not self._first < done < total:
            return
        self._said = now
        left = timedelta(seconds=round((now - self._began) * (total - done) / (done - self._first)))
        print_message(f"{self._title}: {done:,} of {total:,}, about {left} left")


class Console:
    """The output of one command: the result to stdout, messages to stderr.

    json : print one JSON object on stdout and nothing else
    quiet : print only JSON on stdout, and only warnings and errors on stderr
    """

    def __init__(self, *, json: bool, quiet: bool) -> None:
        self.json, self.quiet = json, quiet

    def say(self, line: str) -> None:
        """Print a message, unless quiet."""
        if not self.quiet:
            print_message(line)

    def warn(self, line: str) -> None:
        """Print a warning, even if quiet."""
        print_message(f"smalti: {line}")

    def result(self, plain: dict[str, Any], text: str) -> None:
        """Print the result: as JSON with --json, else as text unless quiet."""
        if self.json:
            print_result(json.dumps(plain, indent=2, allow_nan=False))
        elif not self.quiet:
            print_result(text)

    @contextmanager
    def progress(self, title: str) -> Iterator[ProgressCallback]:
        """Show a bar with the time left, or lines now and then if stderr is no terminal, unless quiet.

        Yields a function to call with (done, total).
        """
        if self.quiet or sys.stderr is None:
            yield lambda done, total: None
            return
        if not sys.stderr.isatty():
            yield _ProgressLines(title)
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
            task = bar.add_task(title, total=None)
            yield lambda done, total: bar.update(task, completed=done, total=total)
