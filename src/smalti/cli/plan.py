"""`smalti plan`: the borders of shards, for work in bulk."""

from itertools import chain
from pathlib import Path
from typing import Annotated, Any

import typer

from smalti.archive.recovery.parity import RecoverySpec
from smalti.cli.console import Console
from smalti.cli.extras import needing
from smalti.cli.options import Debug, Force, Json, MaxMse, NoLabels, OutPath, Quiet, Recovery, Source
from smalti.errors import UsageError
from smalti.storage.atomic import check_output
from smalti.storage.same_file import refuse_input

__all__ = ["plan_command"]


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
        from smalti.sources.local_files import local_files  # noqa: PLC0415
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
