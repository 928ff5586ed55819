"""Ctrl-C or SIGTERM during long work: it stops between two steps, and the user is told how to go on.

Optional parts of smalti in commands: their slow imports, which Ctrl-C does not cut in half.
"""

import os
import signal
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from smalti.errors import SmaltiError
from smalti.extras import needing as needing_packages

__all__ = ["INTERRUPTED", "WorkInterruptedError", "command_line", "hold_interrupts", "needing", "stop_on_interrupt"]


INTERRUPTED = 130


class WorkInterruptedError(SmaltiError):
    """Work that was interrupted and can be gone on with; the message says by which command."""

    exit_code = INTERRUPTED

    @classmethod
    def going_on_with(cls, command: str) -> "WorkInterruptedError":
        """Return the error that tells the user to run `command`."""
        return cls(f"interrupted; go on with: {command}")


def command_line(*more: str) -> str:
    """Return what the user typed, as a line for a shell, with `more` at the end unless it is there already."""
    import shlex  # noqa: PLC0415 (this module is imported before Ctrl-C is heard)

    typed = sys.argv[1:]
    return shlex.join(["smalti", *typed, *(option for option in more if option not in typed)])


@contextmanager
def hold_interrupts() -> Iterator[None]:
    """Let Ctrl-C wait for the end of the block, which imports modules; a second Ctrl-C is heard at once.

    A module that is interrupted half-way may turn the KeyboardInterrupt into anything, or be left half there.
    """
    with _noted(signal.SIGINT) as asked:
        yield
    if asked.is_set():
        raise KeyboardInterrupt


@contextmanager
def stop_on_interrupt() -> Iterator[Callable[[], bool]]:
    """Make Ctrl-C, or SIGTERM, ask the work to stop after its step; a second one stops it at once."""
    with _noted(signal.SIGINT, signal.SIGTERM) as asked:
        yield asked.is_set


@contextmanager
def _noted(*signals: signal.Signals) -> Iterator[threading.Event]:
    """Within, the first of these signals sets the event, and the next one raises KeyboardInterrupt.

    Signals that the caller of the program has switched off stay so, and all stay as they are if another thread asks.
    """
    asked, owner = threading.Event(), os.getpid()

    def on_signal(number: int, frame: object) -> None:
        if os.getpid() != owner:  # a worker that was forked within the block, which is asked to end
            signal.signal(number, signal.SIG_DFL)
            os.kill(os.getpid(), number)
        elif asked.is_set():
            raise KeyboardInterrupt
        else:
            asked.set()

    before: dict[signal.Signals, Any] = {}
    if threading.current_thread() is threading.main_thread():
        handlers = {number: signal.getsignal(number) for number in signals}
        before = {number: handler for number, handler in handlers.items() if handler not in (signal.SIG_IGN, None)}
    for number in before:
        signal.signal(number, on_signal)
    try:
        yield asked
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


# was sibling import


@contextmanager
def needing(what: str, extra: str) -> Iterator[None]:
    """As `smalti.extras.needing`; Ctrl-C waits for the end of the block."""
    with needing_packages(what, extra), hold_interrupts():
        yield
