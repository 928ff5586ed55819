"""Hierarchical tokens with the rate in the loop: what the profiles `compact` and `fine` fit. See docs/rate.md."""

from smalti.training.pyramid.build import search_rounds
from smalti.training.pyramid.control import Goal
from smalti.training.pyramid.encoding import Encoded, Encoding, Progress
from smalti.training.pyramid.export import bytes_besides_tokens, global_tokens, local_tokens, to_network, to_prior
from smalti.training.pyramid.fit import PyramidObserver, PyramidReport, SilentPyramidObserver, fit_pyramid
from smalti.training.pyramid.model import PYRAMID_FORMAT, PyramidModel
from smalti.training.pyramid.settings import DEFAULT_EFFORT, DEFAULT_MSE, EFFORTS, PyramidSettings

__all__ = [
    "DEFAULT_EFFORT",
    "DEFAULT_MSE",
    "EFFORTS",
    "PYRAMID_FORMAT",
    "Encoded",
    "Encoding",
    "Goal",
    "Progress",
    "PyramidModel",
    "PyramidObserver",
    "PyramidReport",
    "PyramidSettings",
    "SilentPyramidObserver",
    "bytes_besides_tokens",
    "fit_pyramid",
    "global_tokens",
    "local_tokens",
    "search_rounds",
    "to_network",
    "to_prior",
]
