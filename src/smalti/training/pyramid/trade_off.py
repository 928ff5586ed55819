"""The price of a bit that meets the goal of a fit (adapted while the fit runs), and the learning rate schedule."""

import math

__all__ = ["LEAST_MEASURE", "TradeOff", "learning_rate"]


REACH = 3.0
"""The farthest that the logarithm of the price can move from the likely price, if all steps miss the goal."""

GAIN = 4.0
FIRST = 0.15
"""The first price, as a share of the likely one: a network first learns to describe images at all."""

RISEN = 0.4
"""The share of the steps in which the price rises to the likely one; after them it adapts to the goal."""

LEAST_MEASURE = 1e-12
"""Replaces a measure of zero in logarithms: images of one colour are decoded without error."""

SLACK, EARLY_SLACK = 0.1, 0.6
"""Tolerated squared error above the goal, as a share: the token search and the refits remove it at the end of a fit
(SLACK), and further learning removes it halfway (EARLY_SLACK)."""


class TradeOff:
    """The price of a bit, in squared error of an image (pixels scaled to 0..1). It adapts until a measure meets a goal.

    A network must learn with the price that later chooses its tokens: with a lower price, it learns to spend bits that
    it could save. But early in a fit, no image is good yet at any price. So the price first rises to the likely one;
    then it follows a goal that becomes stricter during the fit.

    likely : the price expected from the variances of the images
    steps : number of steps of the fit
    rises : whether the measure rises with the price, as distortion does; bits fall
    """

    def __init__(self, likely: float, steps: int, rises: bool = True) -> None:
        self._likely, self._steps, self._rises = likely, max(1, steps), rises
        self._step = 0
        self._moved = 0.0
        self._smooth: float | None = None

    @property
    def price(self) -> float:
        """The current price of a bit."""
        risen = min(1.0, self._step / (RISEN * self._steps))
        return float(self._likely * FIRST ** (1 - risen) * math.exp(self._moved))

    def observe(self, measured: float, goal: float) -> None:
        """Move the price a little towards the goal, by the measure of a batch."""
        self._smooth = measured if self._smooth is None else 0.98 * self._smooth + 0.02 * measured
        self._step += 1
        if self._step <= RISEN * self._steps:
            return
        left = max(0.0, 1 - self._step / self._steps)
        slack = 1 + SLACK + EARLY_SLACK * left**2 if self._rises else 1.0
        error = GAIN * math.log(goal * slack / max(self._smooth, LEAST_MEASURE))
        sign = 1.0 if self._rises else -1.0
        self._moved += REACH / ((1 - RISEN) * self._steps) * sign * max(-1.0, min(1.0, error))

    def state(self) -> dict[str, float]:
        """Return the state, for `restore`."""
        smooth = -1.0 if self._smooth is None else self._smooth
        return {"moved": self._moved, "smooth": smooth, "step": float(self._step)}

    def restore(self, state: dict[str, float]) -> None:
        """Continue from a state."""
        self._moved, self._step = state["moved"], int(state["step"])
        self._smooth = None if state["smooth"] < 0 else state["smooth"]


WARM_UP_STEPS = 300
LAST_SHARE = 0.003


def learning_rate(highest: float, step: int, steps: int) -> float:
    """Return the learning rate of a step: it rises at first, then falls along half a cosine (Loshchilov & Hutter 2017).

    highest : the rate at the top
    steps : number of steps of the stage
    """
    warm_up = min(WARM_UP_STEPS, steps // 10)
    if step < warm_up:
        return highest * (step + 1) / warm_up
    share = min(1.0, (step - warm_up) / max(1, steps - warm_up))
    return highest * (0.5 * (1 + math.cos(math.pi * share)) + LAST_SHARE)
