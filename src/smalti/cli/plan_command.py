"""`smalti plan`: the borders of shards, for work in bulk.

`smalti compress --plan`: the shards of a plan.
"""

from dataclasses import asdict
from enum import StrEnum
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from smalti.archive.recovery.parity import RecoverySpec
from smalti.cli.console import Console
from smalti.cli.interruption import WorkInterruptedError, command_line, needing
from smalti.cli.options import (
    SHOWN,
    SKIPPED,
    Debug,
    Force,
    Json,
    MaxMse,
    NoLabels,
    OutPath,
    Quiet,
    Recovery,
    Source,
    default_threads,
)
from smalti.errors import UsageError
from smalti.storage.atomic import check_output, refuse_input

if TYPE_CHECKING:
    from smalti.codec.bulk.running import BulkReport

__all__ = ["Engine", "EngineOption", "PlanOption", "TaskOption", "WorkersOption", "compress_plan", "plan_command"]


def plan_command(
    source: Source,
    output: OutPath,
    shard_images: Annotated[
        int, typer.Option("--shard-images", min=1, metavar="N", help="Images of a shard.", show_default=False)
    ],
    model: Annotated[
        Path | None,
        typer.Option("--model", metavar="MODEL", help="A file from smalti fit, for all shards.", show_default=False),
    ] = None,
    out_folder: Annotated[
        Path | None,
        typer.Option(
            "--out-folder", metavar="FOLDER", help="Where the shards go [default: PLAN.shards].", show_default=False
        ),
    ] = None,
    by_file: Annotated[
        bool,
        typer.Option("--by-file", help="Of many TAR or Parquet files: shards end where files end, as far as N allows."),
    ] = False,
    no_labels: NoLabels = False,
    max_mse: MaxMse = None,
    recovery: Recovery = None,
    effort: Annotated[
        int | None,
        typer.Option(
            "--effort",
            min=0,
            max=9,
            metavar="0..9",
            help="Search for tokens, for models of compact and fine [default: that of the fit].",
            show_default=False,
        ),
    ] = None,
    force: Force = False,
    json: Json = False,
    quiet: Quiet = False,
    debug: Debug = False,
) -> None:
    """Fix how SOURCE is cut into shards, which smalti compress --plan then makes, on any number of machines.

    The plan is a small file with all that shapes the bytes of the shards; no image is decoded for it. All shards are
    packed with one model: fit it on a sample first (smalti fit). Images of another shape than the model's are passed
    over when the shards are made.
    """
    console = Console(json=json, quiet=quiet)
    check_output(output, force)
    if model is None:
        raise UsageError(
            "a plan needs a model for all shards: fit one on a sample (smalti fit SAMPLE -o MODEL), give --model MODEL"
        )
    with needing("planning", "train"):
        from smalti.codec.bulk.plan import make_plan, write_plan  # noqa: PLC0415
        from smalti.codec.request import FitRequest, PackOptions  # noqa: PLC0415 (torch is slow to import)
        from smalti.sources.entry_range import member_files  # noqa: PLC0415
        from smalti.sources.open import local_files  # noqa: PLC0415
        from smalti.storage.location import redacted  # noqa: PLC0415
    refuse_input(output, chain([model], local_files(source)))
    with console.progress("count") as progress:
        plan = make_plan(
            source,
            model,
            out_folder or output.with_name(f"{output.name}.shards"),
            shard_images,
            FitRequest(effort=effort),
            PackOptions(not no_labels, max_mse, None if recovery is None else RecoverySpec.parse(recovery)),
            by_file=by_file,
            report=console.say,
            progress=progress,
        )
    write_plan(plan, output, overwrite=force)
    if redacted(plan.source) != plan.source:
        console.warn(f"{output}: holds the address of the images as you gave it, with what may be secret in it")
    files = 0 if by_file else len(member_files(plan.source))
    if files > 1:
        console.say(f"every worker will open all {files:,} files; with --by-file, those of its shards alone")
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
    cut = f"{len(plan.shards):,} shards of {plan.entries:,} entries"
    console.result(plain, f"{output}: {cut}; make them with: smalti compress --plan {output}")


class Engine(StrEnum):
    """What runs the workers."""

    LOCAL = "local"
    RAY = "ray"


PlanOption = Annotated[
    Path | None,
    typer.Option(
        "--plan", metavar="PLAN", help="In place of SOURCE and OUT: make the shards of a plan.", show_default=False
    ),
]
TaskOption = Annotated[
    str | None,
    typer.Option(
        "--task",
        metavar="I/N",
        help="With --plan: part I, from 0, of N parts of the shards, in this process.",
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


def compress_plan(
    plan: Path,
    task: str | None,
    engine: Engine | None,
    workers: int | None,
    console: Console,
    *,
    given: dict[str, object],
    strict: bool,
    force: bool,
) -> None:
    """Make the shards of a plan that are missing, tell what there is, and end with exit code 1 or 3 if need be.

    given : the other options of the command, of which the plan admits none
    """
    foreign = [name for name, value in given.items() if value not in (None, False, "cpu")]
    if foreign:
        raise UsageError(f"a plan fixes all that shapes its shards: leave {', '.join(foreign)} out, or plan anew")
    if task is not None and (engine is not None or workers is not None):
        raise UsageError("--task runs in this process alone: leave --engine and --workers out")
    with needing("compressing", "train"):
        from smalti.codec.bulk.engines import (  # noqa: PLC0415
            make_here,
            make_in_pool,
            make_on_ray,
        )
        from smalti.codec.bulk.running import Task, run_plan  # noqa: PLC0415 (torch is slow to import)
    maker = make_here if task is not None else make_on_ray if engine is Engine.RAY else make_in_pool
    try:
        with console.progress("shards") as progress:
            report = run_plan(
                plan,
                engine=maker,
                workers=default_threads(workers),
                task=None if task is None else Task.parse(task),
                strict=strict,
                overwrite=force,
                progress=progress,
            )
    except KeyboardInterrupt:
        raise WorkInterruptedError.going_on_with(command_line()) from None
    console.result(_plain(plan, report), _text(plan, report))
    _show_problems(report, console)


def _plain(plan: Path, report: "BulkReport") -> dict[str, Any]:
    plain = asdict(report)
    return {
        "plan": str(plan),
        **plain,
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


def _show_problems(report: "BulkReport", console: Console) -> None:
    lines = [f"skipped {file.name} (shard {shard}): {file.reason}" for shard, file in report.skipped]
    lines = lines[:SHOWN] + [f"... and {len(lines) - SHOWN:,} more (all of them in --json)"] * (len(lines) > SHOWN)
    failed = [f"shard {failure.shard} failed: {failure.reason}" for failure in report.failures]
    failed = failed[:SHOWN] + [f"... and {len(failed) - SHOWN:,} more (all of them in --json)"] * (len(failed) > SHOWN)
    for line in [*lines, *failed]:
        console.warn(line)
    if report.failures:
        raise typer.Exit(1)
    if report.skipped:
        raise typer.Exit(SKIPPED)
