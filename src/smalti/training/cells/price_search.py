"""The search for the price of a bit, and if need be for other steps, with which a collection meets a goal."""

import math
from dataclasses import dataclass

import numpy as np

from smalti.decoders.contract import CellPrior
from smalti.training.cells.cell_coder import CellCoder, PricedModel
from smalti.training.common.goal import Goal

__all__ = ["AIM", "FAR", "NEARLY", "Measured", "Search"]

NEARLY = 0.012
"""A pass over all images is not repeated if it is better than the goal by at most this."""

AIM = -NEARLY / 2

_MET = 0.0002

_SLOPE = 2.5
"""By how much the logarithm of the price moves for that of the error (found on several sets)."""

_MOST_GAIN = 1.15
"""Steps are as in the fit if its error is within this factor squared of the goal."""

_PRICES = (-2.5, 0.7)
"""How far the logarithm of the price may be from that of the fit; beyond that the steps change. Low prices do less harm
than other steps: the prior knows the steps of its fit, and takes for certain what was nearly always 0 with these."""

_ALL_PRICES = (-9.0, 3.0)
"""The same, where steps cannot change."""

_LARGE_MOVE = 3.0

_USUAL_PRICE = 0.7
"""About where the price begins again once the steps have changed."""

_ADAPTING = 3
"""Trials whose tables go by those before."""

_LARGEST_GAIN = 64.0

_STUCK = 1e-3

_MOST_SAME = 2

FAR = 0.03
"""A goal that is farther off, and that a pass does not come closer to, is out of reach."""

_INTERPOLATED = 5

_LEAST_ERROR = 1e-9

_MSE_WITHOUT_SSIM = 10**-3.6


@dataclass(frozen=True)
class Measured:
    """What an encoding comes to.

    error : the mean squared error, over what is seen if there is alpha; or 1 - SSIM, if `has_ssim`
    bits : of all tokens
    """

    error: float
    bits: float
    has_ssim: bool


