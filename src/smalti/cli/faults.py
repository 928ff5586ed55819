"""Errors as one line on stderr and an exit code. Layer: part of `cli`."""

import json
import re
from contextlib import suppress

import typer

from smalti.cli.console import escaped, print_message, print_result
from smalti.errors import OutputError, SmaltiError

__all__ = ["fail", "line_and_code"]


def line_and_code(error: Exception) -> tuple[str, int]:
    """Return the line and the exit code for an error."""
    if isinstance(error, SmaltiError):
        return escaped(str(error)), error.exit_code
    if isinstance(error, typer.TyperException):
        return f"{_usage_message(error)}; see {_command_path(error)} --help", 2
    if isinstance(error, OSError):
        path = escaped(str(error.filename or "cannot read or write"))
        return f"{path}: {error.strerror or error}; check the path and try again", 1
    if isinstance(error, MemoryError):
        return "out of memory; use fewer or smaller images", 1
    return f"a fault of smalti: {type(error).__name__}: {error}; please report it, with --debug", 1


def fail(arguments: list[str], message: str, code: int) -> int:
    """Print an error in one line, with --json also as JSON, and return the exit code."""
    line = escaped(" ".join(message.splitlines()))
    print_message(f"smalti: {line}")
    if "--json" in arguments:
        with suppress(OutputError, BrokenPipeError):  # the line above has the first error
            print_result(json.dumps({"ok": False, "error": line, "exit_code": code}))
    return code


def _usage_message(error: Exception) -> str:
    message = getattr(error, "format_message", lambda: str(error))()
    line = str(message).rstrip(".") or "no command given"
    return f"{line}; an index from the end is given after --" if re.search(r"No such option: -\d", line) else line


def _command_path(error: Exception) -> str:
    """Return the command whose help has more, such as "smalti fit"."""
    context = getattr(error, "ctx", None)
    return "smalti" if context is None else str(context.command_path)
