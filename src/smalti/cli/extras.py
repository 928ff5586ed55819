"""Optional parts of smalti: one line with the install command when one is absent."""

from collections.abc import Iterator
from contextlib import contextmanager

from smalti.cli.interruption import hold_interrupts
from smalti.errors import MissingDependencyError

__all__ = ["needing"]


@contextmanager
def needing(what: str, extra: str) -> Iterator[None]:
    """Turn a failed import within into the line that names the extra to install; Ctrl-C waits for the end of it."""
    try:
        with hold_interrupts():
            yield
    except ModuleNotFoundError as error:
        if error.name is not None and error.name.partition(".")[0] == "smalti":
            raise
        raise MissingDependencyError.of(what, error.name, extra) from error
