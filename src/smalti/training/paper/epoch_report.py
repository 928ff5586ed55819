"""Figures of a fit of the profile `paper`: of each epoch, and of what integers cost."""

from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

__all__ = ["EpochReport", "QuantizationReport", "TokenStatistics", "token_statistics"]


@dataclass(frozen=True)
class TokenStatistics:
    """How a set of tokens uses a codebook.

    codes_used : codes that occur at least once
    perplexity : 2 to the entropy of the codes' shares
    entropy_bits_per_token : that entropy, of order 0
    """

    codes_used: int
    perplexity: float
    entropy_bits_per_token: float


def token_statistics(counts: NDArray[np.int64]) -> TokenStatistics:
    """Return the statistics of tokens of which code k occurs `counts[k]` times."""
    used = counts[counts > 0]
    shares = used / used.sum()
    entropy_bits = float(-(shares * np.log2(shares)).sum()) + 0.0
    return TokenStatistics(len(used), 2.0**entropy_bits, entropy_bits)


@dataclass(frozen=True)
class EpochReport:
    """An epoch's figures: means of the loss parts over its steps, then the state after it on the validation images.

    reconstruction, codebook, commitment : parts of the loss, each a mean over pixels or code values in [0, 1] units
        (commitment before its weight)
    validation_mse : mean squared error per pixel of images in [0, 1], without rounding
    codes_used, perplexity, entropy_bits_per_token : of the validation images' tokens
    """

    epoch: int
    reconstruction: float
    codebook: float
    commitment: float
    validation_mse: float
    codes_used: int
    perplexity: float
    entropy_bits_per_token: float
    seconds: float

    def to_json(self) -> dict[str, Any]:
        """Return the report as a plain dictionary."""
        return asdict(self)

    def sentence(self) -> str:
        """Return the figures in one line."""
        return (
            f"epoch {self.epoch}: loss {self.reconstruction:.5f} reconstruction + {self.codebook:.5f} codebook"
            f" + {self.commitment:.5f} commitment | validation MSE {self.validation_mse:.5f}"
            f" | {self.codes_used} codes used, perplexity {self.perplexity:.1f},"
            f" {self.entropy_bits_per_token:.2f} bits/token | {self.seconds:.0f} s"
        )


@dataclass(frozen=True)
class QuantizationReport:
    """What integers cost: mean squared errors on the validation images, in [0, 1] units, of pixels rounded to uint8.

    float_mse : of the decoder as it was fitted, in float32
    calibrated_mse : of its numbers rounded to integers
    mse : of the network that was kept, after `steps` steps of fine-tuning, by the exact decoder
    """

    float_mse: float
    calibrated_mse: float
    mse: float
    steps: int
    seconds: float

    def to_json(self) -> dict[str, Any]:
        """Return the report as a plain dictionary."""
        return asdict(self)

    def sentence(self) -> str:
        """Return the figures in one line."""
        return (
            f"integers: validation MSE {self.float_mse:.5f} in floats, {self.calibrated_mse:.5f} rounded, "
            f"{self.mse:.5f} after {self.steps} steps of fine-tuning | {self.seconds:.0f} s"
        )
