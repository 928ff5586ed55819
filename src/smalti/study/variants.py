"""The quantisers that the study compares: the study's own, each cure of codebook collapse alone, and all together."""

from dataclasses import dataclass, replace

from smalti.training.paper.settings import FitSettings, QuantizerSettings

__all__ = ["ABLATED", "CURED", "PAPER", "VARIANTS", "Run"]

LOW_CODE_DIM = 8

PAPER = "paper"
CURED = "cured"

VARIANTS: dict[str, QuantizerSettings] = {
    PAPER: QuantizerSettings(),
    "ema": QuantizerSettings(update="ema"),
    "kmeans": QuantizerSettings(start="kmeans"),
    "restart": QuantizerSettings(restart=True),
    "low-dim": QuantizerSettings(code_dim=LOW_CODE_DIM),
    CURED: QuantizerSettings(update="ema", start="kmeans", restart=True, code_dim=LOW_CODE_DIM),
}
"""Each variant's quantiser; the codebook size is the run's."""

ABLATED = tuple(name for name in VARIANTS if name not in {PAPER, CURED})
"""The variants with one cure each."""


@dataclass(frozen=True, order=True)
class Run:
    """One fit of the study: a variant, a codebook size K and a seed."""

    variant: str
    codebook_size: int
    seed: int

    @property
    def name(self) -> str:
        """The stem of every file of this run."""
        return f"{self.variant}-k{self.codebook_size}-s{self.seed}"

    def settings(self, epochs: int) -> FitSettings:
        """Return what to fit with: the study's protocol and network, this run's quantiser."""
        quantizer = replace(VARIANTS[self.variant], codebook_size=self.codebook_size)
        return FitSettings(profile=PAPER, quantizer=quantizer, epochs=epochs, seed=self.seed)
