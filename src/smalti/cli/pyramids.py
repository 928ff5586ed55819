"""What `smalti fit` and `smalti compress` do for the profiles `compact` and `fine`: goals, effort, progress."""

import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from smalti.cli.console import Console, ProgressCallback
from smalti.cli.interruption import WorkInterruptedError, command_line, stop_on_interrupt
from smalti.cli.options import Profile, default_threads
from smalti.errors import UsageError
from smalti.files import atomic_file, writing

if TYPE_CHECKING:
    from smalti.codec import CompressReport
    from smalti.images import ImageSource
    from smalti.training.pyramid import Goal, PyramidModel, PyramidReport, PyramidSettings

__all__ = ["Wanted", "compress_pyramid", "fit_pyramid_with_progress"]


@dataclass(frozen=True)
class Wanted:
    """What a user asked of a fit or of packing, as given; None where nothing was."""

    profile: Profile | None
    codebook_size: int | None
    epochs: int | None
    seed: int | None
    target_mse: float | None = None
    target_ssim: float | None = None
    target_bytes: int | None = None
    effort: int | None = None

    @property
    def has_goal(self) -> bool:
        """Whether a quality or a size was asked for."""
        return any(value is not None for value in (self.target_mse, self.target_ssim, self.target_bytes))

    @property
    def is_pyramid(self) -> bool:
        """Whether it is for the profiles `compact` and `fine`; a goal or an effort means `compact`."""
        if self.profile is Profile.PAPER and (self.has_goal or self.effort is not None):
            raise UsageError(
                "the profile paper has no targets and no effort: leave them out, or take --profile compact"
            )
        return self.profile in (Profile.COMPACT, Profile.FINE) or self.has_goal or self.effort is not None

    def goal(self) -> "Goal | None":
        """The goal that was asked for, or None."""
        from smalti.training.pyramid import Goal  # noqa: PLC0415 (torch is slow to import)

        return Goal(self.target_mse, self.target_ssim, self.target_bytes) if self.has_goal else None

    def settings(self) -> "PyramidSettings":
        """The settings of a fit."""
        from smalti.training.pyramid import DEFAULT_EFFORT, DEFAULT_MSE, Goal, PyramidSettings  # noqa: PLC0415

        if self.epochs is not None:
            raise UsageError("--epochs is for the profile paper; compact and fine take --effort 0 to 9")
        profile = (self.profile or Profile.COMPACT).value
        return PyramidSettings(
            profile,
            self.goal() or Goal(mse=DEFAULT_MSE[profile]),
            DEFAULT_EFFORT if self.effort is None else self.effort,
            self.seed or 0,
            self.codebook_size,
        )


def fit_pyramid_with_progress(
    source: "ImageSource",
    settings: "PyramidSettings",
    console: Console,
    output: Path,
    checkpoint: Path,
    *,
    resume: bool = False,
    threads: int | None = None,
) -> "PyramidModel":
    """Fit a model for `output` while showing how it goes; on Ctrl-C leave the checkpoint and say how to resume.

    The reports go to OUT.log.json too. The checkpoint is the caller's to remove.
    """
    import torch  # noqa: PLC0415

    from smalti.codec import fit_pyramid_source  # noqa: PLC0415
    from smalti.training import FitInterruptedError  # noqa: PLC0415

    torch.set_num_threads(default_threads(threads))
    if checkpoint.exists() and not resume:
        console.warn(f"{checkpoint} of an interrupted fit is there and will be replaced; --resume would go on from it")
        checkpoint.unlink()
    elif resume and not checkpoint.exists():
        console.warn(f"there is no checkpoint {checkpoint} to go on from; fitting from the start")
    with console.progress(f"fit {settings.profile}") as progress, stop_on_interrupt() as stopping:
        observer = _Observer(console, progress, stopping, output.with_name(f"{output.name}.log.json"))
        try:
            return fit_pyramid_source(source, settings, checkpoint=checkpoint, resume=resume, observer=observer)
        except FitInterruptedError:
            raise WorkInterruptedError.going_on_with(command_line("--resume")) from None


def compress_pyramid(
    source: "ImageSource",
    output: Path,
    model: "PyramidModel",
    wanted: Wanted,
    console: Console,
    *,
    own_model: bool,
    threads: int | None,
    **rest: Any,
) -> "CompressReport":
    """Pack a source with a model while showing how it goes. rest : as `compress_with_pyramid` takes it."""
    import torch  # noqa: PLC0415

    from smalti.codec import PyramidPacking, compress_with_pyramid  # noqa: PLC0415

    torch.set_num_threads(default_threads(threads))
    goal = wanted.goal() or (model.settings.goal if own_model else None)
    packing = PyramidPacking(goal, model.settings.effort if wanted.effort is None else wanted.effort, own_model)
    with console.progress("compress") as progress:
        return compress_with_pyramid(
            source,
            output,
            model,
            packing,
            threads=default_threads(threads),
            progress=lambda what, done, total: progress(done, total),
            **rest,
        )


class _Observer:
    """Shows a fit on the terminal, and writes its log, a JSON list with one object a report."""

    def __init__(self, console: Console, progress: ProgressCallback, stopping: Callable[[], bool], log: Path) -> None:
        self.console, self.on_step, self.should_stop, self.log = console, progress, stopping, log

    def on_report(self, report: "PyramidReport", history: list[dict[str, Any]]) -> None:
        """Show where the fit is."""
        stage = "integers" if report.whole else "floats"
        self.console.say(
            f"step {report.step}: MSE {report.mse:.5f}, {report.bits / 8:.2f} bytes an image, "
            f"model about {report.model_bytes / 1000:.0f} kB, codes {'+'.join(map(str, report.codes))} ({stage})"
            f" | {report.seconds:.0f} s"
        )
        with atomic_file(self.log, overwrite=True) as file, writing(self.log):
            file.write(f"{json.dumps(history, indent=2)}\n".encode())
