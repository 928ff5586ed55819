"""What a fit of a pyramid is asked for, and the effort that goes into it."""

from dataclasses import asdict, dataclass
from typing import Any

from smalti.errors import ModelError, UsageError
from smalti.training.pyramid.trade_off import Goal

__all__ = ["DEFAULT_EFFORT", "DEFAULT_MSE", "EFFORTS", "Effort", "PyramidSettings"]

DEFAULT_EFFORT = 5
DEFAULT_MSE = {"compact": 0.0094, "fine": 0.002}
"""What the profiles aim at if nothing is asked for: the study's own quality, and about a fifth of its error."""


@dataclass(frozen=True)
class Effort:
    """What a fit may take.

    steps : of a fit of images of 28 x 28, in batches of 128; larger images cost more and see fewer
    rounds : of the search for better tokens
    refits : how often, at the end of a fit, decoder and prior learn from tokens that were searched for; a model that is
        adapted to other images does so too, and one that packs its own images once more
    """

    steps: int
    rounds: int
    refits: int


EFFORTS = (
    Effort(800, 0, 0),
    Effort(1_500, 0, 0),
    Effort(2_500, 3, 0),
    Effort(4_000, 3, 0),
    Effort(5_500, 3, 0),
    Effort(7_000, 4, 1),
    Effort(9_000, 4, 1),
    Effort(11_000, 4, 2),
    Effort(13_000, 4, 2),
    Effort(15_000, 4, 2),
)


@dataclass(frozen=True)
class PyramidSettings:
    """A fit of the profile `compact` or `fine`.

    goal : what the collection is to come to
    effort : 0 to 9
    codes : None for codebooks that size themselves, else K for every level

    The remaining ones switch a part off or on, to measure what it brings (`benchmarks/ablation.py`):

    coarse : whether there is a scale above the finest one
    mixing : whether the decoder's cells see their neighbours before they grow
    rate_aware : whether tokens are chosen by rate too, or by distortion alone
    conditional : whether the prior looks at what was decoded before
    shrink_weights : whether weights shrink where that saves bytes
    """

    profile: str
    goal: Goal
    effort: int = DEFAULT_EFFORT
    seed: int = 0
    codes: int | None = None
    coarse: bool = True
    mixing: bool = False
    rate_aware: bool = True
    conditional: bool = True
    shrink_weights: bool = True

    def __post_init__(self) -> None:
        if not 0 <= self.effort < len(EFFORTS):
            raise UsageError(f"an effort of {self.effort} is outside 0..{len(EFFORTS) - 1}")
        if self.seed < 0:
            raise UsageError(f"seed must not be negative, not {self.seed}")

    def to_json(self) -> dict[str, Any]:
        """Return a plain dictionary that `from_json` turns back into equal settings."""
        return asdict(self)

    @classmethod
    def from_json(cls, stored: dict[str, Any]) -> "PyramidSettings":
        """Return the settings in a dictionary from `to_json`; ModelError if it holds anything else."""
        try:
            return cls(**{**stored, "goal": Goal(**stored["goal"])})
        except (TypeError, KeyError, UsageError) as error:
            raise ModelError(f"the stored settings are not of this release: {error}; fit the model anew") from error
