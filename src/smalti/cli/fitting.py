"""`smalti fit`, and the fitting that `smalti compress` does when it is given no model."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from smalti.cli.console import Console, ProgressCallback
from smalti.cli.extras import needing
from smalti.cli.interruption import WorkInterruptedError, stop_on_interrupt
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
    Strict,
    TargetBytes,
    TargetMse,
    TargetSsim,
    Threads,
)
from smalti.cli.pyramids import fit_pyramid_with_progress, prepare_checkpoint
from smalti.cli.ranks import command_that_resumes, console_of, is_first, one_voice, open_on_all, threads_of_rank
from smalti.cli.sources import report_skipped
from smalti.errors import UsageError
from smalti.storage.atomic import atomic_file, check_output, writing

if TYPE_CHECKING:
    from smalti.images.source import ImageSource
    from smalti.training.common.distributed import Group
    from smalti.training.paper.grid_model import Model
    from smalti.training.paper.observer import EpochReport, QuantizationReport
    from smalti.training.paper.settings import FitSettings
    from smalti.training.pyramid.pyramid_model import PyramidModel

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
    strict: Strict = False,
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
    checkpoint, and the line that resumes from it. Under torchrun several processes fit one model (docs/training.md).
    """
    if is_first():
        check_output(output, force)
    with needing("fitting", "train"):
        from smalti.codec.wanted import Wanted  # noqa: PLC0415 (torch is slow to import)
        from smalti.training.common.distributed import joined  # noqa: PLC0415
        from smalti.training.pyramid.pyramid_settings import PyramidSettings  # noqa: PLC0415
    name = None if profile is None else profile.value
    wanted = Wanted(name, codebook_size, epochs, seed, target_mse, target_ssim, target_bytes, effort)
    with joined(device) as group, one_voice(group):
        console = console_of(group, Console(json=json, quiet=quiet))
        with group.agreed():
            if wanted.is_pyramid and validation is not None:
                raise UsageError("--validation is for the profile paper")
            settings = wanted.pyramid_settings() if wanted.is_pyramid else wanted.paper_settings()
        images = open_on_all(source, console, group)
        check_images = None if validation is None else open_on_all(validation, console, group)
        model: Model | PyramidModel
        if isinstance(settings, PyramidSettings):
            checkpoint = checkpoint_path(output)
            model = fit_pyramid_with_progress(
                images,
                settings,
                console,
                output,
                checkpoint,
                resume=resume,
                threads=threads,
                group=group,
                strict=strict,
            )
        else:
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
                group=group,
                strict=strict,
            )
        with group.agreed():
            if group.is_main:
                model.save(output)
                checkpoint_path(output).unlink(missing_ok=True)
    if group.is_main:
        _tell(model, output, images, console)


def _tell(model: "Model | PyramidModel", output: Path, images: "ImageSource", console: Console) -> None:
    """Give the result, and list what was passed over."""
    size = output.stat().st_size
    plain = {
        "model": str(output),
        "model_file_bytes": size,
        "image_shape": list(model.image_shape),
        "settings": model.settings.to_json(),
        "provenance": model.provenance,
        "history": model.history,
    }
    if hasattr(model, "quantization"):  # of the profile paper
        plain["quantization"] = model.quantization
        learned = f"{model.provenance['parameters']:,} parameters"
    else:
        learned = f"{model.codebook_size:,} codes"
    plain["skipped"] = [vars(file) for file in images.skipped]
    console.result(plain, f"{output}: {learned}, {size:,} bytes")
    report_skipped(images.skipped, console)


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
    group: "Group | None" = None,
    strict: bool = False,
) -> "Model":
    """Fit a model for `output` while showing how it goes; on Ctrl-C leave a checkpoint and say how to resume.

    log : where each epoch's figures are written too    group : the ranks that fit together; None for this process alone
    strict : whether a file that would be passed over is an error
    The checkpoint is the caller's to remove, once what the model was fitted for is written.
    """
    import torch  # noqa: PLC0415

    from smalti.codec.fitting import fit_source  # noqa: PLC0415
    from smalti.training.common.distributed import ALONE  # noqa: PLC0415
    from smalti.training.paper.fit_grid import FitInterruptedError, choose_device  # noqa: PLC0415

    group = group or ALONE
    torch.set_num_threads(threads_of_rank(threads))
    with group.agreed():
        device = group.own_device(choose_device(device))
    _warn_of_few_steps(len(source), settings, console)
    checkpoint = checkpoint_path(output)
    if group.is_main:
        prepare_checkpoint(checkpoint, resume, console)
    with console.progress(f"fit K={settings.quantizer.codebook_size}") as progress, stop_on_interrupt() as stopping:
        observer = _Observer(console, progress, stopping, log if group.is_main else None)
        try:
            return fit_source(
                source,
                settings,
                validation=validation,
                device=device,
                checkpoint=checkpoint,
                resume=resume,
                observer=observer,
                group=group,
                strict=strict,
            )
        except FitInterruptedError:
            raise WorkInterruptedError.going_on_with(command_that_resumes(group)) from None


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
