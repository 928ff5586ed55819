"""`smalti fit`, and the fitting that `smalti compress` does when it is given no model."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from smalti.cli.console import Console, ProgressCallback
from smalti.cli.extras import needing
from smalti.cli.interruption import WorkInterruptedError, command_line, stop_on_interrupt
from smalti.cli.options import (
    Codes,
    Debug,
    Device,
    EffortOption,
    Epochs,
    Force,
    Json,
    OutPath,
    ProfileOption,
    Quiet,
    Resume,
    Seed,
    Source,
    TargetBytes,
    TargetMse,
    TargetSsim,
    Threads,
    default_threads,
)
from smalti.cli.pyramids import fit_pyramid_with_progress
from smalti.cli.sources import open_for, report_skipped
from smalti.errors import UsageError
from smalti.files import atomic_file, check_output, writing

if TYPE_CHECKING:
    from smalti.codec import Wanted
    from smalti.images import ImageSource
    from smalti.training import EpochReport, FitSettings, Model, QuantizationReport

__all__ = ["checkpoint_path", "fit_command", "fit_with_progress"]

FEW_STEPS = 1_500
"""Below about this many steps the study's network has not learned its images (it takes 2,814 in the study)."""


def fit_command(
    source: Source,
    output: OutPath,
    profile: ProfileOption = None,
    codebook_size: Codes = None,
    epochs: Epochs = None,
    seed: Seed = None,
    target_mse: TargetMse = None,
    target_ssim: TargetSsim = None,
    target_bytes: TargetBytes = None,
    effort: EffortOption = None,
    validation: Annotated[
        str | None,
        typer.Option(
            "--validation",
            metavar="SOURCE",
            help="Images to measure each epoch on [default: the test part of a named set, else some of SOURCE].",
            show_default=False,
        ),
    ] = None,
    device: Device = "cpu",
    resume: Resume = False,
    force: Force = False,
    json: Json = False,
    quiet: Quiet = False,
    threads: Threads = None,
    debug: Debug = False,
) -> None:
    """Learn a model from SOURCE and write it to a .smalti-model file.

    Profiles: paper is the study's network; compact takes the fewest bytes, fine keeps more. For the last two the fit
    finds the network, the codebooks and the trade-off that meet a target.

    Each epoch's loss, validation MSE and use of the codebook are shown and written to OUT.log.json. Ctrl-C leaves a
    checkpoint, and the line that resumes from it.
    """
    console = Console(json=json, quiet=quiet)
    check_output(output, force)
    with needing("fitting", "train"):
        from smalti.codec import Wanted  # noqa: PLC0415 (torch is slow to import)
    name = None if profile is None else profile.value
    wanted = Wanted(name, codebook_size, epochs, seed, target_mse, target_ssim, target_bytes, effort)
    if wanted.is_pyramid:
        if validation is not None:
            raise UsageError("--validation is for the profile paper")
        _fit_pyramid(source, output, wanted, console, resume, threads)
        return
    settings = wanted.paper_settings()
    images = open_for(source, console)
    check_images = None if validation is None else open_for(validation, console)
    model = fit_with_progress(
        images,
        settings,
        console,
        output,
        log=output.with_name(f"{output.name}.log.json"),
        validation=check_images,
        device=device,
        resume=resume,
        threads=threads,
    )
    model.save(output)
    checkpoint_path(output).unlink(missing_ok=True)
    plain = {
        "model": str(output),
        "model_file_bytes": output.stat().st_size,
        "image_shape": list(model.image_shape),
        "settings": model.settings.to_json(),
        "provenance": model.provenance,
        "history": model.history,
        "quantization": model.quantization,
        "skipped": [vars(file) for file in images.skipped],
    }
    console.result(plain, f"{output}: {model.provenance['parameters']:,} parameters, {output.stat().st_size:,} bytes")
    report_skipped(images, console)


def _fit_pyramid(
    source: str, output: Path, wanted: "Wanted", console: Console, resume: bool, threads: int | None
) -> None:
    settings = wanted.pyramid_settings()
    images = open_for(source, console)
    checkpoint = checkpoint_path(output)
    model = fit_pyramid_with_progress(images, settings, console, output, checkpoint, resume=resume, threads=threads)
    model.save(output)
    checkpoint.unlink(missing_ok=True)
    plain = {
        "model": str(output),
        "model_file_bytes": output.stat().st_size,
        "image_shape": list(model.image_shape),
        "settings": model.settings.to_json(),
        "provenance": model.provenance,
        "history": model.history,
        "skipped": [vars(file) for file in images.skipped],
    }
    console.result(plain, f"{output}: {model.codebook_size:,} codes, {output.stat().st_size:,} bytes")
    report_skipped(images, console)


