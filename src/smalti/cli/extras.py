"""Optional parts of smalti in commands: their slow imports, which Ctrl-C does not cut in half."""

from collections.abc import Iterator
from contextlib import contextmanager

from smalti.cli.interruption import hold_interrupts
from smalti.extras import needing as needing_packages

__all__ = ["needing"]


@contextmanager
def needing(what: str, extra: str) -> Iterator[None]:
    """As `smalti.extras.needing`; Ctrl-C waits for the end of the block."""
    with needing_packages(what, extra), hold_interrupts():
        yield
