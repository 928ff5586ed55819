"""The decoder network in integers: the same bits on every machine (docs/format.md, "The decoder network").

Layer: below `archive`, beside `entropy`, above `errors`; it knows nothing of files or of training.
"""

from smalti.integer.decoder import IntegerDecoder
from smalti.integer.network import EXACT, Clip, IntegerNetwork, Layer, PixelTable, PixelType
from smalti.integer.packing import pack_network, unpack_network

__all__ = [
    "EXACT",
    "Clip",
    "IntegerDecoder",
    "IntegerNetwork",
    "Layer",
    "PixelTable",
    "PixelType",
    "pack_network",
    "unpack_network",
]
