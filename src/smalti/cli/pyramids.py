"""What `smalti fit` and `smalti compress` do for the profiles `compact` and `fine`: goals, effort, progress."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from smalti.cli.console import Console, ProgressCallback
from smalti.cli.interruption import WorkInterruptedError, command_line, stop_on_interrupt
from smalti.cli.options import default_threads
from smalti.cli.ranks import command_that_resumes, threads_of_rank
from smalti.storage.atomic import atomic_file, writing

if TYPE_CHECKING:
    from smalti.codec.packing import CompressReport
    from smalti.codec.pyramids import PyramidPacking
    from smalti.images.source import ImageSource
    from smalti.training.common.distributed import Group
    from smalti.training.pyramid.fit_pyramid import PyramidReport
    from smalti.training.pyramid.pyramid_model import PyramidModel
    from smalti.training.pyramid.pyramid_settings import PyramidSettings

__all__ = ["compress_pyramid", "fit_pyramid_with_progress", "prepare_checkpoint"]


def fit_pyramid_with_progress(
    source: "ImageSource",
    settings: "PyramidSettings",
    console: Console,
    output: Path,
    checkpoint: Path,
    *,
    resume: bool = False,
    threads: int | None = None,
    group: "Group | None" = None,
    strict: bool = False,
) -> "PyramidModel":
    """Fit a model for `output` while showing how it goes; on Ctrl-C leave the checkpoint and say how to resume.

    The reports go to OUT.log.json too. The checkpoint is the caller's to remove.
    group : the ranks that fit together; None for this process alone    strict : whether passing a file over is an error
    """
    import torch  # noqa: PLC0415

    from smalti.codec.pyramids import fit_pyramid_source  # noqa: PLC0415
    from smalti.training.common.distributed import ALONE  # noqa: PLC0415
    from smalti.training.paper.fit_grid import FitInterruptedError  # noqa: PLC0415

    group = group or ALONE
    torch.set_num_threads(threads_of_rank(threads))
    if group.is_main:
        prepare_checkpoint(checkpoint, resume, console)
    with console.progress(f"fit {settings.profile}") as progress, stop_on_interrupt() as stopping:
        log = output.with_name(f"{output.name}.log.json") if group.is_main else None
        observer = _Observer(console, progress, stopping, log)
        try:
            return fit_pyramid_source(
                source, settings, checkpoint=checkpoint, resume=resume, observer=observer, group=group, strict=strict
            )
        except FitInterruptedError:
            raise WorkInterruptedError.going_on_with(command_that_resumes(group)) from None


def prepare_checkpoint(checkpoint: Path, resume: bool, console: Console) -> None:
    """Remove the checkpoint of an earlier fit that is not to go on, and say what will be done."""
    if checkpoint.exists() and not resume:
        console.warn(f"{checkpoint} of an interrupted fit is there and will be replaced; --resume would go on from it")
        checkpoint.unlink()
    elif resume and not checkpoint.exists():
        console.warn(f"there is no checkpoint {checkpoint} to go on from; fitting from the start")


def compress_pyramid(
    source: "ImageSource",
    output: Path,
    model: "PyramidModel",
    packing: "PyramidPacking",
    console: Console,
    *,
    threads: int | None,
    **rest: Any,
) -> "CompressReport":
    """Pack a source with a model while showing how it goes. rest : as `compress_with_pyramid` takes it."""
    import torch  # noqa: PLC0415

    from smalti.codec.pyramids import compress_with_pyramid  # noqa: PLC0415

    torch.set_num_threads(default_threads(threads))
    with console.progress("compress") as progress:
        try:
            return compress_with_pyramid(
                source,
                output,
                model,
                packing,
                threads=default_threads(threads),
                progress=lambda what, done, total: progress(done, total),
                **rest,
            )
        except KeyboardInterrupt:
            raise WorkInterruptedError.going_on_with(command_line("--resume")) from None


_REFINING = {
    "encode": "refining: choose tokens",
    "search": "refining: search for better tokens",
    "refit": "refining: decoder and prior learn from the tokens",
}


class _Observer:
    """Shows a fit on the terminal, and writes its log, a JSON list with one object a report."""

    def __init__(
        self, console: Console, progress: ProgressCallback, stopping: Callable[[], bool], log: Path | None
    ) -> None:
        self.console, self.on_step, self.should_stop, self.log = console, progress, stopping, log
        self._stage = ""

    def on_refining(self, what: str, done: int, total: int) -> None:
        """Show how far decoder and prior are in learning from the tokens that were found."""
        if what != self._stage:
            self._stage = what
            self.console.say(_REFINING[what])
        self.on_step(done, total)

    def on_report(self, report: "PyramidReport", history: list[dict[str, Any]]) -> None:
        """Show where the fit is."""
        stage = "integers" if report.whole else "floats"
        self.console.say(
            f"step {report.step}: MSE {report.mse:.5f}, {report.bits / 8:.2f} bytes an image, "
            f"model about {report.model_bytes / 1000:.0f} kB, codes {'+'.join(map(str, report.codes))} ({stage})"
            f" | {report.seconds:.0f} s"
        )
        if self.log is None:
            return
        with atomic_file(self.log, overwrite=True) as file, writing(self.log):
            file.write(f"{json.dumps(history, indent=2)}\n".encode())
