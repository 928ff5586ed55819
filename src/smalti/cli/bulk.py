"""`smalti compress --plan`: the shards of a plan."""

from dataclasses import asdict
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from smalti.cli.console import Console
from smalti.cli.extras import needing
from smalti.cli.interruption import WorkInterruptedError, command_line
from smalti.cli.options import default_threads
from smalti.cli.sources import SHOWN, SKIPPED
from smalti.errors import UsageError

if TYPE_CHECKING:
    from smalti.codec.bulk.running import BulkReport

__all__ = ["Engine", "EngineOption", "PlanOption", "TaskOption", "WorkersOption", "compress_plan"]


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
        from smalti.codec.bulk.onray import make_on_ray  # noqa: PLC0415
        from smalti.codec.bulk.pool import make_here, make_in_pool  # noqa: PLC0415
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
