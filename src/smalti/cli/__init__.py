"""The command line: it parses, calls and prints (the highest layer).

Results go to stdout, messages to stderr; every error is one line and an exit code (see `smalti.errors`).
"""

import json
import os
import re
import sys
from typing import Annotated

import typer

from smalti.cli.fitting import fit_command
from smalti.cli.inspection import info_command, test_command
from smalti.cli.interruption import INTERRUPTED
from smalti.cli.packing import compress_command, decompress_command, get_command
from smalti.cli.study import study_command
from smalti.errors import SmaltiError
from smalti.version import __version__

__all__ = ["app", "main"]

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
app.command("decompress", short_help="Write all images of an archive to files.")(decompress_command)
app.command("get", short_help="Write some images of an archive to a folder.")(get_command)
app.command("info", short_help="Show what is inside an archive, byte by byte.")(info_command)
app.command("test", short_help="Check an archive, and measure its quality.")(test_command)
app.command("study", short_help="Repeat the codebook study, with tables, figures and a report.")(study_command)


def main() -> None:
    """Run the command line and exit with its code."""
    sys.exit(run(sys.argv[1:]))


def run(arguments: list[str]) -> int:
    """Run one command and return its exit code; no traceback leaves without --debug."""
    try:
        code: int = app(arguments, prog_name="smalti", standalone_mode=False) or 0
        if sys.stdout is not None:  # closed by the caller
            sys.stdout.flush()  # here, where a reader that has gone is noticed, and not at exit
        if code == INTERRUPTED:  # what the parser makes of a KeyboardInterrupt
            return _fail(arguments, "interrupted; nothing was left half-written", INTERRUPTED)
        return code
    except BrokenPipeError:  # the reader of our output has gone: nobody is left to tell
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
    except Exception as error:
        if "--debug" in arguments:
            raise
        return _fail(arguments, *_told(error))


def _told(error: Exception) -> tuple[str, int]:
    """Return the line and the exit code for an error."""
    if isinstance(error, SmaltiError):
        return str(error), error.exit_code
    if isinstance(error, typer.TyperException):
        return f"{_usage_message(error)}; see {_command_path(error)} --help", 2
    if isinstance(error, OSError):
        return (
            f"{error.filename or 'cannot read or write'}: {error.strerror or error}; check the place and try again",
            1,
        )
    if isinstance(error, MemoryError):
        return "out of memory; use fewer or smaller images", 1
    return f"a fault of smalti: {type(error).__name__}: {error}; please report it, with --debug", 1


def _usage_message(error: Exception) -> str:
    message = getattr(error, "format_message", lambda: str(error))()
    line = str(message).rstrip(".") or "no command given"
    return f"{line}; an index from the end is given after --" if re.search(r"No such option: -\d", line) else line


def _command_path(error: Exception) -> str:
    """Return the command whose help tells more, such as "smalti fit"."""
    context = getattr(error, "ctx", None)
    return "smalti" if context is None else str(context.command_path)


def _fail(arguments: list[str], message: str, code: int) -> int:
    line = " ".join(message.splitlines())
    print(f"smalti: {line}", file=sys.stderr)  # noqa: T201
    if "--json" in arguments:
        print(json.dumps({"ok": False, "error": line, "exit_code": code}))  # noqa: T201
    return code
