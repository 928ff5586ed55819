"""What a collection will take, as it is foretold without a fit."""

import math
from dataclasses import dataclass

from smalti.training.training_kind import block_pixels

__all__ = ["WITHIN", "Forecast", "archive_overhead"]

WITHIN = 1.3
"""Archives should be within this factor of their forecasts."""

_BYTES_AN_ARCHIVE = 2_500
_BYTES_A_BLOCK = 90


def archive_overhead(pixels: int, cell: int) -> int:
    """Return about how many bytes an archive of so many pixels takes besides model, prior and tokens."""
    return _BYTES_AN_ARCHIVE + _BYTES_A_BLOCK * -(-pixels // block_pixels(cell))


@dataclass(frozen=True)
class Forecast:
    """What a whole collection takes.

    entropy_bits : of the tokens of a codec that learns nothing
    tokens_bits : of those of a fit    other_bytes : of what is stored once or for each block
    """

    entropy_bits: float
    tokens_bits: float
    other_bytes: int

    @property
    def archive_bytes(self) -> int:
        """The likely size of the archive, without names and labels."""
        return math.ceil(self.tokens_bits / 8) + self.other_bytes
