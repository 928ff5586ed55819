"""`smalti study`: repeat the codebook study, with progress on the terminal."""

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from smalti.cli.console import Console, ProgressCallback
from smalti.cli.interruption import WorkInterruptedError, command_line, needing, stop_on_interrupt
from smalti.cli.options import Debug, Json, Quiet, Threads
from smalti.errors import UsageError
from smalti.threads import default_threads

if TYPE_CHECKING:
    from smalti.study.runs import Run
    from smalti.training.observer import Observer
    from smalti.training.reports import Report

__all__ = ["study_command"]


def study_command(
    output: Annotated[Path, typer.Option("-o", "--output", metavar="FOLDER", help="Where to write results.")],
    source: Annotated[str, typer.Argument(metavar="SOURCE", help="The images to study: mnist.")] = "mnist",
    codebook_sizes: Annotated[
        str, typer.Option("--codebook-sizes", metavar="K,...", help="Codebook sizes, separated by commas.")
    ] = "64,128,256,512",
    seeds: Annotated[int, typer.Option("--seeds", min=1, metavar="N", help="Seeds of the quantiser of the study.")] = 5,
    cured_seeds: Annotated[
        int, typer.Option("--cured-seeds", min=0, metavar="N", help="Seeds with the collapse cured.")
    ] = 3,
    ablation_seeds: Annotated[
        int, typer.Option("--ablation-seeds", min=0, metavar="N", help="Seeds of each cure alone.")
    ] = 2,
    epochs: Annotated[
        int, typer.Option("--epochs", min=1, metavar="N", help="Passes over the images in each fit.")
    ] = 3,
    limit: Annotated[
        int | None, typer.Option("--limit", min=1, metavar="N", help="Use only the first images of train and test.")
    ] = None,
    baselines: Annotated[bool, typer.Option(help="Measure the VAE and the classical codecs too.")] = True,
    json: Json = False,
    quiet: Quiet = False,
    threads: Threads = None,
    debug: Debug = False,
) -> None:
    """Repeat the codebook study: fits for each codebook size and seed, tables, figures, one report.

    Finished runs in FOLDER are not repeated, so the same command continues after Ctrl-C. All runs take some hours on 2
    cores; --seeds, --epochs, --limit and --no-baselines make fewer or shorter ones.
    """
    console = Console(json=json, quiet=quiet)
    sizes = _sizes(codebook_sizes)
    with needing("the study", "study"):
        import torch  # noqa: PLC0415 (slow to import)

        from smalti.study.sweep import StudyPlan, run_study  # noqa: PLC0415
    torch.set_num_threads(default_threads(threads))
    plan = StudyPlan(sizes, seeds, cured_seeds, ablation_seeds, epochs, limit, baselines)
    command = command_line()
    with console.progress("study") as progress, stop_on_interrupt() as stopping:
        observer = _Observer(console, progress, stopping)
        try:
            page = run_study(plan, source, output, command, observer)
        except KeyboardInterrupt:  # of a fit, or between two measurements
            raise WorkInterruptedError.resuming_with(command) from None
    console.result({"report": str(page), "runs": len(plan.runs())}, f"{page}: {len(plan.runs())} runs")


def _sizes(text: str) -> tuple[int, ...]:
    try:
        return tuple(sorted({int(size) for size in text.split(",")}))
    except ValueError:
        raise UsageError(f"--codebook-sizes {text!r}: give numbers separated by commas, such as 64,128") from None


class _Observer:
    """Shows a study on the terminal: a bar over the steps of the remaining fits, a line for each that ends."""

    def __init__(self, console: Console, progress: ProgressCallback, stopping: Callable[[], bool]) -> None:
        self.console, self.progress, self.stopping = console, progress, stopping

    def say(self, line: str) -> None:
        """Print a line, and stop after Ctrl-C; the study calls this between two measurements."""
        self.console.say(line)
        if self.stopping():
            raise KeyboardInterrupt

    def fit_observer(self, run: "Run", number: int, runs: int) -> "Observer":
        return _FitObserver(self, number, runs)


class _FitObserver:
    def __init__(self, study: _Observer, number: int, runs: int) -> None:
        self.study, self.number, self.runs, self.should_stop = study, number, runs, study.stopping

    def on_stage(self, title: str, stops: bool) -> None:
        """Print nothing: the study reports whole fits."""

    def on_step(self, stage: str, done: int, total: int) -> None:
        self.study.progress((self.number - 1) * total + done, self.runs * total)

    def on_report(self, report: "Report", history: list[dict[str, Any]]) -> None:
        """Print nothing: the study reports whole fits."""

    def on_message(self, line: str) -> None:
        self.study.console.say(line)

    def on_warning(self, line: str) -> None:
        """Print nothing: the study fixes the length of its fits."""
