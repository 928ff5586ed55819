"""Where training meets the archive: fit a model on a source, pack a source with a model.

`request` says what is asked, `fit` and `pack` do it, `compress` opens what a user names. The only layer that imports
both torch and the archive; reading needs none of it.
"""

from importlib import import_module

_MOVED = {"fit_source": "smalti.codec.fit", "load_model": "smalti.training.kinds"}


def __getattr__(name: str) -> object:
    """Find the names that the documentation of 0.1 taught, for one more release."""
    if name not in _MOVED:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    found: object = getattr(import_module(_MOVED[name]), name)
    return found
