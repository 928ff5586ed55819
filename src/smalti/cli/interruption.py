"""Ctrl-C during long work: it stops between two steps, and the user is told how to go on."""

import signal
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from smalti.errors import SmaltiError

__all__ = ["INTERRUPTED", "WorkInterruptedError", "command_line", "hold_interrupts", "stop_on_interrupt"]

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
    asked = threading.Event()

    def on_interrupt(number: int, frame: object) -> None:
        if asked.is_set():
            raise KeyboardInterrupt
        asked.set()

    with _handling(on_interrupt):
        yield
    if asked.is_set():
        raise KeyboardInterrupt


@contextmanager
def stop_on_interrupt() -> Iterator[Callable[[], bool]]:
    """Make Ctrl-C ask the fit to stop after its step; a second Ctrl-C stops at once."""
    asked = threading.Event()

    def on_interrupt(number: int, frame: object) -> None:
        if asked.is_set():
            raise KeyboardInterrupt
        asked.set()

    with _handling(on_interrupt):
        yield asked.is_set


@contextmanager
def _handling(on_interrupt: Callable[[int, object], None]) -> Iterator[None]:
    """Within, Ctrl-C calls this; not if another thread asks, or if the caller of the program has switched it off."""
    before = signal.getsignal(signal.SIGINT)
    if threading.current_thread() is not threading.main_thread() or not callable(before):
        yield
        return
    signal.signal(signal.SIGINT, on_interrupt)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)
