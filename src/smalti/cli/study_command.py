"""`smalti study`.

`smalti bench`.
"""

from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from smalti.cli.console import Console, ProgressCallback
from smalti.cli.interruption import WorkInterruptedError, command_line, needing, stop_on_interrupt
from smalti.cli.options import SOURCE_HELP, Debug, Json, Quiet, Threads, default_threads
from smalti.errors import UsageError

if TYPE_CHECKING:
    from smalti.bench.results import BenchResult
    from smalti.study.runs import Run
    from smalti.training.observer import Observer, Report

__all__ = ["bench_command", "study_command"]


def study_command(
    output: Annotated[Path, typer.Option("-o", "--output", metavar="FOLDER", help="Where results are kept.")],
    source: Annotated[str, typer.Argument(metavar="SOURCE", help="The images to study: mnist.")] = "mnist",
    codebook_sizes: Annotated[
        str, typer.Option("--codebook-sizes", metavar="K,...", help="Codebook sizes, separated by commas.")
    ] = "64,128,256,512",
    seeds: Annotated[int, typer.Option("--seeds", min=1, metavar="N", help="Seeds of the study's own quantiser.")] = 5,
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

    Finished runs are kept in FOLDER and not done again, so the study can be stopped with Ctrl-C and continued by the
    same command. The whole takes some hours on 2 cores; --seeds, --epochs, --limit and --no-baselines shrink it.
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
            raise WorkInterruptedError.going_on_with(command) from None
    console.result({"report": str(page), "runs": len(plan.runs())}, f"{page}: {len(plan.runs())} runs")


def _sizes(text: str) -> tuple[int, ...]:
    try:
        return tuple(sorted({int(size) for size in text.split(",")}))
    except ValueError:
        raise UsageError(f"--codebook-sizes {text!r}: give numbers separated by commas, such as 64,128") from None


class _Observer:
    """Shows a study on the terminal: a bar over the steps of all fits that are left, a line for each that ends."""

    def __init__(self, console: Console, progress: ProgressCallback, stopping: Callable[[], bool]) -> None:
        self.console, self.progress, self.stopping = console, progress, stopping

    def say(self, line: str) -> None:
        """Tell of it; between two measurements is also where an interruption is heard."""
        self.console.say(line)
        if self.stopping():
            raise KeyboardInterrupt

    def fit_observer(self, run: "Run", number: int, runs: int) -> "Observer":
        return _FitObserver(self, number, runs)


class _FitObserver:
    def __init__(self, study: _Observer, number: int, runs: int) -> None:
        self.study, self.number, self.runs, self.should_stop = study, number, runs, study.stopping

    def on_stage(self, title: str, stops: bool) -> None:
        """Say nothing: the study tells of whole fits."""

    def on_step(self, stage: str, done: int, total: int) -> None:
        self.study.progress((self.number - 1) * total + done, self.runs * total)

    def on_report(self, report: "Report", history: list[dict[str, Any]]) -> None:
        """Say nothing of this either."""

    def on_message(self, line: str) -> None:
        self.study.console.say(line)

    def on_warning(self, line: str) -> None:
        """Say nothing: a study's fits are as long as its plan says."""


def bench_command(
    output: Annotated[Path, typer.Option("-o", "--output", metavar="FOLDER", help="Where results are kept.")],
    source: Annotated[str, typer.Argument(metavar="SOURCE", help=SOURCE_HELP)] = "mnist",
    archives: Annotated[
        list[Path] | None,
        typer.Option("--archive", metavar="ARCHIVE", help="A .smalti file of SOURCE; may be given several times."),
    ] = None,
    json: Json = False,
    quiet: Quiet = False,
    threads: Threads = None,
    debug: Debug = False,
) -> None:
    """Measure archives of SOURCE and classical codecs side by side: bytes, MSE and SSIM.

    Codecs (JPEG, JPEG 2000, WebP, AVIF, JPEG XL) code the images as mosaics over a sweep of qualities; archives are
    decoded by their exact reader. FOLDER gets the numbers (.json), a page with tables (.md) and a picture (.png),
    named by SOURCE. What was measured before is kept there: further archives can be added, and Ctrl-C loses one
    codec's work at most.
    """
    console = Console(json=json, quiet=quiet)
    with needing("the bench", "study"):
        from smalti.bench.run import run_bench  # noqa: PLC0415 (codecs and figures are slow to import)
    command = command_line()
    with stop_on_interrupt() as stopping:

        def say(line: str) -> None:
            console.say(line)
            if stopping():
                raise KeyboardInterrupt

        try:
            result, files = run_bench(source, output, archives or [], command, say, default_threads(threads))
        except KeyboardInterrupt:
            raise WorkInterruptedError.going_on_with(command) from None
    plain = {"page": str(files.page), "figure": str(files.figure), "numbers": str(files.numbers), **_plain(result)}
    console.result(plain, f"{_text(result)}\n{files.page}")


def _plain(result: "BenchResult") -> dict[str, Any]:
    """Return the result and what follows from it: what codecs need at each archive's MSE and at the reference's."""
    from smalti.bench.results import needs, reference  # noqa: PLC0415

    matched = {
        archive.name: {
            "bytes_per_image": archive.bytes_per_image,
            "mse": archive.mse,
            "codecs": [asdict(need) for need in needs(result, archive.mse)],
        }
        for archive in result.archives
    }
    found = reference(result)
    return {**asdict(result), "matched": matched, "reference": None if found is None else asdict(found)}


def _text(result: "BenchResult") -> str:
    from smalti.bench.page import reference_line  # noqa: PLC0415
    from smalti.bench.results import best_need, reference  # noqa: PLC0415

    found = reference(result)
    lines = []
    if found is not None:
        lines.append(reference_line(found))
        lines += [f"  {need.name} needs {need.bytes_per_image:,.2f} bytes there" for need in found.needs]
    for archive in result.archives:
        best = best_need(result, archive.mse)
        told = "" if best is None else f"; {best.name} needs {best.bytes_per_image:,.2f} there"
        lines.append(f"{archive.name}: {archive.bytes_per_image:,.2f} bytes an image, MSE {archive.mse:.5f}{told}")
    return "\n".join(lines)
