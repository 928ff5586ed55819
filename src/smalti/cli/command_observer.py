"""Long work on the terminal: a bar for each stage, lines for reports, and Ctrl-C that stops after a step.

Layer: part of `cli`.
"""

from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from types import TracebackType
from typing import TYPE_CHECKING, Any

from smalti.cli.console import Console
from smalti.cli.interruption import WorkInterruptedError, command_line, stop_on_interrupt

if TYPE_CHECKING:
    from smalti.training.reports import Report

__all__ = ["CommandObserver", "resumable"]


class CommandObserver:
    """An `Observer` that prints to the console of a command, until the end of its `with` block."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self._stage, self._bar = ExitStack(), ExitStack()
        self._title: str | None = None
        self._part: str | None = None
        self._show: Callable[[int, int], None] = lambda done, total: None
        self._stopping: Callable[[], bool] = lambda: False
        self.on_message, self.on_warning = console.say, console.warn

    def __enter__(self) -> "CommandObserver":
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self._bar.close()
        self._stage.close()

    def on_stage(self, title: str, stops: bool) -> None:
        """Begin a new bar. If `stops`, Ctrl-C and SIGTERM take effect at the end of a step.

        Raises KeyboardInterrupt if Ctrl-C was pressed after the last step of the stage before.
        """
        asked = self._stopping()
        self._bar.close()
        self._stage.close()
        if asked:
            raise KeyboardInterrupt
        self._title, self._part = title, None
        self._stopping = self._stage.enter_context(stop_on_interrupt()) if stops else lambda: False
        self._show = self._bar.enter_context(self._console.progress(title))

    def on_step(self, stage: str, done: int, total: int) -> None:
        """Move the bar. Each part of a stage has a bar of its own, so that the time left is that of its own steps."""
        if stage != self._part:
            self._part = stage
            if self._title is not None and stage not in self._title.split():
                self._bar.close()
                self._show = self._bar.enter_context(self._console.progress(f"{self._title}: {stage}"))
        self._show(done, total)

    def progress(self, stage: str, done: int, total: int) -> None:
        """Move the bar of a stage that begins with its first step."""
        if stage != self._title:
            self.on_stage(stage, stops=False)
        self._show(done, total)

    def on_report(self, report: "Report", history: list[dict[str, Any]]) -> None:
        """Show the figures of a fit."""
        self._console.say(report.sentence())

    def should_stop(self) -> bool:
        """Return whether Ctrl-C was pressed in this stage."""
        return self._stopping()


@contextmanager
def resumable(launcher: str = "") -> Iterator[None]:
    """Turn an interruption that left a checkpoint into the line that resumes from it.

    launcher : the words before the command, such as "torchrun ... -m "
    """
    from smalti.training.observer import FitInterruptedError  # noqa: PLC0415 (torch is slow to import)

    try:
        yield
    except FitInterruptedError as stopped:
        resuming = f"{launcher}{command_line('--resume')}"
        raise WorkInterruptedError.resuming_with(resuming, stopped.state_files) from None