class Search:
    """Looks for the price, and if need be for the steps, with which a goal is met.

    goal : a mean squared error, a size, or a similarity
    """

    def __init__(self, fitted: PricedModel, goal: Goal) -> None:
        self._fitted, self.goal = fitted, goal
        self._was, self._same, self._stuck = math.inf, 0, False
        self._adapting = 0 if fitted.fixed_steps else _ADAPTING
        self._points: list[tuple[float, float]] = []  # offsets, and the logarithms of the prices, of the same steps

    def first(self) -> CellCoder:
        """The coder of the fit, or one whose steps suit a goal that is far from it."""
        wanted, gain = self.goal.unit_mse(self._fitted.scale), 1.0
        if wanted is not None:
            ratio = (wanted / max(self._fitted.mse, _LEAST_ERROR)) ** 0.5
            gain = 1.0 if self._fitted.fixed_steps or 1 / _MOST_GAIN < ratio < _MOST_GAIN else ratio
        return self._coder(self._fitted.prior, gain, 0.0)

    def off(self, measured: Measured, overhead_bytes: float) -> float:
        """The logarithm of the ratio of error to the goal: above 0, the error is too large.

        For a goal in bytes, -NEARLY stands for exactly so many, and below it there are too many.
        """
        goal = self.goal
        if goal.archive_bytes is not None:
            left = max(goal.archive_bytes - overhead_bytes, 8.0)  # the model alone may take more
            return 0.7 * math.log(left / max(measured.bits / 8, 1.0)) - NEARLY
        wanted = goal.mse if goal.ssim is None else 1 - goal.ssim
        assert wanted is not None
        if goal.ssim is not None and not measured.has_ssim:
            wanted = _MSE_WITHOUT_SSIM
        return math.log(max(measured.error, _LEAST_ERROR) / wanted)

    def is_stuck(self, off: float) -> bool:
        """Whether the last moves made no difference: then the goal is out of reach, or the images cost nothing."""
        self._same = self._same + 1 if abs(off - self._was) < _STUCK else 0
        self._stuck = self._stuck or self._same >= _MOST_SAME
        return self._stuck

    def settle(self, others: bool) -> None:
        """Keep the tables to go by. others : what follows is measured on other images"""
        self._was, self._adapting = math.inf, 0
        if others:
            self._points.clear()

    def safe(self, coder: CellCoder, off: float) -> CellCoder:
        """The coder of the price that met the goal most closely, as it was measured; else one with safe steps.

        If steps cannot change, its price is safe instead.
        """
        met = [relative for off, relative in self._points if self.meets(off)]
        if not met:
            relative = 0.0 if coder.price == 0 else math.log(coder.price / self._natural_price(coder.gain))
            if self._fitted.fixed_steps:
                wanted = relative + float(np.clip(2 * _SLOPE * (AIM - off), -1.5, 1.5))
                return self._coder(coder.prior, 1.0, float(np.clip(wanted, *_ALL_PRICES)))
            return self._coder(coder.prior, coder.gain * math.exp(float(np.clip(AIM - off, -0.3, 0.3))), relative)
        return self._coder(coder.prior, coder.gain, max(met) if self.goal.archive_bytes is None else min(met))

    def meets(self, off: float) -> bool:
        """Whether a goal is met by what is off by this."""
        return off <= 0 if self.goal.archive_bytes is None else off >= -NEARLY

    def moved(self, coder: CellCoder, prior: CellPrior, off: float) -> CellCoder:
        """The coder that should be off by `AIM`, if this one is off by `off`. prior : with tables for its tokens

        While tables go by what was chosen, the same price gives other tokens each time. So they change a few times
        only; then the price is between the closest one that is too high and the closest one that is too low.
        """
        self._was = off
        adapts = self._adapting > 0
        if adapts:
            self._adapting -= 1
            self._points.clear()
        else:
            prior = coder.prior
        if coder.price == 0:
            return self._coder(prior, coder.gain * math.exp(float(np.clip((AIM - off) / 2, -1, 1))), 0.0)
        relative = math.log(coder.price / self._natural_price(coder.gain))
        if not adapts:  # else it was measured with other tables
            self._points.append((off, relative))
        low = max((point[::-1] for point in self._points if point[0] <= AIM), default=None)
        high = min((point[::-1] for point in self._points if point[0] > AIM), default=None)
        if low is not None and high is not None and low[0] < high[0]:
            share = float(np.clip((AIM - low[1]) / (high[1] - low[1]), 0.1, 0.9))
            share = share if len(self._points) < _INTERPOLATED else 0.5
            return self._coder(prior, coder.gain, low[0] + share * (high[0] - low[0]))
        slope = _SLOPE
        if len(self._points) > 1 and abs(off - self._points[-2][0]) > _STUCK:
            slope = 1.2 * float(np.clip((relative - self._points[-2][1]) / (off - self._points[-2][0]), 1, 40))
        wanted = relative + float(np.clip(slope * (AIM - off), -1.5, 1.5))
        if self._fitted.fixed_steps:
            if self._same:  # so small a move changes no choice
                wanted = relative + math.copysign(_LARGE_MOVE, AIM - off)
            return self._coder(prior, 1.0, float(np.clip(wanted, *_ALL_PRICES)))
        if not self._same and min(_PRICES[0], relative) <= wanted <= max(_PRICES[1], relative):
            return self._coder(prior, coder.gain, wanted)
        self._adapting = max(1, self._adapting)
        self._points.clear()
        gain = coder.gain * math.exp(float(np.clip((AIM - off) / 2, -1, 1)))
        return self._coder(prior, gain, float(np.clip(relative, -_USUAL_PRICE, _USUAL_PRICE)))

    def missed_words(self, measured: Measured, off: float) -> str | None:
        """What to tell the user of a goal that is not met; None if it is."""
        goal = self.goal
        if goal.archive_bytes is not None:
            return f"the archive takes more than {goal.archive_bytes:,} bytes" if off < -NEARLY - _MET else None
        if goal.ssim is not None and not measured.has_ssim:
            return "images smaller than 7x7 pixels have no SSIM, and there are no others: the target is a PSNR of 36 dB"
        if off <= _MET:
            return None
        if goal.mse is not None:
            found = goal.missed_words(measured.error, goal.mse)
        else:
            found = f"the mean SSIM is {1 - measured.error:.4f}, not {goal.ssim:g}"
        if off > FAR and goal != self._fitted.settings.goal:
            return f"{found}: a model that is fitted with this target may reach it"
        return found

    def _natural_price(self, gain: float) -> float:
        return self._fitted.price * gain**2

    def _coder(self, prior: CellPrior, gain: float, relative: float) -> CellCoder:
        """A coder with steps, and a price relative to that which suits them."""
        gain = 1.0 if self._fitted.fixed_steps else float(np.clip(gain, 1 / _LARGEST_GAIN, _LARGEST_GAIN))
        price = self._natural_price(gain) * math.exp(relative) if self._fitted.settings.optimised else 0.0
        return self._fitted.coder(prior, gain, price)
