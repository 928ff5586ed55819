"""Hierarchical tokens: a decoder network of scales and levels, and its prior, in integers (docs/format.md).

Layer: below `residual` and `archive`, above `integer`; it knows nothing of files or of training.
"""

from smalti.pyramid.decoder import PyramidDecoder
from smalti.pyramid.layout import TokenLayout
from smalti.pyramid.levelprior import NetworkPrior, TablePrior
from smalti.pyramid.network import ABSENT, Level, PyramidNetwork, Scale
from smalti.pyramid.packing import pack_pyramid, unpack_pyramid
from smalti.pyramid.prior import PyramidPrior

__all__ = [
    "ABSENT",
    "Level",
    "NetworkPrior",
    "PyramidDecoder",
    "PyramidNetwork",
    "PyramidPrior",
    "Scale",
    "TablePrior",
    "TokenLayout",
    "pack_pyramid",
    "unpack_pyramid",
]
