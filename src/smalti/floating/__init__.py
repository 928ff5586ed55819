"""The decoder network in float32 and plain NumPy, as archives of format 0 carry it.

It stands where the exact integer decoder of format 1 will (docs/decisions/0001-float-decoder-in-format-0.md).
Layer: below `archive`, above `errors`; it knows nothing of files or of training.
"""

from smalti.floating.decoder import FloatDecoder
from smalti.floating.weights import DecoderWeights

__all__ = ["DecoderWeights", "FloatDecoder"]
