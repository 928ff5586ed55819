"""Where windows of tokens stand, what they hold, and where their patches go; it touches no values.

Window a of an axis is the `reach` tokens a - reach + 1 to a, those outside the grid included. It makes `stride`
hidden values, which add a patch of `side` sums, `step` sums after the patch of window a - 1.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from smalti.integer.geometry import Axis, Span

__all__ = ["WindowAxis"]


@dataclass(frozen=True)
class WindowAxis:
    """One axis of two layers: tokens to hidden values to sums."""

    first: Axis
    second: Axis

    @property
    def stride(self) -> int:
        """Hidden values of a window."""
        return self.first.stride

    @property
    def reach(self) -> int:
        """Tokens of a window."""
        return -(-self.first.kernel // self.first.stride)

    @property
    def step(self) -> int:
        """Sums from window to window."""
        return self.first.stride * self.second.stride

    @property
    def side(self) -> int:
        """Sums of a patch."""
        return (self.first.stride - 1) * self.second.stride + self.second.kernel

    @property
    def cells(self) -> int:
        """Parts of `step` sums that a patch is cut into."""
        return -(-self.side // self.step)

    @property
    def padding(self) -> int:
        """Sums of the first windows' patches that are cropped."""
        return self.first.padding * self.second.stride + self.second.padding

    @property
    def told(self) -> bool:
        """Whether a window's tokens, those outside the grid included, tell which of its hidden values are cropped.

        They do if no window inside the grid has such values: then they depend on how far outside a window is.
        """
        return self.first.padding <= self.first.kernel - self.first.stride

    def windows(self, target: Span, tokens: int) -> Span:
        """The windows that add to the sums `target`."""
        return Axis(self.side, self.step, self.padding, transposed=True).needed(target, tokens + self.reach - 1)

    def tokens(self, windows: Span, tokens: int) -> Span:
        """Those of the grid's tokens that windows hold."""
        start = min(max(windows[0] - self.reach + 1, 0), tokens)
        return start, max(min(windows[1], tokens), start)

    def blocks(self, target: Span) -> Span:
        """The blocks of `step` sums each that hold `target`; block b begins where the patch of window b does."""
        return (target[0] + self.padding) // self.step, (target[1] - 1 + self.padding) // self.step + 1

    def within(self, target: Span, blocks: Span) -> slice:
        """Where `target` stands in the sums of `blocks`."""
        first = target[0] + self.padding - blocks[0] * self.step
        return slice(first, first + target[1] - target[0])

    def exist(self, windows: NDArray[np.intp], tokens: int) -> NDArray[np.bool_]:
        """Which hidden values of windows [d] are not cropped: bool [d, stride]."""
        places = windows[:, None] * self.stride + np.arange(self.stride) - self.first.padding
        return (places >= 0) & (places < self.first.output_size(tokens))
