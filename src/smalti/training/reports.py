"""The figures of a fit, for an observer and for the model's history: one dataclass for each kind of report.

`Report` is what an observer needs to know of them.
"""

from dataclasses import asdict, dataclass
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

__all__ = ["EpochReport", "PyramidReport", "QuantizationReport", "Report", "TokenStatistics", "token_statistics"]


class Report(Protocol):
    """Figures of a fit."""

    def sentence(self) -> str:
        """Return the figures in one line."""

    def to_json(self) -> dict[str, Any]:
        """Return the figures as a plain dictionary."""


@dataclass(frozen=True)
class TokenStatistics:
    """How a set of tokens uses a codebook.

    codes_used : number of codes that occur at least once
    perplexity : 2 to the power of the entropy
    entropy_bits_per_token : entropy of order 0 of the codes' frequencies
    """

    codes_used: int
    perplexity: float
    entropy_bits_per_token: float


def token_statistics(counts: NDArray[np.int64]) -> TokenStatistics:
    """Return the statistics of tokens in which code k occurs `counts[k]` times."""
    used = counts[counts > 0]
    shares = used / used.sum()
    entropy_bits = float(-(shares * np.log2(shares)).sum()) + 0.0
    return TokenStatistics(len(used), 2.0**entropy_bits, entropy_bits)


@dataclass(frozen=True)
class EpochReport:
    """An epoch of the profile `paper`: mean losses over its steps, then measures on the validation images after it.

    reconstruction, codebook, commitment : parts of the loss, each a mean over pixels or code values in [0, 1] units
        (commitment before its weight)
    validation_mse : mean squared error per pixel of images in [0, 1], without rounding
    codes_used, perplexity, entropy_bits_per_token : TokenStatistics of the validation images
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
    """The error that integers add in the profile `paper`.

    All are mean squared errors on the validation images, in [0, 1] units, of pixels rounded to uint8:

    float_mse : of the fitted decoder, in float32
    calibrated_mse : of its numbers rounded to integers
    mse : of the final network, after `steps` steps of fine-tuning, by the exact decoder
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


@dataclass(frozen=True)
class PyramidReport:
    """The state of a fit of a pyramid, as means over the last steps.

    mse : of pixels scaled to [0, 1]
    bits : of the tokens of an image
    price : squared error of an image that one bit is worth
    codes : number of codes of each level
    model_bytes : estimated size of the weights
    whole : whether the network computes in integers
    """

    step: int
    mse: float
    bits: float
    price: float
    codes: tuple[int, ...]
    model_bytes: int
    whole: bool
    seconds: float

    def to_json(self) -> dict[str, Any]:
        """Return the report as a plain dictionary."""
        return {**vars(self), "codes": list(self.codes)}

    def sentence(self) -> str:
        """Return the figures in one line."""
        stage = "integers" if self.whole else "floats"
        return (
            f"step {self.step}: MSE {self.mse:.5f}, {self.bits / 8:.2f} bytes an image, "
            f"model about {self.model_bytes / 1000:.0f} kB, codes {'+'.join(map(str, self.codes))} ({stage})"
            f" | {self.seconds:.0f} s"
        )