def fit_with_progress(
    source: "ImageSource",
    settings: "FitSettings",
    console: Console,
    output: Path,
    *,
    log: Path | None = None,
    validation: "ImageSource | None" = None,
    device: str = "cpu",
    resume: bool = False,
    threads: int | None = None,
) -> "Model":
    """Fit a model for `output` while showing how it goes; on Ctrl-C leave a checkpoint and say how to resume.

    log : where each epoch's figures are written too
    The checkpoint is the caller's to remove, once what the model was fitted for is written.
    """
    import torch  # noqa: PLC0415

    from smalti.codec import fit_source  # noqa: PLC0415
    from smalti.training import FitInterruptedError, choose_device  # noqa: PLC0415

    torch.set_num_threads(default_threads(threads))
    _warn_of_few_steps(len(source), settings, console)
    checkpoint = checkpoint_path(output)
    if checkpoint.exists() and not resume:
        console.warn(f"{checkpoint} of an interrupted fit is there and will be replaced; --resume would go on from it")
        checkpoint.unlink()
    elif resume and not checkpoint.exists():
        console.warn(f"there is no checkpoint {checkpoint} to go on from; fitting from the start")
    with console.progress(f"fit K={settings.quantizer.codebook_size}") as progress, stop_on_interrupt() as stopping:
        observer = _Observer(console, progress, stopping, log)
        try:
            return fit_source(
                source,
                settings,
                validation=validation,
                device=choose_device(device),
                checkpoint=checkpoint,
                resume=resume,
                observer=observer,
            )
        except FitInterruptedError:
            raise WorkInterruptedError.going_on_with(command_line("--resume")) from None


def _warn_of_few_steps(images: int, settings: "FitSettings", console: Console) -> None:
    steps_per_epoch = -(-images // settings.batch_images)
    steps = steps_per_epoch * settings.epochs
    if steps < FEW_STEPS:
        console.warn(
            f"this fit has {_count(steps, 'step')} ({_count(images, 'image')}, {_count(settings.epochs, 'epoch')}), "
            f"too few to learn much; --epochs {-(-FEW_STEPS // steps_per_epoch)} or more gives better images"
        )


def _count(number: int, noun: str) -> str:
    return f"{number:,} {noun}{'' if number == 1 else 's'}"


def checkpoint_path(output: Path) -> Path:
    """Return where the state of a fit for `output` is kept while it runs."""
    return output.with_name(f"{output.name}.checkpoint")


class _Observer:
    """Shows a fit on the terminal, and writes its log if there is to be one, a JSON list with one object an epoch."""

    def __init__(
        self, console: Console, progress: ProgressCallback, stopping: Callable[[], bool], log: Path | None
    ) -> None:
        self.console, self.on_step, self.should_stop, self.log = console, progress, stopping, log

    def on_epoch(self, report: "EpochReport", history: list[dict[str, Any]]) -> None:
        """Show an epoch's figures and write the log so far."""
        self.console.say(
            f"epoch {report.epoch}: loss {report.reconstruction:.5f} reconstruction + {report.codebook:.5f} codebook"
            f" + {report.commitment:.5f} commitment | validation MSE {report.validation_mse:.5f}"
            f" | {report.codes_used} codes used, perplexity {report.perplexity:.1f},"
            f" {report.entropy_bits_per_token:.2f} bits/token | {report.seconds:.0f} s"
        )
        if self.log is not None:
            with atomic_file(self.log, overwrite=True) as file, writing(self.log):
                file.write(f"{json.dumps(history, indent=2)}\n".encode())

    def on_quantized(self, report: "QuantizationReport") -> None:
        """Show what the decoder's integers cost."""
        self.console.say(
            f"integers: validation MSE {report.float_mse:.5f} in floats, {report.calibrated_mse:.5f} rounded, "
            f"{report.mse:.5f} after {report.steps} steps of fine-tuning | {report.seconds:.0f} s"
        )
