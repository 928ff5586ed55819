"""`smalti compress`, `smalti decompress` and `smalti get`."""

from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer

from smalti.archive.open import open_images
from smalti.archive.recovery.parity import RecoverySpec
from smalti.cli.console import Console
from smalti.cli.interruption import needing
from smalti.cli.observer import CommandObserver, resumable
from smalti.cli.options import (
    ArchivePlace,
    Codes,
    Debug,
    Device,
    EffortOption,
    Epochs,
    Force,
    Json,
    MaxMse,
    NoLabels,
    OutOrPlan,
    OutPath,
    ProfileOption,
    Quiet,
    Recovery,
    Resume,
    Seed,
    SourceOrPlan,
    Strict,
    TargetBytes,
    TargetMse,
    TargetSsim,
    Threads,
    default_threads,
    report_skipped,
)
from smalti.cli.plan import EngineOption, PlanOption, TaskOption, WorkersOption, compress_plan
from smalti.cli.ranks import refuse_several
from smalti.cli.summary import (
    info_json,
    larger_than_raw,
    missing_json,
    missing_line,
    missing_text,
    model_heavy,
    short_summary,
    warn_of_damage,
)
from smalti.errors import DamagedArchiveError, UsageError
from smalti.exchange import extract

__all__ = ["compress_command", "decompress_command", "get_command"]


def compress_command(
    source: SourceOrPlan = None,
    output: OutOrPlan = None,
    model: Annotated[
        Path | None,
        typer.Option("--model", metavar="MODEL", help="A file from smalti fit [default: fit one on SOURCE]."),
    ] = None,
    adapt: Annotated[
        bool, typer.Option("--adapt", help="With --model: let the archive's copy of it learn from these images.")
    ] = False,
    profile: ProfileOption = None,
    codebook_size: Codes = None,
    epochs: Epochs = None,
    seed: Seed = None,
    target_mse: TargetMse = None,
    target_ssim: TargetSsim = None,
    target_bytes: TargetBytes = None,
    effort: EffortOption = None,
    max_mse: MaxMse = None,
    recovery: Recovery = None,
    no_labels: NoLabels = False,
    strict: Strict = False,
    plan: PlanOption = None,
    task: TaskOption = None,
    engine: EngineOption = None,
    workers: WorkersOption = None,
    device: Device = "cpu",
    resume: Resume = False,
    force: Force = False,
    json: Json = False,
    quiet: Quiet = False,
    threads: Threads = None,
    debug: Debug = False,
) -> None:
    """Pack the images of SOURCE in one self-contained .smalti file.

    Without --model, a model is fitted on SOURCE first. Images of several shapes are packed shape by shape, in one file.
    Files that cannot be read are passed over and listed, and the exit code is then 3; with --strict they are an error.

    With --plan, the shards of a plan from smalti plan that are missing are made, and nothing else is given.
    """
    refuse_several("smalti compress", "fit with smalti fit first, then give --model")
    console = Console(json=json, quiet=quiet)
    if plan is not None:
        shaping: dict[str, object] = {"SOURCE": source, "-o": output, "--model": model, "--adapt": adapt}
        shaping |= {"--profile": profile, "--codebook-size": codebook_size, "--epochs": epochs, "--seed": seed}
        shaping |= {"--target-mse": target_mse, "--target-ssim": target_ssim, "--target-bytes": target_bytes}
        shaping |= {"--effort": effort, "--max-mse": max_mse, "--recovery": recovery, "--no-labels": no_labels}
        shaping |= {"--device": device, "--resume": resume, "--threads": threads}
        compress_plan(plan, task, engine, workers, console, given=shaping, strict=strict, force=force)
        return
    if source is None or output is None:
        raise UsageError("give SOURCE and -o OUT, or --plan PLAN; see smalti compress --help")
    if any(value is not None for value in (task, engine, workers)):
        raise UsageError("--task, --engine and --workers go with --plan: make a plan with smalti plan")
    with needing("compressing", "train"):
        from smalti.codec.compress import compress_images  # noqa: PLC0415 (torch is slow to import)
        from smalti.codec.request import FitRequest, PackOptions  # noqa: PLC0415 (torch is slow to import)
    name = None if profile is None else profile.value
    targets = (target_mse, target_ssim, target_bytes)
    request = FitRequest(name, codebook_size, epochs, seed, *targets, effort, adapt, device, resume)
    spec = None if recovery is None else RecoverySpec.parse(recovery)
    options = PackOptions(not no_labels, max_mse, spec, strict, force, threads)
    with resumable(), CommandObserver(console) as observer:
        report = compress_images(source, output, model, request, options, observer)
    plain = {"archive": str(output), **info_json(report.info), "skipped": [asdict(file) for file in report.skipped]}
    console.result(plain, short_summary(output, report.info))
    larger = larger_than_raw(report.info)
    heavy = model_heavy(report.info) if model is None else None
    for line in (larger, heavy, report.missed):
        if line is not None:
            console.warn(line)
    report_skipped(report.skipped, console)


SkipDamaged = Annotated[
    bool, typer.Option("--skip-damaged", help="Write what can be read of a damaged archive, and list what is missing.")
]


def decompress_command(
    archive: ArchivePlace,
    output: OutPath,
    skip_damaged: SkipDamaged = False,
    force: Force = False,
    json: Json = False,
    quiet: Quiet = False,
    threads: Threads = None,
    debug: Debug = False,
) -> None:
    """Write all images of ARCHIVE to files.

    OUT is .npy, IDX (-idx3-ubyte, also .gz), .tar (also .gz, .zst), .parquet, or else a folder of PNG files. Labels,
    names, class names and further fields go with them.

    With --skip-damaged the exit code is 4 if anything is missing.
    """
    _extract(archive, output, None, skip_damaged, force, Console(json=json, quiet=quiet), threads)


def get_command(
    archive: ArchivePlace,
    indices: Annotated[
        list[int], typer.Argument(metavar="INDEX", help="Numbers of images, from 0. After --, -1 is the last.")
    ],
    output: OutPath,
    skip_damaged: SkipDamaged = False,
    force: Force = False,
    json: Json = False,
    quiet: Quiet = False,
    threads: Threads = None,
    debug: Debug = False,
) -> None:
    """Write some images of ARCHIVE to a folder or a file, as decompress does; only their blocks are decoded.

    With --skip-damaged the exit code is 4 if anything is missing.
    """
    _extract(archive, output, indices, skip_damaged, force, Console(json=json, quiet=quiet), threads)


def _extract(
    archive: str,
    output: Path,
    indices: list[int] | None,
    skip_damaged: bool,
    force: bool,
    console: Console,
    threads: int | None,
) -> None:
    with open_images(archive, threads=default_threads(threads)) as opened:
        warn_of_damage(opened, console)
        with console.progress("decompress") as progress:
            result = extract(opened, output, indices, overwrite=force, skip_damaged=skip_damaged, progress=progress)
    plain = {"output": str(output), "images": result.images}
    plain |= missing_json(result) if skip_damaged else {}
    console.result(plain, f"{output}: {result.images:,} images{missing_text(result)}")
    if not result.whole:
        console.warn(missing_line(opened.path, result))
        raise typer.Exit(DamagedArchiveError.exit_code)
