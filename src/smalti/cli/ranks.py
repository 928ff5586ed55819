"""Commands under torchrun: the processes of one fit are ranks, and rank 0 alone prints and writes.

Imports no PyTorch, so that commands that several processes cannot run are refused at once. Layer: part of `cli`.
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
    "is_main_rank",
    "launcher",
    "one_voice",
    "refuse_several",
]


LAST_WORD_SECONDS = 2.0

ALONE_ADVICE = "start it by itself, since it changes one file"
"""Advice for commands whose file must have one writer at a time."""


def is_main_rank() -> bool:
    """Whether this process is alone, or rank 0 of several."""
    return os.environ.get("RANK", "0") == "0"


def refuse_several(command: str, advice: str) -> None:
    """Refuse a command that several processes cannot share: UsageError on rank 0, silence on the others."""
    if int(os.environ.get("WORLD_SIZE", "1")) > 1:
        error = UsageError(f"{command} runs in one process, not under torchrun: {advice}")
        if is_main_rank():
            raise error
        _end_quietly(error.exit_code)


class QuietConsole(Console):
    """The console of a rank other than 0: it prints nothing."""

    def __init__(self) -> None:
        super().__init__(json=False, quiet=True)

    def warn(self, line: str) -> None:
        """Print nothing: rank 0 prints it."""

    def result(self, plain: dict[str, Any], text: str) -> None:
        """Print nothing: rank 0 prints it."""


def launcher(group: "ProcessGroup") -> str:
    """Return the words before a command of several ranks."""
    return "" if group.size == 1 else "torchrun ... -m "


def console_of(group: "ProcessGroup", console: Console) -> Console:
    """Return the console of a rank."""
    return console if group.is_main else QuietConsole()


@contextmanager
def one_voice(group: "ProcessGroup") -> Iterator[None]:
    """Raise Ctrl-C and errors that all ranks share on rank 0 only; the other ranks end with the exit code."""
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
    """End a rank after rank 0 has printed: torchrun stops all ranks as soon as one of them ends."""
    time.sleep(LAST_WORD_SECONDS)
    raise SystemExit(code)
