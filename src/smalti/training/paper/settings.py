"""The settings of a fit of the profile `paper`, in frozen dataclasses that check their values."""

from dataclasses import asdict, dataclass, field, replace
from typing import Any, Literal, get_args

from smalti.errors import ModelError, UsageError

__all__ = [
    "PROFILES",
    "CodebookStart",
    "CodebookUpdate",
    "FitSettings",
    "QuantizerSettings",
    "profile_settings",
]

CodebookUpdate = Literal["gradient", "ema"]
CodebookStart = Literal["uniform", "kmeans"]

SMALLEST_CODEBOOK = 2
LARGEST_CODEBOOK = 65_536


@dataclass(frozen=True)
class QuantizerSettings:
    """How latents become tokens. The defaults are the study's; the other values cure codebook collapse.

    codebook_size : K, the number of codes, from 2 to 65,536
    update : "gradient" (codebook loss, van den Oord et al. 2017) or "ema" (their appendix A.1)
    start : "uniform" in [-1/K, 1/K], or "kmeans" on the latents after a warm-up without quantisation
    restart : whether dead codes, which no latent picks any more, move to a latent of the current batch
    code_dim : number of dimensions to compare codes in, by a linear map in and out (Yu et al. 2021); None for all
    commitment_weight : beta, the weight of the commitment loss
    ema_decay : decay of the running counts and sums, per step
    warm_up_steps : number of steps without quantisation before a k-means start
    """

    codebook_size: int = 128
    update: CodebookUpdate = "gradient"
    start: CodebookStart = "uniform"
    restart: bool = False
    code_dim: int | None = None
    commitment_weight: float = 0.25
    ema_decay: float = 0.99
    warm_up_steps: int = 200

    def __post_init__(self) -> None:
        if not SMALLEST_CODEBOOK <= self.codebook_size <= LARGEST_CODEBOOK:
            raise UsageError(
                f"codebook size {self.codebook_size} is out of range: "
                f"choose one from {SMALLEST_CODEBOOK} to {LARGEST_CODEBOOK:,}"
            )
        if self.update not in get_args(CodebookUpdate) or self.start not in get_args(CodebookStart):
            raise UsageError(f"unknown codebook update {self.update!r} or start {self.start!r}")
        if self.code_dim is not None and self.code_dim < 1:
            raise UsageError(f"code dimension {self.code_dim} is out of range: choose one of at least 1")


@dataclass(frozen=True)
class FitSettings:
    """A whole fit: network, quantiser and protocol. The defaults are the study's.

    profile : the profile's name
    hidden_channels, latent_channels : channels after the first and the second convolution
    epochs, batch_images, learning_rate : the protocol; the optimiser is Adam
    finetune_steps : the most steps of fine-tuning, in which the decoder becomes integers (the study has no such steps)
    seed : seeds initialisation, shuffling and every other random choice
    """

    profile: str = "paper"
    quantizer: QuantizerSettings = field(default_factory=QuantizerSettings)
    hidden_channels: int = 128
    latent_channels: int = 64
    epochs: int = 3
    batch_images: int = 64
    learning_rate: float = 2e-4
    finetune_steps: int = 500
    seed: int = 0

    def __post_init__(self) -> None:
        for name in ("hidden_channels", "latent_channels", "epochs", "batch_images"):
            if getattr(self, name) < 1:
                raise UsageError(f"{name.replace('_', ' ')} must be at least 1, not {getattr(self, name)}")
        if self.finetune_steps < 0:
            raise UsageError(f"fine-tuning steps must not be negative, not {self.finetune_steps}")
        if self.seed < 0:
            raise UsageError(f"seed must not be negative, not {self.seed}")
        if not self.learning_rate > 0:
            raise UsageError(f"learning rate must be above 0, not {self.learning_rate}")

    def to_json(self) -> dict[str, Any]:
        """Return a plain dictionary, from which `from_json` makes equal settings."""
        return asdict(self)

    @classmethod
    def from_json(cls, stored: dict[str, Any]) -> "FitSettings":
        """Return the settings in a dictionary of `to_json`; ModelError for anything else."""
        try:
            return cls(**{**stored, "quantizer": QuantizerSettings(**stored["quantizer"])})
        except (TypeError, KeyError, UsageError) as error:
            raise ModelError(f"the stored settings are not of this release: {error}; fit the model anew") from error


PROFILES: dict[str, FitSettings] = {"paper": FitSettings()}
"""The names for --profile."""


def profile_settings(
    profile: str = "paper",
    *,
    codebook_size: int | None = None,
    epochs: int | None = None,
    seed: int | None = None,
) -> FitSettings:
    """Return a profile's settings. Arguments other than None replace its own values.

    Raises UsageError for an unknown profile.
    """
    if profile not in PROFILES:
        raise UsageError(f"unknown profile {profile!r}: choose one of {', '.join(PROFILES)}")
    settings = PROFILES[profile]
    quantizer = settings.quantizer
    if codebook_size is not None:
        quantizer = replace(quantizer, codebook_size=codebook_size)
    return replace(
        settings,
        quantizer=quantizer,
        epochs=settings.epochs if epochs is None else epochs,
        seed=settings.seed if seed is None else seed,
    )
