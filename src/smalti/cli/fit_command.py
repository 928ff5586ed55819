"""`smalti fit`: parse the options, fit, print the result."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from smalti.cli.command_observer import CommandObserver, resumable
from smalti.cli.console import Console
from smalti.cli.interruption import needing
from smalti.cli.options import (
    Codes,
    Debug,
    Device,
    Effort,
    Epochs,
    Force,
    Json,
    Lossless,
    MaxError,
    OutPath,
    Profile,
    Psnr,
    Quiet,
    Resume,
    Seed,
    Source,
    Strict,
    TargetBytes,
    TargetMse,
    TargetSsim,
    Threads,
    largest_error,
    report_skipped,
)
from smalti.cli.ranks import console_of, launcher, one_voice

if TYPE_CHECKING:
    from smalti.codec.fit import FitReport
    from smalti.training.training_kind import AnyModel

__all__ = ["fit_command"]


def fit_command(
    source: Source,
    output: OutPath,
    profile: Profile = None,
    codebook_size: Codes = None,
    epochs: Epochs = None,
    seed: Seed = None,
    psnr: Psnr = None,
    target_mse: TargetMse = None,
    target_ssim: TargetSsim = None,
    target_bytes: TargetBytes = None,
    lossless: Lossless = False,
    max_error: MaxError = None,
    effort: Effort = None,
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

    Profiles: photo is for images of any sizes at the quality that people keep, and drawing is the part of it for sharp
    edges and few colours; lossless keeps every sample, or each within --max-error; compact needs the fewest bytes for
    many small images of one size, fine keeps more of their detail. Their fits find the network and the trade-off that
    meet a target. paper is the network of the study. By default the images and the target decide, and the target is
    36 dB.

    The loss, validation MSE and codebook use of each epoch are shown and written to OUT.log.json. Ctrl-C leaves a
    checkpoint, and prints the command that resumes. Under torchrun several processes fit one model (docs/training.md).
    """
    with needing("fitting", "train"):
        from smalti.codec import FitRequest, fit_file  # noqa: PLC0415 (torch is slow to import)
        from smalti.training.common.distributed import joined  # noqa: PLC0415
    targets = (target_mse, target_ssim, target_bytes)
    with joined(device) as group, one_voice(group):
        console = console_of(group, Console(json=json, quiet=quiet))
        with group.agreed():
            request = FitRequest(
                profile,
                codebook_size,
                epochs,
                seed,
                *targets,
                effort,
                device=device,
                resume=resume,
                psnr=psnr,
                max_error=largest_error(lossless, max_error),
            )
        with resumable(launcher(group)), CommandObserver(console) as observer:
            report = fit_file(
                source,
                output,
                request,
                observer,
                validation=validation,
                strict=strict,
                overwrite=force,
                threads=threads,
                group=group,
            )
    if report is not None:
        _print(report, output, console)


def _images_of(model: "AnyModel") -> dict[str, object]:
    """Return what images a model takes: of one shape, or of any sizes with one number of channels."""
    shape = getattr(model, "image_shape", None)
    return {"channels": getattr(model, "channels", None)} if shape is None else {"image_shape": list(shape)}


def _print(report: "FitReport", output: Path, console: Console) -> None:
    """Print the result, and list the files that were skipped."""
    model, size = report.model, report.model_file_bytes
    plain = {
        "model": str(output),
        "model_file_bytes": size,
        **_images_of(model),
        **model.to_json(),
        "skipped": [vars(file) for file in report.skipped],
    }
    console.result(plain, f"{output}: {model.size_words()}, {size:,} bytes")
    report_skipped(report.skipped, console)
