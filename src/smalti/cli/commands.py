"""All commands in one application, and the run of one of them."""

from typing import Annotated

import typer

from smalti.cli.console import drop_stdout, flush_stdout
from smalti.cli.editing import append_command, drop_command, merge_command, relabel_command, repair_command
from smalti.cli.estimate import estimate_command
from smalti.cli.faults import fail, told
from smalti.cli.fitting import fit_command
from smalti.cli.inspection import info_command, test_command
from smalti.cli.interruption import INTERRUPTED
from smalti.cli.packing import compress_command, decompress_command, get_command
from smalti.cli.plan import plan_command
from smalti.cli.studies import bench_command, study_command
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
app.command("estimate", short_help="Foretell what images would come to, before a long fit.")(estimate_command)
app.command("decompress", short_help="Write all images of an archive to files.")(decompress_command)
app.command("get", short_help="Write some images of an archive to files.")(get_command)
app.command("info", short_help="Show what is inside an archive, byte by byte.")(info_command)
app.command("test", short_help="Check an archive, and measure its quality.")(test_command)
app.command("merge", short_help="Put archives together, in one file or in a list of files.")(merge_command)
app.command("append", short_help="Add images to an archive.")(append_command)
app.command("drop", short_help="Remove images from an archive.")(drop_command)
app.command("relabel", short_help="Give images of an archive other labels.")(relabel_command)
app.command("repair", short_help="Write a sound file from a damaged archive.")(repair_command)
app.command("study", short_help="Repeat the codebook study, with tables, figures and a report.")(study_command)
app.command("bench", short_help="Measure archives beside classical codecs.")(bench_command)


def run_command(arguments: list[str]) -> int:
    """Run one command and return its exit code; KeyboardInterrupt if the user stopped it."""
    try:
        code: int = app(arguments, prog_name="smalti", standalone_mode=False) or 0
        flush_stdout()
    except BrokenPipeError:  # the reader of our output has gone: nobody is left to tell
        drop_stdout()
        return 1
    except Exception as error:
        if "--debug" in arguments:
            raise
        return fail(arguments, *told(error))
    if code == INTERRUPTED:  # what the parser makes of a KeyboardInterrupt
        raise KeyboardInterrupt
    return code
