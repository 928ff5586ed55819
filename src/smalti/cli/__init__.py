"""The command line: it parses, calls and prints (the highest layer).

Results go to stdout, messages to stderr; every error is one line and an exit code (see `smalti.errors`). This module
imports next to nothing, so that Ctrl-C is one line and exit code 130 from the first moment on.
"""

import sys

from smalti.cli.interruption import INTERRUPTED, hold_interrupts

__all__ = ["main", "run"]


def main() -> None:
    """Run the command line and exit with its code."""
    sys.exit(run(sys.argv[1:]))


def run(arguments: list[str]) -> int:
    """Run one command and return its exit code; no traceback leaves without --debug."""
    try:
        with hold_interrupts():
            from smalti.cli.commands import run_command  # noqa: PLC0415 (slow to import)
        return run_command(arguments)
    except KeyboardInterrupt:
        from smalti.cli.faults import fail  # noqa: PLC0415

        return fail(arguments, "interrupted; nothing was left half-written", INTERRUPTED)
