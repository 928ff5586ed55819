"""What is expected of each token, learned in the integers that the file will hold (`smalti.pyramid`, NetworkPrior).

Rounding and cutting that gradients pass as if they were not there (Bengio, Léonard & Courville 2013).
"""

import math
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from smalti.decoders.pyramid.context import reach

__all__ = ["HIDDEN_SHIFT", "LOGIT_SHIFT", "LevelPrior", "activated", "clipped", "context_size", "contexts", "rounded"]


class _Rounded(torch.autograd.Function):
    """One pass over the values, and none over their gradients."""

    @staticmethod
    def forward(context: Any, values: Tensor) -> Tensor:
        del context
        return torch.add(values, 0.5).floor_()

    @staticmethod
    def backward(context: Any, *gradients: Tensor) -> Tensor:
        del context
        return gradients[0]


class _Activated(torch.autograd.Function):
    @staticmethod
    def forward(context: Any, sums: Tensor, scale: Tensor, high: float) -> Tensor:
        values = torch.mul(sums, scale).add_(0.5).floor_().clamp_(0, high)
        context.save_for_backward(values, scale)
        context.high = high
        return values

    @staticmethod
    def backward(context: Any, *gradients: Tensor) -> tuple[Tensor, None, None]:
        values, scale = context.saved_tensors
        inside = (values > 0) & (values < context.high)
        return gradients[0] * scale * inside, None, None


def rounded(values: Tensor) -> Tensor:
    """Return the nearest whole numbers, halves rounded up: what adding a half and cutting gives."""
    result: Tensor = _Rounded.apply(values)  # type: ignore[no-untyped-call]
    return result


def activated(sums: Tensor, shift: Tensor, high: float) -> Tensor:
    """Return sums [n, channels, y, x] shifted by `shift` [channels], rounded and cut to 0..high, all at once.

    No gradient passes where a value is cut.
    """
    scale = torch.exp2(-shift)[:, None, None]
    result: Tensor = _Activated.apply(sums, scale, high)  # type: ignore[no-untyped-call]
    return result


def clipped(values: Tensor, low: float, high: float) -> Tensor:
    """Return values cut to low..high; gradients pass everywhere, so that what was cut can come back."""
    return values + (values.clamp(low, high) - values).detach()


HIDDEN_SHIFT = 4
LOGIT_SHIFT = 4
STEPS_PER_BIT = 16
LARGEST_WEIGHT = 127
LARGEST_HIDDEN = 255
TYPICAL_HIDDEN = 24.0


Numbers = tuple[Tensor, Tensor, Tensor, Tensor]


