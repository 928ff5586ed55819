"""Finding the price of a bit that meets a goal, while a fit runs."""

import math
from dataclasses import dataclass

from smalti.errors import UsageError

__all__ = ["Goal", "TradeOff"]

REACH = 14.0
"""How far the logarithm of the price can move in one fit, if the goal is missed all the while."""

GAIN = 4.0
PATIENT_SHARE = 0.35
LEAST = 0.05
MOST = 1000.0


@dataclass(frozen=True)
class Goal:
    """What a user asks of a collection: exactly one of these.

    mse : mean squared error over all images, of pixels scaled to 0..1
    ssim : mean structural similarity over all images
    archive_bytes : size of the whole archive, with the best quality within it
    """

    mse: float | None = None
    ssim: float | None = None
    archive_bytes: int | None = None

    def __post_init__(self) -> None:
        given = [value for value in (self.mse, self.ssim, self.archive_bytes) if value is not None]
        if len(given) != 1:
            raise UsageError("give one of a target MSE, a target SSIM and a target of bytes")
        if not (math.isfinite(given[0]) and given[0] > 0):
            raise UsageError(f"a target of {given[0]} cannot be met: it must be above 0")
        if self.ssim is not None and self.ssim >= 1:
            raise UsageError(f"a mean SSIM of {self.ssim} is out of reach: choose one below 1")


class TradeOff:
    """The price of a bit, in squared error of an image (pixels scaled to 0..1), led to where a measure meets its goal.

    It begins low, so that a network first learns to describe images at all, and rises while images are better than
    asked; it may fall below where it began only after a part of the fit, since at first no image is good.

    steps : of the fit    rises : whether the measure rises with the price, as distortion does; bits fall
    """

    def __init__(self, price: float, steps: int, rises: bool = True) -> None:
        self.price = self.least = price
        self._patience = round(PATIENT_SHARE * steps)
        self._step = 0
        self._rate = REACH / max(1, steps)
        self._sign = 1.0 if rises else -1.0
        self._smooth: float | None = None

    def observe(self, measured: float, goal: float) -> None:
        """Take a batch's measure, and move the price a little towards the goal."""
        self._smooth = measured if self._smooth is None else 0.98 * self._smooth + 0.02 * measured
        error = GAIN * math.log(goal / self._smooth)
        moved = self.price * math.exp(self._rate * self._sign * max(-1.0, min(1.0, error)))
        self._step += 1
        floor = self.least if self._step < self._patience else LEAST * self.least
        self.price = max(floor, min(MOST * self.least, moved))

    def state(self) -> dict[str, float]:
        """Return what `restore` takes."""
        smooth = -1.0 if self._smooth is None else self._smooth
        return {"price": self.price, "smooth": smooth, "step": float(self._step)}

    def restore(self, state: dict[str, float]) -> None:
        """Go on from a state."""
        self.price, self._step = state["price"], int(state["step"])
        self._smooth = None if state["smooth"] < 0 else state["smooth"]
