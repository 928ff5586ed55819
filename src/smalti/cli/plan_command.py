"""`smalti plan`, which cuts a source into shards, and `smalti compress --plan`, which makes them."""

from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from smalti.archive.recovery.parity import RecoverySpec
from smalti.cli.command_observer import CommandObserver
from smalti.cli.console import Console
from smalti.cli.interruption import WorkInterruptedError, command_line, needing
from smalti.cli.options import (
    SKIPPED,
    BlockImages,
    Debug,
    Effort,
    Force,
    Json,
    MaxMse,
    NoLabels,
    OutPath,
    Psnr,
    Quiet,
    Recovery,
    Source,
    TargetMse,
    TargetSsim,
    model_option,
    warn_of_each,
)
from smalti.errors import UsageError

if TYPE_CHECKING:
    from smalti.codec.bulk.running import BulkReport

__all__ = [
    "Engine",
    "EngineOption",
    "PlanOption",
    "TaskOption",
    "WorkersOption",
    "compress_plan_command",
    "plan_command",
]

Engine = Literal["local", "ray"]


def plan_command(
    source: Source,
    output: OutPath,
    shard_images: Annotated[
        int, typer.Option("--shard-images", min=1, metavar="N", help="Images of a shard.", show_default=False)
    ],
    model: Annotated[Path | None, model_option(", for all shards")] = None,
    out_folder: Annotated[
        Path | None,
        typer.Option(
            "--out-folder", metavar="FOLDER", help="Where the shards go [default: PLAN.shards].", show_default=False
        ),
    ] = None,
    by_file: Annotated[
        bool,
        typer.Option(
            "--by-file", help="For many TAR, TFRecord or Parquet files: shards end where files end, as far as N allows."
        ),
    ] = False,
    no_labels: NoLabels = False,
    max_mse: MaxMse = None,
    recovery: Recovery = None,
    block_images: BlockImages = None,
    psnr: Psnr = None,
    target_mse: TargetMse = None,
    target_ssim: TargetSsim = None,
    effort: Effort = None,
    force: Force = False,
    json: Json = False,
    quiet: Quiet = False,
    debug: Debug = False,
) -> None:
    """Fix how SOURCE is cut into shards, which smalti compress --plan then makes, on any number of machines.

    The plan is a small file with every setting that shapes the bytes of the shards; no image is decoded for it. All
    shards use one model: fit it on a sample first (smalti fit). Images that the model does not take are skipped when
    the shards are made. A target holds for each shard.
    """
    console = Console(json=json, quiet=quiet)
    with needing("planning", "train"):
        from smalti.codec import FitRequest, PackOptions  # noqa: PLC0415 (torch is slow to import)
        from smalti.codec.bulk.plan import plan_file  # noqa: PLC0415
    request = FitRequest(target_mse=target_mse, target_ssim=target_ssim, effort=effort, psnr=psnr)
    spec = None if recovery is None else RecoverySpec.parse(recovery)
    options = PackOptions(not no_labels, max_mse, spec, block_images=block_images)
    with CommandObserver(console) as observer:
        plan = plan_file(
            source,
            output,
            model,
            shard_images,
            out_folder,
            request,
            options,
            observer,
            by_file=by_file,
            overwrite=force,
        )
    plain: dict[str, Any] = {
        "plan": str(output),
        "plan_bytes": output.stat().st_size,
        "source": plan.source,
        "kind": plan.kind,
        "entries": plan.entries,
        "parts": len(plan.parts),
        "shards": len(plan.shards),
        "out_folder": plan.out_folder,
        "model_sha256": plan.model_sha256,
    }
    shards = f"{len(plan.shards):,} shard{'' if len(plan.shards) == 1 else 's'}"
    cut = f"{shards} of {plan.entries:,} {'entry' if plan.entries == 1 else 'entries'}"
    console.result(plain, f"{output}: {cut}; make them with: smalti compress --plan {output}")


PlanOption = Annotated[
    Path | None,
    typer.Option(
        "--plan", metavar="PLAN", help="Make the shards of a plan, without SOURCE and OUT.", show_default=False
    ),
]
TaskOption = Annotated[
    str | None,
    typer.Option(
        "--task",
        metavar="I/N",
        help="With --plan: make part I, from 0, of N parts of the shards, in this process.",
        show_default=False,
    ),
]
EngineOption = Annotated[
    Engine | None,
    typer.Option("--engine", help="With --plan: what runs the workers [default: local].", show_default=False),
]
WorkersOption = Annotated[
    int | None,
    typer.Option(
        "--workers",
        min=1,
        metavar="N",
        help="With --plan: shards made at a time [default: all cores].",
        show_default=False,
    ),
]


def compress_plan_command(
    plan: Path,
    task: str | None,
    engine: Engine | None,
    workers: int | None,
    console: Console,
    *,
    fixed: dict[str, object],
    strict: bool,
    force: bool,
) -> None:
    """Make the missing shards of a plan, print the state of all, and end with exit code 1 or 3 if there were problems.

    fixed : the values of options that the plan fixes; UsageError if one is given
    """
    given = [name for name, value in fixed.items() if value not in (None, False, "cpu")]
    if given:
        raise UsageError(f"a plan fixes all that shapes its shards: leave {', '.join(given)} out, or plan anew")
    with needing("compressing", "train"):
        from smalti.codec.bulk.running import compress_plan  # noqa: PLC0415 (torch is slow to import)
    try:
        with CommandObserver(console) as observer:
            report = compress_plan(
                plan,
                observer,
                task=task,
                engine=engine,
                workers=workers,
                strict=strict,
                overwrite=force,
            )
    except KeyboardInterrupt:
        raise WorkInterruptedError.resuming_with(command_line()) from None
    console.result(_plain(plan, report), _text(plan, report))
    warn_of_each([f"skipped {file.name} (shard {shard}): {file.reason}" for shard, file in report.skipped], console)
    warn_of_each([f"shard {failure.shard} failed: {failure.reason}" for failure in report.failures], console)
    if report.failures or report.skipped:
        raise typer.Exit(1 if report.failures else SKIPPED)


def _plain(plan: Path, report: "BulkReport") -> dict[str, Any]:
    return {
        "plan": str(plan),
        **asdict(report),
        "manifest": None if report.manifest is None else str(report.manifest),
        "skipped": [{"shard": shard, "name": file.name, "reason": file.reason} for shard, file in report.skipped],
        "seconds": round(report.seconds, 3),
    }


def _text(plan: Path, report: "BulkReport") -> str:
    line = (
        f"{plan}: {report.done:,} of {report.shards:,} shards are there, {report.made_now:,} made now; "
        f"{report.images:,} images in {report.archive_bytes:,} bytes"
    )
    return line if report.manifest is None else f"{line}\n{report.manifest}: all shards as one; smalti info, get, ..."
