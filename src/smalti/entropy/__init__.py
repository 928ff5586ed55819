"""From tokens to bytes and back: stored integer frequencies and the coder that they drive.

Nothing here is learned by gradient and no float decides a symbol. Layer: below `archive`, above `errors`.
"""

from smalti.entropy.coding import StackEncoder, SymbolDecoder, SymbolEncoder, Weights
from smalti.entropy.frequency import MAX_PRECISION, FrequencyTable
from smalti.entropy.prior import MAX_POSITION_CELLS, TokenPrior

__all__ = [
    "MAX_POSITION_CELLS",
    "MAX_PRECISION",
    "FrequencyTable",
    "StackEncoder",
    "SymbolDecoder",
    "SymbolEncoder",
    "TokenPrior",
    "Weights",
]
