"""The application of all commands, and how one of them is run. Layer: part of `cli`."""

from typing import Annotated

import typer

from smalti.cli.bench_command import bench_command
from smalti.cli.compress_command import compress_command
from smalti.cli.console import drop_stdout, flush_stdout
from smalti.cli.edit_commands import append_command, drop_command, merge_command, relabel_command
from smalti.cli.estimate_command import estimate_command
from smalti.cli.faults import fail, line_and_code
from smalti.cli.fit_command import fit_command
from smalti.cli.get_commands import decompress_command, get_command
from smalti.cli.info_commands import info_command, test_command
from smalti.cli.interruption import INTERRUPTED
from smalti.cli.plan_command import plan_command
from smalti.cli.repair_command import repair_command
from smalti.cli.study_command import study_command
from smalti.version import __version__

__all__ = ["app", "run_command"]

app = typer.Typer(
    name="smalti",
    help="Learned compression for collections of images.",
    epilog="Start with: smalti compress FOLDER -o NAME.smalti",
    no_args_is_help=True,
    rich_markup_mode=None,  # plain help: it wraps paragraphs, leaves [brackets] alone, and reads well when piped
    add_completion=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)


def _show_version(asked: bool) -> None:
    if asked:
        typer.echo(f"smalti {__version__}")
        raise typer.Exit


@app.callback()
def _common(
    version: Annotated[
        bool, typer.Option("--version", callback=_show_version, is_eager=True, help="Show the version and exit.")
    ] = False,
) -> None:
    """Learned compression for collections of images."""


app.command("fit", short_help="Learn a model from images.")(fit_command)
app.command("compress", short_help="Pack images in one self-contained .smalti file.")(compress_command)
app.command("plan", short_help="Cut a large source into shards, for smalti compress --plan.")(plan_command)
app.command("estimate", short_help="Estimate the size of an archive, before a long fit.")(estimate_command)
app.command("decompress", short_help="Write all images of an archive to files.")(decompress_command)
app.command("get", short_help="Write some images of an archive to files.")(get_command)
app.command("info", short_help="Show what is in an archive, and the bytes of each part.")(info_command)
app.command("test", short_help="Check an archive, and measure its quality.")(test_command)
app.command("merge", short_help="Join archives, in one file or in a list of files.")(merge_command)
app.command("append", short_help="Add images to an archive.")(append_command)
app.command("drop", short_help="Remove images from an archive.")(drop_command)
app.command("relabel", short_help="Change labels of images in an archive.")(relabel_command)
app.command("repair", short_help="Repair a damaged archive.")(repair_command)
app.command("study", short_help="Repeat the codebook study, with tables, figures and a report.")(study_command)
app.command("bench", short_help="Compare archives with classical codecs.")(bench_command)


def run_command(arguments: list[str]) -> int:
    """Run one command and return its exit code. Raises KeyboardInterrupt if the user stopped it."""
    try:
        code: int = app(arguments, prog_name="smalti", standalone_mode=False) or 0
        flush_stdout()
    except BrokenPipeError:  # the reader of our output has ended: nobody reads a message
        drop_stdout()
        return 1
    except Exception as error:
        if "--debug" in arguments:
            raise
        return fail(arguments, *line_and_code(error))
    if code == INTERRUPTED:  # the code to which the parser turns a KeyboardInterrupt
        raise KeyboardInterrupt
    return code
