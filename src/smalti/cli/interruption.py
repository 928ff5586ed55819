"""Ctrl-C and SIGTERM: long work stops between two steps, slow imports are finished, and the user learns how to resume.

Imports little, since `cli` imports it before anything handles Ctrl-C. Layer: part of `cli`.
"""

import os
import signal
import sys
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from smalti.errors import SmaltiError
from smalti.extras import needing as needing_packages

__all__ = [
    "INTERRUPTED",
    "WorkInterruptedError",
    "command_line",
    "hold_interrupts",
    "needing",
    "stop_on_interrupt",
    "terminable",
]


INTERRUPTED = 130


class WorkInterruptedError(SmaltiError):
    """Interrupted work that can be resumed; the message has the command."""

    exit_code = INTERRUPTED

    @classmethod
    def resuming_with(cls, command: str, state_files: Sequence[Path] = ()) -> "WorkInterruptedError":
        """Return the error whose message names the files that hold the state, and tells the user to run `command`."""
        state = f", its state is in {' and '.join(map(str, state_files))}" if state_files else ""
        return cls(f"interrupted{state}; go on with: {command}")


def command_line(*more: str) -> str:
    """Return the command that the user typed, as a line for a shell, and those of `more` that it lacks."""
    import shlex  # noqa: PLC0415 (this module is imported before Ctrl-C is handled)

    typed = sys.argv[1:]
    return shlex.join(["smalti", *typed, *(option for option in more if option not in typed)])


@contextmanager
def hold_interrupts() -> Iterator[None]:
    """Delay Ctrl-C and SIGTERM to the end of the block, which imports modules; a second one stops it at once.

    An import that is interrupted may turn the KeyboardInterrupt into any other error, or leave half a module.
    """
    with _caught(signal.SIGINT, signal.SIGTERM) as asked:
        yield
    if asked.is_set():
        raise KeyboardInterrupt


@contextmanager
def stop_on_interrupt() -> Iterator[Callable[[], bool]]:
    """Yield a function that says whether Ctrl-C or SIGTERM asked to stop; a second signal stops the work at once."""
    with _caught(signal.SIGINT, signal.SIGTERM) as asked:
        yield asked.is_set


@contextmanager
def terminable() -> Iterator[None]:
    """Let SIGTERM raise KeyboardInterrupt within the block, as Ctrl-C does, so that files are left as after Ctrl-C.

    A SIGTERM that the caller of the program ignores or handles stays as it is, and so does everything in a thread other
    than the main one. A process that was forked within the block ends by it.
    """
    owner = os.getpid()

    def on_signal(number: int, frame: object) -> None:
        if os.getpid() == owner:
            raise KeyboardInterrupt
        signal.signal(number, signal.SIG_DFL)
        os.kill(os.getpid(), number)

    ours = threading.current_thread() is threading.main_thread() and signal.getsignal(signal.SIGTERM) == signal.SIG_DFL
    if ours:
        signal.signal(signal.SIGTERM, on_signal)
    try:
        yield
    finally:
        if ours:
            signal.signal(signal.SIGTERM, signal.SIG_DFL)


@contextmanager
def _caught(*signals: signal.Signals) -> Iterator[threading.Event]:
    """Within the block, the first of these signals sets the event, and the next one raises KeyboardInterrupt.

    Signals that the caller of the program ignores stay ignored. In a thread other than the main one, nothing changes.
    """
    asked, owner = threading.Event(), os.getpid()

    def on_signal(number: int, frame: object) -> None:
        if os.getpid() != owner:  # a worker that was forked within the block: it ends
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


@contextmanager
def needing(work: str, extra: str) -> Iterator[None]:
    """Do as `smalti.extras.needing`, and delay Ctrl-C to the end of the block.

    Only commands delay it: in a program that imports smalti, Ctrl-C is the program's own affair.
    """
    with needing_packages(work, extra), hold_interrupts():
        yield
