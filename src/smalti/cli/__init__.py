"""The command line: it parses, calls and prints (the highest layer).

Results go to stdout, messages to stderr; every error is one line and an exit code (see `smalti.errors`).
"""

import json
import sys
from typing import Annotated

import typer

from smalti.cli.fitting import fit_command
from smalti.cli.inspection import info_command, test_command
from smalti.cli.packing import compress_command, decompress_command, get_command
from smalti.cli.study import study_command
from smalti.errors import SmaltiError
from smalti.version import __version__

__all__ = ["app", "main"]

INTERRUPTED = 130

app = typer.Typer(
    name="smalti",
    help="Learned compression for collections of images.",
    epilog="Start with: smalti compress FOLDER -o NAME.smalti",
    no_args_is_help=True,
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


app.command("fit")(fit_command)
app.command("compress")(compress_command)
app.command("decompress")(decompress_command)
app.command("get")(get_command)
app.command("info")(info_command)
app.command("test")(test_command)
app.command("study")(study_command)


def main() -> None:
    """Run the command line and exit with its code."""
    sys.exit(run(sys.argv[1:]))


def run(arguments: list[str]) -> int:
    """Run one command and return its exit code; no traceback leaves without --debug."""
    try:
        return app(arguments, prog_name="smalti", standalone_mode=False) or 0
    except (KeyboardInterrupt, typer.Abort):
        return _fail(arguments, "interrupted; nothing was left half-written", INTERRUPTED)
    except BrokenPipeError:  # the reader of our output has gone: nobody is left to tell
        sys.stderr.close()
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
        return f"{_usage_message(error)}; see smalti --help", 2
    if isinstance(error, OSError):
        return str(error), 1
    if isinstance(error, MemoryError):
        return "out of memory; use fewer or smaller images", 1
    return f"a fault of smalti: {type(error).__name__}: {error}; please report it, with --debug", 1


def _usage_message(error: Exception) -> str:
    message = getattr(error, "format_message", lambda: str(error))()
    return str(message).rstrip(".") or "no command given"


def _fail(arguments: list[str], message: str, code: int) -> int:
    line = " ".join(message.split())
    print(f"smalti: {line}", file=sys.stderr)  # noqa: T201
    if "--json" in arguments:
        print(json.dumps({"ok": False, "error": line, "exit_code": code}))  # noqa: T201
    return code
