"""What a front end hears of long work, and how it stops it: one protocol for fitting and packing.

Printing and stopping are two things: `on_message` never raises to stop; `should_stop` is asked between two steps.
"""

import logging
from collections.abc import Callable
from pathlib import Path
from typing import Any, Protocol

__all__ = [
    "FitInterruptedError",
    "LoggingObserver",
    "Observer",
    "Progress",
    "Report",
    "SilentObserver",
    "stop_if_asked",
]

Progress = Callable[[str, int, int], None]
"""Called with a stage of the work, and how many of its steps are done, of how many."""


class FitInterruptedError(KeyboardInterrupt):
    """Work that was asked to stop. `checkpoint` holds its state, so that it can be resumed; None if nothing does."""

    def __init__(self, checkpoint: Path | None) -> None:
        super().__init__(f"the work was interrupted; its state is in {checkpoint}")
        self.checkpoint = checkpoint


class Report(Protocol):
    """Figures of a fit."""

    def sentence(self) -> str:
        """Return the figures in one line."""

    def to_json(self) -> dict[str, Any]:
        """Return the figures as a plain dictionary."""


class Observer(Protocol):
    """What a front end may do while a model is fitted or images are packed."""

    def on_stage(self, title: str, stops: bool) -> None:
        """A stage of the work begins, such as "fit" or "compress".

        stops : whether the work asks `should_stop` after every step, so that an interruption can wait for it
        """

    def on_step(self, stage: str, done: int, total: int) -> None:
        """`done` of `total` steps are done.

        stage : "fit" for steps of learning; "encode", "search", "refit" for work on tokens; "write" for images written
        """

    def on_report(self, report: Report, history: list[dict[str, Any]]) -> None:
        """New figures of a fit. history : those of the fit so far, one dictionary an epoch or report"""

    def on_message(self, line: str) -> None:
        """A line on how the work goes."""

    def on_warning(self, line: str) -> None:
        """A line that the user should see even if messages are hidden."""

    def should_stop(self) -> bool:
        """Return True to stop after this step; the work then leaves its state and raises FitInterruptedError."""


class SilentObserver:
    """An Observer that ignores everything and never stops the work. Observers of a few events derive from it."""

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
    """The observer of calls from Python: lines go to the logger "smalti".

    progress : called with each step as `progress(stage, done, total)`; what it raises ends the work. None calls nothing
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
