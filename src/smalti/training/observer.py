"""The observer protocol: how a front end follows a fit or the packing of an archive, and how it stops the work.

Printing and stopping are apart: `on_message` never raises to stop the work; `should_stop` is asked between two steps.
"""

import logging
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Protocol

from smalti.training.reports import Report

__all__ = [
    "FitInterruptedError",
    "LoggingObserver",
    "Observer",
    "Progress",
    "SilentObserver",
    "stop_if_asked",
]

Progress = Callable[[str, int, int], None]
"""A callback that gets the stage of the work, the steps done, and the steps in total."""


class FitInterruptedError(KeyboardInterrupt):
    """The observer stopped the work.

    checkpoint : holds the state to resume from; None if no file does
    state_files : all files that a resumed run continues from
    """

    def __init__(self, checkpoint: Path | None, state_files: Sequence[Path] = ()) -> None:
        self.checkpoint = checkpoint
        self.state_files = tuple(state_files) or (() if checkpoint is None else (checkpoint,))
        where = " and ".join(map(str, self.state_files)) or "no file"
        super().__init__(f"the work was interrupted; its state is in {where}")


class Observer(Protocol):
    """The calls that a fit or a packing makes to its front end."""

    def on_stage(self, title: str, stops: bool) -> None:
        """Announce a stage of the work, such as "fit" or "compress".

        stops : whether the work asks `should_stop` after every step, so that an interruption can wait for it
        """

    def on_step(self, stage: str, done: int, total: int) -> None:
        """Announce that `done` of `total` steps are done.

        stage : "fit" for steps of learning; "encode", "search", "refit" for work on tokens; "write" for images written
        """

    def on_report(self, report: Report, history: list[dict[str, Any]]) -> None:
        """Announce new figures of a fit. history : all figures so far, one dictionary for each epoch or report"""

    def on_message(self, line: str) -> None:
        """Announce how the work goes, in one line."""

    def on_warning(self, line: str) -> None:
        """Warn the user in one line, even where messages are hidden."""

    def should_stop(self) -> bool:
        """Return True to stop after this step: the work then saves its state and raises FitInterruptedError."""


class SilentObserver:
    """An Observer that ignores every call and never stops the work. Observers of a few calls derive from it."""

    def on_stage(self, title: str, stops: bool) -> None:
        """Ignore it."""

    def on_step(self, stage: str, done: int, total: int) -> None:
        """Ignore it."""

    def on_report(self, report: Report, history: list[dict[str, Any]]) -> None:
        """Ignore it."""

    def on_message(self, line: str) -> None:
        """Ignore it."""

    def on_warning(self, line: str) -> None:
        """Ignore it."""

    def should_stop(self) -> bool:
        """Return False."""
        return False


class LoggingObserver(SilentObserver):
    """The observer of the Python API: lines go to the logger "smalti".

    progress : called at each step as `progress(stage, done, total)`; its exceptions end the work. None for no calls
    """

    def __init__(self, progress: Progress | None = None) -> None:
        self._progress = progress
        self._logger = logging.getLogger("smalti")

    def on_step(self, stage: str, done: int, total: int) -> None:
        """Call the function."""
        if self._progress is not None:
            self._progress(stage, done, total)

    def on_report(self, report: Report, history: list[dict[str, Any]]) -> None:
        """Log the figures."""
        self._logger.info(report.sentence())

    def on_message(self, line: str) -> None:
        """Log the line."""
        self._logger.info(line)

    def on_warning(self, line: str) -> None:
        """Log the line as a warning."""
        self._logger.warning(line)


def stop_if_asked(observer: Observer, checkpoint: Path | None) -> None:
    """Raise FitInterruptedError if the observer asks to stop."""
    if observer.should_stop():
        raise FitInterruptedError(checkpoint)
