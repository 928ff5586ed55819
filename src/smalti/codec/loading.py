"""A model file, of whichever kind."""

from pathlib import Path

from smalti.training.common.tensors import stored_format
from smalti.training.paper.grid_model import Model
from smalti.training.pyramid.pyramid_model import PYRAMID_FORMAT, PyramidModel

__all__ = ["load_model"]


def load_model(path: Path, device: str = "cpu") -> Model | PyramidModel:
    """Read a model that `smalti fit` wrote; ModelError if the file is missing, foreign, damaged or of another version.

    device : where a model of the profile `paper` is to compute
    """
    return PyramidModel.load(path) if stored_format(path) == PYRAMID_FORMAT else Model.load(path, device)
