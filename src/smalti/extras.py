"""Optional parts of smalti: one line with the install command when the packages of one are absent.

Layer: above `errors`.
"""

from collections.abc import Iterator
from contextlib import contextmanager

from smalti.errors import MissingDependencyError

__all__ = ["PACKAGES", "needing"]

_TRAIN = frozenset({"torch", "safetensors"})

PACKAGES = {
    "train": _TRAIN,
    "study": _TRAIN | {"skimage", "imagecodecs", "matplotlib", "jinja2", "scipy"},
}
"""The modules that an extra of pyproject.toml brings."""


@contextmanager
def needing(what: str, extra: str) -> Iterator[None]:
    """Turn a failed import of a package of `extra` into the line that names the extra to install.

    Any other missing module is a fault of ours or of the installation, and passes through.
    """
    try:
        yield
    except ModuleNotFoundError as error:
        if error.name is None or error.name.partition(".")[0] not in PACKAGES[extra]:
            raise
        raise MissingDependencyError.of(what, error.name, extra) from error
