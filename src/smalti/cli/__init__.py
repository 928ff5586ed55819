"""The command line: it parses, calls and prints (the highest layer).

Results go to stdout, messages to stderr; every error is one line and an exit code (see `smalti.errors`). A command is
a module (`fit_command`, `get_commands`, ...), registered in `commands`; options that several share are in `options`.
This module imports almost nothing, so that Ctrl-C gives one line and exit code 130 from the first moment on.
"""

import io
import os
import sys

from smalti.cli.interruption import INTERRUPTED, hold_interrupts, terminable

__all__ = ["main", "run"]


def main() -> None:
    """Run the command line and exit with its code."""
    _use_utf8()
    _open_standard_streams()
    sys.exit(run(sys.argv[1:]))


def _use_utf8() -> None:
    """Decode file names as UTF-8 in every locale; characters that the locale cannot print are printed as escapes.

    Python decodes names by the locale from its start, so it is started again in its UTF-8 mode.
    """
    if sys.getfilesystemencoding() != "utf-8" and sys.executable and sys.orig_argv:
        import locale  # noqa: PLC0415 (rarely needed)

        os.environ.setdefault("PYTHONIOENCODING", f"{locale.getpreferredencoding(False)}:backslashreplace")
        os.execv(sys.executable, [sys.executable, "-X", "utf8", *sys.orig_argv[1:]])
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="backslashreplace")  # as stderr is


def _open_standard_streams() -> None:
    """Open closed standard streams on the null device, so that no other file gets their numbers."""
    for number, name in enumerate(("stdin", "stdout", "stderr")):
        try:
            os.fstat(number)
        except OSError:
            os.open(os.devnull, os.O_RDWR)  # gets the lowest free number, which is this one
            setattr(sys, name, os.fdopen(number, "w" if number else "r", encoding="utf-8", closefd=False))


def run(arguments: list[str]) -> int:
    """Run one command and return its exit code. A traceback is shown with --debug only. SIGTERM is as Ctrl-C."""
    try:
        with terminable():
            with hold_interrupts():
                from smalti.cli.commands import run_command  # noqa: PLC0415 (slow to import)
            return run_command(arguments)
    except KeyboardInterrupt:
        from smalti.cli.faults import fail  # noqa: PLC0415
        from smalti.cli.ranks import is_main_rank  # noqa: PLC0415

        if not is_main_rank():  # torchrun stops the other ranks after the first has ended, and that one has said why
            return INTERRUPTED
        return fail(arguments, "interrupted; nothing was left half-written", INTERRUPTED)
