"""Fitting codecs with PyTorch: network, quantiser, training loop, model files. It knows nothing of archives."""

from importlib import import_module

_MOVED = {
    "FitSettings": "smalti.training.paper.settings",
    "Model": "smalti.training.paper.grid_model",
    "QuantizerSettings": "smalti.training.paper.settings",
    "joined": "smalti.training.common.distributed",
}


def __getattr__(name: str) -> object:
    """Find the names that the documentation of 0.1 taught, for one more release."""
    if name not in _MOVED:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    found: object = getattr(import_module(_MOVED[name]), name)
    return found
