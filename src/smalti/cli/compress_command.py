"""`smalti compress`: parse the options, pack, print the result. With --plan it hands over to `plan_command`."""

from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer

from smalti.archive.recovery.parity import RecoverySpec
from smalti.cli.command_observer import CommandObserver, resumable
from smalti.cli.console import Console
from smalti.cli.interruption import needing
from smalti.cli.options import (
    BlockImages,
    Codes,
    Debug,
    Device,
    Effort,
    Epochs,
    Force,
    Json,
    Lossless,
    MaxError,
    MaxMse,
    NoLabels,
    OptionalOutPath,
    OptionalSource,
    Page,
    Profile,
    Psnr,
    Quiet,
    Recovery,
    Resume,
    Seed,
    Strict,
    TargetBytes,
    TargetMse,
    TargetSsim,
    Threads,
    largest_error,
    model_option,
    report_skipped,
)
from smalti.cli.plan_command import EngineOption, PlanOption, TaskOption, WorkersOption, compress_plan_command
from smalti.cli.ranks import refuse_several
from smalti.cli.summary import info_json, larger_than_raw, model_heavy, short_summary
from smalti.errors import UsageError

__all__ = ["compress_command"]


def compress_command(
    source: OptionalSource = None,
    output: OptionalOutPath = None,
    model: Annotated[Path | None, model_option(" [default: fit one on SOURCE]")] = None,
    adapt: Annotated[
        bool, typer.Option("--adapt", help="With --model: let the archive's copy of it learn from these images.")
    ] = False,
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
    max_mse: MaxMse = None,
    recovery: Recovery = None,
    block_images: BlockImages = None,
    no_labels: NoLabels = False,
    no_compare: Annotated[
        bool, typer.Option("--no-compare", help="Do not measure AVIF and JPEG XL on a sample afterwards (20 seconds).")
    ] = False,
    strict: Strict = False,
    plan: PlanOption = None,
    task: TaskOption = None,
    engine: EngineOption = None,
    workers: WorkersOption = None,
    device: Device = "cpu",
    resume: Resume = False,
    page: Page = None,
    force: Force = False,
    json: Json = False,
    quiet: Quiet = False,
    threads: Threads = None,
    debug: Debug = False,
) -> None:
    """Pack the images of SOURCE in one self-contained .smalti file.

    Without --model, a model is fitted on SOURCE first, for a mean PSNR of 36 dB unless you give a target; images of any
    sizes share it. Files that cannot be read are skipped and listed, and the exit code is then 3; with --strict they
    are an error.

    With --plan, the missing shards of a plan from smalti plan are made; SOURCE, OUT and their options are in the plan.
    """
    refuse_several("smalti compress", "fit with smalti fit first, then give --model")
    console = Console(json=json, quiet=quiet)
    targets = (target_mse, target_ssim, target_bytes)
    if plan is not None:
        fixed: dict[str, object] = {"SOURCE": source, "-o": output, "--model": model, "--adapt": adapt}
        fixed |= {"--profile": profile, "--codebook-size": codebook_size, "--epochs": epochs, "--seed": seed}
        fixed |= dict(zip(("--target-mse", "--ssim", "--target-bytes"), targets, strict=True)) | {"--psnr": psnr}
        fixed |= {"--lossless": lossless, "--max-error": max_error}
        fixed |= {"--effort": effort, "--max-mse": max_mse, "--recovery": recovery, "--no-labels": no_labels}
        fixed |= {"--no-compare": no_compare, "--block-images": block_images}
        fixed |= {"--device": device, "--resume": resume, "--threads": threads, "--page": page}
        compress_plan_command(plan, task, engine, workers, console, fixed=fixed, strict=strict, force=force)
        return
    if source is None or output is None:
        raise UsageError("give SOURCE and -o OUT, or --plan PLAN; see smalti compress --help")
    if any(value is not None for value in (task, engine, workers)):
        raise UsageError("--task, --engine and --workers go with --plan: make a plan with smalti plan")
    if page is not None:
        from smalti.bench.pictures_page import check_page, write_page_of  # noqa: PLC0415

        check_page(page, output, force)
    with needing("compressing", "train"):
        from smalti.codec import FitRequest, PackOptions, compress_images  # noqa: PLC0415 (torch is slow to import)
    most = largest_error(lossless, max_error)
    request = FitRequest(profile, codebook_size, epochs, seed, *targets, effort, adapt, device, resume, psnr, most)
    spec = None if recovery is None else RecoverySpec.parse(recovery)
    options = PackOptions(not no_labels, max_mse, spec, strict, force, threads, not no_compare, block_images)
    with resumable(), CommandObserver(console) as observer:
        report = compress_images(source, output, model, request, options, observer)
        if page is not None:
            write_page_of(source, output, page, threads, observer.progress, force)
    peers = None if report.peers is None else report.peers.to_json()
    plain = {"archive": str(output), **info_json(report.info), "peers": peers}
    plain["found"] = {kind: {"files": files, "images": images} for kind, (files, images) in report.found.items()}
    plain["skipped"] = [asdict(file) for file in report.skipped]
    console.result(plain, short_summary(output, report.info))
    heavy = model_heavy(report.info) if model is None else None
    for line in (larger_than_raw(report.info), heavy, report.missed):
        if line is not None:
            console.warn(line)
    report_skipped(report.skipped, console)
