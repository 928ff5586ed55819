"""Commands under torchrun: the processes of one fit are ranks, of which rank 0 alone speaks and writes.

This module imports no torch, so that it can tell at once what several processes cannot do.
"""

import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, NoReturn

from smalti.cli.console import Console
from smalti.cli.interruption import INTERRUPTED, WorkInterruptedError
from smalti.errors import UsageError

if TYPE_CHECKING:
    from smalti.training.common.distributed import ProcessGroup

__all__ = [
    "ALONE_ADVICE",
    "QuietConsole",
    "console_of",
    "is_first",
    "launcher",
    "one_voice",
    "refuse_several",
]


LAST_WORD_SECONDS = 2.0

ALONE_ADVICE = "start it by itself, since it changes one file"
"""Advice for commands that write what others must not write at the same time."""


def is_first() -> bool:
    """Whether this process is rank 0, or alone."""
    return os.environ.get("RANK", "0") == "0"


def refuse_several(command: str, advice: str) -> None:
    """End a command that several processes cannot share: UsageError on rank 0, and no word from the others."""
    if int(os.environ.get("WORLD_SIZE", "1")) > 1:
        error = UsageError(f"{command} runs in one process, not under torchrun: {advice}")
        if is_first():
            raise error
        _end_quietly(error.exit_code)


class QuietConsole(Console):
    """The voice of a rank other than 0: it has none."""

    def __init__(self) -> None:
        super().__init__(json=False, quiet=True)

    def warn(self, line: str) -> None:
        """Say nothing: rank 0 says it."""

    def result(self, plain: dict[str, Any], text: str) -> None:
        """Say nothing: rank 0 says it."""


def launcher(group: "ProcessGroup") -> str:
    """Return what stands before a command of several ranks."""
    return "" if group.size == 1 else "torchrun ... -m "


def console_of(group: "ProcessGroup", console: Console) -> Console:
    """Return the voice of a rank."""
    return console if group.is_main else QuietConsole()


@contextmanager
def one_voice(group: "ProcessGroup") -> Iterator[None]:
    """Within, Ctrl-C and errors that all ranks know of are raised on rank 0 only; the others end with the exit code."""
    from smalti.training.common.distributed import RankError  # noqa: PLC0415 (torch is slow to import)

    try:
        yield
    except (RankError, WorkInterruptedError) as error:
        if group.is_main:
            raise
        _end_quietly(error.exit_code)
    except KeyboardInterrupt:
        if group.is_main:
            raise
        _end_quietly(INTERRUPTED)


def _end_quietly(code: int) -> NoReturn:
    """End a rank that leaves the last word to rank 0, which torchrun stops as soon as it sees another one end."""
    time.sleep(LAST_WORD_SECONDS)
    raise SystemExit(code)
