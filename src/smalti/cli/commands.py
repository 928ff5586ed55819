"""The application of all commands, and how one of them is run. Layer: part of `cli`."""

from importlib import import_module
from typing import Annotated, Any, NamedTuple

import typer
from typer.core import TyperGroup

from smalti.cli.console import drop_stdout, flush_stdout
from smalti.cli.interruption import INTERRUPTED
from smalti.version import __version__

__all__ = ["COMMANDS", "app", "run_command"]


class Entry(NamedTuple):
    """A command: the module in `smalti.cli` and the function that it is, and what the list of commands says of it."""

    module: str
    function: str
    short_help: str


COMMANDS = {
    "fit": Entry("fit_command", "fit_command", "Learn a model from images."),
    "compress": Entry("compress_command", "compress_command", "Pack images in one self-contained .smalti file."),
    "plan": Entry("plan_command", "plan_command", "Cut a large source into shards, for smalti compress --plan."),
    "estimate": Entry("estimate_command", "estimate_command", "Estimate the size of an archive, before a long fit."),
    "decompress": Entry("get_commands", "decompress_command", "Write all images of an archive to files."),
    "get": Entry("get_commands", "get_command", "Write some images of an archive to files."),
    "info": Entry("info_command", "info_command", "Show what is in an archive, and the bytes of each part."),
    "test": Entry("test_command", "test_command", "Check an archive, and measure its quality."),
    "merge": Entry("edit_commands", "merge_command", "Join archives, in one file or in a list of files."),
    "append": Entry("edit_commands", "append_command", "Add images to an archive."),
    "drop": Entry("edit_commands", "drop_command", "Remove images from an archive."),
    "relabel": Entry("edit_commands", "relabel_command", "Change labels of images in an archive."),
    "repair": Entry("repair_command", "repair_command", "Repair a damaged archive."),
    "study": Entry("study_command", "study_command", "Repeat the codebook study, with tables, figures and a report."),
    "bench": Entry("bench_command", "bench_command", "Compare archives with classical codecs."),
}


class _Commands(TyperGroup):
    """All commands. The modules of one are imported when it is run, so that help comes at once."""

    def __init__(self, **settings: Any) -> None:
        super().__init__(**settings)
        self.commands = dict.fromkeys(COMMANDS)  # type: ignore[assignment]  # for names that are nearly right

    def get_command(self, ctx: Any, cmd_name: str) -> Any:
        """The command of this name."""
        del ctx
        entry = COMMANDS.get(cmd_name)
        if entry is None:
            return None
        own = typer.Typer(rich_markup_mode=None, add_completion=False)
        own.command(cmd_name)(getattr(import_module(f"smalti.cli.{entry.module}"), entry.function))
        return typer.main.get_command(own)

    def format_commands(self, ctx: Any, formatter: Any) -> None:
        """The list of commands in the help."""
        del ctx
        with formatter.section("Commands"):
            formatter.write_dl([(name, entry.short_help) for name, entry in COMMANDS.items()])


app = typer.Typer(
    name="smalti",
    cls=_Commands,
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
        from smalti.cli.faults import fail, line_and_code  # noqa: PLC0415 (it knows the faults of every layer)

        return fail(arguments, *line_and_code(error))
    if code == INTERRUPTED:  # the code to which the parser turns a KeyboardInterrupt
        raise KeyboardInterrupt
    return code