class LevelPrior(nn.Module):
    """A network of one hidden layer from a token's context to the bits of each code; a table where nothing is known.

    features : numbers of a context; 0 makes it a table
    hidden : units between
    codes : K
    positions : places of the level, each with a bias of its own

    Its numbers are in integer units from the start, but rounded only once it is `whole`.
    """

    def __init__(self, features: int, hidden: int, codes: int, positions: int, generator: torch.Generator) -> None:
        super().__init__()
        self.features = features
        self.whole = False
        if not features:
            self.bias2 = nn.Parameter(torch.zeros(positions, codes))
            return
        self.weight1 = nn.Parameter(torch.randn(features, hidden, generator=generator) * 12 / features**0.5)
        self.bias1 = nn.Parameter(torch.full((positions, hidden), 2.0**HIDDEN_SHIFT * TYPICAL_HIDDEN))
        self.weight2 = nn.Parameter(torch.randn(hidden, codes, generator=generator))
        self.bias2 = nn.Parameter(torch.zeros(codes))

    @property
    def codes(self) -> int:
        """K."""
        return int(self.bias2.shape[-1])

    def numbers(self) -> Numbers:
        """Return weight1, bias1, weight2 and bias2 as they count now: rounded and cut, once `whole`."""
        number = rounded if self.whole else _unrounded
        first, second = (w.clamp(-LARGEST_WEIGHT, LARGEST_WEIGHT) for w in (self.weight1, self.weight2))
        return number(first), number(self.bias1), number(second), number(self.bias2)

    def bits(self, context: Tensor, positions: slice = slice(None), numbers: Numbers | None = None) -> Tensor:
        """Return the bits of every code: [n, p, K] for contexts [n, p, features] of these positions.

        numbers : what `numbers` gave, so as not to round again for every position
        """
        if not self.features:
            table = F.log_softmax(self.bias2[positions] * (math.log(2) / STEPS_PER_BIT), -1) / -math.log(2)
            return table.expand(len(context), *table.shape)
        number = rounded if self.whole else _unrounded
        weight1, bias1, weight2, bias2 = numbers or self.numbers()
        hidden = number((context @ weight1 + bias1[positions]) / 2**HIDDEN_SHIFT).clamp(0, LARGEST_HIDDEN)
        sums = hidden @ weight2 + bias2
        steps = number(sums / 2**LOGIT_SHIFT)
        return F.log_softmax(steps * (math.log(2) / STEPS_PER_BIT), -1) / -math.log(2)

    def select(self, codes: Tensor, penalties: Tensor) -> None:
        """Make code k what code `codes[k]` was, `penalties[k]` bits less likely."""
        steps = STEPS_PER_BIT * (2**LOGIT_SHIFT if self.features else 1)
        self.bias2 = nn.Parameter(self.bias2.detach()[..., codes] - steps * penalties)
        if self.features:
            self.weight2 = nn.Parameter(self.weight2.detach()[:, codes].clone())


def context_size(latents: tuple[int, ...], positions: tuple[int, ...], scale: int) -> int:
    """Numbers of a context of a level on `scale`: the places around it, and the coarser latents at its place."""
    far = reach(latents[scale], positions[scale])
    return latents[scale] * (2 * far + 1) ** 2 + sum(latents[:scale])


def contexts(
    before: list[Tensor], after: Tensor, scale: int, strides: tuple[tuple[int, int], ...], empty: bool = False
) -> Tensor:
    """Return the contexts of all places of a scale: [n, positions, features].

    before : latents of each scale before the level
    after : those of the level's own scale with the level's tokens in, from which earlier places are taken
    empty : whether the level is the first of its scale, so that later places hold nothing yet
    """
    own = before[scale]
    channels, rows, columns = own.shape[1:]
    far = reach(channels, rows * columns)
    if far:
        causal = torch.arange((2 * far + 1) ** 2, device=own.device)[:, None] < 2 * far * (far + 1)
        early = _windows(after, far)
        around = (early * causal if empty else torch.where(causal, early, _windows(own, far))).flatten(2)
    else:
        around = own.flatten(1)[:, None]
    coarser = [_at_places(before[other], strides[other], strides[scale], (rows, columns)) for other in range(scale)]
    return torch.cat([around, *coarser], 2)


def _unrounded(values: Tensor) -> Tensor:
    return values


def _windows(latents: Tensor, far: int) -> Tensor:
    """The places around each place, zeros outside: [n, positions, places around, channels]."""
    count, channels = latents.shape[:2]
    side, places = 2 * far + 1, latents.shape[2] * latents.shape[3]
    return F.unfold(latents, side, padding=far).view(count, channels, side**2, places).permute(0, 3, 2, 1)


def _at_places(latents: Tensor, stride: tuple[int, int], fine: tuple[int, int], grid: tuple[int, int]) -> Tensor:
    """A coarser scale's vectors at the places of a finer grid: [n, positions, channels]."""
    rows = torch.arange(grid[0], device=latents.device) * fine[0] // stride[0]
    columns = torch.arange(grid[1], device=latents.device) * fine[1] // stride[1]
    return latents[:, :, rows][:, :, :, columns].flatten(2).transpose(1, 2)
