"""Optional parts of smalti. If a package of one is missing, the user gets one line with the install command.

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
"""By extra of pyproject.toml, the modules that it installs."""


@contextmanager
def needing(what: str, extra: str) -> Iterator[None]:
    """Turn a failed import of a package of `extra` into MissingDependencyError, which names the extra to install.

    Any other missing module passes through: it is a fault of smalti or of the installation.
    """
    try:
        yield
    except ModuleNotFoundError as error:
        if error.name is None or error.name.partition(".")[0] not in PACKAGES[extra]:
            raise
        raise MissingDependencyError.of(what, error.name, extra) from error
